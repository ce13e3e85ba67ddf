"""The calibration of a network: how far its evidence can be trusted, fitted on people it was not trained on.

The parameters of the Gaussian process maximise the likelihood of the true labels between simulated support frames of
the validation clips (`utils.labelling.fitting`). Uninformative evidence gets a large observation noise, and the
estimated labels then depend on the given labels and on time alone. The calibration is kept in calibration.json beside
the checkpoint.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student_t

from datasets.columns import AXES
from models.pretrained import read_weights
from utils.base.errors import CheckpointError
from utils.base.files import sha256_of_file, write_text
from utils.config.manifest import Input
from utils.labelling.mixture import SCALE_PRIOR_LABELS, MixturePosterior
from utils.labelling.process import GPParameters
from utils.labelling.types import LabelObservations

FILE_NAME = "calibration.json"
# Raise the format whenever the same parameters would give other labels, so that files of an older format are not read
# and the calibration is fitted again. Formats 1 and 2 were kept in fusion.json.
FORMAT = 4
COVERAGE = 0.90
NORMAL_WIDTH = 1.6449  # half-width, in standard deviations, of the interval that holds COVERAGE of a normal variable

# Starting point and prior mean of the fit, and the parameters without a fit.
START = GPParameters(
    wiener=0.05,
    matern=0.7,
    matern_seconds=1.1,
    activity_exponent=0.5,
    ou=0.1,
    ou_seconds=0.3,
    offset=0.3,
    observation_noise=0.1,
    nugget=0.03,
)

# The observation noise is so large, and the activity exponent so small, that the evidence has no influence.
TIME_ONLY = START._replace(matern=0.5, activity_exponent=1e-3, observation_noise=1e3)

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


class Calibration(NamedTuple):
    """Fitted parameters, one entry per axis.

    Attributes:
        parameters: process parameters with evidence.
        time_only: process parameters that ignore the evidence, for faces that the network misreads.
        foreign_offsets: constant errors of evidence from anchors of other people.
        interval_widths: half-widths of the 90 % intervals.
        clips: number of clips that were fitted; 0 = not fitted, so that the intervals are not calibrated.
        source: text that names the data set and split that were fitted.
    """

    parameters: tuple[GPParameters, GPParameters]
    time_only: tuple[GPParameters, GPParameters]
    foreign_offsets: tuple[ForeignOffset, ForeignOffset]
    interval_widths: tuple[IntervalWidths, IntervalWidths]
    clips: int
    source: str = ""

    def posteriors(
        self, times: np.ndarray, evidence: np.ndarray, observations: list[LabelObservations]
    ) -> list[MixturePosterior]:
        """The posteriors of valence and arousal of a clip.

        Args:
            times: (N,) seconds, ascending.
            evidence: (N, 2) evidence of both axes.
            observations: the given labels, one entry per axis.
        """
        axes = zip(self.parameters, self.time_only, evidence.T, observations, strict=True)
        return [
            MixturePosterior.of_axis(parameters, time_only, times, values, observed)
            for parameters, time_only, values, observed in axes
        ]

    def half_widths(self, posteriors: list[MixturePosterior]) -> np.ndarray:
        """(N, 2) half-widths of the 90 % intervals of a clip's true labels."""
        pairs = zip(self.interval_widths, posteriors, strict=True)
        widening = WIDENING_OF_ONE_LABEL if len(posteriors[0].observations.indices) == 1 else 1.0
        return np.stack([widening * widths.half_widths(scaled_std(posterior)) for widths, posterior in pairs], 1)

    def for_foreign_anchors(self, people: int) -> "Calibration":
        """The calibration for evidence from anchors of `people` other people."""
        pairs = zip(self.parameters, self.foreign_offsets, strict=True)
        valence, arousal = (parameters._replace(offset=offset.std(people)) for parameters, offset in pairs)
        return self._replace(parameters=(valence, arousal))


def scaled_std(posterior: MixturePosterior) -> np.ndarray:
    """(N,) predictive standard deviations, enlarged for few given labels by `small_sample_factor`."""
    return small_sample_factor(len(posterior.observations.indices)) * np.sqrt(posterior.predictive_variance)


def small_sample_factor(labels: int) -> float:
    """Factor on standard deviations for the uncertainty of the variance scale, for this number of given labels.

    It is the ratio of the quantiles of a Student-t and a normal distribution. The degrees of freedom are the number of
    given labels plus SCALE_PRIOR_LABELS.
    """
    return float(student_t.ppf((1 + COVERAGE) / 2, SCALE_PRIOR_LABELS + labels)) / NORMAL_WIDTH


DEFAULT_CALIBRATION = Calibration(
    (START, START), (TIME_ONLY, TIME_ONLY), (DEFAULT_OFFSET, DEFAULT_OFFSET), (NORMAL_WIDTHS, NORMAL_WIDTHS), 0
)


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
    by_part: list[Any] = list(calibration[: len(_PARTS)])
    content: dict[str, Any] = {"format": FORMAT, "source": calibration.source, "clips": calibration.clips}
    for number, axis in enumerate(AXES):
        content[axis] = {name: part[number]._asdict() for name, part in zip(_PARTS, by_part, strict=True)}
    return content


def calibration_input(checkpoint: Path, calibration: Calibration) -> Input:
    """Describes the calibration that a run uses, for its manifest. The hash depends on the parameters only."""
    content = json.dumps(calibration_content(calibration), sort_keys=True)
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    return Input(role="calibration", path=str(calibration_path(checkpoint)), sha256=sha256)


_PARTS: dict[str, Any] = {
    "parameters": GPParameters,
    "time_only": GPParameters,
    "foreign_offset": ForeignOffset,
    "interval_widths": IntervalWidths,
}


def _calibration_from_content(content: dict[str, Any]) -> Calibration:
    parts: list[Any] = list(zip(*(_read_axis(content[axis]) for axis in AXES), strict=True))
    clips, source = int(content["clips"]), str(content["source"])
    return Calibration(parts[0], parts[1], parts[2], parts[3], clips, source)


def _read_axis(content: dict[str, dict[str, Any]]) -> list[Any]:
    """The parts of the calibration of one axis, in the order of _PARTS.

    Raises:
        ValueError, KeyError, TypeError: the content is not that of an axis.
    """
    parts = []
    for name, kind in _PARTS.items():
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in content[name].items()}
        part = kind(**values)
        numbers = np.concatenate([np.atleast_1d(np.asarray(value, np.float64)) for value in part])
        if not (np.isfinite(numbers).all() and (numbers > 0).all()):
            raise ValueError("its numbers must be positive")
        parts.append(part)
    if len(parts[-1].stds) != len(parts[-1].widths) or not parts[-1].stds:
        raise ValueError("interval_widths needs as many stds as widths")
    return parts
