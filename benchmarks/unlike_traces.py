"""Label traces unlike those of the demo set, to test labelling on changes that nothing was fitted to.

Each function draws the valence and arousal of a clip, as `datasets.demo.traces.label_trace` does:

    rng: random generator
    frames: length of the clip
    frame_rate: frames per second; must be 25
    returns: (frames, 2) in [-1, 1]
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from datasets.demo.dataset import LabelTrace
from datasets.demo.traces import FRAME_RATE

LARGEST_LEVEL = 0.8
TRANSITION_FRAMES = 2.5  # standard deviation of the Gaussian filter between two plateaus
OU_STD, OU_FRAMES = 0.35, 25  # standard deviation and time scale of the Ornstein-Uhlenbeck process


def ramps(rng: np.random.Generator, frames: int, frame_rate: float = FRAME_RATE) -> np.ndarray:
    """Straight lines between random levels, 10 to 40 frames apart."""
    trace = np.empty((frames, 2))
    for axis in range(2):
        knots = np.concatenate(([0], _change_points(rng, frames), [frames]))
        trace[:, axis] = np.interp(np.arange(frames), knots, _levels(rng, len(knots)))
    return trace


def steps(rng: np.random.Generator, frames: int, frame_rate: float = FRAME_RATE) -> np.ndarray:
    """Constant levels that change at once, every 10 to 40 frames."""
    trace = np.empty((frames, 2))
    for axis in range(2):
        changes = _change_points(rng, frames)
        trace[:, axis] = _levels(rng, len(changes) + 1)[np.searchsorted(changes, np.arange(frames), side="right")]
    return trace


def plateaus(rng: np.random.Generator, frames: int, frame_rate: float = FRAME_RATE) -> np.ndarray:
    """Constant levels with smooth transitions of about ten frames."""
    return gaussian_filter1d(steps(rng, frames), TRANSITION_FRAMES, axis=0, mode="nearest")


def ornstein_uhlenbeck(rng: np.random.Generator, frames: int, frame_rate: float = FRAME_RATE) -> np.ndarray:
    """A stationary Ornstein-Uhlenbeck process, which is not smooth, with a time scale of a second."""
    decay = np.exp(-1 / OU_FRAMES)
    trace = np.empty((frames, 2))
    trace[0] = OU_STD * rng.standard_normal(2)
    for frame in range(1, frames):
        trace[frame] = decay * trace[frame - 1] + OU_STD * np.sqrt(1 - decay**2) * rng.standard_normal(2)
    return np.clip(trace, -1, 1)


UNLIKE_TRACES: dict[str, LabelTrace] = {trace.__name__: trace for trace in (ramps, plateaus, steps, ornstein_uhlenbeck)}


def _change_points(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Ascending frames in (0, frames), 10 to 40 frames apart."""
    points = np.cumsum(rng.integers(10, 41, frames // 10 + 1))
    return points[points < frames]


def _levels(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.uniform(-LARGEST_LEVEL, LARGEST_LEVEL, count)
