"""A mixture of Gaussian processes, with all, some or no evidence, weighted by leave-one-out likelihood.

The calibration holds for faces like those of the validation clips. A source of evidence may misread another face
systematically. Each axis of a clip with enough labels therefore has several posteriors. One follows all evidence, with
the calibrated parameters; if there are several sources, one for each follows this source alone; and one ignores the
evidence and changes over time as labels usually do. The weight of a posterior is its prior weight times the product,
over the given labels, of the likelihood of each label given the others. Any label may be an outlier. In addition, the
variance of the mixture is scaled by how well the leave-one-out predictions explain the labels of the clip.
"""

from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import NamedTuple, Protocol

import numpy as np

from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.posterior.offsets import OffsetGaussian
from utils.labelling.posterior.outliers import IGNORED_ERROR, find_outliers
from utils.labelling.posterior.process import GPParameters
from utils.labelling.types import LabelObservations

PRIOR_OF_TIME_ONLY = 0.1  # The prior weight of the posterior that ignores calibrated evidence.
PRIOR_OF_ONE_SOURCE = 0.1  # The prior weight of each posterior that follows one of several sources alone.
CLIP_OUTLIER_RATE = 0.05  # The share of given labels that are outliers, which are distributed uniformly on [-1, 1].
SMALLEST_WEIGHT = 0.01  # A posterior of less weight is left out of the mixture.
LABELS_TO_WEIGH_EXPLANATIONS = 3  # With fewer labels, the posterior with all evidence is used alone.
SCALE_PRIOR_LABELS = 4  # The prior of the variance scale, which is 1, has the weight of this many labels.
LARGEST_VARIANCE = 1.0  # The variance of any distribution on [-1, 1] is at most 1.
LARGEST_SQUARED_DEVIATION = 9.0  # In the variance scale, no label counts as more than three standard deviations off.


