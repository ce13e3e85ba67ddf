"""`--suggest` on a folder of videos: frames of the whole archive, and the files to fill in."""

import re
import shutil

import pandas as pd
import pytest
from conftest import label, labels_file, run_script

from datasets.video.jobs import find_jobs
from utils.base.errors import DataError


@pytest.fixture(scope="module")
def archive(clip, tmp_path_factory):
    """Three videos, of which the second one has labels at most frames."""
    folder = tmp_path_factory.mktemp("archive")
    for name in "abc":
        shutil.copy(clip, folder / f"{name}.mp4")
    rows = [f"{frame},0.1,-0.1" for frame in range(1, 38, 2)]
    labels_file(folder / "b_labels.csv", "\n".join(["frame,valence,arousal", *rows]) + "\n")
    return folder


def filled_in(folder, values):
    """The suggested frames of all videos, after they got labels in the files."""
    suggested = []
    for path in sorted(folder.glob("*_labels.csv")):
        table = pd.read_csv(path)
        missing = table["valence"].isna()
        suggested += [(path.name, frame) for frame in table.loc[missing, "frame"]]
        table.loc[missing, ["valence", "arousal"]] = values
        table.to_csv(path, index=False)
    return suggested


def test_suggestions_go_to_the_videos_without_labels_and_serve_as_labels(quick, archive):
    folder, printed = label(*quick, "--video", archive, "--suggest", 4)
    assert {path.name for path in folder.glob("*.csv")} == {"a_labels.csv", "b_labels.csv", "c_labels.csv"}
    assert not (folder / "b_to_label.png").exists() and (folder / "a_to_label.png").exists()
    suggested = filled_in(folder, (0.2, 0.3))
    assert [name for name, _ in suggested] == ["a_labels.csv"] * 2 + ["c_labels.csv"] * 2
    errors = [tuple(map(float, line.split()[-2:])) for line in re.findall(r"^ *[abc] +0 .*$", printed, re.M)]
    assert len(errors) == 4 and all(before > after for before, after in errors)
    assert all(one[1] == two[0] for one, two in zip(errors, errors[1:], strict=False))
    labelled, _ = label(*quick, "--video", archive, "--labels", folder)
    assert pd.read_csv(labelled / "index.csv")["support"].tolist() == [2, 19, 2]


def test_fewer_suggestions_than_asked_for_are_reported(quick, clip, tmp_path):
    for name in "ab":
        shutil.copy(clip, tmp_path / f"{name}.mp4")
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", tmp_path, "--suggest", 1000]))
    assert done.returncode == 0 and re.search(r"only \d+ of 1000 frames suggested", done.stderr)


def test_a_label_of_a_person_serves_all_videos_of_the_person(quick, archive, tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("video,track,person\na,0,Ada\nc,0,Ada\n")
    alone, shared = (label(*quick, "--video", archive, "--suggest", 1, *argv)[1] for argv in ([], ["--people", people]))
    before, after = (
        [float(value) for value in re.search(r"^ *[ac] +0 .* (\S+) +(\S+)$", printed, re.M).groups()]
        for printed in (alone, shared)
    )
    assert after[0] - after[1] > 1.2 * (before[0] - before[1])


def test_an_archive_without_a_frame_to_label_is_refused(quick, clip, tmp_path):
    rows = [f"{frame},0.1,-0.1" for frame in range(48)]  # the other frames show no face
    for name in "ab":
        shutil.copy(clip, tmp_path / f"{name}.mp4")
        labels_file(tmp_path / f"{name}_labels.csv", "\n".join(["frame,valence,arousal", *rows]) + "\n")
    (tmp_path / "c.mp4").write_bytes(b"no video")
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", tmp_path, "--suggest", 2]))
    assert done.returncode == 2 and "nothing left to suggest" in done.stderr and "Traceback" not in done.stderr
    assert "c.mp4" in done.stderr  # The video that cannot be read is named as well.


def test_videos_without_a_file_of_labels_are_left_to_the_labelling(tmp_path):
    videos, labels = tmp_path / "videos", tmp_path / "labels"
    for folder in (videos, labels):
        folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (videos / name).touch()
    with pytest.raises(DataError, match="no labels"):
        find_jobs(videos, labels)
    (labels / "b_labels.csv").touch()
    assert [job.labels for job in find_jobs(videos, labels)] == [None, labels / "b_labels.csv"]
