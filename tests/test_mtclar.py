"""mtclar.py from end to end, called as a user calls it; encoding, comparison and evaluation of pairs."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import finished, run_script
from published import emonet_state

from datasets.pairs import Pairs
from models.mtclar import MTCLAR
from utils.compute.data import CropReader, read_splits
from utils.compute.encoding import compare_pairs, encode_crops_eagerly
from utils.compute.runtime import make_runtime
from utils.training.pair_evaluation import PairEvaluator, pair_scores, used_rows
from utils.training.pair_training import PairTraining

ROOT = Path(__file__).parents[1]
FACES = ROOT.parent / "shared" / "data" / "faces"


def test_demo_run_writes_all_files(demo_run):
    folder, printed = demo_run
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "settings.yaml",
        "log.jsonl",
        "last.pt",
        "best.pt",
        "tensorboard",
        "predictions.csv",
        "scores.json",
        "splits.json",
        "similarity_confusion.png",
        "delta_scatter.png",
        "pairs.png",
    }
    lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
    assert [line["epoch"] for line in lines] == [0, 1]
    terms = {"similarity", "embedding", "delta_valence", "delta_arousal", "loss"}
    assert {f"train/{term}" for term in terms} <= set(lines[0]) and "validation/delta_valence_CCC" in lines[0]
    scores = json.loads((folder / "scores.json").read_text())
    predictions = pd.read_csv(folder / "predictions.csv", dtype={"clip_1": str, "clip_2": str})
    for name, value in pair_scores(predictions).items():
        assert value == pytest.approx(scores[name], abs=1e-3), name
    assert f"similarity accuracy {scores['similarity_accuracy']:.3f}" in printed
    assert re.search(r"Δvalence +-?\d\.\d{3} +-?\d\.\d{3}", printed)


def test_tensorboard_events_hold_losses_figures_and_learning_rate(demo_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(demo_run[0] / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "validation/similarity_accuracy"} <= set(events.Tags()["scalars"])
    assert {"validation/pairs", "validation/confusion"} <= set(events.Tags()["images"])


def test_checkpoint_loads_with_weights_only_and_holds_its_settings(demo_run):
    content = torch.load(demo_run[0] / "best.pt", weights_only=True)
    assert content["settings"]["model"]["width"] == 16 and content["epoch"] in (1, 2)
    MTCLAR(16).load_state_dict(content["model"])


def test_resuming_a_finished_run_evaluates_it_again(demo_run):
    folder, printed = demo_run
    resumed_folder, output = finished("mtclar.py", "--train.resume", str(folder))
    assert resumed_folder == folder and output == printed


def test_a_run_can_be_resumed_only_with_its_own_settings(demo_run):
    done = run_script("mtclar.py", "--train.resume", str(demo_run[0]), "--train.epochs", "5")
    assert done.returncode == 2 and "train.epochs is 2 in the run to resume" in done.stderr


def test_paper_settings_run(tiny_arguments, tmp_path):
    torch.save(emonet_state(), tmp_path / "emonet_8.pth")
    folder, _ = finished(
        "mtclar.py",
        *tiny_arguments,
        "--runs",
        str(tmp_path),
        "--preset",
        "paper",
        "--model.emonet",
        str(tmp_path / "emonet_8.pth"),
        "--model.width",
        "256",
        "--data.image_size",
        "64",
        "--train.batch",
        "4",
        "--train.subjects",
        "0",
        "--train.epochs",
        "1",
        "--train.epoch_size",
        "8",
        "--pairs.similar_by",
        "expression",
    )
    content = torch.load(folder / "best.pt", weights_only=True)
    start = emonet_state()
    assert torch.equal(content["model"]["encoder.landmarks.conv.weight"], start["conv1.weight"])
    assert not torch.equal(content["model"]["encoder.emotion.reduce.weight"], start["conv1x1_input_emo_2.weight"])


@pytest.mark.skipif(not FACES.exists(), reason="needs photographs that are not part of the project")
def test_real_photographs_without_valence_and_arousal(tiny_arguments, tmp_path):
    _, printed = finished(
        "mtclar.py",
        *tiny_arguments,
        "--dataset",
        "affectnet",
        "--data.root",
        str(FACES),
        "--runs",
        str(tmp_path),
        "--train.subjects",
        "0",
        "--train.epochs",
        "1",
        "--data.cache",
        str(tmp_path / "cache"),
    )
    assert printed.count("not labelled") == 8


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--dataset", "afewva"], r"nowhere.*<clip>\.json"),
        (["--dataset", "affectnet"], r"nowhere.*training\.csv"),
        (["--dataset", "demo", "--model.emonet", "no.pth", "--model.width", "256"], "no.pth: no published EmoNet"),
        (["--dataset", "demo", "--runtime.device", "cuda:7"], "cuda:7 is not available"),
        (["--train.resume", "nowhere"], "nowhere"),
    ],
)
def test_missing_files_and_devices_are_reported(tiny_arguments, tmp_path, argv, message):
    root = [] if "demo" in argv else ["--data.root", "nowhere"]
    done = run_script("mtclar.py", *tiny_arguments, "--runs", str(tmp_path), *root, *argv)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(message, done.stderr.splitlines()[-1]), done.stderr


def test_a_file_that_is_no_image_stops_the_run_and_is_named(tiny_demo, tiny_arguments, tmp_path):
    root = shutil.copytree(tiny_demo, tmp_path / "set")
    for image in root.glob("*/00002.png"):
        image.write_text("no image")
    done = run_script(
        "mtclar.py",
        *tiny_arguments,
        "--dataset",
        "afewva",
        "--data.root",
        str(root),
        "--runs",
        str(tmp_path),
        "--data.cache",
        "null",
        "--data.workers",
        "1",
    )
    assert done.returncode == 2 and "00002.png: not an image" in done.stderr and "Traceback" not in done.stderr


def test_test_pairs_are_fixed_and_their_predictions_are_those_of_the_network(tiny_settings):
    splits, crops = read_splits(tiny_settings), CropReader(tiny_settings)
    runtime = make_runtime(tiny_settings.runtime)
    model = MTCLAR(16).eval()
    one, two = (PairEvaluator(splits.test, 30, 2, crops, tiny_settings) for _ in range(2))
    first, second = one.evaluate(model, runtime), two.evaluate(model, runtime)
    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.scores == second.scores
    images = torch.stack([crops(one.frames)[row][:, 4:68, 4:68] for row in range(len(one.frames))]).float() / 255
    with torch.inference_mode():
        direct = model(images[one.pairs.first], images[one.pairs.second])
    np.testing.assert_allclose(first.table["delta_arousal_predicted"], direct.delta_arousal, atol=1e-5)
    labels = one.frames["valence"].to_numpy()
    np.testing.assert_allclose(first.table["delta_valence"], labels[one.pairs.first] - labels[one.pairs.second])


def test_embeddings_do_not_depend_on_the_batch(tiny_settings):
    frames = read_splits(tiny_settings).test
    crops, model = CropReader(tiny_settings)(frames), MTCLAR(16).eval()
    embeddings = encode_crops_eagerly(model, crops, make_runtime(tiny_settings.runtime))
    assert len(embeddings) == len(frames)
    with torch.inference_mode():
        for row in (0, len(frames) - 1):
            alone = model.encode(crops[row][None, :, 4:68, 4:68].float() / 255)[0]
            torch.testing.assert_close(embeddings[row], alone, rtol=1e-4, atol=1e-5)


def test_used_rows_of_pairs():
    pairs = Pairs(np.array([7, 3]), np.array([3, 9]), np.array([True, False]))
    rows, indexed = used_rows(pairs)
    assert rows.tolist() == [3, 7, 9] and indexed.first.tolist() == [1, 0] and indexed.second.tolist() == [0, 2]


def test_each_pair_of_a_batch_is_compared_once(tiny_settings):
    splits, crops = read_splits(tiny_settings), CropReader(tiny_settings)
    training = PairTraining(MTCLAR(16), splits, crops, tiny_settings, make_runtime(tiny_settings.runtime))
    labels = splits.train[["valence", "arousal"]].to_numpy()
    batches = list(training.batches(0))
    assert len(batches) == training.steps() == 2
    plan = training._plan(np.random.default_rng([0, 3, 0]))
    for batch, (rows, _, _) in zip(batches, plan, strict=True):
        pairs = {frozenset(pair) for pair in zip(batch.first.tolist(), batch.second.tolist(), strict=True)}
        assert len(pairs) == len(batch.first) == 8 * 7 // 2 and all(len(pair) == 2 for pair in pairs)
        deltas = labels[rows[batch.first]] - labels[rows[batch.second]]
        np.testing.assert_allclose(batch.targets.delta_valence, deltas[:, 0])
        assert np.array_equal(batch.targets.similarity_label, np.linalg.norm(deltas, axis=1) <= 0.2001)
    again = next(iter(training.batches(0)))
    assert torch.equal(again.images, batches[0].images)


def test_comparison_does_not_depend_on_the_batch_size(tiny_settings, monkeypatch):
    model, runtime = MTCLAR(16).eval(), make_runtime(tiny_settings.runtime)
    embeddings, rng = torch.randn(9, 256), np.random.default_rng(0)
    pairs = Pairs(rng.integers(0, 9, 23), rng.integers(0, 9, 23), np.zeros(23, bool))
    at_once = compare_pairs(model, embeddings, pairs, runtime)
    monkeypatch.setattr("utils.compute.encoding.PAIRS_PER_BATCH", 5)
    for one, other in zip(at_once, compare_pairs(model, embeddings, pairs, runtime), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fusion", ["absolute", "multiply"])
def test_symmetric_fusion_is_trained_with_a_warning_and_refused_for_labelling(tiny_arguments, tmp_path, fusion):
    arguments = [*tiny_arguments, "--model.fusion", fusion, "--train.epochs", "1", "--runs", str(tmp_path)]
    trained = run_script("mtclar.py", *arguments)
    assert trained.returncode == 0 and f"model.fusion {fusion} is symmetric" in trained.stderr
    (checkpoint,) = tmp_path.glob("mtclar/*/best.pt")
    refused = run_script("fsl_mtclar.py", "--checkpoint", str(checkpoint), "--runs", str(tmp_path))
    assert refused.returncode == 2 and "train one with model.fusion concat" in refused.stderr
    assert not (tmp_path / "fsl_mtclar").exists()
