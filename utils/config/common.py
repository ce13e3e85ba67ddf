"""The settings that scripts share."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from utils.config.sections import DataSettings, DemoSettings, FitSettings, RuntimeSettings, Section

Dataset = Literal["demo", "afewva", "affectnet", "videos"]


class ScriptSettings(Section, BaseSettings):  # type: ignore[misc]  # pydantic merges the two model_config
    """Settings of every script."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Name of a `--preset` → the settings that it changes, as a nested dict."""
    short_help: ClassVar[tuple[str, ...]] = ()
    """The options that `--help` shows; `--help-all` shows all of them."""
    ignored_sections: ClassVar[dict[str, type[Section]]] = {}
    """Sections that may stand in the script's YAML file although only another script uses them."""
    default_roots: ClassVar[dict[str, str]] = {
        "demo": "demo",
        "afewva": "AfewVA",
        "affectnet": "AffectNet",
        "videos": "videos",
    }
    """Data set → its default folder below `data`."""

    dataset: Dataset = "demo"
    """Which data set to use: demo (rendered faces), afewva, affectnet, or videos (your own labelled videos)."""
    name: str = Field("", pattern=r"^[\w.-]*$")
    """Name of the run, which becomes a part of the name of its folder."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Random seed."""
    runs: Path = Path("runs")
    """Folder in which run folders are created."""
    demo: DemoSettings = DemoSettings()
    data: DataSettings = DataSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Ignore environment variables: NAME or DATA may well be set for another purpose."""
        return (init_settings,)

    @property
    def data_root(self) -> Path:
        """Folder of the data set."""
        return self.data.root or Path("data") / self.default_roots[self.dataset]


class TrainingScriptSettings(ScriptSettings):
    """Settings of the scripts that train a network: mtclar.py and mtclar_sl.py."""

    train: FitSettings = FitSettings()
