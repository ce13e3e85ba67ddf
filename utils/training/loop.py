"""The training loop: train an epoch, validate, save checkpoints, and repeat. It can be interrupted at any step."""

import logging
import math
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import lr_scheduler
from tqdm import tqdm

from utils.base.errors import TrainingError
from utils.base.signals import DelayedSignals, Interrupted
from utils.compute import ranks
from utils.compute.seeds import seed_torch
from utils.config.common import TrainingScriptSettings
from utils.config.sections import FitSettings
from utils.runs.checkpoint import load_model, read_checkpoint
from utils.runs.run_folder import RunFolder
from utils.training.state import Progress, TrainingState

log = logging.getLogger(__name__)

REMEDY = (
    "training stopped, and the checkpoints written before are kept; "
    "try a smaller train.lr, train.clip_norm 1, or runtime.precision float32"
)
SCHEDULES_BY_STEP = ("cosine", "onecycle")
"""Schedules that change the learning rate after every step; the others change it after every epoch."""


class Training(Protocol):
    """A model, its training and validation data, and its loss.

    Attributes:
        kind: names the network in checkpoints, "mtclar" or "supervised".
        model: the network to train.
        about: what the network needs besides its weights, an entry of best.pt.
        history: the people in the training and validation set, and earlier trainings, see `utils.runs.trainings`.
    """

    kind: str

    @property
    def model(self) -> nn.Module: ...

    @property
    def about(self) -> Mapping[str, Any]: ...

    @property
    def history(self) -> Mapping[str, Any]: ...

    def steps(self) -> int:
        """Return the number of batches in an epoch."""
        ...

    def batches(self, epoch: int, start: int = 0) -> Iterable[Any]:
        """Yield the batches of an epoch, which are the same at every call.

        Args:
            epoch: number of the epoch, from 0.
            start: number of batches to skip, without loading them.
        """
        ...

    def loss(self, batch: Any, epoch: int) -> dict[str, Tensor]:
        """Return a dict of scalar tensors: the terms of the loss by name, and the total under the key "loss"."""
        ...

    def validate(self) -> dict[str, float]:
        """Return the scores on the validation set by name. The weights with the lowest "loss" are kept as best.pt."""
        ...

    def figures(self) -> dict[str, Figure]:
        """Return figures of the last validation by name, for TensorBoard."""
        ...


def fit(training: Training, run: RunFolder, settings: TrainingScriptSettings) -> Progress:
    """Train `training.model` in place for `train.epochs` epochs, or resume from last.pt if the run folder holds one.

    After every epoch last.pt is written, and best.pt if the validation loss is the lowest so far; last.pt is also
    written every `train.save_minutes` minutes. In the end the model has the weights of best.pt.

    Args:
        training: the model, its data and its loss.
        run: where checkpoints and the log are written.
        settings: the settings of the run.

    Returns:
        The progress at the end.

    Raises:
        TrainingError: the loss or its gradient is not finite. Earlier checkpoints are kept.
        Interrupted: a signal arrived. After the first signal, the current step is finished (a validation is stopped at
            once), last.pt is written and Interrupted is raised. A second signal, more than a second after the first,
            raises Interrupted at once, without writing last.pt.
    """
    state = TrainingState(training.kind, training.model, training.steps(), settings, training.history)
    _resume(state, run)
    progress, train = state.progress, settings.train
    try:
        with DelayedSignals() as signals:
            while progress.epoch < train.epochs and not _should_stop_early(progress, train):
                train_epoch(training, state, run, signals)
                scores = _validate(training, state, run, signals)
                _finish_epoch(training, state, run, scores)
                signals.raise_pending()
    except Interrupted as interruption:
        interruption.advice = f"to resume: python {sys.argv[0]} --train.resume {run.root}"
        raise
    finally:
        run.close_events()
    ranks.barrier()  # Rank 0 writes best.pt, which all ranks read.
    load_model(training.model, read_checkpoint(run.best, training.kind)["model"], run.best)
    return progress


