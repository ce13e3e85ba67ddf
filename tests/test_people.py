"""Tracks of one person that share their labels, against one dense Gaussian process of all tracks."""

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag
from scipy.stats import multivariate_normal
from simulated_clips import PARAMETERS, accurate_calibration, anchors_at, encoded, simulate_misread_clip

from utils.labelling import people
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION, AxisCalibration, Calibration
from utils.labelling.incremental import IncrementalClip
from utils.labelling.people import person_offsets, person_posteriors
from utils.labelling.posterior import mixture
from utils.labelling.posterior.activity import activity, combined_evidence
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.posterior.offsets import OffsetGaussian, _log_evidence, estimated_noise
from utils.labelling.posterior.process import (
    LEVEL_STD,
    SourceParameters,
    noise_inflation,
)
from utils.labelling.types import EncodedClip, LabelObservations, observations_of

TWO_SOURCES = PARAMETERS._replace(
    sources=(
        PARAMETERS.sources[0]._replace(shot_offset=0.1),
        SourceParameters(0.2, 2.0, 0.1, 0.3, gain=0.6, bias=0.3, shot_offset=0.07),
    )
)
ONE_SOURCE = PARAMETERS._replace(sources=TWO_SOURCES.sources[:1])
FRAMES = (20, 31, 12, 25)
LABELLED = ([3, 17], [], [11], [0, 24])


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def all_evidence_only(monkeypatch):
    """Every track follows all evidence, however many labels there are, and shots differ as far as calibrated."""
    for module in (mixture, people):
        monkeypatch.setattr(module, "LABELS_TO_WEIGH_EXPLANATIONS", 99)
    monkeypatch.setattr(people, "estimated_noise", lambda factors, prior, calibrated: calibrated)


def dense_posteriors(parameters, clips, observations):
    """Mean and covariance of f of each track, from the covariance matrix of all frames of all tracks."""
    mean, covariance, parts = dense_posterior(parameters, clips, observations)
    return [(mean[part], covariance[part, part]) for part in parts]


def dense_posterior(parameters, clips, observations):
    """Mean and covariance of f at all frames of all tracks, and the slice of each track."""
    process, evidence = parameters.process, parameters.sources
    label_blocks, error_blocks = [], [[] for _ in evidence]
    for clip in clips:
        times, values = clip.times, clip.evidence[..., 0]
        distance, earlier = np.abs(times[:, None] - times), np.minimum(times[:, None], times) - times[0]
        rate = np.sqrt(3) * distance / process.matern_seconds
        known = np.isfinite(values).any(1)
        amplitude = activity(times, combined_evidence(parameters, times, values), known) ** process.activity_exponent
        matern = process.matern**2 * np.outer(amplitude, amplitude) * (1 + rate) * np.exp(-rate)
        label_blocks.append(LEVEL_STD**2 + process.wiener**2 * earlier + matern)
        for index, (one, blocks) in enumerate(zip(evidence, error_blocks, strict=True)):
            inflation, given = np.zeros(len(times)), np.isfinite(values[:, index])
            inflation[given] = noise_inflation(times[given])
            noise = one.observation_noise**2 * np.diag(inflation)
            blocks.append(one.ou**2 * np.exp(-distance / one.ou_seconds) + one.shot_offset**2 + noise)
    label = block_diag(*label_blocks)
    starts = np.cumsum([0, *(len(clip.times) for clip in clips)])
    observed = np.concatenate([start + one.indices for start, one in zip(starts, observations, strict=False)])
    rows, targets = [np.eye(len(label))[observed]], [np.concatenate([one.labels for one in observations])]
    noise = [np.diag(np.maximum(np.concatenate([one.errors for one in observations]), 1e-3) ** 2)]
    values = np.concatenate([clip.evidence[..., 0] for clip in clips])
    for source, one in enumerate(evidence):
        known = np.isfinite(values[:, source])
        rows.append(one.gain * np.eye(len(label))[known])
        targets.append(values[known, source] - one.bias)
        # The part of the offset that belongs to the person is common to all frames of all tracks.
        noise.append((block_diag(*error_blocks[source]) + one.offset**2)[np.ix_(known, known)])
    design, cross = np.concatenate(rows), label @ np.concatenate(rows).T
    joint = design @ cross + block_diag(*noise)
    mean = cross @ np.linalg.solve(joint, np.concatenate(targets))
    covariance = label - cross @ np.linalg.solve(joint, cross.T)
    parts = [slice(start, stop) for start, stop in zip(starts[:-1], starts[1:], strict=True)]
    return mean, covariance, parts


