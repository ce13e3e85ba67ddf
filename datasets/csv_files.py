"""Reading CSV files from elsewhere: their header is checked and bounded before they are parsed."""

import difflib
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from utils.base.errors import DataError
from utils.base.text import listed, quoted

MAX_COLUMNS = 200
MAX_HEADER_BYTES = 1 << 16


def require_columns(present: Iterable[str], required: Iterable[str], file: Path) -> None:
    """Check that every required column is present.

    Args:
        present: names of the columns of the file.
        required: names of the columns that it must have.
        file: named in the error.

    Raises:
        DataError: a column is missing; the message suggests the most similar column present.
    """
    present = [str(name) for name in present]
    for name in required:
        if name in present:
            continue
        near = difflib.get_close_matches(name, present, n=1, cutoff=0.6)
        found = f"rename its column {quoted(near[0])}" if near else f"add it; its columns are {listed(present)}"
        raise DataError(f"{file}: column {name!r} is missing: {found}")


def check_header(file: Path) -> None:
    """Check that a CSV begins with a header of at most MAX_COLUMNS columns; parsers keep all of it in memory.

    Raises:
        DataError: the file cannot be read, or its first line is too long or has too many columns.
    """
    try:
        if not file.is_file():
            raise DataError(f"{file}: cannot be read as CSV (no such file); check the path")
        with file.open("rb") as content:
            line = content.readline(MAX_HEADER_BYTES + 1)
    except OSError as error:
        raise DataError(f"{file}: cannot be read as CSV ({error.strerror}); restore the file") from error
    if len(line) > MAX_HEADER_BYTES or max(map(line.count, (b",", b";", b"\t"))) >= MAX_COLUMNS:
        raise DataError(f"{file}: its first line is no header of at most {MAX_COLUMNS} columns; restore the file")


def read_small_csv(file: Path, expected_columns: str) -> pd.DataFrame:
    """Read a CSV of a few columns, every cell as text.

    Args:
        file: the CSV, in UTF-8.
        expected_columns: the columns that it should have, for the error message, such as "clip,frame".

    Raises:
        DataError: the file cannot be read as CSV.
    """
    check_header(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # pandas only warns of rows longer than the header
            return pd.read_csv(
                file, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig", compression=None
            )
    except (OSError, ValueError, pd.errors.ParserWarning) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{file}: cannot be read as CSV ({error}); give {expected_columns}") from error
