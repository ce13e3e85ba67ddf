"""The settings of mtclar.py."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from utils.config.common import TrainingScriptSettings
from utils.config.sections import ModelSettings, PairSettings, SupportSettings, TrainSettings

PAPER: dict[str, dict[str, Any]] = {
    "data": {"image_size": 256},
    "model": {"width": 256, "dropout": 0.5, "emonet": "data/emonet/emonet_8.pth"},
    "train": {
        "pairs": "sampled",
        "batch": 256,
        "subjects": 0,
        "epochs": 40,
        "epoch_size": 0,
        "lr": 1e-4,
        "weight_decay": 1e-4,
        "schedule": "plateau",
        "clip_norm": 0.0,
        "loss_weights": "random",
        "mse_exponent": 2.0,
        "augment": 1.0,
    },
}

FINETUNE: dict[str, dict[str, Any]] = {
    "train": {"subjects": 12, "epochs": 6, "epoch_size": 960, "lr": 1e-4, "augment": 0.5},
}


class MtclarTrainingSettings(TrainingScriptSettings):
    """Settings of mtclar.py for training: the fields of config.yaml."""

    presets = {"paper": PAPER, "finetune": FINETUNE}
    short_help = (
        "dataset",
        "data.root",
        "preset",
        "name",
        "train.epochs",
        "train.batch",
        "train.resume",
        "model.emonet",
        "model.init",
        "runtime.device",
        "config",
    )
    ignored_sections = {"support_set": SupportSettings}

    train: TrainSettings = TrainSettings()
    pairs: PairSettings = PairSettings()
    model: ModelSettings = ModelSettings()

    @model_validator(mode="after")
    def check_batch(self) -> "MtclarTrainingSettings":
        compare_all = self.train.pairs == "all"
        if compare_all and self.train.batch < 3:
            raise ValueError("train.batch must be 3 or more if train.pairs is all")
        if self.model.emonet and self.model.init:
            raise ValueError("model.emonet and model.init both name weights to start from; leave one of them out")
        if self.model.emonet and self.model.width != 256:
            raise ValueError(f"model.emonet: published weights need model.width 256, not {self.model.width}")
        if compare_all and self.train.subjects and self.train.batch % self.train.subjects:
            raise ValueError(
                f"train.batch {self.train.batch} is not a multiple of train.subjects {self.train.subjects}; "
                "every person of a batch must have the same number of frames"
            )
        return self

    @property
    def similar_by(self) -> Literal["expression", "neighbourhood"]:
        """`pairs.similar_by`, with auto resolved for the data set."""
        if self.pairs.similar_by != "auto":
            return self.pairs.similar_by
        return "expression" if self.dataset == "affectnet" else "neighbourhood"


class MtclarSettings(MtclarTrainingSettings):
    """Settings of mtclar.py, including the one that exports a network."""

    export: Path | None = Field(None, exclude=True)
    """Run folder whose network is exported, in place of training. Writes the folder `export` in it: model.safetensors,
    config.json and a model card. Every script takes that folder as --checkpoint."""
