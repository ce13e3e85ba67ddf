"""Images from worker processes."""

from collections.abc import Iterator
from typing import Any

import cv2
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datasets.frames import DataError
from datasets.images import EvaluationImages, FaceCrops
from utils.signals import leave_to_the_parent


def evaluation_loader(crops: FaceCrops, batch: int, workers: int) -> DataLoader:
    """Batches (B, 3, S, S) uint8 of the rows in order; the last one holds what is left."""
    return DataLoader(
        EvaluationImages(crops), batch, num_workers=workers, worker_init_fn=_start_worker, pin_memory=False
    )


class PlannedLoader:
    """Hands a plan's items, one by one, to worker processes that live as long as this object."""

    def __init__(self, images: Dataset, workers: int):
        self.plan: list[Any] = []
        self.loader = DataLoader(
            images, None, sampler=self, num_workers=workers, worker_init_fn=_start_worker,
            persistent_workers=workers > 0,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.plan)

    def load(self, plan: list[Any]) -> Iterator[Tensor]:
        """`images[item]` for each item of the plan, in its order."""
        self.plan = plan
        yield from unwrapped(self.loader)


def unwrapped(loader: DataLoader) -> Iterator[Tensor]:
    """The loader's batches; a DataError of a worker process as it was raised there, without its traceback."""
    try:
        yield from loader
    except DataError as error:
        raise DataError(str(error).rsplit("DataError: ", 1)[-1].strip()) from None


def _start_worker(_: int) -> None:
    leave_to_the_parent()
    cv2.setNumThreads(0)
