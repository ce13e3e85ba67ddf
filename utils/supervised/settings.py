"""The settings of mtclar_sl.py; see `utils.settings` for what all scripts share."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from utils.settings import (
    DataSettings,
    DemoSettings,
    FitSettings,
    RuntimeSettings,
    ScriptSettings,
    Section,
    VideoSettings,
)

FOLDS = ("0", "1", "2", "3", "4")


class SupervisedDemoSettings(DemoSettings):
    """The set of rendered faces: other people than those that mtclar.py was trained on."""

    people: int = Field(300, ge=10)
    """How many people to render, one clip each."""
    seed: int = Field(100, ge=0)
    """Another seed makes other people; it must not be that of the encoder's demo set."""


class SupervisedDataSettings(DataSettings):
    """Where frames come from, and how they are cut and split."""

    root: Path | None = None
    """The dataset's folder. Default: data/demo_sl, data/AfewVA or data/AffectNet."""
    fold: Literal["0", "1", "2", "3", "4", "all"] = "all"
    """Which of five folds of people is the test set; all: each in turn (demo, afewva)."""
    image_size: int | None = Field(None, ge=64, multiple_of=64)
    """Side in pixels of the square that the encoder sees. Default: as in its training; published weights: 256."""

    @field_validator("fold", mode="before")
    @classmethod
    def take_numbers(cls, fold: Any) -> Any:
        return str(fold) if type(fold) is int else fold


class HeadSettings(Section):
    """The supervised head."""

    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout of its hidden layers."""
    tanh: bool = True
    """Bound valence and arousal to [-1, 1] by tanh."""


class HeadTrainSettings(FitSettings):
    """Training of the head on frozen features."""

    batch: int = Field(512, ge=2)
    """Images of a step."""
    error_exponent: float = Field(2.0, gt=0)
    """valence_arousal: x of w = (epoch / epochs)^x, the share of squared error in the loss; the rest is
    concordance."""
    sampling: Literal["auto", "natural", "balanced"] = "auto"
    """expression: natural: each image once an epoch. balanced: classes uniformly, however rare. auto: balanced for
    affectnet, natural for the others."""
    copies: int = Field(0, ge=0)
    """Randomly changed copies of each training image that are encoded beside it."""
    augment: float = Field(1.0, ge=0, le=1)
    """Strength of the copies' affine changes, beside mirror images and shifts. 1: as in the paper."""


SUPERVISED_PAPER = {
    "head": {"dropout": 0.5},
    "train": {
        "batch": 512,
        "epochs": 60,
        "lr": 1e-3,
        "weight_decay": 1e-4,
        "schedule": "step",
        "clip_norm": 0.0,
        "error_exponent": 2.0,
    },
}


class SupervisedSettings(ScriptSettings):
    """MT-CLAR + SL: a small supervised head on frozen features."""

    presets = {"demo": {}, "paper": SUPERVISED_PAPER}
    default_roots = ScriptSettings.default_roots | {"demo": "demo_sl"}

    demo: SupervisedDemoSettings = SupervisedDemoSettings()
    data: SupervisedDataSettings = SupervisedDataSettings()
    task: Literal["valence_arousal", "expression"] = "valence_arousal"
    """What the head learns: valence and arousal, or one of eight expressions."""
    checkpoint: Path | None = None
    """The encoder: best.pt or last.pt of a mtclar.py run. Default: best.pt of the newest run, of the same name if one
    is given. {fold} stands for the fold and * for anything (runs/mtclar/*_fold{fold}/best.pt; the newest counts).
    With --predict: best.pt of a mtclar_sl.py run."""
    emonet: Path | None = None
    """Published EmoNet weights as the encoder instead (emonet_8.pth or emonet_5.pth)."""
    head: HeadSettings = HeadSettings()
    train: HeadTrainSettings = HeadTrainSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def check_encoder(self) -> "SupervisedSettings":
        if self.emonet and self.checkpoint:
            raise ValueError("checkpoint and emonet both name an encoder; leave one of them out")
        if self.train.sampling == "balanced" and self.task != "expression":
            raise ValueError("train.sampling balanced is by expression class; it needs task expression")
        return self

    @property
    def balanced(self) -> bool:
        """Whether the classes count alike in training and in choosing the best epoch."""
        if self.train.sampling != "auto":
            return self.train.sampling == "balanced"
        return self.task == "expression" and self.dataset == "affectnet"

    def folds(self) -> "list[SupervisedSettings]":
        """The settings of each fold to be tested, `data.fold` and `checkpoint` said; AffectNet has one split."""
        chosen = FOLDS if self.data.fold == "all" else (self.data.fold,)
        if self.dataset == "affectnet":
            chosen = FOLDS[:1]
        return [self._of_fold(fold) for fold in chosen]

    def _of_fold(self, fold: str) -> "SupervisedSettings":
        checkpoint = self.checkpoint and Path(str(self.checkpoint).replace("{fold}", fold))
        data = self.data.model_copy(update={"fold": fold})
        return self.model_copy(update={"data": data, "checkpoint": checkpoint})


class PredictSettings(VideoSettings, SupervisedSettings):
    """What mtclar_sl.py takes besides; for the command line."""

    predict: Path | None = None
    """Use a trained head instead: a video, a folder of frames, or a folder of videos."""

    @model_validator(mode="after")
    def check_purpose(self) -> "PredictSettings":
        if self.overlay and not self.predict:
            raise ValueError("overlay is for a video of your own; name it by --predict")
        if self.predict and self.emonet:
            raise ValueError("emonet is for training a head; with --predict name the head's --checkpoint")
        return self
