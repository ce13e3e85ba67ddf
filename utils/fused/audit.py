"""Support labels that the others contradict: slips of a hand, wrong frames, a changed mind."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from datasets.annotations import AXES
from utils.fused.fusion import NORMAL, Fusion
from utils.fused.smoother import Support
from utils.fused.trace import Trace
from utils.labelling import Anchors, SeenClip, supports

LIMIT = 3.5  # standard deviations from what the other labels lead to expect
SET_ASIDE = 1e3  # error of a label that no longer counts

Traces = Callable[[list[Support]], list[Trace]]  # of a clip, given any support, an entry an axis


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

    Each label is compared with what all the others lead to expect. One that is further off than its neighbours is set
    aside, and the rest compared again, since a wrong label makes its neighbours look wrong too.
    """
    return contradicted(anchors, fusion, partial(fusion.posteriors, clip.times, clip.view))


def contradicted(anchors: Anchors, fusion: Fusion, posteriors: Traces) -> list[Doubt]:
    """The same, where `posteriors` gives the clip's traces for any support."""
    if not anchors.inside or len(anchors.places) < 2:
        return []
    errors = anchors.errors.copy()
    while True:
        sizes, expected = _disagreement(anchors, errors, fusion, posteriors)
        kept = np.where(errors < SET_ASIDE, sizes, 0)
        around = np.pad(kept, ((1, 1), (0, 0)))
        worst = (kept > LIMIT) & (kept >= around[:-2]) & (kept >= around[2:])
        if not worst.any():
            break
        errors[worst] = SET_ASIDE
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
    anchors: Anchors, errors: np.ndarray, fusion: Fusion, posteriors: Traces
) -> tuple[np.ndarray, np.ndarray]:
    """(A, 2) distance of each label from what the others say, in standard deviations; (A, 2) what they say."""
    given = [support._replace(errors=errors[:, axis]) for axis, support in enumerate(supports(anchors))]
    means, variances = zip(*(posterior.left_out() for posterior in posteriors(given)), strict=True)
    residuals, widths = np.array([model.residual for model in fusion.models]), np.array(fusion.widths)
    spread = np.stack(variances, 1) + residuals**2
    deviations = np.sqrt(spread * (widths / NORMAL) ** 2 + anchors.errors**2)
    return np.abs(anchors.labels - np.stack(means, 1)) / deviations, np.clip(np.stack(means, 1), -1, 1)
