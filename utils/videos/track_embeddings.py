"""Embeddings of face tracks, cached on disk in parts, so that an interrupted run resumes after the last part."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.columns import BOX
from datasets.faces import MARGIN
from datasets.images import as_tensor
from datasets.transforms import CentreCrop
from datasets.video.cached_tracks import short_hash
from datasets.video.crops import face_crops
from datasets.video.reading import Video
from models.emonet import EncodingNetwork
from utils.base.arrays import load_arrays, save_arrays
from utils.base.threads import prefetch
from utils.compute.backends import Backend, OpenVINOInt8
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.integers import SAMPLE_FACES, FaceSample, quantiser_version
from utils.labelling.support import evenly_spaced

FACES_PER_PART = 2048  # faces of a track whose embeddings are saved together
PREFETCHED_BATCHES = 2  # batches of crops that are decoded before the encoder asks for them


class TrackPart(NamedTuple):
    """Consecutive faces of a track whose embeddings are saved in one file.

    The file has a row for each face, NaN if the face is not encoded. It keeps the embeddings of all runs, which may
    have encoded different faces.

    Attributes:
        track: number of the track.
        faces: n rows of the table of faces, n at most FACES_PER_PART.
        chosen: (n,) whether this run encodes the face.
        path: file of the embeddings.
    """

    track: int
    faces: pd.DataFrame
    chosen: np.ndarray
    path: Path

    def missing(self) -> np.ndarray:
        """Ascending rows of the chosen faces whose embeddings are not saved."""
        saved = self._saved()
        return np.flatnonzero(self.chosen if saved is None else self.chosen & np.isnan(saved).any(1))

    def add(self, rows: np.ndarray, embeddings: np.ndarray) -> None:
        """Save embeddings (k, 256) of the faces at `rows` (k,), beside those that are saved already."""
        merged = self._saved()
        if merged is None:
            merged = np.full((len(self.faces), embeddings.shape[1]), np.nan, embeddings.dtype)
        merged[rows] = embeddings
        save_arrays(self.path, {"embeddings": merged})

    def embeddings(self) -> np.ndarray:
        """(n, 256) embeddings of the chosen faces; NaN in the rows of all other faces, encoded or not."""
        saved = self._saved()
        assert saved is not None, f"{self.path} was deleted while it was needed"
        saved[~self.chosen] = np.nan
        return saved

    def _saved(self) -> np.ndarray | None:
        arrays = load_arrays(self.path)
        return None if arrays is None else arrays["embeddings"]


def track_embeddings(
    video: Video,
    faces_by_track: dict[int, pd.DataFrame],
    faces_to_encode: dict[int, np.ndarray],
    model: EncodingNetwork,
    cache: EmbeddingCache,
    key: str,
    image_size: int,
) -> dict[int, Tensor]:
    """Encode faces of tracks, or read their embeddings from the cache.

    Args:
        video: read once if embeddings are missing.
        faces_by_track: number of each track → its N rows of the table of faces.
        faces_to_encode: number of each track → (N,) whether the face is encoded; at least one is.
        model: a network with an encoder.
        cache: where embeddings are saved.
        key: key of all that the faces depend on, see `datasets.video.cached_tracks.tracks_key`.
        image_size: side in pixels of the network's input.

    Returns:
        Track number → embeddings (N, 256) of its N faces, NaN for faces that are left out, on the runtime's device.
    """

    sample = _face_sample(video, faces_by_track, key, image_size)

    def parts_of(backend: str) -> list[TrackPart]:
        part_key = f"{key} {cache.weights_key} {backend} {image_size} {MARGIN}"
        if backend == OpenVINOInt8.name:
            part_key += f" {sample.key} {quantiser_version()}"
        return _split_tracks(faces_by_track, faces_to_encode, cache.folder, part_key)

    # The choice depends on all faces, so that runs which encode other faces use the same backend, and share the files.
    name = cache.backends.choose(model, sum(map(len, faces_by_track.values())), image_size, is_video=True)
    parts = parts_of(name)
    if any(len(part.missing()) for part in parts):
        encode = cache.backends.create(name, model, image_size, sample)
        if encode.name != name:
            parts = parts_of(encode.name)
        _encode_missing(video, parts, encode, image_size)
    by_track = itertools.groupby(parts, lambda part: part.track)
    return {track: _read_embeddings(list(group)).to(cache.runtime.device) for track, group in by_track}


def _read_embeddings(parts: list[TrackPart]) -> Tensor:
    """The embeddings (N, 256) of the parts of a track. To save memory, one part is read at a time."""
    faces, start = sum(len(part.faces) for part in parts), 0
    embeddings = None
    for part in parts:
        rows = part.embeddings()
        if embeddings is None:
            embeddings = np.empty((faces, rows.shape[1]), rows.dtype)
        embeddings[start : start + len(rows)] = rows
        start += len(rows)
    assert embeddings is not None, "a track has at least one part"
    return torch.from_numpy(embeddings)


def _face_sample(video: Video, faces_by_track: dict[int, pd.DataFrame], key: str, image_size: int) -> FaceSample:
    """Faces of a video, evenly spaced over all tracks, from which the encoder can be quantised.

    They do not depend on which faces are encoded or saved, so that the quantised network does not, either.
    """
    faces = pd.concat(faces_by_track.values())
    sample = faces.iloc[evenly_spaced(np.arange(len(faces)), SAMPLE_FACES)]
    boxes = hashlib.sha256(sample[["track", "frame", *BOX]].to_numpy(np.float64).tobytes()).hexdigest()

    def read() -> Tensor:
        crops = face_crops(video, sample, list(faces_by_track), image_size)
        (_, images), *_ = _batches(crops, len(sample), CentreCrop(image_size))
        by_frame = np.lexsort((sample["track"], sample["frame"]))  # the order of `face_crops`
        return images[torch.from_numpy(np.argsort(by_frame))]

    return FaceSample(short_hash(f"{key} {boxes} {MARGIN}"), read)


def _split_tracks(
    faces_by_track: dict[int, pd.DataFrame], faces_to_encode: dict[int, np.ndarray], folder: Path, key: str
) -> list[TrackPart]:
    """Split the faces into parts, by track and time.

    The file name of a part is a hash of `key` and of its boxes, so that runs which choose other faces share the file.
    """
    parts = []
    for track, rows in faces_by_track.items():
        for start in range(0, len(rows), FACES_PER_PART):
            span = slice(start, start + FACES_PER_PART)
            part = rows.iloc[span]
            boxes = hashlib.sha256(part[["frame", *BOX]].to_numpy(np.float64).tobytes()).hexdigest()
            path = folder / f"{short_hash(f'{key} {boxes}')}.npz"
            parts.append(TrackPart(track, part, faces_to_encode[track][span], path))
    return parts


def _encode_missing(video: Video, parts: list[TrackPart], encode: Backend, image_size: int) -> None:
    """Encode all parts that are not saved yet in one pass over the video, and save each as soon as it is complete."""
    faces: list[pd.DataFrame] = []
    parts_left: dict[int, list[tuple[TrackPart, np.ndarray]]] = {}
    for part in parts:
        rows = part.missing()
        if len(rows):
            faces.append(part.faces.iloc[rows])
            parts_left.setdefault(part.track, []).append((part, rows))
    embeddings: dict[int, list[np.ndarray]] = {track: [] for track in parts_left}
    crops = face_crops(video, pd.concat(faces), list(parts_left), image_size)
    for tracks, batch in prefetch(_batches(crops, encode.batch, CentreCrop(image_size)), PREFETCHED_BATCHES):
        for track, embedding in zip(tracks, encode(batch).cpu().numpy(), strict=True):
            embeddings[track].append(embedding)
            part, rows = parts_left[track][0]
            if len(embeddings[track]) == len(rows):
                part.add(rows, np.stack(embeddings[track]))
                parts_left[track].pop(0)
                embeddings[track] = []


def _batches(
    crops: Iterator[tuple[int, int, np.ndarray]], size: int, transform: Callable[[Tensor], Tensor]
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield the track numbers of up to `size` crops, and the transformed crops (N, 3, S, S) uint8."""
    while batch := list(itertools.islice(crops, size)):
        yield [track for _, track, _ in batch], torch.stack([transform(as_tensor(crop)) for _, _, crop in batch])
