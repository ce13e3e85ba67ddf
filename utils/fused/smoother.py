"""One trace of a clip from noisy evidence at every frame and labels at a few: a Gaussian process, in linear time.

    label       f(t) = wander(t) + a(t) · bend(t)               Wiener + Matérn-3/2: where it goes between labels
    evidence    g(t) = f(t) + offset + drift(t) + noise         drift: Ornstein-Uhlenbeck
    a person    y(t) = f(t) + error                             at the support frames

a(t) is large where the evidence moves and small where it rests: labels of a quiet stretch are quiet. The offset is a
constant of the clip, unknown, zero on average. With a(t) taken as given, all parts are Gaussian, and the posterior of f
is exact. Each frame's state (wander, bend, bend's slope, drift) depends on the last frame's alone, so the precision
matrix of all states is banded, and one Cholesky factor of it gives mean and variance of every frame.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.ndimage import gaussian_filter1d

STATES = 4
BAND = 2 * STATES  # rows of the banded matrix: the diagonal and 2·STATES - 1 below it
LEVEL = 0.5  # standard deviation of a clip's level, before any label
STEADY, NEAR = 0.1, 0.16  # seconds over which evidence is smoothed, and its rate of change averaged
REST, USUAL = 0.1, 0.6  # rates of change a second: of evidence that does not move, and of a lively stretch
SHORTEST_STEP = 1e-3  # seconds; frames with one time stamp would make the numbers break
EXACT = 1e-3  # the error of a label that is taken as exact: the least that the numbers bear


class TraceModel(NamedTuple):
    """Parameters of one axis; standard deviations in units of the axis, times in seconds."""

    wander: float
    """Of the label's Wiener part after one second."""
    bend: float
    """Of the label's smooth part, where the evidence moves at the usual rate."""
    bend_seconds: float
    """How far the smooth part's correlation reaches."""
    liveliness: float
    """How much more the smooth part moves where the evidence moves: the exponent of its rate of change."""
    drift: float
    """Of the evidence's slow error."""
    drift_seconds: float
    """How far the slow error's correlation reaches."""
    offset: float
    """Of the evidence's constant error in a clip."""
    noise: float
    """Of the evidence's error in a single frame."""
    residual: float
    """Of a true label about a smooth trace: rounding, and what no trace follows."""


class Support(NamedTuple):
    """What a person said of A frames."""

    places: np.ndarray
    """(A,) places among the frames, ascending."""
    labels: np.ndarray
    """(A,) labels."""
    errors: np.ndarray
    """(A,) their standard deviations; 0 = exact."""


NOBODY = Support(np.empty(0, int), np.empty(0), np.empty(0))


