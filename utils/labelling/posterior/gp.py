"""Exact Gaussian-process posterior of one axis of a clip, in time linear in the number of frames.

Each frame's state depends on the previous frame's state alone (`process`), so the precision matrix of
all states is banded. Its banded Cholesky factor gives the posterior mean, and together with the factor of the reversed
matrix the posterior variance, at every frame.

The offset of a source of evidence affects all its frames, so a precision matrix that contained the offsets would not be
banded. The posterior is therefore computed in two steps: as a function of the offsets, which is linear, and then with
the offsets marginalised. Gaussians are in information form: a precision matrix, which is the inverse covariance, and
an information vector, which is precision · mean.

Example with the default parameters: the evidence is 0.1, 0.3 and 0.2 at three frames 0.2 s apart. If its offset is 0,
the mean of f is 0.14, 0.22 and 0.22, and it falls by about as much as the offset rises. If the second frame is labelled
0.5, the offset is probably near -0.24, and the mean of f is 0.41, 0.50 and 0.48.
"""

from copy import copy
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from utils.labelling.posterior.activity import activity, combined_evidence
from utils.labelling.posterior.offsets import OffsetGaussian
from utils.labelling.posterior.process import (
    EXACT_ERROR,
    PROCESS_STATES,
    GPParameters,
    SourceParameters,
    noise_inflation,
)
from utils.labelling.posterior.states import States, marginal_covariances
from utils.labelling.types import LabelObservations

SMALLEST_LOO_PRECISION = 1e-9  # Rounding can make the difference of two precisions negative.


class FunctionOfOffsets(NamedTuple):
    """Posterior of f at N frames as a function of the offsets of the E sources of evidence.

    At offsets o (E,), f is Gaussian with mean `mean_at_0` - `sensitivity` · o. Its variance does not depend on o.

    Attributes:
        mean_at_0: (N,) mean if all offsets are 0.
        sensitivity: (N, E) by how much the mean falls if an offset is 1 higher.
        variance: (N,) variance.
        offset_likelihood: the likelihood of the offsets, given the evidence and the given labels.
    """

    mean_at_0: np.ndarray
    sensitivity: np.ndarray
    variance: np.ndarray
    offset_likelihood: OffsetGaussian


class Marginal(NamedTuple):
    """Posterior of f at N frames whose offsets are marginalised.

    Attributes:
        mean: (N,) mean.
        variance: (N,) variance.
        offset_covariance: (E, E) posterior covariance of the offsets.
    """

    mean: np.ndarray
    variance: np.ndarray
    offset_covariance: np.ndarray


def marginalise_offsets(posterior: FunctionOfOffsets, prior: OffsetGaussian) -> Marginal:
    """Marginalise the offsets of a posterior, by their prior distribution."""
    offsets = OffsetGaussian.product([prior, posterior.offset_likelihood])
    covariance, sensitivity = np.linalg.inv(offsets.precision), posterior.sensitivity
    mean = posterior.mean_at_0 - sensitivity @ (covariance @ offsets.information)
    due_to_offsets = np.einsum("ne,ef,nf->n", sensitivity, covariance, sensitivity)
    return Marginal(mean, posterior.variance + due_to_offsets, covariance)


