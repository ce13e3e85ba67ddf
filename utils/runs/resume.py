"""The settings of a script: new ones, or those of the run that is resumed."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from utils.base.errors import SettingsError
from utils.config.command_line import COMMAND_LINE, read_layers
from utils.config.common import TrainingScriptSettings
from utils.config.layers import Layer, merge_layers, setting_names, value_of
from utils.config.yaml_files import read_run_settings
from utils.runs.find import find_runs

LATEST = "latest"
Kind = TypeVar("Kind", bound=TrainingScriptSettings)


def load_settings(
    kind: type[Kind],
    script: str,
    default_file: str,
    doc: str | None,
    argv: Sequence[str] | None = None,
    fill_defaults: Callable[[Kind], Kind] = lambda settings: settings,
) -> Kind:
    """Return the checked settings of a script that trains a network.

    If train.resume is set, the settings of that run replace those of the YAML file.

    Args:
        kind: class of the settings.
        script: name of the folder of its runs, such as "mtclar".
        default_file: YAML file to read if `--config` is not given.
        doc: docstring of the script, for `--help`.
        argv: the command line; by default that of the process.
        fill_defaults: fills in default settings that depend on the run folders, such as the newest checkpoint.

    Raises:
        SettingsError: names the file or option, the setting and the remedy.
    """
    layers = read_layers(kind, default_file, doc, argv)
    resumed = _take_resume(layers)
    if resumed is None:
        return fill_defaults(merge_layers(kind, layers))
    if resumed != LATEST:
        return _resumed_settings(kind, Path(resumed), layers[1:])
    settings = fill_defaults(merge_layers(kind, layers))
    latest = _latest_run(settings, script)
    return _resumed_settings(kind, latest, []) if latest else settings


def _take_resume(layers: Sequence[Layer]) -> str | None:
    """Remove `train.resume` from all layers and return its value, that of the last layer taking precedence."""
    found = [layer["train"].pop("resume", None) for _, layer in layers if isinstance(layer.get("train"), dict)]
    return next((str(path) for path in reversed(found) if path), None)


def _resumed_settings(kind: type[Kind], run: Path, given: Sequence[Layer]) -> Kind:
    """Return the settings of a run to resume, or of the run that a fold's folder belongs to.

    Args:
        kind: class of the settings.
        run: run folder, or the folder of one of its folds.
        given: layers of the command line, which may change the runtime only.
    """
    if re.fullmatch(r"fold_\d", run.name):
        run = run.parent
    layer = str(run / "settings.yaml"), read_run_settings(run) | {"runs": str(run.parent.parent)}
    settings = merge_layers(kind, [layer, *given])
    _refuse_changes(merge_layers(kind, [layer]), settings)
    settings.train.resume = run
    return settings


def _latest_run(settings: TrainingScriptSettings, script: str) -> Path | None:
    """Return the newest run with the same name and settings, preferring runs that have a checkpoint."""
    folder, name = settings.runs / script, settings.name or settings.dataset
    runs = find_runs(folder, name, "last.pt") + find_runs(folder, name, "settings.yaml")
    return next((run for run in runs if _has_settings(run, settings)), None)


def _refuse_changes(run: TrainingScriptSettings, settings: TrainingScriptSettings) -> None:
    """Raise SettingsError if any setting outside the section runtime differs from that of the run."""
    for name in setting_names(type(run)):
        if not name.startswith("runtime.") and value_of(run, name) != value_of(settings, name):
            raise SettingsError(
                f"{COMMAND_LINE}: {name} is {value_of(run, name)} in the run to resume, and a resumed run keeps its "
                f"settings; leave {name} out, or start a new run without train.resume"
            )


def _has_settings(run: Path, settings: TrainingScriptSettings) -> bool:
    """Whether the run was made with the same settings. Runs of other versions were not."""
    try:
        layer = read_run_settings(run)
        _take_resume([(str(run), layer)])
        return merge_layers(type(settings), [(str(run), layer)]) == settings
    except SettingsError:
        return False
