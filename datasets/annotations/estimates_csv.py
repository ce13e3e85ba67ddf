"""Reads the CSV of another tool's estimates: finds the columns by name, parses them, and brings both axes to [-1, 1].

=========  ==========================================================================
role       meaning
=========  ==========================================================================
valence    valence, on one of the scales of `_rescaled`
arousal    arousal, likewise; the two scales may differ
frame      number of the frame, from 0
time       seconds, milliseconds or HH:MM:SS from the start of the video
track      optional: number of the face track
video      optional: name of the video or clip
=========  ==========================================================================
"""

import csv
import io
import logging
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from datasets.annotations.cells import parse_number
from datasets.columns import AXES
from datasets.csv_files import require_columns
from utils.base.errors import DataError
from utils.base.text import listed, quoted

logger = logging.getLogger(__name__)

COLUMN_NAMES = {
    "valence": ("valence",),
    "arousal": ("arousal",),
    "frame": ("frame",),
    "time": ("time", "timestamp", "Video Time"),
    "track": ("track", "face", "face_id"),
    "video": ("video", "clip", "file_name", "input"),
}
"""Names of the column for each role, by precedence; case and punctuation are ignored.

Besides plain words, they are the names that tools write: Py-Feat (frame, input), FaceReader (Video Time),
OpenFace (timestamp, face_id) and the metadata of Hugging Face (file_name). A unit may follow the name of the time.
"""

MISSING = ("", "nan", "na", "fit_failed", "find_failed")
"""Cells that mean no estimate, in lower case; the last two are FaceReader's."""

MAX_HEADER_BYTES = 1 << 18  # Py-Feat writes about 2,000 columns.
MAX_LINES_BEFORE_HEADER = 30  # FaceReader writes about ten.
MAX_ROWS = 5_000_000
MAX_POSITION = 1e9
"""Largest frame number, and largest time in seconds."""

ROUNDING = 1e-6
"""How far a value may exceed the end of its scale through rounding."""

_UNIT = re.compile("(?:in)?(?P<unit>ms|msecs?|milliseconds?|s|secs?|seconds?)$")
_CLOCK_TIME = re.compile("^([0-9]{1,4}):([0-5]?[0-9]):([0-5]?[0-9](?:[.][0-9]*)?)$")


class Column(NamedTuple):
    """A column of the file: its role, its name and position there, and what its values must be divided by."""

    role: str
    name: str
    position: int
    divisor: float = 1.0


def read_table(path: Path) -> pd.DataFrame:
    """Read the estimates of one or more videos.

    Args:
        path: CSV in UTF-8, separated by commas, semicolons or tabs. Lines before the header are skipped.

    Returns:
        One row per row of the file: ``row`` (int64, its line in the file), ``valence``, ``arousal`` (float64 in
        [-1, 1], NaN = none), ``frame`` or ``time`` (float64; NaN only where both axes are), and, if the file has them,
        ``track`` and ``video`` (text). If the file has frames and times, the frames are used.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a cell or scale that cannot be used.
    """
    columns, rows, cells = _read_cells(path)
    table = pd.DataFrame({"row": np.asarray(rows, np.int64)})
    text = {role: pd.Series(column, dtype=object).str.strip() for role, column in cells.items()}
    for axis in AXES:
        values = _numbers(text[axis], columns[axis], table["row"], path)
        table[axis] = _rescaled(values, columns[axis], path)
    position = "frame" if "frame" in columns else "time"
    table[position] = _positions(text[position], columns[position], table, path)
    for role in ("track", "video"):
        if role in columns:
            table[role] = text[role]
    return table


def _read_cells(path: Path) -> tuple[dict[str, Column], list[int], dict[str, tuple[str, ...]]]:
    """Read the columns by role, the line number of each row that is not blank, and the cells of each column."""
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file; check the path of the estimates")
        with path.open(encoding="utf-8-sig", newline="") as file:
            skipped, header, separator = _find_header(file, path)
            columns = _find_columns(header, path)
            cells_of_roles = itemgetter(*(column.position for column in columns.values()))
            rows, cells = [], []
            for line, row in _rows(file, separator, len(header), skipped, path):
                rows.append(line)
                cells.append(cells_of_roles(row))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); export it anew") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore the file") from error
    if not rows:
        raise DataError(f"{path}: has a header but no rows; export a row per frame")
    return columns, rows, dict(zip(columns, zip(*cells, strict=True), strict=True))


def _find_header(file: io.TextIOWrapper, path: Path) -> tuple[int, list[str], str]:
    """Read up to the header, the first line that names valence and arousal.

    Returns:
        The number of lines read, the names of the columns, and their separator.
    """
    first = None
    for number in range(1, MAX_LINES_BEFORE_HEADER + 1):
        line = file.readline(MAX_HEADER_BYTES + 1)
        if len(line) > MAX_HEADER_BYTES:
            raise DataError(f"{path} row {number}: is longer than any header of estimates; export the file anew")
        separator = max(",;\t", key=line.count)
        names = next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
        known = {_normalised(name) for name in names}
        if known.issuperset(AXES):
            return number, names, separator
        first = names if first is None else first
    require_columns([name.strip().lower() for name in first or []], AXES, path)
    raise DataError(f"{path}: has no header with the columns valence and arousal; add it")


