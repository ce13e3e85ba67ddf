"""Reader and writer of ELAN annotations (``.eaf``).

There is one tier per axis, and per track or annotator if there are several. The axis is the last word of its name:
``valence``, ``track3_valence``, ``anna arousal``. The value of an annotation is the label; the reader assigns it to
the frame on screen at the middle of the annotation's time. Times are milliseconds.

Format: ELAN Annotation Format 2.8 and 3.0, https://archive.mpi.nl/tla/elan
"""

import mimetypes
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd

from datasets.annotations.cells import parse_number, parse_scores, score_text
from datasets.annotations.files import read_xml, xml_text
from datasets.annotations.timeline import Label, Timeline
from datasets.annotations.traces import split_traces
from datasets.columns import AXES
from utils.base.errors import DataError
from utils.base.files import write_text
from utils.base.text import listed, quoted

_SEPARATORS = " \t_.:/|-"
_TRACK = re.compile(r"track[\s_-]*(\d{1,9})", re.IGNORECASE | re.ASCII)
_MAX_PARENTS = 32


@dataclass
class _TierGroup:
    """The tiers of one track or annotator, by axis; `prefix` is what precedes the axis in their names."""

    prefix: str
    by_axis: dict[str, Element] = field(default_factory=dict)

    @property
    def track(self) -> int | None:
        """The track that the prefix names, if it does."""
        match = _TRACK.fullmatch(self.prefix)
        return int(match[1]) if match else None

    @property
    def annotator(self) -> str:
        """The tiers' attribute ANNOTATOR, or else the prefix of their names, unless that is a track."""
        named = [tier.get("ANNOTATOR", "").strip() for tier in self.by_axis.values()]
        return next(filter(None, named), "") or (self.prefix if self.track is None else "")


def read_elan(path: Path, timeline: Timeline, tier: str | None = None) -> Iterator[Label]:
    """Read the labels of an ELAN file; annotations without value are skipped.

    Args:
        path: the file.
        timeline: the frames of the video.
        tier: what precedes the axis in the names of the tiers to read; None = all.
    """
    document = read_xml(path, "ANNOTATION_DOCUMENT")
    _check_time_units(document, path)
    midpoints = _Midpoints(document)
    for group in _group_tiers(document, path, tier):
        yield from _read_group(group, midpoints, timeline, path)


def _check_time_units(document: Element, path: Path) -> None:
    """Raise DataError unless the times of the file are milliseconds from the start of its video."""
    header = document.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise DataError(f"{path}: its times are in {quoted(units)}, not milliseconds; save it with a current ELAN")
    media = document.find("HEADER/MEDIA_DESCRIPTOR")
    if media is not None and media.get("TIME_ORIGIN", "0") != "0":
        raise DataError(
            f"{path}: its first media file has an offset (TIME_ORIGIN {quoted(media.get('TIME_ORIGIN'))}); "
            "set it to 0 in ELAN's media synchronization"
        )


def _group_tiers(document: Element, path: Path, wanted: str | None) -> list[_TierGroup]:
    """Group the tiers of valence and arousal by the prefix of their names; only one prefix if it is `wanted`."""
    groups: dict[str, _TierGroup] = {}
    names = [tier.get("TIER_ID", "") for tier in document.findall("TIER")]
    for name, tier in zip(names, document.findall("TIER"), strict=True):
        prefix, axis = _split_name(name)
        if axis is None or wanted is not None and prefix.casefold() != wanted.strip(_SEPARATORS).casefold():
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
    name = name.strip(_SEPARATORS)
    for axis in AXES:
        if name[-len(axis) :].lower() == axis:
            return name[: -len(axis)].strip(_SEPARATORS), axis
    return name, None


def _read_group(group: _TierGroup, midpoints: "_Midpoints", timeline: Timeline, path: Path) -> Iterator[Label]:
    """Read the labels of a group of tiers, pairing valence and arousal of the same frame."""
    cells: dict[int, dict[str, str]] = {}
    locations: dict[int, str] = {}
    for axis, tier in group.by_axis.items():
        for annotation in tier.findall("ANNOTATION/*"):
            text = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            if not text:
                continue
            name = annotation.get("ANNOTATION_ID", "")
            where = f"{path} tier {quoted(tier.get('TIER_ID'))}, annotation {quoted(name)}"
            row = timeline.row_of_time(midpoints.seconds(name, where), where, shown=True)
            if axis in cells.setdefault(row, {}):
                raise DataError(
                    f"{where}: its middle falls on frame {timeline.frames[row]}, which has its {axis} "
                    "from another annotation; delete one"
                )
            cells[row][axis] = text
            locations.setdefault(row, where)
    for row, pair in cells.items():
        frame = int(timeline.frames[row])
        scores = parse_scores(dict.fromkeys(AXES, "") | pair, f"{locations[row]} (frame {frame})")
        if scores is not None:
            yield Label(frame, *scores, group.annotator, group.track, locations[row])


