"""What the readers of continuous ratings share: the rating, and rescaling its values to [-1, 1]."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.annotations.cells import check_score, parse_number
from datasets.columns import AXES
from utils.base.errors import DataError

ROUNDING = 1e-6
"""Share of a scale by which values may exceed it through rounding."""


class Rating(NamedTuple):
    """The continuous rating of one video by one person.

    Attributes:
        rater: who rated; the name of the file, without its axis, if the file does not say.
        times: (T,) float64, seconds from the start of the video, strictly ascending.
        values: (T, 2) float64, valence and arousal in [-1, 1]; NaN where there is no rating.
    """

    rater: str
    times: np.ndarray
    values: np.ndarray


class Scale(NamedTuple):
    """The range of the values in a file."""

    low: float
    high: float

    def rescale(self, value: float, name: str, where: str) -> float:
        """Map [low, high] linearly to [-1, 1].

        Args:
            value: a value of the file; NaN remains NaN.
            name: what the value is, for messages.
            where: file and row, for messages.

        Raises:
            DataError: the value is outside the scale.
        """
        if math.isnan(value):
            return value
        if self == FULL_SCALE:
            return check_score(value, name, where)
        rescaled = 2 * (value - self.low) / (self.high - self.low) - 1
        if abs(rescaled) > 1 + ROUNDING:
            raise DataError(
                f"{where}: {name} {value:g} is outside the scale of the file, {self.low:g} to {self.high:g}; correct it"
            )
        return min(max(rescaled, -1.0), 1.0)

    def parse(self, text: str, name: str, where: str) -> float:
        """Parse a value and rescale it; NaN if the text is empty or NaN."""
        if not text or text.lower() == "nan":
            return np.nan
        return self.rescale(parse_number(text, name, where), name, where)


FULL_SCALE = Scale(-1, 1)


def parse_scale(low: str, high: str, where: str) -> Scale:
    """Parse the ends of a scale; DataError if the lower one is not below the upper one."""
    scale = Scale(parse_number(low, "minimum", where), parse_number(high, "maximum", where))
    if not scale.low < scale.high or not np.isfinite(scale.high - scale.low):
        raise DataError(f"{where}: its scale runs from {scale.low:g} to {scale.high:g}; the minimum must be lower")
    return scale


def make_rating(path: Path, rater: str, times: Sequence[float], values: Mapping[str, Sequence[float]]) -> Rating:
    """Put a rating together and check it.

    Args:
        path: the file, for messages.
        rater: who rated; "" = named after the file.
        times: (T,) seconds.
        values: for each axis that was rated, (T,) values in [-1, 1]; NaN = none.

    Raises:
        DataError: there is no value, or the times are negative or not ascending.
    """
    seconds = np.asarray(times, np.float64)
    missing = np.full(len(seconds), np.nan)
    columns = np.stack([np.asarray(values.get(axis, missing), np.float64) for axis in AXES], axis=1)
    if np.isnan(columns).all():
        raise DataError(f"{path}: contains no rating; check that it is the right file")
    if seconds[0] < 0:
        raise DataError(f"{path}: its first time is {seconds[0]:g} s; times count from the start of the video")
    backward = np.flatnonzero(np.diff(seconds) <= 0)
    if len(backward):
        before, after = seconds[backward[0]], seconds[backward[0] + 1]
        raise DataError(f"{path}: {after:g} s follows {before:g} s; times must ascend, so sort or correct the rows")
    return Rating(rater or name_of_rater(path), seconds, columns)


def axis_of(path: Path, *texts: str) -> str:
    """Axis of a file that rates only one: the one named in the file's name, or else in one of the texts.

    Raises:
        DataError: no axis is named, or both are.
    """
    for text in (path.stem, *texts):
        named = [axis for axis in AXES if axis in text.lower()]
        if len(named) == 1:
            return named[0]
    raise DataError(f"{path}: does not say whether it rates valence or arousal; put one of the words into its name")


def name_of_rater(path: Path) -> str:
    """Name of the file without suffix and axis, such as ``clip_anna`` for ``clip_anna_valence.csv``."""
    words = re.split(r"[\s_.-]+", path.name.split(".annotation")[0].removesuffix(path.suffix))
    return "_".join(word for word in words if word and word.lower() not in AXES) or path.stem


def middles_of_bins(path: Path, ends: Sequence[float]) -> np.ndarray:
    """Middles in seconds of averaging bins of equal length, given their ends; the first bin starts at 0."""
    width = float(np.median(np.diff(np.asarray([0.0, *ends])))) if len(ends) else 0.0
    if len(ends) and ends[0] < width / 2:
        raise DataError(f"{path}: its first bin ends at {ends[0]:g} s; Second must be the end of each bin")
    return np.asarray(ends, np.float64) - width / 2
