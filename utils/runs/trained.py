"""The trained network that a script starts from, and the data that it was trained on."""

import contextlib
import glob
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.base.errors import DataError, SettingsError
from utils.base.text import listed
from utils.config.common import ScriptSettings
from utils.config.labelling import LabelSettings
from utils.config.layers import Layer, merge_layers, value_of
from utils.config.supervised import SLSettings, SLTrainingSettings
from utils.runs.find import find_checkpoints, find_runs, network_file
from utils.runs.trainings import DATA_AND_SPLIT_KEYS, hash_of_folder, hash_of_person, trainings_of

if TYPE_CHECKING:  # pandas takes time to import, which --help must not wait for
    import pandas as pd

log = logging.getLogger(__name__)

KEYS_TIED_TO_ONE_DATA_SET = ("root", "expressions", "pixel_aspect")
"""The settings of the section data that must not be used with another data set."""


def checkpoint_path(settings: LabelSettings | SLTrainingSettings, script: str = "mtclar") -> Path:
    """Return the checkpoint in the settings or, by default, best.pt of the newest run of `script`.

    If the settings have a name, only runs with this name count.

    Raises:
        SettingsError: there is no such run.
    """
    if settings.checkpoint:
        return network_file(settings.checkpoint)
    folder = settings.runs / script
    found = [path for run in find_runs(folder, settings.name)[:1] for path in find_checkpoints(run, "best.pt")]
    if not found:
        named = f" with the name {settings.name}" if settings.name else ""
        raise SettingsError(f"{folder}: no run{named} yet; train one by `python {script}.py`, or name a --checkpoint")
    return found[0]


def with_checkpoint(settings: SLSettings) -> SLSettings:
    """Return the settings with `checkpoint` filled in, so that a resumed run starts from the same path.

    A pattern with * stays a pattern. If a newer file matches it when the run is resumed, `run_fold` refuses it.
    """
    if settings.emonet:
        return settings
    path = checkpoint_path(settings, "mtclar_sl" if settings.predict else "mtclar")
    return settings.model_copy(update={"checkpoint": path})


def newest_match(pattern: Path) -> Path:
    """Return the newest file that matches a pattern with *, by the time in the name of its run folder.

    A path without * stays as it is. If the path is an exported folder, its weights are returned.
    """
    if "*" not in str(pattern):
        return network_file(pattern)
    found = sorted(glob.glob(str(pattern)))
    if not found:
        raise SettingsError(
            f"{pattern}: no file matches; train one mtclar.py run per fold (--data.fold N --name foldN), "
            "or name another --checkpoint"
        )
    return network_file(Path(found[-1]))


def log_network(path: Path, content: Mapping[str, Any]) -> None:
    """Log a line about a checkpoint: its path, data set, validation loss and file time.

    Args:
        path: the checkpoint.
        content: its content, as `read_checkpoint` returns it.
    """
    log.info("%s", describe_network(path, content))


def describe_network(path: Path, content: Mapping[str, Any]) -> str:
    """Return the line that `log_network` logs. It leaves out what a broken checkpoint lacks.

    Loading the network reports the missing entries as an error.
    """
    parts = [f"network: {path}"]
    if content.get("published"):
        parts.append("published weights that do not name their training data, which may hold people of any test set")
    with contextlib.suppress(LookupError, TypeError):
        parts.append(f"trained on {content['settings']['dataset']}")
    with contextlib.suppress(LookupError, TypeError, ValueError):
        parts.append(f"validation loss {content['scores']['loss']:.4f} after epoch {content['epoch']}")
    saved = time.localtime(path.stat().st_mtime)
    return ", ".join([*parts, time.strftime("saved %Y-%m-%d %H:%M", saved)])


def trained_layer(checkpoint: Path, trained: Mapping[str, Any]) -> Layer:
    """Return the settings in a checkpoint that determine the data and its split, as a layer."""
    return str(checkpoint), {name: trained[name] for name in DATA_AND_SPLIT_KEYS if name in trained}


def label_settings(layers: Sequence[Layer], checkpoint: Path, trained: Mapping[str, Any]) -> LabelSettings:
    """Return the settings for labelling, with the data and split that the network was trained with.

    The command line takes precedence over the checkpoint, and the checkpoint over the YAML file. If the command line
    names another data set than the checkpoint, the folder of that data set is not taken from the checkpoint.

    Args:
        layers: as `read_layers` returns them.
        checkpoint: path of the checkpoint.
        trained: settings that the network was trained with.

    Raises:
        SettingsError: as `refuse_other_splits`.
    """
    layer = trained_layer(checkpoint, trained)
    file, command_line = layers[0], layers[1:]
    if "dataset" not in trained:  # Published weights do not name their training data.
        return merge_layers(LabelSettings, [file, layer, *command_line])
    trained_settings = merge_layers(LabelSettings, [layer])
    dataset = merge_layers(LabelSettings, [file, layer, *command_line]).dataset
    if dataset != trained_settings.dataset:
        kept = {name: value for name, value in layer[1]["data"].items() if name not in KEYS_TIED_TO_ONE_DATA_SET}
        layer = layer[0], layer[1] | {"data": kept}
        file = _without_other_data(file, dataset)
    settings = merge_layers(LabelSettings, [file, layer, *command_line])
    refuse_other_splits(settings, trainings_of(trained), checkpoint)
    return settings


