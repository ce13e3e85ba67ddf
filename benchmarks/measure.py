"""Measures time, peak memory and the peak rate of matrix products, and describes the machine."""

import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch


class Measured(NamedTuple):
    """What a function returned in a process of its own, and the peak memory of that process in MB."""

    value: Any
    megabytes: float


def measure_alone(function: Callable[..., Any], *arguments: Any) -> Measured:
    """Call a function in a new process, so that the peak memory is that of this call.

    Args:
        function: defined at the top level of a module, so that the new process can import it.
        arguments: its arguments; they are pickled.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_call, function, arguments).result()


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Measured:
    value = function(*arguments)
    return Measured(value, peak_memory())


def peak_memory() -> float:
    """Peak memory of this process in MB: that of its tensors on the GPU, if there is one, else of the whole process."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # On Linux, getrusage would include the peak of the parent process.
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def seconds(work: Callable[[], Any], times: int = 3, warm_up: bool = True) -> float:
    """The shortest duration of several calls.

    Args:
        work: the function to measure.
        times: number of calls that are measured.
        warm_up: make one call before them that is not measured.
    """
    torch, shortest = sys.modules.get("torch"), float("inf")
    for run in range(-warm_up, times):
        started = time.perf_counter()
        work()
        if torch and torch.cuda.is_available():
            torch.cuda.synchronize()
        if run >= 0:
            shortest = min(shortest, time.perf_counter() - started)
    return shortest


def matrix_peak(device: "torch.device", precision: "torch.dtype") -> float:
    """FLOP per second of the product of two 2048 × 2048 matrices (8192 × 8192 on a GPU), the fastest of ten."""
    import torch

    side = 2048 if device.type == "cpu" else 8192
    matrix = torch.randn(side, side, device=device).to(precision)
    return 2 * side**3 / seconds(lambda: matrix @ matrix, 10)


def machine() -> str:
    """A line of text: processor, cores, GPUs and versions."""
    import torch

    from utils.compute.runtime import has_amx

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), name)
    cores = torch.get_num_threads()
    parts = [name, f"{cores} cores used of {os.cpu_count()}"]
    if has_amx():
        parts.append("AMX")
    parts += [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return ", ".join([*parts, platform.system(), f"Python {platform.python_version()}", f"PyTorch {torch.__version__}"])
