"""The continuous rating of a clip by one person, before its lag is corrected (`raters`)."""

from collections.abc import Sequence

import numpy as np

LONGEST_RATING_STEP = 1.0  # seconds; a rating that samples more often is not interpolated over longer gaps


class ClipRating:
    """The continuous rating of a clip by one person: a trace of each axis, which may lack values or a whole axis.

    Attributes:
        traces: for each axis, times (T,) in seconds, strictly ascending, and values (T,) at these times, all finite; T
            may be 0, and differs between the axes.
    """

    def __init__(self, traces: Sequence[tuple[np.ndarray, np.ndarray]]):
        self.traces = [(times[np.isfinite(values)], values[np.isfinite(values)]) for times, values in traces]

    def at(self, times: np.ndarray) -> np.ndarray:
        """(N, 2) values at times (N,), interpolated linearly; NaN outside the trace and in its gaps."""
        return np.stack([_interpolate(times, *trace) for trace in self.traces], 1)


def _interpolate(times: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(N,) values at times (N,) of one axis, given the values (T,) at the known times (T,)."""
    if len(known) < 2:
        return np.full(len(times), np.nan)
    steps = np.diff(known)
    following = np.searchsorted(known, times).clip(1, len(known) - 1)
    in_gap = steps[following - 1] > max(LONGEST_RATING_STEP, 2 * np.median(steps))
    in_gap &= (known[following] != times) & (known[following - 1] != times)
    interpolated = np.interp(times, known, values, np.nan, np.nan)
    return np.where(in_gap, np.nan, interpolated)
