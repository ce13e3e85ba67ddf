"""The settings of fsl_mtclar.py."""

import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from utils.config.common import ScriptSettings
from utils.config.sections import ModelSettings, PairSettings, SupportSettings, TrainSettings, VideoSettings

MTCLAR_EVIDENCE = "mtclar"
"""Name of the Siamese network in the setting `evidence`."""

RATINGS_EVIDENCE = "ratings"
"""Name of the files in `ratings` in the setting `evidence`."""
FEWEST_CHECKED, MOST_CHECKED = 20, 10_000
"""Numbers of frames that a check may draw."""

LARGEST_STEP = 12
"""The largest value of `encode_every`: beyond it, a smile can come and go between two encoded faces."""

PAPER_SUPPORT: dict[str, dict[str, Any]] = {
    "support_set": {"strategy": "every_n", "amount": 20, "rule": "previous"},
}


class LabelSettings(VideoSettings, ScriptSettings):  # type: ignore[misc]  # pydantic merges the two model_config
    """Settings of fsl_mtclar.py: labelling from a few labelled frames."""

    presets = {"paper": PAPER_SUPPORT}
    short_help = (
        "video",
        "labels",
        "suggest",
        "annotate",
        "calibrate",
        "checkpoint",
        "evidence",
        "support_set.strategy",
        "support_set.rule",
        "dataset",
        "data.root",
        "config",
    )
    ignored_sections = {"pairs": PairSettings, "model": ModelSettings, "train": TrainSettings}

    support_set: SupportSettings = SupportSettings()
    video: Path | None = None
    """Your own video to label: a video file, a folder of frames, or a folder of videos. In a folder of videos, the
    labels of each are beside it."""
    labels: Path | None = None
    """Labels of some frames of the video: CSV (frame or time, valence, arousal), ELAN (.eaf) or NOVA (.annotation)."""
    people: Path | None = None
    """CSV (video, track, person) that says which tracks show the same person, in one or several videos. Labels of a
    person then inform all tracks of this person. Each run that labels writes people.csv, in which every track is
    another person, to be corrected. Default: every track is another person."""
    ratings: list[Path] = []
    """Continuous ratings of the person in the video: CSV (time, valence, arousal), CARMA, DARMA, PAGAN or NOVA files,
    or folders of them; several are separated by commas. They are evidence besides the network, corrected for lag and
    scale, and also label videos without labels. In a folder of videos, names of ratings begin with that of the
    video."""
    tier: str | None = None
    """ELAN: the prefix of the tier names that end in valence and arousal."""
    suggest: int = Field(0, ge=0)
    """Name this many frames to label next, for each track of a video or for a whole folder of videos. They are those
    that reduce the expected error most. Frames in labels, if given, count as labelled. Writes a CSV per video to fill
    in, which then serves as labels, and pictures of the frames."""
    check: str | None = None
    """Bound the error of the labels. A number draws this many frames at random, 20 to 10000, from those without a label
    in all videos, and writes a CSV to fill in. The filled-in CSV, check_to_label.csv, gives the upper bound of the RMSE
    at 95 %; name the same videos and labels with it."""
    annotate: Path | None = None
    """Video, or folder of videos, to label in the browser. Labels are saved as <video>_labels.csv beside the video,
    or in the folder or CSV file given by --labels."""
    annotator: str = Field("", pattern=r"^(\w[\w .-]{0,39})?$")
    """annotate: name of the person who labels. Each annotator has a file, <video>_labels_<annotator>.csv."""
    host: str = "127.0.0.1"
    """annotate: network address of the page. Any address other than 127.0.0.1 lets other computers connect."""
    port: int = Field(0, ge=0, le=65535)
    """annotate: port of the page. 0: any free port."""
    calibrate: Path | None = None
    """Folder of your own labelled videos, to calibrate fused labels and their intervals on. The calibration is saved
    beside the checkpoint and used for all videos from then on."""
    checkpoint: Path | None = None
    """Trained network: best.pt or last.pt of a mtclar.py run, a folder that mtclar.py --export wrote, or a Siamese
    network with the published tensor names. Default: best.pt of the newest run (of the run called --name, if given)."""
    evidence: list[str] = Field([MTCLAR_EVIDENCE], min_length=1)
    """What the rule fused follows between labelled frames; several are separated by commas. mtclar: the network named
    by checkpoint. Or a file: published EmoNet weights, best.pt of a mtclar_sl.py run, or a CSV of another tool's
    estimates. ratings: the files in ratings, which need not be named here unless they are the only evidence. Without
    mtclar, only fused and the baselines can label."""

    encode_every: Literal["auto"] | Annotated[int, Field(ge=1, le=LARGEST_STEP)] = "auto"
    """Encode every n-th face of a video's track, n from 1 to 12; the rule fused labels the faces in between as well.
    auto: n is chosen for each part of a track, smaller where the evidence moves, so that the expected error of
    fused labels rises by at most 5 %. With the other rules, and on data sets, every face is encoded."""

    @field_validator("encode_every", mode="wrap")
    @classmethod
    def describe_both_forms(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        """Without this validator, there would be one message for the word and one for the number."""
        try:
            return validate(value)
        except ValidationError:
            text = reprlib.repr(value)
            raise ValueError(f"must be auto or a whole number from 1 to {LARGEST_STEP}, got {text}") from None

    @field_validator("evidence", "ratings", mode="before")
    @classmethod
    def split_names(cls, value: Any) -> Any:
        """Split a text of several names, as a YAML file may give it."""
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value

    @model_validator(mode="after")
    def check_purpose(self) -> "LabelSettings":
        if self.calibrate:
            others = ("annotate", "video", "labels", "people", "ratings", "suggest", "check", "tier", "overlay")
            self._refuse(others, "does not go with calibrate; leave it out")
            if "fps" in self.model_fields_set:
                raise ValueError("fps does not go with calibrate; set data.fps")
            if "detect_every" in self.model_fields_set:
                raise ValueError("detect_every does not go with calibrate; leave it out")
        if self.annotate:
            self._refuse(("video", "suggest", "check", "tier"), "does not go with annotate; leave it out")
            self._refuse(
                ("people",),
                "does not go with annotate, which keeps people.csv in the folder of the labels; copy your file there",
            )
        elif self.annotator:
            raise ValueError("annotator is for labelling in the browser; name the video by --annotate")
        elif self.video is None:
            for_videos = ("labels", "people", "ratings", "tier", "overlay", "suggest", "check")
            self._refuse(for_videos, "is for a video of your own; name it by --video")
        return self

    @model_validator(mode="after")
    def check_encode_every(self) -> "LabelSettings":
        if self.encode_every not in ("auto", 1):
            if not (self.video or self.annotate):
                raise ValueError("encode_every is for a video of your own; name it by --video")
            if self.support_set.rule != "fused":
                raise ValueError(
                    f"support_set.rule {self.support_set.rule} compares every face; leave encode_every out, or use "
                    "the rule fused"
                )
        return self

    @property
    def encoding_step(self) -> int | None:
        """Every face of a track with this step is encoded; None: chosen for each part of a track."""
        if self.support_set.rule != "fused":
            return 1
        return None if self.encode_every == "auto" else self.encode_every

    @model_validator(mode="after")
    def check_people(self) -> "LabelSettings":
        if self.support_set.share_people and (self.video or self.annotate or self.calibrate):
            raise ValueError("support_set.share_people is for data sets; for videos, use people")
        if self.people is not None and self.support_set.rule != "fused":
            raise ValueError(f"people does not go with support_set.rule {self.support_set.rule}; use the rule fused")
        return self

    @property
    def check_count(self) -> int | None:
        """Number of frames to draw for a check; None: `check` names a file, or is not set."""
        return int(self.check) if self.check and self.check.isdecimal() else None

    @model_validator(mode="after")
    def check_check(self) -> "LabelSettings":
        if self.check is None:
            return self
        self._refuse(("suggest", "overlay"), "does not go with check; leave it out")
        if self.check_count is not None and not FEWEST_CHECKED <= self.check_count <= MOST_CHECKED:
            raise ValueError(f"check {self.check} must be {FEWEST_CHECKED} to {MOST_CHECKED} frames, or a file")
        if self.support_set.rule != "fused":
            raise ValueError(f"check needs expected errors, which {self.support_set.rule} lacks; use the rule fused")
        return self

    @model_validator(mode="after")
    def check_evidence(self) -> "LabelSettings":
        if not all(self.evidence):
            raise ValueError("evidence has an empty name; leave it out")
        duplicate = next((name for name in self.evidence if self.evidence.count(name) > 1), None)
        if duplicate:
            raise ValueError(f"evidence names {duplicate} twice; name each source once")
        if RATINGS_EVIDENCE in self.evidence and not self.ratings:
            raise ValueError(f"evidence names {RATINGS_EVIDENCE}, but there are none; name their files by --ratings")
        if MTCLAR_EVIDENCE not in self.evidence:
            support = self.support_set
            if support.rule != "fused":
                raise ValueError(f"support_set.rule {support.rule} needs MT-CLAR; add {MTCLAR_EVIDENCE} to evidence")
            on_data_set = not (self.video or self.annotate or self.calibrate)
            if on_data_set and support.strategy in ("diverse_k", "train_bins"):
                raise ValueError(
                    f"support_set.strategy {support.strategy} needs MT-CLAR; add {MTCLAR_EVIDENCE} to evidence"
                )
            if on_data_set and support.scope == "others":
                raise ValueError(f"support_set.scope others needs MT-CLAR; add {MTCLAR_EVIDENCE} to evidence")
            if self.checkpoint:
                raise ValueError(f"checkpoint is not used; leave it out, or add {MTCLAR_EVIDENCE} to evidence")
        return self

    @property
    def evidence_files(self) -> list[Path]:
        """The files that `evidence` names."""
        return [Path(name) for name in self.evidence if name not in (MTCLAR_EVIDENCE, RATINGS_EVIDENCE)]

    def _refuse(self, names: tuple[str, ...], reason: str) -> None:
        for name in names:
            if getattr(self, name):
                raise ValueError(f"{name} {reason}")
