"""Suggests which frames to label next: those whose labels would reduce the expected error of the whole clip most."""

from typing import NamedTuple

import numpy as np

from utils.labelling.posterior.mixture import LARGEST_VARIANCE, MixturePosterior
from utils.labelling.suggestion.covariances import AxisCovariance, axis_covariances, candidate_frames, unlabelled_frames
from utils.labelling.support import middles_of_parts

CANDIDATES = 256  # Up to this many evenly spaced frames of the clip may be suggested.
EVALUATION_POINTS = 2048  # `suggest_one_by_one` averages the error over up to this many evenly spaced frames.
PLAN_POINTS = 1024  # `suggest_set` averages over fewer frames, since it evaluates many more plans.
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
    variances = unlabelled_variances(posteriors)
    return float(np.sqrt(variances.mean())) if len(variances) else 0.0


def unlabelled_variances(posteriors: list[MixturePosterior]) -> np.ndarray:
    """(n, 2) predictive variances of valence and arousal at the n frames without a given label."""
    unlabelled = unlabelled_frames(posteriors)
    return np.stack([posterior.predictive_variance[unlabelled] for posterior in posteriors], 1)


def suggest_one_by_one(
    posteriors: list[MixturePosterior], count: int, label_errors: tuple[float, float] = (0.0, 0.0)
) -> list[Suggestion]:
    """Suggest frames one after the other, the most useful first, for a person who may stop after any of them.

    Each suggestion assumes that the frames suggested before it have been labelled. A label at frame q reduces the
    variance at frame t by cov(t, q)² / (var(q) + error²); the frame with the largest total reduction is chosen.

    Args:
        posteriors: of valence and arousal, given the labels so far.
        count: number of suggestions; fewer are returned if fewer frames are without a label.
        label_errors: standard deviations of the errors in a person's labels of valence and of arousal.
    """
    plan = _Plan(posteriors, label_errors, candidate_frames(posteriors, count, CANDIDATES), EVALUATION_POINTS)
    return plan.suggestions(plan.greedy(count, np.arange(len(plan.candidates))))


def suggest_set(
    posteriors: list[MixturePosterior], count: int, label_errors: tuple[float, float] = (0.0, 0.0)
) -> list[Suggestion]:
    """Suggest `count` frames that help most together, for a person who will label all of them.

    Arguments are those of `suggest_one_by_one`.

    There are two starting points: the greedy choice, and evenly spaced frames. From each, one chosen frame after the
    other is replaced by the candidate that reduces the variance most, given all other chosen frames, until nothing
    changes. The better result is returned, the most useful frame first. Plans of more than LARGEST_EXCHANGE frames are
    the better of the two starting points.
    """
    even = middles_of_parts(unlabelled_frames(posteriors), count)
    if not len(even):
        return []
    candidates = np.union1d(candidate_frames(posteriors, count, CANDIDATES), even)
    plan = _Plan(posteriors, label_errors, candidates, PLAN_POINTS)
    starts = [plan.greedy(len(even), np.arange(len(plan.candidates))), np.searchsorted(plan.candidates, even)]
    if count <= LARGEST_EXCHANGE:
        starts = [plan.exchange(start) for start in starts]
    best = max(starts, key=plan.reduction)
    return plan.suggestions(plan.greedy(count, best))


class _Plan:
    """The candidates of a clip, and how far labels at them would reduce the variance of f.

    Attributes:
        candidates: (Q,) indices of the frames that may be suggested.
    """

    def __init__(
        self,
        posteriors: list[MixturePosterior],
        label_errors: tuple[float, float],
        candidates: np.ndarray,
        points: int,
    ):
        """Compute the covariances.

        Args:
            posteriors: of valence and arousal, given the labels so far.
            label_errors: standard deviations of a person's label of valence and of arousal.
            candidates: (Q,) indices of the frames that may be suggested, ascending.
            points: number of evaluation points.
        """
        self.candidates = candidates
        self._axes = axis_covariances(posteriors, label_errors, candidates, points)
        self._nugget_variances = [posterior.nugget_variance for posterior in posteriors]

    def greedy(self, count: int, allowed: np.ndarray) -> np.ndarray:
        """Indices of up to `count` of the `allowed` candidates, each the best one given those chosen before it."""
        axes = [axis.copy() for axis in self._axes]
        chosen: list[int] = []
        for _ in range(min(count, len(allowed))):
            gains = _gains(axes)[allowed]
            gains[np.isin(allowed, chosen)] = -1
            chosen.append(int(allowed[gains.argmax()]))
            for axis in axes:
                axis.add_label(chosen[-1])
        return np.array(chosen, int)

    def exchange(self, chosen: np.ndarray) -> np.ndarray:
        """Replace each chosen candidate in turn by the best one given the others, until nothing changes."""
        chosen = chosen.copy()
        for _ in range(MOST_SWEEPS):
            axes = self._given(chosen)  # Computed anew in each sweep, so that rounding errors do not accumulate.
            before = chosen.copy()
            for number in range(len(chosen)):
                others = np.delete(chosen, number)
                for axis, prior in zip(axes, self._axes, strict=True):
                    axis.remove_label(prior, chosen, number)
                gains = _gains(axes)
                gains[others] = -1
                best = int(gains.argmax())
                if gains[best] > gains[chosen[number]] * (1 + 1e-6):
                    chosen[number] = best
                for axis in axes:
                    axis.add_label(chosen[number])
            if (chosen == before).all():
                break
        return chosen

    def reduction(self, chosen: np.ndarray) -> float:
        """Total reduction of variance at the evaluation points by labels at the chosen candidates."""
        pairs = zip(self._axes, self._given(chosen), strict=True)
        return float(sum((before.variances - after.variances).sum() for before, after in pairs))

    def suggestions(self, chosen: np.ndarray) -> list[Suggestion]:
        """The chosen candidates in order, with the expected errors before and after each."""
        axes = [axis.copy() for axis in self._axes]
        errors = [self._expected_error(axes)]
        for candidate in chosen:
            for axis in axes:
                axis.add_label(int(candidate))
            errors.append(self._expected_error(axes))
        frames = self.candidates[chosen]
        return [Suggestion(int(frame), *errors[number : number + 2]) for number, frame in enumerate(frames)]

    def _given(self, chosen: np.ndarray) -> list[AxisCovariance]:
        """The covariances given labels at the chosen candidates."""
        axes = [axis.copy() for axis in self._axes]
        for candidate in chosen:
            for axis in axes:
                axis.add_label(int(candidate))
        return axes

    def _expected_error(self, axes: list[AxisCovariance]) -> float:
        variances = [
            np.clip(axis.variances + nugget_variance, 0, LARGEST_VARIANCE)
            for axis, nugget_variance in zip(axes, self._nugget_variances, strict=True)
        ]
        return float(np.sqrt(np.mean(variances)))


def _gains(axes: list[AxisCovariance]) -> np.ndarray:
    """(Q,) reduction of variance, summed over both axes, by one more label at each candidate."""
    return np.sum([axis.gains() for axis in axes], axis=0)
