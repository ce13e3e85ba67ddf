"""Settings in YAML files: reading them, and writing those of a run and those that the project ships."""

import textwrap
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from utils.base.errors import SettingsError
from utils.config.common import ScriptSettings
from utils.config.layers import validate

FORMAT = 2
"""Version of a run's settings.yaml. Version 0.1 of the project wrote no number."""
MAX_YAML_BYTES = 1 << 20


def read_settings_file(kind: type[ScriptSettings], path: Path) -> dict[str, Any]:
    """Return the settings in a YAML file as a nested dict, without the sections that only another script uses.

    Those sections are checked; the remaining settings are not checked yet.

    Raises:
        SettingsError: the file cannot be read, or holds the key `preset`.
    """
    content = read_yaml(path)
    if "preset" in content:
        raise SettingsError(
            f"{path}: preset cannot be set in a file; delete this line and, for the paper's settings, "
            "add --preset paper to the command line"
        )
    _check_format(path, content.pop("format", FORMAT))
    for name, section in kind.ignored_sections.items():
        if name in content:
            layer = content.pop(name)
            validate(section, layer, [(str(path), layer)], f"{name}.")
    return content


def read_run_settings(run: Path) -> dict[str, Any]:
    """Return the settings of a run, read from its settings.yaml, as a nested dict that is not checked yet.

    Raises:
        SettingsError: the file cannot be read, or another version of the project wrote it.
    """
    path = run / "settings.yaml"
    content = read_yaml(path)
    _check_format(path, content.pop("format", None))
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file. Raises SettingsError if it is unreadable or not a mapping of names."""
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
    except Exception as error:  # Besides YAMLError, Python's own types raise errors: ValueError for 2001-99-99.
        reason = " ".join(str(error).split())[:300]
        raise SettingsError(f"{path}: is not valid YAML: {reason}; correct the file") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise SettingsError(f"{path}: must hold `name: value` lines; see config.yaml for an example")
    return content


def resolved_yaml(settings: ScriptSettings) -> str:
    """Return all settings as YAML that reads back as the same settings: the content of a run's settings.yaml."""
    return yaml.safe_dump({"format": FORMAT} | settings.model_dump(mode="json"), sort_keys=False)


def commented_yaml(kind: type[BaseModel], depth: int = 0) -> str:
    """Return all settings with their defaults as YAML, each below a comment that describes it; sections come last."""
    plain: list[str] = []
    sections: list[str] = []
    comment = "  " * depth + "# "
    for name, field in kind.model_fields.items():
        if isinstance(field.default, BaseModel):
            section = type(field.default)
            sections += ["", f"{name}:  # {section.__doc__}", commented_yaml(section, depth + 1)]
            continue
        value = field.default if not isinstance(field.default, Path) else str(field.default)
        shown = yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
        plain += textwrap.wrap(field.description or "", 100, initial_indent=comment, subsequent_indent=comment)
        plain.append(f"{'  ' * depth}{name}: {shown}")
    return "\n".join(plain + sections)


def _check_format(path: Path, found: object) -> None:
    if found is None:
        raise SettingsError(
            f"{path}: this run was made by an older version of MT-CLAR; start a new run, or resume it with version 0.1"
        )
    if type(found) is not int or found != FORMAT:
        raise SettingsError(
            f"{path}: format is {str(found)[:30]}, but this version of MT-CLAR reads format {FORMAT} only; start a "
            "new run, or use the version that wrote this file"
        )


class _SettingsLoader(yaml.SafeLoader):
    """YAML without aliases, which can expand to more than memory holds, and without duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are refused", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        duplicate = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if duplicate is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{duplicate} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)