def draw_person(rng, parameters, labelled=LABELLED):
    """Encoded tracks with random evidence, and the given labels of each track and axis."""
    clips, observations = [], []
    for frames, indices in zip(FRAMES, labelled, strict=True):
        evidence = rng.normal(0, 0.4, (frames, len(parameters.sources), 2))
        evidence[2:6, 1:] = np.nan  # The second source has no value at these frames.
        clips.append(EncodedClip(torch.zeros(frames, 1), np.cumsum(rng.uniform(0.02, 0.3, frames)), evidence))
        errors = rng.choice([0.0, 0.05, 0.2], len(indices))
        labels = rng.uniform(-1, 1, (2, len(indices)))
        observations.append([LabelObservations(np.array(indices, int), values, errors) for values in labels])
    return clips, observations


def calibration_of(parameters) -> Calibration:
    return Calibration(AxisCalibration(parameters), AxisCalibration(parameters))


def models_of(calibration, clips):
    return [calibration.models(clip.times, clip.evidence) for clip in clips]


@pytest.mark.parametrize("parameters", [ONE_SOURCE, TWO_SOURCES])
@pytest.mark.parametrize("labelled", [LABELLED, ([],) * 4, ([5], [], [], [])])
def test_shared_posteriors_equal_the_dense_posterior_of_all_tracks(all_evidence_only, rng, parameters, labelled):
    clips, observations = draw_person(rng, parameters, labelled)
    calibration = calibration_of(parameters)
    found = person_posteriors(calibration, models_of(calibration, clips), observations)
    expected = dense_posteriors(parameters, clips, [axes[0] for axes in observations])
    for (posterior, _), (mean, covariance) in zip(found, expected, strict=True):
        np.testing.assert_allclose(posterior.mean, mean, atol=1e-6)
        scale = posterior.variance_scale  # of tracks with several labels
        np.testing.assert_allclose(posterior.variance / scale, np.diag(covariance), atol=1e-7)
        np.testing.assert_allclose(posterior.covariance(np.array([0, 7])) / scale, covariance[:, [0, 7]], atol=1e-6)


@pytest.mark.parametrize("parameters", [ONE_SOURCE, TWO_SOURCES])
@pytest.mark.parametrize("labelled", [([3], [], [11], [0, 24]), ([],) * 4])
@pytest.mark.parametrize("incremental", [False, True])
def test_offsets_give_the_covariance_between_tracks(all_evidence_only, rng, parameters, labelled, incremental):
    clips, observations = draw_person(rng, parameters, labelled)
    calibration = calibration_of(parameters)
    models = models_of(calibration, clips)
    if incremental:
        models = [IncrementalClip(clip, calibration).models for clip in clips]
    posteriors = person_posteriors(calibration, models, observations)
    offset, _ = person_offsets(calibration, models, observations, posteriors)
    _, covariance, parts = dense_posterior(parameters, clips, [axes[0] for axes in observations])
    stds = [np.sqrt(by_axis[0].variance_scale) for by_axis in posteriors]
    for number, part in enumerate(parts):
        for other, other_part in enumerate(parts[:number]):
            between = offset.covariances[number] @ np.linalg.solve(offset.variance, offset.covariances[other].T)
            expected = stds[number] * stds[other] * covariance[part, other_part]
            np.testing.assert_allclose(between, expected, atol=1e-6)


