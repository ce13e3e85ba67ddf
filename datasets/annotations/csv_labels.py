"""Reader of labels in CSV and TSV files.

=========================  ==========================================================================
column                     meaning
=========================  ==========================================================================
``frame`` or ``time``      number of the frame, or seconds from the start of the video; or both
``valence``, ``arousal``   in [-1, 1]; rows without both are skipped
``annotator`` (optional)   who gave the label
``track`` (optional)       number of the face that the label belongs to
``note`` (optional)        the annotator's remark
=========================  ==========================================================================
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from datasets.annotations.cells import parse_number, parse_scores, parse_track, parse_whole_number
from datasets.annotations.csv_rows import cells_by_column, csv_rows
from datasets.annotations.timeline import TIME_TOLERANCE, Label, Timeline
from datasets.columns import AXES
from datasets.csv_files import require_columns
from utils.base.errors import DataError
from utils.base.text import listed, plain_text, quoted

COLUMNS = ("frame", "time", *AXES, "annotator", "track", "note")


def read_csv(path: Path, timeline: Timeline, tier: str | None = None) -> Iterator[Label]:
    """Read the labels of a CSV, separated by commas, semicolons or tabs, whichever its header has most of.

    Args:
        path: the file.
        timeline: the frames of the video; a time means the nearest frame.
        tier: ignored, since a CSV has no tiers.
    """
    for where, cells in _rows(path):
        scores = parse_scores(cells, where)
        if scores is None:
            continue
        valence, arousal = scores
        frame = int(timeline.frames[_row_in_timeline(cells, timeline, where)])
        track = parse_track(cells.get("track", ""), where)
        annotator, note = cells.get("annotator", ""), plain_text(cells.get("note", ""))
        yield Label(frame, valence, arousal, annotator, track, where, note)


def _row_in_timeline(cells: Mapping[str, str], timeline: Timeline, where: str) -> int:
    """Row of the timeline that ``frame``, ``time`` or both refer to."""
    frame, time = (cells.get(name, "") for name in ("frame", "time"))
    if not frame and not time:
        raise DataError(f"{where}: has labels but neither frame nor time; give one")
    if not time:
        return timeline.row_of_frame(parse_whole_number(frame, "frame", where), where)
    seconds = parse_number(time, "time", where)
    row_by_time = timeline.row_of_time(seconds, where)
    if not frame:
        return row_by_time
    row = timeline.row_of_frame(parse_whole_number(frame, "frame", where), where)
    if row != row_by_time and abs(timeline.times[row] - seconds) > timeline.step / 2 + TIME_TOLERANCE:
        raise DataError(
            f"{where}: frame {timeline.frames[row]} is at {timeline.times[row]:.3f} s, not at "
            f"{seconds:g} s; correct one of them or leave it empty"
        )
    return row


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Read the rows that are not blank: file and row for messages, and the cells by column name."""
    rows = csv_rows(path)
    names = _column_names(next(rows, ("", []))[1], path)
    row = None
    for row in rows:
        yield row[0], cells_by_column(names, row[1], row[0])
    if row is None:
        raise DataError(f"{path}: has a header but no rows; add a row per labelled frame")


def _column_names(header: list[str], path: Path) -> list[str]:
    """Column names in lower case; DataError unless the required ones are there, each known one once."""
    names = [name.lower()[:40] for name in header]
    if not any(names):
        raise DataError(f"{path}: is empty or lacks its header; the first line must be frame,valence,arousal")
    require_columns(names, AXES, path)
    if "frame" not in names and "time" not in names:
        similar = [*difflib.get_close_matches("frame", names, 1), *difflib.get_close_matches("time", names, 1)]
        remedy = f"rename its column {quoted(similar[0])}" if similar else f"add one; its columns are {listed(names)}"
        raise DataError(f"{path}: neither a column 'frame' nor 'time' (seconds): {remedy}")
    for name in COLUMNS:
        if names.count(name) > 1:
            raise DataError(f"{path}: column {name!r} occurs twice; delete or rename one")
    return names
