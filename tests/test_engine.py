"""Training: what a run writes, that it can be interrupted anywhere, and how it stops."""

import json
import math

import pytest
import torch
from torch import nn

from models.mtclar import MTCLAR
from utils import engine
from utils.checkpoint import load_model, read_checkpoint, save_checkpoint
from utils.config import merge_layers
from utils.data import CropReader, read_splits
from utils.errors import CheckpointError, TrainingError
from utils.files import write_whole
from utils.pair_training import PairTraining
from utils.run_folder import RunFolder
from utils.runtime import make_runtime, seed_step
from utils.settings import Settings


def train(settings: Settings, run: RunFolder, stop_before: int | None = None) -> MTCLAR:
    """As mtclar.py does. stop_before: raise KeyboardInterrupt in the middle of this epoch."""
    runtime = make_runtime(settings.runtime)
    seed_step(settings.seed)
    model = runtime.place(MTCLAR(settings.model.width, settings.model.fusion, settings.model.dropout))
    task = PairTraining(model, read_splits(settings), CropReader(settings), settings, runtime)
    batches = task.batches

    def interrupted(epoch):
        for step, batch in enumerate(batches(epoch)):
            if epoch == stop_before and step == 1:
                raise KeyboardInterrupt
            yield batch

    task.batches = interrupted
    engine.fit(task, run, settings)
    return model


def changed(settings: Settings, **train) -> Settings:
    return merge_layers(Settings, [("test", settings.model_dump()), ("test", {"train": train})])


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(PairTraining, "figures", lambda task: {})


@pytest.mark.parametrize(
    "pairs, schedule", [("all", "onecycle"), ("sampled", "plateau"), ("all", "step"), ("sampled", "cosine")]
)
def test_interrupted_run_ends_as_the_uninterrupted_one(tiny_settings, pairs, schedule):
    settings = changed(tiny_settings, pairs=pairs, schedule=schedule, epochs=3, loss_weights="random")
    settings.model.dropout = 0.5
    whole_run, cut_run = (RunFolder.create(settings, "mtclar") for _ in range(2))
    whole = train(settings, whole_run).state_dict()
    with pytest.raises(KeyboardInterrupt):
        train(settings, cut_run, stop_before=2)
    torch.rand(5)  # whatever else happened in between
    resumed = train(settings, RunFolder.resume(cut_run.path)).state_dict()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    lines = [[json.loads(line) for line in (run.path / "log.jsonl").open()] for run in (whole_run, cut_run)]
    for one, other in zip(*lines, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert [line["epoch"] for line in lines[0]] == [0, 1, 2]


def test_loss_falls_and_weights_move_with_the_seed_alone(tiny_settings):
    settings = changed(tiny_settings, epochs=3, epoch_size=32)
    runs = [RunFolder.create(settings, "mtclar") for _ in range(2)]
    one, two = (train(settings, run).state_dict() for run in runs)
    assert all(torch.equal(one[key], two[key]) for key in one)
    losses = [json.loads(line)["train/similarity"] for line in (runs[0].path / "log.jsonl").open()]
    assert losses[-1] < losses[0]
    settings.seed = 1
    other = train(settings, RunFolder.create(settings, "mtclar")).state_dict()
    assert not torch.equal(one["encoder.emotion.reduce.weight"], other["encoder.emotion.reduce.weight"])


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))


class FallsApart:
    """A task whose loss is NaN in the second epoch, or whose validation loss only grows."""

    kind = "mtclar"
    about = {}

    def __init__(self, nan_epoch: int):
        self.model, self.nan_epoch, self.validations = Line(), nan_epoch, 0

    def steps(self):
        return 3

    def batches(self, epoch):
        return [None] * 3

    def loss(self, batch, epoch):
        bad = math.nan if epoch == self.nan_epoch else 1.0
        return {"square": self.model.weight**2, "loss": self.model.weight**2 * bad}

    def validate(self):
        self.validations += 1
        return {"loss": float(self.validations)}

    def figures(self):
        return {}


def test_a_loss_that_is_not_finite_stops_the_run_with_the_last_good_checkpoint(tiny_settings):
    run = RunFolder.create(tiny_settings, "mtclar")
    task = FallsApart(nan_epoch=1)
    with pytest.raises(TrainingError, match="not finite in epoch 2, step 1 .*loss nan.*train.lr"):
        engine.fit(task, run, tiny_settings)
    last = read_checkpoint(run.path / "last.pt", "mtclar")
    assert last["epoch"] == 1 and math.isfinite(last["model"]["weight"])
    assert torch.equal(last["model"]["weight"], task.model.weight.detach())  # not touched by the bad step


def test_a_validation_loss_that_is_not_finite_stops_the_run(tiny_settings):
    task = FallsApart(nan_epoch=-1)
    task.validate = lambda: {"loss": math.nan}
    with pytest.raises(TrainingError, match="validation loss is not finite after epoch 1"):
        engine.fit(task, RunFolder.create(tiny_settings, "mtclar"), tiny_settings)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 19, 20, 21, 40])
def test_one_cycle_of_any_length(tiny_settings, steps):
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], 1e-3)
    scheduler = engine.make_scheduler(optimizer, changed(tiny_settings, epochs=1).train, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert all(0 < rate <= 1e-3 + 1e-12 for rate in rates)


def test_early_stopping_ends_with_the_best_weights(tiny_settings):
    settings = changed(tiny_settings, epochs=50, patience=3)
    run = RunFolder.create(settings, "mtclar")
    progress = engine.fit(FallsApart(nan_epoch=-1), run, settings)
    assert (progress.epoch, progress.best_epoch) == (4, 0)
    assert read_checkpoint(run.path / "best.pt", "mtclar")["epoch"] == 1


def test_resuming_where_nothing_is(tmp_path):
    with pytest.raises(CheckpointError, match="holds no last.pt"):
        RunFolder.resume(tmp_path)


def test_checkpoint_of_another_architecture_is_refused(tmp_path):
    save_checkpoint(tmp_path / "best.pt", {"kind": "mtclar", "model": MTCLAR(16).state_dict()})
    content = read_checkpoint(tmp_path / "best.pt", "mtclar")
    with pytest.raises(CheckpointError, match="another network: .*has shape"):
        load_model(MTCLAR(32), content["model"], tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of supervised but of mtclar"):
        read_checkpoint(tmp_path / "best.pt", "supervised")


class Bomb:
    def __reduce__(self):
        return (open, ("exploded.txt", "w"))


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 broken"])
def test_broken_checkpoints_are_refused(tmp_path, content):
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="best.pt"):
        read_checkpoint(tmp_path / "best.pt", "mtclar")


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"kind": "mtclar", "model": Bomb()}, "best.pt")
    with pytest.raises(CheckpointError, match="could run code"):
        read_checkpoint(tmp_path / "best.pt", "mtclar")
    assert not (tmp_path / "exploded.txt").exists()


def test_files_appear_whole_or_not_at_all(tmp_path):
    (tmp_path / "a.txt").write_text("before")

    def half(path):
        path.write_text("hal")
        raise OSError("disk full")

    with pytest.raises(OSError):
        write_whole(tmp_path / "a.txt", half)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "before"


def test_two_runs_of_one_second_do_not_share_a_folder(tiny_settings):
    paths = {RunFolder.create(tiny_settings, "mtclar").path for _ in range(4)}
    assert len(paths) == 4 and all((path / "settings.yaml").exists() for path in paths)
