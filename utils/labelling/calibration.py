"""The calibration of a network: how far its evidence can be trusted, fitted once on people it was not trained on.

The parameters of the Gaussian process are fitted so that the true labels between the support frames of the validation
clips become as likely as possible (`utils.labelling.fitting`). Evidence without value gets a large observation noise,
and the labels then follow time alone. The calibration is kept in calibration.json beside the checkpoint.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.columns import AXES
from utils.base.errors import CheckpointError
from utils.base.files import sha256_of_file, write_text
from utils.labelling.mixture import MixturePosterior
from utils.labelling.process import GPParameters
from utils.labelling.types import LabelObservations

FILE_NAME = "calibration.json"
FORMAT = 3  # Raise it whenever the same parameters would give other labels. Formats 1 and 2 were named fusion.json.
COVERAGE = 0.90
NORMAL_WIDTH = 1.6449  # half-width, in standard deviations, of the interval that holds COVERAGE of a normal variable
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
TIME_ONLY = START._replace(matern=0.5, activity_exponent=1e-3, observation_noise=1e3)  # ignores the evidence


class Calibration(NamedTuple):
    """Fitted parameters, one entry per axis.

    Attributes:
        parameters: process parameters with evidence.
        time_only: process parameters that ignore the evidence, for faces that the network misreads.
        interval_widths: half-widths of the 90 % intervals, in predictive standard deviations.
        clips: number of clips that were fitted; 0 = not fitted, so that the intervals are not calibrated.
        source: the data that were fitted.
    """

    parameters: tuple[GPParameters, GPParameters]
    time_only: tuple[GPParameters, GPParameters]
    interval_widths: tuple[float, float]
    clips: int
    source: str = ""

    def posteriors(
        self, times: np.ndarray, evidence: np.ndarray, observations: list[LabelObservations]
    ) -> list[MixturePosterior]:
        """The posteriors of valence and arousal of a clip.

        Args:
            times: (N,) seconds, ascending.
            evidence: (N, 2) evidence of both axes.
            observations: the observed labels, one entry per axis.
        """
        axes = zip(self.parameters, self.time_only, evidence.T, observations, strict=True)
        return [
            MixturePosterior.of_axis(parameters, time_only, times, values, observed)
            for parameters, time_only, values, observed in axes
        ]

    def half_widths(self, posteriors: list[MixturePosterior]) -> np.ndarray:
        """(N, 2) half-widths of the 90 % intervals of a clip's true labels."""
        pairs = zip(self.interval_widths, posteriors, strict=True)
        return np.stack([width * np.sqrt(posterior.predictive_variance) for width, posterior in pairs], 1)


DEFAULT_CALIBRATION = Calibration((START, START), (TIME_ONLY, TIME_ONLY), (NORMAL_WIDTH, NORMAL_WIDTH), 0)


def read_calibration(checkpoint: Path) -> Calibration | None:
    """Reads the calibration beside a checkpoint.

    Returns:
        The calibration; None if the file is missing, belongs to other weights or has an older format.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = checkpoint.parent / FILE_NAME
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["weights"], content["format"]) != (sha256_of_file(checkpoint), FORMAT):
            return None
        parameters, time_only = (
            (GPParameters(**content[AXES[0]][name]), GPParameters(**content[AXES[1]][name]))
            for name in ("parameters", "time_only")
        )
        widths = (float(content[AXES[0]]["interval_width"]), float(content[AXES[1]]["interval_width"]))
        numbers = [*widths, *(value for values in (*parameters, *time_only) for value in values)]
        if not all(np.isfinite(number) and number > 0 for number in numbers):
            raise ValueError("its numbers must be positive")
        return Calibration(parameters, time_only, widths, int(content["clips"]), str(content["source"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be used ({error}); delete the file, and it is fitted again") from None


def save_calibration(checkpoint: Path, calibration: Calibration) -> None:
    """Writes the calibration beside the checkpoint, with the hash of the weights that it belongs to."""
    axes = zip(AXES, calibration.parameters, calibration.time_only, calibration.interval_widths, strict=True)
    content = {
        "weights": sha256_of_file(checkpoint),
        "format": FORMAT,
        "source": calibration.source,
        "clips": calibration.clips,
    } | {
        axis: {"parameters": parameters._asdict(), "time_only": time_only._asdict(), "interval_width": width}
        for axis, parameters, time_only, width in axes
    }
    write_text(checkpoint.parent / FILE_NAME, json.dumps(content, indent=2) + "\n")
