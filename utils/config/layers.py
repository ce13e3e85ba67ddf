"""Merging of settings from several sources, and the errors of those that are invalid.

Precedence: defaults < YAML file < preset < manifest < other settings on the command line.
"""

import reprlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from utils.base.errors import SettingsError, did_you_mean
from utils.config.labelling import LabelSettings
from utils.config.mtclar import MtclarSettings
from utils.config.supervised import SLSettings

SCRIPTS: dict[str, type[BaseModel]] = {
    "mtclar.py": MtclarSettings,
    "fsl_mtclar.py": LabelSettings,
    "mtclar_sl.py": SLSettings,
}
Layer = tuple[str, dict[str, Any]]
"""A source, as error messages name it, and the settings that it gives, as a nested dict."""
LONGEST_NAME, MOST_ERRORS = 80, 20
"""Characters of an unknown name, and errors of one source, that a message shows."""
Model = TypeVar("Model", bound=BaseModel)


def merge_layers(kind: type[Model], layers: Sequence[Layer]) -> Model:
    """Merge layers, later ones taking precedence, and check the result.

    Args:
        kind: class of the settings.
        layers: sources with their settings, not checked yet.

    Raises:
        SettingsError: names the source, the setting and what it must be.
    """
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged = _merge(merged, layer)
    return validate(kind, merged, layers)


def validate(kind: type[Model], content: dict[str, Any], layers: Sequence[Layer], prefix: str = "") -> Model:
    """Check merged settings.

    Args:
        kind: class of the settings, or of the section.
        content: the settings as a nested dict.
        layers: where they come from, for error messages.
        prefix: name of the section with a dot, or empty.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        messages = [_explain(kind, item, layers, prefix) for item in error.errors()]
        raise SettingsError("\n".join(messages[:MOST_ERRORS])) from None


def setting_fields(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the name of every setting, such as `train.lr`, and its field."""
    for name, field in kind.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from setting_fields(type(field.default), f"{prefix}{name}.")
        else:
            yield prefix + name, field


def setting_names(kind: type[BaseModel]) -> list[str]:
    """Return the names of all settings."""
    return [name for name, _ in setting_fields(kind)]


def value_of(settings: BaseModel, name: str) -> Any:
    """Return the value of the setting called `name`, such as `train.lr`."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def unknown_setting(kind: type[BaseModel], name: str, prefix: str = "", extra: Sequence[str] = ()) -> str:
    """Return the error message for a setting that `kind` lacks, with the script that has it or the nearest name.

    Args:
        kind: class of the settings, or of the section called `prefix`.
        name: the unknown name, prefix included.
        prefix: name of the section with a dot, or empty.
        extra: other valid names.
    """
    name = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
    known = [prefix + setting for setting in setting_names(kind)]
    for script, other in SCRIPTS.items():
        if _has_setting(setting_names(other), name) and not _has_setting(known, name):
            return f"there is no setting {name} here; {name} is a setting of {script}"
    return f"there is no setting {name}{did_you_mean(name, [*known, *extra])}"


def _has_setting(names: Sequence[str], name: str) -> bool:
    """Whether `name` is a setting or a section."""
    return any(known == name or known.startswith(f"{name}.") for known in names)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _explain(kind: type[BaseModel], error: ErrorDetails, layers: Sequence[Layer], prefix: str) -> str:
    """Return one error as: source: setting: what it must be, and what it is."""
    path = tuple(str(part) for part in error["loc"])
    name, source = prefix + ".".join(path), _source(layers, path)
    if error["type"] == "extra_forbidden":
        return f"{source}: {unknown_setting(kind, name, prefix)}"
    label = f"{source}: {name.removesuffix('.')}: " if name else f"{source}: "
    if error["type"] == "model_type":
        return f"{label}must be a section of `name: value` lines, got {reprlib.repr(error['input'])}"
    if error["type"] == "value_error":
        return label + error["msg"].removeprefix("Value error, ")
    return f"{label}{error['msg']}, got {reprlib.repr(error['input'])}"


def _source(layers: Sequence[Layer], path: tuple[str, ...]) -> str:
    """Return the source that the setting at `path` comes from; all sources, if the error concerns several settings."""
    for source, layer in reversed(layers):
        if path and _holds(layer, path):
            return source
    return " and ".join(source for source, layer in layers if layer) or "settings"


def _holds(layer: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(layer, dict) or part not in layer:
            return False
        layer = layer[part]
    return True
