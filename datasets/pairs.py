"""Drawing training data: the paper's pairs of similar and dissimilar images, and batches whose every pair is compared.

All functions return arrays of row numbers of a frame table, drawn with a given random generator.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from utils.base.errors import DataError

ROUNDS = 16
"""Rounds of rejection sampling for partners, after which the remaining images are searched for one exhaustively."""


@dataclass(frozen=True)
class Pairs:
    """N pairs of images.

    Attributes:
        first: (N,) int64, rows of the first images.
        second: (N,) int64, rows of the second images.
        similar: (N,) bool, whether the images of a pair are similar.
    """

    first: np.ndarray
    second: np.ndarray
    similar: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


class SimilarityCriterion(Protocol):
    """Defines which images of one frame table are similar."""

    def labelled_rows(self) -> np.ndarray:
        """Rows (K,) that have the labels which the criterion needs."""

    def similar(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(N,) int8 for the pairs of rows first[i], second[i]: 1 similar, 0 dissimilar, -1 unknown."""

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the rows (count,) of first images."""

    def candidates(self, first: np.ndarray, similar: bool, rng: np.random.Generator) -> np.ndarray:
        """Propose a partner (N,) for each first image; every possible partner must have non-zero probability."""


class SameExpression:
    """Images of the same expression class are similar. Classes are drawn uniformly, however many images they have.

    Args:
        frames: frame table; rows without expression are never drawn.

    Attributes:
        codes: (N,) int64, expression of each row; -1 = none.
        rows: (K,) rows with an expression, sorted by class.
        starts: (C,) index in `rows` where each of the C classes that occur begins.
        counts: (C,) number of rows of each class.
        class_indices: (N,) index of each row's class; -1 = none.
    """

    def __init__(self, frames: pd.DataFrame):
        self.codes = frames["expression"].to_numpy(np.int64)
        self.rows = np.flatnonzero(self.codes >= 0)
        self.rows = self.rows[np.argsort(self.codes[self.rows], kind="stable")]
        _, self.starts, self.counts = np.unique(self.codes[self.rows], return_index=True, return_counts=True)
        self.class_indices = np.full(len(self.codes), -1)
        self.class_indices[self.rows] = np.repeat(np.arange(len(self.starts)), self.counts)

    def labelled_rows(self) -> np.ndarray:
        return self.rows

    def similar(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        a, b = self.codes[first], self.codes[second]
        return np.where((a < 0) | (b < 0), -1, a == b).astype(np.int8)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return self._draw_from(rng.integers(len(self.starts), size=count), rng)

    def candidates(self, first: np.ndarray, similar: bool, rng: np.random.Generator) -> np.ndarray:
        classes = self.class_indices[first]
        if not similar and len(self.starts) > 1:
            classes = (classes + rng.integers(1, len(self.starts), size=len(first))) % len(self.starts)
        return self._draw_from(classes, rng)

    def _draw_from(self, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a row (N,) from each of the classes (N,)."""
        return self.rows[self.starts[classes] + rng.integers(self.counts[classes])]


