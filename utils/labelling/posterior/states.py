"""Gaussian of the states of all frames of a clip, by its precision matrix, which is banded.

The state of a frame has S components: those of the process, and the time-correlated error of each source of evidence.
A frame is coupled to the next one alone, so in the order of the frames the precision matrix (N·S, N·S) is a band, and
its Cholesky factor takes time linear in N. Example: 1,000 frames with S = 4 need a band of 8 x 4,000 numbers; the whole
matrix would have 16 million.
"""

import numpy as np
from scipy.linalg import cholesky_banded

from utils.labelling.posterior.process import GPParameters, initial_precision, time_steps, transitions


class States:
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
        """Add values (P,) of design (P, S) · state, with precisions (P,), at P frames (their indices)."""
        self.information[indices] += (precision * values)[:, None] * design
        added = precision[:, None, None] * design[:, :, None] * design[:, None, :]
        self.blocks[indices] += added
        states = design.shape[1]
        for row in range(states):
            for column in range(row + 1):
                diagonal = self.band[row - column, column::states]  # A view: adding to it changes `band`.
                diagonal[indices] += added[:, row, column]


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


def marginal_covariances(band: np.ndarray, factor: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(N, S, S) marginal covariance of each frame's state if the offsets are known.

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
