"""Likelihood of the parameters of one absolute source of evidence on one axis, on a grid of parameters.

    evidence(t) = gain · (f(t) + offset + error(t)) + bias

Offset and error are multiplied by the gain, so that an estimator with half the gain is as good as the original one. The
likelihood is that of the evidence at a few points of each clip, given what is known of f there: a mean and a
covariance. Bias, offset and error are normally distributed, so they are integrated out, and three parameters remain:
the gain and the standard deviations of error and offset.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

GAIN_LOG_STD = 0.4  # prior standard deviation of the logarithm of the gain, about 0
PRIOR_ERROR, ERROR_LOG_STD = 0.2, 0.35  # prior median of the standard deviation of the error, in label units
PRIOR_OFFSET, OFFSET_LOG_STD = 0.25, 0.5  # prior median of that of the offset, which is constant in a clip
BIAS_STD = 0.5  # prior standard deviation of the bias, about 0
OU_SHARE = 0.8  # share of the variance of the error within a clip that is correlated over time
OU_SECONDS = 0.3  # time scale of this error
GAINS, ERRORS, OFFSETS = np.geomspace(1 / 16, 4, 49), np.geomspace(0.03, 3, 33), np.geomspace(0.05, 1, 7)
COARSE_STEPS = (4, 4, 2)  # The coarse grid is enough for the mean of the likelihood, not for estimates.


class SourceGrid(NamedTuple):
    """Parameters of a source on a grid, all of shape (G,), with their prior.

    Attributes:
        gain: change of the evidence per unit of the label.
        error: standard deviation of the error within a clip, divided by the gain.
        offset: standard deviation of the offset of a clip, divided by the gain.
        log_prior: logarithm of the prior probability.
    """

    gain: np.ndarray
    error: np.ndarray
    offset: np.ndarray
    log_prior: np.ndarray

    @classmethod
    def every(cls, steps: tuple[int, int, int]) -> "SourceGrid":
        """The grid of every n-th gain, error and offset, given n for each; the middle value of each is among them."""
        axes = [
            values[len(values) // 2 % step :: step]
            for values, step in zip((GAINS, ERRORS, OFFSETS), steps, strict=True)
        ]
        gain, error, offset = (parameter.ravel() for parameter in np.meshgrid(*axes, indexing="ij"))
        standardised = (
            np.log(gain) / GAIN_LOG_STD,
            np.log(error / PRIOR_ERROR) / ERROR_LOG_STD,
            np.log(offset / PRIOR_OFFSET) / OFFSET_LOG_STD,
        )
        log_prior = -np.square(standardised).sum(0) / 2
        return cls(gain, error, offset, log_prior - np.logaddexp.reduce(log_prior))


GRID, COARSE_GRID = SourceGrid.every((1, 1, 1)), SourceGrid.every(COARSE_STEPS)


class WhitenedClip(NamedTuple):
    """Evidence at n points of a clip, transformed so that f and error are independent between points.

    Attributes:
        variance: (n,) variance of f, where the error has the variance 1.
        mean: (n,) mean of f.
        values: (n,) evidence.
        ones: (n,) what an offset of 1 adds to the evidence.
        noise_only: number of further points, in which mean, values and ones are 0 and only the error is left.
    """

    variance: np.ndarray
    mean: np.ndarray
    values: np.ndarray
    ones: np.ndarray
    noise_only: int = 0


def whiten_labelled(values: np.ndarray, labels: np.ndarray) -> WhitenedClip:
    """Evidence (A,) at labelled frames, with their labels (A,), if the errors are independent between these frames."""
    # A rotation leaves independent errors independent. This one leaves at most three points that are not 0.
    _, triangle = np.linalg.qr(np.stack((np.ones(len(labels)), labels, values), 1))
    ones, mean, rotated = triangle.T
    return WhitenedClip(np.zeros(len(ones)), mean, rotated, ones, len(labels) - len(ones))


def error_correlation(times: np.ndarray) -> np.ndarray:
    """(n, n) correlation of the error within a clip between points in time (n,), in seconds."""
    correlated = np.exp(-np.abs(times[:, None] - times) / OU_SECONDS)
    return OU_SHARE * correlated + (1 - OU_SHARE) * np.eye(len(times))


def whiten(values: np.ndarray, mean: np.ndarray, covariance: np.ndarray, correlation: np.ndarray) -> WhitenedClip:
    """Evidence (n,) at points where f is known with a mean (n,) and a covariance (n, n).

    Args:
        values: the evidence.
        mean: of f.
        covariance: of f.
        correlation: (n, n) correlation of the error between the points.
    """
    # The eigenvectors V satisfy Vᵀ · correlation · V = 1 and Vᵀ · covariance · V = diag(variance).
    variance, vectors = eigh(covariance, correlation)
    return WhitenedClip(np.maximum(variance, 0), vectors.T @ mean, vectors.T @ values, vectors.sum(0))


class GridLikelihood(NamedTuple):
    """Likelihood at each of the G grid points, and the posterior of the bias there.

    Attributes:
        log_likelihood: (G,) logarithm, up to a constant that depends neither on the grid point nor on the mean of f.
        bias_mean, bias_variance: (G,) mean and variance of the bias.
    """

    log_likelihood: np.ndarray
    bias_mean: np.ndarray
    bias_variance: np.ndarray


def likelihood(clips: Sequence[WhitenedClip], grid: SourceGrid) -> GridLikelihood:
    """The likelihood of the evidence of clips, whose errors and offsets are independent."""
    gain, error = grid.gain[:, None], grid.error[:, None]
    log_likelihood = np.zeros(len(grid.gain))
    precision, information = np.full(len(grid.gain), BIAS_STD**-2), np.zeros(len(grid.gain))  # of the bias
    for clip in clips:
        variance = gain**2 * (clip.variance + error**2)
        residuals = clip.values - gain * clip.mean
        # The sum of bias and offset that fits the clip best, and its variance with that of the offset.
        level_precision = (clip.ones**2 / variance).sum(1)
        level = (clip.ones * residuals / variance).sum(1) / level_precision
        level_variance = 1 / level_precision + (grid.gain * grid.offset) ** 2
        log_likelihood -= np.log(variance).sum(1) / 2 + clip.noise_only * np.log(grid.gain * grid.error)
        log_likelihood -= ((residuals**2 / variance).sum(1) - level**2 * level_precision) / 2
        log_likelihood -= (np.log(level_precision * level_variance) + level**2 / level_variance) / 2
        precision += 1 / level_variance
        information += level / level_variance
    log_likelihood += information**2 / precision / 2 - np.log(precision) / 2
    return GridLikelihood(log_likelihood, information / precision, 1 / precision)
