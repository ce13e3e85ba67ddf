"""Encodes face crops to embeddings, and compares pairs of embeddings."""

import torch
from torch import Tensor

from datasets.images import FaceCrops
from datasets.pairs import Pairs
from models.mtclar import MTCLAR, Comparison
from utils.compute.backends import Backend, Eager
from utils.compute.loading import batches_of, evaluation_loader
from utils.compute.runtime import Runtime

PAIRS_PER_BATCH = 4096


def encode_crops(backend: Backend, crops: FaceCrops, workers: int) -> Tensor:
    """Encode all crops with a given backend.

    Args:
        backend: as `Backends.create` returns it.
        crops: N face crops.
        workers: number of worker processes that load images; 0: load in this process.

    Returns:
        Embeddings (N, 256) float32, on the backend's device.
    """
    batches = batches_of(evaluation_loader(crops, backend.batch, workers))
    return torch.cat([backend(batch) for batch in batches])


def encode_crops_eagerly(model: MTCLAR, crops: FaceCrops, runtime: Runtime, workers: int = 0) -> Tensor:
    """Like `encode_crops`, always with the eager backend, which needs no start-up time."""
    return encode_crops(Eager(model, runtime, crops.image_size), crops, workers)


@torch.inference_mode()
def compare_pairs(model: MTCLAR, embeddings: Tensor, pairs: Pairs, runtime: Runtime) -> Comparison:
    """Compare pairs of embeddings in batches.

    Args:
        model: the network; it is switched to eval mode.
        embeddings: (N, 256), on the runtime's device.
        pairs: P pairs of rows of `embeddings`.
        runtime: device and precision.

    Returns:
        Comparison of the P pairs, float32, on the runtime's device.
    """
    model.eval()
    parts = []
    for start in range(0, len(pairs), PAIRS_PER_BATCH):
        first, second = (
            embeddings[torch.from_numpy(rows[start : start + PAIRS_PER_BATCH])] for rows in (pairs.first, pairs.second)
        )
        with runtime.autocast():
            parts.append(model.compare(first, second))
    return Comparison(*(torch.cat(outputs).float() for outputs in zip(*parts, strict=True)))
