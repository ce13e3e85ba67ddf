"""Fits continuous ratings: the lag of each rater, and gain, bias, offset and error of the ratings.

For one axis of one clip,

    rating(t) = gain · f(t - lag) + bias + offset + error

with the offset constant in a clip, and the error an Ornstein-Uhlenbeck process. Shifted by the lag, a rating is an
absolute source of evidence like any other. The parameters maximise the likelihood of the rating given the posterior of
f from all other evidence and the given labels. That posterior has a mean and a covariance, so that a rating is not
blamed where the other evidence is uncertain, and regression on its mean does not attenuate the gain. Lag and other
parameters are fitted in turn. Gain and bias have closed-form posteriors, the lag is profiled on a grid.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize

from datasets.columns import AXES
from utils.labelling.adaptation import LABEL_STD, SMALLEST_GAIN, gain_and_bias
from utils.labelling.calibration import Calibration
from utils.labelling.process import EvidenceParameters, evidence_covariance, smoothed_rate
from utils.labelling.types import Anchors, EncodedClip, LabelObservations, observations_of

GRID_STEP = 0.1  # seconds between the frames at which f is estimated, and between the lags that are tried
SAMPLE_STEPS = 3  # A rating is compared with f at every so manyth point of the grid.
LONGEST_LAG = 6.0  # seconds
LAG_MEAN, LAG_STD = 2.5, 1.5  # seconds; prior of the lag
WINDOW_SECONDS = 60.0  # Longer clips are fitted in parts of this length, as if the parts were clips.
MOST_WINDOWS = 12  # parts that are fitted; more would take long and add little
FEWEST_SAMPLES = 10  # A part with fewer samples of the rating says too little.
SWEEPS = 3  # how often each of several raters is fitted, given the others
ROUNDS = 2  # how often lag and other parameters are fitted in turn
SHORTEST_OU, LONGEST_OU = 0.5, 10.0  # seconds; limits of the time scale of the error
USUAL_RATE = 0.3  # label units per second; root mean square rate of change of f where it is not known
RATE_SECONDS = 1.0  # twice the time scale on which the rate of change of f varies
LAGS = np.arange(round(LONGEST_LAG / GRID_STEP) + 1) * GRID_STEP

# Prior means of the parameters, and the prior standard deviation of the logarithm of each.
PRIOR = EvidenceParameters(ou=0.2, ou_seconds=3.0, offset=0.2, observation_noise=0.05)
FITTED = ("ou", "ou_seconds", "offset", "observation_noise")
LOG_STD = 0.7


class Rater(NamedTuple):
    """How late a rater's ratings are.

    Attributes:
        lag: seconds by which the ratings follow the face.
        lag_std: its standard deviation.
        clips: number of clips, or parts of long clips, from which the ratings were fitted; 0 = not fitted.
    """

    lag: float = LAG_MEAN
    lag_std: float = LAG_STD
    clips: int = 0


UNFITTED_RATER = Rater()


def with_lag_error(parameters: EvidenceParameters, lag_std: float, rate: float = USUAL_RATE) -> EvidenceParameters:
    """Adds the effect of an uncertain lag to the error of a rating, for a root mean square rate of change of f.

    This error varies as fast as f. Independent noise at 25 frames per second has the same effect on the posterior of f
    if its variance is larger by the number of frames on that time scale.
    """
    variance = (parameters.gain * rate * lag_std) ** 2 * 25 * RATE_SECONDS
    return parameters._replace(observation_noise=float(np.sqrt(parameters.observation_noise**2 + variance)))


UNFITTED_RATING = with_lag_error(PRIOR, LAG_STD)


def shift_ratings(clip: EncodedClip, raters: tuple[Rater, ...]) -> EncodedClip:
    """The clip with evidence of its raters that is shifted by their lags."""
    evidence = clip.evidence.copy()
    first = evidence.shape[1] - len(raters)
    for source, (rating, rater) in enumerate(zip(clip.ratings, raters, strict=True), first):
        evidence[:, source] = np.nan if rating is None else rating.at(clip.times + rater.lag)
    return clip._replace(evidence=evidence)


def fit_raters(
    calibration: Calibration, clips: Sequence[tuple[EncodedClip, Anchors | None]], raters: tuple[Rater, ...]
) -> tuple[Calibration, tuple[Rater, ...]]:
    """Fits all raters, one after the other, each given the other evidence and the labels.

    Without labels and other evidence, the first rater keeps the prior, the others are fitted to those before, and the
    mean of all lags is the prior mean.

    Args:
        calibration: parameters of all sources; the raters are the last ones.
        clips: encoded clips with their anchors; None: without labels. Anchors of other clips are not used.
        raters: the raters, as they are known so far.

    Returns:
        The calibration and the raters, with fitted parameters.
    """
    windows = [window for clip, anchors in clips for window in _windows(clip, anchors)]
    first = len(calibration.valence.parameters.evidence) - len(raters)
    labelled = any(len(observed.indices) for window in windows for observed in window.observations)
    fitted, known = list(raters), list(range(first))
    for _ in range(SWEEPS if len(raters) > 1 else 1):
        for number in range(len(raters)):
            source = first + number
            others = [one for one in known if one != source]
            if others or labelled:
                parts = _rated_parts(calibration, windows, fitted, number, others)
                # Only labels and other absolute sources tell the level of f.
                calibration, fitted[number] = _fit_rater(calibration, source, parts, labelled, fitted[number])
            known = sorted({*known, source})
    if not labelled and not first and len(raters) > 1:
        return _assume_mean_lag(calibration, fitted)
    return calibration, tuple(fitted)


def _assume_mean_lag(calibration: Calibration, raters: list[Rater]) -> tuple[Calibration, tuple[Rater, ...]]:
    """Sets the mean lag of raters who are the only evidence to the prior mean, with the uncertainty of the prior.

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
    valence, arousal = (
        one._replace(
            parameters=one.parameters._replace(
                evidence=tuple(with_lag_error(source, LAG_STD) for source in one.parameters.evidence)
            )
        )
        for one in calibration.axes
    )
    return calibration._replace(valence=valence, arousal=arousal), shifted


