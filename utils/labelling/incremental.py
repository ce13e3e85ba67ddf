"""The posteriors of `mixture`, fast to compute again after each label, for a person who labels frame by frame.

Given the evidence alone, the latent label f at the N frames is Gaussian with mean m and covariance C. Neither depends
on the given labels, so m is computed once, and so is each column of C when it is first needed. Labels at A frames then
condition f by their covariances with all frames, (N, A), and one A x A system:

    mean = m + C[:, A] · K⁻¹ · (labels - m[A])        K = C[A, A] + diag(errors²)
    C'   = C - C[:, A] · K⁻¹ · C[A, :]

`MixturePosterior` does the rest, with these Gaussians in place of `GPPosterior`.
"""

from collections.abc import Callable
from copy import copy
from functools import cached_property, partial

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from utils.labelling.calibration.calibration import Calibration
from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.posterior.mixture import AxisExplanation, AxisModel, Explanation, MixturePosterior
from utils.labelling.posterior.offsets import OffsetGaussian
from utils.labelling.posterior.process import EXACT_ERROR, GPParameters
from utils.labelling.types import NO_LABELS, EncodedClip, LabelObservations

SMALLEST_LOO_VARIANCE = 1e-9  # Rounding can make the difference of two variances negative.
MOST_ROWS = 8192  # Cached columns have up to this many rows, to limit memory.


class IncrementalClip:
    """Gaussian processes of a clip of N frames with cached covariances, fast to condition again on other labels."""

    def __init__(self, clip: EncodedClip, calibration: Calibration):
        self.models = [
            _incremental_model(axis.explanations(clip.evidence[..., column]), clip, column)
            for column, axis in enumerate(calibration.axes)
        ]

    def posteriors(self, observations: list[LabelObservations]) -> list[MixturePosterior]:
        """The posteriors of valence and arousal, equal to those of `Calibration.posteriors`.

        Args:
            observations: the given labels, one entry per axis.
        """
        return [MixturePosterior(model, observed) for model, observed in zip(self.models, observations, strict=True)]


def _incremental_model(explanations: list[Explanation], clip: EncodedClip, axis: int) -> AxisModel:
    model = []
    for explanation in explanations:
        evidence = clip.evidence[:, explanation.sources, axis]
        unlabelled = UnlabelledPosterior(explanation.parameters, clip.times, evidence)
        model.append(AxisExplanation(explanation, partial(ConditionedPosterior, unlabelled)))
    return model


class UnlabelledPosterior:
    """One axis of a clip without given labels. Columns of the covariance are cached once they are computed.

    Attributes:
        posterior: the posterior given the evidence.
    """

    def __init__(self, parameters: GPParameters, times: np.ndarray, evidence: np.ndarray):
        self.posterior = GPPosterior(parameters, times, evidence, NO_LABELS)
        self._cache = _CovarianceCache(self.posterior)

    def with_offset_prior(self, prior: OffsetGaussian) -> "UnlabelledPosterior":
        """This posterior by another prior distribution of the offsets. Both share a cache."""
        unlabelled = copy(self)
        unlabelled.posterior = self.posterior.with_offset_prior(prior)
        return unlabelled

    def covariance(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Covariance as of `GPPosterior.covariance`."""
        return self.covariance_at_known_offsets(columns, rows) + self.posterior.covariance_due_to_offsets(columns, rows)

    def covariance_at_known_offsets(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Covariance as of `GPPosterior.covariance_at_known_offsets`."""
        return self._cache(columns, rows)


class _CovarianceCache:
    """Cached columns of the covariance matrix of a posterior whose offsets are known."""

    def __init__(self, posterior: GPPosterior):
        self._posterior = posterior
        self._full_columns = _ColumnCache(posterior.covariance_at_known_offsets)
        self._rows, self._columns_at_rows = np.empty(0, int), self._full_columns

    def __call__(self, columns: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """Columns for all frames stay cached, and so do those for the rows that were asked for, up to MOST_ROWS."""
        if rows is None:
            return self._full_columns(columns)
        if not np.isin(rows, self._rows).all():
            every = np.union1d(self._rows, rows)
            self._rows = every if len(every) <= MOST_ROWS else np.unique(rows)
            self._columns_at_rows = _ColumnCache(partial(self._posterior.covariance_at_known_offsets, rows=self._rows))
        return self._columns_at_rows(columns)[np.searchsorted(self._rows, rows)]


class _ColumnCache:
    """Cached columns of a covariance matrix."""

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray]):
        """compute: function of column indices (C,) to the columns (R, C)."""
        self._compute = compute
        self._columns: dict[int, np.ndarray] = {}

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        missing = np.array([index for index in indices if int(index) not in self._columns], int)
        if len(missing):
            computed = self._compute(missing)
            self._columns |= {int(index): column.copy() for index, column in zip(missing, computed.T, strict=True)}
        return np.stack([self._columns[int(index)] for index in indices], 1)


