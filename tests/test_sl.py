"""mtclar_sl.py: features, training of the head, report, and prediction of videos."""

import importlib
import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from clips import face_images, write_video
from conftest import finished, resume, run_script
from published import emonet_state, siamese_state

from datasets.annotations.labels import read_labels
from datasets.annotations.timeline import Timeline
from datasets.columns import EXPRESSIONS
from datasets.demo.traces import label_trace
from datasets.splits import Splits
from models.mtclar import MTCLAR
from models.supervised import Supervised, SupervisedHead
from utils.base.errors import CheckpointError, DataError, SettingsError
from utils.compute.data import CropReader, read_splits
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.runtime import make_runtime
from utils.compute.seeds import seed_torch
from utils.config.labelling import LabelSettings
from utils.config.layers import merge_layers
from utils.config.supervised import HEAD, SUPERVISED_PAPER, SLSettings, SLTrainingSettings
from utils.config.yaml_files import commented_yaml
from utils.labelling.clips import ClipReader
from utils.labelling.sources import EvidenceSources, load_estimators
from utils.metrics import regression_scores
from utils.runs.checkpoint import FORMAT, load_model, load_supervised, read_checkpoint, save_checkpoint
from utils.runs.resume import load_settings
from utils.runs.run_folder import RunFolder
from utils.runs.trained import with_checkpoint
from utils.supervised.baselines import logistic_predictions, ridge_predictions
from utils.supervised.features import FeatureReader, Features, labelled_splits
from utils.supervised.folds import prepare_folds, run_fold
from utils.supervised.report import score_folds, verdict
from utils.supervised.tasks import TASKS, class_weights
from utils.supervised.training import SupervisedTraining
from utils.training import loop

ROOT = Path(__file__).parents[1]
FACES = ROOT.parent / "shared" / "data" / "faces"


def train(*argv) -> tuple[Path, str]:
    """Run mtclar_sl.py, which must succeed, and return its run folder and its standard output."""
    return finished("mtclar_sl.py", *map(str, argv))


def error_of(*argv) -> str:
    """Run a script, which must end with exit code 2, and return its error message."""
    result = run_script(*map(str, argv))
    assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
    return result.stderr.splitlines()[-1]


def load(*argv) -> SLTrainingSettings:
    return load_settings(SLTrainingSettings, "mtclar_sl", str(ROOT / "mtclar_sl_config.yaml"), "", list(map(str, argv)))