class _Midpoints:
    """Finds the middle of an annotation's time; dependent annotations have the time of their parent."""

    def __init__(self, document: Element):
        self.slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in document.iterfind("TIME_ORDER/*")}
        self.annotations = {entry.get("ANNOTATION_ID"): entry for entry in document.iterfind("TIER/ANNOTATION/*")}

    def seconds(self, name: str, where: str) -> float:
        """Middle in seconds of the time of the annotation with this id."""
        annotation = self.annotations.get(name)
        for _ in range(_MAX_PARENTS):
            if annotation is None or annotation.tag != "REF_ANNOTATION":
                break
            annotation = self.annotations.get(annotation.get("ANNOTATION_REF"))
        if annotation is None or annotation.tag != "ALIGNABLE_ANNOTATION":
            raise DataError(f"{where}: refers to an annotation that is not there; save it anew with ELAN")
        start, end = (self.slots.get(annotation.get(key)) for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"))
        if start is None or end is None:
            raise DataError(f"{where}: has no time; align it in ELAN")
        return (parse_number(start, "time", where) + parse_number(end, "time", where)) / 2000


DATE = "1970-01-01T00:00:00Z"
"""ELAN requires a date of writing; a fixed one gives equal files for equal labels."""


def write_elan(path: str | Path, table: pd.DataFrame, video: str | Path | None, annotator: str = "MT-CLAR") -> None:
    """Write the labels of one video as an ELAN file.

    Each labelled frame has an annotation that lasts as long as the frame is shown.

    Args:
        path: the file to write.
        table: columns frame, time (seconds), track, valence, arousal (NaN = no label); see ``split_traces``.
        video: the media file to link; None = no file, for a folder of frames.
        annotator: name of the annotator, an attribute of each tier.

    Raises:
        DataError: see ``split_traces``.
        StorageError: the file cannot be written.
    """
    # Imported here, so that reading labels does not need pympi.
    from pympi import Eaf
    from pympi.Elan import to_string

    path = Path(path)
    timeline, traces = split_traces(table)
    ends = _milliseconds(timeline)
    document = Eaf(author=xml_text(annotator))
    document.adocument["DATE"] = DATE
    document.remove_tier("default")
    document.header = {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    if video is not None:
        document.add_linked_file(**_media(Path(video), path))
    count = 0
    for trace in traces:
        for axis in AXES:
            tier = f"{trace.prefix}_{axis}" if trace.prefix else axis
            document.add_tier(tier, part=trace.prefix or None, ann=xml_text(annotator))
            for row in np.flatnonzero(~np.isnan(trace.scores[axis])):
                document.add_annotation(tier, ends[row], ends[row + 1], score_text(trace.scores[axis][row]))
                count += 1
    document.properties = [("lastUsedAnnotationId", count)]
    write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{to_string(document)}\n')


def _milliseconds(timeline: Timeline) -> list[int]:
    """Starts of the N frames and the end of the last in milliseconds, each at least 1 ms after the one before."""
    ends = np.round(np.append(timeline.times, timeline.times[-1] + timeline.step) * 1000).astype(np.int64)
    count = np.arange(len(ends))
    return (np.maximum.accumulate(np.maximum(ends, 0) - count) + count).tolist()


def _media(video: Path, path: Path) -> Mapping[str, str | None]:
    """Arguments of ``Eaf.add_linked_file`` for a video that an ELAN file at `path` links."""
    video = video.absolute()
    try:
        relative = Path(os.path.relpath(video, path.absolute().parent)).as_posix()
    except ValueError:  # on another drive there is no relative path
        relative = None
    return {
        "file_path": video.as_uri(),
        "relpath": relative and xml_text(relative if relative.startswith("../") else f"./{relative}"),
        "mimetype": mimetypes.guess_type(video.name)[0] or "unknown",
    }
