"""Reader of ELAN annotations (``.eaf``).

There is one tier per axis, and per track or annotator if there are several. The axis is the last word of its name:
``valence``, ``track3_valence``, ``anna arousal``, ``track3_anna_valence``. The value of an annotation is the label of
its interval: it is read as one label, of the frame on screen at the middle, and the interval is noted.

Format: ELAN Annotation Format 2.8 and 3.0, https://archive.mpi.nl/tla/elan
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from datasets.annotations.cells import parse_number, parse_scores
from datasets.annotations.elan_times import AnnotationTimes
from datasets.annotations.files import read_xml
from datasets.annotations.timeline import Label, Timeline
from datasets.columns import AXES
from utils.base.errors import DataError
from utils.base.text import listed, quoted

SEPARATORS = " \t_.:/|-"
"""Characters between the parts of a tier's name."""

_TRACK = re.compile(rf"track[\s_-]*(\d{{1,9}})(?:$|[{re.escape(SEPARATORS)}]+(.*))", re.IGNORECASE | re.ASCII)

ROUNDING = 0.0006
"""Seconds by which the ends of an interval, in whole milliseconds, may be off."""


@dataclass
class _TierGroup:
    """The tiers of one track or annotator, by axis; `prefix` is what precedes the axis in their names."""

    prefix: str
    by_axis: dict[str, Element] = field(default_factory=dict)

    @property
    def track(self) -> int | None:
        """The track that the prefix begins with, if it does."""
        match = _TRACK.fullmatch(self.prefix)
        return int(match[1]) if match else None

    @property
    def annotator(self) -> str:
        """The tiers' attribute ANNOTATOR, or else the prefix of their names without the track."""
        named = [tier.get("ANNOTATOR", "").strip() for tier in self.by_axis.values()]
        match = _TRACK.fullmatch(self.prefix)
        return next(filter(None, named), "") or (match[2] or "" if match else self.prefix)


def read_elan(path: Path, timeline: Timeline, tier: str | None = None) -> Iterator[Label]:
    """Read the labels of an ELAN file; annotations without value are skipped.

    Args:
        path: the file.
        timeline: the frames of the video.
        tier: what precedes the axis in the names of the tiers to read; None = all.
    """
    document = read_xml(path, "ANNOTATION_DOCUMENT")
    times = AnnotationTimes(document, _time_origin(document, path))
    empty = True
    for group in _group_tiers(document, path, tier):
        for label in _read_group(group, times, timeline, path):
            empty = False
            yield label
    links = [link.get("LINK_URL", "") for link in document.iterfind("HEADER/LINKED_FILE_DESCRIPTOR")]
    tables = [link.rpartition("/")[2] for link in links if link.lower().endswith(".csv")]
    if empty and tables:
        raise DataError(f"{path}: contains no label, but links {listed(tables)}; pass one of these files instead")


def _time_origin(document: Element, path: Path) -> float:
    """Time of the video, in milliseconds, at time 0 of the file; DataError unless its times are milliseconds."""
    header = document.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise DataError(f"{path}: its times are in {quoted(units)}, not milliseconds; save it with a current ELAN")
    media = document.find("HEADER/MEDIA_DESCRIPTOR")
    origin = "0" if media is None else media.get("TIME_ORIGIN", "0")
    return parse_number(origin, "TIME_ORIGIN", f"{path} header")


def _group_tiers(document: Element, path: Path, wanted: str | None) -> list[_TierGroup]:
    """Group the tiers of valence and arousal by the prefix of their names; only one prefix if it is `wanted`."""
    groups: dict[str, _TierGroup] = {}
    names = [tier.get("TIER_ID", "") for tier in document.findall("TIER")]
    for name, tier in zip(names, document.findall("TIER"), strict=True):
        prefix, axis = _split_name(name)
        if axis is None or wanted is not None and prefix.casefold() != wanted.strip(SEPARATORS).casefold():
            continue
        group = groups.setdefault(prefix.casefold(), _TierGroup(prefix))
        if group.by_axis.setdefault(axis, tier) is not tier:
            raise DataError(f"{path}: tier {quoted(name)} occurs twice; rename or delete one")
    if not groups:
        found = listed(names) or "none"
        before = f" with {wanted!r} before it" if wanted is not None else ""
        raise DataError(f"{path}: no tier is named valence or arousal{before}; rename tiers, they are: {found}")
    return list(groups.values())


def _split_name(name: str) -> tuple[str, str | None]:
    """Split a tier's name into prefix and axis; the axis is None if the name does not end with one."""
    name = name.strip(SEPARATORS)
    for axis in AXES:
        if name[-len(axis) :].lower() == axis:
            return name[: -len(axis)].strip(SEPARATORS), axis
    return name, None


def _read_group(group: _TierGroup, times: AnnotationTimes, timeline: Timeline, path: Path) -> Iterator[Label]:
    """Read the labels of a group of tiers, pairing valence and arousal of the same frame."""
    cells: dict[int, dict[str, str]] = {}
    found: dict[int, tuple[str, str]] = {}  # by row of the timeline: where the label is, and the note on its interval
    for axis, tier in group.by_axis.items():
        for annotation in tier.findall("ANNOTATION/*"):
            text = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            if not text:
                continue
            name = annotation.get("ANNOTATION_ID", "")
            where = f"{path} tier {quoted(tier.get('TIER_ID'))}, annotation {quoted(name)}"
            start, end = times.interval(name, where)
            row = timeline.row_of_time((start + end) / 2, where, shown=True)
            if axis in cells.setdefault(row, {}):
                raise DataError(
                    f"{where}: its middle falls on frame {timeline.frames[row]}, which has its {axis} "
                    "from another annotation; delete one"
                )
            cells[row][axis] = text
            found.setdefault(row, (where, _interval_note(start, end, timeline)))
    for row, pair in cells.items():
        frame, (where, note) = int(timeline.frames[row]), found[row]
        scores = parse_scores(dict.fromkeys(AXES, "") | pair, f"{where} (frame {frame})")
        if scores is not None:
            yield Label(frame, *scores, group.annotator, group.track, where, note)


def _interval_note(start: float, end: float, timeline: Timeline) -> str:
    """Such as "frames 10 to 35" for an interval in seconds; "" if it covers one frame."""
    rows = timeline.rows_shown([start + ROUNDING, end - ROUNDING])
    first, last = timeline.frames[rows].tolist()
    return f"frames {first} to {last}" if first < last else ""
