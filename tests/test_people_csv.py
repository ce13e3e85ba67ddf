"""people.csv: labels of one person serve all videos and tracks of this person; wrong files are refused."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from clips import face_images, write_video
from conftest import label, labels_file, run_script

from datasets.demo.traces import label_trace
from datasets.people import named_tracks, people_table, read_people, tracks_hash, unnamed_person
from datasets.video.image_features import FACE_SIZE
from utils.base.errors import DataError


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two videos of one person, of which only the first one has labels."""
    folder = tmp_path_factory.mktemp("archive")
    for seed, name in enumerate("ab"):
        images = face_images(label_trace(np.random.default_rng(seed), 48))
        write_video(folder / f"{name}.mp4", images, 20)
    # With a third label, the untrained network might turn out to misread the face.
    labels_file(folder / "a_labels.csv", "frame,valence,arousal\n3,0.5,-0.2\n20,-0.4,0.1\n")
    return folder


@pytest.fixture(scope="module")
def alone(quick, archive, tmp_path_factory):
    """The run folder of the first video, labelled alone."""
    return label(*quick, "--video", archive / "a.mp4")[0]


def people_file(folder, rows, header="video,track,person"):
    path = folder / "people.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_person_is_labelled_from_the_labels_in_another_video(quick, archive, alone, tmp_path):
    folder, _ = label(*quick, "--video", archive, "--people", people_file(tmp_path, ["a,0,Ada", "b,,Ada"]))
    table = pd.concat(pd.read_csv(folder / "labels" / f"{name}.csv") for name in "ab").set_index("video")
    widths = table["valence_high"] - table["valence_low"]
    assert table.loc["a", "support"].sum() == 2 and not table.loc["b", "support"].any()
    assert (table.loc["b", ["valence", "arousal"]].abs() <= 1).all(axis=None) and (widths["b"] > 0).all()
    assert widths["b"].max() < 1.5  # Without the labels of a, the offset of b is unknown, and the width about 2.
    written = pd.read_csv(folder / "people.csv")
    assert written["person"].tolist() == ["Ada", "Ada"] and written["track"].tolist() == [0, 0]
    again, _ = label(*quick, "--video", archive, "--people", folder / "people.csv")
    assert (again / "labels" / "b.csv").read_bytes() == (folder / "labels" / "b.csv").read_bytes()
    assert 0 < pd.read_csv(folder / "index.csv")["expected_error"].max() < 1


def test_every_track_is_another_person_by_default(quick, archive, alone, tmp_path):
    table = pd.read_csv(alone / "people.csv")
    assert table["person"].tolist() == [unnamed_person("a", 0)] == ["a 0"]
    folder, _ = label(*quick, "--video", archive / "a.mp4", "--people", alone / "people.csv")
    assert (folder / "labels.csv").read_bytes() == (alone / "labels.csv").read_bytes()
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", archive]))
    assert done.returncode == 2 and "no labels" in done.stderr


def test_a_track_without_a_row_shows_none_of_the_people_in_the_file(quick, archive, tmp_path):
    people = people_file(tmp_path, ["a,0,b 0"])
    labels_file(tmp_path / "b_labels.csv")
    shutil.copy(archive / "a_labels.csv", tmp_path)
    folder, _ = label(*quick, "--video", archive, "--labels", tmp_path, "--people", people)
    assert pd.read_csv(folder / "people.csv")["person"].tolist() == ["b 0", "b 0 (2)"]


def test_a_check_is_of_the_labels_that_people_share(quick, archive, tmp_path):
    people = ["--people", people_file(tmp_path, ["a,0,Ada", "b,0,Ada"])]
    drawn, _ = label(*quick, "--video", archive, *people, "--check", 20)
    content = json.loads((drawn / "check.json").read_text())
    folder, _ = label(*quick, "--video", archive, *people)
    tables = {name: pd.read_csv(folder / "labels" / f"{name}.csv").set_index("frame") for name in "ab"}
    assert {frame["video"] for frame in content["frames"]} == {"a", "b"}
    for frame in content["frames"]:
        shared = tables[frame["video"]].loc[frame["frame"], ["valence", "arousal"]]
        assert frame["estimate"] == pytest.approx(shared.tolist(), abs=1e-4)
    assert content["population"] == sum((~table["support"]).sum() for table in tables.values())
    template = pd.read_csv(drawn / "check_to_label.csv").assign(valence=0.1, arousal=0.2)
    template.to_csv(drawn / "check_to_label.csv", index=False)
    checked, _ = label(*quick, "--video", archive, *people, "--check", drawn / "check_to_label.csv")
    labels = pd.concat(pd.read_csv(checked / f"{name}_labels.csv") for name in "ab")
    assert len(labels) == 2 + len(template)
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", archive, "--check", drawn / "check_to_label.csv"]))
    assert done.returncode == 2 and "no labels" in done.stderr
    other = ["--people", people_file(tmp_path, ["a,0,Ada", "b,0,Ada", ""])]
    done = run_script(
        "fsl_mtclar.py", *map(str, [*quick, "--video", archive, *other, "--check", drawn / "check_to_label.csv"])
    )
    assert done.returncode == 2 and "was drawn for other labels, videos or networks" in done.stderr


