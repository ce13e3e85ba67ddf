"""Every setting of the project: its type, default, range and meaning, each said once.

The docstring below a field is its text in `--help` and in `config.yaml`, which is written from here.
The defaults train the demo in minutes on a CPU; PAPER holds what the paper did. Here: what the scripts share, and
what mtclar.py and fsl_mtclar.py take; `utils.supervised.settings` has those of mtclar_sl.py.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Dataset = Literal["demo", "afewva", "affectnet"]
Strategy = Literal["first", "every_n", "random_k", "uniform_k", "diverse_k", "suggested", "train_bins", "csv"]


STRICT = {"extra": "forbid", "use_attribute_docstrings": True, "allow_inf_nan": False}


class Section(BaseModel):
    model_config = ConfigDict(**STRICT)

    @field_validator("*", mode="before")
    @classmethod
    def refuse_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """`seed: yes` would otherwise be read as 1."""
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("must not be true or false")
        return value


class DemoSettings(Section):
    """The set of rendered faces that stands in where there is no licensed data."""

    people: int = Field(900, ge=10)
    """How many people to render, one clip each."""
    frames: int = Field(48, ge=2)
    """Frames of a long clip; one in five is."""
    short_frames: int = Field(8, ge=2)
    """Frames of the other clips."""
    seed: int = Field(0, ge=0)
    """Another seed makes other people."""
    hard: bool = False
    """Stronger differences between people, occluders, blur and side light."""


class DataSettings(Section):
    """Where frames come from, and how they are cut and split."""

    root: Path | None = None
    """The dataset's folder. Default: data/demo, data/AfewVA or data/AffectNet."""
    fold: int = Field(0, ge=0, le=4)
    """Which of five folds of people is the test set (demo, afewva)."""
    validation_share: float = Field(0.15, gt=0, lt=0.5)
    """Share of the training people (affectnet: of the training images) kept for validation."""
    expressions: Path | None = None
    """CSV with clip, frame, expression for afewva. Default: expressions.csv in the root, if it is there."""
    pixel_aspect: float = Field(1.0, gt=0.2, lt=5)
    """Width of a pixel over its height, for films stored with non-square pixels (afewva: 1.422 for 720×576 shown
    16:9)."""
    clean: bool = False
    """affectnet: leave out images whose expression and valence/arousal contradict each other."""
    strict: bool = False
    """Stop at the first row that cannot serve, instead of leaving such rows out and counting them."""
    image_size: int = Field(64, ge=64, le=4096, multiple_of=64)
    """Side in pixels of the square that the network sees. Published weights: 256."""
    cache: Path | None = Path("data/cache")
    """Folder for face crops, so that a film frame is decoded once. null: no cache."""
    cache_gb: float = Field(20.0, ge=0)
    """The crop cache stops growing at this size, in GB."""
    workers: int = Field(1, ge=0)
    """Processes that prepare images beside the one that trains."""


class PairSettings(Section):
    """What counts as a pair of similar faces."""

    similar_by: Literal["auto", "expression", "neighbourhood"] = "auto"
    """Similar means the same expression class, or labels close to each other. auto: expression for affectnet,
    neighbourhood for the others."""
    neighbourhood_threshold: float = Field(0.2, gt=0, le=2)
    """Largest distance of two (valence, arousal) points of a similar pair."""
    validation: int = Field(600, ge=2)
    """Pairs drawn once for validation."""
    test: int = Field(10000, ge=2)
    """Pairs drawn once for the test."""


class ModelSettings(Section):
    """The Siamese network."""

    width: int = Field(64, ge=16, le=1024, multiple_of=16)
    """Channels of the encoder; the heads shrink with it. 256: as published; 64: quick to train from scratch."""
    fusion: Literal["concat", "absolute", "multiply"] = "concat"
    """How two embeddings become one vector."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of the comparison heads."""
    emonet: Path | None = None
    """Published EmoNet weights to start from (emonet_8.pth or emonet_5.pth); the landmark network is then
    frozen."""


