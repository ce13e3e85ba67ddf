"""Fits continuous ratings: the lag of each rater, and gain, bias, offset and error of the ratings.

For one axis of one clip,

    rating(t) = gain · f(t - lag) + bias + offset + error

with the offset constant in a clip, and the error an Ornstein-Uhlenbeck process. Shifted by the lag, a rating is an
absolute source of evidence like any other. The parameters maximise the likelihood of the rating given the posterior of
f from all other evidence and the given labels. That posterior has a mean and a covariance, so that a rating is not
blamed where the other evidence is uncertain, and regression on its mean does not attenuate the gain. Lag and other
parameters are fitted in turn. Gain and bias have closed-form posteriors, the lag is profiled on a grid.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize

from utils.labelling.calibration.adaptation import LABEL_STD
from utils.labelling.calibration.calibration import Calibration
from utils.labelling.posterior.process import SourceParameters, evidence_covariance
from utils.labelling.raters.rating_windows import (
    GRID_STEP,
    LAG_MEAN,
    LAG_STD,
    LAGS,
    LONGEST_LAG,
    RatedPart,
    RaterLag,
    cut_windows,
    rated_parts,
)
from utils.labelling.types import Anchors, EncodedClip

SWEEPS = 3  # how often each of several raters is fitted, given the others
ROUNDS = 2  # how often lag and other parameters are fitted in turn
SHORTEST_OU, LONGEST_OU = 0.5, 10.0  # seconds; limits of the time scale of the error
PRIOR_RATE = 0.3  # label units per second; root mean square rate of change of f where it is not known
RATE_SECONDS = 1.0  # twice the time scale on which the rate of change of f varies

# Prior means of the parameters, and the prior standard deviation of the logarithm of each.
PRIOR = SourceParameters(ou=0.2, ou_seconds=3.0, offset=0.2, observation_noise=0.05)
FITTED = ("ou", "ou_seconds", "offset", "observation_noise")
LOG_STD = 0.7
GAIN_STD, BIAS_STD = 0.5, 0.5  # prior standard deviations of gain, about 1, and bias, about 0
SMALLEST_GAIN = 0.05  # A rating whose gain is smaller says nothing about the label.

PRIOR_LAG = RaterLag()  # lag of a rater before the fit


def with_lag_error(parameters: SourceParameters, lag_std: float, rate: float = PRIOR_RATE) -> SourceParameters:
    """Add the effect of an uncertain lag to the error of a rating, for a root mean square rate of change of f.

    This error varies as fast as f. Independent noise at 25 frames per second has the same effect on the posterior of f
    if its variance is larger by the number of frames on that time scale.
    """
    variance = (parameters.gain * rate * lag_std) ** 2 * 25 * RATE_SECONDS
    return parameters._replace(observation_noise=float(np.sqrt(parameters.observation_noise**2 + variance)))


PRIOR_RATING_PARAMETERS = with_lag_error(PRIOR, LAG_STD)  # parameters of a rating before the fit


def fit_raters(
    calibration: Calibration, clips: Sequence[tuple[EncodedClip, Anchors | None]], raters: tuple[RaterLag, ...]
) -> tuple[Calibration, tuple[RaterLag, ...]]:
    """Fit all raters, one after the other, each given the other evidence and the labels.

    Without labels and other evidence, the first rater keeps the prior, the others are fitted to those before, and the
    mean of all lags is the prior mean.

    Args:
        calibration: parameters of all sources; the raters are the last ones.
        clips: encoded clips with their anchors; None: without labels. Anchors of other clips are not used.
        raters: the raters, as they are known so far.

    Returns:
        The calibration and the raters, with fitted parameters.
    """
    windows = [window for clip, anchors in clips for window in cut_windows(clip, anchors)]
    first = len(calibration.valence.with_evidence.sources) - len(raters)
    labelled = any(len(observed.indices) for window in windows for observed in window.observations)
    fitted, known = list(raters), list(range(first))
    for _ in range(SWEEPS if len(raters) > 1 else 1):
        for number in range(len(raters)):
            column = first + number
            others = [index for index in known if index != column]
            if others or labelled:
                parts = rated_parts(calibration, windows, fitted, number, others)
                # Only labels and other absolute sources tell the level of f.
                calibration, fitted[number] = _fit_rater(calibration, column, parts, labelled, fitted[number])
            known = sorted({*known, column})
    if not labelled and not first and len(raters) > 1:
        return _assume_mean_lag(calibration, fitted)
    return calibration, tuple(fitted)


def _assume_mean_lag(calibration: Calibration, raters: list[RaterLag]) -> tuple[Calibration, tuple[RaterLag, ...]]:
    """Set the mean lag of raters who are the only evidence to the prior mean, with the uncertainty of the prior.

    All ratings share the error of the mean lag, so that it does not average out. As the model has independent errors,
    each rater gets an error that is larger by the square root of their number.
    """
    shift = LAG_MEAN - float(np.mean([rater.lag for rater in raters]))
    shared = LAG_STD / np.sqrt(len(raters))
    shifted = tuple(
        rater._replace(
            lag=min(max(rater.lag + shift, 0.0), LONGEST_LAG), lag_std=float(np.hypot(rater.lag_std, shared))
        )
        for rater in raters
    )
    axes = [
        axis.replace_sources(with_lag_error(rating, LAG_STD) for rating in axis.with_evidence.sources)
        for axis in calibration.axes
    ]
    return calibration.replace_axes(axes), shifted


def _fit_rater(
    calibration: Calibration, column: int, parts: list[list[RatedPart]], level_known: bool, rater: RaterLag
) -> tuple[Calibration, RaterLag]:
    """Fit the rater whose ratings are a column of the evidence.

    Args:
        calibration: parameters of all sources.
        column: index of the rater among the sources.
        parts: for each axis, the parts that this person rated.
        level_known: whether the level of f is known, so that the bias can be fitted.
        rater: the rater, as known so far.

    Returns:
        The calibration with the fitted parameters, and the fitted rater; both unchanged without parts.
    """
    if not any(parts):
        return calibration, rater
    fits = [_AxisFit(axis_parts, level_known) for axis_parts in parts]
    lag, lag_std = LAG_MEAN, LAG_STD
    for _ in range(ROUNDS):
        profile = -0.5 * ((LAGS - LAG_MEAN) / LAG_STD) ** 2
        for step in range(len(LAGS)):
            profile[step] += sum(fit.log_likelihood(step) for fit in fits)
        lag, lag_std = _peak(profile)
        for fit in fits:
            fit.optimise(round(lag / GRID_STEP))
    axes = []
    for axis, fit in zip(calibration.axes, fits, strict=True):
        evidence = list(axis.with_evidence.sources)
        evidence[column] = fit.result(round(lag / GRID_STEP), lag_std) if fit.parts else PRIOR_RATING_PARAMETERS
        axes.append(axis.replace_sources(evidence))
    return calibration.replace_axes(axes), RaterLag(lag, lag_std, max(map(len, parts)))


def _peak(profile: np.ndarray) -> tuple[float, float]:
    """Maximum of the profile likelihood of the lag, refined by a parabola, and the standard deviation of the lag."""
    best = int(profile.argmax())
    lag, variance = float(LAGS[best]), GRID_STEP**2
    if 0 < best < len(LAGS) - 1:
        before, at, after = profile[best - 1 : best + 2]
        curvature = max(2 * at - before - after, 1e-9)
        lag += GRID_STEP * float((after - before) / curvature / 2)
        variance = GRID_STEP**2 / curvature
    # There may be other peaks. A peak that is narrower than the grid is described by the parabola alone.
    weights = np.exp(profile - profile.max())
    others = np.abs(np.arange(len(LAGS)) - best) > 1
    variance += (weights * (LAGS - lag) ** 2)[others].sum() / weights.sum()
    return lag, float(min(np.sqrt(variance), LAG_STD))


class _AxisFit:
    """The parameters of a rater on one axis, fitted to the parts that the rater rated.

    Attributes:
        parts: the parts; empty: the rater did not rate this axis.
        parameters: the current parameters.
    """

    def __init__(self, parts: list[RatedPart], level_known: bool):
        self.parts, self.parameters, self.level_known = parts, PRIOR, level_known

    def log_likelihood(self, lag: int, parameters: SourceParameters | None = None) -> float:
        """Log-likelihood of the ratings, with gain and bias integrated out, at a lag in grid steps.

        The covariance of f is multiplied by the current gain, so that the gain is learnt from the mean of f alone.
        """
        return self._solve(lag, parameters or self.parameters)[0]

    def optimise(self, lag: int) -> None:
        """Fit gain, bias, offset, error and its time scale, at a lag in grid steps."""
        if not self.parts:
            return
        self._update_gain(lag)
        prior = np.log([getattr(PRIOR, name) for name in FITTED])

        def loss(logs: np.ndarray) -> float:
            penalty = 0.5 * (((logs - prior) / LOG_STD) ** 2).sum()
            return penalty - self.log_likelihood(lag, self._with(logs))

        start = np.log([getattr(self.parameters, name) for name in FITTED])
        self.parameters = self._with(minimize(loss, start, method="L-BFGS-B", options={"maxiter": 8}).x)
        self._update_gain(lag)

    def result(self, lag: int, lag_std: float) -> SourceParameters:
        """The parameters, whose errors include the uncertainty of gain, bias and lag."""
        _, mean, covariance = self._solve(lag, self.parameters)
        with_uncertainty = self.parameters._replace(
            gain=max(float(mean[0]), SMALLEST_GAIN),
            bias=float(mean[1]),
            ou=float(np.sqrt(self.parameters.ou**2 + covariance[0, 0] * LABEL_STD**2)),
            offset=float(np.sqrt(self.parameters.offset**2 + covariance[1, 1])),
        )
        return with_lag_error(with_uncertainty, lag_std, max(part.rate for part in self.parts))

    def _update_gain(self, lag: int) -> None:
        gain = max(float(self._solve(lag, self.parameters)[1][0]), SMALLEST_GAIN)
        self.parameters = self.parameters._replace(gain=gain)

    def _with(self, logs: np.ndarray) -> SourceParameters:
        values = dict(zip(FITTED, np.exp(logs).tolist(), strict=True))
        values["ou_seconds"] = min(max(values["ou_seconds"], SHORTEST_OU), LONGEST_OU)
        return self.parameters._replace(**values)

    def _solve(self, lag: int, parameters: SourceParameters) -> tuple[float, np.ndarray, np.ndarray]:
        """Log-likelihood, and posterior mean (2,) and covariance (2, 2) of gain and bias."""
        whitened, total = [], 0.0
        for part in self.parts:
            rows = part.points - lag
            label_cov = torch.from_numpy(part.covariance[np.ix_(rows, rows)])
            times = torch.from_numpy(part.points * GRID_STEP)
            covariance = evidence_covariance(parameters, label_cov, times, torch.ones(len(rows), dtype=torch.double))
            factor = torch.linalg.cholesky(covariance)
            columns = np.stack((part.mean[rows], np.ones(len(rows)), part.values), 1)
            solved = torch.linalg.solve_triangular(factor, torch.from_numpy(columns), upper=False).numpy()
            whitened.append((solved[:, :2], solved[:, 2]))
            total -= float(factor.diagonal().log().sum())
        mean, posterior, log_likelihood = _gain_and_bias(whitened, self.level_known)
        return total + log_likelihood, mean, posterior


def _gain_and_bias(
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
