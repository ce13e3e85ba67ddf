"""The same traces as `smoother`, at once after each label: what the view alone says is worked out once a clip.

Given the view, the trace f is Gaussian with mean m and covariance C, whatever has been labelled. Labels at A frames
then condition it by the covariances of these frames with all others, (N, A), and one A x A system:

    mean = m + C[:, A] · K⁻¹ · (labels - m[A])        K = C[A, A] + errors²
    C'   = C - C[:, A] · K⁻¹ · C[A, :]
"""

from functools import cached_property, partial

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from utils.fused.fusion import Fusion
from utils.fused.smoother import EXACT, NOBODY, Posterior, Support, TraceModel
from utils.fused.trace import Trace
from utils.labelling import SeenClip


class LiveClip:
    """A clip of N frames, of which labels come one by one."""

    def __init__(self, clip: SeenClip, fusion: Fusion):
        self.models = fusion.models
        self.traces = [
            tuple(LiveTrace(one, clip.times, evidence) for one in both)
            for both, evidence in zip(zip(fusion.models, fusion.blind, strict=True), clip.view.T, strict=True)
        ]

    def posteriors(self, supports: list[Support]) -> list[Trace]:
        """Of valence and of arousal, a Support an axis: as `Fusion.posteriors` of the clip."""
        return [
            Trace(model, support, *(partial(Conditioned, trace) for trace in traces))
            for model, traces, support in zip(self.models, self.traces, supports, strict=True)
        ]


class LiveTrace:
    """One axis of a clip before anybody has labelled it, with the covariances that were needed so far."""

    def __init__(self, model: TraceModel, times: np.ndarray, evidence: np.ndarray):
        self.prior = Posterior(model, times, evidence, NOBODY)
        self._columns: dict[int, np.ndarray] = {}
        self._rows, self._at_rows = b"", {}

    def columns(self, places: np.ndarray) -> np.ndarray:
        """(N, A) covariances of every frame with A places; each place is worked out once."""
        missing = np.array([place for place in places if int(place) not in self._columns], int)
        if len(missing):
            found = self.prior.covariance(missing)
            self._columns |= {int(place): column.copy() for place, column in zip(missing, found.T, strict=True)}
        return np.stack([self._columns[int(place)] for place in places], 1)

    def shared(self, places: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(R, C) covariances of R rows with C places; columns are kept for as long as the rows are the same."""
        key = rows.tobytes()
        if key != self._rows:
            self._rows, self._at_rows = key, {}
        missing = np.array([place for place in places if int(place) not in self._at_rows], int)
        if len(missing):
            found = self.prior.covariance(missing, rows)
            self._at_rows |= {int(place): column.copy() for place, column in zip(missing, found.T, strict=True)}
        return np.stack([self._at_rows[int(place)] for place in places], 1)


class Conditioned:
    """A trace given its labels so far: what `Posterior` says, without working the clip out anew."""

    def __init__(self, trace: LiveTrace, support: Support):
        self.trace, self.support = trace, support
        self.label_variance = np.maximum(support.errors, EXACT) ** 2
        if self._labelled:
            self._columns = trace.columns(support.places)
            self._factor = cho_factor(self._columns[support.places] + np.diag(self.label_variance), lower=True)
            self._weights = cho_solve(self._factor, support.labels - trace.prior.mean[support.places])

    @cached_property
    def mean(self) -> np.ndarray:
        prior = self.trace.prior.mean
        return prior + self._columns @ self._weights if self._labelled else prior

    @cached_property
    def variance(self) -> np.ndarray:
        if not self._labelled:
            return self.trace.prior.variance
        return np.maximum(self.trace.prior.variance - np.square(self._known).sum(0), 0)

    def covariance(self, places: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """(R, C): of the label at R rows (default: every frame) with the label at C places."""
        rows = np.arange(len(self.mean)) if rows is None else rows
        shared = self.trace.shared(places, rows)
        if not self._labelled:
            return shared
        return shared - self._known[:, rows].T @ self._known[:, places]

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (A,) and variance (A,) of the label at each support frame, given all the other support labels."""
        precision = cho_solve(self._factor, np.eye(len(self.support.places))).diagonal()
        mean = self.support.labels - self._weights / precision
        return mean, np.maximum(1 / precision - self.label_variance, 1e-9)

    @property
    def _labelled(self) -> bool:
        return len(self.support.places) > 0

    @cached_property
    def _known(self) -> np.ndarray:
        """(A, N) whose squares the labels take off the variances."""
        return solve_triangular(self._factor[0], self._columns.T, lower=True)
