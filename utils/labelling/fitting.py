"""Fits the calibration of sources of evidence on clips whose true labels are known.

Gain and bias of an absolute source are those of the regression of its evidence on the true labels. The process
parameters maximise the likelihood of the true labels between simulated support frames, over several support-sets, with
a penalty on parameters far from START. With several sources, each is fitted alone. Their errors are then scaled by a
common factor, since errors that the sources share would otherwise count as independent.

The interval widths come from two-fold cross-fitting: the parameters are refitted without the held-out clips, then
quantiles of the held-out standardised errors are taken. The time-only parameters (standard deviation and rate of change
of the labels) are not refitted.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

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
    AxisCalibration,
    Calibration,
    IntervalWidths,
    scaled_std,
)
from utils.labelling.gp import GPPosterior
from utils.labelling.mixture import ClipModel, MixturePosterior, explanations
from utils.labelling.process import (
    EXACT_ERROR,
    EvidenceParameters,
    GPParameters,
    ProcessParameters,
    activity,
    evidence_covariance,
    label_covariance,
    noise_inflation,
    scale_errors,
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
BEYOND_LAST_BIN = 1.5  # Standard deviations above this multiple of the last bin's count as outside of the calibration.
L2_PENALTY = 1e-3  # It pulls the log-parameters towards START, in nats per frame, for data sets of few clips.
LOWER_BOUND = 1e-3  # The smallest value of every parameter.
ERROR_PARAMETERS = ("ou", "ou_seconds", "offset", "observation_noise")
UPPER_BOUND = [*ProcessParameters(*[10.0] * 5)._replace(activity_exponent=2.0), *[10.0] * len(ERROR_PARAMETERS)]
GAIN_RANGE = (0.05, 5.0)  # A source whose gain is smaller says nothing about the label.
SHARED_ERROR_SCALES = (1.0, 1.25, 1.6, 2.0, 2.8)
MOST_COMBINED_PROBLEMS = 60
JITTER = 1e-6  # It is relative to the mean variance, and keeps the dense covariance positive definite.


class CalibrationClip(NamedTuple):
    """A clip whose true labels are known.

    Attributes:
        times: (N,) seconds, ascending.
        evidence: (N, E, 2) evidence of E sources for valence and arousal; NaN = no value.
        labels: (N, 2) true valence and arousal; NaN = not labelled.
    """

    times: np.ndarray
    evidence: np.ndarray
    labels: np.ndarray


def fit_calibration(clips: list[CalibrationClip], relative: tuple[bool, ...] = (True,)) -> Calibration:
    """Fits parameters and interval widths.

    Args:
        clips: clips of people that no source of evidence was trained on.
        relative: for each of the E sources, whether its evidence is relative to the clip. The gain of a relative source
            is 1 and its bias 0.

    Returns:
        The calibration, with the default offsets of foreign anchors, which `validation.calibrate` replaces.
    """
    valence, arousal = (_fit_axis(clips, axis, relative) for axis in range(len(AXES)))
    return Calibration(valence, arousal, len(clips))


class _FitProblem(NamedTuple):
    """One axis of a segment of N frames with one simulated support-set. The evidence of all N frames is used.

    Attributes:
        times: (N,) seconds, from 0.
        evidence: (N, E) evidence of the sources; NaN = no value.
        labels: (N,) true labels; NaN = not labelled.
        support: (A,) frame indices of the support frames.
        targets: frame indices of the other labelled frames, whose labels are predicted.
    """

    times: np.ndarray
    evidence: np.ndarray
    labels: np.ndarray
    support: np.ndarray
    targets: np.ndarray

    def posterior(self, parameters: GPParameters) -> GPPosterior:
        """The posterior by these parameters, given the labels of the support frames."""
        return GPPosterior(parameters, self.times, self.evidence, self.observations)

    @property
    def observations(self) -> LabelObservations:
        """The labels of the support frames."""
        return LabelObservations(self.support, self.labels[self.support], np.zeros(len(self.support)))


def _fit_axis(clips: list[CalibrationClip], axis: int, relative: tuple[bool, ...]) -> AxisCalibration:
    """Fits both sets of parameters on all clips, and the interval widths on held-out clips."""
    problems = [list(_simulate_support(clip, axis, SIMULATED_SUPPORT)) for clip in clips]
    dense = [list(_simulate_support(clip, axis, DENSE_SUPPORT)) for clip in clips]
    every_problem = [problem for of_clip in problems for problem in of_clip]
    alone = [_fit_source(every_problem, source, one, START) for source, one in enumerate(relative)]
    parameters, time_only = _combine(every_problem, alone), _fit_time_only(clips, axis)
    errors, stds = [], []
    for fold in range(FOLDS):
        # The refit starts from the parameters of all clips, which saves iterations.
        training = sum((of_clip for number, of_clip in enumerate(problems) if number % FOLDS != fold), [])
        refitted = [_fit_source(training, source, one, alone[source]) for source, one in enumerate(relative)]
        of_fold = _combine(training, refitted)
        for problem in sum(problems[fold::FOLDS] + dense[fold::FOLDS], []):
            problem_errors, problem_stds = _held_out_errors(of_fold, time_only, problem)
            errors.append(problem_errors)
            stds.append(problem_stds)
    return AxisCalibration(parameters, time_only, DEFAULT_OFFSET, _fit_widths(errors, stds))


def _combine(problems: list[_FitProblem], alone: list[GPParameters]) -> GPParameters:
    """Combines the parameters that were fitted for each source alone.

    The process of one of the sources, and a factor on the errors of all sources, are chosen by the likelihood of the
    true labels.
    """
    if len(alone) == 1:
        return alone[0]
    candidates = [
        GPParameters(one.process, tuple(scale_errors(other.evidence[0], scale) for other in alone))
        for one in alone
        for scale in SHARED_ERROR_SCALES
    ]
    chosen = problems[:: max(1, len(problems) // MOST_COMBINED_PROBLEMS)]
    losses = [sum(_held_out_loss(candidate, problem) for problem in chosen) for candidate in candidates]
    return candidates[int(np.argmin(losses))]


def _held_out_loss(parameters: GPParameters, problem: _FitProblem) -> float:
    """Negative log-likelihood of the true labels of the target frames, up to a constant."""
    posterior = problem.posterior(parameters)
    variance = posterior.variance[problem.targets] + parameters.process.nugget**2
    error = (problem.labels - posterior.mean)[problem.targets]
    return float((error**2 / variance + np.log(variance)).sum() / 2)


def _fit_widths(errors: list[np.ndarray], stds: list[np.ndarray]) -> IntervalWidths:
    """Fits the half-widths that hold 90 % of the held-out true labels.

    The frames are divided by their predictive standard deviation into bins of equal size. The width of a bin is the
    90 % quantile of its standardised errors. Well above the largest standard deviations that the validation clips have,
    as in misread clips, the width is at least that of a normal variable.

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
    centres.append(BEYOND_LAST_BIN * centres[-1])
    widths.append(max(widths[-1], NORMAL_WIDTH))
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
    seconds = float(np.sqrt(3) * amplitude / rate)
    return TIME_ONLY._replace(process=TIME_ONLY.process._replace(matern=amplitude, matern_seconds=seconds))


