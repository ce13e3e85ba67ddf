"""Parsing, checking and writing single values of annotation files.

``where`` is the file and row of a value; every error message begins with it.
"""

import math
import re
from collections.abc import Mapping

import numpy as np

from datasets.columns import AXES
from utils.base.errors import DataError
from utils.base.text import quoted

AFEWVA_LIMIT = 10
"""AFEW-VA labels run from -10 to 10, which explains a frequent mistake."""

MAX_DIGITS = 60
MAX_TRACK = 999_999_999

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)


def parse_number(text: str, name: str, where: str) -> float:
    """Parse a finite number; DataError, with the name of the value, if it is not one."""
    text = text.strip()
    if len(text) <= MAX_DIGITS and _NUMBER.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    if _DECIMAL_COMMA.fullmatch(text):
        raise DataError(f"{where}: {name} {quoted(text)} has a decimal comma; write {quoted(text.replace(',', '.'))}")
    raise DataError(f"{where}: {name} {quoted(text)} is not a finite number; correct or delete it")


def parse_whole_number(text: str, name: str, where: str) -> int:
    """Parse a whole number, such as 5 or 5.0; DataError if it is not one."""
    value = parse_number(text, name, where)
    if not value.is_integer():
        raise DataError(f"{where}: {name} {value:g} is not a whole number; correct it")
    return int(value)


def parse_track(text: str, where: str) -> int | None:
    """Parse the number of a track; None if the text is empty, DataError if it is not such a number."""
    if not text:
        return None
    track = parse_whole_number(text, "track", where)
    if not 0 <= track <= MAX_TRACK:
        raise DataError(f"{where}: track {quoted(text)} is no track number; correct it, or leave it empty")
    return track


def parse_scores(cells: Mapping[str, str], where: str) -> tuple[float, float] | None:
    """Parse valence and arousal.

    Args:
        cells: the text of each axis.
        where: see above.

    Returns:
        Valence and arousal in [-1, 1]; None if both cells are empty.

    Raises:
        DataError: only one of the two is given, or one is not a number in [-1, 1].
    """
    missing = [axis for axis in AXES if not cells[axis].strip()]
    if len(missing) == len(AXES):
        return None
    if missing:
        given = next(axis for axis in AXES if axis not in missing)
        raise DataError(f"{where}: {given} has no {missing[0]} beside it; give both, or neither")
    valence, arousal = (check_score(parse_number(cells[axis], axis, where), axis, where) for axis in AXES)
    return valence, arousal


def check_score(value: float, axis: str, where: str) -> float:
    """Return a number in [-1, 1]; DataError if it is outside."""
    if abs(value) <= 1:
        return value
    remedy = "correct it"
    if abs(value) <= AFEWVA_LIMIT and value.is_integer():
        remedy = (
            f"it looks like AFEW-VA's scale of -{AFEWVA_LIMIT} to {AFEWVA_LIMIT}: divide all labels by {AFEWVA_LIMIT}"
        )
    raise DataError(f"{where}: {axis} {value:g} is outside [-1, 1]; {remedy}")


def score_text(score: np.float32) -> str:
    """Shortest decimal text, without exponent, that reads back as the same float32."""
    return np.format_float_positional(score, unique=True, trim="0")
