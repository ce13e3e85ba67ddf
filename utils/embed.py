"""Encode once: frames → embeddings; then compare as many pairs of them as needed."""

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.images import FaceCrops
from datasets.pairs import Pairs
from models.mtclar import MTCLAR, Comparison
from utils import ranks
from utils.backends import BackEnds, Eager, Encode
from utils.files import write_whole
from utils.loading import evaluation_loader, unwrapped
from utils.runtime import Runtime

CHUNK = 4096  # pairs
GROUP = 4096  # images


def embed(model: MTCLAR, crops: FaceCrops, runtime: Runtime, workers: int = 0) -> Tensor:
    """Every image of the table, once, in its order → embeddings (N, 256), float32, on the runtime's device."""
    return encode_all(Eager(model, runtime, crops.image_size), crops, workers)


def encode_all(encode: Encode, crops: FaceCrops, workers: int) -> Tensor:
    """The same by a back end of one's choice."""
    return torch.cat([encode(batch) for batch in unwrapped(evaluation_loader(crops, encode.batch, workers))])


@torch.inference_mode()
def compare(model: MTCLAR, embeddings: Tensor, pairs: Pairs, runtime: Runtime) -> Comparison:
    """The pairs' rows of `embeddings` → Comparison of all pairs, float32, on the runtime's device."""
    model.eval()
    parts = []
    for start in range(0, len(pairs), CHUNK):
        first, second = (
            embeddings[torch.from_numpy(rows[start : start + CHUNK])] for rows in (pairs.first, pairs.second)
        )
        with runtime.autocast():
            parts.append(model.compare(first, second))
    return Comparison(*(torch.cat([part[i].float() for part in parts]) for i in range(3)))


def weights_key(checkpoint: Path, runtime: Runtime) -> str:
    """Names the weights by their content, not by their file's name, and the precision they are used in."""
    return f"{hashlib.sha256(checkpoint.read_bytes()).hexdigest()} {runtime.precision}"


class EmbeddingCache:
    """Embeddings on disk, a file a clip, keyed by the weights, the back end and all that the crops depend on."""

    def __init__(self, folder: Path, checkpoint: Path, runtime: Runtime):
        self.folder, self.runtime, self.weights = folder, runtime, weights_key(checkpoint, runtime)
        self.back_ends = BackEnds(folder, self.weights, runtime)

    def path(self, crops: FaceCrops, back_end: str) -> Path:
        key = hashlib.sha256(f"{self.weights} {back_end}".encode())
        for row in range(len(crops)):
            key.update(repr(crops.key(row)).encode())
        return self.folder / f"{key.hexdigest()[:32]}.npz"

    def read(self, crops: FaceCrops, back_end: str) -> Tensor | None:
        arrays = load_arrays(self.path(crops, back_end))
        return None if arrays is None else torch.from_numpy(arrays["embeddings"])

    def write(self, crops: FaceCrops, back_end: str, embeddings: Tensor) -> None:
        save_arrays(self.path(crops, back_end), {"embeddings": embeddings.cpu().numpy()})


def embed_clips(model, clips: list[FaceCrops], cache: EmbeddingCache, runtime: Runtime, workers: int) -> list[Tensor]:
    """Embeddings (N, 256) of each clip, from the cache where they are there; the others are encoded in one go.

    Several ranks share them, and read each other's from the cache.
    """
    size = clips[0].image_size
    chosen = cache.back_ends.choose(model, sum(map(len, clips)), size)
    found = [cache.read(clip, chosen) for clip in clips]
    if any(embeddings is None for embeddings in found):
        encode = cache.back_ends.make(chosen, model, size)
        if encode.name != chosen:
            found = [cache.read(clip, encode.name) for clip in clips]
    missing = [number for number, embeddings in enumerate(found) if embeddings is None]
    mine = [number for number in missing if number % ranks.count() == ranks.rank()]
    for group in _groups(mine, [len(clip) for clip in clips]):
        joined = FaceCrops.joined([clips[number] for number in group])
        parts = encode_all(encode, joined, workers).split([len(clips[number]) for number in group])
        for number, part in zip(group, parts, strict=True):
            cache.write(clips[number], encode.name, part)
            found[number] = part
    ranks.wait()
    for number in missing:
        if found[number] is None:
            found[number] = cache.read(clips[number], encode.name)
    return [embeddings.to(runtime.device) for embeddings in found]


def _groups(numbers: list[int], sizes: list[int]) -> Iterator[list[int]]:
    """Clips encoded together: enough frames to fill batches, few enough that an interruption costs little."""
    group: list[int] = []
    for number in numbers:
        group.append(number)
        if sum(sizes[one] for one in group) >= GROUP:
            yield group
            group = []
    if group:
        yield group


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an .npz file, by name; None where there is none, or one that `save_arrays` has not written."""
    try:
        with zipfile.ZipFile(path) as content:
            if any(part.compress_type != zipfile.ZIP_STORED for part in content.infolist()):
                return None  # it may hold any amount
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except Exception:  # damaged bytes make the parsers raise whatever they like
        return None


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz file, whole or not at all."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, write)


def used_rows(pairs: Pairs) -> tuple[np.ndarray, Pairs]:
    """The table's rows that occur in the pairs, and the same pairs counted among those rows."""
    rows, places = np.unique(np.concatenate((pairs.first, pairs.second)), return_inverse=True)
    first, second = np.split(places, 2)
    return rows, Pairs(first, second, pairs.similar)
