"""MT-CLAR's task: whether two faces show a similar expression, and how far apart their valence and arousal are."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from datasets.frames import Splits
from datasets.images import TrainingImages
from datasets.pairs import Likeness, Neighbourhood, SameExpression, draw_batches, draw_pairs
from models.mtclar import MTCLAR, Comparison
from utils import ranks
from utils.data import CropReader
from utils.embed import compare, embed, used_rows
from utils.loading import PlannedLoader
from utils.losses import PairTargets, error_share, pair_losses, random_weights
from utils.metrics import accuracy, regression_scores
from utils.plots import pair_sheet, similarity_figure
from utils.runtime import Runtime
from utils.settings import Settings

VALIDATION_ERROR_SHARE = 0.5  # fixed, so that validation losses of different epochs can be compared
VALIDATION, TEST, TRAINING = 1, 2, 3  # streams of chance


class Batch(NamedTuple):
    """Images (N, 3, S, S) uint8; pair p compares image first[p] with image second[p]; targets (P,)."""

    images: Tensor
    first: Tensor
    second: Tensor
    targets: PairTargets


class Compared(nn.Module):
    """A batch's encoding and comparison as one module, which several ranks train together."""

    def __init__(self, model: MTCLAR):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Comparison]:
        """images (N, 3, S, S), places (P,), (P,) → embeddings (P, 256), (P, 256) and the Comparison of the P pairs."""
        embeddings = self.model.encode(images)
        a, b = embeddings[first], embeddings[second]
        return a, b, self.model.compare(a, b)


