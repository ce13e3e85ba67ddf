"""The training loop: interruption at any step, resuming, early stopping, losses that are not finite."""

import contextlib
import functools
import json
import math
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import resume
from torch import nn

from models.mtclar import MTCLAR
from utils.base.errors import CheckpointError, TrainingError
from utils.base.signals import DelayedSignals, Interrupted
from utils.compute.data import CropReader, read_splits
from utils.compute.runtime import make_runtime
from utils.compute.seeds import seed_torch
from utils.config.layers import merge_layers
from utils.config.mtclar import MtclarTrainingSettings
from utils.runs.checkpoint import load_model, read_checkpoint, save_checkpoint
from utils.runs.resume import load_settings
from utils.runs.run_folder import RunFolder
from utils.training import loop
from utils.training.pair_training import PairTraining
from utils.training.state import make_scheduler


def make_training(settings: MtclarTrainingSettings) -> PairTraining:
    runtime = make_runtime(settings.runtime)
    seed_torch(settings.seed)
    model = runtime.to_device(MTCLAR(settings.model.width, settings.model.fusion, settings.model.dropout))
    return PairTraining(model, read_splits(settings), CropReader(settings), settings, runtime)


def train(
    settings: MtclarTrainingSettings, run: RunFolder, before_step: Callable[[int, int], None] = lambda epoch, step: None
) -> MTCLAR:
    """Train as mtclar.py does. `before_step` is called with the epoch and the number of the step in this process."""
    training = make_training(settings)
    loss, steps = training.loss, iter(range(10**6))

    def watched_loss(batch, epoch):
        before_step(epoch, next(steps))
        return loss(batch, epoch)

    training.loss = watched_loss
    loop.fit(training, run, settings)
    return training.model


def at_step(number: int, action: Callable[[], None]) -> Callable[[int, int], None]:
    """Return a `before_step` that runs the action before one step, counted over all epochs."""
    return lambda epoch, step: action() if step == number else None


def interrupt():
    raise KeyboardInterrupt


def read_log(run: RunFolder) -> list[dict]:
    return [json.loads(line) | {"seconds": 0} for line in (run.path / "log.jsonl").open()]


def changed(settings: MtclarTrainingSettings, **train) -> MtclarTrainingSettings:
    return merge_layers(MtclarTrainingSettings, [("test", settings.model_dump()), ("test", {"train": train})])


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(PairTraining, "figures", lambda training: {})


@pytest.fixture(scope="module")
def settings_of(tiny_arguments):
    """Settings with three epochs of two steps, and everything in them that is random."""

    def make(runs: Path, pairs: str = "all", schedule: str = "onecycle", **train) -> MtclarTrainingSettings:
        settings = load_settings(
            MtclarTrainingSettings, "mtclar", "config.yaml", "", [*tiny_arguments, "--runs", str(runs)]
        )
        settings.model.dropout = 0.5
        return changed(settings, pairs=pairs, schedule=schedule, epochs=3, loss_weights="random", **train)

    return make


@pytest.fixture(scope="module")
def uninterrupted_run(settings_of, tmp_path_factory):
    """The run folder of an uninterrupted run, for a kind of pairs and a schedule."""

    @functools.cache
    def make(pairs: str, schedule: str):
        settings = settings_of(tmp_path_factory.mktemp("whole"), pairs, schedule)
        run = RunFolder.create(settings, "mtclar")
        train(settings, run)
        return run

    return make


@pytest.mark.parametrize("save_minutes", [0, 1e-9])
@pytest.mark.parametrize(
    "pairs, schedule", [("all", "onecycle"), ("sampled", "plateau"), ("all", "step"), ("sampled", "cosine")]
)
def test_interrupted_run_equals_uninterrupted_run(
    settings_of, uninterrupted_run, tmp_path, pairs, schedule, save_minutes
):
    settings = settings_of(tmp_path, pairs, schedule, save_minutes=save_minutes)
    interrupted = RunFolder.create(settings, "mtclar")
    for step in (1, 0, 2):  # within an epoch, before the first step, and in the next epoch
        with pytest.raises(KeyboardInterrupt):
            train(settings, interrupted, at_step(step, interrupt))
        torch.rand(5)  # other use of the random generator must not matter
    assert read_checkpoint(interrupted.last, "mtclar")["progress"]["step"] == (1 if save_minutes else 0)
    train(settings, resume(interrupted))
    assert_same_run(uninterrupted_run(pairs, schedule), interrupted)


def assert_same_run(one: RunFolder, other: RunFolder):
    for name in ("last", "best"):
        a, b = (read_checkpoint(getattr(run, name), "mtclar") for run in (one, other))
        assert a["epoch"] == b["epoch"] and a.get("scores") == b.get("scores")
        assert all(torch.equal(a["model"][key], b["model"][key]) for key in a["model"])
    assert read_log(one) == read_log(other) and [line["epoch"] for line in read_log(one)] == [0, 1, 2]


