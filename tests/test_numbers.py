"""Extreme data (constant labels, clips of one frame, no frame left to predict, one person in a fold) and repeatability
of the scripts, with and without worker processes."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import finished, run_script

from datasets.demo.face import Person
from datasets.demo.paint import draw_face
from datasets.pairs import Neighbourhood, draw_pairs
from utils.runs.checkpoint import read_checkpoint

Label = Callable[[int, int, int], tuple[int, int]]
"""(person, clip, frame) → valence and arousal in tenths."""


def write_dataset(root: Path, lengths: tuple[int, ...], label: Label) -> Path:
    """Write a data set in AFEW-VA's layout: five people, so that each fold tests a single one.

    lengths: number of frames of each clip of a person.
    """
    for person in range(5):
        for clip, frames in enumerate(lengths):
            folder = root / f"{person}{clip}"
            folder.mkdir(parents=True)
            entries = {}
            for frame in range(frames):
                valence, arousal = label(person, clip, frame)
                image, points = draw_face(Person(), valence / 10, arousal / 10, size=96)
                cv2.imwrite(str(folder / f"{frame:05}.png"), image)
                entries[f"{frame:05}"] = {"valence": valence, "arousal": arousal, "landmarks": points.tolist()}
            document = {"video_id": folder.name, "actor": f"person {person}", "frames": entries}
            (folder / f"{folder.name}.json").write_text(json.dumps(document))
    return root


@pytest.fixture
def arguments(tiny_arguments, tmp_path):
    def make(lengths: tuple[int, ...], label: Label) -> list[str]:
        root = write_dataset(tmp_path / "set", lengths, label)
        return [
            *tiny_arguments,
            "--dataset",
            "afewva",
            "--data.root",
            str(root),
            "--data.cache",
            "null",
            "--train.subjects",
            "0",
            "--train.batch",
            "4",
            "--train.epoch_size",
            "8",
            "--data.validation_share",
            "0.3",
            "--runs",
            str(tmp_path / "runs"),
        ]

    return make


def label_clips(checkpoint: Path, runs: Path, *more: str) -> tuple[Path, str]:
    return finished(
        "fsl_mtclar.py",
        "--checkpoint",
        str(checkpoint),
        "--runs",
        str(runs),
        "--runtime.precision",
        "float32",
        "--runtime.device",
        "cpu",
        *more,
    )


def test_constant_labels(arguments, tmp_path):
    """All pairs are similar and all differences are 0, so correlations are 0 and errors are those of the network."""
    run, printed = finished("mtclar.py", *arguments((4,), lambda person, clip, frame: (3, -2)))
    scores = json.loads((run / "scores.json").read_text())
    assert scores["delta_valence_PCC"] == scores["delta_valence_CCC"] == 0 and scores["delta_valence_RMSE"] > 0
    assert pd.read_csv(run / "predictions.csv")["similar"].eq(1).all() and "nan" not in printed.lower()
    assert all(np.isfinite(value) for value in json.loads((run / "log.jsonl").read_text().splitlines()[-1]).values())
    folder, _ = label_clips(run / "best.pt", tmp_path, "--support_set.amount", "2")
    table = pd.read_csv(folder / "scores.csv").set_index("method")
    assert np.allclose(table.loc["linear", "valence_RMSE"], 0, atol=1e-6)
    linear = table.loc["linear"].set_index("average")
    assert linear.loc["pooled", "valence_CCC"] == 0
    # A clip of constant labels has no correlation: it is left out of the mean over clips, and counted.
    assert np.isnan(linear.loc["clips", "valence_CCC"]) and linear.loc["clips", "valence_constant_clips"] > 0


def test_clips_of_support_frames_only_keep_their_labels_and_get_no_score(arguments, tmp_path):
    """The test set is one person with clips of one and of two frames."""
    run, _ = finished("mtclar.py", *arguments((1, 2, 1), lambda person, clip, frame: (3 * clip - 4, person)))
    folder, printed = label_clips(run / "best.pt", tmp_path, "--support_set.amount", "1")
    labels, scores = pd.read_csv(folder / "labels.csv"), pd.read_csv(folder / "scores.csv")
    assert len(labels) == 4 and labels["support"].all()
    np.testing.assert_allclose(labels["valence"], labels["valence_true"], atol=1e-6)
    assert (scores["frames"] == 0).all() and scores.filter(like="RMSE").isna().all(axis=None)
    assert "4 frames of 3 clips, 4 of them support frames (100.0%)" in printed


def test_a_clip_of_one_frame_is_its_own_support_set(arguments, tmp_path):
    run, _ = finished("mtclar.py", *arguments((1, 3), lambda person, clip, frame: (frame, -person)))
    strategy = ["--support_set.strategy", "diverse_k", "--support_set.amount", "2"]
    folder, _ = label_clips(run / "best.pt", tmp_path, *strategy)
    labels = pd.read_csv(folder / "labels.csv", dtype={"clip": str})
    assert labels.groupby("clip")["support"].agg(list).map(sum).tolist() == [1, 2] and labels["valence"].notna().all()
    assert (pd.read_csv(folder / "scores.csv")["frames"] == 1).all()


def test_too_few_test_images_are_reported_before_training(arguments, tmp_path):
    done = run_script("mtclar.py", *arguments((1,), lambda person, clip, frame: (person, -person)))
    assert done.returncode == 2 and "fewer than two images" in done.stderr
    assert not list(tmp_path.rglob("*.pt"))


def test_pairs_of_equal_labels_are_all_similar():
    frames = pd.DataFrame({"valence": np.full(6, 0.3), "arousal": np.full(6, -0.2)})
    pairs = draw_pairs(Neighbourhood(frames, 0.2), 10, np.random.default_rng(0))
    assert pairs.similar.all() and (pairs.first != pairs.second).all()


def test_repeated_runs_are_equal_with_and_without_worker_processes(tiny_arguments, tmp_path):
    """The runs have separate folders and caches, so the second one uses no result of the first one."""
    results = []
    for workers in ("0", "2"):
        root = tmp_path / workers
        options = ["--data.workers", workers, "--data.cache", str(root / "cache")]
        run, _ = finished("mtclar.py", *tiny_arguments, *options, "--runs", str(root))
        folder, _ = label_clips(run / "best.pt", root, "--support_set.amount", "3", *options)
        log = [json.loads(line) | {"seconds": 0} for line in (run / "log.jsonl").open()]
        tables = [(run / name).read_bytes() for name in ("predictions.csv", "scores.json")]
        tables += [(folder / name).read_bytes() for name in ("labels.csv", "scores.csv")]
        weights = [read_checkpoint(run / name, "mtclar")["model"] for name in ("best.pt", "last.pt")]
        results.append((log, tables, weights))
    assert results[0][:2] == results[1][:2]
    for one, other in zip(results[0][2], results[1][2], strict=True):
        assert list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)
