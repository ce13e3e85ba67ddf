"""The sections of the settings: every setting with its type, default, range and meaning.

The docstring below a field is the text that `--help` prints and that the YAML files hold, so each setting is
described once, here. The defaults train the demo within minutes on a CPU.
"""

import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

Strategy = Literal["first", "every_n", "random_k", "uniform_k", "diverse_k", "suggested", "train_bins", "csv"]
Scope = Literal["clip", "person", "others"]
Rule = Literal["previous", "nearest", "mean", "weighted", "fused"]


class Section(BaseModel):
    """A group of settings. Unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def refuse_booleans_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Without this check, `seed: yes` would be read as 1."""
        if isinstance(value, bool) and info.field_name and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("must not be true or false")
        return value


class DemoSettings(Section):
    """The rendered demo set, used when no licensed data set is at hand."""

    people: int = Field(900, ge=10)
    """Number of people to render."""
    clips: int = Field(1, ge=1)
    """Number of clips of each person. Validation people with several clips tell how far a person's clips differ, see
    docs/archive.md."""
    frames: int = Field(48, ge=2)
    """Number of frames in a long clip. The clips of one person in five are long."""
    short_frames: int = Field(8, ge=2)
    """Number of frames in each of the other clips."""
    seed: int = Field(0, ge=0)
    """Random seed of the people. Another seed renders other people."""
    hard: bool = False
    """Render a harder set, with larger differences between people, occlusions, blur and side light."""


class DataSettings(Section):
    """Where the images are, and how they are split and cropped."""

    root: Path | None = None
    """Folder of the data set. Default: data/demo, data/AfewVA, data/AffectNet or data/videos."""
    fold: int = Field(0, ge=0, le=4)
    """Which of the five folds of people is the test set (demo, afewva, videos)."""
    validation_share: float = Field(0.15, gt=0, lt=0.5)
    """Fraction of the training people (affectnet: of the training images) held out for validation."""
    expressions: Path | None = None
    """CSV file with the columns clip, frame and expression (afewva). Default: expressions.csv in data.root, if it
    exists."""
    pixel_aspect: float = Field(1.0, gt=0.2, lt=5)
    """Width of a pixel divided by its height, for films stored with non-square pixels (afewva: 1.422 for 720×576
    shown at 16:9)."""
    fps: float = Field(25.0, gt=0, le=1000)
    """Frames per second of folders of frames (videos)."""
    clean: bool = False
    """Leave out images whose expression contradicts their valence and arousal (affectnet)."""
    strict: bool = False
    """Stop at the first unusable row. Default: leave such rows out and log their number."""
    image_size: int = Field(64, ge=64, le=4096, multiple_of=64)
    """Width and height of the face crops in pixels. Published weights expect 256."""
    cache: Path | None = Path("data/cache")
    """Folder in which face crops are cached, so that each film frame is decoded once. null: no cache. The data set
    videos also keeps its face tracks and face images there, and needs it."""
    cache_gb: float = Field(20.0, ge=0)
    """Approximate maximum size of the crop cache in GB. Several runs that fill it at the same time may exceed it."""
    workers: int = Field(1, ge=0)
    """Number of processes that load images. 0: load them in the main process."""


class PairSettings(Section):
    """Pairs of faces."""

    similar_by: Literal["auto", "expression", "neighbourhood"] = "auto"
    """When a pair counts as similar. expression: both faces have the same expression class. neighbourhood: their
    valence and arousal are close. auto: expression for affectnet, neighbourhood for the other data sets."""
    neighbourhood_threshold: float = Field(0.2, gt=0, le=2)
    """neighbourhood: largest Euclidean distance between the (valence, arousal) points of a similar pair."""
    validation: int = Field(600, ge=2)
    """Number of validation pairs, drawn once."""
    test: int = Field(10000, ge=2)
    """Number of test pairs, drawn once."""


class ModelSettings(Section):
    """The Siamese network."""

    width: int = Field(64, ge=16, le=1024, multiple_of=16)
    """Number of encoder channels; the heads scale with it. 256: the published size. 64: trains from scratch within
    minutes."""
    fusion: Literal["concat", "absolute", "multiply"] = "concat"
    """How two embeddings become one vector. absolute and multiply are symmetric: they learn similarity, but no
    differences, so that labelling cannot use the network."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout probability in the comparison heads."""
    emonet: Path | None = None
    """Published EmoNet weights to start from (emonet_8.pth or emonet_5.pth). The landmark network is then frozen."""
    init: Path | None = None
    """Trained network to start from, for fine-tuning: best.pt or last.pt of a mtclar.py run with the same width, fusion
    and image size."""


