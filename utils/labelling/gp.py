"""Exact Gaussian-process posterior of one axis of a clip, in time linear in the number of frames.

Each frame's state depends on the previous frame's state alone (`utils.labelling.process`), so the precision matrix of
all states is banded. Its banded Cholesky factor gives the posterior mean, and together with the factor of the reversed
matrix the posterior variance, at every frame.
"""

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from utils.labelling.process import (
    EXACT_ERROR,
    STATES,
    GPParameters,
    activity,
    initial_precision,
    noise_inflation,
    time_steps,
    transitions,
)
from utils.labelling.types import LabelObservations

BAND = 2 * STATES  # rows of the banded storage: the diagonal and the 2·STATES - 1 diagonals below it
SMALLEST_LOO_PRECISION = 1e-9  # Rounding can make the difference of two precisions negative.


class GPPosterior:
    """Posterior of the latent label f at N frames, given the evidence and the given labels.

    Attributes:
        observations: the given labels.
        mean: (N,) posterior mean of f.
        variance: (N,) posterior variance of f.
        label_variance: (A,) error variances of the given labels.
        design: (N, STATES) observation matrix: f = design · state.
    """

    def __init__(
        self, parameters: GPParameters, times: np.ndarray, evidence: np.ndarray, observations: LabelObservations
    ):
        """Computes the posterior.

        Args:
            parameters: parameters of the process for this axis.
            times: (N,) seconds, ascending.
            evidence: (N,) evidence of the axis.
            observations: given labels at A of the frames.
        """
        amplitude = activity(times, evidence) ** parameters.activity_exponent
        zeros, ones = np.zeros(len(times)), np.ones(len(times))
        self.design = np.stack((ones, amplitude, zeros, zeros), 1)
        evidence_design = np.stack((ones, amplitude, zeros, ones), 1)
        precision, blocks = _prior_precision(parameters, times)

        noise_precision = 1 / (parameters.observation_noise**2 * noise_inflation(times))
        _add_observations(precision, blocks, np.arange(len(times)), evidence_design, noise_precision)
        # The information vector, (N, STATES), is the posterior precision times the posterior mean of the states. Each
        # observation adds its design row times its precision times its value.
        information = (noise_precision * evidence)[:, None] * evidence_design

        label_precision = np.maximum(observations.errors, EXACT_ERROR) ** -2
        label_design = self.design[observations.indices]
        _add_observations(precision, blocks, observations.indices, label_design, label_precision)
        information[observations.indices] += (label_precision * observations.labels)[:, None] * label_design

        self._factor = cholesky_banded(precision, lower=True)
        states = self._add_offset(parameters, evidence, evidence_design, noise_precision, information)
        self.mean = self._project(states)[:, 0]
        covariances = _marginal_covariances(precision, self._factor, blocks)
        self.variance = np.einsum("nij,ni,nj->n", covariances, self.design, self.design)
        self.variance += self._offset_variance * self._offset_response**2
        self.observations, self.label_variance = observations, 1 / label_precision

    def covariance(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Posterior covariance between frames.

        Args:
            columns: (C,) frame indices.
            rows: (R,) frame indices; None: all frames.

        Returns:
            (R, C) covariances of f.
        """
        unit_vectors = np.zeros((len(self.mean), STATES, len(columns)))
        unit_vectors[columns, :, np.arange(len(columns))] = self.design[columns]
        covariance = self._project(self._solve(unit_vectors.reshape(-1, len(columns))))
        response = self._offset_response
        selected = slice(None) if rows is None else rows
        return covariance[selected] + self._offset_variance * np.outer(response[selected], response[columns])

    def loo_predictive(self) -> tuple[np.ndarray, np.ndarray]:
        """Leave-one-out prediction: mean (A,) and variance (A,) of f at each given label, from the other labels."""
        variance, precision = self.variance[self.observations.indices], 1 / self.label_variance
        loo_variance = 1 / np.maximum(1 / variance - precision, SMALLEST_LOO_PRECISION)
        mean = self.mean[self.observations.indices]
        return loo_variance * (mean / variance - precision * self.observations.labels), loo_variance

    def _add_offset(
        self,
        parameters: GPParameters,
        evidence: np.ndarray,
        evidence_design: np.ndarray,
        noise_precision: np.ndarray,
        information: np.ndarray,
    ) -> np.ndarray:
        """Adds the offset of the evidence to the model, by a Schur complement.

        All evidence depends on the offset, so a precision matrix that contains the offset would not be banded.
        Sets `_offset_variance`, the posterior variance of the offset, and `_offset_response` (N,), by how much the
        posterior mean of f falls if the offset is 1 higher.

        Returns:
            (N·STATES, 1) posterior mean of the states.
        """
        # The block of the joint precision matrix between the states and the offset.
        coupling = (noise_precision[:, None] * evidence_design).reshape(-1, 1)
        response, without_offset = self._solve(coupling), self._solve(information.reshape(-1, 1))
        offset_precision = parameters.offset**-2 + noise_precision.sum()
        self._offset_variance = 1 / (offset_precision - (coupling * response).sum())
        offset = self._offset_variance * ((noise_precision * evidence).sum() - (coupling * without_offset).sum())
        self._offset_response = self._project(response)[:, 0]
        return without_offset - offset * response

    def _solve(self, right_hand_sides: np.ndarray) -> np.ndarray:
        return cho_solve_banded((self._factor, True), right_hand_sides)

    def _project(self, states: np.ndarray) -> np.ndarray:
        """Projects states (N·STATES, C) to f (N, C)."""
        return np.einsum("nsc,ns->nc", states.reshape(-1, STATES, states.shape[1]), self.design)


def _prior_precision(parameters: GPParameters, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prior precision of all states: banded storage (BAND, N·STATES), and its diagonal blocks (N, STATES, STATES)."""
    transition, process_noise = transitions(parameters, time_steps(times))
    noise_precision = np.linalg.inv(process_noise)
    # Minus the block of the precision matrix between each frame and the next one.
    coupling = np.swapaxes(transition, 1, 2) @ noise_precision
    blocks = np.zeros((len(times), STATES, STATES))
    blocks[0] = initial_precision(parameters)
    blocks[1:] += noise_precision
    blocks[:-1] += coupling @ transition
    band = np.zeros((BAND, len(times) * STATES))
    for row in range(STATES):
        for column in range(row + 1):
            band[row - column, column::STATES] = blocks[:, row, column]
        for column in range(STATES):
            band[STATES + row - column, column:-STATES:STATES] = -np.swapaxes(coupling, 1, 2)[:, row, column]
    return band, blocks


def _add_observations(
    band: np.ndarray, blocks: np.ndarray, indices: np.ndarray, design: np.ndarray, precision: np.ndarray
) -> None:
    """Adds observations of design (P, STATES) · state with precisions (P,) at P frames to `band` and `blocks`."""
    added = precision[:, None, None] * design[:, :, None] * design[:, None, :]
    blocks[indices] += added
    for row in range(STATES):
        for column in range(row + 1):
            diagonal = band[row - column, column::STATES]  # A view: adding to it changes `band`.
            diagonal[indices] += added[:, row, column]


def _marginal_covariances(band: np.ndarray, factor: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(N, STATES, STATES) marginal covariance of each frame's state if the offset is known.

    With L the Cholesky factor of the precision matrix P, and U that of P in reversed order, both in blocks of one
    frame, the covariance of the state of frame i is

        (L_ii · L_iiᵀ + U_ii · U_iiᵀ - P_ii)⁻¹

    The first term is the precision from frame i and all earlier frames, the second that from frame i and all later
    frames. Both contain P_ii, which is therefore subtracted once.
    """
    reversed_band = np.zeros_like(band)
    for row in range(BAND):
        reversed_band[row, : band.shape[1] - row] = band[row, : band.shape[1] - row][::-1]
    earlier = _squared_blocks(factor)
    later = _squared_blocks(cholesky_banded(reversed_band, lower=True))[::-1, ::-1, ::-1]
    return np.linalg.inv(earlier + later - blocks)


def _squared_blocks(factor: np.ndarray) -> np.ndarray:
    """L_ii · L_iiᵀ of each diagonal block of a banded lower factor → (N, STATES, STATES)."""
    lower = np.zeros((factor.shape[1] // STATES, STATES, STATES))
    for row in range(STATES):
        for column in range(row + 1):
            lower[:, row, column] = factor[row - column, column::STATES]
    return lower @ np.swapaxes(lower, 1, 2)