class Neighbourhood:
    """Images are similar if their (valence, arousal) are at most a threshold apart.

    Rows are sorted into square cells of the valence-arousal plane whose side is the threshold, so that all
    neighbours of an image are in the 3×3 cells around it.

    Args:
        frames: frame table; rows without valence and arousal are never drawn.
        threshold: largest Euclidean distance of similar images, above 0.

    Attributes:
        labels: (N, 2) float64, valence and arousal of each row.
        threshold: as given, with a tolerance for labels rounded to float32.
        rows: (K,) labelled rows, sorted by cell.
        cells: (N,) cell of each row; -1 = not labelled.
        counts: number of rows in each cell.
        starts: index in `rows` where each cell begins.
        neighbour_offsets: (9,) differences in number between a cell and the 3×3 cells around it.
    """

    def __init__(self, frames: pd.DataFrame, threshold: float):
        self.labels = frames[["valence", "arousal"]].to_numpy(np.float64)
        self.threshold = threshold + 1e-6  # labels are float32: multiples of 0.1 may be 0.2000001 apart
        rows = np.flatnonzero(np.isfinite(self.labels).all(1))
        columns = int(np.ceil(2 / self.threshold)) + 3  # with a border of empty cells
        column = np.floor((self.labels[rows] + 1) / self.threshold).astype(np.int64) + 1  # (K, 2): in both directions
        self.cells = np.full(len(self.labels), -1)
        self.cells[rows] = column[:, 0] * columns + column[:, 1]
        self.rows = rows[np.argsort(self.cells[rows], kind="stable")]
        self.counts = np.bincount(self.cells[rows], minlength=columns**2)
        self.starts = np.cumsum(self.counts) - self.counts
        self.neighbour_offsets = np.add.outer((-columns, 0, columns), (-1, 0, 1)).ravel()

    def labelled_rows(self) -> np.ndarray:
        return self.rows

    def similar(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(self.labels[first] - self.labels[second], axis=1)
        return np.where(np.isnan(distance), -1, distance <= self.threshold).astype(np.int8)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(self.rows, count)

    def candidates(self, first: np.ndarray, similar: bool, rng: np.random.Generator) -> np.ndarray:
        if not similar:
            return rng.choice(self.rows, len(first))
        cells = self.cells[first][:, None] + self.neighbour_offsets  # (N, 9)
        cumulative = np.cumsum(self.counts[cells], axis=1)
        drawn = rng.integers(cumulative[:, -1])  # index among all rows of the nine cells
        column = (drawn[:, None] >= cumulative).sum(1)  # which of the nine cells contains it
        images = np.arange(len(first))
        before = np.where(column > 0, cumulative[images, column - 1], 0)
        return self.rows[self.starts[cells[images, column]] + drawn - before]


def draw_pairs(criterion: SimilarityCriterion, count: int, rng: np.random.Generator) -> Pairs:
    """Draw pairs as the paper does: similar ones at even indices, dissimilar ones at odd indices.

    If the first image of a pair has no partner of the required kind, the pair is replaced by another one that was
    drawn. If the table has no similar pair at all (or no dissimilar one), all pairs are of the other kind.

    Args:
        criterion: defines which images are similar.
        count: number of pairs.
        rng: random generator.

    Raises:
        DataError: fewer than two images have the labels that the criterion needs.
    """
    if len(criterion.labelled_rows()) < 2:
        raise DataError(
            "fewer than two images have the labels that pairs need (expression, or valence and arousal); "
            "check the dataset, or set pairs.similar_by to the labels that it has"
        )
    similar = np.arange(count) % 2 == 0
    first, second = np.empty(count, np.int64), np.empty(count, np.int64)
    for kind in (True, False):
        indices = np.flatnonzero(similar == kind)
        drawn = _draw_kind(criterion, len(indices), kind, rng)
        if drawn is None:
            similar[indices] = not kind
            drawn = _draw_kind(criterion, len(indices), not kind, rng)
            assert drawn is not None, "two labelled images are either similar or dissimilar"
        first[indices], second[indices] = drawn
    return Pairs(first, second, similar)


def _draw_kind(
    criterion: SimilarityCriterion, count: int, similar: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw the first and second rows of `count` pairs of one kind; None if the table has no such pair."""
    first = criterion.draw(count, rng)
    second = np.full(count, -1)
    for _ in range(ROUNDS):
        missing = np.flatnonzero(second < 0)
        drawn = criterion.candidates(first[missing], similar, rng)
        accepted = (criterion.similar(first[missing], drawn) == similar) & (drawn != first[missing])
        second[missing[accepted]] = drawn[accepted]
    unmatched = _search_partners(criterion, first, second, similar, rng)
    if len(unmatched):
        matched = np.setdiff1d(np.arange(count), unmatched)
        pool = (first[matched], second[matched]) if len(matched) else _any_pair(criterion, similar, rng)
        if pool is None:
            return None
        drawn = rng.integers(len(pool[0]), size=len(unmatched))
        first[unmatched], second[unmatched] = pool[0][drawn], pool[1][drawn]
    return first, second


def _search_partners(
    criterion: SimilarityCriterion, first: np.ndarray, second: np.ndarray, similar: bool, rng: np.random.Generator
) -> np.ndarray:
    """Fill the missing partners (-1) in `second` exhaustively; return the indices of images without any partner."""
    partners: dict[int, np.ndarray] = {}
    unmatched = []
    for index in np.flatnonzero(second < 0):
        row = first[index]
        if row not in partners:
            partners[row] = _partners_of(criterion, row, criterion.labelled_rows(), similar)
        if len(partners[row]):
            second[index] = rng.choice(partners[row])
        else:
            unmatched.append(index)
    return np.asarray(unmatched, np.int64)


def _any_pair(
    criterion: SimilarityCriterion, similar: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Some similar or dissimilar pair, as two rows ((1,), (1,)); None if there is none."""
    rows = rng.permutation(criterion.labelled_rows())
    for row in rows:
        partners = _partners_of(criterion, row, rows, similar)
        if len(partners):
            return np.array([row]), partners[:1]
    return None


def _partners_of(criterion: SimilarityCriterion, row: int, rows: np.ndarray, similar: bool) -> np.ndarray:
    """Select from `rows` the partners with which `row` forms a similar or dissimilar pair; keep their order."""
    return rows[(criterion.similar(np.full(len(rows), row), rows) == similar) & (rows != row)]


def draw_batches(frames: pd.DataFrame, count: int, batch: int, subjects: int, rng: np.random.Generator) -> np.ndarray:
    """Draw batches of images, of which training compares every pair.

    Args:
        frames: frame table.
        count: number of batches.
        batch: images in a batch.
        subjects: subjects in a batch, a divisor of `batch`. Each has batch / subjects frames in it, all different if it
            has that many. With fewer subjects than images, there are pairs of one subject, too. 0 = draw images without
            regard to their subjects.
        rng: random generator.

    Returns:
        (count, batch) int64, rows of the table.

    Raises:
        DataError: the table has fewer subjects than requested.
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
    frames_each = batch // subjects
    batches = np.empty((count, subjects, frames_each), np.int64)
    for batch_rows in batches:
        for index, subject in enumerate(rng.choice(len(groups), subjects, replace=False)):
            batch_rows[index] = np.resize(rng.permutation(groups[subject]), frames_each)
    return batches.reshape(count, batch)
