"""What happens in a clip: its labels over time, the expression class of a label, and the poses of the head."""

import math

import numpy as np

from datasets.demo.face import Pose

FRAME_RATE = 25.0
"""Frames per second of the demo set."""

EVENT_FRAMES = 240
"""Each clip has one to three events per axis for every so many frames at FRAME_RATE, or part of them."""


def label_trace(rng: np.random.Generator, frames: int, frame_rate: float = FRAME_RATE) -> np.ndarray:
    """Draw the valence and arousal of a clip.

    Each axis is a constant in [-0.4, 0.4] plus Gaussian-shaped events with a height in [-1, 1] and a full width at half
    maximum of 0.24 to 1 second.

    Args:
        rng: random generator.
        frames: length of the clip.
        frame_rate: frames per second. A clip at another frame rate has the same trace over time.

    Returns:
        (frames, 2) in [-1, 1], not rounded.
    """
    time = np.arange(frames) * (FRAME_RATE / frame_rate)  # in frames at FRAME_RATE, as all other durations here
    duration = frames * (FRAME_RATE / frame_rate)
    trace = np.empty((frames, 2))
    for axis in range(2):
        trace[:, axis] = rng.uniform(-0.4, 0.4)
        events = sum(rng.integers(1, 4) for _ in range(math.ceil(duration / EVENT_FRAMES)))
        for _ in range(events):
            width, peak = rng.uniform(6, 25), rng.uniform(-1, 1)
            trace[:, axis] += peak * np.exp(-4 * math.log(2) * ((time - rng.uniform(0, duration)) / width) ** 2)
    return np.clip(trace, -1, 1)


def pose_trace(rng: np.random.Generator, frames: int, frame_rate: float = FRAME_RATE) -> list[Pose]:
    """Draw the poses of a swaying head, one per frame: yaw and roll within ±10 degrees, scale within ±6 %."""

    def sway(amplitude: float) -> np.ndarray:
        periods, phases = rng.uniform((40, 14), (90, 35)), rng.uniform(0, 2 * np.pi, 2)
        time = np.arange(frames) * (FRAME_RATE / frame_rate)
        waves = np.sin(2 * np.pi * time[:, None] / periods + phases)
        return waves @ (0.7 * amplitude, 0.3 * amplitude)

    traces = sway(10), sway(10), sway(0.06), sway(0.02), sway(0.015)
    return [Pose(yaw, roll, 1 + scale, (x, y)) for yaw, roll, scale, x, y in zip(*traces, strict=True)]


def expression_of(valence: float, arousal: float) -> int:
    """AffectNet's expression code for a valence and an arousal in [-1, 1], by region of the plane.

    An intensity, |(valence, arousal)|, of at most 0.2 is neutral. Otherwise the class depends on the angle from the
    valence axis towards the arousal axis: happy from -90 to 60 degrees, surprise to 100, fear to 128, anger to 160,
    then to 205 contempt up to an intensity of 0.45 and disgust above it, sad to 270.

    The classes agree with the rule that cleans AffectNet, except where no class of that rule fits and this function
    returns neutral: an intensity of exactly 0.2, and a valence of exactly 0 with an arousal below -0.2.
    """
    intensity = math.hypot(valence, arousal)
    if intensity <= 0.2 + 1e-9 or (valence == 0 and arousal < 0):
        return 0
    angle = math.degrees(math.atan2(arousal, valence))
    if angle < -90:
        angle += 360
    if angle < 60:
        return 1
    if angle < 100:
        return 3
    if angle < 128:
        return 4
    if angle < 160:
        return 6
    if angle <= 205:
        return 7 if intensity <= 0.45 else 5
    return 2
