"""Support strategies: which frames of a clip a person labels.

Each strategy is a pure function of the clip's embeddings (N, E) of E numbers per frame, an amount, and a random
generator, and returns the ascending indices (A,) of the frames to label. The amount is a number of frames or, for
`every_n`, a step. To add a strategy, write one such function, list it in SUPPORT_STRATEGIES, and add its name to the
Literal `Strategy` in utils/config/sections.py. The strategies `suggested`, `train_bins` and `csv` need more than
embeddings; see `utils.labelling.clip_anchors`.
"""

from collections.abc import Callable

import numpy as np


def first(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """The first `amount` frames."""
    return np.arange(min(amount, len(embeddings)))


def every_n(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """Frames 0, `amount`, 2·`amount`, …; the paper takes every 20th frame."""
    return np.arange(0, len(embeddings), amount)


def random_k(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """`amount` frames drawn at random without replacement."""
    return np.sort(rng.choice(len(embeddings), min(amount, len(embeddings)), replace=False))


def uniform_k(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """The middle frames of `amount` equal parts of the clip."""
    return middles_of_parts(np.arange(len(embeddings)), amount)


def diverse_k(embeddings: np.ndarray, amount: int, rng: np.random.Generator) -> np.ndarray:
    """`amount` frames that differ in embedding and in time, chosen by farthest-point sampling.

    The distance of two frames is the distance of their embeddings plus their distance in time. The distance of
    embeddings is divided by the largest one from the first frame chosen, and that in time by the length of the clip.
    The first frame chosen is the one nearest to the mean embedding.
    """
    relative_time = np.linspace(0, 1, len(embeddings))
    chosen = [int(np.linalg.norm(embeddings - embeddings.mean(0), axis=1).argmin())]
    scale = max(np.linalg.norm(embeddings - embeddings[chosen[0]], axis=1).max(), 1e-12)
    nearest = np.full(len(embeddings), np.inf)
    while len(chosen) < min(amount, len(embeddings)):
        distance = np.linalg.norm(embeddings - embeddings[chosen[-1]], axis=1) / scale
        nearest = np.minimum(nearest, distance + np.abs(relative_time - relative_time[chosen[-1]]))
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    return np.sort(chosen)


def middles_of_parts(frames: np.ndarray, count: int) -> np.ndarray:
    """The middle frames of up to `count` equal parts of the frames (N,)."""
    count = min(count, len(frames))
    return frames[((np.arange(count) + 0.5) * len(frames) / max(count, 1)).astype(int)]


def evenly_spaced(frames: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` of the frames (N,), evenly spaced from the first to the last."""
    return frames[np.unique(np.linspace(0, len(frames) - 1, min(len(frames), count)).round().astype(int))]


SupportStrategy = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
SUPPORT_STRATEGIES: dict[str, SupportStrategy] = {
    strategy.__name__: strategy for strategy in (first, every_n, random_k, uniform_k, diverse_k)
}


def sample_valence_bins(labels: np.ndarray, per_bin: int, bins: int, rng: np.random.Generator) -> np.ndarray:
    """Sample anchors from a training set, equally many from each of `bins` equal parts of the valence axis.

    Args:
        labels: (M, 2) valence and arousal; NaN = not labelled.
        per_bin: rows of each bin; a bin with fewer rows gives all of them.
        bins: number of bins.
        rng: draws the rows.

    Returns:
        (A,) ascending rows of `labels`.
    """
    bin_of_row = np.clip(np.floor((labels[:, 0] + 1) / 2 * bins), 0, bins - 1)
    bin_of_row[~np.isfinite(labels).all(1)] = -1
    rows = [rng.permutation(np.flatnonzero(bin_of_row == number))[:per_bin] for number in range(bins)]
    return np.sort(np.concatenate(rows))
