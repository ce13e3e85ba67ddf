"""True labels of pairs of frames: whether they are similar, and how much they differ."""

import numpy as np
import pandas as pd
import torch

from datasets.columns import AXES
from datasets.pairs import Neighbourhood, SameExpression, SimilarityCriterion
from utils.config.mtclar import MtclarTrainingSettings
from utils.training.losses import PairTargets


def similarity_criterion(frames: pd.DataFrame, settings: MtclarTrainingSettings) -> SimilarityCriterion:
    """Return the criterion that the settings name, for the rows of a frame table."""
    if settings.similar_by == "expression":
        return SameExpression(frames)
    return Neighbourhood(frames, settings.pairs.neighbourhood_threshold)


def pair_targets(frames: pd.DataFrame, first: np.ndarray, second: np.ndarray, similar: np.ndarray) -> PairTargets:
    """Return the true labels of P pairs.

    Args:
        frames: frame table.
        first: (P,) row of the first frame of each pair.
        second: (P,) row of the second frame of each pair.
        similar: (P,) bool, or int8 with 1 similar, 0 dissimilar and -1 unknown.
    """
    labels = frames[list(AXES)].to_numpy(np.float32)
    deltas = torch.from_numpy(labels[first] - labels[second])
    return PairTargets(torch.from_numpy(similar.astype(np.int64)), deltas[:, 0], deltas[:, 1])