def _rows(
    file: io.TextIOWrapper, separator: str, width: int, skipped: int, path: Path
) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row that is not blank, `width` cells each; missing cells are empty."""
    reader = csv.reader(file, delimiter=separator)
    for count, row in enumerate(reader):
        if count >= MAX_ROWS:
            raise DataError(f"{path}: has more than {MAX_ROWS:,} rows; split it by video")
        if len(row) != width:
            if not any(map(str.strip, row)):
                continue
            if any(map(str.strip, row[width:])):
                where = f"{path} row {reader.line_num + skipped}"
                raise DataError(f"{where}: {len(row)} cells under {width} columns; a decimal comma? Write 0.5, not 0,5")
            row = row[:width] + [""] * (width - len(row))
        yield reader.line_num + skipped, row


def _normalised(name: str) -> str:
    """Letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]+", "", name).lower()


def _find_columns(header: Sequence[str], path: Path) -> dict[str, Column]:
    """Find the column of each role; DataError if there is neither a frame nor a time, or a role has two columns."""
    columns = {}
    for role, names in COLUMN_NAMES.items():
        known = [_normalised(name) for name in names]
        found = []
        for index, name in enumerate(header):
            base, divisor = _normalised(name), 1.0
            if role == "time" and base not in known and (unit := _UNIT.search(base)):
                base, divisor = base[: unit.start()], 1000.0 if unit["unit"].startswith("m") else 1.0
            if base in known:
                found.append((known.index(base), Column(role, name.strip(), index, divisor)))
        found.sort(key=lambda entry: entry[0])
        if len(found) > 1 and found[0][0] == found[1][0]:
            twice = listed([column.name for _, column in found[:2]])
            raise DataError(f"{path}: columns {twice} both mean the {role}; delete or rename one")
        if found:
            columns[role] = found[0][1]
    if not {"frame", "time"} & set(columns):
        raise DataError(
            f"{path}: neither a column 'frame' (from 0) nor 'time' (seconds): add one; its columns are "
            f"{listed([name.strip() for name in header])}"
        )
    return columns


def _numbers(text: pd.Series, column: Column, rows: pd.Series, path: Path) -> np.ndarray:
    """Parse numbers, NaN for the cells in MISSING; DataError for the first cell that is not a finite number."""
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, copy=True)
    for index in np.flatnonzero(~np.isfinite(numbers)):
        cell = text[index]
        missing = cell.lower() in MISSING
        numbers[index] = np.nan if missing else parse_number(cell, quoted(column.name), f"{path} row {rows[index]}")
    return numbers


def _positions(text: pd.Series, column: Column, table: pd.DataFrame, path: Path) -> np.ndarray:
    """Parse frame numbers or times in seconds; DataError if one is impossible, or missing beside an estimate."""
    is_time = column.role == "time"
    if is_time and text.str.contains(":", regex=False).any():
        text = _clock_times_in_seconds(text)
    numbers = _numbers(text, column, table["row"], path) / column.divisor
    wrong = (numbers < 0) | (numbers > MAX_POSITION)
    if not is_time:
        wrong |= numbers % 1 > 0
    missing = np.isnan(numbers) & table[[*AXES]].notna().any(axis=1).to_numpy()
    for index in np.flatnonzero(wrong | missing)[:1]:
        where = f"{path} row {table['row'][index]}"
        if missing[index]:
            raise DataError(f"{where}: has estimates but no {column.role} (column {quoted(column.name)}); add it")
        kind = "time in seconds" if is_time else "number of a frame, which count from 0"
        raise DataError(f"{where}: {quoted(column.name)} {quoted(text[index])} is no {kind}; correct or delete it")
    return numbers


def _clock_times_in_seconds(text: pd.Series) -> pd.Series:
    """Replace times such as 00:01:02.5 by their seconds, as text; other cells stay as they are."""
    parts = text.str.extract(_CLOCK_TIME)
    seconds = parts.astype(np.float64) @ np.array([3600.0, 60.0, 1.0])
    return text.where(parts[0].isna(), seconds.map(repr))


def _rescaled(values: np.ndarray, column: Column, path: Path) -> np.ndarray:
    """Bring the estimates of one axis to [-1, 1], and log how, unless they are in it.

    ==========  ====================================================================  ===========
    scale       recognised by                                                         result
    ==========  ====================================================================  ===========
    -1…1        all values in it                                                      x
    -100…100    all values in it, one below -1, and one below -10 or above 10         x / 100
    1…9         all values in it, one above 1                                         (x - 5) / 4
    ==========  ====================================================================  ===========

    Raises:
        DataError: the values fit none of these scales.
    """
    if np.isnan(values).all():
        raise DataError(f"{path}: column {quoted(column.name)} has no number; export the estimates anew")
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    largest = max(-low, high)
    if largest <= 1 + ROUNDING:
        return values.clip(-1, 1)
    found = f"{path}: column {quoted(column.name)} runs from {low:g} to {high:g}"
    if low < -1 and 10 < largest <= 100:
        logger.info("%s: read as a scale of -100 to 100, divided by 100", found)
        return values / 100
    if low >= 1 and high <= 9:
        logger.info("%s: read as a scale of 1 to 9 with 5 in the middle, (x - 5) / 4", found)
        return (values - 5) / 4
    raise DataError(
        f"{found}, which is none of the scales -1 to 1, -100 to 100 or 1 to 9; rescale it to -1 to 1 with 0 in the "
        "middle, or clip it if the tool exceeds its scale"
    )
