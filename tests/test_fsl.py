"""fsl_mtclar.py from end to end: the paper's experiment on a data set, and the user's own videos."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from clips import face_images, write_video
from conftest import finished, label, labels_file, run_script
from published import emonet_state, siamese_state

from datasets.afewva import read_afewva
from datasets.annotations.labels import read_labels
from datasets.annotations.timeline import Timeline
from datasets.demo.face import Person
from datasets.demo.paint import draw_face
from datasets.demo.traces import label_trace
from utils.base.files import sha256_of_file
from utils.config.manifest import read_manifest
from utils.labelling.anchors import BASELINES, RULES

SHARED = Path(__file__).parents[2] / "shared" / "data"
VIDEOS, PHOTOGRAPHS = SHARED / "videos", SHARED / "faces"
PREVIOUS = ("--support_set.rule", "previous")


@pytest.fixture(scope="module")
def two_people(tmp_path_factory) -> Path:
    """An MP4 of 30 frames at 20 frames per second: two faces side by side."""
    people = (face_images([(0.1, 0.1)], Person(hair=hair), aspect=1) for hair in ("side", "bob"))
    images = [np.concatenate([next(person) for person in people], 1)] * 30
    return write_video(tmp_path_factory.mktemp("video") / "two.mp4", images, 20)


@pytest.mark.parametrize(
    "strategy, amount",
    [("every_n", 3), ("first", 2), ("random_k", 2), ("diverse_k", 2), ("uniform_k", 1), ("suggested", 2)],
)
def test_data_set_is_labelled_by_every_method(quick, strategy, amount):
    folder, printed = label(*quick, "--support_set.strategy", strategy, "--support_set.amount", amount)
    labels = pd.read_csv(folder / "labels.csv", dtype={"clip": str})
    scores = pd.read_csv(folder / "scores.csv")
    assert set(scores["method"]) == set(RULES) | set(BASELINES)
    assert (labels.loc[labels["support"], "valence"] - labels.loc[labels["support"], "valence_true"]).abs().max() < 1e-6
    assert labels[["valence", "arousal"]].abs().max().max() <= 1
    clips = labels.groupby("clip")["support"]
    expected = np.ceil(clips.size() / amount) if strategy == "every_n" else amount
    assert (clips.sum() == expected).all()
    unscored = labels[~labels["support"]]
    pooled = scores[(scores["method"] == "fused") & (scores["average"] == "pooled")].iloc[0]
    error = np.sqrt(np.mean((unscored["valence"] - unscored["valence_true"]) ** 2))
    assert pooled["valence_RMSE"] == pytest.approx(error, rel=1e-3) and pooled["frames"] == len(unscored)
    assert "no better than linear" in printed and len(list(folder.glob("clip_*.png"))) == labels["clip"].nunique()


def test_anchors_from_the_training_set_and_scored_support_frames(quick):
    bins = ["--support_set.strategy", "train_bins", "--support_set.amount", 2]
    folder, _ = label(*quick, *bins, "--support_set.rule", "mean")
    assert not pd.read_csv(folder / "labels.csv")["support"].any()
    assert set(pd.read_csv(folder / "scores.csv")["method"]) == {"mean", "weighted", "fused", "hold", "linear"}
    done = run_script("fsl_mtclar.py", *map(str, [*quick, *bins, *PREVIOUS]))
    assert done.returncode == 2 and "use mean, weighted or fused" in done.stderr
    folder, _ = label(*quick, "--support_set.amount", 2, "--support_set.score_support")
    assert pd.read_csv(folder / "scores.csv")["frames"].eq(len(pd.read_csv(folder / "labels.csv"))).all()


@pytest.mark.parametrize("scope, own", [("person", True), ("others", False)])
def test_anchors_from_a_person_or_from_other_clips(quick, scope, own):
    folder, _ = label(
        *quick, "--support_set.scope", scope, "--support_set.strategy", "first", "--support_set.share", 0.3
    )
    labels, scores = pd.read_csv(folder / "labels.csv"), pd.read_csv(folder / "scores.csv")
    assert set(scores["method"]) == {"mean", "weighted", "fused", "hold", "linear"}
    assert labels["support"].any() == own and labels["anchors"].between(2, 3).all()
    support = labels[labels["support"]]  # Each person of the demo has one clip.
    assert (support["valence"] - support["valence_true"]).abs().sum() < 1e-5
    assert labels["valence_low"].lt(labels["valence_high"])[~labels["support"]].all()


def test_clips_of_a_person_share_their_labels(quick, tmp_path):
    several = ["--demo.clips", 2, "--data.root", tmp_path / "demo", "--support_set.strategy", "first"]
    argv = [*quick, *several, "--support_set.amount", 1]
    alone, shared = (label(*argv, *more)[0] for more in ([], ["--support_set.share_people"]))
    scores, other = (pd.read_csv(folder / "scores.csv").set_index(["method", "average"]) for folder in (alone, shared))
    pd.testing.assert_frame_equal(scores.drop("fused"), other.drop("fused"))
    assert (scores.loc["fused", "valence_RMSE"] != other.loc["fused", "valence_RMSE"]).all()
    done = run_script("fsl_mtclar.py", *map(str, [*argv, "--support_set.share_people"]))
    assert re.search(r"(\d+) of \1 people have several clips", done.stderr)
    argv += ["--support_set.share_people"]
    for options, message in (
        (["--support_set.rule", "mean"], "share_people needs the rule fused"),
        (["--video", tmp_path], "share_people is for data sets"),
    ):
        done = run_script("fsl_mtclar.py", *map(str, [*argv, *options]))
        assert done.returncode == 2 and message in done.stderr


def test_second_run_encodes_nothing_and_writes_the_same_labels(quick, clip, tmp_path, monkeypatch):
    labels = labels_file(tmp_path / "labels.csv")
    first = [label(*quick, "--support_set.amount", 3)[0], label(*quick, "--video", clip, "--labels", labels)[0]]
    for name in (
        "utils.compute.embedding_cache.encode_crops",
        "datasets.video.cached_tracks.track_faces",
        "utils.videos.track_embeddings.face_crops",
    ):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("computed again"))
    again = [label(*quick, "--support_set.amount", 3)[0], label(*quick, "--video", clip, "--labels", labels)[0]]
    for one, other in zip(first, again, strict=True):
        assert (one / "labels.csv").read_bytes() == (other / "labels.csv").read_bytes()


def test_embeddings_of_other_weights_are_not_used(quick, tmp_path):
    content = torch.load(quick[1], weights_only=True)
    content["model"]["encoder.emotion.reduce.bias"] += 1
    torch.save(content, tmp_path / "best.pt")
    label(*quick)
    shutil.copytree(Path(quick[1]).parent / "embeddings", tmp_path / "embeddings", dirs_exist_ok=True)
    before = len(list((tmp_path / "embeddings").iterdir()))
    label("--checkpoint", tmp_path / "best.pt", *quick[2:])
    assert len(list((tmp_path / "embeddings").iterdir())) > before


def test_support_frames_from_a_file(quick, tiny_demo, tmp_path, caplog):
    every, _ = label(*quick, "--support_set.amount", 3)
    labels = pd.read_csv(every / "labels.csv", dtype={"clip": str})
    clips = sorted(labels["clip"].unique())[:2]
    elsewhere = min(set(read_afewva(tiny_demo)["clip"]) - set(labels["clip"]))
    named = pd.DataFrame({"clip": clips, "frame": [1, 2], "valence": [0.25, None], "arousal": [0.5, None]})
    named = pd.concat([named, named.tail(1).assign(clip=elsewhere)])
    named.to_csv(tmp_path / "support.csv", index=False)
    folder, _ = label(*quick, "--support_set.strategy", "csv", "--support_set.csv", tmp_path / "support.csv")
    assert f"not in the test set, so they are not labelled: '{elsewhere}'" in caplog.text
    found = pd.read_csv(folder / "labels.csv", dtype={"clip": str})
    assert sorted(found["clip"].unique()) == clips
    support = found[found["support"]].set_index("clip").loc[clips]
    assert support["frame"].tolist() == [1, 2] and support[["valence", "arousal"]].iloc[0].tolist() == [0.25, 0.5]
    assert support["valence"].iloc[1] == pytest.approx(support["valence_true"].iloc[1])
    for rows, message in (
        ("clip,frame\n001,99\n", "no frame 99"),
        ("clip\n001\n", "'frame' is missing"),
        ("clip,frame,valence\n001,1,4\n", r"row 2: valence is '4'"),
        ("clip,frame\n001,1\n1001,1\n", r"row 3: the data set has no usable clip '1...'; did you mean ...\?; correct"),
        ("clip,frame\n001,1,0.3\n", "cannot be read as CSV"),
    ):
        (tmp_path / "support.csv").write_text(rows.replace("001", clips[0]))
        argv = [*quick, "--support_set.strategy", "csv", "--support_set.csv", tmp_path / "support.csv"]
        done = run_script("fsl_mtclar.py", *map(str, argv))
        assert done.returncode == 2 and re.search(message, done.stderr), done.stderr


@pytest.mark.parametrize("name, value", [("seed", 1), ("data.fold", 1), ("data.validation_share", 0.3)])
def test_settings_that_would_test_training_people_are_refused(quick, name, value):
    done = run_script("fsl_mtclar.py", *map(str, [*quick, f"--{name}", value]))
    assert done.returncode == 2 and "people that the network was trained on" in done.stderr


def test_short_clips_are_excluded_by_min_frames(quick):
    folder, _ = label(*quick, "--support_set.min_frames", 5)
    assert pd.read_csv(folder / "labels.csv").groupby("clip").size().min() >= 5
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--support_set.min_frames", 99]))
    assert done.returncode == 2 and "none of 3 clips is left" in done.stderr


def test_estimates_of_emonet_are_scored_and_are_evidence_besides_mtclar(quick, tmp_path):
    torch.save(emonet_state(), tmp_path / "emonet_8.pth")
    folder, _ = label(*quick, "--evidence", f"mtclar,{tmp_path / 'emonet_8.pth'}")
    assert {"EmoNet", "fused", "previous", "linear"} <= set(pd.read_csv(folder / "scores.csv")["method"])


RULE, EXPORTS = ("--support_set.rule", "nearest"), "elan,nova,huggingface"


def test_published_siamese_weights_label_a_data_set(quick, tiny_demo, tmp_path, caplog):
    torch.save({f"module.{key}": value for key, value in siamese_state().items()}, tmp_path / "siamese.pth")
    sizes = ["--demo.people", 12, "--demo.frames", 9, "--demo.short_frames", 5]
    argv = ["--checkpoint", tmp_path / "siamese.pth", "--data.root", tiny_demo, *sizes, "--data.fold", 3]
    folder, _ = label(*argv, *quick[2:], "--data.workers", 0, "--support_set.amount", 3)
    assert set(pd.read_csv(folder / "scores.csv")["method"]) == set(RULES) | set(BASELINES)
    assert "published weights that do not name their training data" in caplog.text


@pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason="the photographs are not part of the project")
def test_network_of_real_photographs_labels_the_demo_found_in_its_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = "--model.width 16 --train.epochs 1 --train.epoch_size 48 --pairs.validation 20 --pairs.test 20".split()
    finished("mtclar.py", "--dataset", "affectnet", "--data.root", str(PHOTOGRAPHS), *small, "--data.workers", "0")
    folder, _ = label("--dataset", "demo", "--demo.people", 10, "--demo.frames", 6, "--demo.short_frames", 4)
    assert (tmp_path / "data" / "demo" / "demo.json").exists()
    assert set(pd.read_csv(folder / "scores.csv")["method"]) == set(RULES) | set(BASELINES)


def test_own_video_from_end_to_end(quick, clip, tmp_path):
    labels = labels_file(tmp_path / "labels.csv")
    folder, printed = label(*quick, "--video", clip, "--labels", labels, "--overlay", *RULE, "--exports", EXPORTS)
    table = pd.read_csv(folder / "labels.csv")
    assert list(table["frame"]) == list(range(60)) and (table["video"] == "clip").all()
    assert table["valence"].notna().sum() >= 45 and table.loc[table["frame"] >= 50, "valence"].isna().all()
    assert table.loc[table["support"], ["frame", "valence", "arousal"]].to_numpy().tolist() == [
        [3, 0.5, -0.2],
        [20, -0.4, 0.1],
        [40, 0.1, 0.6],
    ]
    assert table.set_index("frame").loc[[4, 19, 35], "anchor"].tolist() == [3, 20, 40]
    np.testing.assert_allclose(table["time"], table["frame"] / 20, atol=1e-3)
    assert re.search(r"clip +0 +60 +\d+ +3", printed)
    capture = cv2.VideoCapture(str(folder / "clip_overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 60 and capture.get(cv2.CAP_PROP_FRAME_HEIGHT) == 360
    timeline = Timeline(table["frame"].to_numpy(), table["time"].to_numpy())
    (row,) = pd.read_parquet(folder / "huggingface" / "metadata.parquet").to_dict("records")
    assert (folder / "huggingface" / row["file_name"]).read_bytes() == clip.read_bytes()
    assert row["frame"].tolist() == table.dropna(subset="valence")["frame"].tolist()
    given = read_labels(folder / "clip.eaf", timeline)
    assert given[["frame", "valence", "arousal"]].to_numpy().tolist() == pytest.approx(
        table.loc[table["support"], ["frame", "valence", "arousal"]].to_numpy()
    )
    for export in ("clip_track0_trace.csv", next(folder.glob("clip*valence.annotation")).name, "labels.csv"):
        again = read_labels(folder / export, timeline).set_index("frame")
        expected = table.dropna(subset="valence").set_index("frame")
        assert list(again.index) == list(expected.index)
        np.testing.assert_allclose(again["valence"], expected["valence"], atol=1e-5)


def test_exported_labels_can_be_read_as_labels(quick, clip, tmp_path):
    first, _ = label(*quick, "--video", clip, "--labels", labels_file(tmp_path / "labels.csv"))
    shutil.copy(first / "clip.eaf", tmp_path / "again.eaf")
    second, _ = label(*quick, "--video", clip, "--labels", tmp_path / "again.eaf")
    columns = ["frame", "valence", "arousal"]
    one, two = (pd.read_csv(folder / "labels.csv")[columns] for folder in (first, second))
    pd.testing.assert_frame_equal(one, two, atol=1e-5)


def test_intervals_of_a_video_have_zero_width_at_exact_labels_only(quick, clip, tmp_path):
    folder, _ = label(*quick, "--video", clip, "--labels", labels_file(tmp_path / "labels.csv"))
    table = pd.read_csv(folder / "labels.csv").dropna(subset="valence")
    for axis in ("valence", "arousal"):
        assert ((table[f"{axis}_low"] <= table[axis]) & (table[axis] <= table[f"{axis}_high"])).all()
        width = table[f"{axis}_high"] - table[f"{axis}_low"]
        assert (width[table["support"]] == 0).all() and (width[~table["support"]] > 0).all()


def test_annotator_error_is_estimated_or_given(quick, clip, tmp_path):
    rng = np.random.default_rng(0)
    given = np.round(label_trace(np.random.default_rng(1), 60)[3:45:3] + rng.normal(0, 0.15, (14, 2)), 3).clip(-1, 1)
    rows = [f"{frame},{valence},{arousal}\n" for frame, (valence, arousal) in zip(range(3, 45, 3), given, strict=True)]
    labels = labels_file(tmp_path / "labels.csv", "frame,valence,arousal\n" + "".join(rows))
    kept = {}
    for error in ("0", "0.05", "auto"):
        done = run_script(
            "fsl_mtclar.py",
            *map(str, [*quick, "--video", clip, "--labels", labels, "--support_set.annotator_error", error]),
        )
        assert done.returncode == 0, done.stderr
        assert ("labels: estimated standard deviation 0." in done.stderr) == (error == "auto")
        table = pd.read_csv(Path(re.search(r"run folder +(.+)", done.stdout)[1]) / "labels.csv")
        support = table[table["support"]].set_index("frame").loc[range(3, 45, 3)]
        kept[error] = np.allclose(support[["valence", "arousal"]], given, atol=1e-6)
        assert kept[error] == (support["valence_low"] == support["valence_high"]).all()
    assert kept == {"0": True, "0.05": False, "auto": False}
    wrong = run_script("fsl_mtclar.py", *map(str, [*quick, "--support_set.annotator_error", "often"]))
    assert wrong.returncode == 2 and "must be auto or a number from 0 to 1, got 'often'" in wrong.stderr


@pytest.fixture
def calibrated(quick, tmp_path, monkeypatch):
    """Command line that labels with a network that is calibrated on the two short validation clips, in tmp_path."""
    monkeypatch.setattr("utils.labelling.dataset_calibration.calibrate_clips.SHORTEST_CLIP", 5)
    monkeypatch.setattr("utils.labelling.dataset_calibration.calibrate_clips.FEWEST_CLIPS", 2)
    checkpoint = shutil.copy(quick[1], tmp_path / "best.pt")
    return ["--checkpoint", checkpoint, *quick[2:], "--support_set.amount", 3]


def test_calibration_is_fitted_once_and_saved_beside_the_checkpoint(calibrated, tmp_path, monkeypatch):
    first, printed = label(*calibrated)
    written = (tmp_path / "calibration.json").read_bytes()
    monkeypatch.setattr(
        "utils.labelling.dataset_calibration.calibrate_clips.fit_calibration", None
    )  # A second fit would fail.
    second, printed_again = label(*calibrated)
    assert (tmp_path / "calibration.json").read_bytes() == written and b'"clips": 2' in written
    assert (first / "labels.csv").read_bytes() == (second / "labels.csv").read_bytes()
    assert "90 % intervals" in printed and printed.splitlines()[:4] == printed_again.splitlines()[:4]


def test_fusion_json_of_an_earlier_version_is_ignored_and_the_calibration_fitted_again(calibrated, tmp_path):
    source = "demo demo, fold 0, seed 0"
    old = {"weights": sha256_of_file(tmp_path / "best.pt"), "format": 2, "source": source, "clips": 99}
    (tmp_path / "fusion.json").write_text(json.dumps(old))
    label(*calibrated)
    assert json.loads((tmp_path / "fusion.json").read_text()) == old
    fitted = json.loads((tmp_path / "calibration.json").read_text())
    assert (fitted["format"], fitted["clips"], fitted["weights"]) == (6, 2, old["weights"])
    assert fitted["source"] == source  # The old file was fitted on the same data, but its format differs.


def test_track_without_labels_is_labelled_from_the_other_track(quick, two_people, tmp_path):
    labels = labels_file(tmp_path / "labels.csv", "frame,track,valence,arousal\n3,0,0.5,-0.2\n20,0,-0.4,0.1\n")
    folder, _ = label(*quick, "--video", two_people, "--labels", labels, "--track", "all")
    table = pd.read_csv(folder / "labels.csv").dropna(subset="track")
    other = table[table["track"] == 1]
    assert len(other) > 20 and other[["valence", "arousal_low"]].notna().all(axis=None) and not other["support"].any()


def test_completed_file_of_suggested_frames_serves_as_labels(quick, clip, tmp_path):
    folder, printed = label(*quick, "--video", clip, "--suggest", 3)
    table = pd.read_csv(folder / "clip_to_label.csv")
    assert len(table) == 3 and table["valence"].isna().all() and (folder / "clip_to_label.png").exists()
    assert all(re.search(rf"\b{frame}\b", printed) for frame in table["frame"])
    filled = tmp_path / "filled.csv"
    table.assign(valence=[0.1, 0.2, 0.3], arousal=[0.0, 0.1, -0.3]).to_csv(filled, index=False)
    labelled, _ = label(*quick, "--video", clip, "--labels", filled)
    known = pd.read_csv(labelled / "labels.csv").query("support")
    assert known["frame"].tolist() == table["frame"].tolist()
    folder, _ = label(*quick, "--video", clip, "--labels", filled, "--suggest", 2)
    more = pd.read_csv(folder / "clip_to_label.csv")
    assert set(known["frame"]) < set(more["frame"]) and more["valence"].isna().sum() == 2 and len(more) == 5


def test_agreement_of_annotators_and_contradicted_labels_are_reported(quick, clip, tmp_path):
    rows = ["frame,valence,arousal,annotator"]
    for frame in range(2, 44, 3):
        rows += [f"{frame},{0.9 if frame == 20 else 0.1},0.1,ann", f"{frame},{0.9 if frame == 20 else 0.12},0.08,bob"]
    folder, printed = label(*quick, "--video", clip, "--labels", labels_file(tmp_path / "two.csv", "\n".join(rows)))
    agreement = pd.read_csv(folder / "agreement.csv").set_index("axis")
    assert agreement.loc["valence", "frames"] == 14 and agreement.loc["valence", "ICC(A,1)"] > 0.9
    contradictions = pd.read_csv(folder / "audit.csv")
    assert contradictions[["frame", "axis"]].to_numpy().tolist() == [[20, "valence"]]
    assert contradictions["expected"].abs()[0] < 0.5
    assert "agreement of the annotators" in printed and "other labels contradict" in printed
    support = pd.read_csv(folder / "labels.csv").query("support")
    assert (support["valence_high"] > support["valence_low"]).all()  # The annotators differ, so no label is exact.


def test_folder_of_videos_with_a_label_file_each(quick, clip, tmp_path):
    for name in ("a", "b", "c"):
        shutil.copy(clip, tmp_path / f"{name}.mp4")
    for name in ("a", "b"):
        labels_file(tmp_path / f"{name}_labels.csv")
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", tmp_path]))
    assert done.returncode == 2 and "c.mp4: no labels" in done.stderr and "run folder" not in done.stdout
    labels_file(tmp_path / "c_labels_Ada.csv")
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", tmp_path]))
    assert done.returncode == 2 and "'c_labels_Ada.csv'; rename one of these files to c_labels.csv, or" in done.stderr
    labels_file(tmp_path / "c.csv", "frame,valence,arousal\n3,5,-2\n")
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", tmp_path]))
    folder = Path(re.search(r"run folder +(.+)", done.stdout)[1])
    assert done.returncode == 2 and "c.csv" in done.stderr  # The other videos are labelled.
    index = pd.read_csv(folder / "index.csv").set_index("video")
    assert (
        index["file"].to_dict() == {"a": "labels/a.csv", "b": "labels/b.csv"} and not (folder / "labels.csv").exists()
    )
    tables = {name: pd.read_csv(folder / file) for name, file in index["file"].items()}
    assert all(set(table["video"]) == {name} for name, table in tables.items())
    assert index.loc["a", ["frames", "tracks", "support"]].tolist() == [tables["a"]["frame"].nunique(), 1, 3]
    assert index.loc["a", "labelled"] == tables["a"]["valence"].notna().sum()
    assert index.loc["a", "seconds"] == pytest.approx(len(tables["a"]) / 20)
    assert 0 < index.loc["a", "expected_error"] < 1
    assert {"labels/a.csv", "index.csv"} <= set(read_manifest(folder / "manifest.json").outputs)


def test_frames_of_a_folder_are_in_numeric_order(quick, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in (2, 10, 100, 101, 102, 103):
        face = draw_face(Person(), 0.0, 0.0, size=220)[0]
        cv2.imwrite(str(frames / f"{number}.png"), cv2.copyMakeBorder(face, 20, 20, 60, 60, cv2.BORDER_CONSTANT))
    labels = labels_file(tmp_path / "labels.csv", "frame,valence,arousal\n2,0.1,0.1\n100,0.5,0.5\n")
    folder, _ = label(*quick, "--video", frames, "--labels", labels, "--detect_every", 1, *PREVIOUS)
    table = pd.read_csv(folder / "labels.csv")
    assert table["frame"].tolist() == [2, 10, 100, 101, 102, 103]
    assert table.set_index("frame").loc[[10, 101], "anchor"].tolist() == [2, 100]


@pytest.mark.parametrize(
    "rows, message",
    [
        ("frame,valence,arousal\n", "no rows"),
        ("frame,valence,arousal\n7,,\n", "contains no label"),
        ("frame,valence,arousal\n3,5,-2\n", r"row 2.*AFEW-VA"),
        ("frame,valence,arousal\n3,1.5,0.2\n", r"row 2.*1\.5"),
        ("frame,valence,arousal\n600,0.5,0.2\n", r"row 2.*beyond the end, the last frame is 59"),
        ("time,valence,arousal\n33,0.5,0.2\n", r"row 2.*beyond the end"),
        ("frame,valence,arousal\n3,0.5,0.2\n3,0.4,0.2\n", r"row 3.*already has a label"),
        ("frame,valence,arousal\n3,0.5,0.2\n57,0.4,0.2\n", r"row 3.*frame 57 shows no face; label another"),
        ("frame,valence\n3,0.5\n", "arousal"),
    ],
)
def test_invalid_labels_are_refused_with_their_row(quick, clip, tmp_path, rows, message):
    before = set(Path(quick[3]).rglob("*"))
    labels = labels_file(tmp_path / "labels.csv", rows)
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", clip, "--labels", labels]))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(message, done.stderr.splitlines()[-1]), done.stderr
    assert set(Path(quick[3]).rglob("*")) == before  # No run folder is left.


def test_truncated_video_is_labelled_as_far_as_it_can_be_decoded(quick, tmp_path):
    path = write_video(tmp_path / "cut.avi", face_images([(0.2, 0.3)] * 40), 20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    labels = labels_file(tmp_path / "labels.csv", "frame,valence,arousal\n3,0.2,0.3\n")
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", path, "--labels", labels]))
    assert done.returncode == 0 and re.search(r"cut\.avi: \d+ of \d+ frames can be decoded", done.stderr), done.stderr
    table = pd.read_csv(Path(re.search(r"run folder +(.+)", done.stdout)[1]) / "labels.csv")
    assert 10 < len(table) < 30 and table["valence"].notna().all()


def test_labels_of_two_people_need_a_track(quick, two_people, tmp_path):
    path = two_people
    labels = labels_file(tmp_path / "labels.csv", "frame,valence,arousal,track\n3,0.2,0.3,0\n9,-0.5,0.1,1\n")
    folder, _ = label(*quick, "--video", path, "--labels", labels, "--track", "all", "--overlay")
    table = pd.read_csv(folder / "labels.csv")
    assert sorted(table["track"].dropna().unique()) == [0, 1]
    assert table.loc[table["support"], ["track", "frame"]].to_numpy().tolist() == [[0, 3], [1, 9]]
    unclear = labels_file(tmp_path / "unclear.csv", "frame,valence,arousal\n3,0.2,0.3\n")
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", path, "--labels", unclear, "--track", "all"]))
    assert done.returncode == 2 and "frame 3 shows tracks 0, 1; add a column `track`" in done.stderr
    folder, _ = label(*quick, "--video", path, "--labels", unclear)  # By default, the longest track is labelled.
    assert set(pd.read_csv(folder / "labels.csv")["track"].dropna()) == {0}


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--video", "nowhere.mp4"], "nowhere.mp4: no such file"),
        (["--video", "nowhere.mp4", "--labels", "x.csv"], "nowhere.mp4: no such file"),
        (["--video", "README.md", "--labels", "GOOD"], "README.md: not a video"),
        (["--video", "CLIP"], "no labels; name them by --labels"),
        (["--labels", "GOOD"], "labels is for a video of your own"),
        (["--video", "CLIP", "--labels", "nowhere.csv"], "nowhere.csv"),
        (["--video", "CLIP", "--labels", "GOOD", "--track", "7"], r"track '7': no such track"),
        (["--checkpoint", "nowhere.pt"], "nowhere.pt: there is no such file"),
    ],
)
def test_missing_files_and_settings_are_reported(quick, clip, tmp_path, argv, message):
    names = {"CLIP": str(clip), "GOOD": str(labels_file(tmp_path / "labels.csv"))}
    done = run_script("fsl_mtclar.py", *map(str, quick), *[names.get(word, word) for word in argv])
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(message, done.stderr.splitlines()[-1]), done.stderr


@pytest.mark.skipif(not VIDEOS.exists(), reason="these videos are not part of the project")
@pytest.mark.parametrize(
    "name, frames", [("single_face.mp4", 72), ("face_noface.mov", 169), ("WolfgangLanger_Pexels.mp4", 472)]
)
def test_real_videos(quick, tmp_path, name, frames):
    labels = labels_file(tmp_path / "labels.csv", "frame,valence,arousal\n5,0.5,0.2\n60,0.1,0.1\n")
    folder, _ = label(*quick, "--video", VIDEOS / name, "--labels", labels)
    table = pd.read_csv(folder / "labels.csv")
    assert len(table) == frames
    with_face = 72 if name == "face_noface.mov" else frames
    assert table.loc[table["frame"] < with_face, "valence"].notna().mean() >= 0.95
    assert table.loc[table["frame"] > with_face + 8, "valence"].isna().all()


@pytest.mark.skipif(not VIDEOS.exists(), reason="these videos are not part of the project")
def test_real_video_without_a_face_is_refused(quick, tmp_path):
    before = set(Path(quick[3]).rglob("*"))
    labels = labels_file(tmp_path / "labels.csv")
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", VIDEOS / "no_face.mp4", "--labels", labels]))
    assert done.returncode == 2 and "no face was found in" in done.stderr
    assert set(Path(quick[3]).rglob("*")) == before
