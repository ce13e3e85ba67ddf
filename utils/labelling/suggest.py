"""Suggests which frames to label next: those whose labels would reduce the expected error of the whole clip most."""

from typing import NamedTuple

import numpy as np

from utils.labelling.mixture import MixturePosterior
from utils.labelling.support import evenly_spaced, middles_of_parts

CANDIDATES = 256  # Up to this many evenly spaced frames of the clip may be suggested.
EVALUATION_POINTS = 2048  # `suggest` averages the expected error over up to this many frames, beside the candidates.
PLAN_POINTS = 512  # `plan_labels` averages over fewer frames, since it evaluates many more plans.
COVARIANCE_BLOCK = 32  # So many columns of the covariance are computed at once, to limit memory.
STABILISER = 1e-6  # It is added to the variance of a label before division.
MOST_SWEEPS = 4  # The exchange ends after this many rounds; most plans are stable after two.
LARGEST_EXCHANGE = 64  # Larger plans are not improved by exchange, which would take too long.


class Suggestion(NamedTuple):
    """A frame to label next.

    Attributes:
        frame_index: index of the frame among the clip's frames.
        error_before: expected RMSE of the clip over both axes if all earlier suggestions, but not this one, have been
            labelled.
        error_after: expected RMSE if this one has been labelled too.
    """

    frame_index: int
    error_before: float
    error_after: float


def expected_error(posteriors: list[MixturePosterior]) -> float:
    """Expected RMSE of the estimated labels, over both axes and all frames without a given label; 0 if all have one."""
    unlabelled = np.delete(np.arange(len(posteriors[0].mean)), posteriors[0].observations.indices)
    if not len(unlabelled):
        return 0.0
    return float(np.sqrt(np.mean([posterior.predictive_variance[unlabelled] for posterior in posteriors])))


def suggest(
    posteriors: list[MixturePosterior], count: int, label_errors: tuple[float, float] = (0.0, 0.0)
) -> list[Suggestion]:
    """Suggests frames one after the other, the most useful first, for a person who may stop at any time.

    Each suggestion assumes that the frames suggested before it have been labelled. A label at frame q reduces the
    variance at frame t by cov(t, q)² / (var(q) + error²); the frame with the largest total reduction is chosen.

    Args:
        posteriors: of valence and arousal, given the labels so far.
        count: number of suggestions; fewer are returned if fewer frames are without a label.
        label_errors: standard deviations of the errors in a person's labels of valence and of arousal.
    """
    plan = _Plan(posteriors, label_errors, EVALUATION_POINTS)
    return plan.suggestions(plan.greedy(count, np.arange(len(plan.candidates))))


def plan_labels(
    posteriors: list[MixturePosterior], count: int, label_errors: tuple[float, float] = (0.0, 0.0)
) -> list[Suggestion]:
    """Chooses `count` frames together, for a person who will label all of them; arguments as for `suggest`.

    There are two starting points: the greedy choice, and evenly spaced frames. From each, one chosen frame after the
    other is replaced by the candidate that reduces the variance most, given all other chosen frames, until nothing
    changes. The better result is returned, the most useful frame first. Plans of more than LARGEST_EXCHANGE frames are
    the better of the two starting points.
    """
    plan = _Plan(posteriors, label_errors, PLAN_POINTS, count)
    count = min(count, len(plan.candidates))
    if not count:
        return []
    everything = np.arange(len(plan.candidates))
    starts = [plan.greedy(count, everything), plan.even(count)]
    if count <= LARGEST_EXCHANGE:
        starts = [plan.exchange(start) for start in starts]
    best = max(starts, key=plan.reduction)
    return plan.suggestions(plan.greedy(count, best))


