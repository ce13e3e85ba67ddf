"""Sources of evidence without a calibration, fitted to the given labels."""

import numpy as np
import pytest
import torch
from simulated_clips import anchors_at, simulate_clips

from utils.compute.runtime import make_runtime
from utils.config.sections import RuntimeSettings
from utils.labelling.calibration.adaptation import (
    PRIOR_SOURCE,
    LabelledEvidence,
    discount_unrelated_sources,
    fit_source,
    fit_sources,
    weaken_inaccurate_evidence,
)
from utils.labelling.calibration.calibration import DEFAULT_PARAMETERS, AxisCalibration, Calibration
from utils.labelling.calibration.source_grid import PRIOR_ERROR, PRIOR_OFFSET
from utils.labelling.calibration.unrelated import unrelated_probability
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.mixture import PRIOR_OF_TIME_ONLY
from utils.labelling.posterior.process import GPParameters
from utils.labelling.types import Anchors, EncodedClip, observations_of

INDICES = [5, 20, 35, 50]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def uncalibrated(sources=1):
    axis = AxisCalibration(GPParameters(DEFAULT_PARAMETERS.process, (PRIOR_SOURCE,) * sources))
    return Calibration(axis, axis)


def adapt(calibration, indices, clips):
    return weaken_inaccurate_evidence(fit_sources(calibration, indices, clips))


def discount(calibration, indices, others, clips):
    probabilities = {index: unrelated_probability(calibration, index, others, clips) for index in indices}
    return discount_unrelated_sources(calibration, probabilities)


def labelled(clips, evidence):
    return [LabelledEvidence(one[INDICES], clip.labels[INDICES]) for clip, one in zip(clips, evidence, strict=True)]


def rmse_of_fused(clips, evidence, calibration):
    """RMSE on unlabelled frames of fused labels, and that of linear interpolation."""
    errors, linear = [], []
    for clip, one in zip(clips, evidence, strict=True):
        posteriors = calibration.posteriors(clip.times, one, observations_of(anchors_at(clip, INDICES)))
        errors.append(np.stack([posterior.mean for posterior in posteriors], 1) - clip.labels)
        line = [np.interp(clip.times, clip.times[INDICES], clip.labels[INDICES, axis]) for axis in range(2)]
        linear.append(np.stack(line, 1) - clip.labels)
    unlabelled = np.delete(np.arange(len(clips[0].times)), INDICES)
    return (np.sqrt(np.mean(np.square([error[unlabelled] for error in part]))) for part in (errors, linear))


def test_gain_bias_offset_and_error_are_estimated_from_many_labels(rng):
    clips = []
    for _ in range(60):
        labels = rng.normal(0, 0.35, 6)
        clips.append((0.5 * labels + 0.4 + rng.normal(0, 0.1) + rng.normal(0, 0.06, 6), labels))
    fitted = fit_source(clips)
    assert fitted.gain == pytest.approx(0.5, abs=0.05) and fitted.bias == pytest.approx(0.4, abs=0.05)
    assert fitted.offset == pytest.approx(0.1, abs=0.04)
    assert np.hypot(fitted.ou, fitted.observation_noise) == pytest.approx(0.06, abs=0.02)


def test_without_labels_the_priors_remain():
    for clips in ([], [(np.full(3, np.nan), np.zeros(3))]):
        fitted = fit_source(clips)
        assert (fitted.gain, fitted.bias) == pytest.approx((1, 0), abs=1e-3)
        assert np.hypot(fitted.ou, fitted.observation_noise) >= PRIOR_ERROR and fitted.offset >= PRIOR_OFFSET


def test_distorted_evidence_gives_the_labels_of_undistorted_evidence(rng):
    clips = simulate_clips(rng, 10, 60, 0.1)
    evidence = [clip.evidence for clip in clips]
    distorted = [0.5 * one + 0.4 for one in evidence]
    plain, line = rmse_of_fused(clips, evidence, adapt(uncalibrated(), [0], labelled(clips, evidence)))
    other, _ = rmse_of_fused(clips, distorted, adapt(uncalibrated(), [0], labelled(clips, distorted)))
    assert plain < 0.7 * line and other < 1.1 * plain
    unadapted, _ = rmse_of_fused(clips, distorted, uncalibrated())
    assert other < 0.9 * unadapted


def test_evidence_of_another_clip_is_ignored_alone_and_beside_good_evidence(rng):
    clips = simulate_clips(rng, 20, 60, 0.1)
    good = [clip.evidence for clip in clips]
    useless = good[1:] + good[:1]
    alone, line = rmse_of_fused(clips, useless, adapt(uncalibrated(), [0], labelled(clips, useless)))
    assert alone < 1.05 * line
    both = [np.concatenate(pair, 1) for pair in zip(good, useless, strict=True)]
    of_good, _ = rmse_of_fused(clips, good, adapt(uncalibrated(), [0], labelled(clips, good)))
    of_both, _ = rmse_of_fused(clips, both, adapt(uncalibrated(2), [0, 1], labelled(clips, both)))
    assert of_both < 1.05 * of_good


def test_gain_and_offset_are_found_from_five_labels_of_one_clip(rng):
    gains = []
    for _ in range(20):
        labels = rng.normal(0, 0.35, 5)
        errors = rng.normal(0, 0.1, 5)
        plain, distorted = (
            fit_source([(gain * (labels + errors) + bias, labels)]) for gain, bias in ((1, 0), (0.5, 0.4))
        )
        gains.append((plain.gain, distorted.gain))
    plain, distorted = np.median(gains, 0)
    assert plain == pytest.approx(1, abs=0.1) and distorted == pytest.approx(0.55, abs=0.1)


