"""The calibration of a network: how far its evidence can be trusted, fitted on people it was not trained on.

The parameters of the Gaussian process maximise the likelihood of the true labels between simulated support frames of
the validation clips (`utils.labelling.fitting`). Uninformative evidence gets a large observation noise, and the
estimated labels then depend on the given labels and on time alone. The calibration is kept in calibration.json beside
the checkpoint.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student_t

from datasets.columns import AXES
from models.pretrained import read_weights
from utils.base.errors import CheckpointError
from utils.base.files import sha256_of_file, write_text
from utils.config.manifest import Input
from utils.labelling.mixture import (
    PRIOR_OF_TIME_ONLY,
    SCALE_PRIOR_LABELS,
    ClipModel,
    Explanation,
    MixturePosterior,
    explanations,
)
from utils.labelling.process import EvidenceParameters, GPParameters, ProcessParameters
from utils.labelling.types import LabelObservations

FILE_NAME = "calibration.json"
# Raise the format whenever the same parameters would give other labels, so that files of an older format are not read
# and the calibration is fitted again. Formats 1 and 2 were kept in fusion.json.
FORMAT = 6
COVERAGE = 0.90
NORMAL_WIDTH = 1.6449  # half-width, in standard deviations, of the interval that holds COVERAGE of a normal variable

# Starting point and prior mean of the fit, and the parameters without a fit.
START = GPParameters(
    ProcessParameters(wiener=0.05, matern=0.7, matern_seconds=1.1, activity_exponent=0.5, nugget=0.03),
    (EvidenceParameters(ou=0.1, ou_seconds=0.3, offset=0.3, observation_noise=0.1),),
)
TIME_ONLY = GPParameters(START.process._replace(matern=0.3, matern_seconds=0.6))

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
        parameters: process parameters with evidence.
        time_only: process parameters without evidence, for faces that the network misreads.
        foreign_offset: constant error of evidence from anchors of other people.
        interval_widths: half-widths of the 90 % intervals.
        time_only_prior: prior weight of the process without evidence, for clips of several labels (see `mixture`).
    """

    parameters: GPParameters = START
    time_only: GPParameters = TIME_ONLY
    foreign_offset: ForeignOffset = DEFAULT_OFFSET
    interval_widths: IntervalWidths = NORMAL_WIDTHS
    time_only_prior: float = PRIOR_OF_TIME_ONLY

    def explanations(self, evidence: np.ndarray) -> list[Explanation]:
        """The explanations of a clip by the sources that have a value on this axis, given its evidence (N, E)."""
        known = np.flatnonzero(np.isfinite(evidence).any(0)).tolist()
        parameters = self.parameters._replace(evidence=tuple(self.parameters.evidence[index] for index in known))
        return [
            explanation._replace(sources=[known[index] for index in explanation.sources])
            for explanation in explanations(parameters, self.time_only, self.time_only_prior)
        ]

    def replace_evidence(self, evidence: Iterable[EvidenceParameters]) -> "AxisCalibration":
        """The calibration with other parameters of the sources of evidence."""
        return self._replace(parameters=self.parameters._replace(evidence=tuple(evidence)))


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

    def models(self, times: np.ndarray, evidence: np.ndarray) -> list[ClipModel]:
        """The models of valence and arousal of a clip; arguments as of `posteriors`."""
        return [
            ClipModel.of_axis(axis.explanations(evidence[..., index]), times, evidence[..., index])
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
            siamese, *others = axis.parameters.evidence
            siamese = siamese._replace(offset=axis.foreign_offset.std(people))
            axes.append(axis.replace_evidence([siamese, *others]))
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


def calibration_path(checkpoint: Path) -> Path:
    """The file that holds a network's calibration: an exported network, or calibration.json beside the network."""
    exported = checkpoint.suffix == ".safetensors" and read_weights(checkpoint)[1].get("calibration")
    return checkpoint if exported else checkpoint.parent / FILE_NAME


def read_calibration(checkpoint: Path) -> Calibration | None:
    """Reads the calibration of a network, from `calibration_path`.

    Returns:
        The calibration; None if the file is missing, belongs to other weights or has an older format.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = calibration_path(checkpoint)
    if not path.exists():
        return None
    try:
        if path == checkpoint:
            content = read_weights(path)[1]["calibration"]
        else:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["weights"] != sha256_of_file(checkpoint):
                return None
        if content["format"] != FORMAT:
            return None
        return _calibration_from_content(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be used ({error}); delete the file, and it is fitted again") from None


def save_calibration(checkpoint: Path, calibration: Calibration) -> None:
    """Writes the calibration beside the checkpoint, with the hash of the weights that it belongs to."""
    content = {"weights": sha256_of_file(checkpoint)} | calibration_content(calibration)
    write_text(checkpoint.parent / FILE_NAME, json.dumps(content, indent=2) + "\n")


def calibration_content(calibration: Calibration) -> dict[str, Any]:
    """A calibration as plain values, as JSON stores it."""
    content: dict[str, Any] = {"format": FORMAT, "source": calibration.fitted_on, "clips": calibration.clips}
    for name, axis in zip(AXES, calibration.axes, strict=True):
        content[name] = {
            "parameters": _parameters_as_dict(axis.parameters),
            "time_only": _parameters_as_dict(axis.time_only),
            "foreign_offset": axis.foreign_offset._asdict(),
            "interval_widths": axis.interval_widths._asdict(),
        }
    return content


def calibration_input(checkpoint: Path | None, calibration: Calibration) -> Input:
    """Describes the calibration that a run uses, for its manifest. The hash depends on the parameters only.

    Args:
        checkpoint: the network beside which the calibration is kept; None: it belongs to several sources or a table.
        calibration: the calibration.
    """
    content = json.dumps(calibration_content(calibration), sort_keys=True)
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    path = str(calibration_path(checkpoint)) if checkpoint else "calibration"
    return Input(role="calibration", path=path, sha256=sha256)


def _parameters_as_dict(parameters: GPParameters) -> dict[str, object]:
    evidence = [source_parameters._asdict() for source_parameters in parameters.evidence]
    return {"process": parameters.process._asdict(), "evidence": evidence}


def _calibration_from_content(content: dict[str, Any]) -> Calibration:
    valence, arousal = (_read_axis(content[axis]) for axis in AXES)
    return Calibration(valence, arousal, int(content["clips"]), str(content["source"]))


def _read_axis(content: dict[str, Any]) -> AxisCalibration:
    """The calibration of one axis.

    Raises:
        ValueError, KeyError, TypeError: the content is not that of an axis.
    """
    if not content["parameters"]["evidence"]:
        raise ValueError("parameters needs evidence")
    widths = IntervalWidths(*(tuple(map(float, content["interval_widths"][name])) for name in IntervalWidths._fields))
    if len(widths.stds) != len(widths.widths) or not widths.stds:
        raise ValueError("interval_widths needs as many stds as widths")
    for values in widths:
        _require_positive(values)
    return AxisCalibration(
        _read_parameters(content["parameters"]),
        _read_parameters(content["time_only"]),
        ForeignOffset(*_require_positive([content["foreign_offset"][name] for name in ForeignOffset._fields])),
        widths,
    )


def _read_parameters(content: dict[str, Any]) -> GPParameters:
    evidence = []
    for values in content["evidence"]:
        numbers = EvidenceParameters(**{name: float(values[name]) for name in EvidenceParameters._fields})
        _require_positive(numbers._replace(bias=1.0))
        if not np.isfinite(numbers.bias):
            raise ValueError("its numbers must be finite")
        evidence.append(numbers)
    process = ProcessParameters(**{name: float(content["process"][name]) for name in ProcessParameters._fields})
    _require_positive(process)
    return GPParameters(process, tuple(evidence))


def _require_positive(numbers: Sequence[float]) -> Sequence[float]:
    if not all(np.isfinite(number) and number > 0 for number in numbers):
        raise ValueError("its numbers must be positive")
    return numbers
