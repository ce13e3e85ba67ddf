"""Features of a frame table: a row a frame, from a frozen encoder, each encoded once."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.frames import DataError, Splits
from datasets.images import ChangedCrops, FaceCrops
from models.supervised import Supervised
from utils.data import CropReader
from utils.embed import EmbeddingCache, embed_clips
from utils.runtime import Runtime
from utils.supervised.settings import SupervisedSettings
from utils.supervised.targets import Target

log = logging.getLogger(__name__)

CHUNK = 4096  # single images of a file of the cache


class Features(NamedTuple):
    """Frames and what the encoder saw in them: row i of `embeddings`, (N, 256), is row i of `frames`."""

    frames: pd.DataFrame
    embeddings: Tensor


def labelled_splits(splits: Splits, target: Target) -> Splits:
    """The rows that have the target's labels. Raises DataError where a split has none, or too few to train on."""
    kept = Splits(*(frames[target.labelled(frames)].reset_index(drop=True) for frames in splits))
    for name, frames, before in zip(Splits._fields, kept, splits, strict=True):
        if len(frames) < len(before):
            log.warning("%s: %d of %d images have no %s", name, len(before) - len(frames), len(before), target.labels)
        if frames.empty:
            raise DataError(f"none of {len(before)} {name} images has {target.labels}; add them, choose another "
                            "--task, or another share or fold")  # fmt: skip
    if len(kept.train) < 2:
        raise DataError(f"only one training image has {target.labels}; add more")
    target.check(kept)
    return kept


class FeatureReader:
    """frame table → features, through the cache beside the encoder's weights."""

    def __init__(self, model: Supervised, cache: EmbeddingCache, crops: CropReader, runtime: Runtime, workers: int):
        self.model, self.cache, self.crops, self.runtime, self.workers = model, cache, crops, runtime, workers

    def __call__(self, frames: pd.DataFrame) -> Features:
        return self._encode(frames, [self.crops(part) for part in _parts(frames)])

    def with_copies(self, features: Features, settings: SupervisedSettings) -> Features:
        """The features, followed by those of `train.copies` randomly changed copies of all images."""
        train, found = settings.train, [features]
        for copy in range(train.copies):
            parts = (self.crops(part) for part in _parts(features.frames))
            changed = [ChangedCrops(crops, train.augment, settings.seed, copy) for crops in parts]
            found.append(self._encode(features.frames, changed))
        tables, embeddings = zip(*found, strict=True)
        return Features(pd.concat(tables, ignore_index=True), torch.cat(embeddings))

    def _encode(self, frames: pd.DataFrame, parts: list[FaceCrops]) -> Features:
        found = embed_clips(self.model, parts, self.cache, self.runtime, self.workers)
        return Features(frames, torch.cat(found))


def _parts(frames: pd.DataFrame) -> list[pd.DataFrame]:
    """The table cut, in its order, where the cache cuts: a clip a file, so that folds share them, or many images."""
    is_video = frames["clip"].duplicated().any()
    part = frames["clip"].to_numpy() if is_video else np.arange(len(frames)) // CHUNK
    return [rows for _, rows in frames.groupby(part, sort=False)]