@pytest.fixture
def default_interrupt_handler():
    """SIGINT raises KeyboardInterrupt, even if the tests run in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step, epoch, done", [(0, 0, 1), (1, 0, 2), (2, 1, 1)])
def test_a_signal_ends_the_run_after_the_step_and_saves_it(
    settings_of, uninterrupted_run, tmp_path, default_interrupt_handler, number, step, epoch, done
):
    settings = settings_of(tmp_path)
    interrupted = RunFolder.create(settings, "mtclar")
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as ended:
        train(settings, interrupted, at_step(step, lambda: send(number)))
    assert ended.value.number == number and signal.getsignal(number) is before
    assert ended.value.advice.endswith(f"--train.resume {interrupted.path}")
    progress = read_checkpoint(interrupted.last, "mtclar")["progress"]
    assert (progress["epoch"], progress["step"]) == (epoch, done)
    if number == signal.SIGTERM:
        train(settings, resume(interrupted))
        assert_same_run(uninterrupted_run("all", "onecycle"), interrupted)


def test_a_signal_ends_a_validation_at_once_and_saves_the_epoch(settings_of, uninterrupted_run, tmp_path, monkeypatch):
    settings = settings_of(tmp_path)
    interrupted = RunFolder.create(settings, "mtclar")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(PairTraining, "validate", lambda training: (send(signal.SIGTERM), pytest.fail("continued")))
        train(settings, interrupted)
    assert read_checkpoint(interrupted.last, "mtclar")["progress"]["step"] == 2 and not interrupted.best.exists()
    train(settings, resume(interrupted))
    assert_same_run(uninterrupted_run("all", "onecycle"), interrupted)


def test_a_second_signal_acts_at_once(monkeypatch, default_interrupt_handler):
    monkeypatch.setattr("utils.base.signals.REPEAT_SECONDS", 0)
    with DelayedSignals() as signals:
        send(signal.SIGINT)
        assert signals.pending == signal.SIGINT
        with pytest.raises(Interrupted):
            send(signal.SIGINT)
            pytest.fail("continued")


def test_an_ignored_signal_stays_ignored(default_interrupt_handler):
    """nohup ignores SIGINT, and so do shells for background jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with DelayedSignals() as signals:
        send(signal.SIGINT)
        assert signals.pending is None


def test_resuming_within_an_epoch_loads_no_image_of_earlier_steps(tiny_settings, monkeypatch):
    training = make_training(changed(tiny_settings, epoch_size=32))
    batches = list(training.batches(1))
    loaded = []
    monkeypatch.setattr(
        training.loader, "load", lambda plan: loaded.extend(plan) or iter([b.images for b in batches[3:]])
    )
    (rest,) = training.batches(1, 3)
    assert [item[:2] for item in loaded] == [(1, 3)]
    assert torch.equal(rest.first, batches[3].first)
    assert torch.equal(rest.targets.delta_valence, batches[3].targets.delta_valence)


def test_images_of_later_steps_do_not_depend_on_where_an_epoch_is_resumed(tiny_settings):
    training = make_training(changed(tiny_settings, epoch_size=32, augment=1))
    for from_start, resumed in zip(list(training.batches(1))[2:], training.batches(1, 2), strict=True):
        assert torch.equal(from_start.images, resumed.images)


def test_loss_falls_and_weights_depend_only_on_the_seed(tiny_settings):
    settings = changed(tiny_settings, epochs=5, epoch_size=32)
    runs = [RunFolder.create(settings, "mtclar") for _ in range(2)]
    one, two = (train(settings, run).state_dict() for run in runs)
    assert all(torch.equal(one[key], two[key]) for key in one)
    losses = [json.loads(line)["train/similarity"] for line in (runs[0].path / "log.jsonl").open()]
    assert losses[-1] < losses[0]
    settings.seed = 1
    other = train(settings, RunFolder.create(settings, "mtclar")).state_dict()
    assert not torch.equal(one["encoder.emotion.reduce.weight"], other["encoder.emotion.reduce.weight"])


class OneWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))


class FailingTraining:
    """A training whose loss is NaN in one epoch, and whose validation loss rises."""

    kind = "mtclar"
    about = {}
    history = {"people": [], "earlier": []}

    def __init__(self, nan_epoch: int):
        self.model, self.nan_epoch, self.validations = OneWeight(), nan_epoch, 0

    def steps(self):
        return 3

    def batches(self, epoch, start=0):
        return [None] * (3 - start)

    def loss(self, batch, epoch):
        factor = math.nan if epoch == self.nan_epoch else 1.0
        return {"square": self.model.weight**2, "loss": self.model.weight**2 * factor}

    def validate(self):
        self.validations += 1
        return {"loss": float(self.validations)}

    def figures(self):
        return {}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tiny_settings):
    run = RunFolder.create(tiny_settings, "mtclar")
    training = FailingTraining(nan_epoch=1)
    with pytest.raises(TrainingError, match="not finite in epoch 2, step 1 .*loss nan.*train.lr"):
        loop.fit(training, run, tiny_settings)
    last = read_checkpoint(run.path / "last.pt", "mtclar")
    assert last["epoch"] == 1 and math.isfinite(last["model"]["weight"])
    assert torch.equal(last["model"]["weight"], training.model.weight.detach())  # unchanged by the failed step


