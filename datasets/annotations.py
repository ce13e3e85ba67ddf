"""A person's labels of one video: the time they refer to, CSV, and the parts that ELAN and NOVA share.

=========================  ===================================================================================
file                       holds
=========================  ===================================================================================
``.csv``, ``.tsv``         ``frame`` or ``time`` (seconds), ``valence``, ``arousal``; optional ``annotator``, ``track``,
                           ``note``
``.eaf`` (ELAN)            a tier per axis, see ``datasets.elan``
``.annotation`` (NOVA)     a file per axis, found from each other by name, see ``datasets.nova``
=========================  ===================================================================================

These files come from anywhere. A label is never guessed, clipped or moved in silence: what cannot be used is a
DataError that names the file, the row and the remedy. Size, depth and columns are bounded, XML entities refused.
"""

import csv
import difflib
import io
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

import numpy as np
import pandas as pd
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from datasets.frames import MAX_COLUMNS, DataError, require_columns

AXES = ("valence", "arousal")
AFEWVA_LIMIT = 10

MAX_TEXT_BYTES = 16 << 20
MAX_XML_BYTES = 32 << 20
MAX_XML_ELEMENTS = 500_000
MAX_XML_DEPTH = 32
MAX_TRACK = 999_999_999
MAX_DIGITS = 60

_CSV_COLUMNS = ("frame", "time", *AXES, "annotator", "track", "note")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_SINGLE_FRAME_SECONDS = 1 / 25
_TIME_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Timeline:
    """The frames of one video and when each is shown.

    Args:
        frames: (N,) frame numbers, increasing.
        times: (N,) seconds at which each frame starts to be shown, not decreasing.

    Raises:
        DataError: no frame, unequal lengths, or not in order.
    """

    frames: np.ndarray
    times: np.ndarray

    def __post_init__(self):
        frames, times = np.asarray(self.frames, np.int64), np.asarray(self.times, np.float64)
        if frames.ndim != 1 or frames.shape != times.shape or not len(frames):
            raise DataError(f"a timeline needs one time per frame: {frames.shape} frames, {times.shape} times")
        if (np.diff(frames) <= 0).any() or (np.diff(times) < 0).any() or not np.isfinite(times).all():
            raise DataError("the frames of a video must come in order, with times in seconds that do not go back")
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "times", times)

    @classmethod
    def at_rate(cls, count: int, fps: float) -> "Timeline":
        """Frames 0 … count - 1 at a constant rate of ``fps`` frames a second."""
        if not (fps > 0 and math.isfinite(fps)):
            raise DataError(f"{fps} frames a second: the rate must be above 0")
        return cls(np.arange(count), np.arange(count) / fps)

    @cached_property
    def step(self) -> float:
        """Typical seconds from one frame to the next."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else _SINGLE_FRAME_SECONDS

    def nearest(self, times) -> np.ndarray:
        """Rows (…) of the frames whose times are nearest to ``times`` (…) in seconds; the earlier of two."""
        after = np.searchsorted(self.times, times).clip(1, max(len(self.times) - 1, 1))
        after = np.minimum(after, len(self.times) - 1)
        before = np.maximum(after - 1, 0)
        return np.where(np.abs(self.times[after] - times) < np.abs(self.times[before] - times), after, before)

    def row_of_frame(self, frame: int, where: str) -> int:
        """Row of a frame number; DataError if the video has no such frame."""
        row = int(np.searchsorted(self.frames, frame))
        if row < len(self.frames) and self.frames[row] == frame:
            return row
        if frame < 0:
            raise DataError(f"{where}: frame {frame} is negative; frames count from {self.frames[0]}")
        if frame > self.frames[-1]:
            raise DataError(f"{where}: frame {frame} is beyond the end, the last frame is {self.frames[-1]}; "
                            "correct or delete it")  # fmt: skip
        raise DataError(f"{where}: the video has no frame {frame}, the next one is {self.frames[row]}; "
                        "correct or delete it")  # fmt: skip

    def row_of_time(self, time: float, where: str, shown: bool = False) -> int:
        """Row of the frame nearest to a time in seconds, or (``shown``) of the one on screen at that time."""
        if time < 0:
            raise DataError(f"{where}: time {time:g} s is negative; times count from the start of the video")
        if time > self.times[-1] + self.step + _TIME_TOLERANCE:
            raise DataError(f"{where}: time {time:g} s is beyond the end, the last frame is {self.frames[-1]} at "
                            f"{self.times[-1]:.3f} s; correct or delete it")  # fmt: skip
        if shown:
            return max(int(np.searchsorted(self.times, time + _TIME_TOLERANCE, side="right")) - 1, 0)
        return int(self.nearest(time))


class Label(NamedTuple):
    """Valence and arousal that somebody gave one frame; ``where`` is the file and row that say so."""

    frame: int
    valence: float
    arousal: float
    annotator: str
    track: int | None
    where: str
    note: str = ""


# One cell


def parse_number(text: str, what: str, where: str) -> float:
    """A finite number, or a DataError that says what is wrong with it."""
    text = text.strip()
    if len(text) <= MAX_DIGITS and _NUMBER.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    if _DECIMAL_COMMA.fullmatch(text):
        raise DataError(f"{where}: {what} {shown(text)} has a decimal comma; write {shown(text.replace(',', '.'))}")
    raise DataError(f"{where}: {what} {shown(text)} is not a finite number; correct or delete it")


def shown(text: str) -> str:
    """Text from a file as an error quotes it: on one line, at most 40 characters."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def parse_scores(cells: Mapping[str, str], where: str) -> tuple[float, float] | None:
    """Valence and arousal, each in [-1, 1]; None if both cells are empty.

    Raises:
        DataError: one of the two alone, or not a number in [-1, 1].
    """
    missing = [axis for axis in AXES if not cells[axis].strip()]
    if len(missing) == 2:
        return None
    if missing:
        given = next(axis for axis in AXES if axis not in missing)
        raise DataError(f"{where}: {given} has no {missing[0]} beside it; give both, or neither")
    valence, arousal = (_parse_score(cells[axis], axis, where) for axis in AXES)
    return valence, arousal


