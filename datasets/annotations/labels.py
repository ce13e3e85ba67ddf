"""A person's labels of one video as a table, whatever the format of their file.

::

    timeline = Timeline.at_rate(count=250, fps=25.0)
    labels = read_labels("clip_labels.csv", timeline)

``formats.FORMATS`` lists the formats.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.annotations.formats import format_of
from datasets.annotations.timeline import Label, Timeline
from datasets.columns import AXES
from utils.base.errors import DataError
from utils.base.text import quoted


def read_labels(path: str | Path, timeline: Timeline, tier: str | None = None) -> pd.DataFrame:
    """Read the support labels of one video.

    Rows without valence and arousal are skipped, so that a template may be half filled. In a CSV, a time means the
    nearest frame.

    Args:
        path: a file in one of the formats that hold labels.
        timeline: the frames of the video, to map times to frames and to know its end.
        tier: ELAN only: what precedes ``valence`` and ``arousal`` in the names of the tiers to read; None = all.

    Returns:
        One row per label, sorted by frame: ``frame`` (int64), ``valence``, ``arousal`` (float32 in [-1, 1]),
        ``annotator`` (str, "" = unknown), ``track`` (Int64, <NA> = not given), ``where`` (str: file and row),
        ``note`` (str, "" = none).

    Raises:
        DataError: the file has no label or cannot be read, a label is not a number in [-1, 1], a frame or time is
            outside the video, or the same annotator labels a frame twice.
    """
    path = Path(path).expanduser()
    label_format = format_of(path, "labels")
    if label_format.read_labels is None:
        raise DataError(
            f"{path}: is a {label_format.name} file, a continuous rating rather than labels of frames; "
            "pass it by --ratings"
        )
    return _label_table(label_format.read_labels(path, timeline, tier), path)


def _label_table(labels: Iterable[Label], path: Path) -> pd.DataFrame:
    """Make the table of `read_labels`; DataError if it is empty or an annotator labels a frame twice."""
    first: dict[tuple, Label] = {}
    for label in labels:
        other = first.setdefault((label.track, label.annotator, label.frame), label)
        if other is not label:
            by = f"annotator {quoted(label.annotator)}" if label.annotator else "one annotator"
            raise DataError(
                f"{label.where}: frame {label.frame} already has a label by {by}, {other.where}; "
                "delete one, or name annotators"
            )
    if not first:
        raise DataError(f"{path}: contains no label; fill in valence and arousal of at least one frame")
    table = pd.DataFrame(list(first.values()), columns=Label._fields).astype(
        {"frame": np.int64, **dict.fromkeys(AXES, np.float32), "annotator": str, "note": str, "track": "Int64"}
    )
    columns = ["frame", *AXES, "annotator", "track", "where", "note"]
    return table.sort_values("frame", kind="stable", ignore_index=True)[columns]
