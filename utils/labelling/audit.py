"""Audits support labels: finds those that the other labels of the clip contradict."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from datasets.columns import AXES
from utils.labelling.calibration import NORMAL_WIDTH, Calibration
from utils.labelling.mixture import MixturePosterior
from utils.labelling.outliers import IGNORED_ERROR, OUTLIER_DEVIATIONS, find_outliers
from utils.labelling.types import Anchors, EncodedClip, LabelObservations, observations_of

PosteriorsGiven = Callable[[list[LabelObservations]], list[MixturePosterior]]


class Contradiction(NamedTuple):
    """A support label that the other labels contradict.

    Attributes:
        anchor_index: index of the label among the anchors.
        axis: "valence" or "arousal".
        label: the label.
        expected: the prediction from the labels that are not contradicted.
        deviations: distance between the two, in standard deviations of the prediction.
    """

    anchor_index: int
    axis: str
    label: float
    expected: float
    deviations: float


def audit(clip: EncodedClip, anchors: Anchors, calibration: Calibration) -> list[Contradiction]:
    """Compares each label of the clip's own anchors with the leave-one-out prediction from the others.

    Outliers are rejected one neighbourhood at a time, and the remaining labels are compared again
    (`utils.labelling.outliers`).

    Returns:
        One entry per contradicted label and axis, the largest deviation first.
    """
    return find_contradictions(anchors, calibration, partial(calibration.posteriors, clip.times, clip.evidence))


def find_contradictions(
    anchors: Anchors, calibration: Calibration, posteriors_given: PosteriorsGiven
) -> list[Contradiction]:
    """As `audit`, with a function that gives the clip's posteriors for any observed labels."""
    if not anchors.from_clip or len(anchors.indices) < 2:
        return []
    errors = anchors.errors.copy()
    while True:
        deviations, expected = _deviations(anchors, errors, calibration, posteriors_given)
        outliers = find_outliers(deviations, errors)
        if not outliers.any():
            break
        errors[outliers] = IGNORED_ERROR
    found = [
        Contradiction(row, AXES[axis], anchors.labels[row, axis], expected[row, axis], deviations[row, axis])
        for row, axis in zip(*np.nonzero(deviations > OUTLIER_DEVIATIONS), strict=True)
    ]
    return sorted(found, key=lambda contradiction: -contradiction.deviations)


def contradiction_row(contradiction: Contradiction, anchors: Anchors) -> dict[str, object]:
    """A row of audit.csv: frame, time in seconds, axis, label, expected, deviations."""
    return {
        "frame": anchors.frames[contradiction.anchor_index],
        "time": anchors.times[contradiction.anchor_index],
        "axis": contradiction.axis,
        "label": contradiction.label,
        "expected": contradiction.expected,
        "deviations": contradiction.deviations,
    }


def _deviations(
    anchors: Anchors, errors: np.ndarray, calibration: Calibration, posteriors_given: PosteriorsGiven
) -> tuple[np.ndarray, np.ndarray]:
    """(A, 2) standardised leave-one-out residuals, and (A, 2) leave-one-out predictions; `errors` (A, 2) of labels."""
    given = [observed._replace(errors=errors[:, axis]) for axis, observed in enumerate(observations_of(anchors))]
    means, variances = zip(*(posterior.loo_predictive() for posterior in posteriors_given(given)), strict=True)
    nuggets = np.array([parameters.nugget for parameters in calibration.parameters])
    widening = np.array(calibration.interval_widths) / NORMAL_WIDTH
    variance = (np.stack(variances, 1) + nuggets**2) * widening**2 + anchors.errors**2
    predicted = np.stack(means, 1)
    return np.abs(anchors.labels - predicted) / np.sqrt(variance), np.clip(predicted, -1, 1)
