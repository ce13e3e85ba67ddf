"""Embeddings of clips, cached on disk so that each image is encoded once per network."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from datasets.images import FaceCrops
from models.emonet import EncodingNetwork
from utils.base.arrays import load_arrays, save_arrays
from utils.base.files import sha256_of_file
from utils.compute import ranks
from utils.compute.backends import Backend, Backends
from utils.compute.encoding import encode_crops
from utils.compute.runtime import Runtime

IMAGES_PER_GROUP = 4096
"""Clips are encoded in groups of about this many images: enough to fill batches, and few enough that an interruption
loses little work."""


class EmbeddingCache:
    """Embeddings on disk, one file per clip, keyed by the weights, the backend, and all that the crops depend on.

    Args:
        folder: holds the cache; created when the first file is written.
        checkpoint: file of the weights.
        runtime: device, precision and backend.
        content: what is cached instead of embeddings, if the same weights also give something else.

    Attributes:
        weights_key: identifies the weights by their content, their precision, and the type of the device.
        backends: encode what the cache does not hold.
    """

    def __init__(self, folder: Path, checkpoint: Path, runtime: Runtime, content: str = ""):
        self.folder, self.runtime = folder, runtime
        words = [sha256_of_file(checkpoint), str(runtime.precision), content]
        words += [runtime.device.type] * (runtime.device.type != "cpu")
        self.weights_key = " ".join(filter(None, words))
        self.backends = Backends(folder, self.weights_key, runtime)

    @classmethod
    def of_network(cls, checkpoint: Path, runs: Path, runtime: Runtime, content: str = "") -> "EmbeddingCache":
        """The cache of a network: beside its checkpoint.

        For an exported network it is `<runs>/embeddings`: exported folders are shared, and embeddings of faces are
        personal data.
        """
        folder = runs if checkpoint.suffix == ".safetensors" else checkpoint.parent
        return cls(folder / "embeddings", checkpoint, runtime, content)

    def path(self, crops: FaceCrops, backend: str) -> Path:
        """Path of the embeddings of these crops, made by the backend of this name."""
        key = hashlib.sha256(f"{self.weights_key} {backend}".encode())
        for row in range(len(crops)):
            key.update(repr(crops.key(row)).encode())
        return self.folder / f"{key.hexdigest()[:32]}.npz"

    def read(self, crops: FaceCrops, backend: str) -> Tensor | None:
        """Return the embeddings (N, 256) of these crops, on the CPU; None if they are not cached."""
        arrays = load_arrays(self.path(crops, backend))
        return None if arrays is None else torch.from_numpy(arrays["embeddings"])

    def write(self, crops: FaceCrops, backend: str, embeddings: Tensor) -> None:
        """Save embeddings (N, 256). Raises StorageError."""
        save_arrays(self.path(crops, backend), {"embeddings": embeddings.cpu().numpy()})


def encode_clips(model: EncodingNetwork, clips: list[FaceCrops], cache: EmbeddingCache, workers: int) -> list[Tensor]:
    """Return the embeddings of clips, read from the cache if possible. All ranks must call this function.

    The clips that are not cached are divided among the ranks, which then read each other's embeddings from the cache.

    Args:
        model: the network of the cache's checkpoint.
        clips: the crops of each clip, all with the same image size; at least one clip.
        cache: where embeddings are read and saved.
        workers: number of worker processes that load images; 0: load in this process.

    Returns:
        Embeddings (N, 256) float32 of each clip's N crops, on the runtime's device.
    """
    image_size = clips[0].image_size
    name = cache.backends.choose(model, sum(map(len, clips)), image_size)
    found = [cache.read(clip, name) for clip in clips]
    if any(embeddings is None for embeddings in found):
        backend = cache.backends.create(name, model, image_size)
        if backend.name != name:  # The chosen backend failed, so another one took its place.
            name = backend.name
            found = [cache.read(clip, name) for clip in clips]
        _encode_missing(backend, clips, found, cache, workers)
    ranks.barrier()  # From here on, the clips that other ranks encode are in the cache.
    embeddings = []
    for clip, part in zip(clips, found, strict=True):
        part = cache.read(clip, name) if part is None else part
        assert part is not None, f"{cache.path(clip, name)} was deleted while it was needed"
        embeddings.append(part.to(cache.runtime.device))
    return embeddings


def _encode_missing(
    backend: Backend, clips: list[FaceCrops], found: list[Tensor | None], cache: EmbeddingCache, workers: int
) -> None:
    """Encode this rank's share of the clips that are None in `found`; add their embeddings to `found` and the cache."""
    missing = [number for number, embeddings in enumerate(found) if embeddings is None]
    share = [number for number in missing if number % ranks.world_size() == ranks.rank()]
    for group in _groups(share, [len(clip) for clip in clips]):
        crops = FaceCrops.concatenate([clips[number] for number in group])
        parts = encode_crops(backend, crops, workers).split([len(clips[number]) for number in group])
        for number, part in zip(group, parts, strict=True):
            cache.write(clips[number], backend.name, part)
            found[number] = part


def _groups(numbers: list[int], sizes: list[int]) -> Iterator[list[int]]:
    """Divide the numbers of clips into groups of at least IMAGES_PER_GROUP images; the last one may be smaller.

    Args:
        numbers: the clips to divide.
        sizes: number of images of every clip, by its number.
    """
    group: list[int] = []
    for number in numbers:
        group.append(number)
        if sum(sizes[member] for member in group) >= IMAGES_PER_GROUP:
            yield group
            group = []
    if group:
        yield group