def _parse_score(text: str, axis: str, where: str) -> float:
    value = parse_number(text, axis, where)
    if abs(value) <= 1:
        return value
    remedy = "correct it"
    if abs(value) <= AFEWVA_LIMIT and value.is_integer():
        remedy = (f"it looks like AFEW-VA's scale of -{AFEWVA_LIMIT} to {AFEWVA_LIMIT}: "
                  f"divide all labels by {AFEWVA_LIMIT}")  # fmt: skip
    raise DataError(f"{where}: {axis} {value:g} is outside [-1, 1]; {remedy}")


def _parse_whole(text: str, what: str, where: str) -> int:
    value = parse_number(text, what, where)
    if not value.is_integer():
        raise DataError(f"{where}: {what} {value:g} is not a whole number; correct it")
    return int(value)


# CSV


def read_csv(path: Path, timeline: Timeline) -> Iterator[Label]:
    """Labels of a CSV or TSV; separated by commas, semicolons or tabs, as the header is."""
    for where, cells in _csv_rows(path):
        scores = parse_scores(cells, where)
        if scores is None:
            continue
        frame = int(timeline.frames[_csv_frame(cells, timeline, where)])
        track = _parse_track(cells.get("track", "").strip(), where)
        yield Label(frame, *scores, cells.get("annotator", "").strip(), track, where,
                    plain_text(cells.get("note", "").strip()))  # fmt: skip


def _parse_track(text: str, where: str) -> int | None:
    if not text:
        return None
    track = _parse_whole(text, "track", where)
    if not 0 <= track <= MAX_TRACK:
        raise DataError(f"{where}: track {shown(text)} is no track number; correct it, or leave it empty")
    return track


