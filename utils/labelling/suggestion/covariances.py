"""Covariances of f between candidate frames of a clip and the frames where its error is evaluated.

Whoever chooses frames to label adds and removes labels here, one by one, at the cost of a rank-one update.
"""

import numpy as np

from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.support import evenly_spaced

COVARIANCE_BLOCK = 32  # This many columns of the covariance are computed at once, to limit memory.
STABILISER = 1e-6  # It is added to the variance of a label before division.


def unlabelled_frames(posteriors: list[MixturePosterior]) -> np.ndarray:
    """Indices of the frames without a given label."""
    return np.delete(np.arange(len(posteriors[0].mean)), posteriors[0].observations.indices)


def candidate_frames(posteriors: list[MixturePosterior], count: int, most: int) -> np.ndarray:
    """Indices of evenly spaced frames without a label: up to `most`, or more if more than half are to be chosen.

    Args:
        posteriors: of valence and arousal, given the labels so far.
        count: number of frames to choose from the candidates.
        most: usual number of candidates.
    """
    frames, labelled = np.arange(len(posteriors[0].mean)), posteriors[0].observations.indices
    most = max(most, 2 * count)
    grid = np.setdiff1d(evenly_spaced(frames, most), labelled)
    return grid if len(grid) >= count else evenly_spaced(unlabelled_frames(posteriors), most)


class AxisCovariance:
    """Covariances of f on one axis, between E evaluation points and Q candidates, given labels at some candidates.

    Attributes:
        covariance: (R, Q) covariances of f at R frames with f at the candidates. The first E of the R frames are the
            evaluation points; the others are the candidates that are not evaluation points.
        variances: (E,) variances of f at the evaluation points.
        frames: (R,) index of the frame of each row.
        candidate_rows: (Q,) row of each candidate.
    """

    def __init__(
        self,
        covariance: np.ndarray,
        variances: np.ndarray,
        frames: np.ndarray,
        candidate_rows: np.ndarray,
        noise: float,
    ):
        """noise: error variance of a label; the others are the attributes."""
        self.covariance, self.variances = covariance, variances
        self.frames, self.candidate_rows, self._noise = frames, candidate_rows, noise

    def copy(self) -> "AxisCovariance":
        return AxisCovariance(
            self.covariance.copy(), self.variances.copy(), self.frames, self.candidate_rows, self._noise
        )

    @property
    def label_variances(self) -> np.ndarray:
        """(Q,) variance of a label at each candidate: that of f, and of the label's error."""
        variances = self.covariance[self.candidate_rows, np.arange(len(self.candidate_rows))]
        return np.maximum(variances, 0) + self._noise

    def gains(self) -> np.ndarray:
        """(Q,) total reduction of variance at the evaluation points by one more label at each candidate."""
        evaluated = self.covariance[: len(self.variances)]
        return np.einsum("rq,rq->q", evaluated, evaluated) / self.label_variances

    def add_label(self, candidate: int) -> None:
        """Condition on a label at a candidate."""
        self.update(self.covariance[:, candidate].copy(), -1 / self.label_variances[candidate])

    def remove_label(self, prior: "AxisCovariance", chosen: np.ndarray, number: int) -> None:
        """Remove the label at chosen[number] again.

        With K the covariance of the labels, and b the column of the prior covariance with the labels times that of K⁻¹,
        the covariance without label i is larger by b · bᵀ / (K⁻¹)_ii.

        Args:
            prior: the covariances without any of the labels.
            chosen: (K,) candidates with a label.
            number: index of the label in `chosen`.
        """
        labels = prior.covariance[np.ix_(self.candidate_rows[chosen], chosen)] + self._noise * np.eye(len(chosen))
        inverse = np.linalg.solve(labels, np.eye(len(chosen))[:, number])
        self.update(prior.covariance[:, chosen] @ inverse, 1 / inverse[number])

    def update(self, column: np.ndarray, factor: float) -> None:
        """Add factor · column · columnᵀ to the covariances, and its diagonal to the variances."""
        self.covariance += np.outer(factor * column, column[self.candidate_rows])
        self.variances += factor * column[: len(self.variances)] ** 2


def axis_covariances(
    posteriors: list[MixturePosterior], label_errors: tuple[float, float], candidates: np.ndarray, points: int
) -> list[AxisCovariance]:
    """The covariances of valence and arousal of a clip.

    Args:
        posteriors: of valence and arousal, given the labels so far.
        label_errors: standard deviations of a person's label of valence and of arousal.
        candidates: (Q,) indices of the frames that may be suggested, ascending.
        points: number of evaluation points, which are evenly spaced.
    """
    evaluated = evenly_spaced(np.arange(len(posteriors[0].mean)), points)
    rows = np.concatenate((evaluated, np.setdiff1d(candidates, evaluated)))
    order = np.argsort(rows)
    candidate_rows = order[np.searchsorted(rows, candidates, sorter=order)]
    return [
        AxisCovariance(
            _covariance(posterior, candidates, rows),
            posterior.variance[evaluated],
            rows,
            candidate_rows,
            error**2 + STABILISER,
        )
        for posterior, error in zip(posteriors, label_errors, strict=True)
    ]


def _covariance(posterior: MixturePosterior, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(R, C) covariance, computed a few columns at a time, since each column needs memory for all frames."""
    if not len(columns):
        return np.empty((len(rows), 0))
    blocks = np.array_split(columns, -(-len(columns) // COVARIANCE_BLOCK))
    return np.concatenate([posterior.covariance(block, rows) for block in blocks], 1)
