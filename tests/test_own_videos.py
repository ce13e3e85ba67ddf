"""The user's own labelled videos as a data set: reading, people.csv, training, fine-tuning, calibration and scores."""

import hashlib
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from clips import face_images, write_video
from conftest import finished, run_script
from test_video import HEIGHT, WIDTH, face, write_folder

from datasets.columns import BOX
from datasets.demo.people import random_person
from datasets.demo.traces import label_trace
from datasets.faces import MARGIN, crop_face, crop_size
from datasets.frames import COLUMNS, is_labelled
from datasets.images import FaceCrops
from datasets.own_videos import read_own_videos
from datasets.video import face_images as face_images_module
from datasets.video.face_images import cut_face
from models.pretrained import read_weights
from utils.base.errors import DataError, StorageError
from utils.runs.trainings import hash_of_folder, hash_of_person

FRAMES = 12
HEADER = "frame,valence,arousal\n"


class SideBySide:
    """Finds a face on the left of every image, and one on the right of images whose last pixel is white."""

    def detect(self, images):
        return [self._faces(image) for image in images]

    def _faces(self, image):
        faces = [face(10, score=0.9)] + [face(100, score=0.8)] * bool(image[-1, -1].min() > 200)
        return np.array(faces if image.max() > 20 else [], np.float32).reshape(-1, 5)


@pytest.fixture(autouse=True)
def stub_detector(monkeypatch):
    monkeypatch.setattr("datasets.video.cached_tracks.FaceDetector", lambda device: SideBySide())


def pictures(two_faces=(), black=()):
    """FRAMES noisy images, BGR: one face for the detector, two in some of them, and none in the black ones."""
    rng = np.random.default_rng(0)
    for frame in range(FRAMES):
        image = rng.integers(30, 150, (HEIGHT, WIDTH, 3), np.uint8)
        image[-24:, -24:] = 255 if frame in two_faces else 60
        yield image * np.uint8(frame not in black)


def write_clip(root: Path, name: str, labels: str = "2,0.1,0.2\n8,0.5,-0.5\n", **kind) -> Path:
    root.mkdir(exist_ok=True)
    (root / f"{name}_labels.csv").write_text(HEADER + labels)
    return write_video(root / f"{name}.avi", pictures(**kind))


def read(root: Path, strict: bool = False) -> pd.DataFrame:
    return read_own_videos(root, root.parent / "cache", strict=strict)


# Reading


