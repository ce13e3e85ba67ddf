"""A mixture of Gaussian processes, each of which explains the given labels of a clip in its own way.

The calibration holds for faces like those of the validation clips. A source of evidence may misread another face
systematically. Each axis of a clip with enough labels therefore has several explanations:

    all evidence    the labels follow all sources, with the calibrated parameters
    one source      for each of several sources, the labels follow this source alone
    time alone      the labels ignore the evidence, and change over time as labels usually do

The weight of an explanation is its prior weight times the likelihood of the given labels, each predicted from the
others. Example: time alone has the prior weight 0.1. If it predicts each of five labels with twice the density of all
evidence, the weights are in the ratio 0.1 · 2⁵ to 0.9, and that of time alone is 0.78. Any label may be an outlier. In
addition, the variance of the mixture is scaled by how well the leave-one-out predictions fit the labels of the clip.

If a person is shown in several clips, a source that misreads the face in one of them misreads it in the others as well,
so the labels of all of them weigh the explanations of each (`utils.labelling.people`).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import NamedTuple, Protocol

import numpy as np

from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.posterior.offsets import OffsetGaussian
from utils.labelling.posterior.outliers import IGNORED_ERROR, find_outliers
from utils.labelling.posterior.process import GPParameters
from utils.labelling.types import LabelObservations

PRIOR_OF_TIME_ONLY = 0.1  # prior weight of the explanation by time alone, if the evidence is calibrated
PRIOR_OF_ONE_SOURCE = 0.1  # prior weight of the explanation by each of several sources alone
CLIP_OUTLIER_RATE = 0.05  # share of given labels that are outliers, which are distributed uniformly on [-1, 1]
SMALLEST_WEIGHT = 0.01  # An explanation of less weight is left out of the mixture.
LABELS_TO_WEIGH_EXPLANATIONS = 3  # With fewer labels, all evidence is the only explanation.
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
    def offset_likelihood(self) -> OffsetGaussian: ...
    @property
    def offset_sensitivity(self) -> np.ndarray: ...
    def covariance(self, columns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray: ...
    def loo_predictive(self) -> tuple[np.ndarray, np.ndarray]: ...
    def with_offset_prior(self, prior: OffsetGaussian) -> "Posterior": ...


class Explanation(NamedTuple):
    """One way to explain the labels of clips: by some of the sources of evidence, or by time alone.

    Attributes:
        prior: prior weight.
        parameters: of the process, with the sources that are followed.
        sources: indices of these sources; empty: time alone.
    """

    prior: float
    parameters: GPParameters
    sources: list[int]


def make_explanations(
    parameters: GPParameters, time_only: GPParameters, time_only_prior: float = PRIOR_OF_TIME_ONLY
) -> list[Explanation]:
    """The explanations of a mixture: by all sources of evidence, by each of several sources alone, and by time alone.

    Args:
        parameters: with all sources.
        time_only: without sources.
        time_only_prior: prior weight of the explanation by time alone.
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


class AxisExplanation(NamedTuple):
    """An explanation of one axis of a clip of N frames: all that its posterior depends on but the given labels.

    Attributes:
        explanation: prior weight, parameters and sources.
        posterior: computes the posterior, given the labels.
    """

    explanation: Explanation
    posterior: Callable[[LabelObservations], Posterior]

    def with_offset_prior(self, prior: OffsetGaussian) -> "AxisExplanation":
        """The explanation by another prior distribution of the offsets of all sources of evidence."""
        prior_of_sources = prior.of_sources(self.explanation.sources)
        return self._replace(posterior=lambda labels: self.posterior(labels).with_offset_prior(prior_of_sources))


AxisModel = Sequence[AxisExplanation]
"""One axis of a clip: its explanations. The first one is by all evidence, the last one by time alone."""


