"""Clips drawn from a Gaussian process, with evidence of known noise, for the tests of utils.labelling."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION, Calibration
from utils.labelling.calibration.fit_problems import CalibrationClip
from utils.labelling.calibration.fitting import fit_calibration
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.posterior.process import GPParameters, ProcessParameters, SourceParameters
from utils.labelling.types import Anchors, EncodedClip, observations_of

PARAMETERS = GPParameters(
    ProcessParameters(wiener=0.1, matern=0.7, matern_seconds=1.1, activity_exponent=0.6, nugget=0.02),
    (SourceParameters(ou=0.15, ou_seconds=0.25, offset=0.37, observation_noise=0.11),),
)
FRAME_RATE = 25


def simulate_clips(rng: np.random.Generator, count: int, frames: int, noise: float) -> list[CalibrationClip]:
    """Draw labels from a Matérn-3/2 process, and evidence with an offset per clip and independent noise."""
    times, clips = np.arange(frames) / FRAME_RATE, []
    rate = np.sqrt(3) * np.abs(times[:, None] - times) / 1.0
    root = np.linalg.cholesky(0.5**2 * (1 + rate) * np.exp(-rate) + 1e-9 * np.eye(frames))
    for _ in range(count):
        labels = root @ rng.normal(size=(frames, 2))
        evidence = labels + rng.normal(0, 0.3, 2) + rng.normal(0, noise, labels.shape)
        clips.append(CalibrationClip(times, evidence[:, None], labels))
    return clips


def simulate_misread_clip(rng: np.random.Generator) -> CalibrationClip:
    """A clip of 300 frames whose evidence has the wrong sign."""
    (clip,) = simulate_clips(rng, 1, 300, 0.05)
    return clip._replace(evidence=-clip.evidence)


@cache
def accurate_calibration() -> Calibration:
    """The calibration of a network whose evidence has little noise (0.05)."""
    return fit_calibration(simulate_clips(np.random.default_rng(1), 10, 40, 0.05))


def encoded(clip: CalibrationClip) -> EncodedClip:
    """The clip without embeddings, which fused labels do not need."""
    return EncodedClip(torch.zeros(len(clip.times), 1), clip.times, clip.evidence)


def anchors_at(clip: CalibrationClip, indices: Sequence[int], error: float = 0.0) -> Anchors:
    """Anchors at frames of the clip, with their true labels; `error` is the declared standard deviation."""
    frames = np.array(indices)
    labels = clip.labels[frames].copy()
    embeddings, errors = torch.zeros(len(frames), 1), np.full_like(labels, error)
    return Anchors(embeddings, labels, errors, clip.times[frames], frames, frames)


def posteriors_given(
    clip: CalibrationClip, anchors: Anchors | None, calibration: Calibration = DEFAULT_CALIBRATION
) -> list[MixturePosterior]:
    """The posteriors of valence and arousal given the anchors; None: no label yet."""
    return calibration.posteriors(clip.times, clip.evidence, observations_of(anchors))
