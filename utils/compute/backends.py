"""Backends of the encoder: PyTorch as it is ("eager"), torch.compile, and OpenVINO on CPUs, also in 8-bit integers.

`Backends` chooses the backend for a job. Backends round differently, so cached embeddings are keyed by the name of
the backend that made them.
"""

import hashlib
import importlib.metadata
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.emonet import IMAGE_SIZE, EncodingNetwork, ImageEncoder
from models.mtclar import PUBLISHED_WIDTH
from utils.base.errors import SettingsError, UserError
from utils.base.files import write_text
from utils.base.openvino import import_openvino, openvino_core
from utils.compute.integers import (
    SAMPLE_FACES,
    FaceSample,
    QuantisationCheck,
    quantise,
    quantiser_version,
    read_refusal,
)
from utils.compute.runtime import Runtime, has_amx

log = logging.getLogger(__name__)

MAX_BATCH = 64
"""Images per batch on devices without CUDA at most. Larger batches are not faster, but need more memory."""
CUDA_BATCH = 256
"""Images per batch on a GPU with CUDA, where 256 are 11 % faster than 64, and compiled 20 %, for 4 times the memory."""
CPU_BATCH_PIXELS = 2**19
"""Pixels per batch on a CPU, where batches of 8 images of 256 × 256 pixels are already fastest."""
REQUEST_PIXELS = 2**16
"""Pixels per request to OpenVINO, which works on several requests in parallel, best one per core."""

BREAK_EVEN_IMAGES = {"openvino": 1_000, "compile": 6_000, "compile on a GPU": 200_000}
"""Break-even job sizes: the number of images from which the faster encoding makes up for the start-up time, for the
published network at 256 × 256 pixels. On CPUs without AMX, torch.compile was not faster than eager mode."""

CONVERSION_VERSION = 1
"""Part of the key of converted networks. Increase it whenever the conversion of the same weights changes."""


