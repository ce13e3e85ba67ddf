"""Training of MT-CLAR on pairs: is the expression of two faces similar, and how much do valence and arousal differ?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from datasets.frames import is_labelled
from datasets.images import TrainingImages
from datasets.pairs import draw_batches, draw_pairs
from datasets.splits import Splits
from models.mtclar import MTCLAR, Comparison
from utils.compute import ranks
from utils.compute.data import CropReader
from utils.compute.loading import PlannedLoader
from utils.compute.runtime import Runtime
from utils.compute.seeds import PAIR_TRAINING_SEED_STREAM, VALIDATION_SEED_STREAM
from utils.config.mtclar import MtclarTrainingSettings
from utils.plots import pair_sheet, similarity_figure
from utils.runs.trainings import training_history
from utils.training.losses import PairTargets, mse_weight_at, pair_losses, random_weights
from utils.training.pair_evaluation import PairEvaluator
from utils.training.pair_targets import pair_targets, similarity_criterion


class PlannedBatch(NamedTuple):
    """Which images a batch loads and which of them it compares.

    Attributes:
        rows: (N,) rows of the frame table.
        first: (P,) index in `rows` of the first image of each pair.
        second: (P,) index in `rows` of the second image of each pair.
    """

    rows: np.ndarray
    first: np.ndarray
    second: np.ndarray


class Batch(NamedTuple):
    """A batch of N images and the P pairs of them that are compared.

    Attributes:
        images: (N, 3, S, S) uint8.
        first: (P,) index of the first image of each pair.
        second: (P,) index of the second image of each pair.
        targets: true labels of the P pairs.
    """

    images: Tensor
    first: Tensor
    second: Tensor
    targets: PairTargets


class PairNetwork(nn.Module):
    """Encodes and compares a batch in one `forward`, as DistributedDataParallel needs it."""

    def __init__(self, model: MTCLAR):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Comparison]:
        """Encode N images and compare P pairs of them.

        Args:
            images: (N, 3, S, S), RGB in [0, 1].
            first: (P,) index of the first image of each pair.
            second: (P,) index of the second image of each pair.

        Returns:
            Embeddings of the first and of the second images, (P, 256) each, and the predictions for the pairs.
        """
        embeddings = self.model.encode(images)
        a, b = embeddings[first], embeddings[second]
        return a, b, self.model.compare(a, b)


class PairTraining:
    """The training of the Siamese network, see `utils.training.loop.Training`.

    Args:
        model: the network, on the runtime's device.
        splits: training, validation and test set; the test set is not used.
        crop_reader: opens the face crops.
        settings: the settings of mtclar.py.
        runtime: device and precision.
        earlier_trainings: trainings that the weights come from, see `utils.runs.trainings`.

    Attributes:
        model: the network.
        history: the people in the training and validation set, and the earlier trainings.
        frames: the labelled rows of the frame table of the training set.
        criterion: defines which training images are similar.
        loader: loads the images of the planned batches.
        network: the model in the form that training calls: wrapped in DistributedDataParallel if there are several
            ranks.
        validation: evaluates the model on the validation pairs.
        validated: predictions for them by the last `validate`, for `figures`.
    """

    kind = "mtclar"
    about: dict[str, Any] = {}

    def __init__(
        self,
        model: MTCLAR,
        splits: Splits,
        crop_reader: CropReader,
        settings: MtclarTrainingSettings,
        runtime: Runtime,
        earlier_trainings: Sequence[Mapping[str, Any]] = (),
    ):
        self.model, self.settings, self.runtime = model, settings, runtime
        self.history = training_history(settings, [splits.train, splits.validation], earlier_trainings)
        # In the user's own videos, most frames have no label.
        has_label = is_labelled(splits.train) | (splits.train["expression"].to_numpy() >= 0)
        self.frames = splits.train[has_label].reset_index(drop=True)
        self.criterion = similarity_criterion(self.frames, settings)
        images = TrainingImages(crop_reader(self.frames), settings.train.augment, settings.seed)
        self.loader = PlannedLoader(images, settings.data.workers)
        # The backends in `utils.compute.backends` encode without gradients, so training compiles the encoder itself.
        if runtime.backend == "compile":
            model.encoder.compile()
        self.network = ranks.parallel(PairNetwork(model))
        count = settings.pairs.validation
        self.validation = PairEvaluator(splits.validation, count, VALIDATION_SEED_STREAM, crop_reader, settings)

    def steps(self) -> int:
        """Return the number of batches of this rank in an epoch."""
        # Items are pairs if train.pairs is "sampled", otherwise images.
        items_per_step = self.settings.train.batch * ranks.world_size()
        return max(1, round((self.settings.train.epoch_size or len(self.frames)) / items_per_step))

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of this rank in an epoch, from batch number `start` on."""
        rng = np.random.default_rng([self.settings.seed, PAIR_TRAINING_SEED_STREAM, epoch])
        # All ranks draw the same plan. Rank r takes its batches r, r + world_size, r + 2·world_size, ...
        plan = list(enumerate(self._plan(rng)))[ranks.rank() :: ranks.world_size()][start:]
        loaded = self.loader.load([(epoch, number, batch.rows) for number, batch in plan])
        for (_, (rows, first, second)), images in zip(plan, loaded, strict=True):
            pairs = rows[first], rows[second]
            targets = pair_targets(self.frames, *pairs, self.criterion.similar(*pairs))
            yield Batch(images, torch.from_numpy(first), torch.from_numpy(second), targets)

    def loss(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """Return the four terms of the loss by name, and their weighted mean under the key "loss"."""
        train = self.settings.train
        with self.runtime.autocast():
            a, b, predicted = self.network(self.runtime.images(batch.images), batch.first, batch.second)
        targets = batch.targets.to(self.runtime.device)
        weight = mse_weight_at(epoch, train.epochs, train.mse_exponent)
        terms = pair_losses(predicted, a, b, targets, weight, balance=train.pairs == "all")
        weights = random_weights(4) if train.loss_weights == "random" else torch.full((4,), 1 / 4)
        return terms | {"loss": sum(w * term for w, term in zip(weights, terms.values(), strict=True))}

    def validate(self) -> dict[str, float]:
        """Return the scores on the validation pairs, which are the same on all ranks."""
        ranks.broadcast_buffers(self.model)
        self.validated = self.validation.evaluate(self.model, self.runtime)
        return ranks.broadcast_from_rank_zero(lambda: self.validated.scores)

    def figures(self) -> dict[str, Figure]:
        """Plot some pairs of the last validation, and the confusion matrix of similarity of all its pairs."""
        table, validation = self.validated.table, self.validation
        return {
            "validation/pairs": pair_sheet(validation.crops, table, validation.pairs.first, validation.pairs.second),
            "validation/confusion": similarity_figure(table),
        }

    def _plan(self, rng: np.random.Generator) -> list[PlannedBatch]:
        """Plan the batches of all ranks in an epoch; `batches` selects those of one rank."""
        count = self.steps() * ranks.world_size()
        if self.settings.train.pairs == "sampled":
            return self._plan_sampled_pairs(count, rng)
        return self._plan_all_pairs(count, rng)

    def _plan_sampled_pairs(self, count: int, rng: np.random.Generator) -> list[PlannedBatch]:
        """Plan `count` batches of `train.batch` pairs that are drawn one by one, as in the paper."""
        size = self.settings.train.batch
        drawn = draw_pairs(self.criterion, count * size, rng)
        rows = np.concatenate((drawn.first.reshape(count, size), drawn.second.reshape(count, size)), 1)
        first = np.arange(size)
        return [PlannedBatch(batch_rows, first, first + size) for batch_rows in rows]

    def _plan_all_pairs(self, count: int, rng: np.random.Generator) -> list[PlannedBatch]:
        """Plan `count` batches of `train.batch` images in which every pair of images is compared.

        Each unordered pair occurs once in a batch; which of its images is face 1 is random.
        """
        train, plan = self.settings.train, []
        for rows in draw_batches(self.frames, count, train.batch, train.subjects, rng):
            first, second = np.triu_indices(train.batch, 1)
            swap = rng.random(len(first)) < 0.5
            plan.append(PlannedBatch(rows, np.where(swap, second, first), np.where(swap, first, second)))
        return plan
