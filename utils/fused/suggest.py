"""Which frame to label next: the one whose label is expected to help all the others most."""

from typing import NamedTuple

import numpy as np

from utils.fused.trace import Trace

CANDIDATES = 256  # frames considered, evenly spread over the clip
POINTS = 2048  # frames over which the expected error is averaged
BLOCK = 32  # columns of the covariance at once


class Suggestion(NamedTuple):
    """A frame worth a label."""

    place: int
    """Its place among the clip's frames."""
    before: float
    """Expected error (root of the mean variance over frames and both axes) without its label."""
    after: float
    """The same with its label, and those of the suggestions before it."""


def expected_error(posteriors: list[Trace]) -> float:
    """RMSE to expect of a clip's labels, over all frames and both axes."""
    return float(np.sqrt(np.mean([posterior.spread for posterior in posteriors])))


def suggest(posteriors: list[Trace], count: int, errors: tuple[float, float] = (0.0, 0.0)) -> list[Suggestion]:
    """Up to `count` frames without a label, the most useful first, each chosen as if those before it had been labelled.

    posteriors: of valence and of arousal, given the labels so far. errors: standard deviations of a person's label.
    A label at frame q takes cov(t, q)² / (var(q) + error²) off the variance at t.
    """
    frames = np.arange(len(posteriors[0].mean))
    labelled, candidates = posteriors[0].support.places, _spread(frames, CANDIDATES)
    places = np.setdiff1d(candidates, labelled)
    if not len(places):
        places = candidates = _spread(np.setdiff1d(frames, labelled), CANDIDATES)
    points = np.union1d(candidates, _spread(frames, POINTS))
    inside = np.searchsorted(points, places)
    shared = [_covariance(posterior, places, points) for posterior in posteriors]
    variances = [posterior.variance[points] for posterior in posteriors]
    residual = np.mean([posterior.residual**2 for posterior in posteriors])
    taken = np.zeros(len(places), bool)
    found: list[Suggestion] = []
    for _ in range(min(count, len(places))):
        before = np.sqrt(np.mean(variances) + residual)
        gains = sum(
            np.square(columns).sum(0) / (variance[inside] + error**2 + 1e-9)
            for columns, variance, error in zip(shared, variances, errors, strict=True)
        )  # fmt: skip
        best = int(np.where(taken, -1, gains).argmax())
        taken[best] = True
        for axis, error in enumerate(errors):
            column = shared[axis][:, best].copy()
            scale = variances[axis][inside[best]] + error**2 + 1e-9
            shared[axis] -= np.outer(column, column[inside]) / scale
            variances[axis] = np.maximum(variances[axis] - column**2 / scale, 0)
        after = np.sqrt(np.mean(variances) + residual)
        found.append(Suggestion(int(places[best]), float(before), float(after)))
    return found


def _covariance(posterior: Trace, places: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(points, places), a few columns at a time: each needs all frames."""
    if not len(places):
        return np.empty((len(points), 0))
    blocks = np.array_split(places, -(-len(places) // BLOCK))
    return np.concatenate([posterior.covariance(block, points) for block in blocks], 1)


def _spread(frames: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` of the frames, evenly."""
    return frames[np.unique(np.linspace(0, len(frames) - 1, min(len(frames), count)).round().astype(int))]
