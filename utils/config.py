"""Settings from a YAML file and the command line.

What is said later counts: defaults, then the file, then the command line. A preset counts where it is named,
before the other settings named in the same place.
"""

import argparse
import re
import reprlib
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, CliSettingsSource

from utils.errors import SettingsError, nearest
from utils.settings import ScriptSettings, Settings
from utils.supervised.settings import SupervisedSettings

LATEST = "latest"
COMMAND_LINE = "command line"
MAX_YAML_BYTES = 1 << 20
Layer = tuple[str, dict[str, Any]]
"""Where settings were said, and what was said: nested dict."""
AnySettings = TypeVar("AnySettings", bound=ScriptSettings)


def load_settings(
    kind: type[AnySettings], script: str, default_file: str, doc: str, argv: list[str] | None = None,
    complete: Callable[[AnySettings], AnySettings] = lambda settings: settings,
) -> AnySettings:
    """The checked settings of a script. `--help` and `--config FILE` are taken here too.

    kind: the settings' class. script: the name of its run folders. default_file: the YAML file used without
    `--config`. doc: the script's docstring. complete: fills in what depends on what lies in the run folders, such as
    the newest checkpoint. With train.resume, the settings of that run take the file's place; a fold's folder stands
    for its run.
    Raises SettingsError naming the file, the key and the nearest valid one.
    """
    layers = read_layers(kind, default_file, doc, argv)
    resumed = _take_resume(layers)
    if resumed == LATEST:
        settings = complete(merge_layers(kind, layers))
        place = settings.runs / script, settings.name or settings.dataset
        runs = runs_of(*place, "last.pt") + runs_of(*place, "settings.yaml")  # the latter may hold no checkpoint yet
        resumed = next((run for run in runs if _has_settings(run, settings)), None)
        if not resumed:
            return settings
        layers[-1] = COMMAND_LINE, {}  # it has just been compared
    if not resumed:
        return complete(merge_layers(kind, layers))
    if re.fullmatch(r"fold_\d", Path(resumed).name):
        resumed = Path(resumed).parent
    file = Path(resumed) / "settings.yaml"
    run = str(file), read_yaml(file) | {"runs": str(Path(resumed).parents[1])}
    settings = merge_layers(kind, [run, layers[-1]])
    _refuse_changes(merge_layers(kind, [run]), settings)
    settings.train.resume = Path(resumed)
    return settings


