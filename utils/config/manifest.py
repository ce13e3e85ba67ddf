"""Reads manifest.json, the record of a run that labelled or predicted: its settings, inputs and outputs."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from utils.base.errors import SettingsError

FORMAT = 1
MAX_BYTES = 16 << 20


class Input(BaseModel):
    """A file or data set on which the results of a run depend.

    Attributes:
        role: video, labels, rating, network, evidence, calibration, data set or support.
        path: where it was, as given in the settings.
        sha256: hash of its content; None: it was missing.
    """

    role: str
    path: str
    sha256: str | None

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the input within a manifest, wherever its folder is."""
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
    """Reads a manifest. Raises SettingsError if the file is none, or is of another version of the project."""
    remedy = "name the manifest.json of a run folder of fsl_mtclar.py or mtclar_sl.py"
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise SettingsError(f"{path}: larger than {MAX_BYTES >> 20} MB; {remedy}")
        manifest = Manifest.model_validate(json.loads(text))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))[:80]
        raise SettingsError(f"{path}: is not a manifest ({key}: {first['msg']}); {remedy}") from None
    except SettingsError:
        raise
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: is not valid JSON ({str(error)[:80]}); {remedy}") from None
    if manifest.format != FORMAT:
        raise SettingsError(
            f"{path}: has format {manifest.format}, but this version of MT-CLAR reads format {FORMAT} only; use the "
            "version that wrote it"
        )
    return manifest