class Posterior:
    """The label trace f of N frames, given the evidence and the support."""

    def __init__(self, model: TraceModel, times: np.ndarray, evidence: np.ndarray, support: Support):
        """times (N,) in seconds, ascending; evidence (N,)."""
        amplitude, nothing = liveliness(times, evidence) ** model.liveliness, np.zeros(len(times))
        self.label = np.stack((nothing + 1, amplitude, nothing, nothing), 1)
        seen = np.stack((nothing + 1, amplitude, nothing, nothing + 1), 1)
        precision, blocks = _prior(model, times)
        per_frame = np.full(len(times), model.noise**-2)
        _observe(precision, blocks, np.arange(len(times)), seen, per_frame)
        information = (per_frame * evidence)[:, None] * seen
        per_label = np.maximum(support.errors, EXACT) ** -2
        _observe(precision, blocks, support.places, self.label[support.places], per_label)
        information[support.places] += (per_label * support.labels)[:, None] * self.label[support.places]
        self.factor = cholesky_banded(precision, lower=True)
        self._add_offset(model, evidence, seen, information)
        self.mean = self._of_label(self.state)[:, 0]
        covariances = _marginal_covariances(precision, self.factor, blocks)
        self.variance = np.einsum("nij,ni,nj->n", covariances, self.label, self.label)
        self.variance += self.offset_variance * self.response**2
        self.support, self.label_variance = support, 1 / per_label

    def covariance(self, places: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(R, C): of the label at R rows (default: every frame) with the label at C places."""
        ones = np.zeros((len(self.mean), STATES, len(places)))
        ones[places, :, np.arange(len(places))] = self.label[places]
        columns = self._of_label(self._solve(ones.reshape(-1, len(places))))
        return columns[rows] + self.offset_variance * np.outer(self.response[rows], self.response[places])

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (A,) and variance (A,) of the label at each support frame, given all the other support labels."""
        own, weight = self.variance[self.support.places], 1 / self.label_variance
        variance = 1 / np.maximum(1 / own - weight, 1e-9)
        return variance * (self.mean[self.support.places] / own - weight * self.support.labels), variance

    def _add_offset(self, model: TraceModel, evidence: np.ndarray, seen: np.ndarray, information: np.ndarray) -> None:
        """Joins the offset, which every frame's evidence depends on: a Schur complement of one row."""
        per_frame = model.noise**-2
        coupling = per_frame * seen.reshape(-1, 1)
        response, alone = self._solve(coupling), self._solve(information.reshape(-1, 1))
        self.offset_variance = 1 / (model.offset**-2 + per_frame * len(evidence) - (coupling * response).sum())
        offset = self.offset_variance * (per_frame * evidence.sum() - (coupling * alone).sum())
        self.state = alone - offset * response
        self.response = self._of_label(response)[:, 0]

    def _solve(self, right: np.ndarray) -> np.ndarray:
        return cho_solve_banded((self.factor, True), right)

    def _of_label(self, states: np.ndarray) -> np.ndarray:
        """(N·STATES, C) → (N, C)."""
        return np.einsum("nsc,ns->nc", states.reshape(-1, STATES, states.shape[1]), self.label)


def liveliness(times: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(N,) how fast the evidence moves around each frame: 1 at the usual rate, a seventh at rest."""
    if len(times) < 2:
        return np.ones(len(times))
    rate, frame = smooth_rate(times, evidence), np.median(_steps(times))
    return (np.sqrt(gaussian_filter1d(rate**2, NEAR / frame, mode="nearest")) + REST) / (USUAL + REST)


def smooth_rate(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(N,) rate of change a second of N > 1 values, smoothed over STEADY."""
    steps = _steps(times)
    steady = gaussian_filter1d(values, STEADY / np.median(steps), mode="nearest")
    return np.gradient(steady, np.concatenate(([0], np.cumsum(steps))))


def _steps(times: np.ndarray) -> np.ndarray:
    return np.maximum(np.diff(times), SHORTEST_STEP)


def _prior(model: TraceModel, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision of all states before any evidence: banded (BAND, N·STATES), and its diagonal blocks."""
    steps = _steps(times)
    move, spread = _transition(model, steps)
    inverse = np.linalg.inv(spread)
    back = np.swapaxes(move, 1, 2) @ inverse
    blocks = np.zeros((len(times), STATES, STATES))
    blocks[0] = np.diag([LEVEL**-2, model.bend**-2, model.bend**-2, model.drift**-2])
    blocks[1:] += inverse
    blocks[:-1] += back @ move
    band = np.zeros((BAND, len(times) * STATES))
    for row in range(STATES):
        for column in range(row + 1):
            band[row - column, column::STATES] = blocks[:, row, column]
        for column in range(STATES):
            band[STATES + row - column, column : -STATES : STATES] = -np.swapaxes(back, 1, 2)[:, row, column]
    return band, blocks


def _transition(model: TraceModel, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From one frame's state to the next: matrices (N-1, STATES, STATES), and the covariance of what is new."""
    move, spread = (np.zeros((len(steps), STATES, STATES)) for _ in range(2))
    move[:, 0, 0], spread[:, 0, 0] = 1, model.wander**2 * steps
    rate = np.sqrt(3) * steps / model.bend_seconds
    fade = np.exp(-rate)
    bend = np.stack([fade * (1 + rate), fade * rate, -fade * rate, fade * (1 - rate)], 1).reshape(-1, 2, 2)
    move[:, 1:3, 1:3] = bend
    spread[:, 1:3, 1:3] = model.bend**2 * (np.eye(2) - bend @ np.swapaxes(bend, 1, 2))
    move[:, 3, 3] = np.exp(-steps / model.drift_seconds)
    spread[:, 3, 3] = -(model.drift**2) * np.expm1(-2 * steps / model.drift_seconds)
    return move, spread


def _observe(
    band: np.ndarray, blocks: np.ndarray, places: np.ndarray, view: np.ndarray, precision: np.ndarray
) -> None:
    """Adds to the matrix what is seen of `view` (P, STATES) · state at P places, with these precisions (P,)."""
    seen = precision[:, None, None] * view[:, :, None] * view[:, None, :]
    blocks[places] += seen
    for row in range(STATES):
        for column in range(row + 1):
            line = band[row - column, column::STATES]
            line[places] += seen[:, row, column]


def _marginal_covariances(band: np.ndarray, factor: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(N, STATES, STATES) of each frame's state, without the offset's part.

    The factor's diagonal blocks hold what the frames before a frame say of its state, those of the factor of the
    mirrored matrix what the frames after it say; both count the frame's own block.
    """
    mirrored = np.zeros_like(band)
    for row in range(BAND):
        mirrored[row, : band.shape[1] - row] = band[row, : band.shape[1] - row][::-1]
    before = _squares(factor)
    after = _squares(cholesky_banded(mirrored, lower=True))[::-1, ::-1, ::-1]
    return np.linalg.inv(before + after - blocks)


def _squares(factor: np.ndarray) -> np.ndarray:
    """L_ii · L_iiᵀ of each diagonal block of a banded lower factor → (N, STATES, STATES)."""
    lower = np.zeros((factor.shape[1] // STATES, STATES, STATES))
    for row in range(STATES):
        for column in range(row + 1):
            lower[:, row, column] = factor[row - column, column::STATES]
    return lower @ np.swapaxes(lower, 1, 2)
