"""The training loop of every script: an epoch, a validation, a checkpoint, and again."""

import logging
import math
import sys
import time
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import lr_scheduler
from tqdm import tqdm

from utils import ranks
from utils.checkpoint import load_model, read_checkpoint
from utils.errors import TrainingError
from utils.run_folder import RunFolder
from utils.runtime import seed_step
from utils.settings import FitSettings, ScriptSettings
from utils.signals import HeldSignals, Interrupted
from utils.training_state import Progress, TrainingState

log = logging.getLogger(__name__)

REMEDY = (
    "training stopped and the checkpoints from before stay; "
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

    def batches(self, epoch: int, start: int = 0) -> Iterable[Any]:
        """The batches of an epoch from step `start` on, without loading those before; the same ones whenever the same
        epoch is asked for."""

    def loss(self, batch: Any, epoch: int) -> dict[str, Tensor]:
        """The named terms of a batch's loss; `loss` is what the gradient is taken of."""

    def validate(self) -> dict[str, float]:
        """Scores on the validation set; `loss` (less is better) decides which weights are the best."""

    def figures(self) -> dict[str, Figure]:
        """Pictures of the last validation, by name, for TensorBoard."""


def fit(task: Task, run: RunFolder, settings: ScriptSettings) -> Progress:
    """Trains `task.model` in place, up to `train.epochs`, going on where `last.pt` of the run folder stands.

    Writes best.pt after each better epoch and last.pt after every one, and every `train.save_minutes` between; the
    model ends with the weights of best.pt. A signal ends it after the step, saved. Raises TrainingError when the loss
    or its gradient is not finite; the checkpoints from before stay.
    """
    state, train = TrainingState(task.kind, task.model, task.steps(), settings), settings.train
    progress = state.progress
    if run.last.exists():
        state.load(run.last)
        progress = state.progress
        run.forget_from(progress.epoch)
        log.info("going on after epoch %d of %d, step %d", progress.epoch, train.epochs, progress.step)
    elif run.log.exists():
        run.forget_from(0)  # killed between the first line of the log and the first checkpoint
    try:
        with HeldSignals() as held:
            while progress.epoch < train.epochs and not _stale(progress, train):
                train_epoch(task, state, run, held)
                scores = _validate(task, state, run, held)
                _finish_epoch(task, state, run, scores)
                held.raise_pending()
    except Interrupted as interruption:
        interruption.advice = f"to go on: python {sys.argv[0]} --train.resume {run.whole}"
        raise
    ranks.wait()  # for the first one's best.pt
    load_model(task.model, read_checkpoint(run.best, task.kind)["model"], run.best)
    return progress


def train_epoch(task: Task, state: TrainingState, run: RunFolder, held: HeldSignals) -> None:
    """The epoch's steps that are not done yet."""
    progress, train = state.progress, state.settings.train
    task.model.train()
    started = time.perf_counter() - progress.seconds
    batches = tqdm(
        task.batches(progress.epoch, progress.step), f"epoch {progress.epoch + 1}", task.steps(),
        initial=progress.step, leave=False, disable=None,
    )  # fmt: skip
    for batch in batches:
        seed_step(state.settings.seed, progress.epoch, progress.step)
        terms = train_step(task, state, batch)
        if train.schedule in BY_STEP:
            state.scheduler.step()
        for name, value in terms.items():
            progress.sums[name] = progress.sums.get(name, 0) + value.detach()
        progress.step += 1
        progress.seconds = time.perf_counter() - started
        if held.pending or state.save_is_due():
            state.save_last(run.last)
            held.raise_pending()


def train_step(task: Task, state: TrainingState, batch: Any) -> dict[str, Tensor]:
    """One step of the optimiser → the terms of the loss. A loss or a gradient that is not finite changes no weight."""
    terms = task.loss(batch, state.progress.epoch)
    state.optimizer.zero_grad()
    terms["loss"].backward()
    # Without a limit the norm is taken as well: it tells whether the gradient is finite.
    norm = nn.utils.clip_grad_norm_(task.model.parameters(), state.settings.train.clip_norm or math.inf)
    if not torch.stack((terms["loss"].detach(), norm)).isfinite().all():
        raise TrainingError(_not_finite(terms, norm, state.progress))
    state.optimizer.step()
    return terms


def _validate(task: Task, state: TrainingState, run: RunFolder, held: HeldSignals) -> dict[str, float]:
    started = time.perf_counter()
    try:
        with held.passing():
            scores = task.validate()
    except Interrupted:
        state.save_last(run.last)
        raise
    state.progress.seconds += time.perf_counter() - started
    if not math.isfinite(scores["loss"]):
        raise TrainingError(f"the validation loss is not finite after epoch {state.progress.epoch + 1}; {REMEDY}")
    return scores


def _finish_epoch(task: Task, state: TrainingState, run: RunFolder, scores: dict[str, float]) -> None:
    """Learning rate, log and checkpoints."""
    progress, train = state.progress, state.settings.train
    record = {f"train/{name}": (ranks.mean(total) / task.steps()).item() for name, total in progress.sums.items()}
    record["train/learning_rate"] = state.optimizer.param_groups[0]["lr"]
    record |= {f"validation/{name}": value for name, value in scores.items()}
    record["seconds"] = progress.seconds
    if isinstance(state.scheduler, lr_scheduler.ReduceLROnPlateau):
        state.scheduler.step(scores["loss"])
    elif train.schedule not in BY_STEP:
        state.scheduler.step()
    run.log_epoch(progress.epoch, record, task.figures())
    better = scores["loss"] < progress.best_loss
    if better:
        progress.best_loss, progress.best_epoch = scores["loss"], progress.epoch
    progress.next_epoch()
    if better:
        state.save_best(run.best, scores, task.about)
    state.save_last(run.last)
    log.info("%s", _line(progress, train.epochs, record))


def _stale(progress: Progress, train: FitSettings) -> bool:
    return bool(train.patience) and progress.epoch - 1 - progress.best_epoch >= train.patience


def _not_finite(terms: dict[str, Tensor], norm: Tensor, progress: Progress) -> str:
    what = "gradient" if terms["loss"].isfinite() else "loss"
    values = ", ".join(f"{name} {value.item():g}" for name, value in (*terms.items(), ("gradient norm", norm)))
    return f"the {what} is not finite in epoch {progress.epoch + 1}, step {progress.step + 1} ({values}); {REMEDY}"


def _line(progress: Progress, epochs: int, record: dict[str, float]) -> str:
    best = " (best)" if progress.best_epoch == progress.epoch - 1 else ""
    return (
        f"epoch {progress.epoch}/{epochs}: loss {record['train/loss']:.4f}, "
        f"validation {record['validation/loss']:.4f}{best}, {record['seconds']:.0f} s"
    )
