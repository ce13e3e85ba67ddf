"""Exact Gaussian-process posterior of one axis of a clip, in time linear in the number of frames.

Each frame's state depends on the previous frame's state alone (`utils.labelling.process`), so the precision matrix of
all states is banded. Its banded Cholesky factor gives the posterior mean, and together with the factor of the reversed
matrix the posterior variance, at every frame.

The offsets of the sources of evidence are not among these states. The posterior is first computed for offsets of 0,
together with its response to other offsets; their distribution is then added, and can be replaced at little cost.
"""

from copy import copy

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from utils.labelling.offsets import OffsetGaussian
from utils.labelling.process import (
    EXACT_ERROR,
    PROCESS_STATES,
    GPParameters,
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
        states = PROCESS_STATES + len(parameters.evidence)
        self.design = np.zeros((len(times), states))
        self.design[:, 0] = 1
        self.design[:, 1] = _amplitude(parameters, times, evidence)
        precision, blocks = _prior_precision(parameters, times)
        # The information vector, (N, S), is the posterior precision times the posterior mean of the states. Each
        # observation adds its design row times its precision times its value.
        information = np.zeros((len(times), states))

        everything, inflation = np.arange(len(times)), noise_inflation(times)
        couplings, offset_information, offset_precision = [], [], []
        for source, one in enumerate(parameters.evidence):
            known = np.isfinite(evidence[:, source])
            noise_precision = np.where(known, 1 / (one.observation_noise**2 * inflation), 0)
            value = noise_precision * np.where(known, evidence[:, source] - one.bias, 0)
            evidence_design = one.gain * self.design
            evidence_design[:, PROCESS_STATES + source] = 1
            _add_observations(precision, blocks, everything, evidence_design, noise_precision)
            information += value[:, None] * evidence_design
            # The block of the joint precision matrix between the states and the offset of the source.
            couplings.append((noise_precision[:, None] * evidence_design).ravel())
            offset_information.append(value.sum())
            offset_precision.append(noise_precision.sum())

        label_precision = np.maximum(observations.errors, EXACT_ERROR) ** -2
        label_design = self.design[observations.indices]
        _add_observations(precision, blocks, observations.indices, label_design, label_precision)
        information[observations.indices] += (label_precision * observations.labels)[:, None] * label_design
        self.observations, self.label_variance = observations, 1 / label_precision

        self._factor = cholesky_banded(precision, lower=True)
        covariances = _marginal_covariances(precision, self._factor, blocks)
        self._variance_at_0 = np.einsum("nij,ni,nj->n", covariances, self.design, self.design)
        self._eliminate_offsets(couplings, np.array(offset_precision), np.array(offset_information), information)
        self._add_offsets(OffsetGaussian.independent(one.offset for one in parameters.evidence))

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

    def _eliminate_offsets(
        self,
        couplings: list[np.ndarray],
        offset_precision: np.ndarray,
        offset_information: np.ndarray,
        information: np.ndarray,
    ) -> None:
        """Computes how f depends on the offset of each source of evidence, by a Schur complement.

        All evidence of a source depends on its offset, so a precision matrix with the offsets would not be banded.
        Sets `mean_at_0` (N,), the posterior mean of f if the offsets are 0; `offset_response` (N, E), by how much it
        falls if an offset is 1 higher; and `offset_message`.

        Args:
            couplings: per source, (N·S,) block of the joint precision matrix between the states and the offset.
            offset_precision: (E,) diagonal of the block of the offsets, without their prior.
            offset_information: (E,) information vector of the offsets.
            information: (N, S) information vector of the states.
        """
        mean = self._solve(information.reshape(-1, 1))
        self.mean_at_0 = self._project(mean)[:, 0]
        if not couplings:
            self.offset_response = np.zeros((len(information), 0))
            self.offset_message = OffsetGaussian.independent([])
            return
        coupling = np.stack(couplings, 1)
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


def _amplitude(parameters: GPParameters, times: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(N,) activity to the power of the exponent; 1 without evidence."""
    if not parameters.evidence:
        return np.ones(len(times))
    combined = combined_evidence(parameters, times, evidence)
    known = np.isfinite(evidence).any(1)
    return activity(times, combined, known) ** parameters.process.activity_exponent


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


def _add_observations(
    band: np.ndarray, blocks: np.ndarray, indices: np.ndarray, design: np.ndarray, precision: np.ndarray
) -> None:
    """Adds observations of design (P, S) · state with precisions (P,) at P frames to `band` and `blocks`."""
    added = precision[:, None, None] * design[:, :, None] * design[:, None, :]
    blocks[indices] += added
    states = design.shape[1]
    for row in range(states):
        for column in range(row + 1):
            diagonal = band[row - column, column::states]  # A view: adding to it changes `band`.
            diagonal[indices] += added[:, row, column]


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