def test_single_track_is_labelled_as_without_sharing(rng):
    clips, observations = draw_person(rng, TWO_SOURCES)
    calibration = calibration_of(TWO_SOURCES)
    (found,) = person_posteriors(calibration, models_of(calibration, clips[:1]), observations[:1])
    expected = calibration.posteriors(clips[0].times, clips[0].evidence, observations[0])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.variance, other.variance)


def test_incremental_posteriors_of_a_person_equal_those_from_scratch(rng):
    clips, observations = draw_person(rng, TWO_SOURCES, ([3, 9, 17, 18], [], [11], [0, 24, 4]))
    calibration = calibration_of(TWO_SOURCES)
    models = [IncrementalClip(clip, calibration).models for clip in clips]
    person_posteriors(
        calibration, models, [[one._replace(labels=-one.labels) for one in axes] for axes in observations]
    )
    found = person_posteriors(calibration, models, observations)
    expected = person_posteriors(calibration, models_of(calibration, clips), observations)
    for one, other in zip(sum(found, []), sum(expected, []), strict=True):
        np.testing.assert_allclose(one.mean, other.mean, atol=1e-5)
        np.testing.assert_allclose(one.variance, other.variance, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-4)


def test_noise_of_a_singular_message_is_the_limit_of_small_precisions():
    variances = np.array([0.04, 0.09])
    message = OffsetGaussian(np.array([[9.0, 0.0], [0.0, 0.0]]), np.array([2.0, 0.0]))
    noisy = message.with_noise(variances)
    assert noisy.precision[0, 0] == pytest.approx(1 / (1 / 9 + 0.04)) and noisy.precision[1, 1] == 0
    assert noisy.information[0] / noisy.precision[0, 0] == pytest.approx(2 / 9)
    full = OffsetGaussian(np.array([[9.0, 2.0], [2.0, 3.0]]), np.array([2.0, -1.0])).with_noise(variances)
    covariance = np.linalg.inv(np.array([[9.0, 2.0], [2.0, 3.0]])) + np.diag(variances)
    np.testing.assert_allclose(full.precision, np.linalg.inv(covariance))


def measured(values, precision):
    """Factors of an offset plus noise, each from one measured value."""
    return [OffsetGaussian(np.array([[precision]]), np.array([precision * value])) for value in values]


def test_likelihood_of_the_noise_is_that_of_the_measured_values():
    values, precision, prior = np.array([0.3, -0.2, 0.1]), 25.0, OffsetGaussian.independent([0.4])

    def dense(variance):
        covariance = np.full((3, 3), 0.4**2) + np.eye(3) * (variance + 1 / precision)
        return multivariate_normal.logpdf(values, np.zeros(3), covariance)

    found = _log_evidence(measured(values, precision), prior, np.array([[0.01], [0.2]]))
    assert found[1] - found[0] == pytest.approx(dense(0.2) - dense(0.01))


def test_estimated_noise_grows_with_the_differences_and_is_the_calibrated_one_without_information():
    prior, calibrated = OffsetGaussian.independent([0.4]), np.array([0.1**2])
    differences = (0, 0.01, 0.1, 0.3)
    variances = [
        estimated_noise(measured(np.array([-1, 1, -1, 1]) * difference, 1e4), prior, calibrated)[0]
        for difference in differences
    ]
    assert (np.diff(variances) > 0).all() and variances[0] < calibrated[0] / 4 and variances[-1] > 4 * calibrated[0]
    assert estimated_noise(measured([0, 0, 0], 0.0), prior, calibrated) == pytest.approx(calibrated)