class _Window(NamedTuple):
    """A part of a clip, at GRID_STEP; `observations` are its given labels, one entry per axis."""

    clip: EncodedClip
    observations: list[LabelObservations]


def _windows(clip: EncodedClip, anchors: Anchors | None) -> Iterator[_Window]:
    """Cuts a clip with a rating into parts of WINDOW_SECONDS, evenly spaced if there are more than MOST_WINDOWS."""
    if all(rating is None for rating in clip.ratings):
        return
    own = anchors if anchors is not None and anchors.all_in_clip else None
    starts = np.arange(clip.times[0], max(clip.times[-1] - LONGEST_LAG, clip.times[0] + 1e-6), WINDOW_SECONDS)
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), MOST_WINDOWS)).round().astype(int))
    for start in starts[chosen]:
        first, last = np.searchsorted(clip.times, (start - GRID_STEP / 2, start + WINDOW_SECONDS + LONGEST_LAG))
        grid = np.searchsorted(clip.times[first:last], np.arange(clip.times[first], clip.times[last - 1], GRID_STEP))
        frames = np.minimum(grid + first, last - 1)
        following = clip.following_evidence(frames).clip(max=last - 1)
        frames = np.unique(np.where(clip.times[following] - clip.times[frames] < GRID_STEP, following, frames))
        inside = np.empty(0, int)
        if own is not None:
            inside = np.flatnonzero((own.indices >= first) & (own.indices < last))
            frames = np.union1d(frames, own.indices[inside])
        part = clip._replace(embeddings=clip.embeddings[:0], times=clip.times[frames], evidence=clip.evidence[frames])
        observations = observations_of(None)
        if own is not None:
            indices = np.searchsorted(frames, own.indices[inside])
            observations = [
                LabelObservations(indices, own.labels[inside, axis], own.errors[inside, axis])
                for axis in range(len(AXES))
            ]
        yield _Window(part, observations)


class _RatedPart(NamedTuple):
    """One axis of a window that a rater rated, at G points in time GRID_STEP apart, and n samples of the rating.

    Attributes:
        mean, covariance: (G,) and (G, G) of f, from the other evidence and the labels.
        points: (n,) index of the point at which the rating was made; f is compared `lag` earlier.
        values: (n,) the rating.
    """

    mean: np.ndarray
    covariance: np.ndarray
    points: np.ndarray
    values: np.ndarray

    @property
    def rate(self) -> float:
        """Root mean square rate of change of the mean of f."""
        times = np.arange(len(self.mean)) * GRID_STEP
        return float(np.sqrt(np.mean(smoothed_rate(times, self.mean) ** 2)))