def test_videos_and_folders_of_frames_become_a_frame_table(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    root = tmp_path / "set"
    write_clip(root, "b")
    write_folder(root / "a", range(3, 9), image=next(pictures()))
    (root / "a_labels.csv").write_text("time,valence,arousal,annotator\n0.16,-1,0.5,Ada\n0.16,0,0.5,Bob\n")
    frames = read(root)
    assert tuple(frames) == (*COLUMNS, "time")
    assert frames.groupby("clip")["frame"].apply(list).to_dict() == {"a": [*range(3, 9)], "b": [*range(FRAMES)]}
    np.testing.assert_allclose(frames["time"], frames["frame"] / 25, atol=1e-6)
    labelled = frames[is_labelled(frames)].set_index(["clip", "frame"])
    assert labelled.index.tolist() == [("a", 4), ("b", 2), ("b", 8)]
    assert labelled["valence"].tolist() == pytest.approx([-0.5, 0.1, 0.5]) and (frames["expression"] == -1).all()
    assert (frames["subject"] == frames["clip"]).all() and "so every video counts as another person" in caplog.text
    assert "2 videos, 2 labelled clips of 2 people; 3 of 18 frames are labelled" in caplog.text


def test_a_second_reading_finds_and_cuts_out_nothing(tmp_path, monkeypatch):
    root = tmp_path / "set"
    for name in "abc":
        write_clip(root, name)
    first = read(root)
    monkeypatch.setattr("datasets.video.cached_tracks.track_faces", lambda *_, **__: pytest.fail("searched again"))
    monkeypatch.setattr(face_images_module, "_cut_faces", lambda *_: pytest.fail("cut out again"))
    pd.testing.assert_frame_equal(read(root), first)
    (root / "a_labels.csv").write_text(HEADER + "0,1,1\n")  # labels may change
    assert read(root)["valence"].iloc[0] == 1


def test_an_unusable_cache_is_reported_before_faces_are_detected(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.video.cached_tracks.track_faces", lambda *_, **__: pytest.fail("searched for faces"))
    write_clip(tmp_path / "set", "a")
    (tmp_path / "cache").write_text("a file, no folder")
    with pytest.raises(StorageError, match=r"cache/videos: cannot be written \(Not a directory\); .*choose another"):
        read(tmp_path / "set")


def test_a_track_that_is_labelled_later_is_cut_out_then(tmp_path):
    root = tmp_path / "set"
    write_clip(root, "a", "2,0.1,0.2,0\n", two_faces=range(FRAMES))
    labels = root / "a_labels.csv"
    labels.write_text("frame,valence,arousal,track\n2,0.1,0.2,0\n")
    assert read(root)["clip"].unique().tolist() == ["a"]
    labels.write_text("frame,valence,arousal,track\n2,0.1,0.2,0\n5,0.3,0.4,1\n")
    frames = read(root)
    assert frames["clip"].unique().tolist() == ["a.track0", "a.track1"] and set(frames["subject"]) == {"a"}
    assert all(Path(path).is_file() for path in frames["path"]) and frames["path"].is_unique


@pytest.mark.parametrize("box", [(20.3, 30.1, 60.7, 80.9), (-15.0, 50.0, 30.0, 118.0), (2.5, 3.5, 150.0, 117.0)])
@pytest.mark.parametrize("size", [64, 128])
def test_crops_of_face_images_are_those_of_the_video(box, size):
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    part, moved = cut_face(image, np.array(box))
    expected = crop_face(image, box, crop_size(size), MARGIN)
    found = crop_face(part, moved, crop_size(size), MARGIN)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_large_faces_are_shrunk(monkeypatch):
    monkeypatch.setattr(face_images_module, "LARGEST_SIDE", 50)
    image = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), (WIDTH, HEIGHT))
    part, box = cut_face(image, np.array((40.0, 30.0, 100.0, 90.0)))
    assert max(part.shape[:2]) == 50
    expected, found = (crop_face(picture, edges, 30) for picture, edges in ((image, (40, 30, 100, 90)), (part, box)))
    assert np.abs(found.astype(int) - expected).mean() < 2


def test_crops_are_read_through_the_frame_table(tmp_path):
    write_clip(tmp_path / "set", "a")
    frames = read(tmp_path / "set")
    crops = FaceCrops(frames, 64, None)
    assert crops[3].shape == (3, 72, 72) and not torch.equal(crops[0], crops[3])
    image = cv2.imread(frames["path"][0])
    assert (frames.loc[0, BOX[2:]].to_numpy() <= image.shape[1::-1]).all()


def test_annotators_have_files_of_their_own(tmp_path):
    root = tmp_path / "set"
    write_clip(root, "a", "2,0.1,0.2\n")
    (root / "a_labels_Ada.csv").write_text(HEADER + "2,0.3,0.2\n5,1,1\n")
    (root / "a_labels_Bob.csv").write_text(HEADER + "2,0.8,0.2\n")
    frames = read(root)
    assert frames["valence"].iloc[[2, 5]].tolist() == pytest.approx([0.4, 1.0])


def test_labels_of_frames_without_a_face_are_left_out(tmp_path, caplog):
    root = tmp_path / "set"
    write_clip(root, "a", "1,0,0\n6,0.5,0.5\n", black=range(5, 9))
    write_clip(root, "b")
    assert is_labelled(read(root)).sum() == 3
    assert "left out 1 row: labelled frame that shows no face, first: " in caplog.text
    assert "a_labels.csv row 3" in caplog.text
    with pytest.raises(DataError, match="labelled frame that shows no face"):
        read(root, strict=True)


