"""Training of the supervised head on frozen features."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from datasets.pairs import SameExpression
from models.supervised import SupervisedHead
from utils.compute.seeds import HEAD_TRAINING_SEED_STREAM
from utils.config.supervised import SLTrainingSettings
from utils.runs.trainings import training_history
from utils.supervised.features import Features
from utils.supervised.tasks import TASKS, class_weights
from utils.training.losses import VALIDATION_MSE_WEIGHT, mse_weight_at


class SupervisedTraining:
    """The training of a head (see `utils.training.loop.Training`). It always runs in float32: the head is small.

    Attributes:
        model: the head.
        about: entries of best.pt besides the head, from which the encoder is built again.
        task: what the head predicts.
        history: who the head is trained on, see `utils.runs.trainings`.
    """

    kind = "supervised"

    def __init__(
        self,
        head: SupervisedHead,
        train: Features,
        validation: Features,
        settings: SLTrainingSettings,
        about: dict[str, Any],
    ):
        self.model: nn.Module = head
        self.settings, self.about = settings, about
        self.task = TASKS[settings.task]
        self.train, self.validation = train, validation
        self.history = training_history(settings, [train.frames, validation.frames])
        self.train_labels, self.validation_labels = (
            torch.tensor(self.task.labels(features.frames), device=features.embeddings.device)
            for features in (train, validation)
        )
        self.sampler = SameExpression(train.frames) if settings.balanced else None
        self.validation_weights: Tensor | None = None
        if settings.balanced:
            weights = class_weights(self.task.labels(validation.frames))
            self.validation_weights = weights.to(validation.embeddings.device)

    def steps(self) -> int:
        """Return the number of batches in an epoch, each of at least two rows, which batch normalisation needs."""
        rows = len(self.train.frames)
        return min(-(-rows // self.settings.train.batch), rows // 2)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """Yield the batches of an epoch, each as (B,) indices of training rows.

        The rows are split evenly into `steps()` batches. B is at most `train.batch`, or one more if a batch would
        otherwise have a single row.

        Args:
            epoch: number of the epoch, from 0.
            start: number of batches to skip.
        """
        rng = np.random.default_rng([self.settings.seed, HEAD_TRAINING_SEED_STREAM, epoch])
        rows = len(self.train.frames)
        order = self.sampler.draw(rows, rng) if self.sampler else rng.permutation(rows)
        for batch in np.array_split(order, self.steps())[start:]:
            yield torch.from_numpy(batch).to(self.train_labels.device)

    def loss(self, batch: Tensor, epoch: int) -> dict[str, Tensor]:
        """Return the terms of the loss by name, and the total as "loss", for a batch of row indices (B,)."""
        train = self.settings.train
        weight = mse_weight_at(epoch, train.epochs, train.mse_exponent)
        outputs = self.model(self.train.embeddings[batch])
        # No class weights: if the classes are balanced, `batches` has drawn them equally often.
        return self.task.loss(outputs, self.train_labels[batch], weight, None)

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Return the loss and the scores on the validation rows."""
        outputs = self.model.eval()(self.validation.embeddings)
        terms = self.task.loss(outputs, self.validation_labels, VALIDATION_MSE_WEIGHT, self.validation_weights)
        table = self.task.table(self.validation.frames, self.task.predictions(outputs))
        return self.task.score(table) | {name: term.item() for name, term in terms.items()}

    def figures(self) -> dict[str, Figure]:
        """Return no figures, because drawing one would take longer than an epoch."""
        return {}

    @torch.inference_mode()
    def predict(self, features: Features) -> np.ndarray:
        """Return the predictions (N, columns) of the head, as described in `utils.supervised.tasks`."""
        return self.task.predictions(self.model.eval()(features.embeddings))