class FitSettings(Section):
    """Training, whichever network is trained."""

    epochs: int = Field(60, ge=1)
    """Number of training epochs."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of Adam."""
    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay of Adam."""
    schedule: Literal["plateau", "step", "cosine", "onecycle"] = "onecycle"
    """Learning rate schedule. plateau: divide by 10 after 5 epochs without a lower validation loss. step: divide by
    10 every 15 epochs. cosine: decay from lr to 0. onecycle: warm up to lr, then decay."""
    patience: int = Field(0, ge=0)
    """Stop after this many epochs without a lower validation loss. 0: never stop early."""
    clip_norm: float = Field(1.0, ge=0)
    """Maximum norm of the gradient. 0: no clipping."""
    save_minutes: float = Field(10.0, ge=0)
    """Save last.pt every so many minutes within an epoch, besides after every epoch. 0: after epochs only."""
    resume: Path | None = None
    """Run folder of an interrupted run to resume, with the settings of that run. latest: the newest run with the same
    name and the same settings; if there is none, a new run starts."""


class TrainSettings(FitSettings):
    """Training of the Siamese network."""

    epochs: int = Field(11, ge=1)
    """Number of training epochs."""
    pairs: Literal["sampled", "all"] = "all"
    """Which pairs are compared. sampled: random pairs, as in the paper. all: all pairs of images in a batch."""
    batch: int = Field(48, ge=2)
    """Batch size: number of pairs if train.pairs is sampled, number of images if it is all."""
    subjects: int = Field(48, ge=0)
    """Number of people in a batch if train.pairs is all, each with the same number of frames. 0: draw images
    regardless of people."""
    epoch_size: int = Field(2880, ge=0)
    """Size of an epoch, in the units of train.batch. 0: the number of training images."""
    loss_weights: Literal["random", "equal"] = "equal"
    """Weights of the four losses. random: drawn anew at every step, as in the paper. equal: 1/4 each."""
    mse_exponent: float = Field(8.0, gt=0)
    """Exponent x of the MSE weight w = (epoch / epochs)^x in the losses of Δvalence and Δarousal; 1 - CCC has the
    weight 1 - w."""
    augment: float = Field(0.0, ge=0, le=1)
    """Strength of the random affine augmentation, applied besides flips and random crops. 0: none. 1: as in the
    paper."""


class SupportSettings(Section):
    """Labelling from a support-set (fsl_mtclar.py)."""

    strategy: Strategy = "every_n"
    """How the labelled frames of each clip are chosen. first: the first ones. every_n: every n-th. random_k: at
    random. uniform_k: evenly spaced. diverse_k: far apart in appearance and time. suggested: those that --suggest
    names. train_bins: none; labelled frames of the training set serve instead, grouped by valence. csv: those listed
    in support_set.csv."""
    amount: int = Field(20, ge=1)
    """every_n: the n. train_bins: number of frames in each of ten bins. Otherwise: number of frames in each clip."""
    share: float | None = Field(None, gt=0, le=1)
    """Label this fraction of the frames of each clip, at least one, in place of amount."""
    scope: Scope = "clip"
    """Which frames the strategy chooses from, to label a clip. clip: the clip itself. person: all clips of its person.
    others: the other clips of its person, or if there are none, those of another person. With person and others,
    anchors have no time, so the rules previous and nearest cannot be used."""
    rule: Rule = "fused"
    """How labels are derived from the labelled frames (anchors). previous: from the latest anchor, as in the paper.
    nearest: from the closest one in time. mean: from all, equally weighted. weighted: from all, weighted by predicted
    similarity and by time. fused: from all, by Gaussian processes in time, with intervals."""
    share_people: bool = False
    """fused, on a data set: the labels of a person inform all clips of the person, as --people does for videos.
    Otherwise, each clip counts as another person."""
    annotator_error: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = "auto"
    """Standard deviation of a person's labels. auto: estimated from the labels where they are many enough, else 0, that
    is, exact labels."""
    score_support: bool = False
    """Include the labelled frames in the scores, as the authors' code did."""
    csv: Path | None = None
    """csv: a CSV file with the columns clip and frame. Labels are read from its columns valence and arousal, if
    present; otherwise from the data set. Only test clips that the file names are labelled."""
    min_frames: int = Field(1, ge=1)
    """Leave out clips of the data set with fewer frames than this."""
    plots: int = Field(6, ge=0)
    """Number of clips of the data set to plot, longest first."""

    @field_validator("annotator_error", mode="wrap")
    @classmethod
    def describe_both_forms(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        """Without this validator, there would be one message for the word and one for the number."""
        try:
            return validate(value)
        except ValidationError:
            raise ValueError(f"must be auto or a number from 0 to 1, got {reprlib.repr(value)}") from None

    def amount_for(self, frames: int) -> int:
        """The amount that the strategy is called with, for a number of frames to choose from."""
        if self.share is None:
            return self.amount
        return max(1, round(1 / self.share if self.strategy == "every_n" else self.share * frames))

    @property
    def known_error(self) -> float:
        """The standard deviation of labels that is given; 0 if it is to be estimated."""
        return 0.0 if self.annotator_error == "auto" else self.annotator_error

    @model_validator(mode="after")
    def check_strategy(self) -> "SupportSettings":
        if self.strategy == "train_bins" and self.rule in ("previous", "nearest"):
            raise ValueError(
                f"rule {self.rule} needs labelled frames of the same clip, but strategy train_bins has none; "
                "use mean, weighted or fused"
            )
        if self.scope != "clip" and self.rule in ("previous", "nearest"):
            raise ValueError(
                f"rule {self.rule} needs labelled frames of the same clip, which scope {self.scope} does not always "
                "give; use mean, weighted or fused"
            )
        if self.scope != "clip" and self.strategy in ("suggested", "train_bins"):
            raise ValueError(f"strategy {self.strategy} does not choose among several clips; use scope clip")
        if self.share_people and (self.rule != "fused" or self.scope == "others" or self.strategy == "train_bins"):
            raise ValueError(
                "share_people needs the rule fused and labels of the person; leave it out, or do not use other rules, "
                "scope others and strategy train_bins"
            )
        if self.share is not None and self.strategy in ("train_bins", "csv"):
            raise ValueError(f"share is not used by strategy {self.strategy}; leave it out")
        if self.strategy == "csv" and self.csv is None:
            raise ValueError("strategy csv needs a file of support frames; name it by support_set.csv")
        if self.strategy != "csv" and self.csv is not None:
            raise ValueError(f"csv is not used by strategy {self.strategy}; set support_set.strategy to csv")
        return self


class RuntimeSettings(Section):
    """Hardware and speed. Results differ by rounding only, except those of openvino-int8."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """Where to compute: auto, cpu, cuda, cuda:1 (and so on) or mps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Floating-point format. auto: bfloat16 where the hardware multiplies it natively, otherwise float32."""
    channels_last: bool = True
    """Store images in channels-last memory format, which is faster on most hardware."""
    backend: Literal["auto", "eager", "compile", "openvino", "openvino-int8"] = "auto"
    """What runs the encoder. eager: plain PyTorch. compile: torch.compile, slow to start but faster afterwards.
    openvino: OpenVINO on a CPU, if it is installed (requirements-fast.txt); for encoding only, not for training.
    openvino-int8: OpenVINO in 8-bit integers, for videos of at least two minutes; a video whose estimates would change
    is refused. auto: eager, compile or openvino, the fastest one for the size of the job, start-up included."""


class VideoSettings(Section):
    """The settings that the scripts for labelling and predicting your own videos share."""

    from_manifest: Path | None = None
    """Repeat a run: its manifest.json, which holds all settings. Inputs that have changed are refused, and the results
    are compared with those of that run."""
    track: str = Field("longest", pattern=r"^(longest|all|\d+)$")
    """Which face to use: longest (the track with the most frames), all, or the number of a track."""
    exports: str = Field("elan,nova", pattern=r"^(none|(elan|nova|huggingface)(,(elan|nova|huggingface))*)$")
    """Which files to write for other programs: any of elan, nova and huggingface, separated by commas, or none.
    huggingface copies the videos."""
    overlay: bool = False
    """Also write an MP4 of the video with the face box, the labels over time and the point in the valence-arousal
    plane."""
    detect_every: int = Field(3, ge=1)
    """Run the face detector on every n-th frame; boxes in between are interpolated."""
    fps: float = Field(25.0, gt=0, le=1000)
    """Frames per second of a folder of frames."""

    @property
    def export_names(self) -> list[str]:
        """Names of the exports to write."""
        return [] if self.exports == "none" else list(dict.fromkeys(self.exports.split(",")))
