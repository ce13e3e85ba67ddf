"""Fits the calibration of a network on clips whose true labels are known.

The process parameters maximise the likelihood of the true labels between simulated support frames, over several
support-sets. The interval widths come from two-fold cross-fitting: the parameters are refitted without the held-out
clips, then quantiles of the held-out standardised errors are taken. The time-only parameters (standard deviation and
rate of change of the labels) are not refitted.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datasets.columns import AXES
from utils.labelling.calibration import (
    COVERAGE,
    DEFAULT_OFFSET,
    NORMAL_WIDTH,
    NORMAL_WIDTHS,
    START,
    TIME_ONLY,
    Calibration,
    IntervalWidths,
    scaled_std,
)
from utils.labelling.mixture import MixturePosterior
from utils.labelling.process import (
    EXACT_ERROR,
    GPParameters,
    activity,
    evidence_covariance,
    label_covariance,
    noise_inflation,
    smoothed_rate,
)
from utils.labelling.support import SupportStrategy, evenly_spaced, every_n, uniform_k
from utils.labelling.types import LabelObservations

SupportSets = tuple[tuple[SupportStrategy, int], ...]

NARROWEST_WIDTH = NORMAL_WIDTH / 2  # Fitted interval widths are not allowed to be smaller.
FOLDS = 2  # The clips are divided into this many folds to fit the interval widths.
LONGEST_SEGMENT = 240  # Longer clips are fitted in segments of up to this many frames.
SIMULATED_SUPPORT = (
    (every_n, 20),
    (every_n, 40),
    (uniform_k, 1),
    (uniform_k, 3),
    (uniform_k, 6),
    (uniform_k, 12),
)
DENSE_SUPPORT = ((every_n, 5), (every_n, 3))  # These are used to fit the interval widths only.
WIDTH_BINS = 5  # Each of this many bins of predictive standard deviations has a width of its own.
L2_PENALTY = 1e-3  # It pulls the log-parameters towards START, in nats per frame, for data sets of few clips.
LOWER_BOUND = 1e-3  # The smallest value of every parameter.
UPPER_BOUND = GPParameters(*[10.0] * len(GPParameters._fields))._replace(activity_exponent=2.0)
JITTER = 1e-6  # It is relative to the mean variance, and keeps the dense covariance positive definite.


class CalibrationClip(NamedTuple):
    """A clip whose true labels are known.

    Attributes:
        times: (N,) seconds, ascending.
        evidence: (N, 2) the network's evidence of valence and arousal.
        labels: (N, 2) true valence and arousal; NaN = not labelled.
    """

    times: np.ndarray
    evidence: np.ndarray
    labels: np.ndarray


def fit_calibration(clips: list[CalibrationClip]) -> Calibration:
    """Fits parameters and interval widths on clips of people that the network was not trained on."""
    valence, arousal = (_fit_axis(clips, axis) for axis in range(len(AXES)))
    return Calibration(
        (valence.parameters, arousal.parameters),
        (valence.time_only, arousal.time_only),
        (DEFAULT_OFFSET, DEFAULT_OFFSET),
        (valence.interval_widths, arousal.interval_widths),
        len(clips),
    )


class _AxisFit(NamedTuple):
    """The parts of a `Calibration` that are fitted for one axis."""

    parameters: GPParameters
    time_only: GPParameters
    interval_widths: IntervalWidths


class _FitProblem(NamedTuple):
    """One axis of a segment of N frames with one simulated support-set. The evidence of all N frames is used.

    Attributes:
        times: (N,) seconds, from 0.
        activity: (N,) activity of the evidence.
        inflation: (N,) factor on the observation-noise variance.
        evidence: (N,) evidence.
        labels: (N,) true labels; NaN = not labelled.
        support: (A,) frame indices of the support frames.
        targets: frame indices of the other labelled frames, whose labels are predicted.
    """

    times: Tensor
    activity: Tensor
    inflation: Tensor
    evidence: Tensor
    labels: Tensor
    support: Tensor
    targets: Tensor


def _fit_axis(clips: list[CalibrationClip], axis: int) -> _AxisFit:
    """Fits both sets of parameters on all clips, and the interval widths on held-out clips."""
    problems = [list(_simulate_support(clip, axis, SIMULATED_SUPPORT)) for clip in clips]
    dense = [list(_simulate_support(clip, axis, DENSE_SUPPORT)) for clip in clips]
    parameters, time_only = _fit_parameters(sum(problems, []), START), _fit_time_only(clips, axis)
    errors, stds = [], []
    for fold in range(FOLDS):
        # The refit starts from the parameters of all clips, which saves iterations.
        training = sum((of_clip for number, of_clip in enumerate(problems) if number % FOLDS != fold), [])
        of_fold = _fit_parameters(training, parameters)
        for problem in sum(problems[fold::FOLDS] + dense[fold::FOLDS], []):
            problem_errors, problem_stds = _held_out_errors(of_fold, time_only, problem)
            errors.append(problem_errors)
            stds.append(problem_stds)
    return _AxisFit(parameters, time_only, _fit_widths(errors, stds))


def _fit_widths(errors: list[np.ndarray], stds: list[np.ndarray]) -> IntervalWidths:
    """Fits the half-widths that hold 90 % of the held-out true labels.

    The frames are divided by their predictive standard deviation into bins of equal size. The width of a bin is the
    90 % quantile of its standardised errors.

    Args:
        errors: absolute errors, one array per fit problem.
        stds: predictive standard deviations of these frames.
    """
    if not errors:
        return NORMAL_WIDTHS
    all_stds = np.concatenate(stds)
    order = np.argsort(all_stds, kind="stable")
    deviations = np.concatenate(errors)[order] / all_stds[order]
    bins = [part for part in np.array_split(np.arange(len(order)), WIDTH_BINS) if len(part)]
    centres = [float(np.exp(np.log(all_stds[order][part]).mean())) for part in bins]
    widths = [max(float(np.quantile(deviations[part], COVERAGE)), NARROWEST_WIDTH) for part in bins]
    return IntervalWidths(tuple(centres), tuple(widths))


def _fit_time_only(clips: list[CalibrationClip], axis: int) -> GPParameters:
    """TIME_ONLY with the amplitude and the length scale of the clips' labels, by the method of moments.

    The derivative of a Matérn-3/2 process has standard deviation √3 · amplitude / length scale.
    """
    deviations, rates = [], []
    for times, labels in ((clip.times, clip.labels[:, axis]) for clip in clips):
        known = np.isfinite(labels)
        if known.sum() > 1:
            deviations.append(labels[known] - labels[known].mean())
            rates.append(smoothed_rate(times[known], labels[known]))
    amplitude, rate = (_root_mean_square(parts) for parts in (deviations, rates))
    if min(amplitude, rate) < LOWER_BOUND:
        return TIME_ONLY
    return TIME_ONLY._replace(matern=amplitude, matern_seconds=float(np.sqrt(3) * amplitude / rate))


def _root_mean_square(parts: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.square(np.concatenate(parts))))) if parts else 0.0


def _fit_parameters(problems: list[_FitProblem], initial: GPParameters) -> GPParameters:
    """Minimises the penalised negative log-likelihood by L-BFGS.

    Args:
        problems: the fit problems.
        initial: parameters from which the optimisation starts. The penalty pulls towards START in any case.

    Returns:
        The fitted parameters; START if the optimisation fails.
    """
    log_initial, log_prior, upper = (
        torch.tensor(values, dtype=torch.float64).log() for values in (initial, START, UPPER_BOUND)
    )
    lower, log_parameters = torch.full_like(log_initial, np.log(LOWER_BOUND)), log_initial.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([log_parameters], max_iter=40, line_search_fn="strong_wolfe")
    frames = max(1, sum(len(problem.targets) for problem in problems))

    def closure() -> Tensor:
        optimizer.zero_grad()
        parameters = GPParameters(*log_parameters.clamp(lower, upper).exp())
        likelihood = sum(_negative_log_likelihood(parameters, problem) for problem in problems) / frames
        loss = likelihood + L2_PENALTY * (log_parameters - log_prior).square().sum()
        loss.backward()
        return loss

    try:
        optimizer.step(closure)
    except torch.linalg.LinAlgError:  # The evidence is degenerate, or the parameters have become NaN.
        return START
    fitted = log_parameters.detach().clamp(lower, upper).exp()
    return GPParameters(*fitted.tolist()) if fitted.isfinite().all() else START


def _simulate_support(clip: CalibrationClip, axis: int, support_sets: SupportSets) -> Iterator[_FitProblem]:
    """Yields a fit problem for each segment of the clip and each of the support-sets."""
    rng = np.random.default_rng(0)  # Every strategy has this argument, but those of the support-sets do not use it.
    labelled = np.flatnonzero(np.isfinite(clip.labels[:, axis]))
    for part in np.array_split(labelled, -(-len(labelled) // LONGEST_SEGMENT) or 1):
        for strategy, amount in support_sets:
            # These strategies use only the number of frames, so `part` can be passed in place of embeddings.
            support = strategy(part, amount, rng)
            if len(support) < len(part):
                yield _make_problem(clip, part, support, axis)


def _make_problem(clip: CalibrationClip, labelled: np.ndarray, support: np.ndarray, axis: int) -> _FitProblem:
    """The problem of a segment.

    Args:
        clip: the clip.
        labelled: indices of the labelled frames of the segment.
        support: those that are support frames, as indices into `labelled`.
        axis: the axis.
    """
    between = np.setdiff1d(np.arange(labelled[0], labelled[-1]), labelled)
    rows = np.union1d(labelled, evenly_spaced(between, LONGEST_SEGMENT - len(labelled)))
    observed = np.searchsorted(rows, labelled)
    return _FitProblem(
        torch.from_numpy(clip.times[rows] - clip.times[rows[0]]),
        torch.from_numpy(activity(clip.times[rows], clip.evidence[rows, axis])),
        torch.from_numpy(noise_inflation(clip.times[rows])),
        torch.from_numpy(clip.evidence[rows, axis].astype(np.float64)),
        torch.from_numpy(clip.labels[rows, axis].astype(np.float64)),
        torch.from_numpy(observed[support]),
        torch.from_numpy(np.delete(observed, support)),
    )


def _negative_log_likelihood(parameters: GPParameters, problem: _FitProblem) -> Tensor:
    """Negative log-likelihood of the true labels of the target frames, up to a constant.

    Evidence and the labels of the support frames are given.
    """
    mean, variance = _predict(parameters, problem)
    error = problem.labels[problem.targets] - mean
    return (error.square() / variance + variance.log()).sum() / 2


def _held_out_errors(
    parameters: GPParameters, time_only: GPParameters, problem: _FitProblem
) -> tuple[np.ndarray, np.ndarray]:
    """Absolute errors and scaled standard deviations at the target frames, by the posterior that is used to label."""
    labels, support, targets = problem.labels.numpy(), problem.support.numpy(), problem.targets.numpy()
    observed = LabelObservations(support, labels[support], np.zeros(len(support)))
    posterior = MixturePosterior.of_axis(
        parameters, time_only, problem.times.numpy(), problem.evidence.numpy(), observed
    )
    return np.abs(posterior.mean - labels)[targets], scaled_std(posterior)[targets]


def _predict(parameters: GPParameters, problem: _FitProblem) -> tuple[Tensor, Tensor]:
    """Predictive mean and variance of the true labels of the target frames, by dense covariances."""
    label_cov = label_covariance(parameters, problem.times, problem.activity)
    evidence_cov = evidence_covariance(parameters, label_cov, problem.times, problem.inflation)
    support_label_cov = label_cov[problem.support]
    exact_cov = EXACT_ERROR**2 * torch.eye(len(problem.support), dtype=torch.float64)
    support_cov = support_label_cov[:, problem.support] + exact_cov
    evidence_rows, support_rows = (evidence_cov, support_label_cov.T), (support_label_cov, support_cov)
    observed_cov = torch.cat((torch.cat(evidence_rows, 1), torch.cat(support_rows, 1)))
    jitter = JITTER * observed_cov.diagonal().mean()
    observed_cov = observed_cov + jitter * torch.eye(len(observed_cov), dtype=torch.float64)
    factor = torch.linalg.cholesky(observed_cov)
    cross_cov = torch.cat((label_cov, support_label_cov))[:, problem.targets]
    whitened_cross = torch.linalg.solve_triangular(factor, cross_cov, upper=False)
    values = torch.cat((problem.evidence, problem.labels[problem.support]))[:, None]
    mean = whitened_cross.T @ torch.linalg.solve_triangular(factor, values, upper=False)
    variance = label_cov.diagonal()[problem.targets] - whitened_cross.square().sum(0)
    return mean.squeeze(1), variance.clamp(min=0) + parameters.nugget**2