def test_a_validation_loss_that_is_not_finite_stops_the_run(tiny_settings):
    training = FailingTraining(nan_epoch=-1)
    training.validate = lambda: {"loss": math.nan}
    with pytest.raises(TrainingError, match="validation loss is not finite after epoch 1"):
        loop.fit(training, RunFolder.create(tiny_settings, "mtclar"), tiny_settings)


@pytest.mark.parametrize("nan_epoch", [-1, 1])
def test_the_thread_that_writes_tensorboard_events_ends_with_training(tiny_settings, nan_epoch):
    with contextlib.suppress(TrainingError):
        loop.fit(FailingTraining(nan_epoch), RunFolder.create(tiny_settings, "mtclar"), tiny_settings)
    assert not any("AsyncWriter" in type(thread).__name__ for thread in threading.enumerate())


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 19, 20, 21, 40])
def test_one_cycle_schedule_of_any_length(tiny_settings, steps):
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], 1e-3)
    scheduler = make_scheduler(optimizer, changed(tiny_settings, epochs=1).train, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert all(0 < rate <= 1e-3 + 1e-12 for rate in rates)


def test_early_stopping_ends_with_the_best_weights(tiny_settings):
    settings = changed(tiny_settings, epochs=50, patience=3)
    run = RunFolder.create(settings, "mtclar")
    progress = loop.fit(FailingTraining(nan_epoch=-1), run, settings)
    assert (progress.epoch, progress.best_epoch) == (4, 0)
    assert read_checkpoint(run.path / "best.pt", "mtclar")["epoch"] == 1


class InfiniteGradient(torch.autograd.Function):
    """Finite in the forward pass, infinite in the backward pass, as the square root is at 0."""

    @staticmethod
    def forward(_, weight):
        return weight.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * math.inf


@pytest.mark.parametrize("clip_norm", [0, 1])
def test_a_gradient_that_is_not_finite_stops_the_run_and_changes_no_weight(tiny_settings, clip_norm):
    settings = changed(tiny_settings, clip_norm=clip_norm, save_minutes=1e-9)
    run, training, steps = RunFolder.create(settings, "mtclar"), FailingTraining(nan_epoch=-1), iter(range(9))

    def loss(batch, epoch):
        weight = training.model.weight
        return {"loss": InfiniteGradient.apply(weight) if next(steps) == 1 else weight**2}

    training.loss = loss
    with pytest.raises(TrainingError, match=r"gradient is not finite in epoch 1, step 2 \(loss .*gradient norm inf"):
        loop.fit(training, run, settings)
    last = read_checkpoint(run.last, "mtclar")
    assert last["progress"]["step"] == 1 and torch.equal(last["model"]["weight"], training.model.weight.detach())


def test_resuming_an_empty_folder(tmp_path):
    with pytest.raises(CheckpointError, match="holds no settings.yaml"):
        RunFolder.resume(tmp_path)


def test_a_run_killed_before_its_first_checkpoint_starts_from_the_beginning(settings_of, uninterrupted_run, tmp_path):
    settings = settings_of(tmp_path)
    interrupted = RunFolder.create(settings, "mtclar")
    interrupted.log_epoch(0, {"loss": 1.0}, {})
    save_checkpoint(interrupted.best, {"kind": "mtclar"})  # written before last.pt
    (interrupted.path / ".last.pt.x1.tmp").write_text("half a checkpoint")
    train(settings, resume(interrupted))
    assert_same_run(uninterrupted_run("all", "onecycle"), interrupted)
    assert not list(interrupted.path.glob(".*"))


def test_best_pt_cannot_be_resumed_from(tiny_settings):
    run = RunFolder.create(changed(tiny_settings, epochs=1), "mtclar")
    train(changed(tiny_settings, epochs=1), run)
    run.last.write_bytes(run.best.read_bytes())
    with pytest.raises(CheckpointError, match="last.pt: holds no training state.*start a new run"):
        train(tiny_settings, resume(run))


def test_checkpoint_of_another_architecture_is_refused(tmp_path):
    save_checkpoint(tmp_path / "best.pt", {"kind": "mtclar", "model": MTCLAR(16).state_dict()})
    content = read_checkpoint(tmp_path / "best.pt", "mtclar")
    with pytest.raises(CheckpointError, match="another network: .*has shape"):
        load_model(MTCLAR(32), content["model"], tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="is a checkpoint of mtclar.py, not of mtclar_sl.py"):
        read_checkpoint(tmp_path / "best.pt", "supervised")


class MaliciousObject:
    def __reduce__(self):
        return (open, ("executed.txt", "w"))


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 broken"])
def test_damaged_checkpoints_are_refused(tmp_path, content):
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="best.pt"):
        read_checkpoint(tmp_path / "best.pt", "mtclar")


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"kind": "mtclar", "model": MaliciousObject()}, "best.pt")
    with pytest.raises(CheckpointError, match="could run code"):
        read_checkpoint(tmp_path / "best.pt", "mtclar")
    assert not (tmp_path / "executed.txt").exists()
