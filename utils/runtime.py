"""Where and how to compute: device, precision, memory layout, randomness."""

import contextlib
import ctypes
import importlib.util
import logging
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utils import ranks
from utils.errors import SettingsError
from utils.settings import RuntimeSettings

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_KEPT = 2**30  # bytes


@dataclass(frozen=True)
class Runtime:
    """The resolved runtime settings; made by `make_runtime`."""

    device: torch.device
    precision: torch.dtype
    memory_format: torch.memory_format
    backend: str = "auto"
    """As in the settings: what runs the encoder."""

    def autocast(self) -> contextlib.AbstractContextManager:
        """Multiplies in `precision`; parameters, sums and losses stay float32."""
        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def images(self, crops: Tensor) -> Tensor:
        """uint8 crops (B, 3, S, S) → what the network takes: RGB in [0, 1], on the device."""
        moved = crops.to(self.device, non_blocking=True, memory_format=self.memory_format)
        return moved.float() / 255

    def place(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model on the device, laid out for it."""
        return model.to(self.device, memory_format=self.memory_format)

    @property
    def can_compile(self) -> bool:
        """Whether torch.compile finds what it needs."""
        if self.device.type == "cuda":
            return bool(importlib.util.find_spec("triton"))
        headers = Path(sysconfig.get_path("include"), "Python.h").exists()
        return headers and any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++", "cl")))


def make_runtime(settings: RuntimeSettings) -> Runtime:
    device = _device(settings.device)
    if ranks.started_by_torchrun():
        device = ranks.local_device(device)
        ranks.join(device)
    wanted = settings.precision
    native = _native_bfloat16(device) if wanted == "auto" else wanted == "bfloat16"
    runtime = Runtime(
        device,
        torch.bfloat16 if native else torch.float32,
        torch.channels_last if settings.channels_last else torch.contiguous_format,
        settings.backend,
    )
    _check_backend(runtime)
    if device.type == "cpu":
        _keep_freed_memory()
    log.info("computing on %s in %s", device, str(runtime.precision).removeprefix("torch."))
    return runtime


def _device(name: str) -> torch.device:
    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found if found is not None and found.type in ("cuda", "mps") else torch.device("cpu")
    device = torch.device(name)
    available = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }[device.type]
    if (device.index or 0) >= available:
        raise SettingsError(
            f"runtime.device: {name} is not available here ({available} {device.type} device(s)); use auto"
        )
    return device


def _check_backend(runtime: Runtime) -> None:
    if runtime.backend == "openvino" and runtime.device.type != "cpu":
        raise SettingsError(f"runtime.backend: openvino runs on a CPU, not on {runtime.device}; use auto")
    if runtime.backend == "openvino" and not importlib.util.find_spec("openvino"):
        raise SettingsError(
            "runtime.backend: openvino is not installed; pip install -r requirements-fast.txt, or use auto"
        )
    if runtime.backend == "compile" and not runtime.can_compile:
        raise SettingsError(f"runtime.backend: compile finds no compiler for {runtime.device.type}; use auto")


def _keep_freed_memory() -> None:
    """glibc hands large blocks back to the system and has them zeroed again: half of the encoder's time in bfloat16."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_KEPT)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)


def _native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return has_amx() or getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return False


def has_amx() -> bool:
    """Whether the processor multiplies blocks of matrices at once."""
    return getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()


def seed_step(*numbers: int) -> None:
    """Seeds torch for one step of training, from the run's seed and the step's place.

    Each step draws from its own stream, so that a run which goes on from a checkpoint draws what it would have
    drawn, whatever was computed in between.
    """
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))
