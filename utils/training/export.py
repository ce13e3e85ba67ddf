"""Exports the network of a run as a folder that can be shared: weights with metadata, config.json and a model card."""

import json
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pydantic import BaseModel, model_validator

from models.pretrained import CONFIG_FILE, WEIGHTS_FILE, write_weights
from utils.base.errors import CheckpointError, StorageError
from utils.base.files import write_text
from utils.base.json_files import read_json
from utils.config.layers import merge_layers
from utils.config.mtclar import MtclarTrainingSettings
from utils.runs.checkpoint import load_mtclar, read_checkpoint
from utils.runs.trainings import HISTORY, hash_of_folder, hash_of_person, trainings_of
from utils.training.model_card import LABEL_SCALES, model_card

FOLDER = "export"
LEFT_OUT = ("root", "cache", "expressions")
"""Settings whose absolute paths are left out: scripts would look for the last component in the current folder."""


class _Splits(BaseModel):
    """The content of splits.json, see `datasets.splits.describe_splits`."""

    images: dict[str, int]
    people: dict[str, int] | None
    sha256: str

    @model_validator(mode="after")
    def _counts_of_the_same_parts(self) -> "_Splits":
        if self.people is not None and self.people.keys() != self.images.keys():
            raise ValueError("images and people are counted for different parts")
        return self


class _Scores(BaseModel, extra="allow"):
    """The content of scores.json."""

    __pydantic_extra__: dict[str, float]
    similarity_accuracy: float


def export_run(run: Path, calibration: dict[str, Any] | None) -> Path:
    """Export best.pt of a mtclar.py run into the folder `export` of the run, and return that folder.

    Args:
        run: the run folder.
        calibration: the calibration of the network as plain values; None: it has none.

    Raises:
        CheckpointError: the run is not finished, or a file of it is broken.
        StorageError: the folder cannot be written.
    """
    path = run / "best.pt"
    checkpoint = read_checkpoint(path, "mtclar")
    trainings = trainings_of(load_mtclar(path, checkpoint)[1])  # refuses incomplete content
    content = _without_names(checkpoint)
    settings = merge_layers(MtclarTrainingSettings, [(str(path), content["settings"])])
    remedy = f"finish the run by --train.resume {run}, which writes it"
    splits = read_json(run / "splits.json", _Splits, "the description of a split", remedy, CheckpointError).model_dump()
    scores = read_json(run / "scores.json", _Scores, "the scores of pairs", remedy, CheckpointError).model_dump()
    metadata = {name: value for name, value in content.items() if name != "model"}
    metadata |= {
        "label_scale": {"minimum": -1, "maximum": 1, "data_set": LABEL_SCALES[settings.dataset]},
        "split_sha256": splits["sha256"],
        "calibration": calibration,
    }
    network = settings.model
    config = {
        "model_type": "mtclar",
        "width": network.width,
        "fusion": network.fusion,
        "dropout": network.dropout,
        "image_size": settings.data.image_size,
    }
    folder = run / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError.from_os_error(folder, error) from error
    write_weights(folder / WEIGHTS_FILE, content["model"], metadata)
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    write_text(folder / "README.md", model_card(settings, splits, scores, calibration, trainings))
    return folder


def _without_names(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint without the names of people, and without the folders of this machine."""
    history = content.get(HISTORY) or {"people": [], "earlier": []}
    earlier = [_hashed(training, training["data"]) for training in history["earlier"]]
    history = _hashed(history, content["settings"]["data"]) | {"earlier": earlier}
    return _without_folders({**content, HISTORY: history})


def _hashed(training: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Add hashes to the description of a training: of people, replacing their names, and of an absolute `data.root`."""
    hashes: dict[str, Any] = {"people": sorted(map(hash_of_person, training["people"]))}
    if _name_if_absolute(data.get("root")) is not None:
        hashes["root_hash"] = hash_of_folder(Path(data["root"]))
    return training | hashes


def _without_folders(value: Any) -> Any:
    """Replace each absolute path in nested values by its last component, or leave it out, see LEFT_OUT."""
    if isinstance(value, dict):
        left_out = {name for name in LEFT_OUT if _name_if_absolute(value.get(name)) is not None}
        return {name: _without_folders(entry) for name, entry in value.items() if name not in left_out}
    if isinstance(value, list):
        return list(map(_without_folders, value))
    name = _name_if_absolute(value)
    return value if name is None else name


def _name_if_absolute(value: Any) -> str | None:
    """The last component of an absolute path of any operating system; None for other values."""
    if isinstance(value, str):
        for path in (PurePosixPath(value), PureWindowsPath(value)):
            if path.is_absolute():
                return path.name
    return None
