"""Settings from the command line, and `--help`."""

import argparse
import copy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic_settings import CliSettingsSource

from utils.base.errors import SettingsError
from utils.config.common import ScriptSettings
from utils.config.layers import SCRIPTS, Layer, setting_fields, setting_names, unknown_setting, value_of
from utils.config.manifest import read_manifest
from utils.config.yaml_files import read_settings_file

COMMAND_LINE = "command line"


def read_layers(
    kind: type[ScriptSettings], default_file: str, doc: str | None, argv: Sequence[str] | None = None
) -> list[Layer]:
    """Read the settings of a script, for `merge_layers`; most of them are not checked yet.

    Args:
        kind: class of the settings.
        default_file: YAML file to read if `--config` is not given. It need not exist.
        doc: docstring of the script, whose first two paragraphs `--help` shows.
        argv: the command line; by default that of the process.

    Returns:
        The layers of the YAML file, of `--preset` and `--from_manifest` if given, and of the other settings on the
        command line.

    Raises:
        SettingsError: names the file or option, and the remedy.
    """
    parser = _Parser(kind, default_file, doc or "")
    source: CliSettingsSource[Any] = CliSettingsSource(
        kind,
        cli_parse_args=list(argv) if argv is not None else sys.argv[1:],
        root_parser=parser,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_parse_none_str="null",
        parse_args_method=parser.parse_and_keep,
    )
    given = {key: value for key, value in source().items() if key in kind.model_fields}
    named, preset = parser.namespace.config, parser.namespace.preset
    path = named or Path(default_file)
    layers = [(str(path), read_settings_file(kind, path) if named or path.exists() else {})]
    if preset:
        layers.append((f"--preset {preset}", copy.deepcopy(kind.presets[preset])))
    if manifest := given.get("from_manifest"):
        layers.append((str(manifest), _settings_in_manifest(kind, Path(manifest))))
    return [*layers, (COMMAND_LINE, given)]


def _settings_in_manifest(kind: type[ScriptSettings], path: Path) -> dict[str, Any]:
    """Return the settings of the run that wrote a manifest. Raises SettingsError if it cannot be run again."""
    manifest = read_manifest(path)
    if SCRIPTS.get(manifest.script) is not kind:
        raise SettingsError(f"{path}: was written by {manifest.script[:40]}; run that script with --from_manifest")
    if manifest.settings.get("annotate"):
        raise SettingsError(
            f"{path}: was written by the annotation page, which cannot be run again; label its videos by --video and "
            "--labels"
        )
    return manifest.settings


def as_command(settings: ScriptSettings, script: str) -> str:
    """Return a command line that gives the settings that differ from the defaults, except where runs are written."""
    defaults, words = type(settings)(), ["python", script]
    for name in setting_names(type(settings)):
        value = value_of(settings, name)
        if name in ("runs", "name", "train.resume") or value == value_of(defaults, name):
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", "null" if value is None else str(value)]
    return shlex.join(words)


class _Parser(argparse.ArgumentParser):
    """A parser with a short and a full help. Its errors name the nearest valid setting."""

    namespace: argparse.Namespace
    """What was parsed."""

    def __init__(self, kind: type[ScriptSettings], default_file: str, doc: str):
        super().__init__(
            prog=Path(sys.argv[0]).name,
            usage="%(prog)s [--SETTING VALUE ...]",
            description=doc,
            allow_abbrev=False,
            add_help=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.kind = kind
        self.add_argument("-h", "--help", action=_ShortHelp, help="show the most common settings and exit")
        self.add_argument("--help-all", "--help_all", action="help", help="show all settings and exit")
        self.add_argument("--config", type=Path, help=f"YAML file of settings (default: {default_file})")
        self.add_argument(
            "--preset",
            choices=list(kind.presets),
            help="use a set of settings; they override the YAML file, and other options override them",
        )

    def parse_and_keep(self, _: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
        """Parse the command line and keep the result in `namespace`."""
        self.namespace = self.parse_args(argv)
        return self.namespace

    def format_short_help(self) -> str:
        """Return the help on the most common settings: the first sentence of each."""
        options = {option: action for action in self._actions for option in action.option_strings}
        fields, actions = dict(setting_fields(self.kind)), []
        for name in self.kind.short_help:
            action = copy.copy(options[f"--{name}"])
            if name in fields:
                sentence = (fields[name].description or "").split(". ")[0].removesuffix(".")
                default = fields[name].default
                action.help = sentence + (f" (default: {default})" if default not in (None, "", 0) else "")
            actions.append(action)
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, [], [])
        formatter.add_text("\n\n".join((self.description or "").split("\n\n")[:2]))
        formatter.start_section("most common settings")
        formatter.add_arguments(actions)
        formatter.end_section()
        formatter.add_text("--help-all shows all settings.")
        return formatter.format_help()

    def error(self, message: str) -> NoReturn:
        """Raise the error as a SettingsError."""
        if message.startswith("unrecognized arguments:"):
            options = [word for word in message.split() if word.startswith("--")]
            if options:
                name = options[0].removeprefix("--").split("=")[0]
                message = unknown_setting(self.kind, name, extra=["config", "preset"])
        raise SettingsError(f"{COMMAND_LINE}: {message}; --help-all lists all settings")


class _ShortHelp(argparse.Action):
    """Prints the short help and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        assert isinstance(parser, _Parser)
        print(parser.format_short_help(), end="")
        parser.exit()
