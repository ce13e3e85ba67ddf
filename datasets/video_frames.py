"""Any frame of a video, by its number: the same picture that reading the video from its start gives.

Containers seek by time, and not always exactly. A frame that was sought is taken only if its time stamp is the one
that reading from the start gave; otherwise the file is read from its start.
"""

import logging
import threading

import cv2
import numpy as np

from datasets.annotations import Timeline
from datasets.faces import read_image
from datasets.frames import DataError
from datasets.video import FrameFolder, Video

log = logging.getLogger(__name__)

AHEAD = 48  # frames that are sooner decoded one by one than sought


class VideoFrames:
    """Random access to the frames of a video; safe to share between threads."""

    def __init__(self, video: Video, timeline: Timeline):
        self.video, self.timeline = video, timeline
        self._lock = threading.Lock()
        self._capture: cv2.VideoCapture | None = None
        self._next = 0  # frame that the capture decodes next
        self._exact = True  # whether seeking has been found exact so far

    def read(self, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Raises DataError for a frame that the video has not, or that cannot be decoded."""
        row = self.timeline.row_of_frame(frame, str(self.video.path))
        if isinstance(self.video, FrameFolder):
            return read_image(self.video.files[frame])
        with self._lock:
            image = self._reach(frame, float(self.timeline.times[row]))
        if image is None:
            raise DataError(f"{self.video.path}: frame {frame} cannot be decoded")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        with self._lock:
            if self._capture:
                self._capture.release()
            self._capture = None

    def _reach(self, frame: int, time: float) -> np.ndarray | None:
        if self._capture is not None and 0 <= frame - self._next <= AHEAD:
            return self._walk(frame)
        if self._exact and frame > AHEAD:
            image = self._seek(frame, time)
            if image is not None:
                return image
            self._exact = False
            log.warning("%s: cannot be sought exactly, so going back reads it from its start", self.video.path)
        if self._capture is None or frame < self._next:
            self._restart()
        return self._walk(frame)

    def _restart(self) -> None:
        if self._capture:
            self._capture.release()
        self._capture, self._next = self.video.open(), 0

    def _walk(self, frame: int) -> np.ndarray | None:
        while self._next < frame:
            self._capture.grab()
            self._next += 1
        self._next += 1
        there, image = self._capture.read()
        return image if there else None

    def _seek(self, frame: int, time: float) -> np.ndarray | None:
        if self._capture is None:
            self._restart()
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
        there, image = self._capture.read()
        stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        self._next = frame + 1
        if there and abs(stamp - time) < self.timeline.step / 4:
            return image
        self._restart()
        return None
