"""Traces thinned to what a screen shows: the browser gets some thousand numbers, however long the video is."""

import numpy as np

POINTS = 2000  # of a trace


def thinned(times: np.ndarray, breaks: np.ndarray, mid: np.ndarray, half: np.ndarray) -> dict[str, list]:
    """Lists for drawing: `x` seconds, `mid`, `low` and `high` in [-1, 1]; None where the line breaks.

    times (N,) seconds; mid (N,) and half (N,) the trace and half the width of its band; breaks: places (B,) before
    which the line is cut. Of each bin of frames the least and the largest value stay, so that no peak is lost.
    """
    size = max(1, int(np.ceil(2 * len(times) / POINTS)))
    found: dict[str, list] = {"x": [], "mid": [], "low": [], "high": []}
    for part in np.split(np.arange(len(times)), breaks):
        low, high = np.clip(mid[part] - half[part], -1, 1), np.clip(mid[part] + half[part], -1, 1)
        columns = (times[part], mid[part], low, high) if size == 1 else _bins(times[part], mid[part], low, high, size)
        for name, column in zip(found, columns, strict=True):
            found[name] += [*np.round(column, 4).tolist(), None]
    return found


def _bins(
    times: np.ndarray, mid: np.ndarray, low: np.ndarray, high: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two points a bin of `size` frames: the extremes of `mid` in order of time, and the widest band."""
    starts = np.arange(0, len(times), size)
    ends = np.minimum(starts + size, len(times))
    extremes = [(s + mid[s:e].argmin(), s + mid[s:e].argmax()) for s, e in zip(starts, ends, strict=True)]
    places = np.sort(extremes, axis=1).ravel()
    widest = (np.repeat(least.reduceat(column, starts), 2) for least, column in ((np.minimum, low), (np.maximum, high)))
    return times[places], mid[places], *widest