@pytest.mark.parametrize("gain", [0.55, 0.77, 0.92])
def test_many_labels_determine_the_gain(rng, gain):
    labels = rng.normal(0, 0.35, 100_000)
    fitted = fit_source([(gain * (labels + rng.normal(0, 0.1, 100_000)) - 0.1, labels)])
    assert fitted.gain == pytest.approx(gain, rel=0.05)  # half a step of the grid


def test_evidence_of_another_clip_is_discounted_from_three_labels_of_one_clip(rng):
    clips = simulate_clips(rng, 12, 60, 0.1)
    scales = {"its own": [], "another": []}
    for clip, other in zip(clips, clips[1:] + clips[:1], strict=True):
        for name, evidence in (("its own", clip.evidence), ("another", other.evidence)):
            encoded = EncodedClip(torch.empty(60, 0), clip.times, evidence)
            discounted = discount(uncalibrated(), [0], [], [(encoded, anchors_at(clip, [10, 30, 50]))])
            scales[name].append(discounted.valence.with_evidence.sources[0].ou / PRIOR_SOURCE.ou)
    assert np.median(scales["its own"]) < 1.1 and np.median(scales["another"]) > 1.5


@pytest.mark.parametrize("frames", [[], [30], [20, 40]])
def test_a_source_that_misreads_the_faces_does_not_discredit_another_with_fewer_than_three_labels(rng, frames):
    first, second = error_scales(rng, frames, misreading=0)
    assert first == 1 and second < 1.2


def test_another_source_and_three_labels_tell_which_source_is_unrelated(rng):
    assert error_scales(rng, [10, 30, 50], misreading=0)[1] < 1.1
    assert error_scales(rng, [10, 30, 50], misreading=1)[1] > 3


def test_an_unrelated_estimator_leaves_the_process_of_the_calibrated_source_as_it_is(rng):
    clips = simulate_clips(rng, 8, 60, 0.1)
    calibration, exponents = uncalibrated(2), {}
    runtime = make_runtime(RuntimeSettings(device="cpu", precision="float32"))
    labeller = Labeller(ClipEncoder(None, runtime), calibration, (1,))
    for name, second in (("its own", clips), ("another", clips[1:] + clips[:1])):
        pairs = []
        for clip, other in zip(clips, second, strict=True):
            evidence = np.concatenate((clip.evidence, other.evidence), 1)
            pairs.append((EncodedClip(torch.empty(60, 0), clip.times, evidence), anchors_at(clip, [10, 30, 50])))
        adapted = labeller.adapt(pairs).calibration.valence
        exponents[name] = adapted.with_evidence.process.activity_exponent
    fitted = calibration.valence.with_evidence.process.activity_exponent
    assert exponents["its own"] < 0.9 * fitted and exponents["another"] == pytest.approx(fitted, rel=0.01)
    assert adapted.time_only_prior == PRIOR_OF_TIME_ONLY


def error_scales(rng, frames, misreading):
    """How much the errors of two sources are enlarged, the second of which is adapted.

    Args:
        rng: random generator.
        frames: labelled frames of each of four clips.
        misreading: index of the source whose evidence is that of another clip.
    """
    clips = simulate_clips(rng, 4, 60, 0.1)
    encoded = []
    for clip, other in zip(clips, clips[1:] + clips[:1], strict=True):
        evidence = [other.evidence if source == misreading else clip.evidence for source in range(2)]
        anchors = anchors_at(clip, frames) if frames else None
        encoded.append((EncodedClip(torch.empty(60, 0), clip.times, np.concatenate(evidence, 1)), anchors))
    discounted = discount(uncalibrated(2), [1], [0], encoded)
    return [source.ou / PRIOR_SOURCE.ou for source in discounted.valence.with_evidence.sources]


def test_a_clip_of_one_frame_does_not_stop_the_comparison_of_sources():
    clip = EncodedClip(torch.empty(1, 0), np.zeros(1), np.full((1, 2, 2), 0.1))
    zeros, first = np.zeros((1, 2)), np.zeros(1, int)
    anchors = Anchors(torch.empty(1, 0), zeros, zeros, clip.times, first, first)
    for labels in (None, anchors):
        discounted = discount(uncalibrated(2), [1], [0], [(clip, labels)])
        assert all(np.isfinite(source.ou) for axis in discounted.axes for source in axis.with_evidence.sources)


def test_only_the_named_sources_are_fitted(rng):
    clips = simulate_clips(rng, 3, 60, 0.1)
    both = [np.concatenate((clip.evidence, clip.evidence), 1) for clip in clips]
    calibration = adapt(uncalibrated(2), [1], labelled(clips, both))
    for axis in calibration.axes:
        assert axis.with_evidence.sources[0] == PRIOR_SOURCE and axis.with_evidence.sources[1] != PRIOR_SOURCE


def test_source_without_labels_is_as_uncertain_as_its_fit_to_no_labels(rng):
    assert fit_source([]) == PRIOR_SOURCE
    clips = simulate_clips(rng, 3, 60, 0.1)
    once = adapt(uncalibrated(), [0], labelled(clips, [clip.evidence for clip in clips]))
    assert once.valence.with_evidence.sources[0].offset < PRIOR_SOURCE.offset
