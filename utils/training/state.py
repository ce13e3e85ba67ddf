"""The state of a training run, and the checkpoints that hold it."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from utils.base.errors import CheckpointError
from utils.config.common import TrainingScriptSettings
from utils.config.sections import FitSettings
from utils.runs.checkpoint import load_model, read_checkpoint, save_checkpoint
from utils.runs.trainings import HISTORY

WARM_UP = 0.05
"""Share of the steps in which the learning rate of the one-cycle schedule rises."""


@dataclass
class Progress:
    """How far a run has come.

    The random state is not saved: every step is reseeded from (seed, epoch, step).

    Attributes:
        epoch: number of completed epochs, and thus the number of the current epoch, from 0. Checkpoints hold this
            number, so best.pt of the first epoch has epoch 1.
        step: number of steps done in this epoch.
        sums: sum of each term of the loss over these steps, scalar tensors by name.
        seconds: time spent on this epoch.
        best_loss: lowest validation loss so far.
        best_epoch: number of the epoch of `best_loss`, from 0; -1: none yet.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = -1

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, {}, 0.0


class TrainingState:
    """Model, optimiser, learning rate schedule and progress of a run.

    Args:
        kind: names the network in checkpoints, "mtclar" or "supervised".
        model: the network to train.
        steps: number of steps in an epoch.
        settings: the settings of the run.
        history: who is trained on, and earlier trainings, see `utils.runs.trainings`.

    Attributes:
        optimizer: Adam on the parameters that require gradients.
        scheduler: the learning rate schedule that the setting train.schedule names.
        progress: how far the run has come.
    """

    def __init__(
        self,
        kind: str,
        model: nn.Module,
        steps: int,
        settings: TrainingScriptSettings,
        history: Mapping[str, Any],
    ):
        self.kind, self.model, self.settings, self.history = kind, model, settings, dict(history)
        self.optimizer = torch.optim.Adam(
            [p for p in model.parameters() if p.requires_grad],
            lr=settings.train.lr,
            weight_decay=settings.train.weight_decay,
            fused=True,
        )
        self.scheduler = make_scheduler(self.optimizer, settings.train, steps)
        self.progress = Progress()
        self._saved_at = time.monotonic()

    def save_best(self, path: Path, scores: Mapping[str, float], about: Mapping[str, Any]) -> None:
        """Write best.pt: weights, settings and scores.

        Args:
            path: file to write.
            scores: scores of the model on the validation set.
            about: see `loop.Training`.

        Raises:
            StorageError: the file cannot be written.
        """
        # The key is "about" for compatibility with the first file format.
        save_checkpoint(path, self._weights() | {"scores": scores, "about": about})

    def save_last(self, path: Path) -> None:
        """Write last.pt, from which training can be resumed. Raises StorageError."""
        training = {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "progress": asdict(self.progress),
        }
        save_checkpoint(path, self._weights() | training)
        self._saved_at = time.monotonic()

    def save_is_due(self) -> bool:
        """Whether the last save_last is at least `train.save_minutes` ago."""
        minutes = self.settings.train.save_minutes
        return bool(minutes) and time.monotonic() - self._saved_at >= 60 * minutes

    def load(self, path: Path) -> None:
        """Restore the state from last.pt.

        Raises:
            CheckpointError: the file is damaged, or does not fit the network and the settings.
        """
        content = read_checkpoint(path, self.kind)
        try:
            load_model(self.model, content["model"], path)
            self.optimizer.load_state_dict(content["optimizer"])
            self.scheduler.load_state_dict(content["scheduler"])
            self.progress = Progress(**content["progress"])
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: holds no training state that fits these settings ({error}); "
                "start a new run without train.resume"
            ) from None

    def _weights(self) -> dict[str, Any]:
        """The entries that best.pt and last.pt share."""
        settings = self.settings.model_dump(mode="json")
        # A resumed run writes the same checkpoints as an uninterrupted one.
        settings["train"]["resume"] = None
        content = {"kind": self.kind, "settings": settings, "epoch": self.progress.epoch}
        return content | {"model": self.model.state_dict(), HISTORY: self.history}


def make_scheduler(optimizer: torch.optim.Optimizer, train: FitSettings, steps: int) -> lr_scheduler.LRScheduler:
    """Create the learning rate schedule.

    Args:
        optimizer: the optimiser whose learning rate the schedule changes; it starts with `train.lr`.
        train: the settings of the schedule: its name, the learning rate and the number of epochs.
        steps: number of steps in an epoch.
    """
    if train.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=5)
    if train.schedule == "step":
        return lr_scheduler.StepLR(optimizer, step_size=15, gamma=0.1)
    if train.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, train.epochs * steps)
    # One cycle needs at least four steps, two of which raise the learning rate.
    total = max(train.epochs * steps, 4)
    rising = max(WARM_UP, 2 / total)
    return lr_scheduler.OneCycleLR(optimizer, train.lr, total, pct_start=rising, cycle_momentum=False)