class ConditionedPosterior:
    """The posterior of one axis given labels: the values of `GPPosterior`, computed by conditioning."""

    def __init__(self, unlabelled: UnlabelledPosterior, observations: LabelObservations):
        self._unlabelled, self._observations = unlabelled, observations
        self._label_variance = np.maximum(observations.errors, EXACT_ERROR) ** 2
        if self._is_labelled:
            self._columns = unlabelled.covariance(observations.indices)
            observed = self._columns[observations.indices] + np.diag(self._label_variance)
            self._factor = cho_factor(observed, lower=True)
            residuals = observations.labels - unlabelled.posterior.mean[observations.indices]
            self._solved_residuals = cho_solve(self._factor, residuals)

    @cached_property
    def mean(self) -> np.ndarray:
        """(N,) mean of f."""
        mean = self._unlabelled.posterior.mean
        return mean + self._columns @ self._solved_residuals if self._is_labelled else mean

    @cached_property
    def variance(self) -> np.ndarray:
        """(N,) variance of f."""
        if not self._is_labelled:
            return self._unlabelled.posterior.variance
        return np.maximum(self._unlabelled.posterior.variance - np.square(self._explained).sum(0), 0)

    def covariance(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Covariance as of `GPPosterior.covariance`."""
        covariance = self._unlabelled.covariance(columns, rows)
        if not self._is_labelled:
            return covariance
        selected = slice(None) if rows is None else rows
        return covariance - self._explained[:, selected].T @ self._explained[:, columns]

    def loo_predictive(self) -> tuple[np.ndarray, np.ndarray]:
        """Leave-one-out prediction as of `GPPosterior.loo_predictive`."""
        precision = cho_solve(self._factor, np.eye(len(self._observations.indices))).diagonal()
        mean = self._observations.labels - self._solved_residuals / precision
        return mean, np.maximum(1 / precision - self._label_variance, SMALLEST_LOO_VARIANCE)

    @property
    def offset_likelihood(self) -> OffsetGaussian:
        """The likelihood of the offsets, as of `GPPosterior.offset_likelihood`."""
        posterior, (indices, labels, _) = self._unlabelled.posterior, self._observations
        if not self._is_labelled:
            return posterior.offset_likelihood
        observed = self._unlabelled.covariance_at_known_offsets(indices)[indices] + np.diag(self._label_variance)
        sensitivity = posterior.offset_sensitivity[indices]
        residuals = labels - posterior.as_function_of_offsets.mean_at_0[indices]
        solved = cho_solve(cho_factor(observed, lower=True), np.column_stack((sensitivity, -residuals)))
        precision, information = sensitivity.T @ solved[:, :-1], sensitivity.T @ solved[:, -1]
        return OffsetGaussian.product([posterior.offset_likelihood, OffsetGaussian(precision, information)])

    @property
    def offset_sensitivity(self) -> np.ndarray:
        """(N, E) by how much the mean of f falls if an offset is 1 higher, as of `GPPosterior.offset_sensitivity`."""
        sensitivity, indices = self._unlabelled.posterior.offset_sensitivity, self._observations.indices
        if not self._is_labelled:
            return sensitivity
        columns = self._unlabelled.covariance_at_known_offsets(indices)
        observed = columns[indices] + np.diag(self._label_variance)
        return sensitivity - columns @ cho_solve(cho_factor(observed, lower=True), sensitivity[indices])

    def with_offset_prior(self, prior: OffsetGaussian) -> "ConditionedPosterior":
        """The posterior by another prior distribution of the offsets."""
        return ConditionedPosterior(self._unlabelled.with_offset_prior(prior), self._observations)

    @property
    def _is_labelled(self) -> bool:
        return len(self._observations.indices) > 0

    @cached_property
    def _explained(self) -> np.ndarray:
        """(A, N) matrix L⁻¹ · C[A, :] with L the Cholesky factor of K.

        The sum of squares of a column is the variance of f at this frame that the given labels explain.
        """
        return solve_triangular(self._factor[0], self._columns.T, lower=True)
