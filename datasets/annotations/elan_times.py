"""Times of the annotations of an ELAN file."""

from xml.etree.ElementTree import Element

from datasets.annotations.cells import parse_number
from utils.base.errors import DataError

MAX_PARENTS = 32


class AnnotationTimes:
    """Finds the interval of an annotation.

    Reference annotations have the interval of their parent. Annotations that subdivide their parent may share time
    slots without time; these divide the span between the slots with time on either side evenly.
    """

    def __init__(self, document: Element, origin: float):
        """Prepare the time slots of a document.

        Args:
            document: the root element.
            origin: milliseconds to add to the times of the file.
        """
        self.origin = origin
        self.slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in document.iterfind("TIME_ORDER/*")}
        self.annotations = {entry.get("ANNOTATION_ID"): entry for entry in document.iterfind("TIER/ANNOTATION/*")}
        self.spans = self._unaligned_spans(document)

    def interval(self, name: str, where: str) -> tuple[float, float]:
        """Start and end, in seconds of the video, of the annotation with this id.

        Raises:
            DataError: the annotation has no time, or its end is before its start.
        """
        annotation = self.annotations.get(name)
        for _ in range(MAX_PARENTS):
            if annotation is None or annotation.tag != "REF_ANNOTATION":
                break
            annotation = self.annotations.get(annotation.get("ANNOTATION_REF"))
        if annotation is None or annotation.tag != "ALIGNABLE_ANNOTATION":
            raise DataError(f"{where}: refers to an annotation that is not there; save it anew with ELAN")
        start, end = (self._seconds(annotation.get(key), where) for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"))
        if end < start:
            raise DataError(f"{where}: ends at {end:g} s, before it starts at {start:g} s; correct it in ELAN")
        return start, end

    def _seconds(self, slot: str | None, where: str) -> float:
        """Time of a slot in seconds of the video."""
        before, after, share = self.spans.get(slot, (slot, slot, 0.0))
        start, end = self.slots.get(before), self.slots.get(after)
        if start is None or end is None:
            raise DataError(f"{where}: has no time; align it in ELAN")
        first, last = (parse_number(time, "time", where) for time in (start, end))
        return (first + share * (last - first) + self.origin) / 1000

    def _unaligned_spans(self, document: Element) -> dict[str | None, tuple[str | None, str | None, float]]:
        """For slots without time: the slots with time before and after it in its tier, and the share of the span."""
        spans = {}
        for tier in document.iterfind("TIER"):
            entries = tier.findall("ANNOTATION/ALIGNABLE_ANNOTATION")
            following = {entry.get("TIME_SLOT_REF1"): entry.get("TIME_SLOT_REF2") for entry in entries}
            visited: set[str | None] = set()  # in damaged files, chains may join or run in circles
            for first in [slot for slot in following if self.slots.get(slot) is not None]:
                chain = [first]
                while (slot := following.get(chain[-1])) is not None and slot not in visited:
                    chain.append(slot)
                    if self.slots.get(slot) is not None:
                        break
                    visited.add(slot)
                for index, slot in enumerate(chain[1:-1], start=1):
                    spans[slot] = (first, chain[-1], index / (len(chain) - 1))
        return spans