def _root_mean_square(parts: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.square(np.concatenate(parts))))) if parts else 0.0


def _fit_source(problems: list[_FitProblem], source: int, relative: bool, initial: GPParameters) -> GPParameters:
    """Fits the parameters with one source of evidence alone.

    Args:
        problems: the fit problems.
        source: index of the source.
        relative: whether its evidence is relative to the clip.
        initial: parameters of this source from which the optimisation starts.
    """
    gain, bias = (1.0, 0.0) if relative else _linear_error(problems, source)
    corrected = [_correct(problem, source, gain, bias) for problem in problems]
    fitted = _maximise_likelihood(corrected, _rescale(initial, 1 / initial.evidence[0].gain))
    return _rescale(fitted, gain, bias)


def _linear_error(problems: list[_FitProblem], source: int) -> tuple[float, float]:
    """Gain and bias of a source: the regression of its evidence on the true labels; (1, 0) if it is degenerate."""
    pairs = [np.stack((problem.labels, problem.evidence[:, source]), 1) for problem in problems]
    values = np.concatenate(pairs) if pairs else np.empty((0, 2))
    labels, evidence = values[np.isfinite(values).all(1)].T
    if len(labels) < 2 or labels.std() < LOWER_BOUND:
        return 1.0, 0.0
    gain = float(np.clip(np.cov(labels, evidence, bias=True)[0, 1] / labels.var(), *GAIN_RANGE))
    return gain, float(evidence.mean() - gain * labels.mean())


def _correct(problem: _FitProblem, source: int, gain: float, bias: float) -> _FitProblem:
    """The problem with the evidence of one source alone, without its gain and bias."""
    return problem._replace(evidence=(problem.evidence[:, source : source + 1] - bias) / gain)


def _rescale(parameters: GPParameters, gain: float, bias: float = 0.0) -> GPParameters:
    """The parameters of one source whose evidence is multiplied by `gain`, after which `bias` is added."""
    scaled = scale_errors(parameters.evidence[0], gain)
    return parameters._replace(
        evidence=(scaled._replace(offset=gain * scaled.offset, gain=gain * scaled.gain, bias=bias),)
    )