def test_tracks_of_people_without_any_label_are_left_out_and_named(quick, archive, tmp_path):
    folder, video = tmp_path / "videos", tmp_path / "videos" / "b.mp4"
    folder.mkdir()
    shutil.copy(archive / "a.mp4", folder)
    shutil.copy(archive / "a_labels.csv", folder)
    pair = [face_images(label_trace(np.random.default_rng(seed), 48)) for seed in (1, 2)]
    write_video(video, (np.concatenate(images, 1) for images in zip(*pair, strict=True)), 20)
    argv = [*quick, "--video", folder, "--track", "all", "--people", people_file(tmp_path, ["a,0,Ada", "b,1,Ada"])]
    done = run_script("fsl_mtclar.py", *map(str, argv))
    assert done.returncode == 0, done.stderr
    assert "b: track 0 left without labels: no track of the person has any" in done.stderr
    run = Path(re.search(r"run folder +(.+)", done.stdout)[1])
    labels, people = pd.read_csv(run / "labels" / "b.csv"), pd.read_csv(run / "people.csv")
    assert set(labels["track"]) == {1} and len(labels) == 48
    assert people[people["video"] == "b"]["track"].tolist() == [0, 1]


@pytest.mark.parametrize(
    "rows, argv, message",
    [
        (["a,0,Ada", "c,0,Ada"], [], r"people\.csv row 3: .*holds no video 'c'"),
        (["a,1,Ada"], [], r"people\.csv row 2: .*a\.mp4 has no track 1, only 0; correct"),
        (["a,0,Ada", "a,0,Ada"], [], r"row 3: the same track already shows 'Ada'"),
        (["a,0,Ada,0123456789ab"], [], r"row 2: was written for other face tracks of .*a\.mp4: the video or the way"),
        (["a,0,Ada"], ["--support_set.rule", "previous"], "people does not go with support_set.rule previous"),
        (["a,0,Ada"], [], r"b\.mp4: has neither labels nor a rating"),
    ],
)
def test_wrong_people_are_refused(quick, archive, tmp_path, rows, argv, message):
    file = people_file(tmp_path, rows, "video,track,person" + ",tracks" * (rows[0].count(",") == 3))
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", archive, "--people", file, *argv]))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr


def test_a_person_in_two_tracks_of_one_frame_is_refused(tmp_path):
    faces = pd.DataFrame({"track": [0, 0, 1, 1, -1], "frame": [0, 1, 1, 2, 3]})
    video = tmp_path / "a.mp4"
    rows = read_people(people_file(tmp_path, ["a,0,Ada", "a.mp4,1,Ada"]), [video])["a"]
    with pytest.raises(DataError, match=r"row 3: 'Ada' is in tracks 0 and 1 of a.mp4, but frame 1 shows both tracks"):
        named_tracks(rows, faces, [0, 1], video)


def test_written_rows_are_read_back_and_fit_only_their_tracks(tmp_path):
    faces = pd.DataFrame({"track": [0, 0, 1, -1], "frame": [0, 1, 1, 3]})
    video = tmp_path / "salt and pepper.mp4"
    people = {0: "Ada", 1: unnamed_person("salt and pepper", 1)}
    people_table(video.stem, people, faces).to_csv(tmp_path / "people.csv", index=False)
    rows = read_people(tmp_path / "people.csv", [video])[video.stem]
    assert named_tracks(rows, faces, [0, 1], video) == people
    moved = faces.assign(frame=faces["frame"] + 1)
    assert tracks_hash(moved) != tracks_hash(faces) == tracks_hash(faces[::-1])
    with pytest.raises(DataError, match="row 2: was written for other face tracks"):
        named_tracks(rows, moved, [0, 1], video)


def test_candidates_are_written_beside_people(quick, archive, tmp_path):
    for name in "ab":
        shutil.copy2(archive / f"{name}.mp4", tmp_path)
        labels_file(tmp_path / f"{name}_labels.csv")
    (tmp_path / "people").mkdir()
    people = people_file(tmp_path / "people", ["a,0,Ada", "b,,Ben"])
    folder, _ = label(*quick, "--video", tmp_path, "--people", people)
    table = pd.read_csv(folder / "people_candidates.csv")
    assert table[["video", "person", "candidate_1"]].to_numpy().tolist() == [["a", "Ada", "Ben"], ["b", "Ben", "Ada"]]
    assert table["image_similarity_1"].between(0.5, 1).all()
    sheet = cv2.imread(str(folder / "people_1.png"))
    assert sheet.shape[0] > 2 * FACE_SIZE and sheet.std() > 30
    assert not (folder / "people_2.png").exists()