@pytest.fixture(scope="module")
def folds_run(sl_arguments, tmp_path_factory):
    return train(*sl_arguments, "--runs", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def expression_run(sl_arguments, tmp_path_factory):
    return train(*sl_arguments, "--runs", tmp_path_factory.mktemp("runs"), "--task", "expression", "--data.fold", 0)


@pytest.fixture
def settings(sl_arguments, tmp_path) -> SLTrainingSettings:
    (fold,) = load(*sl_arguments, "--data.fold", 0, "--runs", tmp_path / "runs").folds()
    fold.data.image_size = 64
    return fold


@pytest.fixture
def model():
    return Supervised(MTCLAR(16).encoder, SupervisedHead(2, tanh=True))


def reader(model, settings, folder: Path, weights: str = "weights") -> FeatureReader:
    """A reader whose cache is in `folder` and belongs to a file of weights with this content."""
    runtime = make_runtime(settings.runtime)
    (folder / "w.pt").write_text(weights)
    return FeatureReader(model, EmbeddingCache(folder, folder / "w.pt", runtime), CropReader(settings), 0)


# Settings


def test_shipped_file_documents_every_setting_with_its_default():
    assert commented_yaml(SLTrainingSettings) in (ROOT / "mtclar_sl_config.yaml").read_text()
    assert load() == SLTrainingSettings(_cli_parse_args=False)


def test_paper_preset_and_folds():
    paper = load("--preset", "paper", "--train.epochs", "3").model_dump()
    for section, values in SUPERVISED_PAPER.items():
        expected = values | ({"epochs": 3} if section == "train" else {})
        assert {key: paper[section][key] for key in values} == expected
    settings = load("--dataset", "afewva", "--checkpoint", "a/{fold}/best.pt")
    assert [(fold.data.fold, str(fold.checkpoint)) for fold in settings.folds()] == [
        (str(n), f"a/{n}/best.pt") for n in range(5)
    ]
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


def test_latest_resumes_with_the_encoder_that_the_run_was_started_with(tmp_path):
    def settings(*argv):
        argv = ["--runs", str(tmp_path), *argv]
        return load_settings(SLSettings, "mtclar_sl", "mtclar_sl_config.yaml", "", argv, with_checkpoint)

    for number in (1, 2):
        encoder = tmp_path / "mtclar" / f"2026-01-0{number}_10-00-00_demo"
        encoder.mkdir(parents=True)
        (encoder / "last.pt").write_text("")
        (encoder / "best.pt").write_text("")
        if number == 1:
            run = RunFolder.create(settings(), "mtclar_sl").subfolder("fold_0")
            (run.path / "last.pt").write_text("")
            assert settings("--train.resume", "latest").train.resume == run.path.parent
    assert settings("--train.resume", "latest").train.resume is None  # there is a newer encoder now
    assert settings("--train.resume", str(run.path.parent)).checkpoint.parent.name == "2026-01-01_10-00-00_demo"


# Features


def test_every_image_has_the_features_of_its_own_encoding(settings, model, tmp_path):
    for frames in read_splits(settings):
        features = reader(model, settings, tmp_path)(frames)
        assert len(features.embeddings) == len(features.frames) == len(frames)
        crops = CropReader(settings)(frames)
        with torch.inference_mode():
            for row in (0, len(frames) // 2, len(frames) - 1):
                expected = model.encode(crops[row][None, :, 4:68, 4:68].float() / 255)[0]
                torch.testing.assert_close(features.embeddings[row], expected, rtol=1e-4, atol=1e-5)


def test_cached_features_equal_new_ones_and_belong_to_one_file_of_weights(settings, model, tmp_path, monkeypatch):
    frames = read_splits(settings).validation
    new = reader(model, settings, tmp_path)(frames).embeddings
    other = Supervised(MTCLAR(16).encoder, model.head)
    assert not torch.equal(reader(other, settings, tmp_path, "other weights")(frames).embeddings, new)
    monkeypatch.setattr("utils.compute.embedding_cache.encode_crops", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(reader(other, settings, tmp_path)(frames).embeddings, new)


def test_single_images_share_files_of_the_cache(settings, model, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.supervised.features.IMAGES_PER_FILE", 4)
    frames = read_splits(settings).validation
    stills = frames.assign(clip=[f"image {row}" for row in range(len(frames))])
    for name in ("stills", "clips"):
        (tmp_path / name).mkdir()
    read_stills, read_clips = (reader(model, settings, tmp_path / name) for name in ("stills", "clips"))
    torch.testing.assert_close(read_stills(stills).embeddings, read_clips(frames).embeddings, rtol=1e-4, atol=1e-5)
    assert len(list((tmp_path / "stills").glob("*.npz"))) == -(-len(frames) // 4)


def test_copies_are_augmented_images_determined_by_the_seed(settings, model, tmp_path):
    settings.train.copies = 2
    read = reader(model, settings, tmp_path)
    plain = read(read_splits(settings).validation)
    rows = len(plain.frames)
    first = read.with_copies(plain, settings)
    assert len(first.embeddings) == len(first.frames) == 3 * rows and torch.equal(
        first.embeddings[:rows], plain.embeddings
    )
    pd.testing.assert_frame_equal(first.frames[rows : 2 * rows].reset_index(drop=True), plain.frames)
    copy_1, copy_2 = first.embeddings[rows : 2 * rows], first.embeddings[2 * rows :]
    assert not torch.equal(copy_1, copy_2) and not torch.equal(copy_1, plain.embeddings)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    assert torch.equal(reader(model, settings, tmp_path).with_copies(plain, settings).embeddings, first.embeddings)
    settings.seed = 1
    assert not torch.equal(reader(model, settings, tmp_path).with_copies(plain, settings).embeddings, first.embeddings)


# Training


def make_training(settings, rows: int = 40) -> SupervisedTraining:
    """Training on random features and labels."""
    rng = np.random.default_rng(0)
    frames = pd.DataFrame({"clip": "a", "frame": range(rows), "expression": rng.integers(0, 3, rows)})
    frames = frames.assign(valence=rng.uniform(-1, 1, rows), arousal=rng.uniform(-1, 1, rows))
    features = Features(frames, torch.from_numpy(rng.standard_normal((rows, 256)).astype(np.float32)))
    seed_torch(settings.seed)
    head = SupervisedHead(len(TASKS[settings.task].columns))
    return SupervisedTraining(head, features, features, settings, {})


@pytest.mark.parametrize("task, schedule", [("valence_arousal", "step"), ("expression", "onecycle")])
def test_interrupted_and_resumed_training_writes_the_same_bytes(settings, task, schedule):
    settings = merge_layers(SLTrainingSettings, [("", settings.model_dump()), ("", {"task": task})])
    settings.train.schedule, settings.train.epochs = schedule, 4
    uninterrupted, resumed = (RunFolder.create(settings, "mtclar_sl") for _ in range(2))
    expected = make_training(settings)
    loop.fit(expected, uninterrupted, settings)
    training = make_training(settings)
    batches = training.batches

    def interrupted(epoch, *start):
        if epoch == 2:
            raise KeyboardInterrupt
        return batches(epoch, *start)

    training.batches = interrupted
    with pytest.raises(KeyboardInterrupt):
        loop.fit(training, resumed, settings)
    training = make_training(settings)
    loop.fit(training, resume(resumed), settings)
    for tensor, other in zip(expected.model.state_dict().values(), training.model.state_dict().values(), strict=True):
        assert torch.equal(tensor, other)
    assert resumed.best.read_bytes() == uninterrupted.best.read_bytes()


@pytest.mark.parametrize("rows, batch", [(2, 2), (3, 2), (17, 16), (40, 512), (33, 16)])
def test_each_epoch_has_every_row_once_and_no_batch_of_one_row(settings, rows, batch):
    settings.train.batch = batch
    training = make_training(settings, rows)
    batches = list(training.batches(0))
    assert len(batches) == training.steps() and min(map(len, batches)) >= 2
    assert sorted(torch.cat(batches).tolist()) == list(range(rows))
    assert not rows > 3 or torch.cat(batches).tolist() != torch.cat(list(training.batches(1))).tolist()


def test_balanced_sampling_draws_all_classes_equally_often(settings):
    settings.task, settings.train.sampling = "expression", "balanced"
    training = make_training(settings, 40)
    codes = np.concatenate([[2], np.zeros(39, int)])
    training.train.frames["expression"] = codes
    training = SupervisedTraining(training.model, training.train, training.train, settings, {})
    drawn = np.concatenate([codes[part] for epoch in range(50) for part in training.batches(epoch)])
    assert len(drawn) == 50 * 40 and np.mean(drawn == 2) == pytest.approx(0.5, abs=0.05)
    weights = class_weights(codes)
    assert weights[2] == pytest.approx(39 * weights[0]) and weights[1] == 0


def test_loss_combines_mse_and_ccc(settings):
    outputs, labels = torch.randn(20, 2), torch.rand(20, 2)
    terms = TASKS["valence_arousal"].loss(outputs, labels, 0.3, None)
    for i, axis in enumerate(("valence", "arousal")):
        scores = regression_scores(outputs[:, i], labels[:, i])
        assert terms[axis].item() == pytest.approx(0.3 * scores["RMSE"] ** 2 + 0.7 * (1 - scores["CCC"]), rel=1e-4)
    assert terms["loss"].item() == pytest.approx((terms["valence"] + terms["arousal"]).item() / 2)


# Report


def test_five_folds_test_every_person_once(folds_run, sl_demo):
    folder, printed = folds_run
    names = {path.name for path in folder.iterdir()}
    assert names == {"settings.yaml", "predictions.csv", "scores.csv", "valence_arousal.png"} | {
        f"fold_{n}" for n in range(5)
    }
    assert {path.name for path in (folder / "fold_3").iterdir()} == {"log.jsonl", "last.pt", "best.pt", "tensorboard"}
    table = pd.read_csv(folder / "predictions.csv", dtype={"clip": str})
    images = {(path.parent.name, int(path.stem)) for path in sl_demo.glob("*/*.png")}
    assert len(table) == len(images) and set(zip(table["clip"], table["frame"], strict=True)) == images
    assert table[["valence", "arousal"]].abs().max().max() <= 1
    scores = pd.read_csv(folder / "scores.csv")
    assert len(scores) == 15 and set(scores["method"]) == {HEAD, "mean", "ridge"}
    part = table[table["fold"] == 2]
    ccc = regression_scores(part["arousal"], part["arousal_true"])["CCC"]
    head = scores[scores["method"] == HEAD]
    assert head.set_index("fold").loc[2, "arousal_CCC"] == pytest.approx(ccc, abs=1e-4)
    mean, std = head["valence_RMSE"].mean(), head["valence_RMSE"].std()
    assert re.search(rf"{re.escape(HEAD)} +{mean:.3f} ± {std:.3f}", printed)


def test_resuming_a_finished_run_prints_the_same_report(folds_run):
    folder, printed = folds_run
    (folder / "fold_4" / "last.pt").unlink()  # as if it had been interrupted before this fold
    again, output = train("--train.resume", folder / "fold_2")
    assert again == folder and output == printed
    assert len((folder / "fold_4" / "log.jsonl").read_text().splitlines()) == 2


def test_a_run_is_resumed_only_with_the_encoder_it_was_started_with(sl_arguments, tmp_path):
    (fold,) = prepare_folds(load(*sl_arguments, "--data.fold", 0, "--runs", tmp_path))
    run, runtime = RunFolder.create(fold.settings, "mtclar_sl"), make_runtime(fold.settings.runtime)
    first = run_fold(fold, run, runtime)
    pd.testing.assert_frame_equal(run_fold(fold, run, runtime)[HEAD], first[HEAD])
    fold.encoder.network.emotion.reduce.bias += 1
    with pytest.raises(CheckpointError, match="features of other weights"):
        run_fold(fold, run, runtime)


def test_expressions_are_predicted_and_scored(expression_run, sl_arguments, tmp_path):
    folder, printed = expression_run
    table = pd.read_csv(folder / "predictions.csv")
    assert set(table["expression"]) <= set(EXPRESSIONS) and {"last.pt", "expression.png"} <= {
        path.name for path in folder.iterdir()
    }
    np.testing.assert_allclose(table[[f"p_{name}" for name in EXPRESSIONS]].sum(axis=1), 1, atol=1e-4)
    scores = pd.read_csv(folder / "scores.csv").set_index("method")
    assert scores.loc[HEAD, "accuracy"] == pytest.approx(np.mean(table["expression"] == table["expression_true"]))
    assert list(scores.index) == [HEAD, "most frequent", "logistic"] and "each image has equal weight" in printed


def test_class_averages_are_over_the_classes_that_occur():
    table = pd.DataFrame({"expression_true": ["happy", "happy", "sad"], "expression": ["happy", "anger", "happy"]})
    scores = TASKS["expression"].score(table)
    assert scores["accuracy"] == pytest.approx(1 / 3) and scores["balanced_accuracy"] == pytest.approx(0.25)
    assert scores["macro_F1"] == pytest.approx((2 * 0.5 * 0.5 / 1 + 0) / 2)


class WithoutFloat64(torch.Tensor):
    """A tensor that cannot be float64 before it is on the CPU, like those of Apple GPUs."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        result = super().__torch_function__(function, types, args, kwargs)
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("cannot convert to float64")
        return result.as_subclass(torch.Tensor) if function is torch.Tensor.cpu else result


def test_devices_without_float64_give_the_same_predictions():
    frames = pd.DataFrame(np.random.default_rng(0).uniform(-1, 1, (20, 2)), columns=["valence", "arousal"])
    embeddings = torch.randn(20, 256)
    on_cpu, on_device = (Features(frames, values) for values in (embeddings, embeddings.as_subclass(WithoutFloat64)))
    np.testing.assert_array_equal(*(ridge_predictions(*[features] * 3) for features in (on_cpu, on_device)))
    for task in TASKS.values():
        np.testing.assert_array_equal(*(task.predictions(features.embeddings) for features in (on_cpu, on_device)))


def test_verdict_names_the_scores_in_which_a_baseline_is_not_beaten():
    task, true = TASKS["expression"], ["happy", "sad", "sad", "sad"]
    predicted = {HEAD: ["happy", "happy", "sad", "sad"], "logistic": true, "most frequent": ["sad"] * 4}
    tables = [
        {
            method: pd.DataFrame({"fold": 0, "expression_true": true, "expression": names})
            for method, names in predicted.items()
        }
    ]
    lines = verdict(score_folds(tables, task), task).splitlines()
    assert "no better than logistic in accuracy (0.750 against 1.000)" in lines[0]
    assert "no better than most frequent in accuracy (0.750 against 0.750)" in lines[1] and "macro" not in lines[1]


def test_linear_models_learn_linear_labels_and_accept_missing_classes():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 256)).astype(np.float32)
    labels = np.tanh(x[:, :2])
    frames = pd.DataFrame(labels, columns=["valence", "arousal"]).assign(clip="a", frame=range(300))
    frames["expression"] = np.where(x[:, 0] > 0, 3, 6)
    slices = slice(200), slice(200, 250), slice(250, 300)
    parts = [Features(frames[rows].copy(), torch.from_numpy(x[rows])) for rows in slices]
    parts[1].frames.loc[200, "expression"] = 1  # a class that only validation images have
    assert regression_scores(ridge_predictions(*parts)[:, 0], labels[250:, 0])["PCC"] > 0.4
    probabilities = logistic_predictions(*parts, balanced=True)
    assert probabilities.shape == (50, 8) and np.all(probabilities[:, [0, 1, 2, 4, 5, 7]] == 0)
    assert np.mean(probabilities.argmax(1) == frames["expression"][250:]) > 0.6


# Invalid input


@pytest.mark.parametrize("name, value", [("demo.seed", 0), ("seed", 1)])
def test_people_that_the_encoder_was_trained_on_are_never_tested(sl_arguments, tiny_demo, tmp_path, name, value):
    same = ["--data.root", tiny_demo, "--demo.seed", 0]
    before = set(tiny_demo.parent.rglob("*.json"))
    argv = ["mtclar_sl.py", *sl_arguments, *same, "--data.fold", 0, f"--{name}", value, "--runs", tmp_path]
    if name == "demo.seed":
        argv += ["--data.fold", "all", "--data.root", tmp_path / "elsewhere"]  # the same people in another folder
    assert "people that the network was trained on" in error_of(*argv)
    assert not list(tmp_path.glob("mtclar_sl/*")) and set(tiny_demo.parent.rglob("*.json")) == before


def test_the_split_of_the_encoder_is_accepted_and_each_fold_may_have_its_own_encoder(sl_arguments, tiny_demo, tmp_path):
    own = ["--dataset", "afewva", "--data.root", tiny_demo, "--runs", tmp_path / "runs"]
    assert len(prepare_folds(load(*sl_arguments, *own, "--data.fold", 0))) == 1
    encoder = Path(sl_arguments[sl_arguments.index("--checkpoint") + 1])
    content = torch.load(encoder, weights_only=True)
    for fold in range(5):
        (tmp_path / f"10_fold{fold}").mkdir()
        content["settings"]["data"]["fold"] = fold
        torch.save(content, tmp_path / f"10_fold{fold}" / "best.pt")
    folds = prepare_folds(load(*sl_arguments, *own, "--checkpoint", tmp_path / "*_fold{fold}" / "best.pt"))
    assert [fold.encoder.path.parent.name for fold in folds] == [f"10_fold{number}" for number in range(5)]
    assert len(set(pd.concat([fold.splits.test for fold in folds])["subject"])) == 12
    message = error_of("mtclar_sl.py", *sl_arguments, *own, "--checkpoint", tmp_path / "10_fold2" / "best.pt")
    assert "data.fold is 2" in message and "*_fold{fold}" in message
    missing = tmp_path / "*" / "no{fold}.pt"
    assert "no file matches" in error_of("mtclar_sl.py", *sl_arguments, *own, "--checkpoint", missing)


def test_the_data_and_the_encoder_of_five_folds_are_read_once(sl_arguments, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    read = []
    for module, name in (("utils.compute.data", "read_afewva"), ("utils.supervised.encoders", "read_checkpoint")):
        function = getattr(importlib.import_module(module), name)
        monkeypatch.setattr(f"{module}.{name}", lambda *args, n=name, f=function: read.append(n) or f(*args))
    folds = prepare_folds(load(*sl_arguments))
    assert sorted(read) == ["read_afewva", "read_checkpoint"] and len(folds) == 5
    assert "\n".join(caplog.messages).count("network: ") == 1


def test_data_without_expression_labels_are_refused(sl_arguments, sl_demo, tmp_path):
    root = shutil.copytree(sl_demo, tmp_path / "set")
    (root / "expressions.csv").unlink()
    message = error_of(
        "mtclar_sl.py",
        *sl_arguments,
        "--dataset",
        "afewva",
        "--data.root",
        root,
        "--runs",
        tmp_path,
        "--task",
        "expression",
    )
    assert re.search(r"none of the \d+ train images has expression classes; .*data\.expressions", message)


def test_checkpoints_of_another_network_are_refused(folds_run, sl_arguments, demo_run, tmp_path):
    head = folds_run[0] / "fold_0" / "best.pt"
    runs = ["--runs", tmp_path]
    assert "is a checkpoint of mtclar_sl.py, not of mtclar.py" in error_of(
        "mtclar_sl.py", *sl_arguments, *runs, "--checkpoint", head
    )
    assert "is a checkpoint of mtclar.py, not of mtclar_sl.py" in error_of(
        "mtclar_sl.py", "--predict", "x.mp4", "--checkpoint", demo_run[0] / "best.pt", *runs
    )
    assert "name the best.pt" in error_of(
        "mtclar_sl.py", "--predict", "x.mp4", "--checkpoint", head.with_name("last.pt"), *runs
    )
    assert "is a checkpoint of mtclar_sl.py, not of mtclar.py" in error_of("fsl_mtclar.py", "--checkpoint", head, *runs)
    assert "no run yet; train one by `python mtclar_sl.py`" in error_of("mtclar_sl.py", "--predict", "x.mp4", *runs)


def test_checkpoint_formats(tmp_path):
    path, content = tmp_path / "best.pt", {"kind": "supervised", "model": SupervisedHead(2).state_dict()}
    save_checkpoint(path, content)
    first = path.read_bytes()
    save_checkpoint(path, content)
    assert path.read_bytes() == first and read_checkpoint(path, "supervised")["format"] == FORMAT == 2

    # Version 1 of the format has no entry `format`.
    torch.save(content, path)
    head = SupervisedHead(2)
    load_model(head, read_checkpoint(path, "supervised")["model"], path)
    assert all(torch.equal(tensor, content["model"][name]) for name, tensor in head.state_dict().items())

    for version in (3, 0, 2.0, "2", None, torch.zeros(2)):
        torch.save(content | {"format": version}, path)
        with pytest.raises(
            CheckpointError, match=r"best\.pt: has a checkpoint format .* does not know; update MT-CLAR"
        ):
            read_checkpoint(path, "supervised")


@pytest.mark.parametrize("task", TASKS)
def test_heads_have_an_output_for_each_column_of_predictions(task):
    head = SupervisedHead.for_task(task, tanh=True, dropout=0.5)
    assert head.output.out_features == len(TASKS[task].columns) and head.tanh == (task == "valence_arousal")


def test_splits_need_labelled_rows_and_two_classes():
    def frames(*codes):
        return pd.DataFrame({"expression": codes, "valence": [0.1] * len(codes), "arousal": [np.nan] * len(codes)})

    expression = TASKS["expression"]
    with pytest.raises(DataError, match="none of the 2 test images has expression"):
        labelled_splits(Splits(frames(1, 2), frames(1), frames(-1, -1)), expression)
    with pytest.raises(DataError, match="the same expression class, sad"):
        labelled_splits(Splits(frames(2, 2), frames(1), frames(1)), expression)
    with pytest.raises(DataError, match="only one training image"):
        labelled_splits(Splits(frames(2, -1), frames(1), frames(1)), expression)
    with pytest.raises(DataError, match="none of the 2 train images has valence and arousal"):
        labelled_splits(Splits(frames(1, 2), frames(1), frames(1)), TASKS["valence_arousal"])
    kept = labelled_splits(Splits(frames(1, 2, -1), frames(1), frames(4, -1)), expression)
    assert [len(part) for part in kept] == [2, 1, 1]


def test_classes_missing_in_a_split_cause_a_warning(caplog):
    parts = [pd.DataFrame({"expression": codes}) for codes in ([1, 2], [1], [4])]
    TASKS["expression"].check(Splits(*parts))
    assert "train: no image of fear: the head will never predict it" in caplog.text
    assert "validation: no image of sad, fear" in caplog.text


# Prediction


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """An MP4 of 40 frames at 20 a second: a rendered face for 30 of them, then an empty room."""
    images = face_images(label_trace(np.random.default_rng(1), 40), gap=range(30, 40))
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", images, 20)


def only_checkpoint(checkpoint: Path, folder: Path) -> list:
    """Arguments to use a copy of a checkpoint without the other files of its run."""
    return [
        "--checkpoint",
        shutil.copy(checkpoint, folder),
        "--runs",
        folder,
        "--runtime.precision",
        "float32",
        "--runtime.device",
        "cpu",
    ]


def test_checkpoint_contains_the_encoder_and_all_settings(folds_run, sl_arguments):
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
    argv = [*only_checkpoint(folds_run[0] / "fold_0" / "best.pt", tmp_path), "--predict", clip]
    folder, printed = train(*argv, "--overlay")
    table = pd.read_csv(folder / "labels.csv")
    assert list(table["frame"]) == list(range(40)) and "support" not in table
    assert table["valence"].notna().sum() >= 27 and table.loc[table["frame"] >= 32, "valence"].isna().all()
    names = {path.name for path in folder.iterdir()}
    assert {"clip_overlay.mp4", "clip_track0.png", "clip_plane.png", "clip.eaf"} <= names
    assert len(list(folder.glob("clip*.annotation"))) == 2
    assert re.search(r"clip +0 +40 +\d+", printed)
    again = read_labels(folder / "clip_track0_trace.csv", Timeline(table["frame"].to_numpy(), table["time"].to_numpy()))
    np.testing.assert_allclose(again["valence"], table["valence"].dropna(), atol=1e-5)
    assert (table["source"].eq("predicted") == table["valence"].notna()).all() and table["annotator"].isna().all()
    second, printed = train("--from_manifest", folder / "manifest.json")
    assert (folder / "labels.csv").read_bytes() == (second / "labels.csv").read_bytes()
    assert "files are equal to those of" in printed


def test_video_gets_expressions(expression_run, clip, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a", "b"):
        shutil.copy(clip, videos / f"{name}.mp4")
    (videos / "c.mp4").write_text("no video")
    argv = [*only_checkpoint(expression_run[0] / "best.pt", tmp_path), "--predict", videos]
    result = run_script("mtclar_sl.py", *map(str, argv))
    assert result.returncode == 2 and "c.mp4" in result.stderr  # one video fails, the others are predicted
    folder = Path(re.search(r"run folder +(.+)", result.stdout)[1])
    table = pd.concat(pd.read_csv(folder / file) for file in pd.read_csv(folder / "index.csv")["file"])
    known = table.dropna(subset="track")
    assert set(table["video"]) == {"a", "b"} and len(table) == 80 and set(known["expression"]) <= set(EXPRESSIONS)
    probabilities = known[[f"p_{name}" for name in EXPRESSIONS]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-4)
    assert (np.array(EXPRESSIONS)[probabilities.argmax(1)] == known["expression"]).all()
    assert "leave it out" in error_of("mtclar_sl.py", *argv, "--overlay")


def test_a_head_is_evidence_for_fsl_mtclar(folds_run, expression_run, demo_run, tmp_path):
    argv = ["--runs", tmp_path, "--evidence"]
    head = folds_run[0] / "fold_0" / "best.pt"
    folder, _ = finished("fsl_mtclar.py", *map(str, argv), str(head))
    methods = set(pd.read_csv(folder / "scores.csv")["method"])
    assert methods == {HEAD, "fused", "hold", "linear"}
    labels = pd.read_csv(folder / "labels.csv")

    # The same estimates through a CSV give the same labels.
    settings = LabelSettings.model_validate(json.loads((folder / "manifest.json").read_text())["settings"])
    runtime, splits = make_runtime(settings.runtime), read_splits(settings)
    sources = EvidenceSources(estimators=load_estimators(settings, runtime))
    reader = ClipReader.of_sources(sources, runtime, settings)
    rows = [
        (clip.name, frame, *values)
        for frames in (splits.validation, splits.test)
        for clip in reader.read(frames)
        for frame, values in zip(clip.frames["frame"], clip.encoded.evidence[:, 0], strict=True)
    ]
    table = pd.DataFrame(rows, columns=["clip", "frame", "valence", "arousal"])
    table.to_csv(tmp_path / "estimates.csv", index=False)
    data = {"dataset": settings.dataset, "data.root": settings.data_root, "data.fold": settings.data.fold}
    data |= {f"demo.{name}": value for name, value in settings.demo.model_dump().items() if name != "hard"}
    data |= {"data.validation_share": settings.data.validation_share, "seed": settings.seed}
    options = [str(word) for name, value in data.items() for word in (f"--{name}", value)]
    folder, _ = finished("fsl_mtclar.py", *map(str, argv), str(tmp_path / "estimates.csv"), *options)
    columns = ["valence", "arousal", "valence_low", "arousal_high"]
    np.testing.assert_allclose(pd.read_csv(folder / "labels.csv")[columns], labels[columns], atol=1e-6)
    assert "estimates" in set(pd.read_csv(folder / "scores.csv")["method"])
    assert "was trained for expressions" in error_of("fsl_mtclar.py", *argv, expression_run[0] / "best.pt")
    content = torch.load(head, weights_only=True)
    content["about"]["encoder_settings"]["data"]["fold"] = 1
    torch.save(content, tmp_path / "known_people.pt")
    known = "people that the network was trained on"
    assert known in error_of("fsl_mtclar.py", *argv, head, "--data.fold", 1)
    both = [*only_checkpoint(demo_run[0] / "best.pt", tmp_path), "--evidence", f"mtclar,{tmp_path / 'known_people.pt'}"]
    assert known in error_of("fsl_mtclar.py", *both)


def test_published_weights_as_the_encoder(sl_arguments, tmp_path):
    published = emonet_state()
    torch.save(published, tmp_path / "emonet_8.pth")
    argv = sl_arguments[: sl_arguments.index("--checkpoint")] + sl_arguments[sl_arguments.index("--checkpoint") + 2 :]
    (fold,) = prepare_folds(load(*argv, "--emonet", tmp_path / "emonet_8.pth", "--data.fold", 1))
    assert fold.settings.data.image_size == 256 and fold.encoder.settings is None
    assert not any(parameter.requires_grad for parameter in fold.encoder.network.parameters())
    content = fold.encoder.checkpoint_content()
    assert content["width"] == 256 and content["encoder_settings"] is None
    assert torch.equal(content["encoder"]["emotion.reduce.weight"], published["conv1x1_input_emo_2.weight"])


def test_published_siamese_weights_as_the_encoder(sl_arguments, tmp_path):
    published = siamese_state()
    torch.save(published, tmp_path / "siamese.pth")
    (fold,) = prepare_folds(load(*sl_arguments, "--checkpoint", tmp_path / "siamese.pth", "--data.fold", 1))
    assert fold.settings.data.image_size == 256 and fold.encoder.settings is None
    weights = fold.encoder.checkpoint_content()["encoder"]["emotion.reduce.weight"]
    assert torch.equal(weights, published["emo_net.conv1x1_input_emo_2.weight"])


@pytest.mark.skipif(not FACES.exists(), reason="the photographs are not part of the project")
def test_real_photographs(sl_arguments, tmp_path):
    folder, printed = train(
        *sl_arguments, "--dataset", "affectnet", "--data.root", FACES, "--task", "expression", "--runs", tmp_path
    )
    assert "each class has equal weight" in printed and len(pd.read_csv(folder / "scores.csv")) == 3
    assert [json.loads(line)["epoch"] for line in (folder / "log.jsonl").open()] == [0, 1]
