"""Adapts uncalibrated sources of evidence to the given labels of the clips that are to be labelled.

This is for absolute evidence that was not calibrated on validation clips. Gain, bias, offset and error of a source are
estimated from its values at labelled frames, with priors that have the weight of a few labels. With few labels the
estimates therefore stay near the priors, and many labels override them. Continuous ratings are adapted in
`utils.labelling.raters.rater`, since they also have a lag.
"""

from typing import NamedTuple

import numpy as np

from utils.labelling.calibration.calibration import Calibration
from utils.labelling.posterior.activity import KNOWN_SECONDS
from utils.labelling.posterior.mixture import PRIOR_OF_TIME_ONLY
from utils.labelling.posterior.process import SourceParameters, scale_errors
from utils.labelling.types import Anchors, EncodedClip

GAIN_STD, BIAS_STD = 0.5, 0.5  # standard deviations of the priors of gain, about 1, and bias, about 0
SMALLEST_GAIN = 0.05  # A source whose gain is smaller says nothing about the label.
PRIOR_ERROR, PRIOR_OFFSET = 0.22, 0.25  # prior standard deviations of the error within a clip, and of the offset
PRIOR_LABELS = 4  # weight of the priors of both, in labels and in clips
LABEL_STD = 0.35  # usual standard deviation of labels; an uncertain gain adds an error in proportion to it
OU_SHARE = 0.8  # share of the variance of the error within a clip that is correlated over time
OU_SECONDS = 0.3
SMALLEST_EXPONENT = 1e-3
SHARED_ERROR_SCALE = 1.25  # factor on the errors of several sources, as fitted on rendered people
ITERATIONS = 5


class LabelledEvidence(NamedTuple):
    """The evidence at the labelled frames of a clip.

    Attributes:
        evidence: (A, E, 2) evidence of E sources; NaN = no value.
        labels: (A, 2) given labels.
    """

    evidence: np.ndarray
    labels: np.ndarray


def labelled_evidence(clip: EncodedClip, anchors: Anchors) -> LabelledEvidence:
    """The evidence at anchors that are frames of the clip, interpolated where it has no value at the frame itself.

    It is not interpolated further than KNOWN_SECONDS from a value on either side.
    """
    times, columns = clip.times[anchors.indices], clip.evidence.reshape(len(clip.times), -1)
    evidence = np.full((len(times), columns.shape[1]), np.nan)
    for column, values in enumerate(columns.T):
        known = np.flatnonzero(np.isfinite(values))
        if len(known):
            after = np.searchsorted(known, anchors.indices).clip(max=len(known) - 1)
            before = (np.searchsorted(known, anchors.indices, "right") - 1).clip(min=0)
            seconds = np.stack([np.abs(times - clip.times[known[nearest]]) for nearest in (before, after)]).max(0)
            interpolated = np.interp(times, clip.times[known], values[known])
            evidence[:, column] = np.where(seconds <= KNOWN_SECONDS, interpolated, np.nan)
    return LabelledEvidence(evidence.reshape(len(times), *clip.evidence.shape[1:]), anchors.labels)


def fit_sources(calibration: Calibration, uncalibrated: list[int], clips: list[LabelledEvidence]) -> Calibration:
    """Fits some sources of evidence to the given labels.

    Args:
        calibration: parameters of all sources.
        uncalibrated: indices of the sources to fit.
        clips: the labelled frames of all clips.
    """
    axes = []
    for column, axis in enumerate(calibration.axes):
        evidence = list(axis.with_evidence.sources)
        for index in uncalibrated:
            fitted = fit_source([(clip.evidence[:, index, column], clip.labels[:, column]) for clip in clips])
            evidence[index] = scale_errors(fitted, SHARED_ERROR_SCALE) if len(evidence) > 1 else fitted
        axes.append(axis.replace_sources(evidence))
    return calibration.replace_axes(axes)


def weaken_inaccurate_evidence(calibration: Calibration) -> Calibration:
    """Makes labels follow evidence less, the less of the labels it explains.

    The explanation by time alone gets a larger prior weight. The activity of the evidence has less effect, since it is
    mostly that of errors. Example: sources that explain 70 % of the variance of labels give time alone the prior weight
    0.3, and an activity exponent of 0.5 becomes 0.35.
    """
    axes = []
    for axis in calibration.axes:
        process, share = axis.with_evidence.process, _explained_share(axis.with_evidence.sources)
        process = process._replace(activity_exponent=max(share * process.activity_exponent, SMALLEST_EXPONENT))
        parameters, prior = axis.with_evidence._replace(process=process), max(1 - share, PRIOR_OF_TIME_ONLY)
        axes.append(axis._replace(with_evidence=parameters, time_only_prior=prior))
    return calibration.replace_axes(axes)


