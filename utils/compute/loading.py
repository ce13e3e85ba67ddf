"""Loading images in worker processes."""

from collections.abc import Iterator
from typing import Any

import cv2
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datasets.images import EvaluationImages, FaceCrops
from utils.base.errors import DataError
from utils.base.signals import ignore_signals_in_worker


def evaluation_loader(crops: FaceCrops, batch_size: int, workers: int) -> DataLoader:
    """Return a loader of the centre-cropped images in the order of their rows.

    Args:
        crops: the images to load.
        batch_size: images per batch; the last batch may hold fewer.
        workers: number of worker processes; 0: load in this process.

    Returns:
        A loader of batches (B, 3, S, S) uint8.
    """
    return DataLoader(
        EvaluationImages(crops), batch_size, num_workers=workers, worker_init_fn=_start_worker, pin_memory=False
    )


class PlannedLoader:
    """Loads the items of a plan, such as the batches of an epoch, in worker processes that stay alive between plans.

    Args:
        images: dataset whose `images[item]` loads an item.
        workers: number of worker processes; 0: load in this process.
    """

    def __init__(self, images: Dataset, workers: int):
        self.plan: list[Any] = []
        self.loader = DataLoader(
            images,
            None,
            sampler=self,
            num_workers=workers,
            worker_init_fn=_start_worker,
            persistent_workers=workers > 0,
        )

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.plan)

    def load(self, plan: list[Any]) -> Iterator[Tensor]:
        """Yield `images[item]` for each item of the plan, in order."""
        self.plan = plan
        yield from batches_of(self.loader)


def batches_of(loader: DataLoader) -> Iterator[Tensor]:
    """Yield the batches of a loader; a DataError in a worker process is raised without the worker's traceback."""
    try:
        yield from loader
    except DataError as error:
        raise DataError(str(error).rsplit("DataError: ", 1)[-1].strip()) from None


def _start_worker(_: int) -> None:
    ignore_signals_in_worker()
    cv2.setNumThreads(0)
