"""Fit problems: segments of clips with simulated support frames, between which the true labels are predicted."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.posterior.process import GPParameters
from utils.labelling.support import SupportStrategy, evenly_spaced, every_n, uniform_k
from utils.labelling.types import LabelObservations

SupportSets = tuple[tuple[SupportStrategy, int], ...]

LONGEST_SEGMENT = 240  # Longer clips are fitted in segments of up to this many frames.
SIMULATED_SUPPORT = (
    (every_n, 20),
    (every_n, 40),
    (uniform_k, 1),
    (uniform_k, 3),
    (uniform_k, 6),
    (uniform_k, 12),
)
DENSE_SUPPORT = ((every_n, 5), (every_n, 3))  # These are used to fit the interval widths only.


class CalibrationClip(NamedTuple):
    """A clip whose true labels are known.

    Attributes:
        times: (N,) seconds, ascending.
        evidence: (N, E, 2) evidence of E sources for valence and arousal; NaN = no value.
        labels: (N, 2) true valence and arousal; NaN = not labelled.
    """

    times: np.ndarray
    evidence: np.ndarray
    labels: np.ndarray


class FitProblem(NamedTuple):
    """One axis of a segment of N frames with one simulated support-set. The evidence of all N frames is used.

    Attributes:
        times: (N,) seconds, from 0.
        evidence: (N, E) evidence of the sources; NaN = no value.
        labels: (N,) true labels; NaN = not labelled.
        support: (A,) frame indices of the support frames.
        targets: frame indices of the other labelled frames, whose labels are predicted.
    """

    times: np.ndarray
    evidence: np.ndarray
    labels: np.ndarray
    support: np.ndarray
    targets: np.ndarray

    def posterior(self, parameters: GPParameters) -> GPPosterior:
        """The posterior by these parameters, given the labels of the support frames."""
        return GPPosterior(parameters, self.times, self.evidence, self.observations)

    @property
    def observations(self) -> LabelObservations:
        """The labels of the support frames."""
        return LabelObservations(self.support, self.labels[self.support], np.zeros(len(self.support)))


def simulate_support(clip: CalibrationClip, axis: int, support_sets: SupportSets) -> Iterator[FitProblem]:
    """Yield a fit problem for each segment of the clip and each of the support-sets."""
    rng = np.random.default_rng(0)  # Every strategy has this argument, but those of the support-sets do not use it.
    labelled = np.flatnonzero(np.isfinite(clip.labels[:, axis]))
    for part in np.array_split(labelled, -(-len(labelled) // LONGEST_SEGMENT) or 1):
        for strategy, amount in support_sets:
            # These strategies use only the number of frames, so `part` can be passed in place of embeddings.
            support = strategy(part, amount, rng)
            if len(support) < len(part):
                yield _make_problem(clip, part, support, axis)


def _make_problem(clip: CalibrationClip, labelled: np.ndarray, support: np.ndarray, axis: int) -> FitProblem:
    """The problem of a segment.

    Args:
        clip: the clip.
        labelled: indices of the labelled frames of the segment.
        support: those that are support frames, as indices into `labelled`.
        axis: the axis.
    """
    between = np.setdiff1d(np.arange(labelled[0], labelled[-1]), labelled)
    rows = np.union1d(labelled, evenly_spaced(between, LONGEST_SEGMENT - len(labelled)))
    observed = np.searchsorted(rows, labelled)
    return FitProblem(
        clip.times[rows] - clip.times[rows[0]],
        clip.evidence[rows, :, axis].astype(np.float64),
        clip.labels[rows, axis].astype(np.float64),
        observed[support],
        np.delete(observed, support),
    )
