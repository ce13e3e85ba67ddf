"""Anchor rules: which anchors are used for a frame, and how their estimates are averaged.

Baselines use labels and time alone.

Pure functions on arrays. A clip has N frames at ascending times (N,), in seconds, and A anchors with labels (A, 2):
valence and arousal in [-1, 1]. An anchor's estimate for a frame is the anchor's label plus the difference that the
Siamese network predicts, frame minus anchor. To add a rule, write its functions, list them in ANCHOR_RULES, and add its
name to the Literal `Rule` in utils/config/sections.py. The rule `fused` is not in that table: it conditions a Gaussian
process on all anchors at once (`utils.labelling.posterior.gp`).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


def latest_anchor(times: np.ndarray, anchor_times: np.ndarray) -> np.ndarray:
    """(N, 1) index of each frame's latest anchor at or before it; frames before the first anchor get the first."""
    return np.maximum(np.searchsorted(anchor_times, times, side="right") - 1, 0)[:, None]


def nearest_anchor(times: np.ndarray, anchor_times: np.ndarray) -> np.ndarray:
    """(N, 1) index of each frame's nearest anchor in time; the earlier one of two at equal distance."""
    before = latest_anchor(times, anchor_times)[:, 0]
    after = np.minimum(before + 1, len(anchor_times) - 1)
    after_is_nearer = np.abs(anchor_times[after] - times) < np.abs(times - anchor_times[before])
    return np.where(after_is_nearer, after, before)[:, None]


def all_anchors(times: np.ndarray, anchor_times: np.ndarray) -> np.ndarray:
    """(N, A) indices of all anchors, for each frame."""
    return np.broadcast_to(np.arange(len(anchor_times)), (len(times), len(anchor_times)))


class AnchorEstimates(NamedTuple):
    """The network's estimates for N frames from the K anchors that are selected for each of them.

    Attributes:
        values: (N, K, 2) the anchor's label plus the predicted difference.
        similar_probability: (N, K) probability that frame and anchor show a similar expression.
        time_distance: (N, K) seconds between frame and anchor, divided by (clip duration / number of anchors); NaN for
            anchors without a time.
    """

    values: np.ndarray
    similar_probability: np.ndarray
    time_distance: np.ndarray


def mean(estimates: AnchorEstimates) -> np.ndarray:
    """(N, 2) estimates averaged over the anchors."""
    return estimates.values.mean(1)


def weighted_mean(estimates: AnchorEstimates) -> np.ndarray:
    """(N, 2) estimates averaged over the anchors with weights (similar_probability + 1e-6) / (1 + time distance).

    The 1e-6 keeps the sum of the weights above 0. A time distance of NaN counts as 0.
    """
    weights = (estimates.similar_probability + 1e-6) / (1 + np.nan_to_num(estimates.time_distance))
    weights = weights / weights.sum(1, keepdims=True)
    return (weights[..., None] * estimates.values).sum(1)


class AnchorRule(NamedTuple):
    """How a frame is labelled from anchors.

    Attributes:
        select: function of frame times (N,) and anchor times (A,) to the indices (N, K) of the anchors that are used
            for each frame. A rule that uses all anchors (K = A) must give them in ascending order, since all frames
            are then compared with the anchors as they are stored.
        combine: function of their estimates to labels (N, 2).
    """

    select: Callable[[np.ndarray, np.ndarray], np.ndarray]
    combine: Callable[[AnchorEstimates], np.ndarray]


ANCHOR_RULES = {
    "previous": AnchorRule(latest_anchor, mean),  # the paper's rule
    "nearest": AnchorRule(nearest_anchor, mean),
    "mean": AnchorRule(all_anchors, mean),
    "weighted": AnchorRule(all_anchors, weighted_mean),
}
RULES_THAT_NEED_TIME = ("previous", "nearest")  # These cannot use anchors without a time.

FUSED = "fused"
RULES = (*ANCHOR_RULES, FUSED)


def hold(times: np.ndarray, anchor_times: np.ndarray, anchor_labels: np.ndarray) -> np.ndarray:
    """(N, 2) the latest anchor's label, unchanged."""
    return anchor_labels[latest_anchor(times, anchor_times)[:, 0]]


def linear(times: np.ndarray, anchor_times: np.ndarray, anchor_labels: np.ndarray) -> np.ndarray:
    """(N, 2) linear interpolation between anchors; constant before the first and after the last."""
    return np.stack([np.interp(times, anchor_times, labels) for labels in anchor_labels.T], 1)


BASELINES = {"hold": hold, "linear": linear}
