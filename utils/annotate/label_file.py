"""The file that a person's labels of a video are kept in: a CSV that `--labels` reads, written whole at each change."""

import csv
import hashlib
import io
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from datasets.annotations import AXES, Timeline, safe_text, score_text
from datasets.frames import DataError
from datasets.labels import read_labels
from datasets.video import safe_name
from utils.errors import StorageError, UserError
from utils.files import write_text

COLUMNS = ("frame", "time", "track", *AXES, "annotator", "note")


class NotSaved(UserError):
    """A label that could not be put on disk."""


class Mark(NamedTuple):
    """What a person says of a frame."""

    valence: float
    arousal: float
    note: str = ""


Marks = dict[tuple[int, int], Mark]  # (track, frame) → label


def label_path(video: Path, labels: Path | None, annotator: str) -> Path:
    """`<video>_labels.csv`, or `<video>_labels_<annotator>.csv`, beside the video or in the folder `labels`.

    Raises DataError where `labels` is neither a folder nor a CSV in one.
    """
    if labels and not labels.is_dir():
        if labels.suffix.lower() != ".csv" or not labels.absolute().parent.is_dir():
            raise DataError(f"{labels}: the page keeps labels in a CSV; name a .csv file in an existing folder, or "
                            "the folder")  # fmt: skip
        return labels
    ending = f"_labels_{safe_name(annotator)}" if annotator else "_labels"
    return (labels or video.absolute().parent) / f"{video.stem}{ending}.csv"


def all_annotators(own: Path, video: Path) -> list[Path]:
    """The label files of all annotators of a video, in the folder of one of them."""
    found = [own.parent / f"{video.stem}_labels.csv", *sorted(own.parent.glob("*.csv"))]
    prefix = f"{video.stem}_labels_"
    files = [path for path in found if path == found[0] or path.name.startswith(prefix)]
    return sorted({path for path in [own, *files] if path.is_file()})


class LabelFile:
    """One annotator's labels of one video on disk."""

    def __init__(self, path: Path, timeline: Timeline, annotator: str):
        self.path, self.timeline, self.annotator = path, timeline, annotator
        self._known = self._digest()

    def read(self) -> pd.DataFrame | None:
        """As `read_labels` gives it; None where there is no file yet.

        Raises DataError for labels of somebody else, which would be overwritten.
        """
        if not self.path.exists():
            return None
        labels = read_labels(self.path, self.timeline)
        others = sorted(set(labels["annotator"]) - {self.annotator})
        if others and (self.annotator or len(set(labels["annotator"])) > 1):
            names = ", ".join(repr(name) for name in others)
            raise DataError(f"{self.path}: holds labels by {names}; each annotator needs a file of their own: "
                            "move it away, or choose another --annotator")  # fmt: skip
        self.annotator = labels["annotator"].iloc[0]
        self._keep_foreign()
        return labels

    def write(self, marks: Marks) -> None:
        """Puts the labels on disk. Raises NotSaved, and leaves the file as it was."""
        try:
            if self._digest() != self._known:
                raise NotSaved(f"{self.path.name} was changed by another program; start again to go on from it")
            if marks:
                write_text(self.path, self._text(marks))
            else:
                self.path.unlink(missing_ok=True)
            self._known = self._digest()
        except (OSError, StorageError) as error:
            raise NotSaved(str(error)) from error

    def _text(self, marks: Marks) -> str:
        times = dict(zip(self.timeline.frames.tolist(), self.timeline.times.tolist(), strict=True))
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for (track, frame), mark in sorted(marks.items(), key=lambda item: item[0][::-1]):
            scores = (score_text(np.float32(value)) for value in mark[:2])
            rows.writerow((frame, f"{times[frame]:.4f}", track, *scores, safe_text(self.annotator),
                           safe_text(mark.note)))  # fmt: skip
        return text.getvalue()

    def _keep_foreign(self) -> None:
        """A file that the page has not written may hold more than the page knows: a copy stays beside it."""
        with self.path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline().strip()
        copy = self.path.with_name(f"{self.path.name}.original")
        if header != ",".join(COLUMNS) and not copy.exists():
            shutil.copyfile(self.path, copy)

    def _digest(self) -> bytes:
        try:
            return hashlib.sha256(self.path.read_bytes()).digest()
        except FileNotFoundError:
            return b""
