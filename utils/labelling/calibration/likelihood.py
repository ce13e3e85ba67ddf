"""Maximum likelihood of the process parameters with one source of evidence, by differentiable dense covariances."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from utils.labelling.calibration.calibration import DEFAULT_PARAMETERS
from utils.labelling.calibration.fit_problems import FitProblem
from utils.labelling.posterior.activity import activity
from utils.labelling.posterior.process import (
    EXACT_ERROR,
    GPParameters,
    ProcessParameters,
    SourceParameters,
    evidence_covariance,
    label_covariance,
    noise_inflation,
)

L2_PENALTY = (
    1e-3  # It pulls the log-parameters towards DEFAULT_PARAMETERS, in nats per frame, for data sets of few clips.
)
LOWER_BOUND = 1e-3  # The smallest value of every parameter.
ERROR_PARAMETERS = ("ou", "ou_seconds", "offset", "observation_noise")
UPPER_BOUND = [*ProcessParameters(*[10.0] * 5)._replace(activity_exponent=2.0), *[10.0] * len(ERROR_PARAMETERS)]
JITTER = 1e-6  # It is relative to the mean variance, and keeps the dense covariance positive definite.


def maximise_likelihood(problems: list[FitProblem], initial: GPParameters) -> GPParameters:
    """Minimise the penalised negative log-likelihood by L-BFGS, for one source of evidence without gain and bias.

    Args:
        problems: the fit problems.
        initial: parameters from which the optimisation starts. The penalty always pulls towards DEFAULT_PARAMETERS.

    Returns:
        The fitted parameters; DEFAULT_PARAMETERS if the optimisation fails.
    """
    log_initial, log_prior, upper = (
        torch.tensor(values, dtype=torch.float64).log()
        for values in (_vector(initial), _vector(DEFAULT_PARAMETERS), UPPER_BOUND)
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
        return DEFAULT_PARAMETERS
    fitted = log_parameters.detach().clamp(lower, upper).exp()
    return _from_vector(fitted.tolist()) if fitted.isfinite().all() else DEFAULT_PARAMETERS


def _vector(parameters: GPParameters) -> list[float]:
    """The parameters that are fitted: those of the process and those of the errors of its source of evidence."""
    return [*parameters.process, *parameters.sources[0][: len(ERROR_PARAMETERS)]]


def _from_vector(values: Any) -> GPParameters:
    """The parameters with the values (9,) in the order of `_vector`."""
    process = ProcessParameters(*values[: len(ProcessParameters._fields)])
    return GPParameters(process, (SourceParameters(*values[len(ProcessParameters._fields) :]),))


class _TensorProblem(NamedTuple):
    """A fit problem with one source of evidence, as tensors.

    Attributes:
        times: (N,) seconds, from 0.
        activity: (N,) activity of the evidence.
        inflation: (N,) factor on the observation-noise variance.
        known: (K,) frame indices with evidence.
        evidence: (K,) evidence.
        labels, support, targets: as of `FitProblem`.
    """

    times: Tensor
    activity: Tensor
    inflation: Tensor
    known: Tensor
    evidence: Tensor
    labels: Tensor
    support: Tensor
    targets: Tensor


def _as_tensors(problem: FitProblem) -> _TensorProblem:
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


def _predict(parameters: GPParameters, problem: _TensorProblem) -> tuple[Tensor, Tensor]:
    """Predictive mean and variance of the true labels of the target frames, by dense covariances."""
    label_cov = label_covariance(parameters.process, problem.times, problem.activity)
    evidence_cov = evidence_covariance(parameters.sources[0], label_cov, problem.times, problem.inflation)
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
