"""Fits the calibration of sources of evidence on clips whose true labels are known.

Gain and bias of an absolute source are those of the regression of its evidence on the true labels. The process
parameters maximise the likelihood of the true labels between simulated support frames, over several support-sets, with
a penalty on parameters far from DEFAULT_PARAMETERS. With several sources, each is fitted alone. Their errors are then
scaled by a common factor, since errors that the sources share would otherwise count as independent.

The interval widths come from two-fold cross-fitting: the parameters are refitted without the held-out clips, then
quantiles of the held-out standardised errors are taken. The time-only parameters (standard deviation and rate of change
of the labels) are not refitted.
"""

import numpy as np

from datasets.columns import AXES
from utils.labelling.calibration.calibration import (
    COVERAGE,
    DEFAULT_OFFSET,
    DEFAULT_PARAMETERS,
    NORMAL_WIDTH,
    NORMAL_WIDTHS,
    TIME_ONLY,
    AxisCalibration,
    Calibration,
    IntervalWidths,
    scaled_std,
)
from utils.labelling.calibration.fit_problems import (
    DENSE_SUPPORT,
    SIMULATED_SUPPORT,
    CalibrationClip,
    FitProblem,
    simulate_support,
)
from utils.labelling.calibration.likelihood import LOWER_BOUND, maximise_likelihood
from utils.labelling.posterior.activity import smoothed_rate
from utils.labelling.posterior.mixture import MixturePosterior, axis_model, make_explanations
from utils.labelling.posterior.process import GPParameters, scale_errors

NARROWEST_WIDTH = NORMAL_WIDTH / 2  # Fitted interval widths are not allowed to be smaller.
FOLDS = 2  # The clips are divided into this many folds to fit the interval widths.
WIDTH_BINS = 5  # Each of this many bins of predictive standard deviations has a width of its own.
BEYOND_LAST_BIN = 1.5  # Standard deviations above this multiple of the last bin's count as outside of the calibration.
GAIN_RANGE = (0.05, 5.0)  # A source whose gain is smaller says nothing about the label.
SHARED_ERROR_SCALES = (1.0, 1.25, 1.6, 2.0, 2.8)
MOST_COMBINED_PROBLEMS = 60


def fit_calibration(clips: list[CalibrationClip], relative: tuple[bool, ...] = (True,)) -> Calibration:
    """Fit parameters and interval widths.

    Args:
        clips: clips of people that no source of evidence was trained on.
        relative: for each of the E sources, whether its evidence is relative to the clip. The gain of a relative source
            is 1 and its bias 0.

    Returns:
        The calibration, with the default offsets of foreign anchors, which
        `dataset_calibration.calibrate_clips` replaces.
    """
    valence, arousal = (_fit_axis(clips, axis, relative) for axis in range(len(AXES)))
    return Calibration(valence, arousal, len(clips))


def _fit_axis(clips: list[CalibrationClip], axis: int, relative: tuple[bool, ...]) -> AxisCalibration:
    """Fit both sets of parameters on all clips, and the interval widths on held-out clips."""
    problems = [list(simulate_support(clip, axis, SIMULATED_SUPPORT)) for clip in clips]
    dense = [list(simulate_support(clip, axis, DENSE_SUPPORT)) for clip in clips]
    all_problems = [problem for clip_problems in problems for problem in clip_problems]
    alone = [
        _fit_source(all_problems, index, is_relative, DEFAULT_PARAMETERS) for index, is_relative in enumerate(relative)
    ]
    parameters, time_only = _combine(all_problems, alone), _fit_time_only(clips, axis)
    errors, stds = [], []
    for fold in range(FOLDS):
        # The refit starts from the parameters of all clips, which saves iterations.
        training = sum((clip_problems for number, clip_problems in enumerate(problems) if number % FOLDS != fold), [])
        refitted = [
            _fit_source(training, index, is_relative, alone[index]) for index, is_relative in enumerate(relative)
        ]
        fold_parameters = _combine(training, refitted)
        for problem in sum(problems[fold::FOLDS] + dense[fold::FOLDS], []):
            problem_errors, problem_stds = _held_out_errors(fold_parameters, time_only, problem)
            errors.append(problem_errors)
            stds.append(problem_stds)
    return AxisCalibration(parameters, time_only, DEFAULT_OFFSET, _fit_widths(errors, stds))