class _Plan:
    """The candidates of a clip, and the covariances of f at the evaluation points with f at the candidates.

    Attributes:
        candidates: (Q,) indices of the frames that may be suggested.
    """

    def __init__(
        self, posteriors: list[MixturePosterior], label_errors: tuple[float, float], points: int, even: int = 0
    ):
        """Computes the covariances.

        Args:
            posteriors: of valence and arousal, given the labels so far.
            label_errors: standard deviations of a person's label of valence and of arousal.
            points: number of evaluation points, beside the candidates.
            even: number of evenly spaced frames that must be among the candidates.
        """
        frames, labelled = np.arange(len(posteriors[0].mean)), posteriors[0].observations.indices
        unlabelled = np.setdiff1d(frames, labelled)
        grid = np.setdiff1d(evenly_spaced(frames, CANDIDATES), labelled)
        self._even = middles_of_parts(unlabelled, even)
        self.candidates = np.union1d(grid if len(grid) else evenly_spaced(unlabelled, CANDIDATES), self._even)
        rows = np.union1d(self.candidates, evenly_spaced(frames, points))
        self._rows = np.searchsorted(rows, self.candidates)
        self._covariances = [_covariance(posterior, self.candidates, rows) for posterior in posteriors]
        self._variances = [posterior.variance[rows] for posterior in posteriors]
        self._noise = [error**2 + STABILISER for error in label_errors]
        self._nugget_variance = float(np.mean([posterior.nugget**2 for posterior in posteriors]))

    def even(self, count: int) -> np.ndarray:
        """Indices among the candidates of up to `count` evenly spaced frames."""
        return np.searchsorted(self.candidates, self._even)[:count]

    def greedy(self, count: int, allowed: np.ndarray) -> np.ndarray:
        """Indices of up to `count` of the `allowed` candidates, each the best one given those chosen before it."""
        chosen: list[int] = []
        for _ in range(min(count, len(allowed))):
            gains = self._gains(np.array(chosen, int))[allowed]
            gains[np.isin(allowed, chosen)] = -1
            chosen.append(int(allowed[gains.argmax()]))
        return np.array(chosen, int)

    def exchange(self, chosen: np.ndarray) -> np.ndarray:
        """Replaces each chosen candidate in turn by the best one given the others, until nothing changes."""
        chosen = chosen.copy()
        for _ in range(MOST_SWEEPS):
            before = chosen.copy()
            for number in range(len(chosen)):
                others = np.delete(chosen, number)
                gains = self._gains(others)
                gains[others] = -1
                best = int(gains.argmax())
                if gains[best] > gains[chosen[number]] * (1 + 1e-6):
                    chosen[number] = best
            if (chosen == before).all():
                break
        return chosen

    def reduction(self, chosen: np.ndarray) -> float:
        """Total reduction of variance by labels at the chosen candidates."""
        return float(sum(np.square(explained).sum() for explained in self._explained(chosen)))

    def suggestions(self, chosen: np.ndarray) -> list[Suggestion]:
        """The chosen candidates in order, with the expected errors before and after each."""
        errors = [self._expected_error(chosen[:number]) for number in range(len(chosen) + 1)]
        frames = self.candidates[chosen]
        return [Suggestion(int(frame), *errors[number : number + 2]) for number, frame in enumerate(frames)]

    def _expected_error(self, chosen: np.ndarray) -> float:
        variances = [
            np.maximum(variance - np.square(explained).sum(1), 0)
            for variance, explained in zip(self._variances, self._explained(chosen), strict=True)
        ]
        return float(np.sqrt(np.mean(variances) + self._nugget_variance))

    def _explained(self, chosen: np.ndarray) -> list[np.ndarray]:
        """Per axis, (points, K) whose squared rows sum to the variance that labels at K candidates explain."""
        return [
            np.linalg.solve(self._factor(covariance, chosen, noise), covariance[:, chosen].T).T
            for covariance, noise in zip(self._covariances, self._noise, strict=True)
        ]

    def _gains(self, chosen: np.ndarray) -> np.ndarray:
        """(Q,) reduction of variance by one more label at each candidate, given labels at the chosen ones."""
        gains = np.zeros(len(self.candidates))
        for covariance, noise, explained in zip(self._covariances, self._noise, self._explained(chosen), strict=True):
            remaining = covariance - explained @ explained[self._rows].T
            variance = np.maximum(remaining[self._rows, np.arange(len(self._rows))], 0)
            gains += np.square(remaining).sum(0) / (variance + noise)
        return gains

    def _factor(self, covariance: np.ndarray, chosen: np.ndarray, noise: float) -> np.ndarray:
        """Cholesky factor of the covariance of labels at the chosen candidates."""
        return np.linalg.cholesky(covariance[np.ix_(self._rows[chosen], chosen)] + noise * np.eye(len(chosen)))


def _covariance(posterior: MixturePosterior, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(R, C) covariance, computed a few columns at a time, since each column needs memory for all frames."""
    if not len(columns):
        return np.empty((len(rows), 0))
    blocks = np.array_split(columns, -(-len(columns) // COVARIANCE_BLOCK))
    return np.concatenate([posterior.covariance(block, rows) for block in blocks], 1)