class FitSettings(Section):
    """Training, whatever is trained."""

    epochs: int = Field(60, ge=1)
    """Epochs of training."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of Adam."""
    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay of Adam."""
    schedule: Literal["plateau", "step", "cosine", "onecycle"] = "onecycle"
    """Learning rate. plateau: ÷10 after 5 epochs without a better validation loss. step: ÷10 every 15 epochs.
    cosine: from lr to 0. onecycle: up to lr and down once."""
    patience: int = Field(0, ge=0)
    """Stop after this many epochs without a better validation loss. 0: never."""
    clip_norm: float = Field(1.0, ge=0)
    """Largest norm of the gradient. 0: not clipped."""
    save_minutes: float = Field(10.0, ge=0)
    """Save last.pt whenever so many minutes have passed within an epoch, too. 0: only after epochs."""
    resume: Path | None = None
    """Run folder of an interrupted run to go on with, under its own settings. latest: the newest one of this name
    and with just these settings, or a new one where there is none."""


class TrainSettings(FitSettings):
    """Training."""

    epochs: int = Field(11, ge=1)
    """Epochs of training."""
    pairs: Literal["sampled", "all"] = "all"
    """sampled: pairs drawn as in the paper. all: every image of a batch is compared with every other one."""
    batch: int = Field(48, ge=2)
    """Pairs (sampled) or images (all) of a step."""
    subjects: int = Field(48, ge=0)
    """pairs all: people of a batch, with equally many frames each. 0: images drawn at random."""
    epoch_size: int = Field(2880, ge=0)
    """Pairs (sampled) or images (all) of an epoch. 0: as many as there are training images."""
    loss_weights: Literal["random", "equal"] = "equal"
    """Weights of the four losses: fresh random ones each step, as in the paper, or equal ones."""
    error_exponent: float = Field(8.0, gt=0)
    """x of w = (epoch / epochs)^x, the share of squared error in the loss of Δ; the rest is concordance."""
    augment: float = Field(0.0, ge=0, le=1)
    """Strength of random affine changes in training, beside mirror images and shifts. 1: as in the paper."""


class SupportSettings(Section):
    """Labelling from a support-set (fsl_mtclar.py)."""

    strategy: Strategy = "every_n"
    """Which frames of a clip are labelled: the first ones, every n-th, random ones, evenly spread ones, ones far from
    each other in looks and time, those that --suggest would name; train_bins: none, the anchors come from the
    training set by bins of valence; csv: those that a file names."""
    amount: int = Field(20, ge=1)
    """n of every_n; frames of a clip for the others; train_bins: frames of each of ten bins."""
    rule: Literal["previous", "nearest", "mean", "weighted", "fused"] = "fused"
    """Which anchors serve a frame: the latest (paper), the closest in time, all alike, or all by likeness and time;
    fused: a Gaussian process in time through all of them, led by what the network sees in between, with intervals."""
    annotator_error: float = Field(0.0, ge=0, le=1)
    """Standard deviation of a person's label. 0: labels are exact, unless several annotators differ."""
    score_support: bool = False
    """Score the support frames too, though their labels are known, as the paper's code did."""
    csv: Path | None = None
    """Strategy csv: a file with clip and frame of each support frame; its valence and arousal, if it has them, else
    the dataset's."""
    min_frames: int = Field(1, ge=1)
    """Leave out a dataset's clips of fewer frames."""
    plots: int = Field(6, ge=0)
    """How many clips of a dataset get plots, the longest first."""

    @model_validator(mode="after")
    def check_strategy(self) -> "SupportSettings":
        if self.strategy == "train_bins" and self.rule in ("previous", "nearest"):
            raise ValueError(f"rule {self.rule} needs anchors of the same clip, which train_bins has not; "
                             "use mean, weighted or fused")  # fmt: skip
        if (self.strategy == "csv") != (self.csv is not None):
            raise ValueError("strategy csv and the file csv go together")
        return self


class RuntimeSettings(Section):
    """How to compute; none of these changes what is computed beyond rounding."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """auto, cpu, cuda, cuda:1 or mps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the hardware multiplies it natively, else float32."""
    channels_last: bool = True
    """Memory layout of images; faster on most hardware."""
    backend: Literal["auto", "eager", "compile", "openvino"] = "auto"
    """What runs the encoder. eager: PyTorch as it is; compile: through torch.compile, slow to start, then faster;
    openvino: Intel's engine, on a CPU, where it is installed (requirements-fast.txt), to encode but not to train.
    auto: the fastest one whose start the job is long enough to earn back."""


class ScriptSettings(Section, BaseSettings):
    """What every script takes."""

    model_config = SettingsConfigDict(**STRICT)
    presets: ClassVar[dict[str, dict[str, Any]]] = {"demo": {}}
    default_roots: ClassVar[dict[str, str]] = {"demo": "demo", "afewva": "AfewVA", "affectnet": "AffectNet"}

    @classmethod
    def settings_customise_sources(cls, settings_cls, init_settings, **others):
        """Environment variables are not settings: NAME or DATA may well be set for another purpose."""
        return (init_settings,)

    dataset: Dataset = "demo"
    """demo, afewva or affectnet."""
    preset: Literal["demo", "paper"] = "demo"
    """paper: the paper's settings, all at once; settings named beside it still count."""
    name: str = Field("", pattern=r"^[\w.-]*$")
    """Added to the name of the run folder."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    runs: Path = Path("runs")
    """Where run folders go."""
    demo: DemoSettings = DemoSettings()
    data: DataSettings = DataSettings()

    @property
    def data_root(self) -> Path:
        return self.data.root or Path("data") / self.default_roots[self.dataset]


PAPER = {
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
        "error_exponent": 2.0,
        "augment": 1.0,
    },
    "support_set": {"strategy": "every_n", "amount": 20, "rule": "previous"},
}


class VideoSettings(Section):
    """How a video of the user's own is read."""

    track: str = Field("longest", pattern=r"^(longest|all|\d+)$")
    """Whose face: longest (the track of most frames), all, or the number of a track."""
    overlay: bool = False
    """Also write an MP4 of the video with face box, traces and the moving point of valence and arousal."""
    detect_every: int = Field(3, ge=1)
    """Look for faces in every n-th frame; boxes between are interpolated."""
    fps: float = Field(25.0, gt=0, le=1000)
    """Frames a second of a folder of frames."""