class PairTraining:
    """The task that `engine.fit` trains; see there for its methods."""

    kind = "mtclar"
    about: dict[str, str] = {}

    def __init__(self, model: MTCLAR, splits: Splits, crops: CropReader, settings: Settings, runtime: Runtime):
        self.model, self.settings, self.runtime, self.crops = model, settings, runtime, crops
        self.frames = splits.train
        self.likeness = make_likeness(splits.train, settings)
        images = TrainingImages(crops(splits.train), settings.train.augment, settings.seed)
        self.loader = PlannedLoader(images, settings.data.workers)
        if runtime.backend == "compile":
            model.encoder.compile()
        self.compared = ranks.parallel(Compared(model))
        self.validation = PairTest(splits.validation, settings.pairs.validation, VALIDATION, crops, settings)

    def steps(self) -> int:
        """Of each rank: together they go through an epoch's images."""
        together = self.settings.train.batch * ranks.count()
        return max(1, round((self.settings.train.epoch_size or len(self.frames)) / together))

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        rng = np.random.default_rng([self.settings.seed, TRAINING, epoch])
        plan = list(enumerate(self._plan(rng)))[ranks.rank() :: ranks.count()][start:]
        images = self.loader.load([(epoch, number, rows) for number, (rows, _, _) in plan])
        for (_, (rows, first, second)), batch in zip(plan, images, strict=True):
            pairs = rows[first], rows[second]
            targets = pair_targets(self.frames, *pairs, self.likeness.similar(*pairs))
            yield Batch(batch, torch.from_numpy(first), torch.from_numpy(second), targets)

    def loss(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        train = self.settings.train
        with self.runtime.autocast():
            a, b, predicted = self.compared(self.runtime.images(batch.images), batch.first, batch.second)
        targets = PairTargets(*(target.to(self.runtime.device) for target in batch.targets))
        share = error_share(epoch, train.epochs, train.error_exponent)
        terms = pair_losses(predicted, a, b, targets, share, balance=train.pairs == "all")
        weights = random_weights(4) if train.loss_weights == "random" else torch.full((4,), 1 / 4)
        return terms | {"loss": sum(w * term for w, term in zip(weights, terms.values(), strict=True))}

    def validate(self) -> dict[str, float]:
        ranks.share_buffers(self.model)
        self.validated = self.validation.run(self.model, self.runtime)
        return ranks.from_first(lambda: self.validated.scores)

    def figures(self) -> dict[str, Figure]:
        table, test = self.validated.predictions, self.validation
        return {
            "validation/pairs": pair_sheet(test.crops, table, test.pairs.first, test.pairs.second),
            "validation/confusion": similarity_figure(table),
        }

    def _plan(self, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """A batch of the epoch an entry, the ranks in turn: rows (N,) of the table, its pairs (P,), (P,) among them."""
        train, steps = self.settings.train, self.steps() * ranks.count()
        if train.pairs == "sampled":
            drawn = draw_pairs(self.likeness, steps * train.batch, rng)
            rows = np.concatenate((drawn.first.reshape(steps, -1), drawn.second.reshape(steps, -1)), 1)
            first = np.arange(train.batch)
            return [(line, first, first + train.batch) for line in rows]
        plan = []
        for rows in draw_batches(self.frames, steps, train.batch, train.subjects, rng):
            first, second = np.triu_indices(train.batch, 1)
            swap = rng.random(len(first)) < 0.5
            plan.append((rows, np.where(swap, second, first), np.where(swap, first, second)))
        return plan


class PairResult(NamedTuple):
    """Predictions on a fixed list of pairs, and their scores."""

    predictions: pd.DataFrame
    scores: dict[str, float]


class PairTest:
    """Pairs drawn once from the seed, and what the network says of them whenever it is asked."""

    def __init__(self, frames: pd.DataFrame, count: int, stream: int, crops: CropReader, settings: Settings):
        self.likeness = make_likeness(frames, settings)
        pairs = draw_pairs(self.likeness, count, np.random.default_rng([settings.seed, stream]))
        rows, self.pairs = used_rows(pairs)
        self.frames = frames.iloc[rows].reset_index(drop=True)
        self.crops, self.workers = crops(self.frames), settings.data.workers
        self.share = crops(self.frames.iloc[ranks.rank() :: ranks.count()])
        self.targets = pair_targets(self.frames, self.pairs.first, self.pairs.second, self.pairs.similar)

    def run(self, model: MTCLAR, runtime: Runtime) -> PairResult:
        embeddings = ranks.gathered(embed(model, self.share, runtime, self.workers))
        predicted = compare(model, embeddings, self.pairs, runtime)
        table = self._table(predicted)
        return PairResult(table, pair_scores(table) | self._losses(predicted, embeddings))

    def _losses(self, predicted: Comparison, embeddings: Tensor) -> dict[str, float]:
        a, b = embeddings[torch.from_numpy(self.pairs.first)], embeddings[torch.from_numpy(self.pairs.second)]
        targets = PairTargets(*(target.to(embeddings.device) for target in self.targets))
        terms = pair_losses(predicted, a, b, targets, VALIDATION_ERROR_SHARE, balance=False)
        values = {f"loss_{name}": term.item() for name, term in terms.items()}
        return values | {"loss": sum(values.values()) / len(values)}

    def _table(self, predicted: Comparison) -> pd.DataFrame:
        frames, columns = self.frames, {}
        for number, rows in ((1, self.pairs.first), (2, self.pairs.second)):
            columns[f"clip_{number}"] = frames["clip"].to_numpy()[rows]
            columns[f"frame_{number}"] = frames["frame"].to_numpy()[rows]
        probability = predicted.similarity.softmax(1)[:, 1]
        columns |= {"similar": self.pairs.similar.astype(int), "similar_probability": probability.cpu().numpy()}
        for axis in ("valence", "arousal"):
            columns[f"delta_{axis}"] = getattr(self.targets, f"delta_{axis}").numpy()
            columns[f"delta_{axis}_predicted"] = getattr(predicted, f"delta_{axis}").cpu().numpy()
        return pd.DataFrame(columns)


def pair_scores(table: pd.DataFrame) -> dict[str, float]:
    """similarity_accuracy, and delta_valence_RMSE and so on for each axis that is labelled."""
    scores = {"similarity_accuracy": accuracy(table["similar_probability"] > 0.5, table["similar"] == 1)}
    for axis in ("delta_valence", "delta_arousal"):
        found = regression_scores(table[f"{axis}_predicted"], table[axis])
        scores |= {f"{axis}_{name}": value for name, value in found.items()}
    return scores


def make_likeness(frames: pd.DataFrame, settings: Settings) -> Likeness:
    if settings.similar_by == "expression":
        return SameExpression(frames)
    return Neighbourhood(frames, settings.pairs.neighbourhood_threshold)


def pair_targets(frames: pd.DataFrame, first: np.ndarray, second: np.ndarray, similar: np.ndarray) -> PairTargets:
    """The truth of the pairs (first[i], second[i]) of rows; similar (P,) as `Likeness.similar` gives it."""
    labels = frames[["valence", "arousal"]].to_numpy(np.float32)
    deltas = torch.from_numpy(labels[first] - labels[second])
    return PairTargets(torch.from_numpy(similar.astype(np.int64)), deltas[:, 0], deltas[:, 1])

