"""MT-CLAR + SL's task: absolute valence and arousal, or an expression, from frozen features."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from datasets.pairs import SameExpression
from models.supervised import SupervisedHead
from utils.losses import error_share
from utils.supervised.features import Features
from utils.supervised.settings import SupervisedSettings
from utils.supervised.targets import TARGETS, class_weights

VALIDATION_ERROR_SHARE = 0.5  # fixed, so that validation losses of different epochs can be compared
TRAINING = 21  # stream of chance


class SupervisedTraining:
    """The task that `engine.fit` trains; see there for its methods. The head is so small that it runs in float32."""

    kind = "supervised"

    def __init__(
        self, head: SupervisedHead, train: Features, validation: Features, settings: SupervisedSettings,
        about: dict[str, Any],
    ):  # fmt: skip
        self.model, self.settings, self.about = head, settings, about
        self.target = TARGETS[settings.task]
        self.train, self.validation = train, validation
        device = train.embeddings.device
        self.values, self.wanted = (
            torch.tensor(self.target.values(part.frames), device=device) for part in (train, validation)
        )
        self.classes = SameExpression(train.frames) if settings.balanced else None
        self.validation_weights = class_weights(self.wanted.cpu().numpy()).to(device) if settings.balanced else None

    def steps(self) -> int:
        """As many as it takes; batch norm needs two images in each."""
        rows = len(self.train.frames)
        return min(-(-rows // self.settings.train.batch), rows // 2)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """Rows (B,) of the training features, B about `train.batch`; none is left over. start: steps to pass over."""
        rng, rows = np.random.default_rng([self.settings.seed, TRAINING, epoch]), len(self.train.frames)
        drawn = self.classes.draw(rows, rng) if self.classes else rng.permutation(rows)
        for part in np.array_split(drawn, self.steps())[start:]:
            yield torch.from_numpy(part).to(self.values.device)

    def loss(self, batch: Tensor, epoch: int) -> dict[str, Tensor]:
        train = self.settings.train
        share = error_share(epoch, train.epochs, train.error_exponent)
        return self.target.loss(self.model(self.train.embeddings[batch]), self.values[batch], share, None)

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        out = self.model.eval()(self.validation.embeddings)
        terms = self.target.loss(out, self.wanted, VALIDATION_ERROR_SHARE, self.validation_weights)
        table = self.target.table(self.validation.frames, self.target.answer(out))
        return self.target.score(table) | {name: term.item() for name, term in terms.items()}

    def figures(self) -> dict[str, Figure]:
        """None: to draw one takes longer than an epoch."""
        return {}

    @torch.inference_mode()
    def answer(self, features: Features) -> np.ndarray:
        """(N, outputs): see `utils.supervised.targets`."""
        return self.target.answer(self.model.eval()(features.embeddings))
