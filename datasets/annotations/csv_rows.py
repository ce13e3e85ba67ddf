"""Reading the rows of CSV and TSV files of unknown origin."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from datasets.annotations.files import MAX_ROWS, read_text
from datasets.csv_files import MAX_COLUMNS
from utils.base.errors import DataError

_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


def csv_rows(
    path: Path, separator: str | None = None, fallback_encoding: str | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Read the rows that are not blank.

    Args:
        path: the file.
        separator: of the cells; None = comma, semicolon or tab, whichever the first line has most of.
        fallback_encoding: see ``read_text``.

    Yields:
        File and row number, for messages, and the stripped cells of the row.

    Raises:
        DataError: the file cannot be read as CSV, or has too many rows or columns.
    """
    text = read_text(path, "save it as CSV in UTF-8", fallback_encoding)
    lines = (match[0] for match in _LINE.finditer(text))
    first_line = next((match[0] for match in _LINE.finditer(text)), "")
    separator = separator or max(",;\t", key=first_line.count)
    if first_line.count(separator) >= MAX_COLUMNS:
        raise DataError(f"{path}: more than {MAX_COLUMNS} columns; give frame, valence, arousal")
    rows = csv.reader(lines, delimiter=separator)
    try:
        for count, row in enumerate(rows):
            if count > MAX_ROWS:
                raise DataError(f"{path}: more than {MAX_ROWS:,} rows; split it")
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield f"{path} row {rows.line_num}", cells
    except csv.Error as error:
        raise DataError(f"{path} row {rows.line_num}: cannot be read as CSV ({error}); restore the file") from error


def cells_by_column(names: list[str], row: list[str], where: str) -> dict[str, str]:
    """Map column names to the cells of a row; a row may be shorter than the header, its missing cells are empty."""
    if any(row[len(names) :]):
        raise DataError(f"{where}: {len(row)} cells under {len(names)} columns; a decimal comma? Write 0.5, not 0,5")
    row = row[: len(names)]
    return dict(zip(names, row + [""] * (len(names) - len(row)), strict=True))