def test_tracks_without_labels_have_the_dense_posterior_of_the_estimated_noise(all_evidence_only, rng, monkeypatch):
    monkeypatch.setattr(people, "estimated_noise", lambda factors, prior, calibrated: 4 * calibrated)
    clips, observations = draw_person(rng, ONE_SOURCE)
    source = ONE_SOURCE.sources[0]
    estimated = ONE_SOURCE._replace(sources=(source._replace(shot_offset=2 * source.shot_offset),))
    calibration, given = calibration_of(ONE_SOURCE), [axes[0] for axes in observations]
    found = person_posteriors(calibration, models_of(calibration, clips), observations)
    by_labelled = {True: dense_posteriors(ONE_SOURCE, clips, given), False: dense_posteriors(estimated, clips, given)}
    for track, ((posterior, _), indices) in enumerate(zip(found, LABELLED, strict=True)):
        mean, covariance = by_labelled[len(indices) > 0][track]
        np.testing.assert_allclose(posterior.mean, mean, atol=1e-6)
        np.testing.assert_allclose(posterior.variance / posterior.variance_scale, np.diag(covariance), atol=1e-7)


def test_suggestions_know_how_far_the_shots_of_a_person_differ(all_evidence_only, rng, monkeypatch):
    clips, observations = draw_person(rng, ONE_SOURCE, ([5], [5, 20], [6], []))
    source = ONE_SOURCE.sources[0]
    threefold = ONE_SOURCE._replace(sources=(source._replace(shot_offset=3 * source.shot_offset),))

    def covariance_of_unlabelled_track(parameters, factor):
        monkeypatch.setattr(people, "estimated_noise", lambda factors, prior, calibrated: factor**2 * calibrated)
        calibration = calibration_of(parameters)
        models = models_of(calibration, clips)
        posteriors = person_posteriors(calibration, models, observations)
        return person_offsets(calibration, models, observations, posteriors)[0].covariances[3]

    estimated = covariance_of_unlabelled_track(ONE_SOURCE, 3)
    np.testing.assert_allclose(estimated, covariance_of_unlabelled_track(threefold, 1))
    assert (np.abs(estimated) > 2 * np.abs(covariance_of_unlabelled_track(ONE_SOURCE, 1))).all()


def test_tracks_may_have_different_sources(all_evidence_only, rng):
    clips, observations = draw_person(rng, TWO_SOURCES)
    clips[1].evidence[:, 1] = np.nan
    calibration = calibration_of(TWO_SOURCES)
    found = person_posteriors(calibration, models_of(calibration, clips), observations)
    expected = dense_posteriors(TWO_SOURCES, clips, [axes[0] for axes in observations])
    for (posterior, _), (mean, _) in zip(found, expected, strict=True):
        np.testing.assert_allclose(posterior.mean, mean, atol=1e-6)


def test_labels_of_one_track_make_the_others_surer(rng):
    clips, observations = draw_person(rng, PARAMETERS, ([], [], [], []))
    models = models_of(DEFAULT_CALIBRATION, clips)
    before = person_posteriors(DEFAULT_CALIBRATION, models, observations)
    observations[0] = [LabelObservations(np.array([4]), np.array([0.2]), np.zeros(1))] * 2
    after = person_posteriors(DEFAULT_CALIBRATION, models, observations)
    for track in range(1, 4):
        assert (after[track][0].variance < before[track][0].variance).all()


