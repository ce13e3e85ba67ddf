"""The settings of fsl_mtclar.py."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from utils.config.common import ScriptSettings
from utils.config.sections import ModelSettings, PairSettings, SupportSettings, TrainSettings, VideoSettings

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
        "checkpoint",
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
    tier: str | None = None
    """ELAN: the prefix of the tier names that end in valence and arousal."""
    suggest: int = Field(0, ge=0)
    """Name this many frames of each track to label next, those that reduce the expected error most. Frames in labels,
    if given, count as labelled. Writes a CSV to fill in, which then serves as labels, and a picture of the frames."""
    annotate: Path | None = None
    """Video, or folder of videos, to label in the browser. Labels are saved as <video>_labels.csv beside the video,
    or in the folder or CSV file given by --labels."""
    annotator: str = Field("", pattern=r"^(\w[\w .-]{0,39})?$")
    """annotate: name of the person who labels. Each annotator has a file, <video>_labels_<annotator>.csv."""
    host: str = "127.0.0.1"
    """annotate: network address of the page. Any address other than 127.0.0.1 lets other computers connect."""
    port: int = Field(0, ge=0, le=65535)
    """annotate: port of the page. 0: any free port."""
    checkpoint: Path | None = None
    """Trained network: best.pt or last.pt of a mtclar.py run, or a Siamese network with the published tensor names.
    Default: best.pt of the newest run (of the run called --name, if given)."""
    zero_shot: Path | None = None
    """Network whose own estimates are scored as a baseline: published EmoNet weights, or best.pt of a mtclar_sl.py
    run. For data sets only."""

    @model_validator(mode="after")
    def check_purpose(self) -> "LabelSettings":
        if self.annotate:
            self._refuse(("video", "suggest", "tier", "zero_shot"), "does not go with annotate; leave it out")
        elif self.annotator:
            raise ValueError("annotator is for labelling in the browser; name the video by --annotate")
        elif self.video is None:
            self._refuse(("labels", "tier", "overlay", "suggest"), "is for a video of your own; name it by --video")
        elif self.zero_shot:
            raise ValueError("zero_shot is for scoring on a data set; leave it out with --video")
        return self

    def _refuse(self, names: tuple[str, ...], reason: str) -> None:
        for name in names:
            if getattr(self, name):
                raise ValueError(f"{name} {reason}")
