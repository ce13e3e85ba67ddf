"""The settings of mtclar_sl.py."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from utils.config.common import TrainingScriptSettings
from utils.config.sections import DataSettings, DemoSettings, FitSettings, Section, VideoSettings

FOLDS = ("0", "1", "2", "3", "4")
HEAD = "MT-CLAR + SL"
"""Name of the supervised head in reports, beside the names of other methods."""


class SupervisedDemoSettings(DemoSettings):
    """The rendered demo set, with other people than those that mtclar.py was trained on."""

    people: int = Field(300, ge=10)
    """Number of people to render."""
    seed: int = Field(100, ge=0)
    """Random seed of the people. It must differ from the seed of the encoder's demo set."""


class SupervisedDataSettings(DataSettings):
    """Where the images are, and how they are split and cropped."""

    root: Path | None = None
    """Folder of the data set. Default: data/demo_sl, data/AfewVA, data/AffectNet or data/videos."""
    fold: Literal["0", "1", "2", "3", "4", "all"] = "all"  # type: ignore[assignment]
    """Which of the five folds of people is the test set (demo, afewva, videos). all: each of them in turn."""
    image_size: int | None = Field(None, ge=64, multiple_of=64)  # type: ignore[assignment]
    """Width and height of the face crops in pixels. Default: the size that the encoder was trained on; 256 for
    published weights."""

    @field_validator("fold", mode="before")
    @classmethod
    def convert_integers(cls, fold: Any) -> Any:
        return str(fold) if type(fold) is int else fold


class HeadSettings(Section):
    """The supervised head."""

    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout probability in the hidden layers."""
    tanh: bool = True
    """Limit valence and arousal to [-1, 1] by tanh."""


class HeadTrainSettings(FitSettings):
    """Training of the head on frozen embeddings."""

    batch: int = Field(512, ge=2)
    """Batch size, in images."""
    mse_exponent: float = Field(2.0, gt=0)
    """valence_arousal: exponent x of the MSE weight w = (epoch / epochs)^x in the loss; 1 - CCC has the weight
    1 - w."""
    sampling: Literal["auto", "natural", "balanced"] = "auto"
    """expression: how training images are drawn. natural: each image once per epoch. balanced: all classes equally
    often. auto: balanced for affectnet, natural for the other data sets."""
    copies: int = Field(0, ge=0)
    """Number of augmented copies of each training image that are encoded besides the original."""
    augment: float = Field(1.0, ge=0, le=1)
    """Strength of the random affine augmentation of the copies, applied besides flips and random crops. 1: as in the
    paper."""


SUPERVISED_PAPER: dict[str, dict[str, Any]] = {
    "head": {"dropout": 0.5},
    "train": {
        "batch": 512,
        "epochs": 60,
        "lr": 1e-3,
        "weight_decay": 1e-4,
        "schedule": "step",
        "clip_norm": 0.0,
        "mse_exponent": 2.0,
    },
}


class SLTrainingSettings(TrainingScriptSettings):
    """Settings of mtclar_sl.py for training: the fields of mtclar_sl_config.yaml."""

    presets = {"paper": SUPERVISED_PAPER}
    default_roots = TrainingScriptSettings.default_roots | {"demo": "demo_sl"}

    demo: SupervisedDemoSettings = SupervisedDemoSettings()
    data: SupervisedDataSettings = SupervisedDataSettings()
    train: HeadTrainSettings = HeadTrainSettings()
    task: Literal["valence_arousal", "expression"] = "valence_arousal"
    """What the head predicts: valence and arousal, or one of eight expressions."""
    checkpoint: Path | None = None
    """Encoder: best.pt or last.pt of a mtclar.py run, a folder that mtclar.py --export wrote, or a Siamese network with
    the published tensor names. Default: best.pt of the newest run (of the run called --name, if given). {fold} is
    replaced by the number of the fold, and * matches any text; of several matches the newest is used
    (runs/mtclar/*_fold{fold}/best.pt). With --predict: best.pt of a mtclar_sl.py run."""
    emonet: Path | None = None
    """Published EmoNet weights to use as the encoder (emonet_8.pth or emonet_5.pth)."""
    head: HeadSettings = HeadSettings()

    @model_validator(mode="after")
    def check_encoder(self) -> "SLTrainingSettings":
        if self.emonet and self.checkpoint:
            raise ValueError("checkpoint and emonet both name an encoder; leave one of them out")
        if self.train.sampling == "balanced" and self.task != "expression":
            raise ValueError("train.sampling balanced draws by expression class; it needs task expression")
        return self

    @property
    def balanced(self) -> bool:
        """Whether all classes have equal weight in training and in the choice of the best epoch."""
        if self.train.sampling != "auto":
            return self.train.sampling == "balanced"
        return self.task == "expression" and self.dataset == "affectnet"

    def folds(self) -> "list[SLTrainingSettings]":
        """Return the settings of each fold to test, with `data.fold` and `checkpoint` filled in.

        AffectNet has a single split.
        """
        chosen: tuple[str, ...] = FOLDS if self.data.fold == "all" else (self.data.fold,)
        if self.dataset == "affectnet":
            chosen = FOLDS[:1]
        return [self._for_fold(fold) for fold in chosen]

    def _for_fold(self, fold: str) -> "SLTrainingSettings":
        checkpoint = self.checkpoint and Path(str(self.checkpoint).replace("{fold}", fold))
        data = self.data.model_copy(update={"fold": fold})
        return self.model_copy(update={"data": data, "checkpoint": checkpoint})


class SLSettings(VideoSettings, SLTrainingSettings):  # type: ignore[misc]  # pydantic merges model_config
    """Settings of mtclar_sl.py, including those for predicting your own videos."""

    short_help = (
        "task",
        "dataset",
        "data.root",
        "data.fold",
        "checkpoint",
        "emonet",
        "predict",
        "preset",
        "name",
        "train.resume",
        "config",
    )

    predict: Path | None = None
    """Your own video, to be predicted by a trained head: a video file, a folder of frames, or a folder of videos."""

    @model_validator(mode="after")
    def check_purpose(self) -> "SLSettings":
        if self.overlay and not self.predict:
            raise ValueError("overlay is for a video of your own; name it by --predict")
        if self.predict and self.emonet:
            raise ValueError("emonet is for training a head; with --predict name the head's --checkpoint")
        return self