def test_labels_of_all_tracks_weigh_the_explanations_of_each(rng):
    clips, observations = draw_person(rng, ONE_SOURCE)
    # No label is an outlier, so that no label is left out of the predictions of the others.
    observations = [[one._replace(errors=np.full_like(one.errors, 0.3)) for one in axes] for axes in observations]
    calibration = calibration_of(ONE_SOURCE)
    models = models_of(calibration, clips)
    found = person_posteriors(calibration, models, observations)
    logs = np.log([explained.explanation.prior for explained in models[0][0]])
    for track, axes in enumerate(observations):
        for number in range(len(axes[0].indices)):
            others = [given[0] for given in observations]
            others[track] = LabelObservations(*(np.delete(values, number) for values in axes[0]))
            mean, covariance = dense_posteriors(ONE_SOURCE, clips, others)[track]
            frame, label, error = (values[number] for values in axes[0])
            variance = covariance[frame, frame] + ONE_SOURCE.process.nugget**2 + error**2
            density = np.exp(-((label - mean[frame]) ** 2) / variance / 2) / np.sqrt(2 * np.pi * variance)
            logs[0] += np.log((1 - mixture.CLIP_OUTLIER_RATE) * density + mixture.CLIP_OUTLIER_RATE / 2)
        if len(axes[0].indices):
            by_time, nugget = models[track][0][-1], ONE_SOURCE.process.nugget
            logs[1] += mixture.label_log_likelihoods(by_time, by_time.posterior(axes[0]), axes[0], nugget).sum()
    expected = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
    for posterior, _ in found:
        np.testing.assert_allclose(posterior.weights, expected, rtol=1e-4)
    assert 0.01 < expected[0] < 0.99


def test_a_source_that_is_missing_in_a_track_says_as_much_about_it_as_time_only(rng):
    clips, observations = draw_person(rng, TWO_SOURCES, ([3, 17], [], [11, 2], []))
    clips[0].evidence[:, 1] = np.nan
    calibration = calibration_of(TWO_SOURCES)
    first, second, *_ = person_posteriors(calibration, models_of(calibration, clips), observations)
    assert len(first[0].weights) == 2 and len(second[0].weights) == 4
    assert first[0].weights.sum() == pytest.approx(1) and second[0].weights.sum() == pytest.approx(1)


def test_tracks_without_labels_learn_that_the_face_is_misread(rng):
    simulated = [simulate_misread_clip(rng) for _ in range(3)]
    anchors = [anchors_at(clip, range(20, 300, 40)) for clip in simulated[:2]] + [None]
    calibration = accurate_calibration()
    models = models_of(calibration, [encoded(clip) for clip in simulated])
    observations = [observations_of(given) for given in anchors]
    posteriors = person_posteriors(calibration, models, observations)
    assert all(posterior.misread for by_axis in posteriors for posterior in by_axis)
    means = np.stack([posterior.mean for posterior in posteriors[2]], 1)
    inside = np.abs(means - simulated[2].labels) <= calibration.half_widths(posteriors[2])
    assert inside.mean() > 0.75
    few = [observations_of(anchors_at(simulated[0], [20])), *observations[2:] * 2]
    assert not any(posterior.misread for posterior in person_posteriors(calibration, models, few)[2])


def test_a_track_without_one_of_the_sources_speaks_for_the_other_source(rng):
    """The first source is accurate, and the second useless. One track has no value of the second source."""
    axis = AxisCalibration(ONE_SOURCE).replace_sources(ONE_SOURCE.sources * 2)
    calibration, times, size = Calibration(axis, axis), np.arange(200) / 10, 200
    tracks = []
    for useless in (rng.normal(0, 0.6, size), np.full(size, np.nan)):
        labels = np.cumsum(rng.normal(0, 0.12, size))
        labels = np.clip(labels - labels.mean(), -1, 1)
        evidence = np.stack((labels + rng.normal(0, 0.03, size), useless), 1)
        tracks.append((labels, calibration.models(times, np.stack((evidence, evidence), 2))))
    indices = [np.array([10, 60, 110]), np.arange(5, 195, 15)]
    given = [
        [LabelObservations(at, labels[at], np.zeros(len(at)))] * 2
        for at, (labels, _) in zip(indices, tracks, strict=True)
    ]
    labels, models = tracks[0]
    shared = person_posteriors(calibration, [models, tracks[1][1]], given)[0][0]
    alone = MixturePosterior(models[0], given[0][0])
    assert shared.weights.argmax() == 1  # the explanation by the first source alone
    errors = [float(np.sqrt(np.mean((posterior.mean - labels) ** 2))) for posterior in (shared, alone)]
    assert errors[0] < 1.1 * errors[1]
