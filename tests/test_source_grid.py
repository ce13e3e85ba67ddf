"""The likelihood of the parameters of a source on a grid, compared with dense normal densities."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from utils.labelling.calibration.source_grid import (
    BIAS_STD,
    SourceGrid,
    error_correlation,
    likelihood,
    whiten,
    whiten_labelled,
)

GRID = SourceGrid(np.array([0.5, 1.0, 1.3]), np.array([0.1, 0.2, 0.4]), np.array([0.3, 0.1, 0.6]), np.zeros(3))


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def dense_log_density(clips, gain, error, offset):
    """Log-density of the evidence of clips, given as (values, mean of f, covariance of f, error correlation)."""
    values, means = (np.concatenate(parts) for parts in list(zip(*clips, strict=True))[:2])
    covariance, start = np.full((len(values), len(values)), BIAS_STD**2), 0
    for clip_values, _, of_f, correlation in clips:
        part = slice(start, start + len(clip_values))
        covariance[part, part] += gain**2 * (of_f + error**2 * correlation + offset**2)
        start = part.stop
    return multivariate_normal(gain * means, covariance).logpdf(values)


def assert_equal_up_to_a_constant(log_likelihood, clips):
    dense = [dense_log_density(clips, *parameters) for parameters in zip(*GRID[:3], strict=True)]
    np.testing.assert_allclose(log_likelihood - log_likelihood[0], np.array(dense) - dense[0], atol=1e-8)


@pytest.mark.parametrize("counts", [(1,), (2, 3), (7, 1, 4)])
def test_likelihood_at_labelled_frames_is_that_of_dense_covariances(rng, counts):
    clips = [
        (rng.normal(size=count), rng.normal(size=count), np.zeros((count, count)), np.eye(count)) for count in counts
    ]
    assert_equal_up_to_a_constant(likelihood([whiten_labelled(*clip[:2]) for clip in clips], GRID)[0], clips)


def test_likelihood_with_uncertain_labels_is_that_of_dense_covariances(rng):
    clips = []
    for count in (5, 8):
        root = rng.normal(size=(count, count))
        correlation = error_correlation(np.arange(count) * 0.1)
        clips.append((rng.normal(size=count), rng.normal(size=count), root @ root.T, correlation))
    assert_equal_up_to_a_constant(likelihood([whiten(*clip) for clip in clips], GRID)[0], clips)


def test_bias_is_the_mean_residual_of_many_clips(rng):
    clips = []
    for _ in range(200):
        labels = rng.normal(0, 0.3, 4)
        clips.append(whiten_labelled(0.5 * labels + 0.4 + rng.normal(0, 0.1), labels))
    result = likelihood(clips, GRID)
    assert result.bias_mean[0] == pytest.approx(0.4, abs=0.03) and result.bias_variance[0] < 0.02**2
