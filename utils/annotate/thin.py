"""Reduces traces to what a screen can show: a few thousand numbers for a video of any length."""

import numpy as np

MAX_POINTS = 2000  # points of a reduced trace


def thin_trace(
    times: np.ndarray, breaks: np.ndarray, values: np.ndarray, half_widths: np.ndarray
) -> dict[str, list[float | None]]:
    """Reduce a trace and its interval; the extremes of each bin of frames are kept, so that no peak is lost.

    Args:
        times: (N,) seconds.
        breaks: (B,) indices of the frames before which the line is interrupted.
        values: (N,) the trace.
        half_widths: (N,) half-widths of the interval.

    Returns:
        Lists of equal length: `x` in seconds, and `mid`, `low` and `high` in [-1, 1]; None after each part of the line.
    """
    bin_size = max(1, int(np.ceil(2 * len(times) / MAX_POINTS)))
    thinned: dict[str, list[float | None]] = {"x": [], "mid": [], "low": [], "high": []}
    for part in np.split(np.arange(len(times)), breaks):
        low = np.clip(values[part] - half_widths[part], -1, 1)
        high = np.clip(values[part] + half_widths[part], -1, 1)
        columns = times[part], values[part], low, high
        if bin_size > 1:
            columns = _extremes_of_bins(*columns, bin_size)
        for name, column in zip(thinned, columns, strict=True):
            thinned[name] += [*np.round(column, 4).tolist(), None]
    return thinned


def _extremes_of_bins(
    times: np.ndarray, mid: np.ndarray, low: np.ndarray, high: np.ndarray, bin_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two points per bin: the minimum and maximum of `mid`, in order of time, and the widest interval of the bin."""
    starts = np.arange(0, len(times), bin_size)
    ends = np.minimum(starts + bin_size, len(times))
    extremes = [(s + mid[s:e].argmin(), s + mid[s:e].argmax()) for s, e in zip(starts, ends, strict=True)]
    kept = np.sort(extremes, axis=1).ravel()
    lowest, highest = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    return times[kept], mid[kept], np.repeat(lowest, 2), np.repeat(highest, 2)
