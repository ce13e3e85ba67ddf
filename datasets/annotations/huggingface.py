"""Export of labelled videos as a Hugging Face data set: a folder of videos with their labels and a dataset card.

``huggingface/videos/`` holds copies of the videos. ``huggingface/metadata.parquet`` has a row per video, whose lists
hold the estimated labels (one entry per frame and track) and the labels that persons gave. ``huggingface/README.md`` is
the dataset card. Videos that are exported later are added to the folder.

Format: video folders, https://huggingface.co/docs/datasets/video_load
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.annotations.traces import VideoExport
from datasets.columns import AXES
from utils.base.errors import DataError
from utils.base.files import make_folder, write_atomically, write_text

if TYPE_CHECKING:
    import pyarrow

FOLDER = "huggingface"
INTERVALS = [f"{axis}_{end}" for axis in AXES for end in ("low", "high")]


def export_huggingface(folder: Path, export: VideoExport) -> None:
    """Add a video and its labels to the data set in a folder, which is created if it does not exist.

    Raises:
        DataError: the video is a folder of frames, or the existing data set cannot be read.
        StorageError: a file cannot be written.
    """
    if not export.video.is_file():
        raise DataError(
            f"{export.video}: is a folder of frames, which a Hugging Face data set of videos cannot hold; make a video "
            "of it, or leave huggingface out of exports"
        )
    from pyarrow import parquet

    root = folder / FOLDER
    make_folder(root / "videos")
    name = f"videos/{export.name}{export.video.suffix.lower()}"
    table = _with_row(root / "metadata.parquet", _metadata_row(name, export))
    write_atomically(root / name, lambda path: shutil.copyfile(export.video, path))
    write_atomically(root / "metadata.parquet", lambda path: parquet.write_table(table, path))
    write_text(root / "README.md", _card(table))


def _metadata_row(name: str, export: VideoExport) -> dict[str, object]:
    """The row of a video."""
    labelled = export.table.dropna(subset=list(AXES))
    table = labelled.assign(track=labelled["track"].fillna(-1)) if "track" in labelled else labelled.assign(track=-1)
    row: dict[str, object] = {
        "file_name": name,
        "fps": float(export.fps),
        "frames": export.table["frame"].nunique(),
        "frame": table["frame"].to_numpy(np.int64),
        "time": table["time"].to_numpy(np.float64),
        "track": table["track"].to_numpy(np.int64),
    }
    row |= {column: table[column].to_numpy(np.float32) for column in (*AXES, *INTERVALS) if column in table}
    row |= {f"label_{column}": export.labels[column].to_numpy(np.int64) for column in ("frame", "track")}
    row |= {f"label_{axis}": export.labels[axis].to_numpy(np.float32) for axis in AXES}
    return row | {"label_annotator": export.labels["annotator"].astype(str).tolist()}


def _schema() -> "pyarrow.Schema":
    """Types of the columns of metadata.parquet."""
    import pyarrow

    lists = {
        "frame": pyarrow.int64(),
        "time": pyarrow.float64(),
        "track": pyarrow.int64(),
        **{column: pyarrow.float32() for column in (*AXES, *INTERVALS)},
        "label_frame": pyarrow.int64(),
        "label_track": pyarrow.int64(),
        **{f"label_{axis}": pyarrow.float32() for axis in AXES},
        "label_annotator": pyarrow.string(),
    }
    single = {"file_name": pyarrow.string(), "fps": pyarrow.float64(), "frames": pyarrow.int64()}
    return pyarrow.schema([*single.items(), *((name, pyarrow.list_(kind)) for name, kind in lists.items())])


def _with_row(path: Path, row: dict[str, object]) -> "pyarrow.Table":
    """The table of metadata.parquet with this row, in the place of a row of the same video."""
    import pyarrow
    from pyarrow import compute, parquet

    new = pyarrow.table({name: [row.get(name)] for name in _schema().names}, schema=_schema())
    if not path.is_file():
        return new
    try:
        old = parquet.read_table(path).select(_schema().names).cast(_schema())
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among these
        raise DataError(f"{path}: cannot be extended ({error}); delete the folder, or export elsewhere") from error
    return pyarrow.concat_tables([old.filter(compute.not_equal(old["file_name"], row["file_name"])), new])


def _card(table: "pyarrow.Table") -> str:
    """The dataset card."""
    from pyarrow import compute

    def count(column: str) -> int:
        return compute.sum(compute.list_value_length(table[column])).as_py()

    return CARD.format(
        videos=len(table),
        frames=f"{compute.sum(table['frames']).as_py():,}",
        labelled=f"{count('frame'):,}",
        given=f"{count('label_frame'):,}",
        annotators=len(compute.unique(compute.list_flatten(table["label_annotator"]))),
    )


CARD = """---
license: other
task_categories:
- video-classification
tags:
- affective-computing
- valence-arousal
---

# Valence and arousal of videos

| | number |
|---|---|
| videos | {videos} |
| frames | {frames} |
| estimated labels (per frame and face track) | {labelled} |
| labels given by persons | {given} |
| annotators | {annotators} |

The estimated labels were computed by MT-CLAR. They are predictions of a network, corrected by the given labels where
there are any; they are not annotations by persons.

## Columns of `metadata.parquet`

| column | content |
|---|---|
| `file_name` | the video |
| `fps`, `frames` | nominal frames per second, number of frames |
| `frame`, `time` | lists: frame number of each estimated label, and its seconds from the start |
| `track` | list: number of the face track; -1 = the only face |
| `valence`, `arousal` | lists: estimated labels in [-1, 1], float32 |
| `valence_low`, `valence_high`, … | lists: ends of their 90 % intervals; missing if the method gives none |
| `label_frame`, `label_valence`, … | lists: the labels that persons gave |

## Before you share this data set

The videos show faces. Check that the people in them have agreed to publication, and replace `license: other` by the
licence of the videos.
"""