def test_a_label_without_a_track_means_the_only_face_or_the_longest_track(tmp_path):
    root = tmp_path / "set"
    write_clip(root, "a", two_faces=range(9))
    assert read(root)["clip"].unique().tolist() == ["a"]
    assert (read(root)["left"] < 40).all()  # that of the left face, which is shown in more frames
    (root / "a_labels.csv").write_text("frame,valence,arousal,track\n2,0.1,0.2,7\n")
    with pytest.raises(DataError, match=r"a_labels.csv row 2: frame 2 shows track 0, 1, not 7"):
        read(root)


def test_unusable_folders_are_refused(tmp_path):
    root = tmp_path / "set"
    for folder in (root, tmp_path):
        with pytest.raises(DataError, match="no video found; expected videos or folders of frames"):
            read(folder)
    write_clip(root, "a")
    write_clip(root, "b")
    (root / "b_labels.csv").rename(root / "c_labels.csv")
    with pytest.raises(DataError, match=r"set: labels without a video of the same name: 'c_labels.csv'; add"):
        read(root)
    (root / "c_labels.csv").unlink()
    with pytest.raises(DataError, match=r"set: videos without labels beside them: 'b.avi'; label them, or move"):
        read(root)
    (root / "b_labels.csv").write_text(HEADER)
    with pytest.raises(DataError, match="b_labels.csv: has a header but no rows"):
        read(root)
    (root / "b_labels.csv").write_text(HEADER + "2,0.1,0.2\n")
    (root / "b_labels_.csv").write_text(HEADER + "2,0.1,0.2\n")
    with pytest.raises(DataError, match=r"b_labels_.csv row 2: this face already has a label in frame 2, .*row 2"):
        read(root)
    (root / "b_labels_.csv").unlink()
    shutil.copy(root / "b.avi", root / "b.mkv")
    with pytest.raises(DataError, match=r"b.mkv: b.avi in the same folder has the same name in outputs \(b\)"):
        read(root)
    (root / "b.mkv").rename(root / "a–1.mkv")
    (root / "b.avi").rename(root / "a_1.avi")
    with pytest.raises(DataError, match=r"a–1.mkv: a_1.avi in the same folder has the same name in outputs \(a_1\)"):
        read(root)


# People


@pytest.fixture
def people(tmp_path):
    """Function that reads two videos, "one" of one face and "two" of two, with this content of people.csv."""
    root = tmp_path / "set"
    write_clip(root, "one")
    write_clip(root, "two", two_faces=range(FRAMES))
    (root / "two_labels.csv").write_text("frame,valence,arousal,track\n2,0.1,0.2,0\n5,0.3,0.4,1\n")

    def read_with(rows: str, header: str = "video,track,person\n") -> pd.DataFrame:
        (root / "people.csv").write_text(header + rows)
        return read(root)

    return read_with


def test_people_are_the_subjects(people):
    frames = people("one.avi,,Ada\ntwo,0,Bob\ntwo,1,Ada\n")
    assert frames.groupby("clip")["subject"].unique().map(list).to_dict() == {
        "one": ["Ada"],
        "two.track0": ["Bob"],
        "two.track1": ["Ada"],
    }


@pytest.mark.parametrize(
    "rows, message",
    [
        ("thre,0,Ada\n", "people.csv row 2: .*set holds no video 'thre'"),
        ("on,0,Ada\n", "no video 'on'; did you mean one"),
        ("one,0,Ada\ntwo,0,Bob\ntwo,2,Eve\n", "people.csv row 4: .*two.avi has no track 2, only 0, 1"),
        ("one,x,Ada\n", "people.csv row 2: track 'x' is not a finite number"),
        ("one,0,\n", "people.csv row 2: names no person"),
        ("one,0,Ada and Bob\n", "people.csv row 2: person 'Ada and Bob' looks like several people"),
        ("one,0,Ada/Bob\n", "looks like several people"),
        ("one,0,Ada\none,0,Bob\n", "people.csv row 3: the same track already shows 'Ada', .*people.csv row 2"),
        ("one,,Ada\none,0,Bob\n", "people.csv row 3: the same track already shows 'Ada'"),
        ("one,0,Ada\ntwo,0,Bob\n", "people.csv: has no row for the labelled track 1 of two.avi; add two,1,<person>"),
        ("one,0,Ada\ntwo,0,Bob\ntwo,1,Bob\n", "row 4: 'Bob' is in tracks 0 and 1 of two.avi, but frame 0 shows both"),
        ("one,0,Ada\ntwo,,Bob\n", "'Bob' is in tracks 0 and 1"),
    ],
)
def test_wrong_people_are_refused(people, rows, message):
    with pytest.raises(DataError, match=message):
        people(rows)


