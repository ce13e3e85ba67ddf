"""Suggests which frame to label next: the one whose label is expected to reduce the error of the whole clip most."""

from typing import NamedTuple

import numpy as np

from utils.labelling.mixture import MixturePosterior

CANDIDATES = 256  # frames considered, evenly spaced over the clip
EVALUATION_POINTS = 2048  # frames over which the expected error is averaged
COVARIANCE_BLOCK = 32  # columns of the covariance computed at once
STABILISER = 1e-9  # added to variances before division


class Suggestion(NamedTuple):
    """A frame worth a label.

    Attributes:
        frame_index: index of the frame among the clip's frames.
        error_before: expected RMSE of the clip over both axes without this label.
        error_after: expected RMSE with this label and those of all earlier suggestions.
    """

    frame_index: int
    error_before: float
    error_after: float


def expected_error(posteriors: list[MixturePosterior]) -> float:
    """Expected RMSE of a clip's labels over all frames and both axes."""
    return float(np.sqrt(np.mean([posterior.predictive_variance for posterior in posteriors])))


def suggest(
    posteriors: list[MixturePosterior], count: int, label_errors: tuple[float, float] = (0.0, 0.0)
) -> list[Suggestion]:
    """Suggests frames without a label, the most useful first: greedy minimisation of the mean posterior variance.

    Each suggestion assumes that the frames suggested before it have been labelled. A label at frame q reduces the
    variance at frame t by cov(t, q)² / (var(q) + error²).

    Args:
        posteriors: of valence and arousal, given the labels so far.
        count: number of suggestions; fewer are returned if fewer frames are without a label.
        label_errors: standard deviations of a person's label of valence and of arousal.
    """
    candidates, points = _candidate_frames(posteriors[0])
    candidate_rows = np.searchsorted(points, candidates)
    covariances = [_covariance(posterior, candidates, points) for posterior in posteriors]
    variances = [posterior.variance[points] for posterior in posteriors]
    nugget_variance = np.mean([posterior.nugget**2 for posterior in posteriors])
    chosen = np.zeros(len(candidates), bool)
    suggestions: list[Suggestion] = []
    for _ in range(min(count, len(candidates))):
        before = np.sqrt(np.mean(variances) + nugget_variance)
        reduction = sum(
            np.square(covariance).sum(0) / (variance[candidate_rows] + error**2 + STABILISER)
            for covariance, variance, error in zip(covariances, variances, label_errors, strict=True)
        )
        best = int(np.where(chosen, -1, reduction).argmax())
        chosen[best] = True
        for axis, error in enumerate(label_errors):
            column = covariances[axis][:, best].copy()
            observed_variance = variances[axis][candidate_rows[best]] + error**2 + STABILISER
            covariances[axis] -= np.outer(column, column[candidate_rows]) / observed_variance
            variances[axis] = np.maximum(variances[axis] - column**2 / observed_variance, 0)
        after = np.sqrt(np.mean(variances) + nugget_variance)
        suggestions.append(Suggestion(int(candidates[best]), float(before), float(after)))
    return suggestions


def _candidate_frames(posterior: MixturePosterior) -> tuple[np.ndarray, np.ndarray]:
    """Frames that may be suggested, and the frames, including these, over which the error is averaged."""
    frames, labelled = np.arange(len(posterior.mean)), posterior.observations.indices
    grid = _evenly_spaced(frames, CANDIDATES)
    candidates = np.setdiff1d(grid, labelled)
    if not len(candidates):
        candidates = grid = _evenly_spaced(np.setdiff1d(frames, labelled), CANDIDATES)
    return candidates, np.union1d(grid, _evenly_spaced(frames, EVALUATION_POINTS))


def _covariance(posterior: MixturePosterior, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(R, C) covariance, computed a few columns at a time, since each column needs memory for all frames."""
    if not len(columns):
        return np.empty((len(rows), 0))
    blocks = np.array_split(columns, -(-len(columns) // COVARIANCE_BLOCK))
    return np.concatenate([posterior.covariance(block, rows) for block in blocks], 1)


def _evenly_spaced(frames: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` of the frames, evenly spaced."""
    return frames[np.unique(np.linspace(0, len(frames) - 1, min(len(frames), count)).round().astype(int))]
