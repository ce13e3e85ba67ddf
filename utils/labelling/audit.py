"""Audits given labels: finds those that the other given labels of the clip contradict."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from datasets.columns import AXES
from utils.labelling.calibration.calibration import NORMAL_WIDTH, Calibration, small_sample_factor
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.posterior.outliers import IGNORED_ERROR, OUTLIER_DEVIATIONS, find_outliers
from utils.labelling.types import Anchors, EncodedClip, LabelObservations, observations_of

ClipPosteriorsFactory = Callable[[list[LabelObservations]], list[MixturePosterior]]


class Contradiction(NamedTuple):
    """A given label that the other given labels contradict.

    Attributes:
        anchor_index: index of the label among the anchors.
        axis: "valence" or "arousal".
        label: the given label.
        expected: the prediction from the other labels that are not outliers, clipped to [-1, 1].
        standardised_error: distance of the label from the prediction before it is clipped, in standard deviations. The
            variance includes that of the prediction and the error of the label itself.
    """

    anchor_index: int
    axis: str
    label: float
    expected: float
    standardised_error: float


def audit(clip: EncodedClip, anchors: Anchors, calibration: Calibration) -> list[Contradiction]:
    """Compare each given label of the clip with the leave-one-out prediction from the others.

    Only local maxima are rejected in each round; the other labels are then compared again (`posterior.outliers`).

    Returns:
        One entry per contradicted label and axis, the largest standardised error first. Empty if there are fewer than
        two labels, or if an anchor is not a frame of the clip.
    """
    return find_contradictions(anchors, calibration, partial(calibration.posteriors, clip.times, clip.evidence))


def find_contradictions(
    anchors: Anchors, calibration: Calibration, posteriors_factory: ClipPosteriorsFactory
) -> list[Contradiction]:
    """Do what `audit` does, with any function that computes the posteriors of the clip.

    Args:
        anchors: the given labels, with their errors.
        calibration: the calibration from which the posteriors are computed.
        posteriors_factory: function of the given labels, one entry per axis, to the posteriors of valence and arousal.
    """
    if not anchors.all_in_clip or len(anchors.indices) < 2:
        return []
    errors = anchors.errors.copy()
    while True:
        deviations, expected = _deviations(anchors, errors, calibration, posteriors_factory)
        outliers = find_outliers(deviations, errors)
        if not outliers.any():
            break
        errors[outliers] = IGNORED_ERROR
    found = [
        Contradiction(row, AXES[axis], anchors.labels[row, axis], expected[row, axis], deviations[row, axis])
        for row, axis in zip(*np.nonzero(deviations > OUTLIER_DEVIATIONS), strict=True)
    ]
    return sorted(found, key=lambda contradiction: -contradiction.standardised_error)


def contradiction_row(contradiction: Contradiction, anchors: Anchors) -> dict[str, object]:
    """A row of audit.csv: frame, time in seconds, axis, label, expected, deviations."""
    return {
        "frame": anchors.frames[contradiction.anchor_index],
        "time": anchors.times[contradiction.anchor_index],
        "axis": contradiction.axis,
        "label": contradiction.label,
        "expected": contradiction.expected,
        "deviations": contradiction.standardised_error,
    }


def _deviations(
    anchors: Anchors, errors: np.ndarray, calibration: Calibration, posteriors_factory: ClipPosteriorsFactory
) -> tuple[np.ndarray, np.ndarray]:
    """(A, 2) absolute standardised leave-one-out errors, and (A, 2) leave-one-out predictions, clipped to [-1, 1].

    The posteriors are computed with `errors` (A, 2), in which rejected labels have IGNORED_ERROR. A label itself is
    judged with its own error, that of `anchors`, so that a rejected label keeps its standardised error.
    """
    given = [observed._replace(errors=errors[:, axis]) for axis, observed in enumerate(observations_of(anchors))]
    means, variances = zip(*(posterior.loo_predictive() for posterior in posteriors_factory(given)), strict=True)
    factor = small_sample_factor(len(anchors.indices) - 1)
    pairs = zip(variances, calibration.axes, strict=True)
    stds = [factor * np.sqrt(variance + axis.with_evidence.process.nugget**2) for variance, axis in pairs]
    # The calibration may widen a standard deviation here, but never narrow it: a misread clip must not make its own
    # labels suspect.
    pairs = zip(calibration.axes, stds, strict=True)
    stds = [np.maximum(axis.interval_widths.half_widths(std) / NORMAL_WIDTH, std) for axis, std in pairs]
    variance = np.stack(stds, 1) ** 2 + anchors.errors**2
    predicted = np.stack(means, 1)
    return np.abs(anchors.labels - predicted) / np.sqrt(variance), np.clip(predicted, -1, 1)
