"""The clips of a data set, read and encoded once."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.columns import AXES
from datasets.frames import TIME, is_labelled
from utils.base.errors import DataError
from utils.compute.data import CropReader
from utils.compute.embedding_cache import EmbeddingCache, encode_clips
from utils.compute.runtime import Runtime
from utils.config.common import ScriptSettings
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.sources import Estimator, EvidenceSources, NetworkSource, clip_evidence
from utils.labelling.types import Anchors, EncodedClip

FRAME_RATE = 25.0  # frames per second, assumed for data sets whose tables do not contain times


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

    @property
    def labelled(self) -> np.ndarray:
        """Ascending indices of the frames that have a true label."""
        return np.flatnonzero(is_labelled(self.frames))

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
        encoder: computes the evidence of the Siamese network.
        crop_reader: opens the face crops of a frame table.
        cache: embeddings on disk; None without the Siamese network.
        workers: processes that prepare images.
        estimators: sources of evidence besides the Siamese network.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        crop_reader: CropReader,
        cache: EmbeddingCache | None,
        workers: int,
        estimators: tuple[Estimator, ...] = (),
    ):
        self.encoder, self.crop_reader, self.cache, self.workers = encoder, crop_reader, cache, workers
        self.estimators = estimators

    @classmethod
    def of_sources(cls, sources: EvidenceSources, runtime: Runtime, settings: ScriptSettings) -> "ClipReader":
        """A reader for all sources of evidence; the embeddings are cached beside the checkpoint."""
        cache = None
        if sources.siamese:
            cache = EmbeddingCache.of_network(sources.siamese.checkpoint, settings.runs, runtime)
        encoder = ClipEncoder(sources.model, runtime)
        return cls(encoder, CropReader(settings), cache, settings.data.workers, sources.estimators)

    @property
    def backends_used(self) -> set[str]:
        """Names of the backends that have encoded faces."""
        caches = [self.cache] if self.cache else []
        caches += [source.cache for source in self.estimators if isinstance(source, NetworkSource)]
        return set().union(*(cache.backends.used for cache in caches))

    def read(self, frames: pd.DataFrame) -> list[DatasetClip]:
        """Encode each clip of a frame table.

        Raises:
            DataError: the table holds single images, or another tool's estimates lack a clip.
        """
        if not frames["clip"].duplicated().any():
            raise DataError("the data set holds single images, no clips; label the demo, AFEW-VA or your own video")
        parts = [
            (str(name), part.reset_index(drop=True), _times(part)) for name, part in frames.groupby("clip", sort=False)
        ]
        embeddings = self.embed([part for _, part, _ in parts])
        estimates: list[np.ndarray | None] = [None] * len(parts)
        if self.estimators:
            estimates = [*clip_evidence(self.estimators, parts, self.crop_reader, self.workers)]
        return [
            DatasetClip(name, part, self.encoder.encode(embedded, times, estimated))
            for (name, part, times), embedded, estimated in zip(parts, embeddings, estimates, strict=True)
        ]

    def embed(self, tables: list[pd.DataFrame]) -> list[Tensor]:
        """The embeddings (N, 256) of each frame table's rows; (N, 0) without the Siamese network."""
        model = self.encoder.model
        if model is None or self.cache is None:
            return [torch.empty(len(table), 0) for table in tables]
        return encode_clips(model, [self.crop_reader(table) for table in tables], self.cache, self.workers)


def _times(frames: pd.DataFrame) -> np.ndarray:
    """(N,) seconds of the rows of a clip."""
    return frames[TIME].to_numpy() if TIME in frames else frames["frame"].to_numpy() / FRAME_RATE
