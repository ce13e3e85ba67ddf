"""mtclar_sl.py: features, the head's training, its report, and its use on videos."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from clips import face_images, write_video
from conftest import finished, run_script
from published import emonet_state

from datasets.annotations import Timeline
from datasets.demo import label_trace
from datasets.frames import EXPRESSIONS, DataError, Splits
from datasets.labels import read_labels
from models.mtclar import MTCLAR
from models.supervised import Supervised, SupervisedHead
from utils import engine
from utils.checkpoint import load_supervised
from utils.config import commented_yaml, load_settings, merge_layers
from utils.data import CropReader, read_splits
from utils.embed import EmbeddingCache
from utils.errors import CheckpointError, SettingsError
from utils.metrics import regression_scores
from utils.run_folder import RunFolder
from utils.runtime import make_runtime, seed_step
from utils.supervised.baselines import logistic_answer, ridge_answer
from utils.supervised.features import FeatureReader, Features, labelled_splits
from utils.supervised.folds import Fold, prepare_fold, run_fold
from utils.supervised.report import HEAD, score_folds, verdict
from utils.supervised.settings import SUPERVISED_PAPER, PredictSettings, SupervisedSettings
from utils.supervised.targets import TARGETS, class_weights
from utils.supervised.training import SupervisedTraining
from utils.trained import with_checkpoint

ROOT = Path(__file__).parents[1]
FACES = ROOT.parent / "shared" / "data" / "faces"


def learn(*argv) -> tuple[Path, str]:
    return finished("mtclar_sl.py", *map(str, argv))


def refused(*argv) -> str:
    """The one message of a script that must end with code 2."""
    done = run_script(*map(str, argv))
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


def load(*argv) -> SupervisedSettings:
    return load_settings(SupervisedSettings, "mtclar_sl", str(ROOT / "mtclar_sl_config.yaml"), "", list(map(str, argv)))


def prepare_folds(*argv) -> list[Fold]:
    return [prepare_fold(fold) for fold in load(*argv).folds()]


@pytest.fixture(scope="module")
def folds_run(sl_arguments, tmp_path_factory):
    return learn(*sl_arguments, "--runs", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def expression_run(sl_arguments, tmp_path_factory):
    return learn(*sl_arguments, "--runs", tmp_path_factory.mktemp("runs"), "--task", "expression", "--data.fold", 0)


@pytest.fixture
def settings(sl_arguments, tmp_path) -> SupervisedSettings:
    (fold,) = load(*sl_arguments, "--data.fold", 0, "--runs", tmp_path / "runs").folds()
    fold.data.image_size = 64
    return fold


@pytest.fixture
def model():
    return Supervised(MTCLAR(16).encoder, SupervisedHead(2, tanh=True))


def reader(model, settings, folder: Path, weights: str = "weights") -> FeatureReader:
    runtime = make_runtime(settings.runtime)
    (folder / "w.pt").write_text(weights)
    return FeatureReader(model, EmbeddingCache(folder, folder / "w.pt", runtime), CropReader(settings), runtime, 0)


# Settings


def test_shipped_file_holds_every_setting_with_its_meaning_and_default():
    assert commented_yaml(SupervisedSettings) in (ROOT / "mtclar_sl_config.yaml").read_text()
    assert load() == SupervisedSettings(_cli_parse_args=False)


def test_paper_preset_and_folds():
    paper = load("--preset", "paper", "--train.epochs", "3").model_dump()
    for section, values in SUPERVISED_PAPER.items():
        wanted = values | ({"epochs": 3} if section == "train" else {})
        assert {key: paper[section][key] for key in values} == wanted
    settings = load("--dataset", "afewva", "--checkpoint", "a/{fold}/best.pt")
    assert [(fold.data.fold, str(fold.checkpoint)) for fold in settings.folds()] == [
        (str(n), f"a/{n}/best.pt") for n in range(5)]  # fmt: skip
    assert len(load("--dataset", "affectnet").folds()) == len(load("--data.fold", 3).folds()) == 1
    assert load("--dataset", "affectnet", "--task", "expression").balanced
    assert not load("--task", "expression").balanced and not load("--dataset", "affectnet").balanced


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--train.pairs", "all"], "no setting train.pairs"),
        (["--data.fold", "5"], "data.fold: .*'4' or 'all'"),
        (["--checkpoint", "a", "--emonet", "b"], "both name an encoder"),
        (["--train.sampling", "balanced"], "needs task expression"),
    ],
)
def test_wrong_settings_are_refused(argv, message):
    with pytest.raises(SettingsError, match=message):
        load(*argv)


def test_latest_goes_on_with_the_encoder_that_the_run_began_with(tmp_path):
    def settings(*argv):
        argv = ["--runs", str(tmp_path), *argv]
        return load_settings(PredictSettings, "mtclar_sl", "mtclar_sl_config.yaml", "", argv, with_checkpoint)

    for number in (1, 2):
        encoder = tmp_path / "mtclar" / f"2026-01-0{number}_10-00-00_demo"
        encoder.mkdir(parents=True)
        (encoder / "last.pt").write_text("")
        (encoder / "best.pt").write_text("")
        if number == 1:
            run = RunFolder.create(settings(), "mtclar_sl").part("fold_0")
            (run.path / "last.pt").write_text("")
            assert settings("--train.resume", "latest").train.resume == run.path.parent
    assert settings("--train.resume", "latest").train.resume is None  # there is a newer encoder now
    assert settings("--train.resume", str(run.path.parent)).checkpoint.parent.name == "2026-01-01_10-00-00_demo"


# Features


def test_features_are_those_of_each_image_and_none_is_dropped(settings, model, tmp_path):
    for frames in read_splits(settings):
        found = reader(model, settings, tmp_path)(frames)
        assert len(found.embeddings) == len(found.frames) == len(frames)
        crops = CropReader(settings)(frames)
        with torch.inference_mode():
            for row in (0, len(frames) // 2, len(frames) - 1):
                alone = model.encode(crops[row][None, :, 4:68, 4:68].float() / 255)[0]
                torch.testing.assert_close(found.embeddings[row], alone, rtol=1e-4, atol=1e-5)


def test_cached_features_are_the_fresh_ones_and_only_of_these_weights(settings, model, tmp_path, monkeypatch):
    frames = read_splits(settings).validation
    fresh = reader(model, settings, tmp_path)(frames).embeddings
    other = Supervised(MTCLAR(16).encoder, model.head)
    assert not torch.equal(reader(other, settings, tmp_path, "other weights")(frames).embeddings, fresh)
    monkeypatch.setattr("utils.embed.embed", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(reader(other, settings, tmp_path)(frames).embeddings, fresh)


def test_single_images_share_files_of_the_cache(settings, model, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.supervised.features.CHUNK", 4)
    frames = read_splits(settings).validation
    stills = frames.assign(clip=[f"image {row}" for row in range(len(frames))])
    together, alone = (reader(model, settings, tmp_path / name) if (tmp_path / name).mkdir() is None else None
                       for name in ("a", "b"))  # fmt: skip
    torch.testing.assert_close(together(stills).embeddings, alone(frames).embeddings, rtol=1e-4, atol=1e-5)
    assert len(list((tmp_path / "a").glob("*.npz"))) == -(-len(frames) // 4)


def test_copies_are_changed_images_fixed_by_the_seed(settings, model, tmp_path):
    settings.train.copies = 2
    read = reader(model, settings, tmp_path)
    plain = read(read_splits(settings).validation)
    rows = len(plain.frames)
    first = read.with_copies(plain, settings)
    assert len(first.embeddings) == len(first.frames) == 3 * rows and torch.equal(first.embeddings[:rows],
                                                                                 plain.embeddings)  # fmt: skip
    pd.testing.assert_frame_equal(first.frames[rows : 2 * rows].reset_index(drop=True), plain.frames)
    one, two = first.embeddings[rows : 2 * rows], first.embeddings[2 * rows :]
    assert not torch.equal(one, two) and not torch.equal(one, plain.embeddings)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    assert torch.equal(reader(model, settings, tmp_path).with_copies(plain, settings).embeddings, first.embeddings)
    settings.seed = 1
    assert not torch.equal(reader(model, settings, tmp_path).with_copies(plain, settings).embeddings, first.embeddings)


# Training


def head_task(settings, rows: int = 40) -> SupervisedTraining:
    rng = np.random.default_rng(0)
    frames = pd.DataFrame({"clip": "a", "frame": range(rows), "expression": rng.integers(0, 3, rows)})
    frames = frames.assign(valence=rng.uniform(-1, 1, rows), arousal=rng.uniform(-1, 1, rows))
    features = Features(frames, torch.from_numpy(rng.standard_normal((rows, 256)).astype(np.float32)))
    seed_step(settings.seed)
    outputs = len(TARGETS[settings.task].outputs)
    return SupervisedTraining(SupervisedHead(outputs), features, features, settings, {})


@pytest.mark.parametrize("task, schedule", [("valence_arousal", "step"), ("expression", "onecycle")])
def test_interrupted_training_ends_as_the_uninterrupted_one(settings, task, schedule):
    settings = merge_layers(SupervisedSettings, [("", settings.model_dump()), ("", {"task": task})])
    settings.train.schedule, settings.train.epochs = schedule, 4
    runs = [RunFolder.create(settings, "mtclar_sl") for _ in range(2)]
    whole = head_task(settings)
    engine.fit(whole, runs[0], settings)
    cut = head_task(settings)
    batches = cut.batches

    def interrupted(epoch, *start):
        if epoch == 2:
            raise KeyboardInterrupt
        return batches(epoch, *start)

    cut.batches = interrupted
    with pytest.raises(KeyboardInterrupt):
        engine.fit(cut, runs[1], settings)
    resumed = head_task(settings)
    engine.fit(resumed, RunFolder.resume(runs[1].path), settings)
    for one, other in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("rows, batch", [(2, 2), (3, 2), (17, 16), (40, 512), (33, 16)])
def test_every_row_is_seen_once_an_epoch_and_no_batch_is_single(settings, rows, batch):
    settings.train.batch = batch
    task = head_task(settings, rows)
    batches = list(task.batches(0))
    assert len(batches) == task.steps() and min(map(len, batches)) >= 2
    assert sorted(torch.cat(batches).tolist()) == list(range(rows))
    assert not rows > 3 or torch.cat(batches).tolist() != torch.cat(list(task.batches(1))).tolist()


def test_balanced_sampling_draws_classes_alike(settings):
    settings.task, settings.train.sampling = "expression", "balanced"
    task = head_task(settings, 40)
    codes = np.concatenate([[2], np.zeros(39, int)])
    task.train.frames["expression"] = codes
    task = SupervisedTraining(task.model, task.train, task.train, settings, {})
    drawn = np.concatenate([codes[part] for epoch in range(50) for part in task.batches(epoch)])
    assert len(drawn) == 50 * 40 and np.mean(drawn == 2) == pytest.approx(0.5, abs=0.05)
    weights = class_weights(codes)
    assert weights[2] == pytest.approx(39 * weights[0]) and weights[1] == 0


def test_loss_is_error_and_concordance(settings):
    out, values = torch.randn(20, 2), torch.rand(20, 2)
    terms = TARGETS["valence_arousal"].loss(out, values, 0.3, None)
    for place, axis in enumerate(("valence", "arousal")):
        scores = regression_scores(out[:, place], values[:, place])
        assert terms[axis].item() == pytest.approx(0.3 * scores["RMSE"] ** 2 + 0.7 * (1 - scores["CCC"]), rel=1e-4)
    assert terms["loss"].item() == pytest.approx((terms["valence"] + terms["arousal"]).item() / 2)


# The report


def test_five_folds_test_everybody_once(folds_run, sl_demo):
    folder, printed = folds_run
    names = {path.name for path in folder.iterdir()}
    assert names == {"settings.yaml", "predictions.csv", "scores.csv", "valence_arousal.png"} | {
        f"fold_{n}" for n in range(5)}  # fmt: skip
    assert {path.name for path in (folder / "fold_3").iterdir()} == {"log.jsonl", "last.pt", "best.pt", "tensorboard"}
    table = pd.read_csv(folder / "predictions.csv", dtype={"clip": str})
    images = {(path.parent.name, int(path.stem)) for path in sl_demo.glob("*/*.png")}
    assert len(table) == len(images) and set(zip(table["clip"], table["frame"], strict=True)) == images
    assert table[["valence", "arousal"]].abs().max().max() <= 1
    scores = pd.read_csv(folder / "scores.csv")
    assert len(scores) == 15 and set(scores["method"]) == {HEAD, "mean", "ridge"}
    part = table[table["fold"] == 2]
    found = regression_scores(part["arousal"], part["arousal_true"])["CCC"]
    head = scores[scores["method"] == HEAD]
    assert head.set_index("fold").loc[2, "arousal_CCC"] == pytest.approx(found, abs=1e-4)
    mean, spread = head["valence_RMSE"].mean(), head["valence_RMSE"].std()
    assert re.search(rf"{re.escape(HEAD)} +{mean:.3f} ± {spread:.3f}", printed)


def test_resuming_a_finished_run_says_the_same(folds_run):
    folder, printed = folds_run
    (folder / "fold_4" / "last.pt").unlink()  # as if it had been interrupted before this fold
    again, output = learn("--train.resume", folder / "fold_2")
    assert again == folder and output == printed
    assert len((folder / "fold_4" / "log.jsonl").read_text().splitlines()) == 2


def test_a_run_goes_on_with_the_encoder_it_began_with_alone(sl_arguments, tmp_path):
    (fold,) = prepare_folds(*sl_arguments, "--data.fold", 0, "--runs", tmp_path)
    run, runtime = RunFolder.create(fold.settings, "mtclar_sl"), make_runtime(fold.settings.runtime)
    first = run_fold(fold, run, runtime)
    pd.testing.assert_frame_equal(run_fold(fold, run, runtime)[HEAD], first[HEAD])
    fold.encoder.network.emotion.reduce.bias += 1
    with pytest.raises(CheckpointError, match="features of other weights"):
        run_fold(fold, run, runtime)


def test_expressions_are_scored_and_class_absent_from_training_is_said(expression_run, sl_arguments, tmp_path):
    folder, printed = expression_run
    table = pd.read_csv(folder / "predictions.csv")
    assert set(table["expression"]) <= set(EXPRESSIONS) and {"last.pt", "expression.png"} <= {
        path.name for path in folder.iterdir()}  # fmt: skip
    np.testing.assert_allclose(table[[f"p_{name}" for name in EXPRESSIONS]].sum(axis=1), 1, atol=1e-4)
    scores = pd.read_csv(folder / "scores.csv").set_index("method")
    assert scores.loc[HEAD, "accuracy"] == pytest.approx(np.mean(table["expression"] == table["expression_true"]))
    assert list(scores.index) == [HEAD, "most frequent", "logistic"] and "images count alike" in printed


def test_averages_over_classes_are_over_those_that_occur():
    table = pd.DataFrame({"expression_true": ["happy", "happy", "sad"], "expression": ["happy", "anger", "happy"]})
    scores = TARGETS["expression"].score(table)
    assert scores["accuracy"] == pytest.approx(1 / 3) and scores["balanced_accuracy"] == pytest.approx(0.25)
    assert scores["macro_F1"] == pytest.approx((2 * 0.5 * 0.5 / 1 + 0) / 2)


def test_verdict_names_what_does_not_beat_the_regression():
    target, true = TARGETS["expression"], ["happy", "sad", "sad", "sad"]
    said = {HEAD: ["happy", "happy", "sad", "sad"], "logistic": true, "most frequent": ["sad"] * 4}
    tables = [{method: pd.DataFrame({"fold": 0, "expression_true": true, "expression": words})
               for method, words in said.items()}]  # fmt: skip
    lines = verdict(score_folds(tables, target), "expression", target).splitlines()
    assert "no better than logistic in accuracy (0.750 against 1.000)" in lines[0]
    assert "no better than most frequent in accuracy (0.750 against 0.750)" in lines[1] and "macro" not in lines[1]


def test_regressions_find_what_is_linear_and_survive_absent_classes():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 256)).astype(np.float32)
    labels = np.tanh(x[:, :2])
    frames = pd.DataFrame(labels, columns=["valence", "arousal"]).assign(clip="a", frame=range(300))
    frames["expression"] = np.where(x[:, 0] > 0, 3, 6)
    cuts = slice(200), slice(200, 250), slice(250, 300)
    parts = [Features(frames[rows].copy(), torch.from_numpy(x[rows])) for rows in cuts]
    parts[1].frames.loc[200, "expression"] = 1  # a class that is in validation alone
    assert regression_scores(ridge_answer(*parts)[:, 0], labels[250:, 0])["PCC"] > 0.4
    answer = logistic_answer(*parts, balanced=True)
    assert answer.shape == (50, 8) and np.all(answer[:, [0, 1, 2, 4, 5, 7]] == 0)
    assert np.mean(answer.argmax(1) == frames["expression"][250:]) > 0.6


# What is wrong


@pytest.mark.parametrize("name, value", [("demo.seed", 0), ("seed", 1)])
def test_people_of_the_encoders_training_are_never_tested(sl_arguments, tiny_demo, tmp_path, name, value):
    same = ["--data.root", tiny_demo, "--demo.seed", 0]
    before = set(tiny_demo.parent.rglob("*.json"))
    argv = ["mtclar_sl.py", *sl_arguments, *same, "--data.fold", 0, f"--{name}", value, "--runs", tmp_path]
    if name == "demo.seed":
        argv += ["--data.fold", "all", "--data.root", tmp_path / "elsewhere"]  # the same people at another place
    assert "people that the network was trained on" in refused(*argv)
    assert not list(tmp_path.glob("mtclar_sl/*")) and set(tiny_demo.parent.rglob("*.json")) == before


def test_the_encoders_own_split_is_fine_and_each_fold_may_have_an_encoder(sl_arguments, tiny_demo, tmp_path):
    own = ["--dataset", "afewva", "--data.root", tiny_demo, "--runs", tmp_path / "runs"]
    assert len(prepare_folds(*sl_arguments, *own, "--data.fold", 0)) == 1
    encoder = Path(sl_arguments[sl_arguments.index("--checkpoint") + 1])
    content = torch.load(encoder, weights_only=True)
    for fold in range(5):
        (tmp_path / f"10_fold{fold}").mkdir()
        content["settings"]["data"]["fold"] = fold
        torch.save(content, tmp_path / f"10_fold{fold}" / "best.pt")
    folds = prepare_folds(*sl_arguments, *own, "--checkpoint", tmp_path / "*_fold{fold}" / "best.pt")
    assert [fold.encoder.path.parent.name for fold in folds] == [f"10_fold{number}" for number in range(5)]
    assert len(set(pd.concat([fold.splits.test for fold in folds])["subject"])) == 12
    message = refused("mtclar_sl.py", *sl_arguments, *own, "--checkpoint", tmp_path / "10_fold2" / "best.pt")
    assert "data.fold is 2" in message and "*_fold{fold}" in message
    nowhere = tmp_path / "*" / "no{fold}.pt"
    assert "nothing fits" in refused("mtclar_sl.py", *sl_arguments, *own, "--checkpoint", nowhere)


def test_expressions_without_labels(sl_arguments, sl_demo, tmp_path):
    root = shutil.copytree(sl_demo, tmp_path / "set")
    (root / "expressions.csv").unlink()
    message = refused("mtclar_sl.py", *sl_arguments, "--dataset", "afewva", "--data.root", root, "--runs", tmp_path,
                      "--task", "expression")  # fmt: skip
    assert re.search(r"none of \d+ train images has expression classes .*data\.expressions", message)


def test_checkpoints_of_the_wrong_kind(folds_run, sl_arguments, demo_run, tmp_path):
    head = folds_run[0] / "fold_0" / "best.pt"
    runs = ["--runs", tmp_path]
    assert "not a checkpoint of mtclar but of supervised" in refused(
        "mtclar_sl.py", *sl_arguments, *runs, "--checkpoint", head)  # fmt: skip
    assert "not a checkpoint of supervised but of mtclar" in refused(
        "mtclar_sl.py", "--predict", "x.mp4", "--checkpoint", demo_run[0] / "best.pt", *runs)  # fmt: skip
    assert "name the best.pt" in refused(
        "mtclar_sl.py", "--predict", "x.mp4", "--checkpoint", head.with_name("last.pt"), *runs)  # fmt: skip
    assert "not a checkpoint of mtclar but of supervised" in refused("fsl_mtclar.py", "--checkpoint", head, *runs)
    assert "no run yet; train one by `python mtclar_sl.py`" in refused("mtclar_sl.py", "--predict", "x.mp4", *runs)


def test_splits_without_rows_and_classes():
    def frames(*codes):
        return pd.DataFrame({"expression": codes, "valence": [0.1] * len(codes), "arousal": [np.nan] * len(codes)})

    expression = TARGETS["expression"]
    with pytest.raises(DataError, match="none of 2 test images has expression"):
        labelled_splits(Splits(frames(1, 2), frames(1), frames(-1, -1)), expression)
    with pytest.raises(DataError, match="one expression class, sad"):
        labelled_splits(Splits(frames(2, 2), frames(1), frames(1)), expression)
    with pytest.raises(DataError, match="only one training image"):
        labelled_splits(Splits(frames(2, -1), frames(1), frames(1)), expression)
    with pytest.raises(DataError, match="none of 2 train images has valence and arousal"):
        labelled_splits(Splits(frames(1, 2), frames(1), frames(1)), TARGETS["valence_arousal"])
    kept = labelled_splits(Splits(frames(1, 2, -1), frames(1), frames(4, -1)), expression)
    assert [len(part) for part in kept] == [2, 1, 1]


def test_classes_absent_from_a_split_are_warned_of(caplog):
    parts = [pd.DataFrame({"expression": codes}) for codes in ([1, 2], [1], [4])]
    TARGETS["expression"].check(Splits(*parts))
    assert "train: no image of fear: the head will never say so" in caplog.text
    assert "validation: no image of sad, fear" in caplog.text


# Use


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """An MP4 of 40 frames at 20 a second: a rendered face for 30 of them, then an empty room."""
    images = face_images(label_trace(np.random.default_rng(1), 40), gap=range(30, 40))
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", images, 20)


def alone(checkpoint: Path, folder: Path) -> list:
    """Arguments to use a head far from where it was trained: the checkpoint is all there is."""
    return ["--checkpoint", shutil.copy(checkpoint, folder), "--runs", folder, "--runtime.precision", "float32",
            "--runtime.device", "cpu"]  # fmt: skip


def test_checkpoint_is_of_use_alone(folds_run, sl_arguments):
    model, settings, encoder_settings = load_supervised(folds_run[0] / "fold_1" / "best.pt")
    assert settings["data"]["fold"] == "1" and settings["data"]["image_size"] == 64
    assert encoder_settings["model"]["width"] == 16
    encoder = torch.load(sl_arguments[sl_arguments.index("--checkpoint") + 1], weights_only=True)["model"]
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, encoder[f"encoder.{name}"])
    images = torch.rand(3, 3, 64, 64)
    estimate = model.estimate(images)
    torch.testing.assert_close(torch.stack((estimate.valence, estimate.arousal), 1), model(images))


def test_video_gets_valence_and_arousal(folds_run, clip, tmp_path):
    argv = [*alone(folds_run[0] / "fold_0" / "best.pt", tmp_path), "--predict", clip]
    folder, printed = learn(*argv, "--overlay")
    table = pd.read_csv(folder / "labels.csv")
    assert list(table["frame"]) == list(range(40)) and "support" not in table
    assert table["valence"].notna().sum() >= 27 and table.loc[table["frame"] >= 32, "valence"].isna().all()
    names = {path.name for path in folder.iterdir()}
    assert {"clip_overlay.mp4", "clip_track0.png", "clip_plane.png", "clip.eaf"} <= names
    assert len(list(folder.glob("clip*.annotation"))) == 2
    assert re.search(r"clip +0 +40 +\d+", printed)
    again = read_labels(folder / "clip.eaf", Timeline(table["frame"].to_numpy(), table["time"].to_numpy()))
    np.testing.assert_allclose(again["valence"], table["valence"].dropna(), atol=1e-5)
    second, _ = learn(*argv)
    assert (folder / "labels.csv").read_bytes() == (second / "labels.csv").read_bytes()


def test_video_gets_expressions(expression_run, clip, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a", "b"):
        shutil.copy(clip, videos / f"{name}.mp4")
    (videos / "c.mp4").write_text("no video")
    argv = [*alone(expression_run[0] / "best.pt", tmp_path), "--predict", videos]
    done = run_script("mtclar_sl.py", *map(str, argv))
    assert done.returncode == 2 and "c.mp4" in done.stderr  # one fails, the others are done
    table = pd.read_csv(Path(re.search(r"run folder +(.+)", done.stdout)[1]) / "labels.csv")
    known = table.dropna(subset="track")
    assert set(table["video"]) == {"a", "b"} and len(table) == 80 and set(known["expression"]) <= set(EXPRESSIONS)
    probabilities = known[[f"p_{name}" for name in EXPRESSIONS]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-4)
    assert (np.array(EXPRESSIONS)[probabilities.argmax(1)] == known["expression"]).all()
    assert "leave it out" in refused("mtclar_sl.py", *argv, "--overlay")


def test_a_head_joins_fsl_mtclar_as_a_baseline(folds_run, expression_run, demo_run, tmp_path):
    argv = [*alone(demo_run[0] / "best.pt", tmp_path), "--zero_shot"]
    head = folds_run[0] / "fold_0" / "best.pt"
    folder, _ = finished("fsl_mtclar.py", *map(str, argv), str(head))
    assert HEAD in set(pd.read_csv(folder / "scores.csv")["method"])
    assert "says expressions" in refused("fsl_mtclar.py", *argv, expression_run[0] / "best.pt")
    content = torch.load(head, weights_only=True)
    content["about"]["encoder_settings"]["data"]["fold"] = 1
    torch.save(content, tmp_path / "leaks.pt")
    assert "people that the network was trained on" in refused("fsl_mtclar.py", *argv, tmp_path / "leaks.pt")


def test_published_weights_as_the_encoder(sl_arguments, tmp_path):
    published = emonet_state()
    torch.save(published, tmp_path / "emonet_8.pth")
    argv = sl_arguments[: sl_arguments.index("--checkpoint")] + sl_arguments[sl_arguments.index("--checkpoint") + 2 :]
    (fold,) = prepare_folds(*argv, "--emonet", tmp_path / "emonet_8.pth", "--data.fold", 1)
    assert fold.settings.data.image_size == 256 and fold.encoder.settings is None
    assert not any(parameter.requires_grad for parameter in fold.encoder.network.parameters())
    about = fold.encoder.about()
    assert about["width"] == 256 and about["encoder_settings"] is None
    assert torch.equal(about["encoder"]["emotion.reduce.weight"], published["conv1x1_input_emo_2.weight"])


@pytest.mark.skipif(not FACES.exists(), reason="the photographs are not part of the project")
def test_real_photographs(sl_arguments, tmp_path):
    folder, printed = learn(*sl_arguments, "--dataset", "affectnet", "--data.root", FACES, "--task", "expression",
                            "--runs", tmp_path)  # fmt: skip
    assert "classes count alike" in printed and len(pd.read_csv(folder / "scores.csv")) == 3
    assert [json.loads(line)["epoch"] for line in (folder / "log.jsonl").open()] == [0, 1]
