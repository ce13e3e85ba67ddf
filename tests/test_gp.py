"""The Gaussian process: its two forms against each other, and the posterior against dense matrices."""

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag
from simulated_clips import PARAMETERS

from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION
from utils.labelling.posterior.activity import activity, combined_evidence
from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.posterior.process import (
    LEVEL_STD,
    GPParameters,
    ProcessParameters,
    SourceParameters,
    evidence_covariance,
    initial_precision,
    label_covariance,
    noise_inflation,
    time_steps,
    transitions,
)
from utils.labelling.types import NO_LABELS, LabelObservations


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def dense_posterior(parameters, times, evidence, observations):
    """Mean and covariance of f, from the full covariance matrices of the process, for evidence (N, E)."""
    process = parameters.process
    distance, earlier = np.abs(times[:, None] - times), np.minimum(times[:, None], times) - times[0]
    rate = np.sqrt(3) * distance / process.matern_seconds
    activities = activity(times, combined_evidence(parameters, times, evidence)) if evidence.shape[1] else 1.0
    amplitude = process.matern * np.broadcast_to(activities, len(times)) ** process.activity_exponent
    label = LEVEL_STD**2 + process.wiener**2 * earlier
    label += np.outer(amplitude, amplitude) * (1 + rate) * np.exp(-rate)
    observed = observations.indices
    rows, values = [np.eye(len(times))[observed]], [observations.labels]
    noise = [np.diag(np.maximum(observations.errors, 1e-3) ** 2)]
    for one, column in zip(parameters.sources, evidence.T, strict=True):
        known = np.isfinite(column)
        rows.append(one.gain * np.eye(len(times))[known])
        values.append(column[known] - one.bias)
        error = one.ou**2 * np.exp(-distance / one.ou_seconds) + one.offset**2
        error += one.observation_noise**2 * np.diag(noise_inflation(times))
        noise.append(error[np.ix_(known, known)])
    design, values = np.concatenate(rows), np.concatenate(values)
    joint = design @ label @ design.T + block_diag(*noise)
    cross = label @ design.T
    return cross @ np.linalg.solve(joint, values), label - cross @ np.linalg.solve(joint, cross.T)


def state_space_covariance(parameters, times):
    """(N, S, N, S) covariance of all S states, by propagation from frame to frame."""
    transition, process_noise = transitions(parameters, time_steps(times))
    first = np.linalg.inv(initial_precision(parameters))
    covariance = np.zeros((len(times), len(first), len(times), len(first)))
    covariance[0, :, 0] = first
    for frame in range(1, len(times)):
        step = transition[frame - 1]
        for earlier in range(frame):
            covariance[frame, :, earlier] = step @ covariance[frame - 1, :, earlier]
            covariance[earlier, :, frame] = covariance[frame, :, earlier].T
        covariance[frame, :, frame] = step @ covariance[frame - 1, :, frame - 1] @ step.T + process_noise[frame - 1]
    return covariance


def test_state_space_model_and_covariances_describe_the_same_process(rng):
    times = np.concatenate(([0], np.cumsum(rng.uniform(0.02, 0.6, 29))))
    activities = rng.uniform(0.2, 3, 30)
    process, one = PARAMETERS.process, PARAMETERS.sources[0]._replace(gain=0.7)
    states, (zeros, ones) = state_space_covariance(PARAMETERS, times), (np.zeros(30), np.ones(30))
    label_design = np.stack((ones, activities**process.activity_exponent, zeros, zeros), 1)
    evidence_design = one.gain * label_design + np.array([0, 0, 0, 1])
    label = label_covariance(process, torch.from_numpy(times), torch.from_numpy(activities))
    inflation = torch.from_numpy(noise_inflation(times))
    evidence = evidence_covariance(one, label, torch.from_numpy(times), inflation).numpy()
    projected = np.einsum("nsmt,ns,mt->nm", states, label_design, label_design)
    np.testing.assert_allclose(projected, label.numpy(), rtol=1e-10)
    projected = np.einsum("nsmt,ns,mt->nm", states, evidence_design, evidence_design)
    projected += one.offset**2 + one.observation_noise**2 * np.diag(noise_inflation(times))
    np.testing.assert_allclose(projected, evidence, rtol=1e-10)


TWO_SOURCES = PARAMETERS._replace(
    sources=(*PARAMETERS.sources, SourceParameters(0.2, 2.0, 0.1, 0.3, gain=0.6, bias=0.3))
)


