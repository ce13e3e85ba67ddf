"""benchmarks/evidence.py on simulated clips: the ratios that it prints, their standard errors, and its comparisons."""

import numpy as np
import pandas as pd
import pytest
import torch
from simulated_clips import simulate_clips

from benchmarks.evidence import (
    BOTH,
    DISTORTED,
    SUPPORT,
    VARIANTS,
    WITH_ANOTHER_CLIP,
    Errors,
    calibrate,
    compare,
    lower_error_per_axis,
    ratios,
    score,
)
from utils.compute.runtime import make_runtime
from utils.config.sections import RuntimeSettings
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import DatasetClip
from utils.labelling.types import EncodedClip


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_standard_errors_of_ratios_are_those_of_the_bootstrap(rng):
    other = rng.gamma(2, 1, (200, 2))
    squared = other * rng.gamma(4, 0.1, (200, 2))
    found = ratios(squared, other)
    drawn = [ratios(squared[clips], other[clips]) for clips in rng.integers(0, 200, (1000, 200))]
    for name in ("valence", "arousal", "both"):
        assert found[f"{name} ±"] == pytest.approx(np.std([resampled[name] for resampled in drawn]), rel=0.1)
    assert found["valence"] == pytest.approx(np.sqrt(squared[:, 0].mean() / other[:, 0].mean()))


def test_two_sources_are_compared_with_the_better_one_on_each_axis():
    first, second = (
        Errors(np.array([squared]), np.ones((1, 2)), np.ones((1, 2)), np.ones(1)) for squared in ([1, 4], [2, 3])
    )
    np.testing.assert_array_equal(lower_error_per_axis(first, second), [[1, 3]])
    third = Errors(np.array([[6.0, 9.0]]), np.ones((1, 2)), np.ones((1, 2)), np.ones(1))
    alone = {"MT-CLAR": first, "head": second}
    scored = {variant: {"3 even": alone.get(variant.name, third)} for variant in VARIANTS}
    rows = {(row["evidence"], row["divided by"]): (row["valence"], row["arousal"]) for row in compare(scored)}
    expected = {
        (BOTH, "better alone"): (6 / 1, 9 / 3),
        (DISTORTED, "undistorted"): (6 / 2, 9 / 3),
        (WITH_ANOTHER_CLIP, "MT-CLAR"): (6 / 1, 9 / 4),
    }
    assert rows.keys() == expected.keys()
    for key, ratio in expected.items():
        np.testing.assert_allclose(rows[key], np.sqrt(ratio))


def test_single_sources_fitted_on_each_clip_are_scored(rng):
    simulated = simulate_clips(rng, 6, 60, 0.1)
    clips = []
    for number, clip in enumerate(simulated):
        frames = pd.DataFrame(clip.labels, columns=["valence", "arousal"]).assign(frame=range(60))
        evidence = np.repeat(clip.evidence, 2, 1)  # that of MT-CLAR, which is not used here, and that of the head
        clips.append(DatasetClip(str(number), frames, EncodedClip(torch.empty(60, 0), clip.times, evidence)))
    variants = [v for v in VARIANTS if v.fitted_on == "each clip" and len(v.relative) == 1]
    calibrations = calibrate(variants, clips)
    encoder = ClipEncoder(None, make_runtime(RuntimeSettings(device="cpu", precision="float32")))
    of_line = {}
    for variant in variants:
        errors = score(encoder, variant, calibrations[variant], clips)
        assert list(errors) == [name for name, _, _ in SUPPORT]
        of_line[variant.name] = errors["5 even"].row()["both / line"]
    assert of_line["head"] < 0.8 < of_line["head of another clip"] < 1.2
