"""The clips of a data set, encoded once, and their anchors."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.columns import AXES
from utils.base.errors import DataError
from utils.compute.data import CropReader
from utils.compute.embedding_cache import EmbeddingCache, encode_clips
from utils.labelling.labeller import Labeller
from utils.labelling.types import Anchors, EncodedClip

FRAME_RATE = 25.0  # frames per second; it is assumed, since the tables of data sets do not contain the frame rate


class DatasetClip(NamedTuple):
    """A clip of a data set.

    Attributes:
        name: name of the clip.
        frames: its N rows of the frame table.
        encoded: embeddings and evidence of the clip.
    """

    name: str
    frames: pd.DataFrame
    encoded: EncodedClip

    @property
    def person(self) -> str:
        """Name of the person shown."""
        return str(self.frames["subject"].iloc[0])

    @property
    def labels(self) -> np.ndarray:
        """(N, 2) true labels, from the data set; NaN = not labelled."""
        return self.frames[list(AXES)].to_numpy(np.float64)

    def anchors(self, indices: np.ndarray, labels: np.ndarray, error: float = 0.0) -> Anchors:
        """Anchors at frames of this clip.

        Args:
            indices: (A,) frame indices, ascending.
            labels: (A, 2) their given labels.
            error: standard deviation of the given labels; 0 = exact.
        """
        embeddings = self.encoded.embeddings[torch.from_numpy(indices)]
        times, frames = self.encoded.times[indices], self.frames["frame"].to_numpy()[indices]
        return Anchors(embeddings, labels, np.full_like(labels, error), times, frames, indices)


class ClipReader:
    """Reads clips of frame tables: crops, embeddings from the cache, evidence.

    Attributes:
        labeller: encodes the clips; only its network is used, not its calibration.
        crops: cuts the faces out of the images.
        cache: embeddings on disk.
        workers: processes that prepare images.
    """

    def __init__(self, labeller: Labeller, crops: CropReader, cache: EmbeddingCache, workers: int):
        self.labeller, self.crops, self.cache, self.workers = labeller, crops, cache, workers

    def read(self, frames: pd.DataFrame) -> list[DatasetClip]:
        """Encodes each clip of a frame table. Raises DataError if the table holds single images."""
        if not frames["clip"].duplicated().any():
            raise DataError("the data set holds single images, no clips; label the demo, AFEW-VA or your own video")
        parts = [(name, part.reset_index(drop=True)) for name, part in frames.groupby("clip", sort=False)]
        embeddings = self.embed([part for _, part in parts])
        return [
            DatasetClip(name, part, self.labeller.encode_clip(embedded, part["frame"].to_numpy() / FRAME_RATE))
            for (name, part), embedded in zip(parts, embeddings, strict=True)
        ]

    def embed(self, tables: list[pd.DataFrame]) -> list[Tensor]:
        """The embeddings (N, 256) of each frame table's rows."""
        crops, labeller = [self.crops(table) for table in tables], self.labeller
        return encode_clips(labeller.model, crops, self.cache, self.workers)
