"""A person's labels of one video, from CSV, ELAN or NOVA.

::

    timeline = Timeline.at_rate(count=250, fps=25.0)
    labels = read_labels("clip_labels.csv", timeline)
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.annotations import AXES, Label, Timeline, read_csv
from datasets.elan import read_elan
from datasets.frames import DataError
from datasets.nova import read_nova


def read_labels(path: str | Path, timeline: Timeline, tier: str | None = None) -> pd.DataFrame:
    """Read the support labels of one video.

    Rows without valence and arousal are skipped, so that a template may be half filled. In CSV, a time means
    the nearest frame.

    Args:
        path: ``.csv``, ``.tsv``, ``.eaf`` or ``.annotation``.
        timeline: the frames of the video, to map times and to know its end.
        tier: ELAN only: what precedes ``valence`` and ``arousal`` in the names of the tiers to read; None: all.

    Returns:
        A row a label, sorted by frame: ``frame`` (int64), ``valence``, ``arousal`` (float32 in [-1, 1]),
        ``annotator`` (str, "" if none), ``track`` (Int64, <NA> if none), ``where`` (str: file and row), ``note``
        (str, "" if none).

    Raises:
        DataError: no label, a label that is no number in [-1, 1], a frame or time outside the video, a frame
            labelled twice by the same annotator, a file that cannot be read as what its name says.
    """
    path = Path(path).expanduser()
    readers = {".csv": read_csv, ".tsv": read_csv, ".eaf": partial(read_elan, tier=tier),
               ".annotation": read_nova, ".annotation~": read_nova}  # fmt: skip
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: labels are read from .csv, .tsv, .eaf (ELAN) and .annotation (NOVA); export one")
    return _label_table(readers[path.suffix.lower()](path, timeline), path)


def _label_table(labels: Iterable[Label], path: Path) -> pd.DataFrame:
    first: dict[tuple, Label] = {}
    for label in labels:
        other = first.setdefault((label.track, label.annotator, label.frame), label)
        if other is not label:
            by = f"annotator {label.annotator!r}" if label.annotator else "one annotator"
            raise DataError(f"{label.where}: frame {label.frame} already has a label by {by}, {other.where}; "
                            "delete one, or name annotators")  # fmt: skip
    if not first:
        raise DataError(f"{path}: holds no label; fill in valence and arousal of at least one frame")
    table = pd.DataFrame(list(first.values()), columns=Label._fields).astype(
        {"frame": np.int64, **dict.fromkeys(AXES, np.float32), "annotator": str, "note": str, "track": "Int64"}
    )
    columns = ["frame", *AXES, "annotator", "track", "where", "note"]
    return table.sort_values("frame", kind="stable", ignore_index=True)[columns]
