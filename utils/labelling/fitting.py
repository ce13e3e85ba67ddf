"""Fits the calibration of a network on clips whose true labels are known.

The process parameters maximise the likelihood of the true labels between simulated support frames, over several
support-sets. The interval widths hold 90 % of the true labels of held-out clips (cross-conformal
calibration): the parameters with evidence are refitted without them, starting from those of all clips; the two moments
behind the time-only parameters are taken from all clips.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datasets.columns import AXES
from utils.labelling.calibration import COVERAGE, NORMAL_WIDTH, START, TIME_ONLY, Calibration
from utils.labelling.mixture import MixturePosterior
from utils.labelling.process import (
    EXACT_ERROR,
    GPParameters,
    activity,
    evidence_covariance,
    label_covariance,
    smoothed_rate,
)
from utils.labelling.support import every_n, uniform_k
from utils.labelling.types import LabelObservations

NARROWEST_WIDTH = NORMAL_WIDTH / 2  # No fit is trusted to give narrower intervals.
FOLDS = 2  # of clips, for the interval widths
LONGEST_SEGMENT = 240  # frames; longer validation clips are fitted in segments
SIMULATED_SUPPORT = (
    (every_n, 20),
    (every_n, 40),
    (uniform_k, 1),
    (uniform_k, 3),
    (uniform_k, 6),
    (uniform_k, 12),
)
L2_PENALTY = 1e-3  # on the log-parameters towards START, in nats per frame, for data sets of few clips
LOWER_BOUND = 1e-3  # of every parameter
UPPER_BOUND = GPParameters(*[10.0] * len(GPParameters._fields))._replace(activity_exponent=2.0)
JITTER = 1e-6  # relative to the mean variance; keeps the dense covariance positive definite


class CalibrationClip(NamedTuple):
    """A clip to fit.

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
        (valence.interval_width, arousal.interval_width),
        len(clips),
    )


class _AxisFit(NamedTuple):
    """What is fitted for one axis; see `Calibration`."""

    parameters: GPParameters
    time_only: GPParameters
    interval_width: float


class _Task(NamedTuple):
    """One axis of a segment with one simulated support-set; `support` and `targets` are frame indices."""

    times: Tensor
    activity: Tensor
    evidence: Tensor
    labels: Tensor
    support: Tensor
    targets: Tensor


def _fit_axis(clips: list[CalibrationClip], axis: int) -> _AxisFit:
    """Parameters with evidence and by time only, fitted on all clips; interval width from held-out clips."""
    tasks = [list(_simulate_support(clip, axis)) for clip in clips]
    parameters, time_only = _fit_parameters(sum(tasks, []), START), _fit_time_only(clips, axis)
    deviations = []
    for fold in range(FOLDS):
        training = sum((of_clip for number, of_clip in enumerate(tasks) if number % FOLDS != fold), [])
        of_fold = _fit_parameters(training, parameters)
        held_out = sum(tasks[fold::FOLDS], [])
        deviations += [_standardised_errors(of_fold, time_only, task) for task in held_out]
    width = float(np.quantile(np.concatenate(deviations), COVERAGE)) if deviations else NORMAL_WIDTH
    return _AxisFit(parameters, time_only, max(width, NARROWEST_WIDTH))


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


def _fit_parameters(tasks: list[_Task], start: GPParameters) -> GPParameters:
    """Minimises the penalised negative log-likelihood by L-BFGS; START if the optimisation fails."""
    initial, prior, upper = (torch.tensor(values, dtype=torch.float64).log() for values in (start, START, UPPER_BOUND))
    lower, log_parameters = torch.full_like(initial, np.log(LOWER_BOUND)), initial.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([log_parameters], max_iter=40, line_search_fn="strong_wolfe")
    frames = max(1, sum(len(task.targets) for task in tasks))

    def closure() -> Tensor:
        optimizer.zero_grad()
        parameters = GPParameters(*log_parameters.clamp(lower, upper).exp())
        likelihood = sum(_negative_log_likelihood(parameters, task) for task in tasks) / frames
        loss = likelihood + L2_PENALTY * (log_parameters - prior).square().sum()
        loss.backward()
        return loss

    try:
        optimizer.step(closure)
    except torch.linalg.LinAlgError:  # The evidence is degenerate, or the parameters have become NaN.
        return START
    fitted = log_parameters.detach().clamp(lower, upper).exp()
    return GPParameters(*fitted.tolist()) if fitted.isfinite().all() else START


