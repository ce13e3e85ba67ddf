"""Reader of DARMA ratings: both axes, from a joystick, averaged over bins of equal length.

``Magnitude`` is the value of a fully deflected joystick. The columns have the names that the study chose for the two
axes. ``Second`` is the end of a bin, so its values belong to the middle of the bin.

Format: DARMA, https://github.com/jmgirard/DARMA
"""

from pathlib import Path

from datasets.annotations.cells import parse_number
from datasets.annotations.csv_rows import cells_by_column, csv_rows
from datasets.annotations.rating_files import Rating, make_rating, middles_of_bins, parse_scale
from datasets.columns import AXES
from datasets.csv_files import require_columns
from utils.base.errors import DataError

MARKS = ("magnitude", "second")
"""Beginnings of rows by which the format is recognised."""


def read_darma(path: Path) -> Rating:
    """Read a DARMA rating, divided by its magnitude.

    Raises:
        DataError: a row is not as DARMA writes it, an axis is not called valence or arousal, or a value exceeds the
            magnitude.
    """
    rows = csv_rows(path, separator=",", fallback_encoding="cp1252")
    magnitude, names = None, []
    for _, cells in rows:
        if cells[0].lower() == "magnitude" and len(cells) > 1:
            magnitude = cells[1]
        if cells[0].lower() == "second":
            names = [cell.lower()[:40] for cell in cells]
            break
    if magnitude is None or not names:
        raise DataError(f"{path}: has no row 'Magnitude' or 'Second'; save the rating with DARMA again")
    require_columns(names, AXES, path)
    scale = parse_scale(f"-{magnitude}", magnitude, f"{path} header")
    ends: list[float] = []
    values: dict[str, list[float]] = {axis: [] for axis in AXES}
    for where, row in rows:
        if row[0].startswith("%"):
            continue
        cells_of = cells_by_column(names, row, where)
        ends.append(parse_number(cells_of["second"], "Second", where))
        for axis in AXES:
            values[axis].append(scale.parse(cells_of[axis], axis, where))
    return make_rating(path, "", middles_of_bins(path, ends).tolist(), values)
