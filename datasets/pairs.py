"""Which faces are compared with which: pairs as the paper draws them, and batches whose images all meet.

Everything is drawn as index tables with numpy, from a seed; rows are rows of a frame table.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from datasets.frames import DataError

ROUNDS = 16  # of drawing partners blindly, before the few that are still without one are searched one by one


@dataclass(frozen=True)
class Pairs:
    """N pairs of rows: first, second (N,) int64, similar (N,) bool."""

    first: np.ndarray
    second: np.ndarray
    similar: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


class Likeness(Protocol):
    """What *similar* means for the rows of one frame table."""

    def known(self) -> np.ndarray:
        """Rows (K,) that can take part."""

    def similar(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(N,) int8 for rows first[i], second[i]: 1 similar, 0 dissimilar, -1 unknown."""

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count,) rows for first images."""

    def candidates(self, first: np.ndarray, similar: bool, rng: np.random.Generator) -> np.ndarray:
        """(N,) rows that may suit as partners; each possible partner must have a chance."""


class SameExpression:
    """Similar: the same expression class. Classes are drawn uniformly, however many images they have."""

    def __init__(self, frames: pd.DataFrame):
        self.codes = frames["expression"].to_numpy(np.int64)
        self.rows = np.flatnonzero(self.codes >= 0)
        self.rows = self.rows[np.argsort(self.codes[self.rows], kind="stable")]
        _, starts, self.counts = np.unique(self.codes[self.rows], return_index=True, return_counts=True)
        self.starts = starts
        self.place = np.full(len(self.codes), -1)
        self.place[self.rows] = np.repeat(np.arange(len(starts)), self.counts)

    def known(self) -> np.ndarray:
        return self.rows

    def similar(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        a, b = self.codes[first], self.codes[second]
        return np.where((a < 0) | (b < 0), -1, a == b).astype(np.int8)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return self._draw_in(rng.integers(len(self.starts), size=count), rng)

    def candidates(self, first: np.ndarray, similar: bool, rng: np.random.Generator) -> np.ndarray:
        place = self.place[first]
        if not similar and len(self.starts) > 1:
            place = (place + rng.integers(1, len(self.starts), size=len(first))) % len(self.starts)
        return self._draw_in(place, rng)

    def _draw_in(self, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self.rows[self.starts[place] + rng.integers(self.counts[place])]


class Neighbourhood:
    """Similar: (valence, arousal) within `threshold` of each other. For labels without expression classes.

    Rows are sorted into square cells of the plane as wide as the threshold, so that a neighbour is always in the
    3×3 cells around.
    """

    def __init__(self, frames: pd.DataFrame, threshold: float):
        self.labels = frames[["valence", "arousal"]].to_numpy(np.float64)
        self.threshold = threshold + 1e-6  # labels are multiples of 0.1 in float32: 0.2 apart must stay within 0.2
        rows = np.flatnonzero(np.isfinite(self.labels).all(1))
        columns = int(np.ceil(2 / self.threshold)) + 3  # a border of empty cells all around
        cell = np.floor((self.labels[rows] + 1) / self.threshold).astype(np.int64) + 1
        self.cell = np.full(len(self.labels), -1)
        self.cell[rows] = cell[:, 0] * columns + cell[:, 1]
        self.rows = rows[np.argsort(self.cell[rows], kind="stable")]
        self.counts = np.bincount(self.cell[rows], minlength=columns**2)
        self.starts = np.cumsum(self.counts) - self.counts
        self.around = np.add.outer((-columns, 0, columns), (-1, 0, 1)).ravel()

    def known(self) -> np.ndarray:
        return self.rows

    def similar(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(self.labels[first] - self.labels[second], axis=1)
        return np.where(np.isnan(distance), -1, distance <= self.threshold).astype(np.int8)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(self.rows, count)

    def candidates(self, first: np.ndarray, similar: bool, rng: np.random.Generator) -> np.ndarray:
        if not similar:
            return rng.choice(self.rows, len(first))
        cells = self.cell[first][:, None] + self.around
        upto = np.cumsum(self.counts[cells], axis=1)
        number = rng.integers(upto[:, -1])
        which = (number[:, None] >= upto).sum(1)
        lines = np.arange(len(first))
        before = np.where(which > 0, upto[lines, which - 1], 0)
        return self.rows[self.starts[cells[lines, which]] + number - before]


def draw_pairs(likeness: Likeness, count: int, rng: np.random.Generator) -> Pairs:
    """Pairs as in the paper: at even places similar ones, at odd places dissimilar ones.

    A first image that has no partner of the wanted kind is drawn anew. Where the table has no similar pair at all
    (or no dissimilar one), all are of the other kind; DataError where it has neither.
    """
    if len(likeness.known()) < 2:
        raise DataError(
            "fewer than two images have the labels that pairs need (expression, or valence and arousal); "
            "check the dataset, or set pairs.similar_by to the labels that it has"
        )
    similar = np.arange(count) % 2 == 0
    first, second = np.empty(count, np.int64), np.empty(count, np.int64)
    for wanted in (True, False):
        places = np.flatnonzero(similar == wanted)
        drawn = _draw_kind(likeness, len(places), wanted, rng)
        if drawn is None:
            similar[places] = not wanted
            drawn = _draw_kind(likeness, len(places), not wanted, rng)
        first[places], second[places] = drawn
    return Pairs(first, second, similar)


def _draw_kind(likeness: Likeness, count: int, wanted: bool, rng: np.random.Generator):
    """(first, second) of `count` pairs of one kind; None where the table has no such pair."""
    first = likeness.draw(count, rng)
    second = np.full(count, -1)
    for _ in range(ROUNDS):
        missing = np.flatnonzero(second < 0)
        drawn = likeness.candidates(first[missing], wanted, rng)
        fits = (likeness.similar(first[missing], drawn) == wanted) & (drawn != first[missing])
        second[missing[fits]] = drawn[fits]
    missing = np.flatnonzero(second < 0)
    lonely = _search(likeness, first, second, missing, wanted, rng)
    if len(lonely):
        paired = np.setdiff1d(np.arange(count), lonely)
        pool = (first[paired], second[paired]) if len(paired) else _any_pair(likeness, wanted, rng)
        if pool is None:
            return None
        pick = rng.integers(len(pool[0]), size=len(lonely))
        first[lonely], second[lonely] = pool[0][pick], pool[1][pick]
    return first, second


def _search(likeness, first, second, missing, wanted, rng) -> np.ndarray:
    """Fills second[missing] by looking at every row; returns the places that have no partner at all."""
    known, partners, lonely = likeness.known(), {}, []
    for place in missing:
        row = first[place]
        if row not in partners:
            fits = likeness.similar(np.full(len(known), row), known) == wanted
            partners[row] = known[fits & (known != row)]
        if len(partners[row]):
            second[place] = rng.choice(partners[row])
        else:
            lonely.append(place)
    return np.asarray(lonely, np.int64)


def _any_pair(likeness: Likeness, wanted: bool, rng: np.random.Generator):
    """((1,), (1,)) some pair of the wanted kind, or None where there is none."""
    known = rng.permutation(likeness.known())
    for row in known:
        others = known[(likeness.similar(np.full(len(known), row), known) == wanted) & (known != row)]
        if len(others):
            return np.array([row]), others[:1]
    return None


def draw_batches(frames: pd.DataFrame, count: int, batch: int, subjects: int, rng: np.random.Generator) -> np.ndarray:
    """Rows (count, batch) of images whose every pair is compared.

    subjects: people of a batch, each with batch/subjects different frames (as far as they have so many), so that
    pairs within and across people meet. 0: any images.
    """
    if not subjects:
        rows = np.concatenate([rng.permutation(len(frames)) for _ in range(-(-count * batch // len(frames)))])
        return rows[: count * batch].reshape(count, batch)
    order = frames["subject"].to_numpy().argsort(kind="stable")
    _, counts = np.unique(frames["subject"].to_numpy()[order], return_counts=True)
    if subjects > len(counts):
        raise DataError(
            f"train.subjects {subjects}: the training set has only {len(counts)} people; set a smaller number, or 0"
        )
    groups = np.split(order, np.cumsum(counts)[:-1])
    each = batch // subjects
    batches = np.empty((count, subjects, each), np.int64)
    for line in batches:
        for place, person in enumerate(rng.choice(len(groups), subjects, replace=False)):
            line[place] = np.resize(rng.permutation(groups[person]), each)
    return batches.reshape(count, batch)