class GPPosterior:
    """Posterior of the latent label f at N frames, given the evidence and the given labels.

    Attributes:
        observations: the given labels.
        label_variance: (A,) error variances of the given labels.
        design: (N, S) observation matrix: f = design · state, with S states per frame.
        as_function_of_offsets: the posterior as a function of the offsets.
    """

    def __init__(
        self, parameters: GPParameters, times: np.ndarray, evidence: np.ndarray, observations: LabelObservations
    ):
        """Compute the posterior.

        Args:
            parameters: parameters of the process for this axis, with E sources of evidence.
            times: (N,) seconds, ascending.
            evidence: (N, E) evidence of the axis; NaN = the source has no value at this frame.
            observations: given labels at A of the frames.
        """
        self.observations = observations
        label_precision = np.maximum(observations.errors, EXACT_ERROR) ** -2
        self.label_variance = 1 / label_precision

        # The states of all frames: their prior, the evidence if all offsets are 0, and the given labels.
        self.design = _design(parameters, times, evidence)
        states = States(parameters, times)
        offset_terms = [
            _observe_source(states, self.design, index, source, times, evidence[:, index])
            for index, source in enumerate(parameters.sources)
        ]
        states.observe(observations.indices, self.design[observations.indices], label_precision, observations.labels)

        # The posterior as a function of the offsets, and then with the offsets marginalised.
        self._factor = cholesky_banded(states.band, lower=True)
        covariances = marginal_covariances(states.band, self._factor, states.blocks)
        variance = np.einsum("nij,ni,nj->n", covariances, self.design, self.design)
        self.as_function_of_offsets = self._eliminate_offsets(offset_terms, states.information, variance)
        prior = OffsetGaussian.independent(source.offset for source in parameters.sources)
        self._marginal = marginalise_offsets(self.as_function_of_offsets, prior)

    def with_offset_prior(self, prior: OffsetGaussian) -> "GPPosterior":
        """The posterior by another prior distribution of the offsets, in time linear in the number of frames."""
        posterior = copy(self)
        posterior._marginal = marginalise_offsets(self.as_function_of_offsets, prior)
        return posterior

    @property
    def mean(self) -> np.ndarray:
        """(N,) posterior mean of f."""
        return self._marginal.mean

    @property
    def variance(self) -> np.ndarray:
        """(N,) posterior variance of f."""
        return self._marginal.variance

    @property
    def offset_likelihood(self) -> OffsetGaussian:
        """The likelihood of the offsets, given the evidence and the given labels."""
        return self.as_function_of_offsets.offset_likelihood

    @property
    def offset_sensitivity(self) -> np.ndarray:
        """(N, E) by how much the mean of f falls if an offset is 1 higher."""
        return self.as_function_of_offsets.sensitivity

    def covariance(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Posterior covariance between frames.

        Args:
            columns: (C,) frame indices.
            rows: (R,) frame indices; None: all frames.

        Returns:
            (R, C) covariances of f.
        """
        return self.covariance_at_known_offsets(columns, rows) + self.covariance_due_to_offsets(columns, rows)

    def covariance_at_known_offsets(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """The part of `covariance` that is left if the offsets are known."""
        unit_vectors = np.zeros((*self.design.shape, len(columns)))
        unit_vectors[columns, :, np.arange(len(columns))] = self.design[columns]
        covariance = self._project(self._solve(unit_vectors.reshape(-1, len(columns))))
        return covariance if rows is None else covariance[rows]

    def covariance_due_to_offsets(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """The part of `covariance` that comes from the uncertainty of the offsets."""
        sensitivity = self.offset_sensitivity
        selected = sensitivity if rows is None else sensitivity[rows]
        return selected @ self._marginal.offset_covariance @ sensitivity[columns].T

    def loo_predictive(self) -> tuple[np.ndarray, np.ndarray]:
        """Leave-one-out prediction: mean (A,) and variance (A,) of f at each given label, from the other labels."""
        variance, precision = self.variance[self.observations.indices], 1 / self.label_variance
        loo_variance = 1 / np.maximum(1 / variance - precision, SMALLEST_LOO_PRECISION)
        mean = self.mean[self.observations.indices]
        return loo_variance * (mean / variance - precision * self.observations.labels), loo_variance

    def _eliminate_offsets(
        self, offset_terms: "list[_OffsetTerm]", information: np.ndarray, variance: np.ndarray
    ) -> FunctionOfOffsets:
        """Compute f as a function of the offsets.

        The mean of all states x and of the offsets o without their prior solves, in blocks,

            [ P   C ] [x]   [i]
            [ Cᵀ  D ] [o] = [j]

        with P the banded precision matrix of the states, C the coupling, D the diagonal precision of the offsets, and
        i and j the information vectors. The first row gives x = P⁻¹ (i - C·o). Inserted in the second row, it leaves
        (D - Cᵀ P⁻¹ C) · o = j - Cᵀ P⁻¹ i, the likelihood of the offsets.

        Args:
            offset_terms: of the E sources, without the prior of their offsets.
            information: (N, S) information vector of the states.
            variance: (N,) variance of f if the offsets are known.
        """
        mean = self._solve(information.reshape(-1, 1))
        mean_at_0 = self._project(mean)[:, 0]
        if not offset_terms:
            no_sensitivity, no_offsets = np.zeros((len(information), 0)), OffsetGaussian.independent([])
            return FunctionOfOffsets(mean_at_0, no_sensitivity, variance, no_offsets)
        couplings, offset_information, offset_precision = map(np.array, zip(*offset_terms, strict=True))
        coupling = np.ascontiguousarray(couplings.T)
        sensitivity = self._solve(coupling)
        offset_likelihood = OffsetGaussian(
            np.diag(offset_precision) - coupling.T @ sensitivity, offset_information - (coupling.T @ mean)[:, 0]
        )
        return FunctionOfOffsets(mean_at_0, self._project(sensitivity), variance, offset_likelihood)

    def _solve(self, right_hand_sides: np.ndarray) -> np.ndarray:
        """Multiply (N·S, C) by the posterior covariance of the states if the offsets are known."""
        return cho_solve_banded((self._factor, True), right_hand_sides)

    def _project(self, states: np.ndarray) -> np.ndarray:
        """Project states (N·S, C) to f (N, C)."""
        return np.einsum("nsc,ns->nc", states.reshape(*self.design.shape, states.shape[1]), self.design)


class _OffsetTerm(NamedTuple):
    """What the evidence of a source says about its offset.

    Attributes:
        coupling: (N·S,) block of the joint precision matrix between the states and the offset.
        information: its entry of the information vector.
        precision: its diagonal entry of the precision matrix.
    """

    coupling: np.ndarray
    information: float
    precision: float


def _observe_source(
    states: States, design: np.ndarray, index: int, source: SourceParameters, times: np.ndarray, values: np.ndarray
) -> _OffsetTerm:
    """Add the evidence of a source to the states as if its offset were 0; return what it says about the offset.

    Args:
        states: the information so far.
        design: (N, S) observation matrix of f.
        index: index of the source, which is that of its error among the states.
        source: its parameters.
        times: (N,) seconds, ascending.
        values: (N,) its evidence; NaN = no value.
    """
    known = np.isfinite(values)
    precision = np.zeros(len(values))
    precision[known] = 1 / (source.observation_noise**2 * noise_inflation(times[known]))
    corrected = np.where(known, values - source.bias, 0)
    evidence_design = source.gain * design
    evidence_design[:, PROCESS_STATES + index] = 1
    states.observe(np.arange(len(values)), evidence_design, precision, corrected)
    coupling = (precision[:, None] * evidence_design).ravel()
    return _OffsetTerm(coupling, (precision * corrected).sum(), precision.sum())


def _design(parameters: GPParameters, times: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(N, S) observation matrix of f: the Wiener component plus the relative amplitude times the Matérn component.

    The relative amplitude is the activity to the power of the exponent; it is 1 without evidence.
    """
    design = np.zeros((len(times), PROCESS_STATES + len(parameters.sources)))
    design[:, :2] = 1
    if parameters.sources:
        known = np.isfinite(evidence).any(1)
        activities = activity(times, combined_evidence(parameters, times, evidence), known)
        design[:, 1] = activities**parameters.process.activity_exponent
    return design
