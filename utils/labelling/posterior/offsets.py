"""Gaussian distributions of the constant errors of the evidence, the offsets, in information form.

The evidence of a track says something about its offsets, and so do the given labels. Both together are the likelihood
of the offsets, a Gaussian factor whose precision is singular as long as nothing is known. Factors are multiplied to
combine tracks (`utils.labelling.people`).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

NOISE_SCALES = np.geomspace(1 / 4, 4, 9)
LOG_SCALE_STD = 0.6
"""Prior standard deviation of the logarithm of the scale in `estimated_noise`, chosen on rendered people."""


class OffsetGaussian(NamedTuple):
    """A Gaussian factor of the offsets of E sources of evidence, up to a constant.

    Attributes:
        precision: (E, E) precision matrix, which may be singular.
        information: (E,) precision times mean.
    """

    precision: np.ndarray
    information: np.ndarray

    @classmethod
    def independent(cls, stds: Iterable[float]) -> "OffsetGaussian":
        """The distribution of independent offsets of mean 0, given the standard deviation of each."""
        precisions = np.array(list(stds), float) ** -2
        return cls(np.diag(precisions), np.zeros(len(precisions)))

    @classmethod
    def product(cls, factors: "Iterable[OffsetGaussian]") -> "OffsetGaussian":
        """The product of one or several factors of the same sources."""
        precisions, informations = zip(*factors, strict=True)
        return cls(np.sum(precisions, axis=0), np.sum(informations, axis=0))

    def with_noise(self, variances: np.ndarray) -> "OffsetGaussian":
        """The factor of offset + independent noise of mean 0, given the noise variance (E,) of each source.

        The covariance grows by the noise variance. For a singular precision P, which has no covariance, the new
        precision is P · (I + diag(variances) · P)⁻¹.
        """
        shrink = np.linalg.inv(np.eye(len(variances)) + variances[:, None] * self.precision)
        precision = self.precision @ shrink
        return OffsetGaussian((precision + precision.T) / 2, shrink.T @ self.information)

    def of_sources(self, sources: list[int]) -> "OffsetGaussian":
        """The marginal distribution of some sources, given their indices; the precision must not be singular."""
        covariance = np.linalg.inv(self.precision)
        mean = covariance @ self.information
        precision = np.linalg.inv(covariance[np.ix_(sources, sources)])
        return OffsetGaussian(precision, precision @ mean[sources])

    def among(self, sources: list[int], count: int) -> "OffsetGaussian":
        """The factor of `count` sources, of which this one's have the indices `sources`; it is flat in the others."""
        precision, information = np.zeros((count, count)), np.zeros(count)
        precision[np.ix_(sources, sources)], information[sources] = self.precision, self.information
        return OffsetGaussian(precision, information)


def estimated_noise(
    factors: Sequence[OffsetGaussian], prior: OffsetGaussian, calibrated_variances: np.ndarray
) -> np.ndarray:
    """(E,) estimated variances of the noise by which the factors of one offset differ.

    The standard deviations are the calibrated ones times a common scale, whose logarithm is normally distributed about
    0. Its posterior mean is taken, so that factors that say nothing leave the calibrated variances.

    Args:
        factors: each is of the offset plus noise of its own.
        prior: distribution of the offset; its precision must not be singular.
        calibrated_variances: (E,) the variances at a scale of 1.
    """
    log_scales = np.log(NOISE_SCALES)
    log_evidence = _log_evidence(factors, prior, np.outer(NOISE_SCALES**2, calibrated_variances))
    log_weights = log_evidence - (log_scales / LOG_SCALE_STD) ** 2 / 2
    weights = np.exp(log_weights - log_weights.max())
    return np.exp(2 * weights @ log_scales / weights.sum()) * calibrated_variances


def _log_evidence(factors: Sequence[OffsetGaussian], prior: OffsetGaussian, variances: np.ndarray) -> np.ndarray:
    """(S,) log-likelihood, up to a constant, of S vectors of noise variances (S, E)."""
    precisions, informations = (np.stack(parts) for parts in zip(*factors, strict=True))  # (T, E, E), (T, E)
    # As in `with_noise`: growth is I + diag(variances) · precision, of shape (S, T, E, E).
    growth = np.eye(len(prior.information)) + variances[:, None, :, None] * precisions
    shrink = np.linalg.inv(growth)
    noise = (shrink @ (variances[:, None, :] * informations)[..., None])[..., 0]  # expected, if the offset is 0
    squares = (informations * noise).sum((1, 2)) - np.linalg.slogdet(growth)[1].sum(1)
    precision = prior.precision + (precisions @ shrink).sum(1)
    information = prior.information + (shrink.swapaxes(-1, -2) @ informations[..., None])[..., 0].sum(1)
    offset = np.linalg.solve(precision, information[..., None])[..., 0]
    return (squares + (information * offset).sum(1) - np.linalg.slogdet(precision)[1]) / 2


class PersonOffset(NamedTuple):
    """The offset of a person in all tracks of the person, on one axis, given all evidence and labels.

    Attributes:
        variance: (E, E) posterior covariance of the offsets of the E sources of evidence.
        covariances: for each track, (N, E) posterior covariances of f at its N frames with the offsets.
    """

    variance: np.ndarray
    covariances: Sequence[np.ndarray]
