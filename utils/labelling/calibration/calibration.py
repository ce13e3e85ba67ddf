"""The calibration: how far the evidence of each source can be trusted, fitted on people it was not trained on.

The parameters of the Gaussian process maximise the likelihood of the true labels between simulated support frames of
the validation clips (`fitting`). Uninformative evidence gets a large observation noise, and the estimated labels then
depend on the given labels and on time alone. `file` reads and writes calibrations.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student_t

from utils.labelling.posterior.mixture import (
    PRIOR_OF_TIME_ONLY,
    SCALE_PRIOR_LABELS,
    AxisModel,
    Explanation,
    MixturePosterior,
    axis_model,
    make_explanations,
)
from utils.labelling.posterior.process import GPParameters, ProcessParameters, SourceParameters
from utils.labelling.types import LabelObservations

COVERAGE = 0.90
NORMAL_WIDTH = 1.6449  # half-width, in standard deviations, of the interval that holds COVERAGE of a normal variable

# Starting point and prior mean of the fit, and the parameters without a fit.
DEFAULT_PARAMETERS = GPParameters(
    ProcessParameters(wiener=0.05, matern=0.7, matern_seconds=1.1, activity_exponent=0.5, nugget=0.03),
    (SourceParameters(ou=0.1, ou_seconds=0.3, offset=0.3, observation_noise=0.1),),
)
TIME_ONLY = GPParameters(DEFAULT_PARAMETERS.process._replace(matern=0.3, matern_seconds=0.6))

# Factor on the intervals of a clip with one given label. From one label, the network's evidence for the face cannot be
# checked, so the intervals must also cover faces that are harder than those of the validation clips.
WIDENING_OF_ONE_LABEL = 1.15


class ForeignOffset(NamedTuple):
    """Constant error of evidence that comes from anchors of other people, on one axis.

    Attributes:
        shared: standard deviation of the part that remains with anchors of many people.
        per_person: standard deviation of the part that averages out over people.
    """

    shared: float
    per_person: float

    def std(self, people: int) -> float:
        """Standard deviation with anchors of `people` people."""
        return float(np.sqrt(self.shared**2 + self.per_person**2 / people))


class IntervalWidths(NamedTuple):
    """Half-widths of 90 % intervals, as a function of the predictive standard deviation.

    Attributes:
        stds: (K,) predictive standard deviations, ascending.
        widths: (K,) half-widths of the intervals, in units of the predictive standard deviation, at `stds`. Between
            them they are interpolated linearly in the logarithm of the standard deviation.
    """

    stds: tuple[float, ...]
    widths: tuple[float, ...]

    def half_widths(self, stds: np.ndarray) -> np.ndarray:
        """(N,) half-widths in label units, at predictive standard deviations (N,)."""
        return stds * np.interp(np.log(stds), np.log(self.stds), self.widths)


NORMAL_WIDTHS = IntervalWidths((1.0,), (NORMAL_WIDTH,))
DEFAULT_OFFSET = ForeignOffset(0.2, 0.25)  # as measured on rendered people


class AxisCalibration(NamedTuple):
    """The fitted parameters of one axis.

    Attributes:
        with_evidence: parameters of the process with evidence.
        time_only: parameters of the process without evidence, for faces that the network misreads.
        foreign_offset: constant error of evidence from anchors of other people.
        interval_widths: half-widths of the 90 % intervals.
        time_only_prior: prior weight of the process without evidence, for clips of several labels (see `mixture`).
    """

    with_evidence: GPParameters = DEFAULT_PARAMETERS
    time_only: GPParameters = TIME_ONLY
    foreign_offset: ForeignOffset = DEFAULT_OFFSET
    interval_widths: IntervalWidths = NORMAL_WIDTHS
    time_only_prior: float = PRIOR_OF_TIME_ONLY

    def explanations(self, evidence: np.ndarray) -> list[Explanation]:
        """The explanations of a clip by the sources that have a value on this axis, given its evidence (N, E)."""
        known = np.flatnonzero(np.isfinite(evidence).any(0)).tolist()
        parameters = self.with_evidence._replace(sources=tuple(self.with_evidence.sources[index] for index in known))
        return [
            explanation._replace(sources=[known[index] for index in explanation.sources])
            for explanation in make_explanations(parameters, self.time_only, self.time_only_prior)
        ]

    def replace_sources(self, evidence: Iterable[SourceParameters]) -> "AxisCalibration":
        """The calibration with other parameters of the sources of evidence."""
        return self._replace(with_evidence=self.with_evidence._replace(sources=tuple(evidence)))


class Calibration(NamedTuple):
    """Fitted parameters of both axes.

    Attributes:
        valence, arousal: parameters of the axis.
        clips: number of clips that were fitted; 0 = not fitted, so that the intervals are not calibrated.
        fitted_on: text that names the data set and split that were fitted.
    """

    valence: AxisCalibration = AxisCalibration()
    arousal: AxisCalibration = AxisCalibration()
    clips: int = 0
    fitted_on: str = ""

    @property
    def axes(self) -> tuple[AxisCalibration, AxisCalibration]:
        """The parameters of valence and of arousal."""
        return self.valence, self.arousal

    def replace_axes(self, axes: Iterable[AxisCalibration]) -> "Calibration":
        """The calibration with other parameters of valence and arousal, in this order."""
        valence, arousal = axes
        return self._replace(valence=valence, arousal=arousal)

    def posteriors(
        self, times: np.ndarray, evidence: np.ndarray, observations: list[LabelObservations]
    ) -> list[MixturePosterior]:
        """The posteriors of valence and arousal of a clip.

        Args:
            times: (N,) seconds, ascending.
            evidence: (N, E, 2) evidence of E sources, for both axes.
            observations: the given labels, one entry per axis.
        """
        pairs = zip(self.models(times, evidence), observations, strict=True)
        return [MixturePosterior(model, observed) for model, observed in pairs]

    def models(self, times: np.ndarray, evidence: np.ndarray) -> list[AxisModel]:
        """The models of valence and arousal of a clip; arguments as of `posteriors`."""
        return [
            axis_model(axis.explanations(evidence[..., index]), times, evidence[..., index])
            for index, axis in enumerate(self.axes)
        ]

    def half_widths(self, posteriors: list[MixturePosterior]) -> np.ndarray:
        """(N, 2) half-widths of the 90 % intervals of a clip's true labels.

        The fitted widths hold for exact labels. The error that noisy labels cause is normally distributed, so the
        widths are then at least those of a normal variable.
        """
        columns = []
        for axis, posterior in zip(self.axes, posteriors, strict=True):
            stds = scaled_std(posterior)
            half_widths = axis.interval_widths.half_widths(stds)
            noisy = (posterior.observations.errors > 0).any()
            columns.append(np.maximum(half_widths, NORMAL_WIDTH * stds) if noisy else half_widths)
        widening = WIDENING_OF_ONE_LABEL if len(posteriors[0].observations.indices) == 1 else 1.0
        return widening * np.stack(columns, 1)

    def for_foreign_anchors(self, people: int) -> "Calibration":
        """The calibration for evidence of the Siamese network from anchors of `people` other people."""
        axes = []
        for axis in self.axes:
            siamese, *others = axis.with_evidence.sources
            siamese = siamese._replace(offset=axis.foreign_offset.std(people))
            axes.append(axis.replace_sources([siamese, *others]))
        return self.replace_axes(axes)


def scaled_std(posterior: MixturePosterior) -> np.ndarray:
    """(N,) predictive standard deviations, enlarged for few given labels by `small_sample_factor`."""
    return small_sample_factor(len(posterior.observations.indices)) * np.sqrt(posterior.predictive_variance)


def small_sample_factor(labels: int) -> float:
    """Factor on standard deviations for the uncertainty of the variance scale, for this number of given labels.

    It is the ratio of the quantiles of a Student-t and a normal distribution. The degrees of freedom are the number of
    given labels plus SCALE_PRIOR_LABELS.
    """
    return float(student_t.ppf((1 + COVERAGE) / 2, SCALE_PRIOR_LABELS + labels)) / NORMAL_WIDTH


DEFAULT_CALIBRATION = Calibration()