def axis_model(explanations: Iterable[Explanation], times: np.ndarray, evidence: np.ndarray) -> AxisModel:
    """The model of one axis of a clip.

    Args:
        explanations: as `make_explanations` returns them.
        times: (N,) seconds, ascending.
        evidence: (N, E) evidence of the axis.
    """
    return [
        AxisExplanation(
            explanation, partial(GPPosterior, explanation.parameters, times, evidence[:, explanation.sources])
        )
        for explanation in explanations
    ]


class Weights(NamedTuple):
    """How far each of X explanations is believed.

    Attributes:
        given_all: (X,) weights given all labels.
        given_others: (X, A) weights given all labels but one of the A.
    """

    given_all: np.ndarray
    given_others: np.ndarray


class LabelsElsewhere(NamedTuple):
    """What the given labels in other clips of the person say about the X explanations of a clip.

    Attributes:
        labels: number of labels.
        log_likelihoods: (X,) of all of them together.
    """

    labels: int
    log_likelihoods: np.ndarray


def weigh(priors: Sequence[float], log_likelihoods: np.ndarray, elsewhere: LabelsElsewhere | None = None) -> Weights:
    """Weigh explanations by prior weight times likelihood.

    Args:
        priors: prior weights of the X explanations.
        log_likelihoods: (X, A) of each label, as `label_log_likelihoods` returns them.
        elsewhere: labels in other clips of the person; None: there are none.
    """
    log_weights = np.log(priors) + log_likelihoods.sum(1)
    if elsewhere:
        log_weights = log_weights + elsewhere.log_likelihoods
    return Weights(_softmax(log_weights), _softmax(log_weights[:, None] - log_likelihoods))


def label_log_likelihoods(
    explained: AxisExplanation, posterior: Posterior, observations: LabelObservations, nugget: float
) -> np.ndarray:
    """(A,) log-density of each given label under an explanation.

    It is the density of the leave-one-out prediction from the other labels, without those that are outliers under
    this explanation, mixed with the uniform density of outliers on [-1, 1].

    Args:
        explained: the explanation.
        posterior: its posterior given all labels, outliers included.
        observations: the given labels.
        nugget: standard deviation of true labels about f.
    """
    if not len(observations.indices):
        return np.empty(0)
    errors = observations.errors.copy()
    while True:
        means, variances = posterior.loo_predictive()
        variances = variances + nugget**2 + observations.errors**2
        deviations = np.abs(observations.labels - means) / np.sqrt(variances)
        outliers = find_outliers(deviations, errors)
        if not outliers.any():
            break
        errors[outliers] = IGNORED_ERROR
        posterior = explained.posterior(observations._replace(errors=errors.copy()))
    density = np.exp(-(deviations**2) / 2) / np.sqrt(2 * np.pi * variances)
    return np.log((1 - CLIP_OUTLIER_RATE) * density + CLIP_OUTLIER_RATE / 2)


