"""Evaluation of the Siamese network on a fixed list of pairs, for validation and test."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.columns import AXES
from datasets.pairs import Pairs, draw_pairs
from models.mtclar import MTCLAR, Comparison
from utils.compute import ranks
from utils.compute.data import CropReader
from utils.compute.encoding import compare_pairs, encode_crops_eagerly
from utils.compute.runtime import Runtime
from utils.config.mtclar import MtclarTrainingSettings
from utils.metrics import accuracy, regression_scores
from utils.training.losses import VALIDATION_MSE_WEIGHT, pair_losses
from utils.training.pair_targets import pair_targets, similarity_criterion


class PairPredictions(NamedTuple):
    """Predictions for a list of pairs.

    Attributes:
        table: a row per pair: clip_1, frame_1, clip_2, frame_2, similar (0 or 1), similar_probability, delta_valence,
            delta_valence_predicted, delta_arousal, delta_arousal_predicted.
        scores: see `pair_scores`, and the loss with its terms: loss, loss_similarity, loss_embedding, ...
    """

    table: pd.DataFrame
    scores: dict[str, float]


class PairEvaluator:
    """Draws pairs once, from the seed, and evaluates the network on them as often as needed.

    Args:
        frames: frame table to draw the pairs from.
        count: number of pairs.
        seed_stream: the pairs are drawn with the seed (settings.seed, seed_stream), see `utils.compute.seeds`.
        crop_reader: opens the face crops.
        settings: used for the seed, the similarity criterion and the number of loader processes.

    Attributes:
        frames: frame table of the images that occur in a pair.
        pairs: the pairs, as rows of `frames`.
        crops: the face crops of `frames`.
        targets: the true labels of the pairs.

    Raises:
        DataError: the frame table has too few labelled images for pairs.
    """

    def __init__(
        self,
        frames: pd.DataFrame,
        count: int,
        seed_stream: int,
        crop_reader: CropReader,
        settings: MtclarTrainingSettings,
    ):
        criterion = similarity_criterion(frames, settings)
        pairs = draw_pairs(criterion, count, np.random.default_rng([settings.seed, seed_stream]))
        rows, self.pairs = used_rows(pairs)
        self.frames = frames.iloc[rows].reset_index(drop=True)
        self.crops, self.workers = crop_reader(self.frames), settings.data.workers
        # Every rank encodes its share of the images.
        self.rank_crops = crop_reader(self.frames.iloc[ranks.rank() :: ranks.world_size()])
        self.targets = pair_targets(self.frames, self.pairs.first, self.pairs.second, self.pairs.similar)

    def evaluate(self, model: MTCLAR, runtime: Runtime) -> PairPredictions:
        """Predict all pairs with a network, which is switched to eval mode. All ranks must call this function."""
        embeddings = ranks.gather_rows(encode_crops_eagerly(model, self.rank_crops, runtime, self.workers))
        predicted = compare_pairs(model, embeddings, self.pairs, runtime)
        table = self._table(predicted)
        return PairPredictions(table, pair_scores(table) | self._losses(predicted, embeddings))

    def _losses(self, predicted: Comparison, embeddings: Tensor) -> dict[str, float]:
        """Return the terms of the loss by name, and their mean under the key "loss"."""
        a, b = embeddings[torch.from_numpy(self.pairs.first)], embeddings[torch.from_numpy(self.pairs.second)]
        # `draw_pairs` draws as many similar as dissimilar pairs, so they need no balancing.
        terms = pair_losses(predicted, a, b, self.targets.to(embeddings.device), VALIDATION_MSE_WEIGHT, balance=False)
        values = {f"loss_{name}": term.item() for name, term in terms.items()}
        return values | {"loss": sum(values.values()) / len(values)}

    def _table(self, predicted: Comparison) -> pd.DataFrame:
        columns = {}
        for number, rows in ((1, self.pairs.first), (2, self.pairs.second)):
            for name in ("clip", "frame"):
                columns[f"{name}_{number}"] = self.frames[name].to_numpy()[rows]
        columns["similar"] = self.pairs.similar.astype(int)
        columns["similar_probability"] = predicted.similarity_logits.softmax(1)[:, 1].cpu().numpy()
        for axis in AXES:
            columns[f"delta_{axis}"] = getattr(self.targets, f"delta_{axis}").numpy()
            columns[f"delta_{axis}_predicted"] = getattr(predicted, f"delta_{axis}").cpu().numpy()
        return pd.DataFrame(columns)


def pair_scores(table: pd.DataFrame) -> dict[str, float]:
    """Compute the scores of a table of pairs (see `PairPredictions`).

    Returns:
        similarity_accuracy, and delta_valence_RMSE and so on for each axis that is labelled.
    """
    scores = {"similarity_accuracy": accuracy(table["similar_probability"] > 0.5, table["similar"] == 1)}
    for axis in AXES:
        axis_scores = regression_scores(table[f"delta_{axis}_predicted"], table[f"delta_{axis}"])
        scores |= {f"delta_{axis}_{name}": value for name, value in axis_scores.items()}
    return scores


def used_rows(pairs: Pairs) -> tuple[np.ndarray, Pairs]:
    """Find the rows that occur in pairs.

    Returns:
        The rows (N,) in ascending order, and the pairs as indices into these N rows.
    """
    rows, indices = np.unique(np.concatenate((pairs.first, pairs.second)), return_inverse=True)
    first, second = np.split(indices, 2)
    return rows, Pairs(first, second, pairs.similar)
