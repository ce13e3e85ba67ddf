"""The Gaussian process behind fused labels, in its two equivalent forms: covariances and a state-space model.

For one axis of one clip, with t in seconds:

    label       f(t) = wiener(t) + a(t) · matern(t)          Wiener process plus Matérn-3/2 process
    evidence    g(t) = f(t) + offset + ou(t) + noise         offset: constant in a clip; ou: Ornstein-Uhlenbeck process
    observed    y(t) = f(t) + error                          the label that a person gave to a support frame

The amplitude a(t) grows with the activity of the evidence, its local rate of change: where the evidence is at rest,
the label moves little. Given a(t), all components are Gaussian, so the posterior of f is exact.

The covariances are differentiable, and the parameters are fitted by them (`utils.labelling.fitting`). The state-space
form gives the same process in time linear in the number of frames, and labels whole videos (`utils.labelling.gp`).
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

STATES = 4  # wiener, matern, derivative of matern, ou
LEVEL_STD = 0.5  # of a clip's first label, before anything is observed
EXACT_ERROR = 1e-3  # Stands for an error of 0: the smallest that keeps the factorisation stable.
RATE_SMOOTHING, RATE_AVERAGING = 0.1, 0.16  # seconds: standard deviations of the Gaussian filters behind `activity`
REST_RATE, USUAL_RATE = 0.1, 0.6  # per second: added to every rate so that activity stays above 0; rate at activity 1
SHORTEST_STEP = 1e-3  # seconds; frames with equal time stamps would make the precision matrix singular


class GPParameters(NamedTuple):
    """Parameters of the process for one axis; standard deviations in units of the axis, time scales in seconds.

    Attributes:
        wiener: standard deviation of the Wiener component after one second.
        matern: standard deviation of the Matérn-3/2 component at activity 1.
        matern_seconds: length scale of the Matérn-3/2 component.
        activity_exponent: the Matérn amplitude is proportional to activity to this power.
        ou: standard deviation of the slowly varying error of the evidence.
        ou_seconds: time scale of that error.
        offset: standard deviation of the constant error of the evidence in a clip.
        observation_noise: standard deviation of the independent error of the evidence in each frame.
        nugget: standard deviation of true labels about f: rounding, and changes too fast for the process.
    """

    wiener: float
    matern: float
    matern_seconds: float
    activity_exponent: float
    ou: float
    ou_seconds: float
    offset: float
    observation_noise: float
    nugget: float


def activity(times: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Measures how fast the evidence moves around each frame.

    Args:
        times: (N,) seconds, ascending.
        evidence: (N,) evidence of one axis.

    Returns:
        (N,) activity: 1 at the usual rate of change, about 1/7 at rest.
    """
    if len(times) < 2:
        return np.ones(len(times))
    frame_interval = np.median(time_steps(times))
    squared_rate = smoothed_rate(times, evidence) ** 2
    rate = np.sqrt(gaussian_filter1d(squared_rate, RATE_AVERAGING / frame_interval, mode="nearest"))
    return (rate + REST_RATE) / (USUAL_RATE + REST_RATE)


def smoothed_rate(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(N,) rate of change per second of two or more values (N,), after Gaussian smoothing."""
    steps = time_steps(times)
    smoothed = gaussian_filter1d(values, RATE_SMOOTHING / np.median(steps), mode="nearest")
    return np.gradient(smoothed, np.concatenate(([0], np.cumsum(steps))))


def time_steps(times: np.ndarray) -> np.ndarray:
    """(N-1,) seconds from each frame to the next, at least SHORTEST_STEP."""
    return np.maximum(np.diff(times), SHORTEST_STEP)


def label_covariance(parameters: GPParameters, times: Tensor, activities: Tensor) -> Tensor:
    """(N, N) prior covariance of f at times (N,) that start at 0, with activities (N,); differentiable."""
    distances = (times[:, None] - times).abs()
    rate = np.sqrt(3) * distances / parameters.matern_seconds
    amplitude = parameters.matern * activities**parameters.activity_exponent
    matern = torch.outer(amplitude, amplitude) * (1 + rate) * torch.exp(-rate)
    return LEVEL_STD**2 + parameters.wiener**2 * torch.minimum(times[:, None], times) + matern


def evidence_covariance(parameters: GPParameters, label: Tensor, times: Tensor) -> Tensor:
    """(N, N) prior covariance of the evidence, given the `label` covariance (N, N) of the same times."""
    ou = parameters.ou**2 * torch.exp(-(times[:, None] - times).abs() / parameters.ou_seconds)
    noise = parameters.observation_noise**2 * torch.eye(len(label), dtype=label.dtype)
    return label + ou + parameters.offset**2 + noise


def transitions(parameters: GPParameters, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The state-space model: how the state of one frame leads to the next.

    Args:
        parameters: of the process.
        steps: (N-1,) seconds from each frame to the next.

    Returns:
        Transition matrices and process-noise covariances, both (N-1, STATES, STATES).
    """
    transition, process_noise = (np.zeros((len(steps), STATES, STATES)) for _ in range(2))
    transition[:, 0, 0], process_noise[:, 0, 0] = 1, parameters.wiener**2 * steps
    rate = np.sqrt(3) * steps / parameters.matern_seconds
    decay = np.exp(-rate)
    matern = np.stack([decay * (1 + rate), decay * rate, -decay * rate, decay * (1 - rate)], 1).reshape(-1, 2, 2)
    transition[:, 1:3, 1:3] = matern
    process_noise[:, 1:3, 1:3] = parameters.matern**2 * (np.eye(2) - matern @ np.swapaxes(matern, 1, 2))
    transition[:, 3, 3] = np.exp(-steps / parameters.ou_seconds)
    process_noise[:, 3, 3] = -(parameters.ou**2) * np.expm1(-2 * steps / parameters.ou_seconds)
    return transition, process_noise


def initial_precision(parameters: GPParameters) -> np.ndarray:
    """(STATES, STATES) prior precision of the first frame's state.

    The derivative of the Matérn component is a state in units of its standard deviation, so that both have equal
    prior precision.
    """
    return np.diag([LEVEL_STD**-2, parameters.matern**-2, parameters.matern**-2, parameters.ou**-2])
