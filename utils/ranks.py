"""The processes that `torchrun` starts for one job; without it there is one, the first.

Whatever concerns all of them is called by all of them, in the same order. Small things travel by gloo, gradients on
GPUs by NCCL. Files are shared: several machines need a common folder.
"""

import atexit
import contextlib
import datetime
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

Value = TypeVar("Value")
PATIENCE = datetime.timedelta(days=7)  # a rank may wait for another's long video; torchrun ends a job whose rank fails


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """The rank that writes and speaks."""
    return rank() == 0


def started_by_torchrun() -> bool:
    return distributed.is_torchelastic_launched()


def local_device(device: torch.device) -> torch.device:
    """A GPU of its own for each rank of a machine."""
    return torch.device(device.type, int(os.environ.get("LOCAL_RANK", 0))) if device.type == "cuda" else device


def join(device: torch.device) -> None:
    """Meets the other ranks. From here on only the first one prints, and logs what is no warning."""
    if distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    atexit.register(distributed.destroy_process_group)  # gloo's threads may abort a Python that is ending
    if not is_first():
        sys.stdout = open(os.devnull, "w")
        logging.getLogger().setLevel(logging.WARNING)


def wait() -> None:
    """Until all have come here."""
    if count() > 1:
        distributed.all_reduce(torch.zeros(1))


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """The first rank does what stands in here, then the others do, and find it done."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


def from_first(make: Callable[[], Value]) -> Value:
    """What the first rank makes, on all of them."""
    if count() == 1:
        return make()
    box = [make() if is_first() else None]
    distributed.broadcast_object_list(box, 0)
    return box[0]


def mean(value: Tensor) -> Tensor:
    """Over all ranks."""
    if count() > 1:
        value = value.clone()
        distributed.all_reduce(value)
        value /= count()
    return value


def gathered(rows: Tensor) -> Tensor:
    """Rows rank, rank + count, rank + 2·count … of a whole, (n, …) from each → the whole (N, …)."""
    if count() == 1:
        return rows
    parts: list[Tensor] = [None] * count()
    distributed.all_gather_object(parts, rows.cpu())
    whole = rows.new_empty(sum(map(len, parts)), *rows.shape[1:])
    for number, part in enumerate(parts):
        whole[number :: count()] = part.to(whole.device)
    return whole


def share_buffers(model: nn.Module) -> None:
    """The first rank's running statistics, on all of them."""
    if count() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def parallel(module: nn.Module) -> nn.Module:
    """The module, whose gradients are from now on the mean of all ranks'."""
    return nn.parallel.DistributedDataParallel(module) if count() > 1 else module
