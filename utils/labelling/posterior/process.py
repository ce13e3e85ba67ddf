"""The Gaussian process behind fused labels, in its two equivalent forms: covariances and a state-space model.

For one axis of one clip, with t in seconds:

    latent label    f(t) = wiener(t) + a(t) · matern(t)     Wiener process plus Matérn-3/2 process
    evidence        g(t) = gain · f(t) + bias + offset + ou(t) + noise
                                                            offset: constant in a clip; ou: Ornstein-Uhlenbeck process
    given label     y(t) = f(t) + error                     at support frames only
    true label      f(t) + nugget                           what is predicted at the other frames

There may be several sources of evidence, each with its own gain, bias, offset, ou and noise; or none. A source may have
no value at some frames. Evidence of the Siamese network is relative to the mean of the clip, so that its offset is
mainly the clip's mean level with the sign reversed, which the given labels reveal. Evidence of other sources is
absolute. The nugget is left out where labels are given, as a simplification; it is included where a given label is
predicted from the others (`utils.labelling.posterior.mixture`).

The amplitude a(t) grows with the activity of the evidence (`activity`): where the evidence is at rest, the latent label
changes little. The activity is computed from the evidence and then treated as known. With it fixed, all components are
Gaussian, so the posterior of f is exact.

The covariances are differentiable and are used to fit the parameters (`calibration.fitting`). The state-space form
describes the same process, and needs time linear in the number of frames. It is used to label (`gp`).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

PROCESS_STATES = 3  # wiener, matern, derivative of matern; the ou of each source follows
LEVEL_STD = 0.5  # prior standard deviation of the Wiener component at the first frame of a clip
EXACT_ERROR = 1e-3  # An error of 0 is replaced by this one, the smallest that keeps the factorisation stable.
NOISE_INTERVAL = 1 / 25  # seconds; the errors of frames that are closer together than this are not independent
# Standard deviation of the part of the offset that differs between the clips ("shots") of one person, where too few
# validation people have several clips to fit it. It gives rendered people, half of them in harder scenes, the highest
# predictive density; fitted to them, it is about 0.06 in normal and 0.2 in harder scenes.
SHOT_OFFSET = 0.15
SHORTEST_STEP = 1e-3  # seconds; frames with equal time stamps would make the precision matrix singular


class ProcessParameters(NamedTuple):
    """Parameters of the latent label f on one axis.

    Standard deviations are in label units (range -1 to 1), time scales in seconds.

    Attributes:
        wiener: standard deviation of the change of the Wiener component within one second.
        matern: standard deviation of the Matérn-3/2 component at activity 1.
        matern_seconds: length scale of the Matérn-3/2 component.
        activity_exponent: the Matérn amplitude is proportional to activity to this power.
        nugget: standard deviation of true label - f, which is due to rounding and to changes too fast for the process.
    """

    wiener: float
    matern: float
    matern_seconds: float
    activity_exponent: float
    nugget: float


class SourceParameters(NamedTuple):
    """Parameters of one source of evidence on one axis, in the units of `ProcessParameters`.

    Attributes:
        ou: standard deviation of the time-correlated error of the evidence, an Ornstein-Uhlenbeck process.
        ou_seconds: time scale of the time-correlated error.
        offset: standard deviation of the constant error of the evidence in a clip.
        observation_noise: standard deviation of the independent error of the evidence, at up to 25 frames per second.
        gain: change of the evidence per unit of the label.
        bias: mean error of the evidence over all clips, where the label is 0.
        shot_offset: standard deviation of the part of the offset that differs between the clips of one person. It is
            used only where several clips share their labels (`utils.labelling.people`).
    """

    ou: float
    ou_seconds: float
    offset: float
    observation_noise: float
    gain: float = 1.0
    bias: float = 0.0
    shot_offset: float = SHOT_OFFSET


class GPParameters(NamedTuple):
    """Parameters of the process for one axis.

    Attributes:
        process: of the latent label.
        sources: of each source of evidence; empty: labels and time alone.
    """

    process: ProcessParameters
    sources: tuple[SourceParameters, ...] = ()


def scale_errors(parameters: SourceParameters, scale: float) -> SourceParameters:
    """The parameters with all errors but the offset multiplied by `scale`."""
    return parameters._replace(ou=scale * parameters.ou, observation_noise=scale * parameters.observation_noise)


def time_steps(times: np.ndarray) -> np.ndarray:
    """(N-1,) seconds from each frame to the next, at least SHORTEST_STEP."""
    return np.maximum(np.diff(times), SHORTEST_STEP)


def noise_inflation(times: np.ndarray) -> np.ndarray:
    """(N,) factor on the observation-noise variance of each frame: 1 at up to 25 frames per second.

    The errors of frames closer together than NOISE_INTERVAL are not independent. Their noise variance is therefore
    increased in proportion to the frame rate, so that a second of video carries the same information at any higher
    rate.
    """
    if len(times) < 2:
        return np.ones(len(times))
    steps = time_steps(times)
    intervals = (np.concatenate((steps[:1], steps)) + np.concatenate((steps, steps[-1:]))) / 2
    return np.maximum(NOISE_INTERVAL / intervals, 1)


def label_covariance(parameters: ProcessParameters, times: Tensor, activities: Tensor) -> Tensor:
    """(N, N) prior covariance of f at times (N,) that start at 0, with activities (N,). It is differentiable."""
    distances = (times[:, None] - times).abs()
    rate = np.sqrt(3) * distances / parameters.matern_seconds
    amplitude = parameters.matern * activities**parameters.activity_exponent
    matern = torch.outer(amplitude, amplitude) * (1 + rate) * torch.exp(-rate)
    return LEVEL_STD**2 + parameters.wiener**2 * torch.minimum(times[:, None], times) + matern


def evidence_covariance(parameters: SourceParameters, label_cov: Tensor, times: Tensor, inflation: Tensor) -> Tensor:
    """(N, N) prior covariance of the evidence, from the prior covariance of f (N, N) and the noise inflation (N,)."""
    ou = parameters.ou**2 * torch.exp(-(times[:, None] - times).abs() / parameters.ou_seconds)
    noise = parameters.observation_noise**2 * torch.diag(inflation)
    return parameters.gain**2 * label_cov + ou + parameters.offset**2 + noise


def transitions(parameters: GPParameters, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The state-space model: state of the next frame = transition matrix · state + process noise.

    The offsets are not among the states; `utils.labelling.posterior.gp` adds them.

    Args:
        parameters: of the process.
        steps: (N-1,) seconds from each frame to the next.

    Returns:
        Transition matrices and process-noise covariances, both (N-1, S, S) with S = PROCESS_STATES + number of sources.
    """
    process, states = parameters.process, PROCESS_STATES + len(parameters.sources)
    transition, process_noise = (np.zeros((len(steps), states, states)) for _ in range(2))
    transition[:, 0, 0], process_noise[:, 0, 0] = 1, process.wiener**2 * steps
    rate = np.sqrt(3) * steps / process.matern_seconds
    decay = np.exp(-rate)
    # The derivative of the Matérn component is divided by √3 / matern_seconds. It then has the prior variance of the
    # component itself, and the prior covariance of the two states is matern² times the identity.
    matern = np.stack([decay * (1 + rate), decay * rate, -decay * rate, decay * (1 - rate)], 1).reshape(-1, 2, 2)
    transition[:, 1:3, 1:3] = matern
    process_noise[:, 1:3, 1:3] = process.matern**2 * (np.eye(2) - matern @ np.swapaxes(matern, 1, 2))
    for state, source in enumerate(parameters.sources, PROCESS_STATES):
        transition[:, state, state] = np.exp(-steps / source.ou_seconds)
        process_noise[:, state, state] = -(source.ou**2) * np.expm1(-2 * steps / source.ou_seconds)
    return transition, process_noise


def initial_precision(parameters: GPParameters) -> np.ndarray:
    """(S, S) prior precision of the first frame's state, whose derivative is scaled as in `transitions`."""
    matern = parameters.process.matern**-2
    return np.diag([LEVEL_STD**-2, matern, matern, *(source.ou**-2 for source in parameters.sources)])