def test_people_need_their_columns(people):
    with pytest.raises(DataError, match="people.csv: column 'person' is missing: rename its column 'persons'"):
        people("one,0,Ada\n", "video,track,persons\n")


# The three scripts


PEOPLE, LENGTH, LABELLED = 10, 30, (1, 6, 11, 16, 21, 26)


def write_people(root: Path, seed: int = 0, people: int = PEOPLE) -> Path:
    """A folder of rendered videos with six labels each."""
    root.mkdir()
    for number in range(people):
        rng = np.random.default_rng([seed, number])
        trace = label_trace(rng, LENGTH)
        write_video(root / f"p{number}.avi", face_images(trace, random_person(rng, False), side=96, aspect=1))
        rows = [f"{frame},{trace[frame, 0]:.2f},{trace[frame, 1]:.2f}\n" for frame in LABELLED]
        (root / f"p{number}_labels.csv").write_text(HEADER + "".join(rows))
    return root


class WholeImage:
    """Finds a face that fills the image."""

    def detect(self, images):
        return [self._faces(image) for image in images]

    def _faces(self, image):
        side = image.shape[0]
        return np.array([(0.1 * side, 0.05 * side, 0.9 * side, 0.95 * side, 0.9)], np.float32)


@pytest.fixture(scope="module")
def own(tmp_path_factory, demo_run):
    """Folder of videos, command line for it, and the run folder of a network fine-tuned on it."""
    folder = tmp_path_factory.mktemp("own")
    network = folder / "network"
    network.mkdir()
    shutil.copy(demo_run[0] / "best.pt", network)
    videos = write_people(folder / "videos")
    argv = ["--dataset", "videos", "--data.root", videos, "--data.cache", folder / "cache", "--data.workers", 0]
    argv += ["--runtime.precision", "float32", "--runtime.device", "cpu", "--runs", folder / "runs"]
    argv = list(map(str, argv))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.video.cached_tracks.FaceDetector", lambda device: WholeImage())
        run, _ = finished("mtclar.py", *argv, *tiny_training(network / "best.pt"))
    return videos, argv, run


@pytest.fixture
def whole_image(monkeypatch):
    monkeypatch.setattr("datasets.video.cached_tracks.FaceDetector", lambda device: WholeImage())


def tiny_training(init: Path) -> list[str]:
    argv = ["--model.width", "16", "--model.init", str(init), "--train.epochs", "1", "--train.batch", "12"]
    return [
        *argv,
        "--train.subjects",
        "4",
        "--train.epoch_size",
        "24",
        "--pairs.validation",
        "20",
        "--pairs.test",
        "30",
    ]


def test_a_fine_tuned_network_records_all_trainings(own, demo_run):
    content = torch.load(own[2] / "best.pt", weights_only=True)
    people, earlier = content["history"]["people"], content["history"]["earlier"]
    assert len(people) == 8 and set(people) < {f"p{number}" for number in range(PEOPLE)}
    assert [training["dataset"] for training in earlier] == ["demo"]
    assert torch.load(own[2] / "last.pt", weights_only=True)["history"] == content["history"]
    before = torch.load(demo_run[0] / "best.pt", weights_only=True)["model"]
    weights = [name for name in before if name.endswith((".weight", ".bias"))]
    changes = [(content["model"][name] - before[name]).abs().max() for name in weights]
    assert 0 < max(changes) < 0.05  # weights of a new network would differ by more


def test_pairs_are_of_labelled_frames_within_and_across_videos(own):
    table = pd.read_csv(own[2] / "predictions.csv")
    assert set(table["frame_1"]) | set(table["frame_2"]) <= set(LABELLED)
    assert table["delta_valence"].notna().all()
    same = table["clip_1"] == table["clip_2"]
    assert same.any() and not same.all()


