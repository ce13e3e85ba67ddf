"""Reader of continuous ratings in CSV and TSV files.

Columns: ``time`` (seconds), ``valence`` and ``arousal`` in [-1, 1], or one of the two, and optionally ``annotator``.
The axis may be part of a longer name, such as ``valence_rating``, if only one column contains it. Empty cells and NaN
are times without rating.
"""

from pathlib import Path

from datasets.annotations.cells import parse_number
from datasets.annotations.csv_rows import cells_by_column, csv_rows
from datasets.annotations.rating_files import FULL_SCALE, Rating, make_rating
from datasets.columns import AXES
from datasets.csv_files import require_columns
from utils.base.errors import DataError
from utils.base.text import listed


def read_csv_rating(path: Path) -> Rating:
    """Read the rating of one person.

    Raises:
        DataError: a column is missing, a value is outside [-1, 1], or several annotators are named.
    """
    rows = csv_rows(path)
    names = [cell.lower()[:40] for cell in next(rows, ("", []))[1]]
    require_columns(names, ["time"], path)
    columns = {axis: column for axis in AXES if (column := _column_of(axis, names, path)) is not None}
    if not columns:
        raise DataError(f"{path}: no column is named valence or arousal; rename one, its columns are {listed(names)}")
    times: list[float] = []
    values: dict[str, list[float]] = {axis: [] for axis in columns}
    raters = set()
    for where, row in rows:
        cells = cells_by_column(names, row, where)
        times.append(parse_number(cells["time"], "time", where))
        for axis, column in columns.items():
            values[axis].append(FULL_SCALE.parse(cells[column], column, where))
        raters.add(cells.get("annotator", ""))
    if len(raters) > 1:
        raise DataError(f"{path}: holds ratings by {listed(sorted(raters))}; save each in a file of its own")
    return make_rating(path, min(raters, default=""), times, values)


def _column_of(axis: str, names: list[str], path: Path) -> str | None:
    """Column of an axis: the one of its name, or else the only one whose name contains it; None if there is none."""
    if names.count(axis) == 1:
        return axis
    containing = [name for name in names if axis in name]
    if len(containing) > 1:
        raise DataError(f"{path}: columns {listed(containing)} contain {axis}; name only one of them {axis!r}")
    return containing[0] if containing else None