def _csv_frame(cells: Mapping[str, str], timeline: Timeline, where: str) -> int:
    """Row of the timeline that ``frame``, ``time`` or both mean."""
    frame, time = (cells.get(name, "").strip() for name in ("frame", "time"))
    if not frame and not time:
        raise DataError(f"{where}: has labels but neither frame nor time; give one")
    if not time:
        return timeline.row_of_frame(_parse_whole(frame, "frame", where), where)
    seconds = parse_number(time, "time", where)
    by_time = timeline.row_of_time(seconds, where)
    if not frame:
        return by_time
    row = timeline.row_of_frame(_parse_whole(frame, "frame", where), where)
    if row != by_time and abs(timeline.times[row] - seconds) > timeline.step / 2 + _TIME_TOLERANCE:
        raise DataError(f"{where}: frame {timeline.frames[row]} is at {timeline.times[row]:.3f} s, not at "
                        f"{seconds:g} s; correct one of them or leave it empty")  # fmt: skip
    return row


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and cells by column name of each row that is not blank."""
    text = read_text(path, "save it as CSV in UTF-8")
    first_line = next(io.StringIO(text, newline=""), "")
    separator = max(",;\t", key=first_line.count)
    if first_line.count(separator) >= MAX_COLUMNS:
        raise DataError(f"{path}: more than {MAX_COLUMNS} columns; give frame, valence, arousal")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = _csv_header(next(rows, []), path)
        count = 0
        for row in rows:
            if any(cell.strip() for cell in row):
                count += 1
                where = f"{path} row {rows.line_num}"
                yield where, _csv_cells(names, row, where)
    except csv.Error as error:
        raise DataError(f"{path} row {rows.line_num}: cannot be read as CSV ({error}); restore the file") from error
    if not count:
        raise DataError(f"{path}: has a header but no rows; add a row per labelled frame")


def _csv_header(row: list[str], path: Path) -> list[str]:
    names = [name.strip().lower()[:40] for name in row]
    if not any(names):
        raise DataError(f"{path}: is empty or lacks its header; the first line must be frame,valence,arousal")
    require_columns(names, AXES, path)
    if "frame" not in names and "time" not in names:
        near = [*difflib.get_close_matches("frame", names, 1), *difflib.get_close_matches("time", names, 1)]
        remedy = f"rename its column {near[0]!r}" if near else f"add one; its columns are {', '.join(names)}"
        raise DataError(f"{path}: neither a column 'frame' nor 'time' (seconds): {remedy}")
    for name in _CSV_COLUMNS:
        if names.count(name) > 1:
            raise DataError(f"{path}: column {name!r} is there twice; delete or rename one")
    return names


def _csv_cells(names: list[str], row: list[str], where: str) -> dict[str, str]:
    """Cells by column; a row may stop early, its other cells are empty."""
    if any(cell.strip() for cell in row[len(names) :]):
        raise DataError(f"{where}: {len(row)} cells under {len(names)} columns; a decimal comma? Write 0.5, not 0,5")
    row = row[: len(names)]
    return dict(zip(names, row + [""] * (len(names) - len(row)), strict=True))


# Files from elsewhere, and text for them


def read_text(path: Path, remedy: str) -> str:
    """A bounded file as UTF-8 text, without byte order mark."""
    data = _read_bytes(path, MAX_TEXT_BYTES)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}); {remedy}") from error


def read_xml(path: Path, root: str) -> Element:
    """Root element of a bounded XML file without document type and entities, so that none can be expanded.

    Args:
        root: the tag that it must have.
    """
    parser = DefusedXMLParser(target=_BoundedTree(path), forbid_dtd=True)
    try:
        parser.feed(_read_bytes(path, MAX_XML_BYTES))
        tree = parser.close()
    except DataError:
        raise
    except DefusedXmlException as error:
        raise DataError(f"{path}: declares a document type or entities, which are refused; export it anew") from error
    except (ParseError, ValueError, LookupError) as error:  # the last two: encodings that the parser lacks
        raise DataError(f"{path}: is no intact XML ({error}); export it anew") from error
    if tree.tag != root:
        raise DataError(f"{path}: its root is {shown(tree.tag)}, not {root!r}; check the file's ending")
    return tree


class _BoundedTree(TreeBuilder):
    """Builds the element tree, and stops when it grows beyond what an annotation can be."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.depth = self.elements = 0

    def start(self, tag, attributes):
        self.depth += 1
        self.elements += 1
        if self.depth > MAX_XML_DEPTH or self.elements > MAX_XML_ELEMENTS:
            raise DataError(f"{self.path}: nested or long beyond any annotation; export it anew")
        return super().start(tag, attributes)

    def end(self, tag):
        self.depth -= 1
        return super().end(tag)