def test_test_videos_are_labelled_and_scored_on_the_frames_with_labels(own, whole_image):
    _, argv, run = own
    command = ["--checkpoint", str(run / "best.pt"), *argv, "--support_set.strategy", "uniform_k"]
    folder, printed = finished("fsl_mtclar.py", *command, "--support_set.amount", "2")
    labels, scores = pd.read_csv(folder / "labels.csv"), pd.read_csv(folder / "scores.csv")
    history = torch.load(run / "best.pt", weights_only=True)["history"]
    assert labels["clip"].nunique() == 2 and not set(labels["clip"]) & set(history["people"])
    assert len(labels) == 2 * LENGTH and labels["valence_true"].notna().sum() == 2 * len(LABELLED)
    assert labels.loc[labels["support"], "frame"].isin(LABELLED).all() and labels["support"].sum() == 4
    assert (scores["frames"] == 2 * (len(LABELLED) - 2)).all() and scores["valence_RMSE"].notna().all()
    assert "whose true label is known (8)" in printed
    done = run_script("fsl_mtclar.py", *command[:-1], "suggested")
    assert done.returncode == 2 and "only 6 of 30 are labelled; set support_set.strategy to uniform_k" in done.stderr


def test_heads_are_trained_and_tested_by_folds_of_people(own, whole_image):
    _, argv, run = own
    done = run_script("mtclar_sl.py", *argv, "--checkpoint", str(run / "best.pt"), "--train.epochs", "1")
    assert done.returncode == 2 and "data.fold is 0" in done.stderr and "give each fold a network" in done.stderr
    init = str(run.parents[2] / "network" / "best.pt")
    folder, _ = finished("mtclar_sl.py", *argv, "--checkpoint", init, "--train.epochs", "1")
    predictions = pd.read_csv(folder / "predictions.csv")
    assert len(predictions) == PEOPLE * len(LABELLED) and predictions.groupby("clip")["fold"].nunique().eq(1).all()


@pytest.fixture(scope="module")
def exported(own) -> Path:
    """The exported folder of the fine-tuned network."""
    assert run_script("mtclar.py", "--export", str(own[2])).returncode == 0
    return (own[2] / "export").rename(own[2].parent / "shared")


def test_an_exported_network_holds_hashes_of_people(own, exported):
    history = read_weights(exported / "model.safetensors")[1]["history"]
    people = torch.load(own[2] / "best.pt", weights_only=True)["history"]["people"]
    hashes = ["sha256:" + hashlib.sha256(f"videos {name}".encode()).hexdigest()[:16] for name in people]
    assert history["people"] == sorted(hashes) and [training["dataset"] for training in history["earlier"]] == ["demo"]
    assert list(map(hash_of_person, hashes)) == hashes  # as if the network were fine-tuned and exported again
    assert history["root_hash"] == hash_of_folder(own[0]) and "root" not in history["earlier"][0]["data"]