def train_epoch(training: Training, state: TrainingState, run: RunFolder, signals: DelayedSignals) -> None:
    """Do the remaining steps of the current epoch. Raises Interrupted after a step if a signal has arrived."""
    progress, train = state.progress, state.settings.train
    training.model.train()
    # In a resumed epoch, progress.seconds already contains the time before the interruption.
    started = time.perf_counter() - progress.seconds
    batches = tqdm(
        training.batches(progress.epoch, progress.step),
        f"epoch {progress.epoch + 1}",
        training.steps(),
        initial=progress.step,
        leave=False,
        disable=None,
    )
    for batch in batches:
        seed_torch(state.settings.seed, progress.epoch, progress.step)
        terms = train_step(training, state, batch)
        if train.schedule in SCHEDULES_BY_STEP:
            state.scheduler.step()
        for name, value in terms.items():
            progress.sums[name] = progress.sums.get(name, 0) + value.detach()
        progress.step += 1
        progress.seconds = time.perf_counter() - started
        if signals.pending or state.save_is_due():
            state.save_last(run.last)
            signals.raise_pending()


def train_step(training: Training, state: TrainingState, batch: Any) -> dict[str, Tensor]:
    """Do one step of the optimiser.

    Returns:
        The loss and its terms, scalar tensors by name.

    Raises:
        TrainingError: the loss or its gradient is not finite; the weights are unchanged.
    """
    terms = training.loss(batch, state.progress.epoch)
    state.optimizer.zero_grad()
    terms["loss"].backward()
    # Even without clipping, the norm shows whether the gradient is finite.
    norm = nn.utils.clip_grad_norm_(training.model.parameters(), state.settings.train.clip_norm or math.inf)
    if not torch.stack((terms["loss"].detach(), norm)).isfinite().all():
        raise TrainingError(_not_finite_message(terms, norm, state.progress))
    state.optimizer.step()
    return terms


def _resume(state: TrainingState, run: RunFolder) -> None:
    """Restore the state from last.pt if there is one, and shorten the log to the epochs that are done."""
    if run.last.exists():
        state.load(run.last)
        progress = state.progress
        run.truncate_log(progress.epoch)
        log.info("resuming after epoch %d of %d, step %d", progress.epoch, state.settings.train.epochs, progress.step)
    elif run.log.exists():
        run.truncate_log(0)  # The run was killed between its first line of the log and its first last.pt.


def _validate(training: Training, state: TrainingState, run: RunFolder, signals: DelayedSignals) -> dict[str, float]:
    """Return the validation scores. A signal stops the validation; last.pt is written and Interrupted is raised."""
    started = time.perf_counter()
    try:
        with signals.immediate():
            scores = training.validate()
    except Interrupted:
        state.save_last(run.last)
        raise
    state.progress.seconds += time.perf_counter() - started
    if not math.isfinite(scores["loss"]):
        raise TrainingError(f"the validation loss is not finite after epoch {state.progress.epoch + 1}; {REMEDY}")
    return scores


def _finish_epoch(training: Training, state: TrainingState, run: RunFolder, scores: dict[str, float]) -> None:
    """Update the learning rate, log the epoch and write the checkpoints."""
    progress, train = state.progress, state.settings.train
    record = {f"train/{name}": (ranks.mean(total) / training.steps()).item() for name, total in progress.sums.items()}
    record["train/learning_rate"] = state.optimizer.param_groups[0]["lr"]
    record |= {f"validation/{name}": value for name, value in scores.items()}
    record["seconds"] = progress.seconds
    if isinstance(state.scheduler, lr_scheduler.ReduceLROnPlateau):
        state.scheduler.step(scores["loss"])
    elif train.schedule not in SCHEDULES_BY_STEP:
        state.scheduler.step()
    run.log_epoch(progress.epoch, record, training.figures())
    is_best = scores["loss"] < progress.best_loss
    if is_best:
        progress.best_loss, progress.best_epoch = scores["loss"], progress.epoch
    progress.next_epoch()
    if is_best:
        state.save_best(run.best, scores, training.about)
    state.save_last(run.last)
    log.info(
        "epoch %d/%d: loss %.4f, validation %.4f%s, %.0f s",
        progress.epoch,
        train.epochs,
        record["train/loss"],
        record["validation/loss"],
        " (best)" if is_best else "",
        record["seconds"],
    )


def _should_stop_early(progress: Progress, train: FitSettings) -> bool:
    """Whether the validation loss has not fallen for `train.patience` epochs."""
    return bool(train.patience) and progress.epoch - 1 - progress.best_epoch >= train.patience


def _not_finite_message(terms: dict[str, Tensor], norm: Tensor, progress: Progress) -> str:
    what = "gradient" if terms["loss"].isfinite() else "loss"
    values = ", ".join(f"{name} {value.item():g}" for name, value in (*terms.items(), ("gradient norm", norm)))
    return f"the {what} is not finite in epoch {progress.epoch + 1}, step {progress.step + 1} ({values}); {REMEDY}"
