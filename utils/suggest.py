"""Which frame to label next: the one whose label is expected to help all the others most."""

from typing import NamedTuple

import numpy as np

from utils.smoother import Posterior

CANDIDATES = 256  # frames considered, evenly spread over the clip; more change little
POINTS = 2048  # frames over which the expected error is averaged


class Suggestion(NamedTuple):
    """A frame worth a label."""

    place: int
    """Its place among the clip's frames."""
    before: float
    """Expected error (root of the mean variance over frames and both axes) without its label."""
    after: float
    """The same with its label, and those of the suggestions before it."""


def expected_error(posteriors: list[Posterior]) -> float:
    """Root of the mean posterior variance over a clip's frames and both axes."""
    return float(np.sqrt(np.mean([posterior.variance for posterior in posteriors])))


def suggest(posteriors: list[Posterior], count: int, errors: tuple[float, float] = (0.0, 0.0)) -> list[Suggestion]:
    """Up to `count` frames, the most useful first, each chosen as if those before it had been labelled.

    posteriors: of valence and of arousal, given the labels so far. errors: standard deviations of a person's label.
    A label at frame q takes cov(t, q)² / (var(q) + error²) off the variance at t.
    """
    frames = len(posteriors[0].mean)
    places = _spread(frames, CANDIDATES)
    points = np.union1d(places, _spread(frames, POINTS))
    inside = np.searchsorted(points, places)
    shared = [posterior.covariance(places)[points] for posterior in posteriors]
    variances = [posterior.variance[points] for posterior in posteriors]
    found: list[Suggestion] = []
    for _ in range(min(count, len(places))):
        before = np.mean(variances)
        gains = sum(
            np.square(columns).sum(0) / (variance[inside] + error**2 + 1e-9)
            for columns, variance, error in zip(shared, variances, errors, strict=True)
        )  # fmt: skip
        gains[[place.place == places for place in found] and np.isin(places, [one.place for one in found])] = -1
        best = int(np.argmax(gains))
        for axis, error in enumerate(errors):
            column = shared[axis][:, best].copy()
            scale = variances[axis][inside[best]] + error**2 + 1e-9
            shared[axis] -= np.outer(column, column[inside]) / scale
            variances[axis] = np.maximum(variances[axis] - column**2 / scale, 0)
        found.append(Suggestion(int(places[best]), float(np.sqrt(before)), float(np.sqrt(np.mean(variances)))))
    return found


def _spread(frames: int, count: int) -> np.ndarray:
    """Up to `count` places, evenly over `frames`."""
    return np.unique(np.linspace(0, frames - 1, min(frames, count)).round().astype(int))
