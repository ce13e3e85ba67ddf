"""Which trained network a script goes on from, and what its training says of data, people and splits."""

import glob
from pathlib import Path
from typing import Any

from utils.config import Layer, checkpoints_of, merge_layers, runs_of, value_of
from utils.errors import SettingsError
from utils.settings import LabelSettings, ScriptSettings
from utils.supervised.settings import PredictSettings, SupervisedSettings


def checkpoint_path(settings: LabelSettings | SupervisedSettings, script: str = "mtclar") -> Path:
    """The checkpoint that the settings name, or the best one of the script's newest run (of the same --name)."""
    if settings.checkpoint:
        return settings.checkpoint
    folder = settings.runs / script
    found = [path for run in runs_of(folder, settings.name)[:1] for path in checkpoints_of(run, "best.pt")]
    if not found:
        named = f" of the name {settings.name}" if settings.name else ""
        raise SettingsError(f"{folder}: no run{named} yet; train one by `python {script}.py`, or name a --checkpoint")
    return found[0]


def with_checkpoint(settings: PredictSettings) -> PredictSettings:
    """The same settings with the checkpoint said, so that a run can go on with the one it began with."""
    if settings.emonet:
        return settings
    path = checkpoint_path(settings, "mtclar_sl" if settings.predict else "mtclar")
    return settings.model_copy(update={"checkpoint": path})


def newest_match(pattern: Path) -> Path:
    """The path itself, or where it holds *, the last of those that fit: run folders' names begin with their time."""
    if "*" not in str(pattern):
        return pattern
    found = sorted(glob.glob(str(pattern)))
    if not found:
        raise SettingsError(f"{pattern}: nothing fits; train one mtclar.py run a fold (--data.fold N --name foldN)")
    return Path(found[-1])


def trained_layer(checkpoint: Path, trained: dict[str, Any]) -> Layer:
    """What a checkpoint's own settings say of data and network, to work under the conditions of training."""
    names = ("dataset", "seed", "demo", "data", "pairs", "model")
    return str(checkpoint), {name: trained[name] for name in names if name in trained}


def label_settings(layers: list[Layer], checkpoint: Path, trained: dict[str, Any]) -> LabelSettings:
    """Settings for labelling: data and network as the checkpoint was trained, unless the command line says otherwise.

    Raises SettingsError where another split of the same data would put people of the training set into the test set.
    """
    layer = trained_layer(checkpoint, trained)
    settings = merge_layers(LabelSettings, [layers[0], layer, *layers[1:]])
    refuse_known_people(settings, merge_layers(LabelSettings, [layer]), checkpoint)
    return settings


def refuse_known_people(settings: ScriptSettings, before: ScriptSettings, checkpoint: Path, remedy: str = "") -> None:
    """Raises SettingsError where the test set holds people that a network was trained on.

    before: the settings that the checkpoint's network was trained under. remedy: another way out than to leave the
    setting as it was there.
    """
    same_root = settings.data_root.resolve() == before.data_root.resolve()
    both_demo = settings.dataset == before.dataset == "demo"
    if not same_root and not (both_demo and settings.demo.seed == before.demo.seed):
        return
    split = ["seed", "data.validation_share"]
    split += ["data.fold"] if settings.dataset != "affectnet" else []
    split += ["demo.people", "demo.seed"] if both_demo else []
    for name in split:
        if str(value_of(settings, name)) != str(value_of(before, name)):
            raise SettingsError(
                f"{name} is {value_of(before, name)} in {checkpoint}, not {value_of(settings, name)}: another split of "
                "the same data would test people that the network was trained on; leave "
                f"{name} as it was there, or name other data{' by demo.seed' if both_demo else ''}{remedy}"
            )
