"""calibration.json: the calibration of a network, beside its checkpoint, or of several sources.

An exported network has its calibration in its own file.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.columns import AXES
from models.pretrained import read_weights
from utils.base.errors import CheckpointError
from utils.base.files import sha256_of_file, write_text
from utils.base.json_files import load_json
from utils.config.manifest import Input
from utils.labelling.calibration.calibration import AxisCalibration, Calibration, ForeignOffset, IntervalWidths
from utils.labelling.posterior.mixture import PRIOR_OF_TIME_ONLY
from utils.labelling.posterior.process import GPParameters, ProcessParameters, SourceParameters

FILE_NAME = "calibration.json"
# Raise the format whenever the same parameters would give other labels, so that files of an older format are not read
# and the calibration is fitted again.
FORMAT = 6


def calibration_path(checkpoint: Path) -> Path:
    """The file that holds a network's calibration: an exported network, or calibration.json beside the network."""
    exported = checkpoint.suffix == ".safetensors" and read_weights(checkpoint)[1].get("calibration")
    return checkpoint if exported else checkpoint.parent / FILE_NAME


def read_calibration(checkpoint: Path) -> Calibration | None:
    """Read the calibration of a network, from `calibration_path`.

    Returns:
        The calibration; None if the file is missing, belongs to other weights or has an older format.

    Raises:
        CheckpointError: the file is damaged.
    """
    return _read(calibration_path(checkpoint), checkpoint)


def read_calibration_of_sources(path: Path) -> Calibration | None:
    """Read a calibration of several sources; None if the file is missing or has an older format.

    Raises:
        CheckpointError: the file is damaged.
    """
    return _read(path, None)


def _read(path: Path, checkpoint: Path | None) -> Calibration | None:
    """Read a calibration, which must belong to the weights of the checkpoint unless that is None."""
    if not path.exists():
        return None
    try:
        if path == checkpoint:
            content = read_weights(path)[1]["calibration"]
        else:
            content = load_json(path)
            if checkpoint and content["weights"] != sha256_of_file(checkpoint):
                return None
        return _calibration_from_content(content) if content["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        remedy = "export it again" if path == checkpoint else "delete the file, and it is fitted again"
        raise CheckpointError(f"{path}: the calibration cannot be used ({error}); {remedy}") from None


def save_calibration(checkpoint: Path, calibration: Calibration) -> None:
    """Write the calibration beside the checkpoint, with the hash of the weights that it belongs to."""
    content = {"weights": sha256_of_file(checkpoint)} | calibration_content(calibration)
    write_text(checkpoint.parent / FILE_NAME, json.dumps(content, indent=2) + "\n")


def save_calibration_of_sources(path: Path, calibration: Calibration, names: list[str]) -> None:
    """Write a calibration of several sources, with their names, in the order of their parameters."""
    content = {"sources": names} | calibration_content(calibration)
    write_text(path, json.dumps(content, indent=2) + "\n")


def calibration_content(calibration: Calibration) -> dict[str, Any]:
    """A calibration as plain values, as JSON stores it."""
    content: dict[str, Any] = {"format": FORMAT, "source": calibration.fitted_on, "clips": calibration.clips}
    for name, axis in zip(AXES, calibration.axes, strict=True):
        content[name] = {
            "parameters": _parameters_as_dict(axis.with_evidence),
            "time_only": _parameters_as_dict(axis.time_only),
            "foreign_offset": axis.foreign_offset._asdict(),
            "interval_widths": axis.interval_widths._asdict(),
            "time_only_prior": axis.time_only_prior,
        }
    return content


def calibration_input(checkpoint: Path | None, calibration: Calibration) -> Input:
    """Describe the calibration that a run uses, for its manifest. The hash depends on the parameters only.

    Args:
        checkpoint: the network beside which the calibration is kept; None: it belongs to several sources or a table.
        calibration: the calibration.
    """
    content = json.dumps(calibration_content(calibration), sort_keys=True)
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    path = str(calibration_path(checkpoint)) if checkpoint else "calibration"
    return Input(role="calibration", path=path, sha256=sha256)


def _parameters_as_dict(parameters: GPParameters) -> dict[str, object]:
    evidence = [source_parameters._asdict() for source_parameters in parameters.sources]
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
        _read_prior(content.get("time_only_prior", PRIOR_OF_TIME_ONLY)),
    )


def _read_prior(prior: float) -> float:
    if not 0 < prior < 1:
        raise ValueError("time_only_prior must be between 0 and 1")
    return float(prior)


def _read_parameters(content: dict[str, Any]) -> GPParameters:
    evidence = []
    for values in content["evidence"]:
        numbers = SourceParameters(**{name: float(values[name]) for name in SourceParameters._fields})
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
