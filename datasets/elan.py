"""ELAN annotations (``.eaf``): support labels from its tiers, and predicted labels as tiers.

A tier per axis, and per track or annotator where there are several, named so that the axis comes last:
``valence``, ``track3_valence``, ``anna arousal``. An annotation's value is the label; in reading, it belongs to
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

from datasets.annotations import (
    AXES,
    Label,
    Timeline,
    parse_number,
    parse_scores,
    read_xml,
    score_text,
    shown,
    split_traces,
    xml_text,
)
from datasets.frames import DataError
from utils.files import write_text

_SEPARATORS = " \t_.:/|-"
_TRACK = re.compile(r"track[\s_-]*(\d{1,9})", re.IGNORECASE | re.ASCII)
_MAX_PARENTS = 32


@dataclass
class _Tiers:
    """The tiers of one track or annotator, by axis."""

    prefix: str
    by_axis: dict[str, Element] = field(default_factory=dict)

    @property
    def track(self) -> int | None:
        match = _TRACK.fullmatch(self.prefix)
        return int(match[1]) if match else None

    @property
    def annotator(self) -> str:
        """As the tiers say; else the prefix of their names, unless that is a track."""
        named = [tier.get("ANNOTATOR", "").strip() for tier in self.by_axis.values()]
        return next(filter(None, named), "") or (self.prefix if self.track is None else "")


def read_elan(path: Path, timeline: Timeline, tier: str | None = None) -> Iterator[Label]:
    """Labels of an ELAN file; annotations without value are skipped.

    Args:
        tier: what precedes the axis in the names of the tiers to read; None: all.
    """
    document = read_xml(path, "ANNOTATION_DOCUMENT")
    _check_clock(document, path)
    middles = _Middles(document, path)
    for tiers in _axis_tiers(document, path, tier):
        yield from _read_tiers(tiers, middles, timeline, path)


def _check_clock(document: Element, path: Path) -> None:
    """Refuse a file whose times are not milliseconds from the start of its video."""
    header = document.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise DataError(f"{path}: its times are in {shown(units)}, not milliseconds; save it with a current ELAN")
    media = document.find("HEADER/MEDIA_DESCRIPTOR")
    if media is not None and media.get("TIME_ORIGIN", "0") != "0":
        raise DataError(f"{path}: its first media file has an offset (TIME_ORIGIN {shown(media.get('TIME_ORIGIN'))}); "
                        "set it to 0 in ELAN's media synchronization")  # fmt: skip


def _axis_tiers(document: Element, path: Path, wanted: str | None) -> list[_Tiers]:
    groups: dict[str, _Tiers] = {}
    names = [tier.get("TIER_ID", "") for tier in document.findall("TIER")]
    for name, tier in zip(names, document.findall("TIER"), strict=True):
        prefix, axis = _split_name(name)
        if axis is None or wanted is not None and prefix.casefold() != wanted.strip(_SEPARATORS).casefold():
            continue
        group = groups.setdefault(prefix.casefold(), _Tiers(prefix))
        if group.by_axis.setdefault(axis, tier) is not tier:
            raise DataError(f"{path}: tier {shown(name)} is there twice; rename or delete one")
    if not groups:
        found = ", ".join(map(shown, names[:10])) or "none"
        before = f" with {wanted!r} before it" if wanted is not None else ""
        raise DataError(f"{path}: no tier is named valence or arousal{before}; rename tiers, they are: {found}")
    return list(groups.values())


def _split_name(name: str) -> tuple[str, str | None]:
    """What precedes the axis in a tier's name, and the axis; None if the name ends otherwise."""
    name = name.strip(_SEPARATORS)
    for axis in AXES:
        if name[-len(axis) :].lower() == axis:
            return name[: -len(axis)].strip(_SEPARATORS), axis
    return name, None


def _read_tiers(tiers: _Tiers, middles: "_Middles", timeline: Timeline, path: Path) -> Iterator[Label]:
    """Pair valence and arousal of one frame."""
    cells: dict[int, dict[str, str]] = {}
    places: dict[int, str] = {}
    for axis, tier in tiers.by_axis.items():
        for annotation in tier.findall("ANNOTATION/*"):
            text = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            if not text:
                continue
            name = annotation.get("ANNOTATION_ID", "")
            where = f"{path} tier {shown(tier.get('TIER_ID'))}, annotation {shown(name)}"
            row = timeline.row_of_time(middles.seconds(name, where), where, shown=True)
            if axis in cells.setdefault(row, {}):
                raise DataError(f"{where}: its middle falls on frame {timeline.frames[row]}, which has its {axis} "
                                "from another annotation; delete one")  # fmt: skip
            cells[row][axis] = text
            places.setdefault(row, where)
    for row, pair in cells.items():
        scores = parse_scores(dict.fromkeys(AXES, "") | pair, f"{places[row]} (frame {timeline.frames[row]})")
        yield Label(int(timeline.frames[row]), *scores, tiers.annotator, tiers.track, places[row])


class _Middles:
    """The middle of each annotation's time, in seconds, also of those that lend their parent's."""

    def __init__(self, document: Element, path: Path):
        self.path = path
        self.slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in document.iterfind("TIME_ORDER/*")}
        self.annotations = {one.get("ANNOTATION_ID"): one for one in document.iterfind("TIER/ANNOTATION/*")}

    def seconds(self, name: str, where: str) -> float:
        """Middle of the annotation of this id."""
        for _ in range(_MAX_PARENTS):
            one = self.annotations.get(name)
            if one is None or one.tag != "REF_ANNOTATION":
                break
            name = one.get("ANNOTATION_REF")
        if one is None or one.tag != "ALIGNABLE_ANNOTATION":
            raise DataError(f"{where}: refers to an annotation that is not there; save it anew with ELAN")
        ends = [self.slots.get(one.get(key)) for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2")]
        if None in ends:
            raise DataError(f"{where}: has no time; align it in ELAN")
        start, end = (parse_number(end, "time", where) for end in ends)
        return (start + end) / 2000


def write_elan(path: str | Path, table: pd.DataFrame, video: str | Path | None, annotator: str = "MT-CLAR") -> None:
    """Write the labels of one video as an ELAN file.

    An annotation lasts as long as its frame is shown; frames without label have none.

    Args:
        table: columns frame, time (seconds), track, valence, arousal (NaN = none); see ``split_traces``.
        video: the media file to link; None (a folder of frames): none.
        annotator: named on each tier.
    """
    from pympi import Eaf
    from pympi.Elan import to_string

    path = Path(path)
    timeline, traces = split_traces(table)
    ends = _milliseconds(timeline)
    document = Eaf(author=xml_text(annotator))
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
    """(N + 1,) starts of the frames and the end of the last, each at least 1 ms after the one before."""
    ends = np.round(np.append(timeline.times, timeline.times[-1] + timeline.step) * 1000).astype(np.int64)
    count = np.arange(len(ends))
    return (np.maximum.accumulate(np.maximum(ends, 0) - count) + count).tolist()


def _media(video: Path, path: Path) -> Mapping[str, str | None]:
    video = video.absolute()
    try:
        relative = Path(os.path.relpath(video, path.absolute().parent)).as_posix()
    except ValueError:  # another drive
        relative = None
    return {
        "file_path": video.as_uri(),
        "relpath": relative and xml_text(relative if relative.startswith("../") else f"./{relative}"),
        "mimetype": mimetypes.guess_type(video.name)[0] or "unknown",
    }
