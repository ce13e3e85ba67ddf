"""The export of labelled videos as a Hugging Face data set."""

import re

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from test_annotations import NO_LABELS, given_labels, table

from datasets.annotations.huggingface import export_huggingface
from datasets.annotations.traces import VideoExport
from utils.base.errors import DataError


@pytest.fixture
def export(tmp_path):
    def make(name="clip", video="clip.MP4", **replaced):
        (tmp_path / video).write_bytes(f"video {name}".encode())
        written = table()
        return VideoExport(name, tmp_path / video, 25.0, written, given_labels(written))._replace(**replaced)

    return make


def test_labels_are_read_back_unchanged(tmp_path, export):
    exported = export()
    export_huggingface(tmp_path, exported)
    (row,) = parquet.read_table(tmp_path / "huggingface" / "metadata.parquet").to_pylist()
    assert row["file_name"] == "videos/clip.mp4" and row["fps"] == 25 and row["frames"] == 12
    assert (tmp_path / "huggingface" / row["file_name"]).read_bytes() == b"video clip"
    labelled = exported.table.dropna(subset="valence")
    for column in ("frame", "time", "track"):
        assert row[column] == labelled[column].tolist()
    for axis in "valence", "arousal":
        assert np.float32(row[axis]).tolist() == labelled[axis].astype(np.float32).tolist()
        assert np.float32(row[f"label_{axis}"]).tolist() == exported.labels[axis].astype(np.float32).tolist()
    for column in ("frame", "track", "annotator"):
        assert row[f"label_{column}"] == exported.labels[column].tolist()
    assert row["valence_low"] is None


def test_videos_are_added_and_replaced(tmp_path, export):
    export_huggingface(tmp_path, export("a"))
    export_huggingface(tmp_path, export("b", labels=NO_LABELS))
    intervals = table().assign(valence_low=-1.0, valence_high=1.0, arousal_low=-1.0, arousal_high=1.0)
    export_huggingface(tmp_path, export("a", table=intervals))
    rows = parquet.read_table(tmp_path / "huggingface" / "metadata.parquet").to_pylist()
    assert [row["file_name"] for row in rows] == ["videos/b.mp4", "videos/a.mp4"]
    assert rows[0]["label_frame"] == [] and set(rows[1]["arousal_high"]) == {1}
    assert len(list((tmp_path / "huggingface").rglob("*"))) == 5


def test_dataset_card_states_the_numbers(tmp_path, export):
    exported = export()
    export_huggingface(tmp_path, exported)
    card = (tmp_path / "huggingface" / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n")
    numbers = dict(re.findall(r"^\| (.+) \| ([\d,]+) \|$", card, re.MULTILINE))
    labelled = exported.table["valence"].notna().sum()
    assert list(numbers.values()) == ["1", "12", str(labelled), str(len(exported.labels)), "2"]
    columns = set(pd.read_parquet(tmp_path / "huggingface" / "metadata.parquet").columns)
    assert set(re.findall(r"`(\w+)`", card.split("## Columns")[1].split("## Before")[0])) - {"README"} <= columns


def test_invalid_exports_are_refused(tmp_path, export):
    with pytest.raises(DataError, match="is a folder of frames.*leave huggingface out of exports"):
        export_huggingface(tmp_path, export(video="x.mp4")._replace(video=tmp_path))
    export_huggingface(tmp_path, export())
    (tmp_path / "huggingface" / "metadata.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(DataError, match=r"metadata\.parquet: cannot be extended .*delete the folder"):
        export_huggingface(tmp_path, export("b"))