def _explained_share(evidence: tuple[SourceParameters, ...]) -> float:
    """Share of the variance of labels that sources with independent errors explain within a clip."""
    precision = sum(source.gain**2 / (source.ou**2 + source.observation_noise**2) for source in evidence)
    return precision / (precision + LABEL_STD**-2)


def fit_source(clips: list[tuple[np.ndarray, np.ndarray]]) -> SourceParameters:
    """Fits gain, bias, offset and error of one source on one axis.

    Evidence = gain · label + bias + offset of the clip + error. Gain and bias are the means of their posterior given
    the standard deviations of offset and error, which are estimated in turn from the residuals.

    Args:
        clips: evidence (A,) and given labels (A,) of each clip; NaN = no value.
    """
    pairs = []
    for values, labels in clips:
        known = np.isfinite(values) & np.isfinite(labels)
        if known.any():
            pairs.append((values[known], labels[known]))
    error, offset = PRIOR_ERROR, PRIOR_OFFSET
    mean, covariance = np.array([1.0, 0.0]), np.diag([GAIN_STD**2, BIAS_STD**2])
    for _ in range(ITERATIONS if pairs else 0):
        whitened = [_whiten(values, labels, error, offset) for values, labels in pairs]
        mean, covariance, _ = gain_and_bias(whitened)
        error, offset = _standard_deviations(pairs, mean)
    gain = max(float(mean[0]), SMALLEST_GAIN)
    error = float(np.sqrt(error**2 + covariance[0, 0] * LABEL_STD**2))
    return SourceParameters(
        ou=error * OU_SHARE**0.5,
        ou_seconds=OU_SECONDS,
        offset=float(np.sqrt(offset**2 + covariance[1, 1])),
        observation_noise=error * (1 - OU_SHARE) ** 0.5,
        gain=gain,
        bias=float(mean[1]),
    )


def gain_and_bias(
    whitened: list[tuple[np.ndarray, np.ndarray]], fit_bias: bool = True
) -> tuple[np.ndarray, np.ndarray, float]:
    """Posterior of gain and bias, by generalised least squares.

    Args:
        whitened: for each clip, design matrix (A, 2), of labels and ones, and values (A,), both multiplied from the
            left by an inverse square root of the covariance of the values.
        fit_bias: whether to estimate the bias; otherwise it is 0.

    Returns:
        Mean (2,), covariance (2, 2), and the logarithm of the likelihood of the whitened values up to a constant.
    """
    prior_mean, precision = np.array([1.0, 0.0]), np.diag([GAIN_STD**-2, BIAS_STD**-2 if fit_bias else 1e9])
    information, squares = precision @ prior_mean, float(prior_mean @ precision @ prior_mean)
    for design, values in whitened:
        precision = precision + design.T @ design
        information = information + design.T @ values
        squares += float(values @ values)
    covariance = np.linalg.inv(precision)
    mean = covariance @ information
    log_likelihood = (float(mean @ information) - squares - np.linalg.slogdet(precision)[1]) / 2
    return mean, covariance, log_likelihood


def _whiten(values: np.ndarray, labels: np.ndarray, error: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Whitened design matrix and values, see `gain_and_bias`.

    With J the matrix of ones, the inverse square root of error² I + offset² J is (I - share J / A) / error.
    """
    columns = np.stack((labels, np.ones(len(labels)), values), 1)
    share = 1 - error / np.sqrt(error**2 + len(labels) * offset**2)
    whitened = (columns - share * columns.mean(0)) / error
    return whitened[:, :2], whitened[:, 2]


def _standard_deviations(pairs: list[tuple[np.ndarray, np.ndarray]], mean: np.ndarray) -> tuple[float, float]:
    """Standard deviations of the error within a clip, and of the offset, shrunk towards their priors."""
    residuals = [values - mean[0] * labels - mean[1] for values, labels in pairs]
    within = sum(((errors - errors.mean()) ** 2).sum() for errors in residuals)
    degrees = sum(len(errors) - 1 for errors in residuals)
    error = np.sqrt((PRIOR_LABELS * PRIOR_ERROR**2 + within) / (PRIOR_LABELS + degrees))
    # The mean residual of a clip scatters by the offset and by the mean of its errors.
    excess = sum(max(errors.mean() ** 2 - error**2 / len(errors), 0) for errors in residuals)
    offset = np.sqrt((PRIOR_LABELS * PRIOR_OFFSET**2 + excess) / (PRIOR_LABELS + len(residuals)))
    return float(error), float(offset)


PRIOR_SOURCE = fit_source([])  # parameters of an uncalibrated absolute source before the first label
