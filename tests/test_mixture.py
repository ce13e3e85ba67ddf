"""The mixture of posteriors with and without the network's evidence: misread faces, weights, moments, variance."""

from functools import partial

import numpy as np
import pytest
from simulated_clips import (
    PARAMETERS,
    accurate_calibration,
    anchors_at,
    encoded,
    posteriors_given,
    simulate_clips,
    simulate_misread_clip,
)

from utils.labelling.audit import audit
from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.posterior.mixture import AxisExplanation, Explanation, MixturePosterior
from utils.labelling.suggestion.suggest import expected_error, suggest_one_by_one
from utils.labelling.types import NO_LABELS, observations_of


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def calibration():
    return accurate_calibration()


def test_labels_reveal_a_misread_clip_whose_expected_error_stays_realistic(rng, calibration):
    for clip, misread in ((simulate_misread_clip(rng), True), (simulate_clips(rng, 1, 300, 0.05)[0], False)):
        posteriors = posteriors_given(clip, anchors_at(clip, range(7, 300, 15)), calibration)
        assert [posterior.misread for posterior in posteriors] == [misread] * 2
        errors = np.stack([posterior.mean for posterior in posteriors], 1) - clip.labels
        assert expected_error(posteriors) > 0.6 * np.sqrt(np.mean(errors**2))
        assert (np.abs(errors) <= calibration.half_widths(posteriors)).mean() > 0.75


def test_misread_clip_follows_its_labels_and_the_audit_does_not_blame_them(rng, calibration):
    clip = simulate_misread_clip(rng)
    anchors = anchors_at(clip, range(10, 300, 15))
    fused = posteriors_given(clip, anchors, calibration)[0].mean
    linear = np.interp(clip.times, anchors.times, anchors.labels[:, 0])
    errors = [np.sqrt(np.mean((values - clip.labels[:, 0]) ** 2)) for values in (fused, linear)]
    assert errors[0] < 1.1 * errors[1]
    assert len(audit(encoded(clip), anchors, calibration)) <= 1  # of 40 labels


def test_one_wrong_label_does_not_make_a_clip_misread(rng, calibration):
    (clip,) = simulate_clips(rng, 1, 60, 0.05)
    anchors = anchors_at(clip, range(3, 60, 6))
    anchors.labels[4] += 0.8
    assert not any(posterior.misread for posterior in posteriors_given(clip, anchors, calibration))


def test_posterior_of_negligible_weight_is_left_out(rng, calibration):
    (clip,) = simulate_clips(rng, 1, 60, 0.05)
    observations = observations_of(anchors_at(clip, [5, 20, 35, 50]))[0]
    mixture = calibration.posteriors(clip.times, clip.evidence, [observations] * 2)[0]
    with_evidence = GPPosterior(calibration.valence.with_evidence, clip.times, clip.evidence[..., 0], observations)
    assert 0 < mixture.weights[1] < 0.01
    np.testing.assert_array_equal(mixture.mean, with_evidence.mean)


def test_mixture_has_the_moments_of_the_posteriors_in_it(rng, calibration):
    clip = simulate_misread_clip(rng)
    observations = observations_of(anchors_at(clip, [100, 130]))[0]
    parameters = (calibration.valence.with_evidence, calibration.valence.time_only)
    evidence = clip.evidence[..., 0]
    given = [partial(GPPosterior, each, clip.times, evidence[:, : len(each.sources)]) for each in parameters]
    posteriors = [posterior(observations) for posterior in given]
    explanations = [Explanation(*values) for values in zip((0.98, 0.02), parameters, ([0], []), strict=True)]
    model = [AxisExplanation(*pair) for pair in zip(explanations, given, strict=True)]
    mixture = MixturePosterior(model, observations)
    mixture.weights = np.array([0.3, 0.7])
    mixture._posteriors = [(0.3, posteriors[0]), (0.7, posteriors[1])]
    frames = np.array([0, 50, 120])
    covariance = mixture.covariance(frames, frames)
    np.testing.assert_allclose(covariance.diagonal(), mixture.variance[frames], rtol=1e-4, atol=1e-7)
    difference = posteriors[0].mean[frames] - posteriors[1].mean[frames]
    within = sum(w * one.covariance(frames, frames) for w, one in zip((0.3, 0.7), posteriors, strict=True))
    expected = within + 0.21 * np.outer(difference, difference)
    np.testing.assert_allclose(covariance / mixture.variance_scale, expected, atol=1e-7)


def test_declared_label_errors_do_not_increase_the_variance_scale(rng, calibration):
    scales = []
    for clip in simulate_clips(rng, 20, 60, 0.05):
        anchors = anchors_at(clip, range(1, 60, 4), 0.2)
        anchors.labels[:] += rng.normal(0, 0.2, anchors.labels.shape)
        scales.append(np.sqrt(posteriors_given(clip, anchors, calibration)[0].variance_scale))
    assert 0.8 < np.mean(scales) < 1.15


def test_unlikely_labels_widen_the_intervals_of_their_clip(rng, calibration):
    (clip,) = simulate_clips(rng, 1, 60, 0.05)
    anchors = anchors_at(clip, range(5, 60, 10))
    likely = calibration.half_widths(posteriors_given(clip, anchors, calibration))
    anchors.labels[::2] += 0.5
    unlikely = calibration.half_widths(posteriors_given(clip, anchors, calibration))
    assert (unlikely > likely).all()


def test_contradictory_labels_do_not_give_expected_errors_above_one(rng):
    (clip,) = simulate_clips(rng, 1, 60, 0.05)
    labels = np.tile([[-1.0, -1.0], [1.0, 1.0]], (4, 1))
    posteriors = posteriors_given(clip, anchors_at(clip, range(20, 28))._replace(labels=labels))
    assert max(posterior.variance.max() for posterior in posteriors) > 1
    assert 0.4 < expected_error(posteriors) <= 1
    assert suggest_one_by_one(posteriors, 1)[0].error_before == pytest.approx(expected_error(posteriors), rel=0.3)


def test_weak_evidence_is_not_called_misread(rng, calibration):
    clip = simulate_misread_clip(rng)
    anchors = anchors_at(clip, range(7, 300, 15))
    for prior, misread in ((0.1, True), (0.99, False)):
        valence = calibration.valence._replace(time_only_prior=prior)
        posteriors = posteriors_given(clip, anchors, calibration._replace(valence=valence))
        assert posteriors[0].weights[-1] > 0.5 and posteriors[0].misread == misread


def test_gap_in_the_evidence_does_not_count_as_rest():
    times, evidence = np.arange(200) / 25, np.zeros((200, 1))
    evidence[50:150] = np.nan
    posterior = GPPosterior(PARAMETERS, times, evidence, NO_LABELS)
    at_rest = GPPosterior(PARAMETERS, times, np.nan_to_num(evidence), NO_LABELS)
    assert posterior.design[100, 1] == 1 and posterior.design[20, 1] < 0.5
    assert posterior.variance[100] > 1.5 * at_rest.variance[100]