def _simulate_support(clip: CalibrationClip, axis: int) -> Iterator[_Task]:
    """Each segment of the clip with each of SIMULATED_SUPPORT."""
    rng = np.random.default_rng(0)  # Strategies take one; those used here draw nothing.
    labelled = np.flatnonzero(np.isfinite(clip.labels[:, axis]))
    for rows in np.array_split(labelled, -(-len(labelled) // LONGEST_SEGMENT) or 1):
        for strategy, amount in SIMULATED_SUPPORT:
            support = strategy(rows, amount, rng)
            if len(support) < len(rows):
                yield _make_task(clip, rows, support, axis)


def _make_task(clip: CalibrationClip, rows: np.ndarray, support: np.ndarray, axis: int) -> _Task:
    return _Task(
        torch.from_numpy(clip.times[rows] - clip.times[rows[0]]),
        torch.from_numpy(activity(clip.times[rows], clip.evidence[rows, axis])),
        torch.from_numpy(clip.evidence[rows, axis].astype(np.float64)),
        torch.from_numpy(clip.labels[rows, axis].astype(np.float64)),
        torch.from_numpy(support),
        torch.from_numpy(np.setdiff1d(np.arange(len(rows)), support)),
    )


def _negative_log_likelihood(parameters: GPParameters, task: _Task) -> Tensor:
    """Of the true labels of the target frames, given evidence and support, up to a constant."""
    mean, variance = _predict(parameters, task)
    error = task.labels[task.targets] - mean
    return (error.square() / variance + variance.log()).sum() / 2


def _standardised_errors(parameters: GPParameters, time_only: GPParameters, task: _Task) -> np.ndarray:
    """|error| in predictive standard deviations at the target frames, with the posterior that labelling uses."""
    labels, support = task.labels.numpy(), task.support.numpy()
    observed = LabelObservations(support, labels[support], np.zeros(len(support)))
    posterior = MixturePosterior.of_axis(parameters, time_only, task.times.numpy(), task.evidence.numpy(), observed)
    return (np.abs(posterior.mean - labels) / np.sqrt(posterior.predictive_variance))[task.targets.numpy()]


def _predict(parameters: GPParameters, task: _Task) -> tuple[Tensor, Tensor]:
    """Predictive mean and variance of the true labels of the target frames, by dense covariances."""
    label = label_covariance(parameters, task.times, task.activity)
    evidence, label_at_support = evidence_covariance(parameters, label, task.times), label[task.support]
    exact = EXACT_ERROR**2 * torch.eye(len(task.support), dtype=torch.float64)
    support = label_at_support[:, task.support] + exact
    observed = torch.cat((torch.cat((evidence, label_at_support.T), 1), torch.cat((label_at_support, support), 1)))
    observed = observed + JITTER * observed.diagonal().mean() * torch.eye(len(observed), dtype=torch.float64)
    factor = torch.linalg.cholesky(observed)
    cross = torch.cat((label, label_at_support))[:, task.targets]
    whitened_cross = torch.linalg.solve_triangular(factor, cross, upper=False)
    values = torch.cat((task.evidence, task.labels[task.support]))[:, None]
    mean = whitened_cross.T @ torch.linalg.solve_triangular(factor, values, upper=False)
    variance = label.diagonal()[task.targets] - whitened_cross.square().sum(0)
    return mean.squeeze(1), variance.clamp(min=0) + parameters.nugget**2
