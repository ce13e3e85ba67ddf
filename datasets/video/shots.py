"""Finding the cuts between the shots of a video."""

import math
from collections import deque

import cv2
import numpy as np


class CutDetector:
    """Detects cuts: frames that differ from the one before by much, and by far more than the frames before them did.

    The difference is the mean absolute difference of two thumbnails, in grey levels of 255.
    """

    SIZE = (32, 18)  # width and height of the thumbnails in pixels
    MIN_DIFFERENCE = 12.0  # at a cut
    MIN_RATIO = 3.0  # of the difference at a cut to the largest recent one
    MEMORY = 3  # number of recent differences

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._differences: deque[float] = deque(maxlen=self.MEMORY)

    def is_cut(self, image: np.ndarray) -> bool:
        """Whether this image, (H, W, 3) uint8, begins a new shot; to be called for every frame, in order."""
        thumbnail = cv2.resize(image, self.SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, thumbnail
        if last is None:
            return False
        difference = float(np.abs(thumbnail - last).mean())
        recent = max(self._differences, default=math.inf)  # the second frame has nothing to be compared with
        self._differences.append(difference)
        return difference > max(self.MIN_DIFFERENCE, self.MIN_RATIO * recent)