def read_layers(kind: type[AnySettings], default_file: str, doc: str, argv: list[str] | None = None) -> list[Layer]:
    """[what the YAML file says, what the command line says], for `merge_layers`; neither is checked yet."""
    parser = _Parser(
        prog=Path(sys.argv[0]).name, description=doc, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.valid = list(_fields(kind)) + ["config"]
    parser.add_argument("--config", type=Path, help=f"YAML file of settings (default: {default_file})")
    source = CliSettingsSource(
        kind, cli_parse_args=argv if argv is not None else sys.argv[1:], root_parser=parser,
        cli_implicit_flags=True, cli_avoid_json=True, cli_hide_none_type=True, cli_parse_none_str="null",
        parse_args_method=parser.keep,
    )  # fmt: skip
    spoken = {key: value for key, value in source().items() if key in kind.model_fields}
    named = parser.namespace.config
    file = named or Path(default_file)
    return [(str(file), read_yaml(file) if named or file.exists() else {}), (COMMAND_LINE, spoken)]


def _take_resume(layers: list[Layer]) -> str | None:
    """Takes `train.resume` out of the layers, wherever it was said; the strongest counts."""
    said = [layer["train"].pop("resume", None) for _, layer in layers if isinstance(layer.get("train"), dict)]
    return next((str(place) for place in reversed(said) if place), None)


def _refuse_changes(run: ScriptSettings, settings: ScriptSettings) -> None:
    """A run goes on as it began: all but the runtime stays as it was."""
    for name in _fields(type(run)):
        if not name.startswith("runtime.") and value_of(run, name) != value_of(settings, name):
            raise SettingsError(
                f"{COMMAND_LINE}: {name} is {value_of(run, name)} in the run to go on with, which keeps its settings; "
                f"leave {name} out, or start a new run"
            )


def runs_of(folder: Path, name: str = "", file: str = "best.pt") -> list[Path]:
    """The run folders in `folder`, of this name if one is given, that hold this file; the newest first."""
    runs = [path for path in folder.glob("*") if checkpoints_of(path, file)]
    wanted = re.compile(rf"[\d-]+_[\d-]+_{re.escape(name)}(-\d+)?" if name else ".*")
    return sorted((run for run in runs if wanted.fullmatch(run.name)), key=lambda run: run.name, reverse=True)


def checkpoints_of(run: Path, file: str) -> list[Path]:
    """The checkpoints of this file name in a run folder: its own, or one a fold."""
    return [path for path in (run / file, *sorted(run.glob(f"fold_*/{file}"))) if path.exists()]


def _has_settings(run: Path, settings: ScriptSettings) -> bool:
    """Whether the run was made under just these settings."""
    try:
        layer = read_yaml(run / "settings.yaml")
        layer.get("train", {}).pop("resume", None)
        return merge_layers(type(settings), [(str(run), layer)]) == settings
    except SettingsError:
        return False


def merge_layers(kind: type[AnySettings], layers: list[Layer]) -> AnySettings:
    """Layers, the strongest last → checked settings."""
    merged: dict[str, Any] = {}
    for place, layer in layers:
        preset = layer.get("preset")
        if preset is not None and preset not in kind.presets:
            raise SettingsError(f"{place}: preset {preset!r} is not one of {', '.join(kind.presets)}")
        chosen = kind.presets.get(preset, {})
        if place != COMMAND_LINE:
            layer = _without_shipped(kind, layer, chosen)
        merged = _overlay(_overlay(merged, chosen), layer)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        places = " and ".join(place for place, _ in layers)
        raise SettingsError("\n".join(_explain(kind, item, places) for item in error.errors())) from None


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_YAML_BYTES + 1)
        if len(text) > MAX_YAML_BYTES:
            raise SettingsError(f"{path}: larger than {MAX_YAML_BYTES >> 10} KB; name a YAML file of settings")
        content = yaml.load(text.decode("utf-8-sig"), _SettingsLoader)
    except SettingsError:
        raise
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); name a YAML file of settings") from None
    except Exception as error:  # beside YAMLError, whatever Python's own types raise: a date of 2001-99-99, say
        reason = " ".join(str(error).split())[:300]
        raise SettingsError(f"{path}: is not valid YAML: {reason}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise SettingsError(f"{path}: must hold `name: value` lines, as config.yaml does")
    return content


def resolved_yaml(settings: BaseSettings) -> str:
    """All settings as YAML, such that reading it gives the same settings again."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def commented_yaml(kind: type[BaseModel], depth: int = 0) -> str:
    """All settings with their defaults, each under its meaning: the text of `config.yaml`."""
    lines, indent, after_section = [], "  " * depth, False
    for name, field in kind.model_fields.items():
        is_section = isinstance(field.default, BaseModel)
        lines += [""] * (is_section or after_section)
        after_section = is_section
        if is_section:
            section = type(field.default)
            lines += [f"{indent}{name}:  # {section.__doc__}", commented_yaml(section, depth + 1)]
            continue
        value = field.default if not isinstance(field.default, Path) else str(field.default)
        shown = yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
        meaning = textwrap.wrap(field.description, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        lines += [*meaning, f"{indent}{name}: {shown}"]
    return "\n".join(lines)


class _SettingsLoader(yaml.SafeLoader):
    """YAML without aliases, which can stand for more than memory holds, and without keys given twice."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are refused", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Parser(argparse.ArgumentParser):
    """Keeps what was parsed, and answers an unknown setting with the nearest valid one."""

    valid: list[str]
    namespace: argparse.Namespace

    def keep(self, _: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
        self.namespace = self.parse_args(argv)
        return self.namespace

    def error(self, message: str):
        if message.startswith("unrecognized arguments:"):
            words = [word for word in message.split() if word.startswith("--")]
            if words:
                name = words[0].removeprefix("--").split("=")[0]
                message = f"there is no setting {name}{nearest(name, self.valid)}"
        raise SettingsError(f"command line: {message}; --help lists all settings")


def value_of(settings: BaseModel, name: str) -> Any:
    for part in name.split("."):
        settings = getattr(settings, part)
    return settings


def _fields(kind: type[BaseModel], prefix: str = ""):
    for name, field in kind.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from _fields(type(field.default), f"{prefix}{name}.")
        else:
            yield prefix + name


def _without_shipped(kind: type[BaseModel], layer: dict[str, Any], preset: dict[str, Any]) -> dict[str, Any]:
    """A file's layer without what the preset names and the file still gives its default: config.yaml names all."""
    kept = dict(layer)
    for name, value in preset.items():
        default = kind.model_fields[name].default
        if isinstance(value, dict) and isinstance(kept.get(name), dict):
            kept[name] = _without_shipped(type(default), kept[name], value)
        elif name in kept and kept[name] == default:
            del kept[name]
    return kept


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlay(merged[key], value) if both else value
    return merged


def _explain(kind: type[BaseModel], error: dict[str, Any], places: str) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{places}: there is no setting {name}{nearest(name, list(_fields(kind)))}"
    if not name:
        return f"{places}: {error['msg'].removeprefix('Value error, ')}"
    return f"{places}: {name}: {error['msg']}, got {reprlib.repr(error['input'])}"


if __name__ == "__main__":
    print(commented_yaml(SupervisedSettings if sys.argv[1:] == ["mtclar_sl"] else Settings).strip())