def refuse_other_splits(
    settings: ScriptSettings,
    trainings: Sequence[Mapping[str, Any]],
    checkpoint: Path,
    remedy: str = "",
    kind: type[ScriptSettings] = LabelSettings,
) -> None:
    """Raise SettingsError if this run uses data that a network was trained on, but splits them differently.

    The test set might then contain people that the network was trained on. Only settings are compared, not people: the
    data are the same if their folders are, or if both are demo sets with the same demo.seed.

    Args:
        settings: the settings of this run.
        trainings: descriptions of the trainings of the network, see `utils.runs.trainings`.
        checkpoint: path of the network, for the message.
        remedy: a further remedy to add to the message.
        kind: class of the settings of the trainings.
    """
    for training in trainings:
        trained = merge_layers(kind, [trained_layer(checkpoint, training)])
        both_demo = settings.dataset == trained.dataset == "demo"
        if _is_folder_of(training, trained, settings.data_root) or (
            both_demo and settings.demo.seed == trained.demo.seed
        ):
            _refuse_other_split(settings, trained, checkpoint, remedy)


def _refuse_other_split(settings: ScriptSettings, trained: ScriptSettings, checkpoint: Path, remedy: str) -> None:
    """Raise SettingsError if two splits of the same data differ; arguments as of `refuse_other_splits`."""
    both_demo = settings.dataset == trained.dataset == "demo"
    split_settings = ["seed", "data.validation_share"]
    split_settings += ["data.fold"] if settings.dataset != "affectnet" else []
    split_settings += ["demo.people", "demo.seed"] if both_demo else []
    for name in split_settings:
        if str(value_of(settings, name)) != str(value_of(trained, name)):
            raise SettingsError(
                f"{name} is {value_of(trained, name)} in {checkpoint}, not {value_of(settings, name)}: "
                "another split of the same data would test people that the network was trained on; leave "
                f"{name} unchanged, or name other data{' by demo.seed' if both_demo else ''}{remedy}"
            )


def refuse_trained_people(
    settings: ScriptSettings,
    test: "pd.DataFrame",
    trainings: Sequence[Mapping[str, Any]],
    checkpoint: Path,
    kind: type[ScriptSettings] = LabelSettings,
) -> None:
    """Raise DataError if a network was trained on people of a test set in the user's own videos.

    `refuse_other_splits` compares settings only, but the videos in a folder may change between two runs.

    Args:
        test: frame table of the test set. The other arguments are those of `refuse_other_splits`.
    """
    for training in trainings:
        trained = merge_layers(kind, [trained_layer(checkpoint, training)])
        own_videos = settings.dataset == trained.dataset == "videos"
        if not own_videos or not _is_folder_of(training, trained, settings.data_root):
            continue
        people = set(map(hash_of_person, training.get("people", [])))
        known = sorted(name for name in set(test["subject"]) if hash_of_person(name) in people)
        if known:
            raise DataError(
                f"{checkpoint}: was trained on people who are now in the test set: {listed(known)}. The videos or "
                f"{settings.data_root}/people.csv have changed since; train a network anew, or move new videos to "
                "another folder"
            )


def refuse_trained_folder(folder: Path, trainings: Sequence[Mapping[str, Any]], checkpoint: Path) -> None:
    """Raise SettingsError if a network was trained on the videos in a folder."""
    for training in trainings:
        trained = merge_layers(LabelSettings, [trained_layer(checkpoint, training)])
        if trained.dataset == "videos" and _is_folder_of(training, trained, folder):
            raise SettingsError(
                f"calibrate: {checkpoint} was trained on videos in {folder}, where it looks too accurate; name videos "
                "of other people"
            )


def _is_folder_of(training: Mapping[str, Any], trained: ScriptSettings, folder: Path) -> bool:
    """Whether a folder holds the data of a training.

    Args:
        training: description of the training. That of an exported network has a hash in place of an absolute path.
        trained: its settings.
        folder: the folder.
    """
    if root_hash := training.get("root_hash"):
        return bool(root_hash == hash_of_folder(folder))
    return trained.data_root.resolve() == folder.resolve()


def _without_other_data(file: Layer, dataset: str) -> Layer:
    """Return the layer without the settings of a data set other than `dataset`."""
    source, content = file
    data = content.get("data")
    if content.get("dataset", "demo") == dataset or not isinstance(data, dict):
        return file
    kept = {name: value for name, value in data.items() if name not in KEYS_TIED_TO_ONE_DATA_SET}
    return source, content | {"data": kept}