def _combine(problems: list[FitProblem], alone: list[GPParameters]) -> GPParameters:
    """Combine the parameters that were fitted for each source alone.

    The process of one of the sources, and a factor on the errors of all sources, are chosen by the likelihood of the
    true labels.
    """
    if len(alone) == 1:
        return alone[0]
    candidates = [
        GPParameters(chosen.process, tuple(scale_errors(fitted.sources[0], scale) for fitted in alone))
        for chosen in alone
        for scale in SHARED_ERROR_SCALES
    ]
    sample = problems[:: max(1, len(problems) // MOST_COMBINED_PROBLEMS)]
    losses = [sum(_held_out_loss(candidate, problem) for problem in sample) for candidate in candidates]
    return candidates[int(np.argmin(losses))]


def _held_out_loss(parameters: GPParameters, problem: FitProblem) -> float:
    """Negative log-likelihood of the true labels of the target frames, up to a constant."""
    posterior = problem.posterior(parameters)
    variance = posterior.variance[problem.targets] + parameters.process.nugget**2
    error = (problem.labels - posterior.mean)[problem.targets]
    return float((error**2 / variance + np.log(variance)).sum() / 2)


def _fit_widths(errors: list[np.ndarray], stds: list[np.ndarray]) -> IntervalWidths:
    """Fit the half-widths that hold 90 % of the held-out true labels.

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


def _fit_source(problems: list[FitProblem], index: int, relative: bool, initial: GPParameters) -> GPParameters:
    """Fit the parameters with one source of evidence alone.

    Args:
        problems: the fit problems.
        index: index of the source.
        relative: whether its evidence is relative to the clip.
        initial: parameters of this source from which the optimisation starts.
    """
    gain, bias = (1.0, 0.0) if relative else _linear_error(problems, index)
    corrected = [_correct(problem, index, gain, bias) for problem in problems]
    fitted = maximise_likelihood(corrected, _rescale(initial, 1 / initial.sources[0].gain))
    return _rescale(fitted, gain, bias)


def _linear_error(problems: list[FitProblem], index: int) -> tuple[float, float]:
    """Gain and bias of a source: the regression of its evidence on the true labels; (1, 0) if it is degenerate."""
    pairs = [np.stack((problem.labels, problem.evidence[:, index]), 1) for problem in problems]
    values = np.concatenate(pairs) if pairs else np.empty((0, 2))
    labels, evidence = values[np.isfinite(values).all(1)].T
    if len(labels) < 2 or labels.std() < LOWER_BOUND:
        return 1.0, 0.0
    gain = float(np.clip(np.cov(labels, evidence, bias=True)[0, 1] / labels.var(), *GAIN_RANGE))
    return gain, float(evidence.mean() - gain * labels.mean())


def _correct(problem: FitProblem, index: int, gain: float, bias: float) -> FitProblem:
    """The problem with the evidence of one source alone, without its gain and bias."""
    return problem._replace(evidence=(problem.evidence[:, index : index + 1] - bias) / gain)


def _rescale(parameters: GPParameters, gain: float, bias: float = 0.0) -> GPParameters:
    """The parameters of one source whose evidence is multiplied by `gain`, after which `bias` is added."""
    scaled = scale_errors(parameters.sources[0], gain)
    return parameters._replace(
        sources=(scaled._replace(offset=gain * scaled.offset, gain=gain * scaled.gain, bias=bias),)
    )


def _held_out_errors(
    parameters: GPParameters, time_only: GPParameters, problem: FitProblem
) -> tuple[np.ndarray, np.ndarray]:
    """Absolute errors and scaled standard deviations at the target frames, by the posterior that is used to label."""
    model = axis_model(make_explanations(parameters, time_only), problem.times, problem.evidence)
    posterior = MixturePosterior(model, problem.observations)
    return np.abs(posterior.mean - problem.labels)[problem.targets], scaled_std(posterior)[problem.targets]