def _read_bytes(path: Path, limit: int) -> bytes:
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file; check the path of the labels")
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); restore the file") from error
    if len(data) > limit:
        raise DataError(f"{path}: larger than {limit / 2**20:g} MB, no annotation of one video; split it")
    return data


def xml_text(value: object) -> str:
    """Text that XML can hold: what it cannot (control characters, lone surrogates) becomes U+FFFD."""
    return _NOT_XML.sub("\ufffd", str(value))


def safe_text(value: str) -> str:
    """A text cell for CSV that a spreadsheet shows instead of running it as a formula: ' precedes such a start."""
    return f"'{value}" if value.startswith(_FORMULA_STARTS) or value.lstrip().startswith(_FORMULA_STARTS) else value


def plain_text(value: str) -> str:
    """What `safe_text` was given."""
    return value[1:] if value.startswith("'") and safe_text(value[1:]) == value else value


# What both exports share


class Trace(NamedTuple):
    """The labels of one track over all N frames of the video: ``scores`` by axis (N,) float32, NaN = none."""

    track: int | None
    scores: dict[str, np.ndarray]
    confidence: np.ndarray

    @property
    def prefix(self) -> str:
        """``track3`` for track 3, "" where the table has no tracks."""
        return "" if self.track is None else f"track{self.track}"


def split_traces(table: pd.DataFrame, confidence: np.ndarray | None = None) -> tuple[Timeline, list[Trace]]:
    """Spread the labels of one video over its timeline, a trace per track.

    Args:
        table: columns frame, time (seconds), valence, arousal (NaN = none), optional track (missing or negative:
            no face there; such a row only lends its frame), optional confidence.
        confidence: (rows,) in [0, 1], in place of the column; 1 where there is neither.

    Raises:
        DataError: empty table, a frame twice in a track, a confidence outside [0, 1].
    """
    table = table.reset_index(drop=True)
    if confidence is not None:
        table["confidence"] = np.asarray(confidence, np.float64)
    elif "confidence" not in table:
        table["confidence"] = 1.0
    clock = table.drop_duplicates("frame").sort_values("frame")
    timeline = Timeline(clock["frame"].to_numpy(), clock["time"].to_numpy())
    known = table["track"].notna() & (table["track"] >= 0) if "track" in table else pd.Series(False, table.index)
    if not known.any():
        return timeline, [_trace(None, table, timeline)]
    groups = table[known].groupby(table.loc[known, "track"].astype(np.int64))
    return timeline, [_trace(int(track), rows, timeline) for track, rows in groups]


def _trace(track: int | None, rows: pd.DataFrame, timeline: Timeline) -> Trace:
    rows = rows.set_index("frame")
    if not rows.index.is_unique:
        frame = rows.index[rows.index.duplicated()][0]
        raise DataError(f"frame {frame} of track {track} is in the table twice; export one video at a time")
    rows = rows.reindex(timeline.frames)
    scores = {axis: rows[axis].to_numpy(np.float32) for axis in AXES}
    scored = ~np.isnan(scores["valence"]) | ~np.isnan(scores["arousal"])
    confidence = rows["confidence"].to_numpy(np.float64)
    if not ((confidence[scored] >= 0) & (confidence[scored] <= 1)).all():
        raise DataError(f"confidence of track {track}: must be a number in [0, 1] for each frame with a label")
    return Trace(track, scores, np.where(scored, confidence, 0.0))


def score_text(score: np.float32) -> str:
    """Shortest decimal text, without exponent, that reads back as the same float32."""
    return np.format_float_positional(score, unique=True, trim="0")
