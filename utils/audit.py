"""Support labels that the others contradict: slips of a hand, wrong frames, a changed mind."""

from typing import NamedTuple

import numpy as np

from datasets.annotations import AXES
from utils.fusion import NORMAL, Fusion
from utils.labelling import Anchors, SeenClip, supports

LIMIT = 3.5  # standard deviations from what the other labels lead to expect
SET_ASIDE = 1e3  # error of a label that no longer counts


class Doubt(NamedTuple):
    """A support label that the others contradict."""

    anchor: int
    """Its place among the anchors."""
    axis: str
    label: float
    expected: float
    """What the labels that are not in doubt lead to expect."""
    size: float
    """How far apart the two are, in standard deviations of that expectation."""


def audit(clip: SeenClip, anchors: Anchors, fusion: Fusion) -> list[Doubt]:
    """Labels of the clip's own anchors far from what the others say, the worst first; a row a label and axis.

    Each label is compared with what all the others lead to expect. The worst one is set aside, and the rest compared
    again, since one wrong label makes its neighbours look wrong too.
    """
    if not anchors.inside or len(anchors.places) < 2:
        return []
    errors = anchors.errors.copy()
    while True:
        sizes, expected = _disagreement(clip, anchors, errors, fusion)
        kept = np.where(errors.max(1) < SET_ASIDE, sizes.max(1), 0)
        if kept.max() <= LIMIT:
            break
        errors[kept.argmax()] = SET_ASIDE
    found = [
        Doubt(place, AXES[axis], anchors.labels[place, axis], expected[place, axis], sizes[place, axis])
        for place, axis in zip(*np.nonzero(sizes > LIMIT), strict=True)
    ]
    return sorted(found, key=lambda doubt: -doubt.size)


def doubt_columns(doubt: Doubt, anchors: Anchors) -> dict[str, object]:
    """A row of a table: frame, time in seconds, axis, label, expected, and the size in standard deviations."""
    return {
        "frame": anchors.frames[doubt.anchor], "time": anchors.times[doubt.anchor], "axis": doubt.axis,
        "label": doubt.label, "expected": doubt.expected, "deviations": doubt.size,
    }  # fmt: skip


def _disagreement(
    clip: SeenClip, anchors: Anchors, errors: np.ndarray, fusion: Fusion
) -> tuple[np.ndarray, np.ndarray]:
    """(A, 2) distance of each label from what the others say, in standard deviations; (A, 2) what they say."""
    given = [support._replace(errors=errors[:, axis]) for axis, support in enumerate(supports(anchors))]
    posteriors = fusion.posteriors(clip.times, clip.view, given)
    means, variances = zip(*(posterior.left_out() for posterior in posteriors), strict=True)
    residuals, widths = np.array([model.residual for model in fusion.models]), np.array(fusion.widths)
    spread = np.stack(variances, 1) + residuals**2
    deviations = np.sqrt(spread * (widths / NORMAL) ** 2 + anchors.errors**2)
    return np.abs(anchors.labels - np.stack(means, 1)) / deviations, np.clip(np.stack(means, 1), -1, 1)