class Posterior(Protocol):
    """Posterior of the latent label f at N frames: a `GPPosterior` or an `incremental.ConditionedPosterior`."""

    @property
    def mean(self) -> np.ndarray: ...
    @property
    def variance(self) -> np.ndarray: ...
    @property
    def offset_message(self) -> OffsetGaussian: ...
    @property
    def offset_response(self) -> np.ndarray: ...
    def covariance(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray: ...
    def loo_predictive(self) -> tuple[np.ndarray, np.ndarray]: ...
    def given_offset_prior(self, prior: OffsetGaussian) -> "Posterior": ...


PosteriorFactory = Callable[[LabelObservations], Posterior]


class Explanation(NamedTuple):
    """One way to explain the labels of a clip: by some of the sources of evidence.

    Attributes:
        prior: prior weight.
        parameters: of the process, with the sources that are followed.
        sources: indices of these sources.
    """

    prior: float
    parameters: GPParameters
    sources: list[int]


def explanations(
    parameters: GPParameters, time_only: GPParameters, time_only_prior: float = PRIOR_OF_TIME_ONLY
) -> list[Explanation]:
    """The explanations of a mixture: by all sources of evidence, by each of several sources alone, and by time only.

    Args:
        parameters: with all sources.
        time_only: without sources.
        time_only_prior: prior weight of the explanation by time only.
    """
    sources = list(range(len(parameters.sources)))
    if not sources:
        return [Explanation(1.0, time_only, [])]
    alone = [parameters._replace(sources=(source,)) for source in parameters.sources] if len(sources) > 1 else []
    prior_alone = min(PRIOR_OF_ONE_SOURCE, (1 - time_only_prior) / (len(alone) + 1))
    return [
        Explanation(1 - time_only_prior - prior_alone * len(alone), parameters, sources),
        *(Explanation(prior_alone, with_source, [index]) for index, with_source in enumerate(alone)),
        Explanation(time_only_prior, time_only, []),
    ]


class ClipModel(NamedTuple):
    """One axis of a clip: everything that its posteriors depend on but the given labels.

    Attributes:
        explanations: its explanations; the first one follows all evidence, the last one time only.
        factories: for each explanation, a function that computes the posterior, given observations.
    """

    explanations: list[Explanation]
    factories: list[PosteriorFactory]

    @classmethod
    def of_axis(cls, every: list[Explanation], times: np.ndarray, evidence: np.ndarray) -> "ClipModel":
        """The model of one axis of a clip.

        Args:
            every: as `explanations` returns them.
            times: (N,) seconds, ascending.
            evidence: (N, E) evidence of the axis.
        """
        return cls(every, [partial(GPPosterior, one.parameters, times, evidence[:, one.sources]) for one in every])


class MixturePosterior:
    """Mixture of posteriors of the latent label f at N frames of one axis, given the same labels.

    `variance` and `covariance` are scaled by `variance_scale`; `loo_predictive` is not.

    Attributes:
        observations: the given labels.
        weights: (C,) weights of the C posteriors; the last one is that by time only. In the mixture, a component of
            weight below 0.01 is dropped and the rest renormalised; this attribute keeps all weights.
        nugget: standard deviation of true labels about f, before it is scaled.
    """

    def __init__(self, model: ClipModel, observations: LabelObservations):
        """Computes the mixture.

        Args:
            model: of the axis of the clip, with C explanations. The nugget of the first is used for all posteriors. All
                posteriors but the first are computed only if there are enough labels.
            observations: given labels at A of the frames.
        """
        priors, factories = [one.prior for one in model.explanations], model.factories
        self.observations, self.nugget = observations, model.explanations[0].parameters.process.nugget
        self.weights, self._time_only_prior = np.eye(len(priors))[0], priors[-1]
        posterior = factories[0](observations)
        self._components: list[tuple[float, Posterior]] = [(1.0, posterior)]
        self._loo: tuple[np.ndarray, np.ndarray] | None = None
        if len(observations.indices) >= LABELS_TO_WEIGH_EXPLANATIONS and len(factories) > 1:
            others = [factory(observations) for factory in factories[1:]]
            self._weight_components(np.log(priors), factories, [posterior, *others])

    @property
    def misread(self) -> bool:
        """Whether labels have moved most of the weight to the posterior that ignores the evidence.

        It is not so if that posterior had most of the weight without them, as for evidence that explains little.
        """
        return len(self.weights) > 1 and bool(self._time_only_prior < 0.5 < self.weights[-1])

    @cached_property
    def mean(self) -> np.ndarray:
        """(N,) mean of f."""
        return _weighted_sum((weight, posterior.mean) for weight, posterior in self._components)

    @cached_property
    def variance(self) -> np.ndarray:
        """(N,) variance of f, scaled by `variance_scale`."""
        within = _weighted_sum((weight, posterior.variance) for weight, posterior in self._components)
        between = _weighted_sum((weight, (posterior.mean - self.mean) ** 2) for weight, posterior in self._components)
        return self.variance_scale * (within + between)

    @property
    def predictive_variance(self) -> np.ndarray:
        """(N,) variance of the true labels, which scatter about f by the nugget and lie in [-1, 1]."""
        return np.minimum(self.variance + self.nugget_variance, LARGEST_VARIANCE)

    @property
    def nugget_variance(self) -> float:
        """Variance of the true labels about f, scaled by `variance_scale`: quiet clips have less of it, too."""
        return self.variance_scale * self.nugget**2

    def covariance(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """(R, C) covariance of f at `rows` (R,) (None: all frames) with f at `columns` (C,), both frame indices."""
        rows = np.arange(len(self.mean)) if rows is None else rows
        parts = []
        for weight, posterior in self._components:
            deviation = posterior.mean - self.mean
            between = np.outer(deviation[rows], deviation[columns])
            parts.append((weight, posterior.covariance(columns, rows) + between))
        return self.variance_scale * _weighted_sum(parts)

    def loo_predictive(self) -> tuple[np.ndarray, np.ndarray]:
        """Leave-one-out prediction: mean (A,) and variance (A,) of f at each given label, from the other labels.

        The variance is that of the mixture, without `variance_scale`.
        """
        return self._components[0][1].loo_predictive() if self._loo is None else self._loo

    @cached_property
    def variance_scale(self) -> float:
        """Mean squared standardised leave-one-out residual, shrunk towards 1."""
        if len(self.observations.indices) < 2:
            return 1.0
        means, variances = self.loo_predictive()
        expected = variances + self.nugget**2 + self.observations.errors**2
        squared = np.minimum((self.observations.labels - means) ** 2 / expected, LARGEST_SQUARED_DEVIATION)
        return float((SCALE_PRIOR_LABELS + squared.sum()) / (SCALE_PRIOR_LABELS + len(means)))

    def _weight_components(
        self, log_priors: np.ndarray, factories: list[PosteriorFactory], posteriors: list[Posterior]
    ) -> None:
        """Sets the weights, the components and the leave-one-out prediction.

        In the leave-one-out prediction, each label is predicted with weights computed from the other labels.
        """
        likelihoods = np.stack([self._log_likelihoods(*pair) for pair in zip(factories, posteriors, strict=True)])
        log_weights = log_priors + likelihoods.sum(1)
        self.weights, loo_weights = _softmax(log_weights), _softmax(log_weights[:, None] - likelihoods)
        loo = zip(*(posterior.loo_predictive() for posterior in posteriors), strict=True)
        means, variances = (np.stack(values) for values in loo)
        mean = (loo_weights * means).sum(0)
        self._loo = mean, (loo_weights * (variances + (means - mean) ** 2)).sum(0)
        kept = np.where(self.weights >= SMALLEST_WEIGHT, self.weights, 0)
        components = zip(kept / kept.sum(), posteriors, strict=True)
        self._components = [(weight, posterior) for weight, posterior in components if weight > 0]

    def _log_likelihoods(self, factory: PosteriorFactory, posterior: Posterior) -> np.ndarray:
        """(A,) log-density of each given label under a posterior.

        It is the density of the leave-one-out prediction from the other labels, without those that are outliers under
        this posterior, mixed with the uniform density of outliers on [-1, 1].
        """
        errors = self.observations.errors.copy()
        while True:
            means, variances = posterior.loo_predictive()
            variances = variances + self.nugget**2 + self.observations.errors**2
            deviations = np.abs(self.observations.labels - means) / np.sqrt(variances)
            outliers = find_outliers(deviations, errors)
            if not outliers.any():
                break
            errors[outliers] = IGNORED_ERROR
            posterior = factory(self.observations._replace(errors=errors.copy()))
        density = np.exp(-(deviations**2) / 2) / np.sqrt(2 * np.pi * variances)
        return np.log((1 - CLIP_OUTLIER_RATE) * density + CLIP_OUTLIER_RATE / 2)


def _weighted_sum(pairs: Iterable[tuple[float, np.ndarray]]) -> np.ndarray:
    return np.sum([weight * values for weight, values in pairs], axis=0)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(0))
    return weights / weights.sum(0)
