"""Reads manifest.json, the record of a run that labelled or predicted: its settings, inputs and outputs."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from utils.base.errors import SettingsError
from utils.base.json_files import read_json

FORMAT = 1


class Input(BaseModel):
    """A file or data set on which the results of a run depend.

    Attributes:
        role: video, labels, people, rating, network, evidence, calibration, check, data set or support.
        path: where it was, as given in the settings.
        sha256: hash of its content; None: it was missing.
    """

    role: str
    path: str
    sha256: str | None

    @property
    def key(self) -> tuple[str, str]:
        """Key of the input within a manifest, wherever its folder is."""
        return self.role, Path(self.path).name


class Manifest(BaseModel):
    """The content of manifest.json.

    Attributes:
        format: version of the format.
        script: the script that ran, such as fsl_mtclar.py.
        command: its command line.
        versions: package → version; None: unknown.
        inputs: what the results depend on.
        settings: all settings of the run, as a nested dict that is not checked yet.
        outputs: file in the run folder → its hash; empty: the run did not finish.
    """

    model_config = ConfigDict(extra="forbid")

    format: int
    script: str
    command: str
    versions: dict[str, str | None]
    inputs: list[Input]
    settings: dict[str, Any]
    outputs: dict[str, str]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest. Raises SettingsError if the file is none, or is of another version of the project."""
    remedy = "name the manifest.json of a run folder of fsl_mtclar.py or mtclar_sl.py"
    manifest = read_json(path, Manifest, "a manifest", remedy, SettingsError)
    if manifest.format != FORMAT:
        raise SettingsError(
            f"{path}: has format {manifest.format}, but this version of MT-CLAR reads format {FORMAT} only; use the "
            "version that wrote it"
        )
    return manifest