@pytest.mark.parametrize("parameters", [PARAMETERS, TWO_SOURCES, PARAMETERS._replace(sources=())])
@pytest.mark.parametrize("indices", [[], [0], [39], [3, 20, 21], list(range(40))])
def test_posterior_equals_the_dense_posterior(rng, parameters, indices):
    times, sources = np.cumsum(rng.uniform(0.02, 0.3, 40)), len(parameters.sources)
    evidence, errors = rng.normal(0, 0.4, (40, sources)), rng.choice([0.0, 0.05, 0.2], len(indices))
    evidence[10:15, 1:] = np.nan  # The second source has no value at these frames.
    observations = LabelObservations(np.array(indices, int), rng.uniform(-1, 1, len(indices)), errors)
    posterior = GPPosterior(parameters, times, evidence, observations)
    mean, covariance = dense_posterior(parameters, times, evidence, observations)
    np.testing.assert_allclose(posterior.mean, mean, atol=1e-7)
    np.testing.assert_allclose(posterior.variance, np.diag(covariance), atol=1e-8)
    columns = np.array([0, 7, 39])
    np.testing.assert_allclose(posterior.covariance(columns), covariance[:, columns], atol=1e-7)


def test_leave_one_out_prediction_equals_the_posterior_without_the_label(rng):
    times, evidence, indices = np.arange(30) / 25, rng.normal(0, 0.3, (30, 1)), np.array([2, 11, 12, 27])
    observations = LabelObservations(indices, rng.uniform(-1, 1, 4), np.array([0.0, 0.1, 0.0, 0.05]))
    means, variances = GPPosterior(PARAMETERS, times, evidence, observations).loo_predictive()
    for label in range(4):
        others = LabelObservations(*(np.delete(column, label) for column in observations))
        posterior = GPPosterior(PARAMETERS, times, evidence, others)
        assert means[label] == pytest.approx(posterior.mean[indices[label]], abs=1e-5)
        assert variances[label] == pytest.approx(posterior.variance[indices[label]], abs=1e-5)


def test_wiener_process_without_evidence_gives_linear_interpolation():
    parameters = GPParameters(ProcessParameters(0.5, 1e-3, 1.0, 1e-3, 0.01))
    times, indices, labels = np.arange(50) / 25, np.array([4, 20, 41]), np.array([0.3, -0.5, 0.1])
    observations = LabelObservations(indices, labels, np.zeros(3))
    posterior = GPPosterior(parameters, times, np.empty((50, 0)), observations)
    line = np.interp(times, times[indices], labels)
    np.testing.assert_allclose(posterior.mean[4:], line[4:], atol=5e-3)


def test_source_without_any_value_changes_nothing(rng):
    times, evidence = np.arange(40) / 25, rng.normal(0, 0.4, (40, 2))
    evidence[:, 1] = np.nan
    observations = LabelObservations(np.array([3, 30]), np.array([0.2, -0.4]), np.zeros(2))
    two, one = (
        GPPosterior(parameters, times, evidence[:, : len(parameters.sources)], observations)
        for parameters in (TWO_SOURCES, PARAMETERS)
    )
    np.testing.assert_allclose(two.mean, one.mean, atol=1e-8)
    np.testing.assert_allclose(two.variance, one.variance, atol=1e-8)


def test_equal_time_stamps_and_single_frames_are_accepted(rng):
    for times in (np.zeros(5), np.array([3.0])):
        posterior = GPPosterior(PARAMETERS, times, rng.normal(size=(len(times), 1)), NO_LABELS)
        assert np.isfinite(posterior.mean).all() and (posterior.variance > 0).all()


@pytest.mark.parametrize("frames", [60, 10_000])
def test_posterior_mean_keeps_the_amplitude_of_the_evidence_in_clips_of_any_length(rng, frames):
    times = np.arange(frames) / 25
    truth = 0.5 * np.sin(2 * times)
    for parameters in (DEFAULT_CALIBRATION.valence.with_evidence, PARAMETERS):
        evidence = truth + rng.normal(0, parameters.sources[0].observation_noise, frames)
        posterior = GPPosterior(parameters, times, evidence[:, None], NO_LABELS)
        assert np.polyfit(truth, posterior.mean, 1)[0] > 0.9 and np.std(posterior.mean - truth) < 0.1


def test_more_frames_per_second_of_the_same_video_do_not_make_the_posterior_more_certain(rng):
    slow, fast = np.arange(100) / 25, np.arange(400) / 100
    evidence = np.sin(fast)[:, None]
    support = LabelObservations(np.array([10, 60]), np.array([0.2, -0.1]), np.zeros(2))
    unlabelled = np.setdiff1d(np.arange(100), support.indices)
    # The errors of the second process are almost independent: four times as many would halve the standard deviation.
    independent = PARAMETERS.sources[0]._replace(ou=0.01, observation_noise=0.3)
    for parameters in (PARAMETERS, PARAMETERS._replace(sources=(independent,))):
        of_fast = GPPosterior(parameters, fast, evidence, support._replace(indices=support.indices * 4)).variance[::4]
        of_slow = GPPosterior(parameters, slow, evidence[::4], support).variance
        np.testing.assert_allclose(np.sqrt(of_fast[unlabelled]), np.sqrt(of_slow[unlabelled]), rtol=0.1)
