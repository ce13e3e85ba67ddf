"""The file of one annotator's rating of a video: a CSV that `--ratings` reads, rewritten about once a second."""

import csv
import io
from pathlib import Path

import numpy as np

from datasets.annotations.ratings import read_rating
from datasets.columns import AXES
from utils.annotate.guarded_file import GuardedFile
from utils.base.errors import DataError
from utils.base.text import quoted, safe_name, safe_text

NO_RATING = np.empty((0, 3))


def rating_path(video: Path, folder: Path, annotator: str) -> Path:
    """The path of an annotator's rating: `<video>_rating.csv` or `<video>_rating_<annotator>.csv` in a folder."""
    return folder / f"{video.stem}_rating{f'_{safe_name(annotator)}' if annotator else ''}.csv"


class RatingFile:
    """One annotator's rating of one video on disk.

    Attributes:
        path: the CSV.
        annotator: name of the annotator, or an empty string.
    """

    def __init__(self, path: Path, annotator: str):
        self.path, self.annotator = path, annotator
        self._file = GuardedFile(path)

    def read(self) -> np.ndarray:
        """Read the rating: (T, 3) seconds, valence and arousal; T = 0 without a file.

        Raises:
            DataError: the file cannot be read, or holds the rating of another annotator, which would be overwritten.
        """
        if not self.path.exists():
            return NO_RATING
        rating = read_rating(self.path)
        if self.annotator and rating.rater != safe_text(self.annotator):
            raise DataError(
                f"{self.path}: holds the rating of {quoted(rating.rater)}; each annotator needs a file of their own: "
                "move this file away, or choose another --annotator"
            )
        samples = np.column_stack((rating.times, rating.values))
        return samples[np.isfinite(samples).all(1)]

    def write(self, samples: np.ndarray) -> None:
        """Replace the rating on disk by samples (T, 3); without any, the file is deleted. Raises NotSavedError."""
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("time", *AXES, "annotator"))
        rows.writerows((*(f"{number:.4f}" for number in sample), safe_text(self.annotator)) for sample in samples)
        self._file.write(text.getvalue() if len(samples) else None)


def redo_stretch(rating: np.ndarray, start: float, samples: np.ndarray) -> np.ndarray:
    """Replace a stretch of a rating.

    Args:
        rating: (T, 3) seconds, valence and arousal.
        start: time in seconds at which the stretch starts.
        samples: (n, 3) new samples, ascending in time; the stretch ends with the last one. Those before `start`, or not
            after the one before, are left out.

    Returns:
        The samples before and after the stretch, and the new ones between them, strictly ascending in time.
    """
    samples = samples.round(4)
    samples = samples[(samples[:, 0] >= start) & (np.diff(samples[:, 0], prepend=-np.inf) > 0)]
    if not len(samples):
        return rating
    times = rating[:, 0]
    return np.concatenate((rating[times < start], samples, rating[times > samples[-1, 0]]))