def batch_size(device: torch.device, image_size: int) -> int:
    """Return the number of images per batch for images of this side in pixels."""
    if device.type == "cuda":
        return CUDA_BATCH
    return min(MAX_BATCH, max(1, CPU_BATCH_PIXELS // image_size**2)) if device.type == "cpu" else MAX_BATCH


class Eager:
    """Encodes with PyTorch as it is: `encode(crops)`.

    All batches have the same size, since another size may round differently; the last one is padded. Thus the
    embedding of an image does not depend on the other images. A batch that exceeds the memory is halved.

    Args:
        model: the network; it is switched to eval mode.
        runtime: device and precision.
        image_size: side of the crops in pixels.

    Attributes:
        name: name of the backend.
        batch: images per batch.
    """

    name = "eager"

    def __init__(self, model: EncodingNetwork, runtime: Runtime, image_size: int):
        self.encode: Callable[[Tensor], Tensor] = model.eval().encode
        self.runtime = runtime
        self.batch = batch_size(runtime.device, image_size)

    @torch.inference_mode()
    def __call__(self, crops: Tensor) -> Tensor:
        """crops (N, 3, S, S) uint8 → embeddings (N, 256) float32, on the runtime's device."""
        try:
            return torch.cat([self._encode_batch(part) for part in crops.split(self.batch)])
        except torch.OutOfMemoryError:
            if self.batch == 1:
                raise
        self.batch //= 2
        return self(crops)

    def _encode_batch(self, crops: Tensor) -> Tensor:
        with self.runtime.autocast():
            return self.encode(self.runtime.images(padded(crops, self.batch))).float()[: len(crops)]


class Compiled(Eager):
    """Encodes with torch.compile. Arguments and attributes as in `Eager`."""

    name = "compile"

    def __init__(self, model: EncodingNetwork, runtime: Runtime, image_size: int):
        super().__init__(model, runtime, image_size)
        self.encode = torch.compile(model.encoder)
        # Compile now, so that a failure is noticed while another backend can still be chosen.
        self(torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8))


class OpenVINO:
    """Encodes with Intel's inference engine, on the CPU. Arguments and attributes as in `Eager`, and:

    Args:
        path: file of the converted network (.xml), written if it is missing or damaged.
    """

    name = "openvino"

    def __init__(self, model: EncodingNetwork, runtime: Runtime, image_size: int, path: Path):
        self._compile(read_or_convert(model, image_size, path), model, runtime, image_size)

    def _compile(self, network: Any, model: EncodingNetwork, runtime: Runtime, image_size: int) -> None:
        """Prepare to encode with an OpenVINO model of any batch size."""
        self.batch = batch_size(runtime.device, image_size)
        self.request = max(1, REQUEST_PIXELS // image_size**2)
        network.reshape([self.request, 3, image_size, image_size])
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if runtime.precision == torch.bfloat16 else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self.outputs = model.encoder.outputs
        compiled = openvino_core().compile_model(network, "CPU", options)
        self.queue = import_openvino().AsyncInferQueue(compiled)
        # A function that held this object would keep it, and the compiled network, in memory for ever.
        self.queue.set_callback(_store_embeddings)

    def __call__(self, crops: Tensor) -> Tensor:
        """crops (N, 3, S, S) uint8 → embeddings (N, 256) float32, on the CPU."""
        embeddings = torch.empty(len(crops), self.outputs)
        for part, images in zip(embeddings.split(self.request), crops.split(self.request), strict=True):
            self.queue.start_async([padded(images, self.request).contiguous().numpy()], part)
        self.queue.wait_all()
        return embeddings


def _store_embeddings(request: Any, part: Tensor) -> None:
    """Copy the result of a request to OpenVINO, without that of padding, to its part (n, 256) of the embeddings."""
    part.copy_(torch.from_numpy(request.get_output_tensor().data)[: len(part)])


class OpenVINOInt8(OpenVINO):
    """Encodes the faces of one video in 8-bit integers. Arguments and attributes as in `OpenVINO`, and:

    The ranges of the activations are taken from faces of the video, so that its embeddings do not depend on which
    other videos are encoded, and by which rank. A quantised network that changes the estimates is refused. The refusal
    is kept, so that later runs do not quantise the network again.

    Args:
        path: file of the quantised network (.xml), written if it is missing or damaged. A refusal is written beside it
            (.json).
        converted: file of the converted network, likewise.
        sample: faces of the video; read if the quantised network is missing.

    Raises:
        DataError: the network's estimates change, on faces that its ranges were not taken from.
    """

    name = "openvino-int8"

    def __init__(
        self, model: EncodingNetwork, runtime: Runtime, image_size: int, path: Path, converted: Path, sample: FaceSample
    ):
        self.sample_key = sample.key
        network = _read_network(path)
        if network is None:
            refusal = path.with_suffix(".json")
            if refused := read_refusal(refusal):
                raise refused.error()
            log.info("quantising the network for this video")
            quantised, crops = read_or_convert(model, image_size, converted), sample.read()
            quantised = quantise(quantised, crops[::2])
            self._compile(quantised, model, runtime, image_size)
            expected = OpenVINO(model, runtime, image_size, converted)(crops[1::2])
            check = QuantisationCheck.compare(model.estimates(self(crops[1::2])), model.estimates(expected))
            if check.is_refused:
                write_text(refusal, check.model_dump_json())
                raise check.error()
            network = _save_and_read_network(quantised, path)
        self._compile(network, model, runtime, image_size)


Backend = Eager | OpenVINO


def padded(crops: Tensor, batch: int) -> Tensor:
    """Append black crops to (b, 3, S, S), up to (batch, 3, S, S). A full batch is returned as it is."""
    # Even if it has nothing to append, F.pad starts PyTorch's threads, and they compete with OpenVINO's.
    if len(crops) == batch:
        return crops
    return F.pad(crops, (0, 0, 0, 0, 0, 0, 0, batch - len(crops)))


class Backends:
    """Chooses and creates the backends of a run.

    The choice does not depend on what the run has encoded before, so a video gets the same labels whether it is
    processed alone, with others, or by one of several ranks.

    Args:
        folder: holds the networks converted for OpenVINO.
        weights_key: text that identifies the weights and their precision.
        runtime: names the backend, or leaves the choice open with `auto`.

    Attributes:
        used: names of the backends that encode, or have encoded, the images of this run.
    """

    def __init__(self, folder: Path, weights_key: str, runtime: Runtime):
        self.folder, self.weights_key, self.runtime = folder, weights_key, runtime
        # Only networks converted before this run count in `choose`.
        self.converted = set(folder.glob("*.xml"))
        self.created: dict[tuple[str, int], Backend] = {}
        self.failed: set[str] = set()
        self.used: set[str] = set()

    def choose(self, model: EncodingNetwork, images: int, image_size: int, is_video: bool = False) -> str:
        """Return the name of the backend for a job, to pass to `create`.

        Args:
            model: the network.
            images: number of images of the job.
            image_size: their side in pixels.
            is_video: whether the images are the faces of one video. Others are not encoded in integers.
        """
        name = self._choose(model, images, image_size, is_video)
        self.used.add(name)
        return name

    def _choose(self, model: EncodingNetwork, images: int, image_size: int, is_video: bool) -> str:
        runtime = self.runtime
        if runtime.backend == OpenVINOInt8.name:
            return OpenVINOInt8.name if is_video and images >= SAMPLE_FACES else OpenVINO.name
        if runtime.backend != "auto":
            return runtime.backend
        # The cost of an image grows with the square of its side and with the square of the network's width.
        equivalent_images = images * (image_size * model.encoder.width / (IMAGE_SIZE * PUBLISHED_WIDTH)) ** 2
        on_cpu = runtime.device.type == "cpu"
        if on_cpu and "openvino" not in self.failed and importlib.util.find_spec("openvino"):
            if equivalent_images >= BREAK_EVEN_IMAGES["openvino"] or self._path(image_size) in self.converted:
                return "openvino"
        break_even = BREAK_EVEN_IMAGES["compile" if on_cpu else "compile on a GPU"]
        worthwhile = equivalent_images >= break_even and (has_amx() or not on_cpu)
        return "compile" if worthwhile and "compile" not in self.failed and runtime.can_compile else "eager"

    def create(self, name: str, model: EncodingNetwork, image_size: int, sample: FaceSample | None = None) -> Backend:
        """Return a backend, created once per name and image size, and for integers once per video.

        If it fails and the setting is `auto`, a warning is logged and eager mode is returned instead.

        Args:
            name: as `choose` returns it.
            model: the network.
            image_size: side of the images in pixels.
            sample: faces of the video; needed for integers.

        Raises:
            SettingsError: the backend that the settings name fails.
            DataError: integers would change the estimates for this video.
        """
        backend = self.created.get((name, image_size))
        of_other_video = isinstance(backend, OpenVINOInt8) and sample and backend.sample_key != sample.key
        if backend is None or of_other_video:
            backend = self.created[name, image_size] = self._create(name, model, image_size, sample)
        return backend

    def _create(self, name: str, model: EncodingNetwork, image_size: int, sample: FaceSample | None) -> Backend:
        try:
            if name == "openvino":
                return OpenVINO(model, self.runtime, image_size, self._path(image_size))
            if name == "openvino-int8":
                assert sample, "integers need faces of the video"
                paths = self._path(image_size, sample), self._path(image_size)
                return OpenVINOInt8(model, self.runtime, image_size, *paths, sample)
            return {"eager": Eager, "compile": Compiled}[name](model, self.runtime, image_size)
        except UserError:
            raise
        except Exception as error:  # compilers and inference engines may raise any exception
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if name == "eager":
                raise
            if self.runtime.backend != "auto":
                raise SettingsError(
                    f"runtime.backend: {name} does not work on this machine ({reason}); use auto"
                ) from error
            log.warning("encoding without %s, which does not work on this machine (%s)", name, reason)
            self.failed.add(name)
            self.used = (self.used - {name}) | {"eager"}
            return Eager(model, self.runtime, image_size)

    def _path(self, image_size: int, sample: FaceSample | None = None) -> Path:
        """Path of the network converted for OpenVINO, or of the one quantised from a sample of faces (.int8.xml)."""
        version = importlib.metadata.version("openvino")
        key, suffix = f"{self.weights_key} {image_size} {version} {CONVERSION_VERSION}", ".xml"
        if sample:
            key, suffix = f"{key} {sample.key} {quantiser_version()}", ".int8.xml"
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}{suffix}"


class _ByteEncoder(nn.Module):
    """The encoder with uint8 input, so that OpenVINO converts the images: crops (B, 3, S, S) → embeddings (B, 256)."""

    def __init__(self, encoder: ImageEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, crops: Tensor) -> Tensor:
        return self.encoder(crops.float() / 255)


def read_or_convert(model: EncodingNetwork, image_size: int, path: Path) -> Any:
    """Read the OpenVINO model at `path`; if it is missing or damaged, convert the encoder and save it there."""
    network = _read_network(path)
    if network is None:
        network = _save_and_read_network(_convert(model.eval().encoder, image_size), path)
    return network


def _convert(encoder: ImageEncoder, image_size: int) -> Any:
    """Convert the encoder to an OpenVINO model."""
    log.info("converting the network for OpenVINO, once for these weights and this image size")
    example = torch.zeros(2, 3, image_size, image_size, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_openvino().convert_model(torch.export.export(_ByteEncoder(encoder), (example,)))


def _save_and_read_network(network: Any, path: Path) -> Any:
    """Save an OpenVINO model at `path` (.xml) and beside it (.bin), and return it as later runs read it.

    The model in memory may round differently, so that an interrupted run would not end with the same embeddings.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        import_openvino().serialize(network, Path(folder, path.name), Path(folder, path.stem + ".bin"))
        # The .xml file comes last: whoever finds it may rely on the .bin file.
        for suffix in (".bin", ".xml"):
            Path(folder, path.stem + suffix).replace(path.with_suffix(suffix))
    return openvino_core().read_model(path)


def _read_network(path: Path) -> Any:
    """Read an OpenVINO model; None if it is missing or damaged."""
    try:
        return openvino_core().read_model(path)
    except RuntimeError:
        return None
