"""Features of frame tables: the embeddings of a frozen encoder, which encodes each image once."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.images import AugmentedCrops, FaceCrops
from datasets.splits import Splits
from models.supervised import Supervised
from utils.base.errors import DataError
from utils.compute.data import CropReader
from utils.compute.embedding_cache import EmbeddingCache, encode_clips
from utils.config.supervised import SLTrainingSettings
from utils.supervised.tasks import Task

log = logging.getLogger(__name__)

IMAGES_PER_FILE = 4096
"""Number of single images whose embeddings share a file of the cache."""


class Features(NamedTuple):
    """Frames and their embeddings.

    Attributes:
        frames: frame table of N rows.
        embeddings: (N, 256) float32, the embedding of each row.
    """

    frames: pd.DataFrame
    embeddings: Tensor


def labelled_splits(splits: Splits, task: Task) -> Splits:
    """Return the rows of each split that have labels for the task.

    Raises:
        DataError: a split has no such row, the training set has only one, or `Task.check` refuses the labels.
    """
    kept = Splits(*(frames[task.is_labelled(frames)].reset_index(drop=True) for frames in splits))
    for name, labelled, frames in zip(Splits._fields, kept, splits, strict=True):
        missing = len(frames) - len(labelled)
        if missing:
            log.warning("%s: %d of %d images have no %s", name, missing, len(frames), task.description)
        if labelled.empty:
            raise DataError(
                f"none of the {len(frames)} {name} images has {task.description}; add them{task.hint}, or change "
                "--task, data.validation_share or data.fold"
            )
    if len(kept.train) < 2:
        raise DataError(f"only one training image has {task.description}; add more labelled images")
    task.check(kept)
    return kept


class FeatureReader:
    """Turns frame tables into features, through the embedding cache.

    Args:
        model: network with the encoder.
        cache: embedding cache beside the encoder's weights.
        crop_reader: opens the face crops of a frame table.
        workers: number of processes that load images.
    """

    def __init__(self, model: Supervised, cache: EmbeddingCache, crop_reader: CropReader, workers: int):
        self.model, self.cache, self.crop_reader, self.workers = model, cache, crop_reader, workers

    def __call__(self, frames: pd.DataFrame) -> Features:
        """Return the features of all rows of a frame table."""
        return self._encode(frames, [self.crop_reader(part) for part in _cache_parts(frames)])

    def with_copies(self, features: Features, settings: SLTrainingSettings) -> Features:
        """Return the features, followed by those of randomly augmented copies of all images.

        Args:
            features: the features of the original images.
            settings: `train.copies`, the number of copies, `train.augment` and `seed` are used.
        """
        all_features = [features]
        for copy in range(settings.train.copies):
            parts = [self.crop_reader(part) for part in _cache_parts(features.frames)]
            augmented: list[FaceCrops] = [
                AugmentedCrops(crops, settings.train.augment, settings.seed, copy) for crops in parts
            ]
            all_features.append(self._encode(features.frames, augmented))
        tables, embeddings = zip(*all_features, strict=True)
        return Features(pd.concat(tables, ignore_index=True), torch.cat(embeddings))

    def _encode(self, frames: pd.DataFrame, parts: list[FaceCrops]) -> Features:
        return Features(frames, torch.cat(encode_clips(self.model, parts, self.cache, self.workers)))


def _cache_parts(frames: pd.DataFrame) -> list[pd.DataFrame]:
    """Split a frame table into parts that are cached in one file each, in the order of the rows.

    Videos are cached per clip, so that all folds reuse the same files; single images are cached in blocks of rows.
    """
    is_video = frames["clip"].duplicated().any()
    part = frames["clip"].to_numpy() if is_video else np.arange(len(frames)) // IMAGES_PER_FILE
    return [rows for _, rows in frames.groupby(part, sort=False)]
