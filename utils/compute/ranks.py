"""Collective operations among the processes of a `torchrun` job. Without torchrun there is one process, rank 0.

As in torch.distributed, all ranks must call the same collective operations in the same order. Python objects and CPU
tensors go through gloo, GPU tensors through NCCL if each rank has a GPU of its own, else through gloo. All ranks need
access to the same files, so a job on several machines needs a shared folder.
"""

import atexit
import contextlib
import datetime
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from utils.base.errors import SettingsError

Value = TypeVar("Value")
TIMEOUT = datetime.timedelta(days=7)
"""Longest time that a rank waits for another one, which may be busy with a long video. A rank that fails ends the
whole job without this timeout, because torchrun notices it."""


def rank() -> int:
    """Return the index of this process, 0 ... world_size() - 1."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_rank_zero() -> bool:
    """Whether this is the process that writes files, prints and logs."""
    return rank() == 0


def started_by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return distributed.is_torchelastic_launched()


def local_device(device: torch.device) -> torch.device:
    """Return the GPU of this rank; a device that is no GPU is returned unchanged.

    The ranks of a machine share its GPUs evenly, which helps if videos are decoded more slowly than they are encoded.
    """
    if device.type != "cuda":
        return device
    return torch.device(device.type, int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


def init(device: torch.device) -> None:
    """Initialise the process group. Afterwards only rank 0 prints, and the other ranks log only warnings.

    Raises:
        SettingsError: ranks of a job on several machines would share a GPU.
    """
    if distributed.is_initialized():
        return
    backends = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # NCCL refuses several ranks on one GPU.
        shared = int(os.environ["LOCAL_WORLD_SIZE"]) > torch.cuda.device_count()
        if shared and int(os.environ["GROUP_WORLD_SIZE"]) > 1:
            raise SettingsError(
                f"--nproc_per_node {os.environ['LOCAL_WORLD_SIZE']}: this machine has {torch.cuda.device_count()} "
                "GPUs, and processes can share GPUs only in a job on one machine; start at most one process per GPU"
            )
        backends = f"cpu:gloo,cuda:{'gloo' if shared else 'nccl'}"
    distributed.init_process_group(backends, timeout=TIMEOUT)
    # Without this, gloo's threads may abort a Python process that is ending.
    atexit.register(distributed.destroy_process_group)
    if not is_rank_zero():
        sys.stdout = open(os.devnull, "w")
        logging.getLogger().setLevel(logging.WARNING)


def barrier() -> None:
    """Wait until all ranks have called this function."""
    if world_size() > 1:
        distributed.all_reduce(torch.zeros(1))


@contextlib.contextmanager
def rank_zero_first() -> Iterator[None]:
    """Run the block on rank 0 first; the other ranks run it afterwards and find the result on disk."""
    if not is_rank_zero():
        barrier()
    yield
    if is_rank_zero():
        barrier()


def broadcast_from_rank_zero(make: Callable[[], Value]) -> Value:
    """Call `make` on rank 0 only and return its result, which must be picklable, on all ranks."""
    if world_size() == 1:
        return make()
    objects: list[Any] = [make() if is_rank_zero() else None]
    distributed.broadcast_object_list(objects, 0)
    return objects[0]


def mean(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all ranks."""
    if world_size() > 1:
        value = value.clone()
        distributed.all_reduce(value)
        value /= world_size()
    return value


def gather_rows(rows: Tensor) -> Tensor:
    """Reassemble on all ranks a tensor whose rows were distributed among them.

    Args:
        rows: (n, ...) rows rank, rank + world_size, rank + 2·world_size, ... of the whole.

    Returns:
        The whole tensor (N, ...), on the device of `rows`.
    """
    if world_size() == 1:
        return rows
    parts: list[Any] = [None] * world_size()
    distributed.all_gather_object(parts, rows.cpu())
    whole = rows.new_empty(sum(map(len, parts)), *rows.shape[1:])
    for number, part in enumerate(parts):
        whole[number :: world_size()] = part.to(whole.device)
    return whole


def broadcast_buffers(model: nn.Module) -> None:
    """Copy rank 0's buffers, such as the running statistics of batch norms, to all ranks."""
    if world_size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def parallel(module: nn.Module) -> nn.Module:
    """Wrap a module in DistributedDataParallel, which averages gradients over the ranks, if there are several."""
    return nn.parallel.DistributedDataParallel(module) if world_size() > 1 else module