def test_people_whom_the_network_has_seen_are_not_tested(own, exported, whole_image, tmp_path):
    videos, argv, run = own
    people = torch.load(run / "best.pt", weights_only=True)["history"]["people"]
    tested = [f"p{number}" for number in range(PEOPLE) if f"p{number}" not in people]
    try:
        # A seen person takes the name of a tested one in people.csv, and the other way round.
        swapped = dict(zip([*tested, people[0]], [people[0], *tested[1:], tested[0]], strict=True))
        rows = [f"p{number},,{swapped.get(f'p{number}', f'p{number}')}\n" for number in range(PEOPLE)]
        rows += ["p10,,p10\n"]
        for suffix in (".avi", "_labels.csv"):
            shutil.copy(videos / f"{tested[0]}{suffix}", videos / f"p10{suffix}")
        (videos / "people.csv").write_text("video,track,person\n" + "".join(rows))
        done = run_script("fsl_mtclar.py", "--checkpoint", str(run / "best.pt"), *argv)
        assert done.returncode == 2 and "was trained on people who are now in the test set: 'p" in done.stderr
        done = run_script("mtclar.py", *argv, *tiny_training(run / "best.pt"))
        assert done.returncode == 2 and "was trained on people who are now in the test set: 'p" in done.stderr
        done = run_script("fsl_mtclar.py", "--checkpoint", str(exported), *argv)
        assert done.returncode == 2 and "was trained on people who are now in the test set: 'p" in done.stderr
    finally:
        for name in ("people.csv", "p10.avi", "p10_labels.csv"):
            (videos / name).unlink()
    done = run_script("mtclar.py", *argv, *tiny_training(run / "best.pt"), "--data.fold", "1")
    assert done.returncode == 2 and "data.fold is 0 in" in done.stderr
    demo = ["--dataset", "demo", "--demo.people", "12", "--seed", "1", *tiny_training(run / "best.pt")]
    done = run_script("mtclar.py", *demo, "--data.root", str(tmp_path / "demo"))
    assert done.returncode == 2 and "seed is 0 in" in done.stderr  # the demo set of the first training


def test_a_network_of_other_settings_is_no_start(own, whole_image):
    _, argv, run = own
    done = run_script("mtclar.py", *argv, "--model.init", str(run / "best.pt"), "--model.width", "32")
    assert done.returncode == 2
    assert "add --model.width 16 --model.fusion concat --data.image_size 64" in done.stderr


def test_calibration_on_own_videos(own, whole_image, tmp_path):
    videos, argv, run = own
    copy = shutil.copy(run / "best.pt", tmp_path)
    quick = ["--checkpoint", copy, *argv[4:]]
    other = write_people(tmp_path / "other", seed=1, people=7)
    done = run_script("fsl_mtclar.py", *quick, "--calibrate", str(other))
    assert done.returncode == 0, done.stderr
    assert "calibrated on 7 clips of videos other, 42 labels" in done.stdout and "valence" in done.stdout
    assert (tmp_path / "calibration.json").is_file()
    done = run_script("fsl_mtclar.py", *quick, "--video", str(other / "p0.avi"))
    assert "calibrated on 7 validation clips of videos other, 42 labels" in done.stderr
    done = run_script("fsl_mtclar.py", *quick, "--calibrate", str(videos))
    assert done.returncode == 2 and "was trained on videos in" in done.stderr
    for name in ("p0", "p1"):
        (other / f"{name}_labels.csv").write_text(HEADER + "1,0,0\n2,0,0\n3,0,0\n")
    done = run_script("fsl_mtclar.py", *quick, "--calibrate", str(other))
    assert done.returncode == 2 and "5 of 7 clips have at least 24 frames, 4 of them labelled" in done.stderr
    done = run_script("fsl_mtclar.py", *quick, "--calibrate", str(other), "--video", str(other / "p0.avi"))
    assert done.returncode == 2 and "video does not go with calibrate" in done.stderr


@pytest.mark.parametrize("script", ["mtclar.py", "mtclar_sl.py", "fsl_mtclar.py", "fsl_mtclar.py --calibrate"])
def test_faces_are_detected_on_the_device_of_the_script(own, tmp_path, monkeypatch, script):
    def refuse(device):
        raise DataError(f"detects faces on {device}")

    monkeypatch.setattr("datasets.video.cached_tracks.FaceDetector", refuse)
    videos, argv, run = own
    argv = argv.copy()
    argv[argv.index("--data.cache") + 1] = str(tmp_path)
    name, *calibrate = script.split()
    network = ["--checkpoint", str(run.parents[2] / "network" / "best.pt")] * (name != "mtclar.py")
    done = run_script(name, *argv, *network, *calibrate, *[str(videos)] * len(calibrate))
    assert done.returncode == 2 and "detects faces on cpu" in done.stderr


def test_videos_need_a_cache(own):
    argv = own[1].copy()
    argv[argv.index("--data.cache") + 1] = "null"
    done = run_script("mtclar.py", *argv)
    assert done.returncode == 2 and "data.cache is null, but face images of videos are kept there" in done.stderr
