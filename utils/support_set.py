"""Labelling a clip from a few labelled frames: which frames to label, which of them serve a frame, how they combine.

Pure functions on arrays. A clip has N frames at `times` (N,), ascending, in any one unit; the support-set is A of
them, the *anchors*, with known labels (A, 2): valence and arousal in [-1, 1]. A *delta* is what the Siamese network
says a frame's label lies above an anchor's.

A new way to choose frames, or to combine anchors, is one function here and one name in SUPPORT or AVERAGES. The rule
`fused` weighs all anchors and time together, by the process of `utils.fused.smoother`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Which frames to label ------------------------------------------------------------------------------------------


def first(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """The first `amount` frames."""
    return np.arange(min(amount, len(embeddings)))


def every_n(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """Frames 0, amount, 2·amount, … (the paper: every 20th)."""
    return np.arange(0, len(embeddings), amount)


def random_k(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """`amount` frames at random."""
    return np.sort(rng.choice(len(embeddings), min(amount, len(embeddings)), replace=False))


def uniform_k(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """The middles of `amount` equal parts of the clip: no frame is further from one than need be."""
    amount = min(amount, len(embeddings))
    return ((np.arange(amount) + 0.5) * len(embeddings) / amount).astype(int)


def diverse_k(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """`amount` frames far from each other in embedding and in time, each new one furthest from those before it.

    The distance is the sum of both distances, each as a share of the largest from the first frame chosen, which
    is the one nearest to the mean embedding.
    """
    place = np.linspace(0, 1, len(embeddings))
    chosen = [int(np.linalg.norm(embeddings - embeddings.mean(0), axis=1).argmin())]
    apart = np.linalg.norm(embeddings - embeddings[chosen[0]], axis=1)
    scale = max(apart.max(), 1e-12)
    nearest = np.full(len(embeddings), np.inf)
    while len(chosen) < min(amount, len(embeddings)):
        apart = np.linalg.norm(embeddings - embeddings[chosen[-1]], axis=1) / scale
        nearest = np.minimum(nearest, apart + np.abs(place - place[chosen[-1]]))
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    return np.sort(chosen)


SupportStrategy = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
SUPPORT: dict[str, SupportStrategy] = {
    strategy.__name__: strategy for strategy in (first, every_n, random_k, uniform_k, diverse_k)
}
"""name → function of embeddings (N, E), an amount, and a source of chance → ascending frame places (A,)."""


def label_bins(labels: np.ndarray, per_bin: int, bins: int, rng: np.random.Generator) -> np.ndarray:
    """Anchors from a training set: `per_bin` rows of each of `bins` equal parts of the valence axis → rows (A,).

    labels (M, 2), NaN = not labelled. A part with fewer rows gives those it has.
    """
    part = np.clip(np.floor((labels[:, 0] + 1) / 2 * bins), 0, bins - 1)
    part[~np.isfinite(labels).all(1)] = -1
    rows = [rng.permutation(np.flatnonzero(part == number))[:per_bin] for number in range(bins)]
    return np.sort(np.concatenate(rows))


# Which anchors serve a frame ------------------------------------------------------------------------------------


def latest(times: np.ndarray, anchor_times: np.ndarray) -> np.ndarray:
    """(N, 1) places of each frame's latest anchor at or before it; of the first anchor, before any."""
    return np.maximum(np.searchsorted(anchor_times, times, side="right") - 1, 0)[:, None]


def closest(times: np.ndarray, anchor_times: np.ndarray) -> np.ndarray:
    """(N, 1) places of each frame's anchor closest in time; of two equally close, the earlier."""
    before = latest(times, anchor_times)[:, 0]
    after = np.minimum(before + 1, len(anchor_times) - 1)
    nearer = np.abs(anchor_times[after] - times) < np.abs(times - anchor_times[before])
    return np.where(nearer, after, before)[:, None]


def every(times: np.ndarray, anchor_times: np.ndarray) -> np.ndarray:
    """(N, A) places of all anchors, for each frame."""
    return np.broadcast_to(np.arange(len(anchor_times)), (len(times), len(anchor_times)))


# How anchors combine --------------------------------------------------------------------------------------------


class Evidence(NamedTuple):
    """What the network says of N frames and the K anchors that serve each."""

    estimates: np.ndarray
    """(N, K, 2): an anchor's label plus the delta from it."""
    similar: np.ndarray
    """(N, K): probability that frame and anchor show a similar expression."""
    apart: np.ndarray
    """(N, K): time between frame and anchor, not negative, in units of the clip's time per anchor; NaN where the
    anchor is of another video."""


def mean(evidence: Evidence) -> np.ndarray:
    """(N, 2) estimates averaged over the anchors."""
    return evidence.estimates.mean(1)


def weighted_mean(evidence: Evidence) -> np.ndarray:
    """(N, 2) estimates averaged by p(similar) / (1 + time apart)."""
    weights = (evidence.similar + 1e-6) / (1 + np.nan_to_num(evidence.apart))
    weights = weights / weights.sum(1, keepdims=True)
    return (weights[..., None] * evidence.estimates).sum(1)


class Average(NamedTuple):
    """Which anchors serve a frame, and how what they say combines."""

    pick: Callable[[np.ndarray, np.ndarray], np.ndarray]
    combine: Callable[[Evidence], np.ndarray]


AVERAGES = {
    "previous": Average(latest, mean),
    "nearest": Average(closest, mean),
    "mean": Average(every, mean),
    "weighted": Average(every, weighted_mean),
}
"""previous: the paper's main rule."""

NEED_TIME = ("previous", "nearest")
"""Rules that cannot use anchors of other videos."""

FUSED = "fused"
RULES = (*AVERAGES, FUSED)


# Baselines: what time alone says --------------------------------------------------------------------------------


def hold(times: np.ndarray, anchor_times: np.ndarray, anchor_labels: np.ndarray) -> np.ndarray:
    """(N, 2): the latest anchor's label, unchanged."""
    return anchor_labels[latest(times, anchor_times)[:, 0]]


def linear(times: np.ndarray, anchor_times: np.ndarray, anchor_labels: np.ndarray) -> np.ndarray:
    """(N, 2): the straight line from anchor to anchor; level before the first and after the last."""
    return np.stack([np.interp(times, anchor_times, labels) for labels in anchor_labels.T], 1)


BASELINES = {"hold": hold, "linear": linear}
