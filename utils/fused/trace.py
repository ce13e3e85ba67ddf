"""One axis of a clip as its labels make it: by the network's view, or without it, whichever foresees the labels better.

What was fitted holds for faces like those of the validation clips. Another face the network may misread, as steadily as
it reads others. So a labelled clip has two posteriors: `reading` follows the view by the fitted parameters; `blind`
takes nothing of it, and moves as labels usually do. Each is weighed by the densities that it gives to each label from
all others, where any label may be a slip, and the trace is the mixture of the two. Its variance is scaled, besides, as
much as the labels were further from what the others led to expect, or nearer to it, than they should be.
"""

from functools import cached_property

import numpy as np

from utils.fused.smoother import Support, TraceModel

MISREAD = 0.02  # share of clips whose view is expected to say nothing, before their labels tell
SLIP = 0.05  # share of labels that are slips, as likely anywhere in [-1, 1]
NEGLIGIBLE = 0.01  # weight from which on a posterior counts
LIMIT = 3.5  # standard deviations from what the others say, from which on a label is set aside as a slip
SET_ASIDE = 1e3  # error of a label that no longer counts
FEWEST = 3  # labels that can tell
TRUST, LARGEST = 8, 9.0  # labels that the fit is worth against a clip's own; a slip counts as three deviations


class Trace:
    """A mixture of posteriors of the label trace of N frames, given the same support.

    Attributes:
        support: the labels so far.
        weights: of the two posteriors; the second one's is how likely the network misreads the face.
        residual: standard deviation of a true label about the trace.
    """

    def __init__(self, model: TraceModel, support: Support, reading, blind):
        """reading, blind: of a support to its `Posterior` or `Conditioned`. They are asked only for what is needed."""
        self.support, self.weights, self.residual = support, np.array([1.0, 0.0]), model.residual
        first = reading(support)
        self._kept, self._known = [(1.0, first)], None
        if len(support.places) >= FEWEST:
            self._weigh((reading, blind), (first, blind(support)))

    @property
    def misread(self) -> bool:
        """Whether the labels rather say that the network misreads the face."""
        return bool(self.weights[1] > 0.5)

    @cached_property
    def mean(self) -> np.ndarray:
        return sum(weight * one.mean for weight, one in self._kept)

    @cached_property
    def variance(self) -> np.ndarray:
        within = sum(weight * one.variance for weight, one in self._kept)
        return self.scale * (within + sum(weight * (one.mean - self.mean) ** 2 for weight, one in self._kept))

    @property
    def spread(self) -> np.ndarray:
        """(N,) variance of the true labels."""
        return self.variance + self.residual**2

    def covariance(self, places: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """(R, C): of the label at R rows (default: every frame) with the label at C places."""
        rows, total = np.arange(len(self.mean)) if rows is None else rows, 0
        for weight, one in self._kept:
            off = one.mean - self.mean
            total = total + weight * (one.covariance(places, rows) + np.outer(off[rows], off[places]))
        return self.scale * total

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (A,) and variance (A,) of the label at each support frame, given all the other support labels."""
        if self._known is None:
            return self._kept[0][1].left_out()
        return self._known

    @cached_property
    def scale(self) -> float:
        """Of the variance, by the clip's own surprises: TRUST labels' worth of doubt."""
        if len(self.support.places) < 2:
            return 1.0
        means, variances = self.left_out()
        expected = variances + self.residual**2 + self.support.errors**2
        surprise = np.minimum((self.support.labels - means) ** 2 / expected, LARGEST)
        return float((TRUST + surprise.sum()) / (TRUST + len(means)))

    def _weigh(self, ways, both) -> None:
        """From the others' labels alone: each label's own density does not count for what is expected of it."""
        scores = np.stack([self._scores(way, one) for way, one in zip(ways, both, strict=True)])
        totals = np.log([1 - MISREAD, MISREAD]) + scores.sum(1)
        self.weights, others = _softmax(totals), _softmax(totals[:, None] - scores)
        means, variances = (np.stack(values) for values in zip(*(one.left_out() for one in both), strict=True))
        mean = (others * means).sum(0)
        self._known = mean, (others * (variances + (means - mean) ** 2)).sum(0)
        shares = np.where(self.weights >= NEGLIGIBLE, self.weights, 0)
        self._kept = [pair for pair in zip(shares / shares.sum(), both, strict=True) if pair[0] > 0]

    def _scores(self, way, one) -> np.ndarray:
        """(A,) log-density of each label, given those of the others that are no slips by this posterior."""
        errors = self.support.errors.copy()
        while True:
            means, variances = one.left_out()
            spread = variances + self.residual**2 + self.support.errors**2
            sizes = np.abs(self.support.labels - means) / np.sqrt(spread)
            kept = np.pad(np.where(errors < SET_ASIDE, sizes, 0), 1)
            worst = (kept[1:-1] > LIMIT) & (kept[1:-1] >= kept[:-2]) & (kept[1:-1] >= kept[2:])
            if not worst.any():
                break
            errors[worst] = SET_ASIDE
            one = way(self.support._replace(errors=errors.copy()))
        normal = np.exp(-(sizes**2) / 2) / np.sqrt(2 * np.pi * spread)
        return np.log((1 - SLIP) * normal + SLIP / 2)


def _softmax(logs: np.ndarray) -> np.ndarray:
    weights = np.exp(logs - logs.max(0))
    return weights / weights.sum(0)
