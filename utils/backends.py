"""One `encode` for all back ends: PyTorch as it is, PyTorch compiled, or OpenVINO on a CPU.

A run asks `BackEnds` which back end serves a job. Results differ in rounding, so an embedding on disk is named after
the back end that made it.
"""

import hashlib
import importlib.metadata
import importlib.util
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.emonet import EMBEDDING, Encoder
from utils.errors import SettingsError
from utils.runtime import Runtime, has_amx

log = logging.getLogger(__name__)

BATCH, CPU_PIXELS = 64, 2**19
"""Images of a batch, and pixels on a CPU (8 images of 256 × 256): more makes no hardware faster, but fills memory."""
REQUEST_PIXELS = 2**16
"""Of a request to OpenVINO, which works on several at once: at best one a core."""

PAYS = {"openvino": 1_000, "compile": 6_000, "compile on a GPU": 200_000}
"""Images from which a back end's start is earned back, counted in those of the published network at 256 × 256. On CPUs
without AMX, where matrices take most of the time, compiled code was not faster than PyTorch as it is."""
PUBLISHED = 256

CONVERSION = 1  # raise it whenever the same weights would be converted to something else


def batch_size(device: torch.device, image_size: int) -> int:
    return min(BATCH, max(1, CPU_PIXELS // image_size**2)) if device.type == "cpu" else BATCH


class Eager:
    """uint8 crops (N, 3, S, S) → embeddings (N, 256), float32, on the runtime's device.

    Images go through the network in batches of one size, the last one filled up, because another size may round
    differently: so an image's embedding does not depend on the images beside it.
    """

    name = "eager"

    def __init__(self, model: nn.Module, runtime: Runtime, image_size: int):
        self.encode, self.runtime = model.eval().encode, runtime
        self.batch = batch_size(runtime.device, image_size)

    @torch.inference_mode()
    def __call__(self, crops: Tensor) -> Tensor:
        try:
            return torch.cat([self._encode(part) for part in crops.split(self.batch)])
        except torch.OutOfMemoryError:
            if self.batch == 1:
                raise
        self.batch //= 2
        return self(crops)

    def _encode(self, crops: Tensor) -> Tensor:
        with self.runtime.autocast():
            return self.encode(self.runtime.images(filled(crops, self.batch))).float()[: len(crops)]


class Compiled(Eager):
    """The same through `torch.compile`."""

    name = "compile"

    def __init__(self, model: nn.Module, runtime: Runtime, image_size: int):
        super().__init__(model, runtime, image_size)
        self.encode = torch.compile(model.encoder)
        self(torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8))


class OpenVINO:
    """The same through Intel's inference engine; the network is converted once and kept at `path`."""

    name = "openvino"

    def __init__(self, model: nn.Module, runtime: Runtime, image_size: int, path: Path):
        self.batch = batch_size(runtime.device, image_size)
        self.request = max(1, REQUEST_PIXELS // image_size**2)
        core = openvino().Core()
        network = _read_converted(core, path) or _convert(model.eval().encoder, image_size, path)
        network.reshape([self.request, 3, image_size, image_size])
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if runtime.precision == torch.bfloat16 else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self.queue = openvino().AsyncInferQueue(core.compile_model(network, "CPU", options))

    def __call__(self, crops: Tensor) -> Tensor:
        found = torch.empty(len(crops), EMBEDDING)

        def keep(request, start: int) -> None:
            part = found[start : start + self.request]
            part.copy_(torch.from_numpy(request.get_output_tensor().data)[: len(part)])

        self.queue.set_callback(keep)
        for start in range(0, len(crops), self.request):
            part = filled(crops[start : start + self.request], self.request)
            self.queue.start_async([part.contiguous().numpy()], start)
        self.queue.wait_all()
        return found


Encode = Eager | OpenVINO


def filled(crops: Tensor, batch: int) -> Tensor:
    """Crops (b, 3, S, S) with black ones behind, up to (batch, 3, S, S)."""
    return F.pad(crops, (0, 0, 0, 0, 0, 0, 0, batch - len(crops)))


class BackEnds:
    """The back ends of a run: which one serves a job, and each made once.

    What a run chooses does not depend on what it has done before, so that it labels a video alike alone, among
    others, or where several processes share the videos.
    """

    def __init__(self, folder: Path, weights: str, runtime: Runtime):
        """folder: of converted networks. weights: their key."""
        self.folder, self.weights, self.runtime = folder, weights, runtime
        self.converted = set(folder.glob("*.xml"))
        self.made: dict[tuple[str, int], Encode] = {}
        self.failed: set[str] = set()

    def choose(self, model: nn.Module, images: int, image_size: int) -> str:
        """The name of the back end for a job of so many images; `make` makes it."""
        runtime, work = self.runtime, images * (image_size * model.encoder.width / PUBLISHED**2) ** 2
        if runtime.backend != "auto":
            return runtime.backend
        on_cpu = runtime.device.type == "cpu"
        if on_cpu and "openvino" not in self.failed and importlib.util.find_spec("openvino"):
            if work >= PAYS["openvino"] or self._path(image_size) in self.converted:
                return "openvino"
        pays = work >= PAYS["compile" if on_cpu else "compile on a GPU"] and (has_amx() or not on_cpu)
        return "compile" if pays and "compile" not in self.failed and runtime.can_compile else "eager"

    def make(self, name: str, model: nn.Module, image_size: int) -> Encode:
        """The back end of this name, or PyTorch as it is where that fails and the settings leave the choice open."""
        if (name, image_size) not in self.made:
            self.made[name, image_size] = self._made(name, model, image_size)
        return self.made[name, image_size]

    def _made(self, name: str, model: nn.Module, image_size: int) -> Encode:
        try:
            if name == "openvino":
                return OpenVINO(model, self.runtime, image_size, self._path(image_size))
            return {"eager": Eager, "compile": Compiled}[name](model, self.runtime, image_size)
        except Exception as error:  # whatever a compiler or an engine may raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if name == "eager":
                raise
            if self.runtime.backend != "auto":
                raise SettingsError(f"runtime.backend {name} does not work here ({reason}); use auto") from error
            log.warning("encoding without %s, which does not work here (%s)", name, reason)
            self.failed.add(name)
            return Eager(model, self.runtime, image_size)

    def _path(self, image_size: int) -> Path:
        version = importlib.metadata.version("openvino")
        key = hashlib.sha256(f"{self.weights} {image_size} {version} {CONVERSION}".encode())
        return self.folder / f"{key.hexdigest()[:32]}.xml"


def openvino():
    """The package; its companion, which reports every use to the makers, is kept from loading."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


class _FromBytes(nn.Module):
    """uint8 crops (B, 3, S, S) → embeddings (B, 256)."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, crops: Tensor) -> Tensor:
        return self.encoder(crops.float() / 255)


def _convert(encoder: Encoder, image_size: int, path: Path):
    """The network as OpenVINO's model, also written to `path` (.xml) and beside it (.bin), the latter first."""
    log.info("converting the network for OpenVINO, once for these weights and this image size")
    example = torch.zeros(2, 3, image_size, image_size, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = openvino().convert_model(torch.export.export(_FromBytes(encoder), (example,)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        openvino().serialize(network, Path(folder, path.name), Path(folder, path.stem + ".bin"))
        for suffix in (".bin", ".xml"):
            Path(folder, path.stem + suffix).replace(path.with_suffix(suffix))
    return network


def _read_converted(core, path: Path):
    """The converted network; None where there is none, or a broken one."""
    try:
        return core.read_model(path)
    except RuntimeError:
        return None