def _maximise_likelihood(problems: list[_FitProblem], initial: GPParameters) -> GPParameters:
    """Minimises the penalised negative log-likelihood by L-BFGS, for one source of evidence without gain and bias.

    Args:
        problems: the fit problems.
        initial: parameters from which the optimisation starts. The penalty pulls towards START in any case.

    Returns:
        The fitted parameters; START if the optimisation fails.
    """
    log_initial, log_prior, upper = (
        torch.tensor(values, dtype=torch.float64).log() for values in (_vector(initial), _vector(START), UPPER_BOUND)
    )
    lower, log_parameters = torch.full_like(log_initial, np.log(LOWER_BOUND)), log_initial.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([log_parameters], max_iter=40, line_search_fn="strong_wolfe")
    tensors = [_as_tensors(problem) for problem in problems if np.isfinite(problem.evidence).any()]
    frames = max(1, sum(len(problem.targets) for problem in tensors))

    def closure() -> Tensor:
        optimizer.zero_grad()
        parameters = _from_vector(log_parameters.clamp(lower, upper).exp())
        likelihood = sum(_negative_log_likelihood(parameters, problem) for problem in tensors) / frames
        loss = likelihood + L2_PENALTY * (log_parameters - log_prior).square().sum()
        loss.backward()
        return loss

    try:
        optimizer.step(closure)
    except torch.linalg.LinAlgError:  # The evidence is degenerate, or the parameters have become NaN.
        return START
    fitted = log_parameters.detach().clamp(lower, upper).exp()
    return _from_vector(fitted.tolist()) if fitted.isfinite().all() else START


def _vector(parameters: GPParameters) -> list[float]:
    """The parameters that are fitted: those of the process and those of the errors of its source of evidence."""
    return [*parameters.process, *parameters.evidence[0][: len(ERROR_PARAMETERS)]]


def _from_vector(values: Any) -> GPParameters:
    """The parameters with the values (9,) in the order of `_vector`."""
    process = ProcessParameters(*values[: len(ProcessParameters._fields)])
    return GPParameters(process, (EvidenceParameters(*values[len(ProcessParameters._fields) :]),))


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
        clip.times[rows] - clip.times[rows[0]],
        clip.evidence[rows, :, axis].astype(np.float64),
        clip.labels[rows, axis].astype(np.float64),
        observed[support],
        np.delete(observed, support),
    )


class _TensorProblem(NamedTuple):
    """A fit problem with one source of evidence, as tensors.

    Attributes:
        times: (N,) seconds, from 0.
        activity: (N,) activity of the evidence.
        inflation: (N,) factor on the observation-noise variance.
        known: (K,) frame indices with evidence.
        evidence: (K,) evidence.
        labels, support, targets: as of `_FitProblem`.
    """

    times: Tensor
    activity: Tensor
    inflation: Tensor
    known: Tensor
    evidence: Tensor
    labels: Tensor
    support: Tensor
    targets: Tensor


def _as_tensors(problem: _FitProblem) -> _TensorProblem:
    evidence = problem.evidence[:, 0]
    known = np.flatnonzero(np.isfinite(evidence))
    interpolated = np.interp(problem.times, problem.times[known], evidence[known])
    activities = activity(problem.times, interpolated, np.isfinite(evidence))
    arrays = (problem.times, activities, noise_inflation(problem.times), known, evidence[known], *problem[2:])
    return _TensorProblem(*map(torch.from_numpy, arrays))


def _negative_log_likelihood(parameters: GPParameters, problem: _TensorProblem) -> Tensor:
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
    model = ClipModel.of_axis(explanations(parameters, time_only), problem.times, problem.evidence)
    posterior = MixturePosterior(model, problem.observations)
    return np.abs(posterior.mean - problem.labels)[problem.targets], scaled_std(posterior)[problem.targets]


def _predict(parameters: GPParameters, problem: _TensorProblem) -> tuple[Tensor, Tensor]:
    """Predictive mean and variance of the true labels of the target frames, by dense covariances."""
    label_cov = label_covariance(parameters.process, problem.times, problem.activity)
    evidence_cov = evidence_covariance(parameters.evidence[0], label_cov, problem.times, problem.inflation)
    evidence_cov = evidence_cov[problem.known][:, problem.known]
    support_label_cov = label_cov[problem.support]
    exact_cov = EXACT_ERROR**2 * torch.eye(len(problem.support), dtype=torch.float64)
    support_cov = support_label_cov[:, problem.support] + exact_cov
    to_support = support_label_cov[:, problem.known]
    evidence_rows, support_rows = (evidence_cov, to_support.T), (to_support, support_cov)
    observed_cov = torch.cat((torch.cat(evidence_rows, 1), torch.cat(support_rows, 1)))
    jitter = JITTER * observed_cov.diagonal().mean()
    observed_cov = observed_cov + jitter * torch.eye(len(observed_cov), dtype=torch.float64)
    factor = torch.linalg.cholesky(observed_cov)
    cross_cov = torch.cat((label_cov[problem.known], support_label_cov))[:, problem.targets]
    whitened_cross = torch.linalg.solve_triangular(factor, cross_cov, upper=False)
    values = torch.cat((problem.evidence, problem.labels[problem.support]))[:, None]
    mean = whitened_cross.T @ torch.linalg.solve_triangular(factor, values, upper=False)
    variance = label_cov.diagonal()[problem.targets] - whitened_cross.square().sum(0)
    return mean.squeeze(1), variance.clamp(min=0) + parameters.process.nugget**2
