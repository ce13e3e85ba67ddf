"""Any frame of a video by its number: the same image that reading the video from its start gives.

Containers seek by time, and not always exactly. A frame found by seeking is accepted only if its time stamp is the
one that reading from the start gave; otherwise the file is read from its start.
"""

import logging
import threading

import cv2
import numpy as np

from datasets.annotations.timeline import Timeline
from datasets.faces import read_image
from datasets.video.reading import FrameFolder, Video, VideoFile
from utils.base.errors import DataError

logger = logging.getLogger(__name__)

MAX_STEPS = 48
"""Longest way forward, in frames, that is decoded frame by frame, which is faster than seeking."""


class VideoFrames:
    """Random access to the frames of a video, safe to share between threads.

    Args:
        video: a video file or a folder of images.
        timeline: the frames of the video and their times, as reading it from its start gave them.
    """

    def __init__(self, video: Video, timeline: Timeline):
        self.video, self.timeline = video, timeline
        self._lock = threading.Lock()
        self._decoder = _Decoder(video, timeline.step / 4) if isinstance(video, VideoFile) else None

    def read(self, frame: int) -> np.ndarray:
        """Read a frame by its number.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            DataError: the video does not have the frame, or it cannot be decoded.
        """
        row = self.timeline.row_of_frame(frame, str(self.video.path))
        if isinstance(self.video, FrameFolder):
            return read_image(self.video.files[frame])
        with self._lock:
            image = self._decoder.read(frame, float(self.timeline.times[row])) if self._decoder else None
        if image is None:
            raise DataError(f"{self.video.path}: frame {frame} cannot be decoded")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Close the file; another `read` opens it again."""
        with self._lock:
            if self._decoder:
                self._decoder.close()


class _Decoder:
    """Decodes single frames of a video file, by seeking as long as that is exact.

    Args:
        video: the file.
        tolerance: largest difference in seconds of a time stamp from that of the frame sought.
    """

    def __init__(self, video: VideoFile, tolerance: float):
        self.video, self.tolerance = video, tolerance
        self._capture: cv2.VideoCapture | None = None
        self._next = 0  # the frame that the capture decodes next
        self._is_exact = True  # whether every seek has been exact so far

    def read(self, frame: int, time: float) -> np.ndarray | None:
        """The image of a frame, (H, W, 3) uint8 BGR, whose time stamp is `time` in seconds; None if damaged."""
        if self._capture is not None and 0 <= frame - self._next <= MAX_STEPS:
            return self._step_to(frame, self._capture)
        if self._is_exact and frame > MAX_STEPS:
            image = self._seek(frame, time)
            if image is not None:
                return image
            self._is_exact = False
            logger.warning("%s: cannot be sought exactly, so going back reads it from its start", self.video.path)
        if self._capture is None or frame < self._next:
            return self._step_to(frame, self._restart())
        return self._step_to(frame, self._capture)

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def _restart(self) -> cv2.VideoCapture:
        """Open the file at its first frame."""
        self.close()
        self._capture, self._next = self.video.open(), 0
        return self._capture

    def _step_to(self, frame: int, capture: cv2.VideoCapture) -> np.ndarray | None:
        """Decode every frame up to this one."""
        while self._next < frame:
            capture.grab()
            self._next += 1
        self._next += 1
        decoded, image = capture.read()
        return image if decoded else None

    def _seek(self, frame: int, time: float) -> np.ndarray | None:
        """Seek a frame; None, and back at the start of the file, if its time stamp is another one."""
        capture = self._capture or self._restart()
        capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
        decoded, image = capture.read()
        time_stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        self._next = frame + 1
        if decoded and abs(time_stamp - time) < self.tolerance:
            return image
        self._restart()
        return None
