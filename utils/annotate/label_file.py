"""The file of one annotator's labels of a video: a CSV that `--labels` reads, rewritten after each change."""

import csv
import io
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from datasets.annotations.cells import score_text
from datasets.annotations.labels import read_labels
from datasets.annotations.timeline import Timeline
from datasets.columns import AXES
from utils.annotate.guarded_file import GuardedFile
from utils.base.errors import DataError
from utils.base.text import listed, safe_name, safe_text

COLUMNS = ("frame", "time", "track", *AXES, "annotator", "note")


class FrameLabel(NamedTuple):
    """The label that a person gave to a frame.

    Attributes:
        valence: in [-1, 1].
        arousal: in [-1, 1].
        note: one line of text.
    """

    valence: float
    arousal: float
    note: str = ""


LabelKey = tuple[int, int]  # track, frame number
FrameLabels = dict[LabelKey, FrameLabel]


def label_path(video: Path, labels: Path | None, annotator: str) -> Path:
    """The path of an annotator's label file: `<video>_labels.csv` or `<video>_labels_<annotator>.csv`.

    Args:
        video: the video.
        labels: the folder of the file, or the file itself; None: beside the video.
        annotator: name of the annotator, or an empty string.

    Raises:
        DataError: `labels` is neither a folder nor a CSV in an existing folder.
    """
    if labels and not labels.is_dir():
        if labels.suffix.lower() != ".csv" or not labels.absolute().parent.is_dir():
            raise DataError(
                f"{labels}: the page saves labels in a CSV; name a .csv file in an existing folder, or the folder"
            )
        return labels
    ending = f"_labels_{safe_name(annotator)}" if annotator else "_labels"
    return (labels or video.absolute().parent) / f"{video.stem}{ending}.csv"


def files_of_all_annotators(own: Path, video: Path, kind: str = "labels") -> list[Path]:
    """The existing files of a video by all annotators, in the folder of one annotator's file; kind: labels, rating."""
    unnamed, prefix = own.parent / f"{video.stem}_{kind}.csv", f"{video.stem}_{kind}_"
    named = [path for path in own.parent.glob("*.csv") if path.name.startswith(prefix)]
    return sorted({path for path in [own, unnamed, *named] if path.is_file()})


class LabelFile:
    """One annotator's labels of one video on disk.

    Attributes:
        path: the CSV.
        timeline: the frames of the video.
        annotator: name of the annotator, or an empty string; taken from the file if it holds one.
    """

    def __init__(self, path: Path, timeline: Timeline, annotator: str):
        self.path, self.timeline, self.annotator = path, timeline, annotator
        self._file = GuardedFile(path)

    def read(self) -> pd.DataFrame | None:
        """Read the labels, as `read_labels` returns them; None: there is no file yet.

        Raises:
            DataError: the file cannot be read, or holds labels of other annotators, which would be overwritten.
        """
        if not self.path.exists():
            return None
        labels = read_labels(self.path, self.timeline)
        annotators = set(labels["annotator"])
        others = sorted(annotators - {self.annotator})
        if others and (self.annotator or len(annotators) > 1):
            raise DataError(
                f"{self.path}: holds labels by {listed(others)}; each annotator needs a file of their "
                "own: move this file away, or choose another --annotator"
            )
        self.annotator = labels["annotator"].iloc[0]
        self._copy_foreign_file()
        return labels

    def write(self, labels: FrameLabels) -> None:
        """Replace the labels on disk; without any label, the file is deleted. Raises NotSavedError."""
        self._file.write(self._text(labels) if labels else None)

    def _text(self, labels: FrameLabels) -> str:
        times = dict(zip(self.timeline.frames.tolist(), self.timeline.times.tolist(), strict=True))
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for (track, frame), label in sorted(labels.items(), key=lambda item: item[0][::-1]):
            scores = (score_text(np.float32(value)) for value in (label.valence, label.arousal))
            rows.writerow(
                (frame, f"{times[frame]:.4f}", track, *scores, safe_text(self.annotator), safe_text(label.note))
            )
        return text.getvalue()

    def _copy_foreign_file(self) -> None:
        """Keep a copy of a file that the page did not write, since it may have columns that the page would lose."""
        with self.path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline().strip()
        copy = self.path.with_name(f"{self.path.name}.original")
        if header != ",".join(COLUMNS) and not copy.exists():
            shutil.copyfile(self.path, copy)
