"""Reader of PAGAN logs: one axis, with a row whenever the value changes.

The log states neither axis nor scale, so both are taken from the file's name: ``clip_valence_gtrace.csv``. GTrace runs
from -100 to 100 and binary from -1 to 1. RankTrace has no bounds, so that its values are an order only.

Format: PAGAN, https://github.com/davidmelhart/PAGAN
"""

from pathlib import Path

import numpy as np

from datasets.annotations.cells import parse_number
from datasets.annotations.csv_rows import cells_by_column, csv_rows
from datasets.annotations.rating_files import FULL_SCALE, Rating, Scale, axis_of, make_rating
from datasets.csv_files import require_columns
from utils.base.errors import DataError
from utils.base.text import listed

MARKS = ("originalname",)
"""Beginnings of rows by which the format is recognised."""

SCALES = {"gtrace": Scale(-100, 100), "binary": FULL_SCALE}
SINGLE = ("originalname", "participant", "sessionid")
"""Columns that have one value in the log of one rating."""

MILLISECOND = 0.001


def read_pagan(path: Path) -> Rating:
    """Read the PAGAN log of one participant and one video.

    A value holds until the next row. So that interpolation between the times reproduces this, each value is repeated
    one millisecond before the next row.

    Raises:
        DataError: the scale or axis is not in the file's name, the log holds several ratings, or a row is invalid.
    """
    scale, axis = _scale_of(path), axis_of(path)
    rows = csv_rows(path, separator=",", fallback_encoding="cp1252")
    names = [cell.lower()[:40] for cell in next(rows, ("", []))[1]]
    require_columns(names, (*SINGLE, "videotime", "value"), path)
    seen: dict[str, set[str]] = {name: set() for name in SINGLE}
    changes: dict[float, float] = {}  # seconds -> value; the last of several at one time counts
    previous = 0.0
    for where, row in rows:
        cells = cells_by_column(names, row, where)
        for name in SINGLE:
            seen[name].add(cells[name])
        seconds = parse_number(cells["videotime"], "VideoTime", where) / 1000
        if seconds < previous:
            raise DataError(f"{where}: VideoTime goes back from {previous:g} s to {seconds:g} s; sort or correct rows")
        changes[seconds] = scale.parse(cells["value"], "Value", where)
        previous = seconds
    _check_single(path, seen)
    times, values = _held(np.array(list(changes)), np.array(list(changes.values())))
    return make_rating(path, min(seen["participant"], default=""), times.tolist(), {axis: values.tolist()})


def _scale_of(path: Path) -> Scale:
    """Scale of the method that the file's name contains."""
    name = path.stem.lower()
    if "ranktrace" in name:
        raise DataError(
            f"{path}: RankTrace has no scale, only an order; rate with GTrace, or rescale it to -1 … 1 as CSV"
        )
    named = [scale for method, scale in SCALES.items() if method in name]
    if len(named) != 1:
        raise DataError(
            f"{path}: a PAGAN log does not state its scale; put gtrace (-100 … 100) or binary (-1 … 1) into the file's "
            "name"
        )
    return named[0]


def _check_single(path: Path, seen: dict[str, set[str]]) -> None:
    """Raise DataError if the log holds several ratings."""
    for name, found in seen.items():
        if len(found) > 1:
            raise DataError(
                f"{path}: holds several ratings, {name} {listed(sorted(found))}; save each in a file of its own"
            )


def _held(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Repeat each value one millisecond before the next time, where there is room for it."""
    ends = times[1:] - MILLISECOND
    room = ends > times[:-1]
    order = np.argsort(np.concatenate([times, ends[room]]), kind="stable")
    return (
        np.concatenate([times, ends[room]])[order],
        np.concatenate([values, values[:-1][room]])[order],
    )
