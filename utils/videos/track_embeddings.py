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
from utils.compute.backends import BackEnd
from utils.compute.embedding_cache import EmbeddingCache

FACES_PER_PART = 2048  # faces of a track whose embeddings are saved together
PREFETCHED_BATCHES = 2  # batches of crops that are decoded before the encoder asks for them


class TrackPart(NamedTuple):
    """Consecutive faces of a track whose embeddings are saved in one file.

    Attributes:
        track: number of the track.
        faces: at most FACES_PER_PART rows of the table of faces.
        path: file of the embeddings.
    """

    track: int
    faces: pd.DataFrame
    path: Path


def track_embeddings(
    video: Video, faces: pd.DataFrame, model: EncodingNetwork, cache: EmbeddingCache, key: str, image_size: int
) -> dict[int, Tensor]:
    """Encodes the faces of tracks, or reads their embeddings from the cache.

    Args:
        video: read once if embeddings are missing.
        faces: rows of the table of faces, of the tracks to encode.
        model: a network with an encoder.
        cache: where embeddings are saved.
        key: key of all that the faces depend on, see `datasets.video.cached_tracks.tracks_key`.
        image_size: side in pixels of the network's input.

    Returns:
        Track number → embeddings (N, 256) of its N faces, on the runtime's device.
    """

    def parts_of(back_end: str) -> list[TrackPart]:
        return _split_tracks(faces, cache.folder, f"{key} {cache.weights_key} {back_end} {image_size} {MARGIN}")

    name = cache.back_ends.choose(model, len(faces), image_size)
    parts = parts_of(name)
    if any(load_arrays(part.path) is None for part in parts):
        encode = cache.back_ends.create(name, model, image_size)
        if encode.name != name:
            parts = parts_of(encode.name)
        _encode_missing(video, parts, encode, image_size)
    embeddings: dict[int, list[np.ndarray]] = {}
    for part in parts:
        embeddings.setdefault(part.track, []).append(_saved_embeddings(part))
    device = cache.runtime.device
    return {track: torch.from_numpy(np.concatenate(arrays)).to(device) for track, arrays in embeddings.items()}


def _split_tracks(faces: pd.DataFrame, folder: Path, key: str) -> list[TrackPart]:
    """Splits the faces into parts, by track and time; the file name of a part is a hash of `key` and of its boxes."""
    parts = []
    for track, rows in faces.groupby("track"):
        for start in range(0, len(rows), FACES_PER_PART):
            part = rows.iloc[start : start + FACES_PER_PART]
            boxes = hashlib.sha256(part[["frame", *BOX]].to_numpy(np.float64).tobytes()).hexdigest()
            parts.append(TrackPart(int(track), part, folder / f"{short_hash(f'{key} {boxes}')}.npz"))
    return parts


def _encode_missing(video: Video, parts: list[TrackPart], encode: BackEnd, image_size: int) -> None:
    """Encodes all parts that are not saved yet in one pass over the video, and saves each as soon as it is complete."""
    missing = [part for part in parts if load_arrays(part.path) is None]
    parts_left: dict[int, list[TrackPart]] = {}
    for part in missing:
        parts_left.setdefault(part.track, []).append(part)
    embeddings: dict[int, list[np.ndarray]] = {track: [] for track in parts_left}
    crops = face_crops(video, pd.concat([part.faces for part in missing]), list(parts_left), image_size)
    for tracks, batch in prefetch(_batches(crops, encode.batch, CentreCrop(image_size)), PREFETCHED_BATCHES):
        for track, embedding in zip(tracks, encode(batch).cpu().numpy(), strict=True):
            embeddings[track].append(embedding)
            if len(embeddings[track]) == len(parts_left[track][0].faces):
                save_arrays(parts_left[track].pop(0).path, {"embeddings": np.stack(embeddings[track])})
                embeddings[track] = []


def _batches(
    crops: Iterator[tuple[int, int, np.ndarray]], size: int, transform: Callable[[Tensor], Tensor]
) -> Iterator[tuple[list[int], Tensor]]:
    """Yields the track numbers of up to `size` crops, and the transformed crops (N, 3, S, S) uint8."""
    while batch := list(itertools.islice(crops, size)):
        yield [track for _, track, _ in batch], torch.stack([transform(as_tensor(crop)) for _, _, crop in batch])


def _saved_embeddings(part: TrackPart) -> np.ndarray:
    arrays = load_arrays(part.path)
    assert arrays is not None, f"{part.path} was deleted while it was needed"
    return arrays["embeddings"]
