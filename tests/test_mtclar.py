"""mtclar.py from end to end, as a user calls it."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import finished, run_script
from published import emonet_state

from datasets.pairs import Pairs
from models.mtclar import MTCLAR
from utils.data import CropReader, read_splits
from utils.embed import compare, embed, used_rows
from utils.pair_training import PairTest, PairTraining, pair_scores
from utils.runtime import make_runtime

ROOT = Path(__file__).parents[1]
FACES = ROOT.parent / "shared" / "data" / "faces"


def test_demo_run_writes_all_it_should(demo_run):
    folder, printed = demo_run
    names = {path.name for path in folder.iterdir()}
    assert names == {"settings.yaml", "log.jsonl", "last.pt", "best.pt", "tensorboard", "predictions.csv",
                     "scores.json", "similarity_confusion.png", "delta_scatter.png", "pairs.png"}  # fmt: skip
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


def test_events_hold_losses_figures_and_learning_rate(demo_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(demo_run[0] / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "validation/similarity_accuracy"} <= set(events.Tags()["scalars"])
    assert {"validation/pairs", "validation/confusion"} <= set(events.Tags()["images"])


def test_checkpoint_loads_with_weights_only_and_names_its_settings(demo_run):
    content = torch.load(demo_run[0] / "best.pt", weights_only=True)
    assert content["settings"]["model"]["width"] == 16 and content["epoch"] in (1, 2)
    MTCLAR(16).load_state_dict(content["model"])


def test_resuming_a_finished_run_evaluates_it_again(demo_run):
    folder, printed = demo_run
    again, output = finished("mtclar.py", "--train.resume", str(folder))
    assert again == folder and output == printed


def test_a_run_goes_on_under_its_own_settings_alone(demo_run):
    done = run_script("mtclar.py", "--train.resume", str(demo_run[0]), "--train.epochs", "5")
    assert done.returncode == 2 and "train.epochs is 2 in the run to go on with" in done.stderr


def test_paper_settings_run(tiny_arguments, tmp_path):
    torch.save(emonet_state(), tmp_path / "emonet_8.pth")
    folder, _ = finished(
        "mtclar.py", *tiny_arguments, "--runs", str(tmp_path), "--preset", "paper",
        "--model.emonet", str(tmp_path / "emonet_8.pth"),
        "--model.width", "256", "--data.image_size", "64", "--train.batch", "4", "--train.subjects", "0",
        "--train.epochs", "1", "--train.epoch_size", "8", "--pairs.similar_by", "expression",
    )  # fmt: skip
    content = torch.load(folder / "best.pt", weights_only=True)
    start = emonet_state()
    assert torch.equal(content["model"]["encoder.landmarks.conv.weight"], start["conv1.weight"])
    assert not torch.equal(content["model"]["encoder.emotion.reduce.weight"], start["conv1x1_input_emo_2.weight"])


@pytest.mark.skipif(not FACES.exists(), reason="the photographs are not part of the project")
def test_real_photographs_without_valence_and_arousal(tiny_arguments, tmp_path):
    _, printed = finished(
        "mtclar.py", *tiny_arguments, "--dataset", "affectnet", "--data.root", str(FACES), "--runs", str(tmp_path),
        "--train.subjects", "0", "--train.epochs", "1", "--data.cache", str(tmp_path / "cache"),
    )  # fmt: skip
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
def test_what_is_missing_is_said(tiny_arguments, tmp_path, argv, message):
    root = [] if "demo" in argv else ["--data.root", "nowhere"]
    done = run_script("mtclar.py", *tiny_arguments, "--runs", str(tmp_path), *root, *argv)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(message, done.stderr.splitlines()[-1]), done.stderr


def test_an_image_that_is_none_stops_the_run_by_name(tiny_demo, tiny_arguments, tmp_path):
    import shutil

    root = shutil.copytree(tiny_demo, tmp_path / "set")
    for image in root.glob("*/00002.png"):
        image.write_text("no image")
    done = run_script(
        "mtclar.py", *tiny_arguments, "--dataset", "afewva", "--data.root", str(root), "--runs", str(tmp_path),
        "--data.cache", "null", "--data.workers", "1",
    )  # fmt: skip
    assert done.returncode == 2 and "00002.png: not an image" in done.stderr and "Traceback" not in done.stderr


def test_test_pairs_are_the_same_at_every_call_and_their_results_those_of_the_network(tiny_settings):
    splits, crops = read_splits(tiny_settings), CropReader(tiny_settings)
    runtime = make_runtime(tiny_settings.runtime)
    model = MTCLAR(16).eval()
    one, two = (PairTest(splits.test, 30, 2, crops, tiny_settings) for _ in range(2))
    first, second = one.run(model, runtime), two.run(model, runtime)
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    assert first.scores == second.scores
    images = torch.stack([crops(one.frames)[row][:, 4:68, 4:68] for row in range(len(one.frames))]).float() / 255
    with torch.inference_mode():
        slow = model(images[one.pairs.first], images[one.pairs.second])
    np.testing.assert_allclose(first.predictions["delta_arousal_predicted"], slow.delta_arousal, atol=1e-5)
    labels = one.frames["valence"].to_numpy()
    np.testing.assert_allclose(first.predictions["delta_valence"], labels[one.pairs.first] - labels[one.pairs.second])


def test_embeddings_are_those_of_each_image(tiny_settings):
    frames = read_splits(tiny_settings).test
    crops, model = CropReader(tiny_settings)(frames), MTCLAR(16).eval()
    found = embed(model, crops, make_runtime(tiny_settings.runtime))
    assert len(found) == len(frames)
    with torch.inference_mode():
        for row in (0, len(frames) - 1):
            alone = model.encode(crops[row][None, :, 4:68, 4:68].float() / 255)[0]
            torch.testing.assert_close(found[row], alone, rtol=1e-4, atol=1e-5)


def test_pairs_count_only_the_rows_they_use():
    pairs = Pairs(np.array([7, 3]), np.array([3, 9]), np.array([True, False]))
    rows, among = used_rows(pairs)
    assert rows.tolist() == [3, 7, 9] and among.first.tolist() == [1, 0] and among.second.tolist() == [0, 2]


def test_all_pairs_of_a_batch_meet_once(tiny_settings):
    splits, crops = read_splits(tiny_settings), CropReader(tiny_settings)
    task = PairTraining(MTCLAR(16), splits, crops, tiny_settings, make_runtime(tiny_settings.runtime))
    labels = splits.train[["valence", "arousal"]].to_numpy()
    batches = list(task.batches(0))
    assert len(batches) == task.steps() == 2
    rows = [line for line, _, _ in task._plan(np.random.default_rng([0, 3, 0]))]
    for batch, line in zip(batches, rows, strict=True):
        met = {frozenset(pair) for pair in zip(batch.first.tolist(), batch.second.tolist(), strict=True)}
        assert len(met) == len(batch.first) == 8 * 7 // 2 and all(len(pair) == 2 for pair in met)
        wanted = labels[line[batch.first]] - labels[line[batch.second]]
        np.testing.assert_allclose(batch.targets.delta_valence, wanted[:, 0])
        assert np.array_equal(batch.targets.similar, np.linalg.norm(wanted, axis=1) <= 0.2001)
    again = next(iter(task.batches(0)))
    assert torch.equal(again.images, batches[0].images)




def test_comparing_in_chunks_is_the_same(tiny_settings, monkeypatch):
    model, runtime = MTCLAR(16).eval(), make_runtime(tiny_settings.runtime)
    embeddings, rng = torch.randn(9, 256), np.random.default_rng(0)
    pairs = Pairs(rng.integers(0, 9, 23), rng.integers(0, 9, 23), np.zeros(23, bool))
    whole = compare(model, embeddings, pairs, runtime)
    monkeypatch.setattr("utils.embed.CHUNK", 5)
    for one, other in zip(whole, compare(model, embeddings, pairs, runtime), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
