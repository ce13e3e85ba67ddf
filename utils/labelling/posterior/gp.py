"""Exact Gaussian-process posterior of one axis of a clip, in time linear in the number of frames.

Each frame's state depends on the previous frame's state alone (`process`), so the precision matrix of
all states is banded. Its banded Cholesky factor gives the posterior mean, and together with the factor of the reversed
matrix the posterior variance, at every frame.

The offsets of the sources of evidence are not among these states. The posterior is first computed for offsets of 0,
together with its response to other offsets; their distribution is then added, and can be replaced at little cost.
"""

from copy import copy
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from utils.labelling.posterior.offsets import OffsetGaussian
from utils.labelling.posterior.process import (
    EXACT_ERROR,
    PROCESS_STATES,
    GPParameters,
    SourceParameters,
    activity,
    combined_evidence,
    initial_precision,
    noise_inflation,
    time_steps,
    transitions,
)
from utils.labelling.types import LabelObservations

SMALLEST_LOO_PRECISION = 1e-9  # Rounding can make the difference of two precisions negative.


class GPPosterior:
    """Posterior of the latent label f at N frames, given the evidence and the given labels.

    Attributes:
        observations: the given labels.
        mean: (N,) posterior mean of f.
        variance: (N,) posterior variance of f.
        offset_message: the likelihood of the offsets, given the evidence and the given labels.
        label_variance: (A,) error variances of the given labels.
        design: (N, S) observation matrix: f = design · state, with S states per frame.
    """

    def __init__(
        self, parameters: GPParameters, times: np.ndarray, evidence: np.ndarray, observations: LabelObservations
    ):
        """Computes the posterior.

        Args:
            parameters: parameters of the process for this axis, with E sources of evidence.
            times: (N,) seconds, ascending.
            evidence: (N, E) evidence of the axis; NaN = the source has no value at this frame.
            observations: given labels at A of the frames.
        """
        self.observations, self.design = observations, _design(parameters, times, evidence)
        states = _States(parameters, times)
        offsets = [
            self._add_evidence(states, index, source, times, evidence[:, index])
            for index, source in enumerate(parameters.sources)
        ]
        label_precision = np.maximum(observations.errors, EXACT_ERROR) ** -2
        states.observe(observations.indices, self.design[observations.indices], label_precision, observations.labels)
        self.label_variance = 1 / label_precision

        self._factor = cholesky_banded(states.band, lower=True)
        covariances = _marginal_covariances(states.band, self._factor, states.blocks)
        self._variance_at_0 = np.einsum("nij,ni,nj->n", covariances, self.design, self.design)
        self._eliminate_offsets(offsets, states.information)
        self._add_offsets(OffsetGaussian.independent(source.offset for source in parameters.sources))

    def given_offset_prior(self, prior: OffsetGaussian) -> "GPPosterior":
        """The posterior by another prior distribution of the offsets, in time linear in the number of frames."""
        posterior = copy(self)
        posterior._add_offsets(prior)
        return posterior

    def covariance(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Posterior covariance between frames.

        Args:
            columns: (C,) frame indices.
            rows: (R,) frame indices; None: all frames.

        Returns:
            (R, C) covariances of f.
        """
        return self.covariance_at_0(columns, rows) + self.offset_part(columns, rows)

    def covariance_at_0(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """The part of `covariance` that is left if the offsets are known."""
        unit_vectors = np.zeros((*self.design.shape, len(columns)))
        unit_vectors[columns, :, np.arange(len(columns))] = self.design[columns]
        covariance = self._project(self._solve(unit_vectors.reshape(-1, len(columns))))
        return covariance if rows is None else covariance[rows]

    def offset_part(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """The part of `covariance` that is due to the offsets."""
        response = self.offset_response
        return response[slice(None) if rows is None else rows] @ self._offset_covariance @ response[columns].T

    def loo_predictive(self) -> tuple[np.ndarray, np.ndarray]:
        """Leave-one-out prediction: mean (A,) and variance (A,) of f at each given label, from the other labels."""
        variance, precision = self.variance[self.observations.indices], 1 / self.label_variance
        loo_variance = 1 / np.maximum(1 / variance - precision, SMALLEST_LOO_PRECISION)
        mean = self.mean[self.observations.indices]
        return loo_variance * (mean / variance - precision * self.observations.labels), loo_variance

    def _add_evidence(
        self, states: "_States", index: int, source: SourceParameters, times: np.ndarray, values: np.ndarray
    ) -> "_Offset":
        """Adds the evidence of a source to the states; returns what it says about the offset of the source.

        Args:
            states: the information so far.
            index: index of the source, which is that of its error among the states.
            source: its parameters.
            times: (N,) seconds, ascending.
            values: (N,) its evidence; NaN = no value.
        """
        known = np.isfinite(values)
        precision = np.zeros(len(values))
        precision[known] = 1 / (source.observation_noise**2 * noise_inflation(times[known]))
        corrected = np.where(known, values - source.bias, 0)
        design = source.gain * self.design
        design[:, PROCESS_STATES + index] = 1
        states.observe(np.arange(len(values)), design, precision, corrected)
        coupling = (precision[:, None] * design).ravel()
        return _Offset(coupling, (precision * corrected).sum(), precision.sum())

    def _eliminate_offsets(self, offsets: "list[_Offset]", information: np.ndarray) -> None:
        """Computes how f depends on the offset of each source of evidence, by a Schur complement.

        All evidence of a source depends on its offset, so a precision matrix with the offsets would not be banded.
        Sets `mean_at_0` (N,), the posterior mean of f if the offsets are 0; `offset_response` (N, E), by how much it
        falls if an offset is 1 higher; and `offset_message`.

        Args:
            offsets: of the E sources, without their prior.
            information: (N, S) information vector of the states.
        """
        mean = self._solve(information.reshape(-1, 1))
        self.mean_at_0 = self._project(mean)[:, 0]
        if not offsets:
            self.offset_response = np.zeros((len(information), 0))
            self.offset_message = OffsetGaussian.independent([])
            return
        couplings, offset_information, offset_precision = (np.array(values) for values in zip(*offsets, strict=True))
        coupling = np.ascontiguousarray(couplings.T)
        response = self._solve(coupling)
        self.offset_response = self._project(response)
        self.offset_message = OffsetGaussian(
            np.diag(offset_precision) - coupling.T @ response, offset_information - (coupling.T @ mean)[:, 0]
        )

    def _add_offsets(self, prior: OffsetGaussian) -> None:
        """Sets `mean` and `variance`, given the prior distribution of the offsets."""
        posterior = OffsetGaussian.product([prior, self.offset_message])
        self._offset_covariance = np.linalg.inv(posterior.precision)
        self.mean = self.mean_at_0 - self.offset_response @ (self._offset_covariance @ posterior.information)
        response = self.offset_response
        self.variance = self._variance_at_0 + np.einsum("ne,ef,nf->n", response, self._offset_covariance, response)

    def _solve(self, right_hand_sides: np.ndarray) -> np.ndarray:
        return cho_solve_banded((self._factor, True), right_hand_sides)

    def _project(self, states: np.ndarray) -> np.ndarray:
        """Projects states (N·S, C) to f (N, C)."""
        return np.einsum("nsc,ns->nc", states.reshape(*self.design.shape, states.shape[1]), self.design)


class _Offset(NamedTuple):
    """Information on the offset of a source of evidence.

    Attributes:
        coupling: (N·S,) block of the joint precision matrix between the states and the offset.
        information: its entry of the information vector.
        precision: its diagonal entry of the precision matrix.
    """

    coupling: np.ndarray
    information: float
    precision: float


class _States:
    """Gaussian of the states of all N frames, by its precision matrix and information vector.

    It starts as the prior. Observations are then added.

    Attributes:
        band: (2·S, N·S) precision matrix, in the banded storage of SciPy.
        blocks: (N, S, S) its diagonal blocks.
        information: (N, S) precision matrix times mean.
    """

    def __init__(self, parameters: GPParameters, times: np.ndarray):
        self.band, self.blocks = _prior_precision(parameters, times)
        self.information = np.zeros(self.blocks.shape[:2])

    def observe(self, indices: np.ndarray, design: np.ndarray, precision: np.ndarray, values: np.ndarray) -> None:
        """Adds values (P,) of design (P, S) · state, with precisions (P,), at P frames (their indices)."""
        self.information[indices] += (precision * values)[:, None] * design
        added = precision[:, None, None] * design[:, :, None] * design[:, None, :]
        self.blocks[indices] += added
        states = design.shape[1]
        for row in range(states):
            for column in range(row + 1):
                diagonal = self.band[row - column, column::states]  # A view: adding to it changes `band`.
                diagonal[indices] += added[:, row, column]


def _design(parameters: GPParameters, times: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(N, S) observation matrix of f: the Wiener component plus the amplitude times the Matérn component.

    The amplitude is the activity to the power of the exponent; it is 1 without evidence.
    """
    design = np.zeros((len(times), PROCESS_STATES + len(parameters.sources)))
    design[:, :2] = 1
    if parameters.sources:
        known = np.isfinite(evidence).any(1)
        activities = activity(times, combined_evidence(parameters, times, evidence), known)
        design[:, 1] = activities**parameters.process.activity_exponent
    return design


def _prior_precision(parameters: GPParameters, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prior precision of all states: banded storage (2·S, N·S), and its diagonal blocks (N, S, S)."""
    transition, process_noise = transitions(parameters, time_steps(times))
    noise_precision = np.linalg.inv(process_noise)
    # Minus the block of the precision matrix between each frame and the next one.
    coupling = np.swapaxes(transition, 1, 2) @ noise_precision
    initial = initial_precision(parameters)
    states = len(initial)
    blocks = np.zeros((len(times), states, states))
    blocks[0] = initial
    blocks[1:] += noise_precision
    blocks[:-1] += coupling @ transition
    band = np.zeros((2 * states, len(times) * states))
    for row in range(states):
        for column in range(row + 1):
            band[row - column, column::states] = blocks[:, row, column]
        for column in range(states):
            band[states + row - column, column:-states:states] = -np.swapaxes(coupling, 1, 2)[:, row, column]
    return band, blocks


def _marginal_covariances(band: np.ndarray, factor: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(N, S, S) marginal covariance of each frame's state if the offset is known.

    With L the Cholesky factor of the precision matrix P, and U that of P in reversed order, both in blocks of one
    frame, the covariance of the state of frame i is

        (L_ii · L_iiᵀ + U_ii · U_iiᵀ - P_ii)⁻¹

    The first term is the precision from frame i and all earlier frames, the second that from frame i and all later
    frames. Both contain P_ii, which is therefore subtracted once.
    """
    reversed_band = np.zeros_like(band)
    for row in range(len(band)):
        reversed_band[row, : band.shape[1] - row] = band[row, : band.shape[1] - row][::-1]
    states = blocks.shape[1]
    earlier = _squared_blocks(factor, states)
    later = _squared_blocks(cholesky_banded(reversed_band, lower=True), states)[::-1, ::-1, ::-1]
    return np.linalg.inv(earlier + later - blocks)


def _squared_blocks(factor: np.ndarray, states: int) -> np.ndarray:
    """L_ii · L_iiᵀ of each diagonal block of a banded lower factor, (N, S, S)."""
    lower = np.zeros((factor.shape[1] // states, states, states))
    for row in range(states):
        for column in range(row + 1):
            lower[:, row, column] = factor[row - column, column::states]
    return lower @ np.swapaxes(lower, 1, 2)
