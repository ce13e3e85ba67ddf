"""The training loop of every script: an epoch, a validation, a checkpoint, and again."""

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import lr_scheduler
from tqdm import tqdm

from utils.checkpoint import load_model, read_checkpoint, save_checkpoint
from utils.errors import TrainingError
from utils.run_folder import RunFolder
from utils.runtime import seed_step
from utils.settings import FitSettings, ScriptSettings

log = logging.getLogger(__name__)

PLATEAU = {"factor": 0.1, "patience": 5}
STEP = {"step_size": 15, "gamma": 0.1}
WARM_UP = 0.05  # share of the steps in which the one cycle rises
REMEDY = (
    "training stopped and the checkpoints of the epoch before stay; "
    "try a smaller train.lr, train.clip_norm 1, or runtime.precision float32"
)
BY_STEP = ("cosine", "onecycle")  # schedules that move with every step, not every epoch


class Task(Protocol):
    """What is learnt. `kind` names it in checkpoints."""

    kind: str
    model: nn.Module
    about: dict[str, Any]
    """What best.pt must hold besides, to be of use alone."""

    def steps(self) -> int:
        """Batches of an epoch."""

    def batches(self, epoch: int) -> Iterable[Any]:
        """The batches of an epoch; the same ones whenever the same epoch is asked for."""

    def loss(self, batch: Any, epoch: int) -> dict[str, Tensor]:
        """The named terms of a batch's loss; `loss` is what the gradient is taken of."""

    def validate(self) -> dict[str, float]:
        """Scores on the validation set; `loss` (less is better) decides which weights are the best."""

    def figures(self) -> dict[str, Figure]:
        """Pictures of the last validation, by name, for TensorBoard."""


@dataclass
class Progress:
    """How far a run is; all that the loop itself remembers between epochs."""

    epoch: int = 0
    best_loss: float = math.inf
    best_epoch: int = -1


def fit(task: Task, run: RunFolder, settings: ScriptSettings) -> Progress:
    """Trains `task.model` in place, up to `train.epochs`, going on where `last.pt` of the run folder stands.

    Writes last.pt after each epoch and best.pt after each better one; the model ends with the weights of best.pt.
    Raises TrainingError when the loss is not finite; the checkpoints of the epoch before stay.
    """
    train = settings.train
    optimizer = torch.optim.Adam(
        [p for p in task.model.parameters() if p.requires_grad],
        lr=train.lr, weight_decay=train.weight_decay, fused=True,
    )  # fmt: skip
    scheduler = make_scheduler(optimizer, train, task.steps())
    progress = Progress()
    if (run.path / "last.pt").exists():
        progress = _load(task, run, optimizer, scheduler)
        run.forget_from(progress.epoch)
        log.info("going on after epoch %d of %d", progress.epoch, train.epochs)
    while progress.epoch < train.epochs and not _stale(progress, train):
        started = time.perf_counter()
        trained = train_epoch(task, optimizer, scheduler, progress.epoch, settings)
        scores = task.validate()
        if not math.isfinite(scores["loss"]):
            raise TrainingError(f"the validation loss is not finite after epoch {progress.epoch + 1}; {REMEDY}")
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(scores["loss"])
        elif train.schedule not in BY_STEP:
            scheduler.step()
        record = {f"train/{name}": value for name, value in trained.items()}
        record |= {f"validation/{name}": value for name, value in scores.items()}
        record["seconds"] = time.perf_counter() - started
        run.log_epoch(progress.epoch, record, task.figures())
        _finish_epoch(task, run, optimizer, scheduler, progress, scores, settings)
        log.info("%s", _line(progress, train.epochs, record))
    load_model(task.model, read_checkpoint(run.path / "best.pt", task.kind)["model"], run.path / "best.pt")
    return progress


def train_epoch(task: Task, optimizer, scheduler, epoch: int, settings: ScriptSettings) -> dict[str, float]:
    """One pass over the epoch's batches → mean of each term, and the last learning rate."""
    task.model.train()
    sums: dict[str, Tensor] = {}
    progress = tqdm(task.batches(epoch), f"epoch {epoch + 1}", task.steps(), leave=False, disable=None)
    for step, batch in enumerate(progress):
        seed_step(settings.seed, epoch, step)
        terms = task.loss(batch, epoch)
        if not math.isfinite(terms["loss"].item()):
            raise TrainingError(_not_finite(terms, epoch, step))
        optimizer.zero_grad()
        terms["loss"].backward()
        if settings.train.clip_norm:
            nn.utils.clip_grad_norm_(task.model.parameters(), settings.train.clip_norm)
        optimizer.step()
        if settings.train.schedule in BY_STEP:
            scheduler.step()
        for name, value in terms.items():
            sums[name] = sums.get(name, 0) + value.detach()
    means = {name: (value / task.steps()).item() for name, value in sums.items()}
    return means | {"learning_rate": optimizer.param_groups[0]["lr"]}


def make_scheduler(optimizer: torch.optim.Optimizer, train: FitSettings, steps: int):
    """The learning rate's course; `steps`: of an epoch."""
    if train.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAU)
    if train.schedule == "step":
        return lr_scheduler.StepLR(optimizer, **STEP)
    if train.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, train.epochs * steps)
    total = max(train.epochs * steps, 4)  # it cannot rise and fall in fewer steps
    rise = max(WARM_UP, 2 / total)
    return lr_scheduler.OneCycleLR(optimizer, train.lr, total, pct_start=rise, cycle_momentum=False)


def _finish_epoch(task, run, optimizer, scheduler, progress: Progress, scores, settings: ScriptSettings) -> None:
    better = scores["loss"] < progress.best_loss
    if better:
        progress.best_loss, progress.best_epoch = scores["loss"], progress.epoch
    progress.epoch += 1
    content = {
        "kind": task.kind,
        "settings": settings.model_dump(mode="json"),
        "epoch": progress.epoch,
        "scores": scores,
        "model": task.model.state_dict(),
    }
    if better:
        save_checkpoint(run.path / "best.pt", content | {"about": task.about})
    rest = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "progress": asdict(progress)}
    save_checkpoint(run.path / "last.pt", content | rest)


def _load(task: Task, run: RunFolder, optimizer, scheduler) -> Progress:
    path = run.path / "last.pt"
    content = read_checkpoint(path, task.kind)
    load_model(task.model, content["model"], path)
    optimizer.load_state_dict(content["optimizer"])
    scheduler.load_state_dict(content["scheduler"])
    return Progress(**content["progress"])


def _stale(progress: Progress, train: FitSettings) -> bool:
    return bool(train.patience) and progress.epoch - 1 - progress.best_epoch >= train.patience


def _not_finite(terms: dict[str, Tensor], epoch: int, step: int) -> str:
    values = ", ".join(f"{name} {value.item():g}" for name, value in terms.items())
    return (
        f"the loss is not finite in epoch {epoch + 1}, step {step + 1} ({values}); {REMEDY}"
    )


def _line(progress: Progress, epochs: int, record: dict[str, float]) -> str:
    best = " (best)" if progress.best_epoch == progress.epoch - 1 else ""
    return (
        f"epoch {progress.epoch}/{epochs}: loss {record['train/loss']:.4f}, "
        f"validation {record['validation/loss']:.4f}{best}, {record['seconds']:.0f} s"
    )
