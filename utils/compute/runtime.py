"""Where and how to compute: device, precision and memory layout."""

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
from typing import TypeVar

import torch
from torch import Tensor, nn

from utils.base.errors import SettingsError
from utils.compute import ranks
from utils.config.sections import RuntimeSettings

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=nn.Module)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt, as in glibc's malloc.h."""
LARGEST_KEPT_BYTES = 2**30


@dataclass(frozen=True)
class Runtime:
    """Device, precision and memory layout for this machine, with `auto` resolved. Created by `make_runtime`.

    Attributes:
        device: where networks run.
        precision: of matrix products and convolutions, float32 or bfloat16.
        memory_format: layout of images and of convolution weights.
        backend: what runs the encoder: eager, compile, openvino, openvino-int8, or auto, which `Backends` resolves for
            each job.
    """

    device: torch.device
    precision: torch.dtype
    memory_format: torch.memory_format
    backend: str = "auto"

    def autocast(self) -> contextlib.AbstractContextManager:
        """Multiply matrices in `precision` within the block; parameters, sums and losses stay float32."""
        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def images(self, crops: Tensor) -> Tensor:
        """crops (B, 3, S, S) uint8 → images (B, 3, S, S) float32, RGB in [0, 1], on the device."""
        moved = crops.to(self.device, non_blocking=True, memory_format=self.memory_format)
        return moved.float() / 255

    def to_device(self, model: Model) -> Model:
        """Move a model to the device, in the runtime's memory layout."""
        return model.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]  # not in stubs

    @property
    def can_compile(self) -> bool:
        """Whether torch.compile finds what it needs: Triton on a GPU, a C++ compiler and Python's headers on a CPU."""
        if self.device.type == "cuda":
            return bool(importlib.util.find_spec("triton"))
        headers = Path(sysconfig.get_path("include"), "Python.h").exists()
        return headers and any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++", "cl")))


def make_runtime(settings: RuntimeSettings) -> Runtime:
    """Resolve the runtime settings for this machine, and join the other ranks of a torchrun job.

    Raises:
        SettingsError: the machine lacks the device or the backend that the settings name, or ranks of a job on several
            machines would share a GPU.
    """
    device = _device(settings.device)
    if ranks.started_by_torchrun():
        device = ranks.local_device(device)
        ranks.init(device)
    wanted = settings.precision
    bfloat16 = _native_bfloat16(device) if wanted == "auto" else wanted == "bfloat16"
    runtime = Runtime(
        device,
        torch.bfloat16 if bfloat16 else torch.float32,
        torch.channels_last if settings.channels_last else torch.contiguous_format,
        settings.backend,
    )
    _check_backend(runtime)
    if device.type == "cpu":
        _keep_freed_memory()
    # By default, cuDNN rounds the inputs of float32 convolutions to 10 bits, and sums in an order that may change.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    log.info("computing on %s in %s", device, str(runtime.precision).removeprefix("torch."))
    return runtime


def has_amx() -> bool:
    """Whether the processor has AMX, Intel's matrix instructions."""
    return getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()


def _device(name: str) -> torch.device:
    """Resolve the setting runtime.device. Raises SettingsError if the device is not available."""
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
            f"runtime.device: {name} is not available on this machine, which has {available} {device.type} device(s); "
            "use auto"
        )
    return device


def _check_backend(runtime: Runtime) -> None:
    """Raise SettingsError if this machine cannot run the backend."""
    needed = {"openvino": ["openvino"], "openvino-int8": ["openvino", "nncf"]}.get(runtime.backend, [])
    if needed and runtime.device.type != "cpu":
        raise SettingsError(f"runtime.backend: {runtime.backend} runs on a CPU, not on {runtime.device}; use auto")
    if missing := [package for package in needed if not importlib.util.find_spec(package)]:
        raise SettingsError(
            f"runtime.backend: {runtime.backend} needs a package that is not installed ({', '.join(missing)}); "
            "pip install -r requirements-fast.txt, or use auto"
        )
    if runtime.backend == "compile" and not runtime.can_compile:
        raise SettingsError(f"runtime.backend: compile finds no compiler for {runtime.device.type}; use auto")


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next allocation.

    By default it returns large blocks to the system, which zeroes them before the next use: half of the encoder's
    time in bfloat16.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_KEPT_BYTES)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)


def _native_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16 without converting to float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return has_amx() or getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return False