class Settings(ScriptSettings):
    """MT-CLAR: learn to compare faces, then label videos from a few labelled frames."""

    presets = {"demo": {}, "paper": PAPER}

    pairs: PairSettings = PairSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    support_set: SupportSettings = SupportSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def check_batch(self) -> "Settings":
        together = self.train.pairs == "all"
        if together and self.train.batch < 3:
            raise ValueError("train.batch must be 3 or more where all images of a batch are compared")
        if self.model.emonet and self.model.width != 256:
            raise ValueError(f"model.emonet: published weights need model.width 256, not {self.model.width}")
        if together and self.train.subjects and self.train.batch % self.train.subjects:
            raise ValueError(
                f"train.batch {self.train.batch} is no multiple of train.subjects {self.train.subjects}; "
                "every person of a batch gets equally many frames"
            )
        return self

    @property
    def similar_by(self) -> Literal["expression", "neighbourhood"]:
        if self.pairs.similar_by != "auto":
            return self.pairs.similar_by
        return "expression" if self.dataset == "affectnet" else "neighbourhood"


class LabelSettings(VideoSettings, Settings):
    """What fsl_mtclar.py takes besides; for the command line."""

    video: Path | None = None
    """A video of your own: a file, a folder of frames, or a folder of videos with labels beside each."""
    labels: Path | None = None
    """The video's support labels: CSV (frame or time, valence, arousal), ELAN (.eaf) or NOVA (.annotation)."""
    tier: str | None = None
    """ELAN: what precedes valence and arousal in the names of the tiers to read."""
    suggest: int = Field(0, ge=0)
    """Name this many frames of each track whose labels would help most, given those in labels, if any; writes a CSV to
    fill in, which then serves as labels, and a picture of the frames."""
    annotate: Path | None = None
    """A video, or a folder of videos, to label on a page in the browser, on this computer alone. Labels are kept in
    <video>_labels.csv beside it, or in the folder or CSV that --labels names."""
    annotator: str = Field("", pattern=r"^(\w[\w .-]{0,39})?$")
    """annotate: whose labels these are; each annotator has a file of their own, <video>_labels_<annotator>.csv."""
    host: str = "127.0.0.1"
    """annotate: the address to serve the page at. Others than this computer's own let others in."""
    port: int = Field(0, ge=0, le=65535)
    """annotate: the port to serve the page at. 0: any that is free."""
    checkpoint: Path | None = None
    """best.pt or last.pt of a mtclar.py run. Default: best.pt of the newest run, of the same name if one is given."""
    zero_shot: Path | None = None
    """Published EmoNet weights, or best.pt of a mtclar_sl.py run, whose own estimates then join the comparison on a
    dataset as a baseline."""

    @model_validator(mode="after")
    def check_purpose(self) -> "LabelSettings":
        if self.annotate:
            for name in ("video", "suggest", "tier", "zero_shot"):
                if getattr(self, name):
                    raise ValueError(f"{name} does not go with annotate; leave it out")
        elif self.annotator:
            raise ValueError("annotator is for a page to label in; name the video by --annotate")
        elif self.video is None:
            for name in ("labels", "tier", "overlay", "suggest"):
                if getattr(self, name):
                    raise ValueError(f"{name} is for a video of your own; name it by --video")
        elif self.zero_shot:
            raise ValueError("zero_shot is for scoring on a dataset; leave it out with --video")
        return self
