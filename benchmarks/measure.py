"""How the benchmarks measure: seconds, peak memory, the processor's matrix peak, and what machine it was."""

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
    """What a function returned in a process of its own, and the process's peak memory in MB."""

    value: Any
    megabytes: float


def alone(function: Callable, *arguments) -> Measured:
    """Calls a function of a module in a fresh process, so that no measurement sees another's memory."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_call, function, arguments).result()


def _call(function: Callable, arguments: tuple) -> Measured:
    value = function(*arguments)
    return Measured(value, peak_memory())


def peak_memory() -> float:
    """Of this process in MB: of its tensors on a GPU, else of all of it."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # where getrusage would count the parent's peak as well
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def seconds(work: Callable[[], Any], times: int = 3, warm: bool = True) -> float:
    """The shortest of several runs; one more before them, unmeasured, where `warm`."""
    torch, shortest = sys.modules.get("torch"), float("inf")
    for run in range(-warm, times):
        started = time.perf_counter()
        work()
        if torch and torch.cuda.is_available():
            torch.cuda.synchronize()
        if run >= 0:
            shortest = min(shortest, time.perf_counter() - started)
    return shortest


def matrix_peak(device: "torch.device", precision: "torch.dtype") -> float:
    """FLOP/s of multiplying two 2048 × 2048 matrices (8192 × 8192 on a GPU), many times over."""
    import torch

    side = 2048 if device.type == "cpu" else 8192
    matrix = torch.randn(side, side, device=device).to(precision)
    return 2 * side**3 / seconds(lambda: matrix @ matrix, 10)


def machine() -> str:
    """Processor, cores, GPU and versions, in a line."""
    import torch

    from utils.runtime import has_amx

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