def _rated_parts(
    calibration: Calibration, windows: list[_Window], raters: list[Rater], number: int, others: list[int]
) -> list[list[_RatedPart]]:
    """For each axis, the parts that a rater rated, with the posterior of f from other sources (their indices)."""
    valence, arousal = (
        one._replace(
            parameters=one.parameters._replace(evidence=tuple(one.parameters.evidence[source] for source in others))
        )
        for one in calibration.axes
    )
    without_rater = calibration._replace(valence=valence, arousal=arousal)
    parts: list[list[_RatedPart]] = [[] for _ in AXES]
    for window in windows:
        rating, times = window.clip.ratings[number], window.clip.times
        if rating is None:
            continue
        steps = np.arange(int((times[-1] - times[0]) / GRID_STEP) + 1)
        grid = times[0] + steps * GRID_STEP
        points = steps[len(LAGS) - 1 :: SAMPLE_STEPS]
        values = rating.at(grid[points])
        if not (np.isfinite(values).sum(0) >= FEWEST_SAMPLES).any():
            continue
        evidence = shift_ratings(window.clip, tuple(raters)).evidence[:, others]
        nearest = _nearest(times, grid)
        posteriors = without_rater.posteriors(times, evidence, window.observations)
        for of_axis, posterior, column in zip(parts, posteriors, values.T, strict=True):
            known = np.isfinite(column)
            if known.sum() >= FEWEST_SAMPLES:
                frames, back = np.unique(nearest, return_inverse=True)
                covariance = posterior.covariance(frames, frames)[np.ix_(back, back)]
                of_axis.append(_RatedPart(posterior.mean[nearest], covariance, points[known], column[known]))
    return parts


def _nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(G,) index of the time nearest to each of the wanted ones (G,); times (N,) ascend."""
    following = np.searchsorted(times, wanted).clip(1, len(times) - 1)
    return np.where(wanted - times[following - 1] <= times[following] - wanted, following - 1, following)


def _fit_rater(
    calibration: Calibration, source: int, parts: list[list[_RatedPart]], level_known: bool, rater: Rater
) -> tuple[Calibration, Rater]:
    """Fits one rater; returns it, and the calibration with its parameters. A rater without parts stays as it is."""
    if not any(parts):
        return calibration, rater
    fits = [_AxisFit(of_axis, level_known) for of_axis in parts]
    lag, lag_std = LAG_MEAN, LAG_STD
    for _ in range(ROUNDS):
        profile = -0.5 * ((LAGS - LAG_MEAN) / LAG_STD) ** 2
        for step in range(len(LAGS)):
            profile[step] += sum(fit.log_likelihood(step) for fit in fits)
        lag, lag_std = _peak(profile)
        for fit in fits:
            fit.optimise(round(lag / GRID_STEP))
    axes = []
    for one, fit in zip(calibration.axes, fits, strict=True):
        evidence = list(one.parameters.evidence)
        evidence[source] = fit.result(round(lag / GRID_STEP), lag_std) if fit.parts else UNFITTED_RATING
        axes.append(one._replace(parameters=one.parameters._replace(evidence=tuple(evidence))))
    fitted = Rater(lag, lag_std, max(map(len, parts)))
    return calibration._replace(valence=axes[0], arousal=axes[1]), fitted


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

    def __init__(self, parts: list[_RatedPart], level_known: bool):
        self.parts, self.parameters, self.level_known = parts, PRIOR, level_known

    def log_likelihood(self, lag: int, parameters: EvidenceParameters | None = None) -> float:
        """Log-likelihood of the ratings, with gain and bias integrated out, at a lag in grid steps.

        The covariance of f is multiplied by the current gain, so that the gain is learnt from the mean of f alone.
        """
        return self._solve(lag, parameters or self.parameters)[0]

    def optimise(self, lag: int) -> None:
        """Fits gain, bias, offset, error and its time scale, at a lag in grid steps."""
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

    def result(self, lag: int, lag_std: float) -> EvidenceParameters:
        """The parameters, whose errors include the uncertainty of gain, bias and lag."""
        _, mean, covariance = self._solve(lag, self.parameters)
        one = self.parameters._replace(
            gain=max(float(mean[0]), SMALLEST_GAIN),
            bias=float(mean[1]),
            ou=float(np.sqrt(self.parameters.ou**2 + covariance[0, 0] * LABEL_STD**2)),
            offset=float(np.sqrt(self.parameters.offset**2 + covariance[1, 1])),
        )
        return with_lag_error(one, lag_std, max(part.rate for part in self.parts))

    def _update_gain(self, lag: int) -> None:
        gain = max(float(self._solve(lag, self.parameters)[1][0]), SMALLEST_GAIN)
        self.parameters = self.parameters._replace(gain=gain)

    def _with(self, logs: np.ndarray) -> EvidenceParameters:
        values = dict(zip(FITTED, np.exp(logs).tolist(), strict=True))
        values["ou_seconds"] = min(max(values["ou_seconds"], SHORTEST_OU), LONGEST_OU)
        return self.parameters._replace(**values)

    def _solve(self, lag: int, parameters: EvidenceParameters) -> tuple[float, np.ndarray, np.ndarray]:
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
        mean, posterior, log_likelihood = gain_and_bias(whitened, self.level_known)
        return total + log_likelihood, mean, posterior
