"""All that a run needs to go on as if nothing had happened, and the checkpoints that hold it."""

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from utils.checkpoint import load_model, read_checkpoint, save_checkpoint
from utils.errors import CheckpointError
from utils.settings import FitSettings, ScriptSettings

PLATEAU = {"factor": 0.1, "patience": 5}
STEP = {"step_size": 15, "gamma": 0.1}
WARM_UP = 0.05  # share of the steps in which the one cycle rises


@dataclass
class Progress:
    """How far a run is; all that the loop itself remembers. Chance is not in it: each step draws from its own stream.

    `step` steps of epoch `epoch` are done, both counted from 0; `sums` adds up their terms of the loss, `seconds` their
    time.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = -1

    def next_epoch(self) -> None:
        self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, {}, 0.0


class TrainingState:
    """Model, optimiser, learning rate and progress of one run.

    kind: names the network in checkpoints. steps: of an epoch.
    """

    def __init__(self, kind: str, model: nn.Module, steps: int, settings: ScriptSettings):
        self.kind, self.model, self.settings = kind, model, settings
        train = settings.train
        self.optimizer = torch.optim.Adam(
            [p for p in model.parameters() if p.requires_grad],
            lr=train.lr, weight_decay=train.weight_decay, fused=True,
        )  # fmt: skip
        self.scheduler = make_scheduler(self.optimizer, train, steps)
        self.progress = Progress()
        self._saved = time.monotonic()

    def save_best(self, path: Path, scores: dict[str, float], about: dict[str, Any]) -> None:
        save_checkpoint(path, self._weights() | {"scores": scores, "about": about})

    def save_last(self, path: Path) -> None:
        rest = {"optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict(),
                "progress": asdict(self.progress)}  # fmt: skip
        save_checkpoint(path, self._weights() | rest)
        self._saved = time.monotonic()

    def save_is_due(self) -> bool:
        minutes = self.settings.train.save_minutes
        return bool(minutes) and time.monotonic() - self._saved >= 60 * minutes

    def load(self, path: Path) -> None:
        """Goes back to what `save_last` has saved. Raises CheckpointError."""
        content = read_checkpoint(path, self.kind)
        try:
            load_model(self.model, content["model"], path)
            self.optimizer.load_state_dict(content["optimizer"])
            self.scheduler.load_state_dict(content["scheduler"])
            self.progress = Progress(**content["progress"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(
                f"{path}: holds no state of training that fits these settings ({error}); "
                "start a new run without train.resume"
            ) from None

    def _weights(self) -> dict[str, Any]:
        settings = self.settings.model_dump(mode="json")
        settings["train"]["resume"] = None  # an interrupted run's checkpoints are those of an uninterrupted one
        return {"kind": self.kind, "settings": settings, "epoch": self.progress.epoch, "model": self.model.state_dict()}


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
