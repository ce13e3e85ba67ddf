"""The fit of the offset that differs between the clips of one person, on clips with known offsets."""

import numpy as np
import pandas as pd
import torch
from simulated_clips import PARAMETERS

from utils.compute.runtime import make_runtime
from utils.config.sections import RuntimeSettings
from utils.labelling.calibration.calibration import AxisCalibration, Calibration
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import DatasetClip
from utils.labelling.dataset_calibration.shots import FEWEST_PEOPLE, fit_shot_offsets
from utils.labelling.types import EncodedClip

CALIBRATION = Calibration(AxisCalibration(PARAMETERS), AxisCalibration(PARAMETERS))
SHOTS = (0.12, 0.3)  # standard deviations of valence and arousal


def draw_clips(people: int, clips: int, seconds: float = 400.0) -> list[DatasetClip]:
    """Clips of people whose evidence has an offset of the person and one of the clip."""
    rng, drawn = np.random.default_rng(4), []
    times = np.linspace(0, seconds, 50)
    for person in range(people):
        offset = rng.normal(0, 0.6, 2)
        for clip in range(clips):
            labels = rng.uniform(-1, 1, (50, 2))
            evidence = labels + offset + rng.normal(0, SHOTS, 2)
            frames = pd.DataFrame(labels, columns=["valence", "arousal"]).assign(subject=str(person))
            encoded = EncodedClip(torch.zeros(50, 0), times, evidence[:, None])
            drawn.append(DatasetClip(f"{person}/{clip}", frames, encoded))
    return drawn


def fitted(clips: list[DatasetClip]) -> list[float]:
    encoder = ClipEncoder(None, make_runtime(RuntimeSettings(device="cpu")))
    axes = fit_shot_offsets(encoder, CALIBRATION, clips).axes
    return [axis.with_evidence.sources[0].shot_offset for axis in axes]


def test_shot_offsets_are_recovered_whatever_the_offsets_of_the_people():
    np.testing.assert_allclose(fitted(draw_clips(60, 5)), SHOTS, rtol=0.1)


def test_too_few_people_with_several_clips_leave_the_calibration_as_it_is():
    unchanged = [PARAMETERS.sources[0].shot_offset] * 2
    assert fitted(draw_clips(30, 1)) == unchanged
    assert fitted(draw_clips(FEWEST_PEOPLE - 1, 4)) == unchanged
    assert fitted(draw_clips(FEWEST_PEOPLE, 2)) != unchanged
