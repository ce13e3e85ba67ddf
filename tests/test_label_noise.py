"""The standard deviation of a person's labels, estimated from the labels."""

import numpy as np
import pytest
from simulated_clips import accurate_calibration, anchors_at, encoded, posteriors_given, simulate_clips

from utils.labelling.label_noise import estimate_label_error

INDICES = list(range(3, 60, 6))


@pytest.fixture(scope="module")
def calibration():
    return accurate_calibration()


def noisy_anchors(clip, rng, std):
    anchors = anchors_at(clip, INDICES)
    return anchors._replace(labels=anchors.labels + std * rng.normal(size=anchors.labels.shape))


@pytest.mark.parametrize("std", [0.0, 0.1, 0.2])
def test_standard_deviation_of_labels_is_estimated(calibration, std):
    rng = np.random.default_rng(5)
    clips = simulate_clips(rng, 12, 60, 0.05)
    pairs = [(encoded(clip), noisy_anchors(clip, rng, std)) for clip in clips]
    assert estimate_label_error(pairs, calibration) == pytest.approx(std, abs=0.3 * std)


def test_few_labels_give_no_estimate(calibration):
    clips = simulate_clips(np.random.default_rng(5), 3, 60, 0.05)
    assert estimate_label_error([(encoded(clip), anchors_at(clip, [5, 20, 40])) for clip in clips], calibration) is None


def test_estimated_error_makes_labels_better_and_intervals_honest(calibration):
    rng = np.random.default_rng(6)
    clips = simulate_clips(rng, 12, 60, 0.05)
    anchors = [noisy_anchors(clip, rng, 0.2) for clip in clips]
    error = estimate_label_error([(encoded(clip), own) for clip, own in zip(clips, anchors, strict=True)], calibration)
    scores = {}
    for name, std in (("exact", 0.0), ("estimated", error)):
        errors, inside = [], []
        for clip, own in zip(clips, anchors, strict=True):
            posteriors = posteriors_given(clip, own._replace(errors=np.full_like(own.errors, std)), calibration)
            means = np.stack([posterior.mean for posterior in posteriors], 1)
            unlabelled = np.delete(np.arange(60), INDICES)
            errors.append(np.abs(means - clip.labels)[unlabelled])
            inside.append(errors[-1] <= calibration.half_widths(posteriors)[unlabelled])
        scores[name] = np.sqrt(np.mean(np.square(errors))), np.mean(inside)
    assert scores["estimated"][0] < 0.9 * scores["exact"][0]
    assert scores["exact"][1] < 0.75 and 0.8 < scores["estimated"][1] < 0.99
