"""Reader of CARMA ratings: one axis, averaged over bins of equal length.

The rows before ``Second,Rating`` state the media file, the labels of both ends and the range of the scale. ``Second``
is the end of a bin, so its value belongs to the middle of the bin. The axis is not stated: it is taken from the file's
name, or else from the labels of the scale.

Format: CARMA 14 and later, https://github.com/jmgirard/CARMA
"""

from pathlib import Path

from datasets.annotations.cells import parse_number
from datasets.annotations.csv_rows import csv_rows
from datasets.annotations.rating_files import Rating, axis_of, make_rating, middles_of_bins, parse_scale
from utils.base.errors import DataError

MARKS = ("lower label", "upper label", "second")
"""Beginnings of rows by which the format is recognised."""


def read_carma(path: Path) -> Rating:
    """Read a CARMA rating, rescaled from the file's minimum and maximum to [-1, 1].

    Raises:
        DataError: a row is not as CARMA writes it, or a value is outside the scale.
    """
    rows = csv_rows(path, separator=",", fallback_encoding="cp1252")
    header: dict[str, str] = {}
    for _, cells in rows:
        header[cells[0].lower()] = cells[1] if len(cells) > 1 else ""
        if cells[0].lower() == "second":
            break
    for name in ("minimum value", "maximum value", "second"):
        if name not in header:
            raise DataError(f"{path}: has no row {name.capitalize()!r}; save the rating with CARMA again")
    scale = parse_scale(header["minimum value"], header["maximum value"], f"{path} header")
    axis = axis_of(path, header.get("upper label", ""), header.get("lower label", ""))
    ends, values = [], []
    for where, cells in rows:
        if cells[0].startswith("%"):
            continue
        ends.append(parse_number(cells[0], "Second", where))
        values.append(scale.parse(cells[1] if len(cells) > 1 else "", "Rating", where))
    return make_rating(path, "", middles_of_bins(path, ends).tolist(), {axis: values})