def mix_loo_predictive(posteriors: Sequence[Posterior], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (A,) and variance (A,) of the leave-one-out prediction of a mixture.

    Args:
        posteriors: of the X explanations.
        weights: (X, A) weights for the prediction of each label.
    """
    predictions = zip(*(posterior.loo_predictive() for posterior in posteriors), strict=True)
    means, variances = (np.stack(values) for values in predictions)
    mean = (weights * means).sum(0)
    return mean, (weights * (variances + (means - mean) ** 2)).sum(0)


def drop_small_weights(weights: np.ndarray, posteriors: Sequence[Posterior]) -> list[tuple[float, Posterior]]:
    """The posteriors with a weight of at least SMALLEST_WEIGHT, with renormalised weights."""
    kept = np.where(weights >= SMALLEST_WEIGHT, weights, 0)
    pairs = zip(kept / kept.sum(), posteriors, strict=True)
    return [(weight, posterior) for weight, posterior in pairs if weight > 0]


class MixturePosterior:
    """Mixture of posteriors of the latent label f at N frames of one axis, given the same labels.

    `variance` and `covariance` are scaled by `variance_scale`; `loo_predictive` is not.

    Attributes:
        observations: the given labels.
        weights: (X,) weights of the X explanations; the last one is that of time alone. In the mixture, an explanation
            of weight below 0.01 is dropped and the rest renormalised; this attribute keeps all weights.
        nugget: standard deviation of true labels about f, before it is scaled.
    """

    def __init__(self, model: AxisModel, observations: LabelObservations, elsewhere: LabelsElsewhere | None = None):
        """Compute the mixture.

        Args:
            model: of the axis of the clip. The nugget of its first explanation is used for all. The other explanations
                count only if there are enough labels.
            observations: given labels at A of the frames.
            elsewhere: labels in other clips of the person, which help to weigh the explanations; None: there are none.
        """
        labels = len(observations.indices) + (elsewhere.labels if elsewhere else 0)
        all_evidence, time_only = model[0], model[-1]
        self.observations, self.nugget = observations, all_evidence.explanation.parameters.process.nugget
        self._time_only_prior = time_only.explanation.prior
        self._posteriors: list[tuple[float, Posterior]]
        self._loo: tuple[np.ndarray, np.ndarray] | None
        if len(model) == 1 or labels < LABELS_TO_WEIGH_EXPLANATIONS:
            self.weights = np.eye(len(model))[0]
            self._posteriors = [(1.0, all_evidence.posterior(observations))]
            self._loo = None  # It is that of this posterior, and seldom needed.
        else:
            posteriors = [explained.posterior(observations) for explained in model]
            likelihoods = [
                label_log_likelihoods(explained, posterior, observations, self.nugget)
                for explained, posterior in zip(model, posteriors, strict=True)
            ]
            priors = [explained.explanation.prior for explained in model]
            weights = weigh(priors, np.stack(likelihoods), elsewhere)
            self.weights = weights.given_all
            self._posteriors = drop_small_weights(weights.given_all, posteriors)
            # Each label is predicted with weights that come from the other labels.
            self._loo = mix_loo_predictive(posteriors, weights.given_others) if len(observations.indices) else None

    @property
    def misread(self) -> bool:
        """Whether labels have moved most of the weight to the explanation by time alone.

        It is not so if that explanation had most of the weight without them, as for evidence that explains little.
        """
        return len(self.weights) > 1 and bool(self._time_only_prior < 0.5 < self.weights[-1])

    @cached_property
    def mean(self) -> np.ndarray:
        """(N,) mean of f."""
        return _weighted_sum((weight, posterior.mean) for weight, posterior in self._posteriors)

    @cached_property
    def variance(self) -> np.ndarray:
        """(N,) variance of f, scaled by `variance_scale`."""
        within = _weighted_sum((weight, posterior.variance) for weight, posterior in self._posteriors)
        between = _weighted_sum((weight, (posterior.mean - self.mean) ** 2) for weight, posterior in self._posteriors)
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
        for weight, posterior in self._posteriors:
            deviation = posterior.mean - self.mean
            between = np.outer(deviation[rows], deviation[columns])
            parts.append((weight, posterior.covariance(columns, rows) + between))
        return self.variance_scale * _weighted_sum(parts)

    def loo_predictive(self) -> tuple[np.ndarray, np.ndarray]:
        """Leave-one-out prediction: mean (A,) and variance (A,) of f at each given label, from the other labels.

        The variance is that of the mixture, without `variance_scale`.
        """
        return self._posteriors[0][1].loo_predictive() if self._loo is None else self._loo

    @cached_property
    def variance_scale(self) -> float:
        """Mean squared standardised leave-one-out residual, shrunk towards 1."""
        if len(self.observations.indices) < 2:
            return 1.0
        means, variances = self.loo_predictive()
        expected = variances + self.nugget**2 + self.observations.errors**2
        squared = np.minimum((self.observations.labels - means) ** 2 / expected, LARGEST_SQUARED_DEVIATION)
        return float((SCALE_PRIOR_LABELS + squared.sum()) / (SCALE_PRIOR_LABELS + len(means)))


def _weighted_sum(pairs: Iterable[tuple[float, np.ndarray]]) -> np.ndarray:
    return np.sum([weight * values for weight, values in pairs], axis=0)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(0))
    return weights / weights.sum(0)
