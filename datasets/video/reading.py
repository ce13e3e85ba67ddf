"""Reading a video one frame at a time: any file that OpenCV decodes, or a folder of numbered images.

The frames of a file are numbered from 0 in decoding order, and their times come from the container, so that a
variable frame rate keeps its true times. The frames of a folder have the numbers in the names of the images, and
number / fps as times. Images are rotated upright if the file states the orientation of the camera. At most one image
is held, so that memory does not grow with the length of the video.
"""

import itertools
import logging
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datasets.faces import read_image
from utils.base.errors import DataError
from utils.base.text import safe_name

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

DEFAULT_FPS = 25.0
MAX_FPS = 1000.0  # some headers give the ticks of their clock (90,000 per second) as the frame rate

MISSING_FRAMES, MISSING_SHARE = 5, 0.01
"""A file is truncated if it lacks more frames than both this number and this share of the number in its header.

Headers of intact files may be a few frames off: edit lists hide frames, and if a container has no count, OpenCV
computes it from the duration.
"""

MAX_DIGITS = 15  # of a frame number in the name of an image

MAX_DAMAGED_FRAMES = 250
"""Consecutive frames that may fail to decode before reading stops."""


class VideoFrame(NamedTuple):
    """A frame: its number, its time in seconds, and its image (H, W, 3) uint8 RGB."""

    frame: int
    time: float
    image: np.ndarray


class Truncation(NamedTuple):
    """Number of frames that were decoded, and number that the header states."""

    decoded: int
    expected: int


class Video(ABC):
    """Base class of videos. Each iteration decodes the video from its first frame, one `VideoFrame` at a time.

    Attributes:
        path: the file or folder.
        fps: nominal frames per second.
        size: (width, height) in pixels, upright.
        expected_frames: number of frames that the header states; None = unknown. Headers can be wrong.
        truncated: set by an iteration to the end if the file lacks frames.
    """

    path: Path
    fps: float
    size: tuple[int, int]
    expected_frames: int | None
    truncated: Truncation | None = None

    @property
    def name(self) -> str:
        """Name of the file without suffix, or of the folder, made safe as a file name."""
        resolved = self.path.resolve()
        return safe_name(resolved.stem if resolved.is_file() else resolved.name)

    @abstractmethod
    def __iter__(self) -> Iterator[VideoFrame]: ...


def open_video(path: str | Path, fps: float = DEFAULT_FPS) -> Video:
    """Open a video file or a folder of frames.

    Args:
        path: a file that OpenCV decodes, or a folder of images with a number in their names.
        fps: frames per second of a folder; used for a file only if its header has no valid rate.

    Raises:
        DataError: the path does not exist, is not a video, or has no frames, or the images of a folder lack unique
            numbers. Iterating over a folder raises it if an image cannot be decoded or differs in size.
    """
    path = Path(path)
    if not 0 < fps <= MAX_FPS:
        raise DataError(f"fps = {fps}: give frames per second, above 0 and at most {MAX_FPS:g}")
    if path.is_dir():
        return FrameFolder(path, fps)
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; check the path")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise DataError(f"{path}: a single image; give a video file, or the folder that holds the frames")
    return VideoFile(path, fps)


class VideoFile(Video):
    """A video file that OpenCV decodes; for the arguments see `open_video`."""

    def __init__(self, path: Path, fps: float):
        self.path = path
        capture = self.open()
        try:
            rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
            image = _read(capture)
        finally:
            capture.release()
        if image is None:
            raise DataError(f"{path}: no frame can be decoded; record or download it again")
        self.size = image.shape[1], image.shape[0]  # the header may give the size before rotation
        self.fps = rate if 0 < rate <= MAX_FPS else fps
        self.expected_frames = int(count) if 1 <= count < 2**31 else None
        if self.fps != rate:
            logger.warning("%s: the header has no valid frame rate; assuming %g frames per second", path, fps)

    def __iter__(self) -> Iterator[VideoFrame]:
        capture = self.open()
        try:
            decoded, damaged, time = 0, 0, -1 / self.fps  # damaged: consecutive frames that failed to decode
            for frame in itertools.count():
                image = _read(capture)
                if image is not None:
                    stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                    time = stamp if stamp > time and math.isfinite(stamp) else time + (1 + damaged) / self.fps
                    decoded, damaged = decoded + 1, 0
                    yield VideoFrame(frame, time, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                elif damaged < MAX_DAMAGED_FRAMES and frame + 1 < (self.expected_frames or 0):
                    damaged += 1  # go on, so that the frames after the damaged ones keep their numbers
                else:
                    break
        finally:
            capture.release()
        self._compare_with_header(decoded)

    def open(self) -> cv2.VideoCapture:
        """Open the file at its first frame; DataError if it is not a video."""
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise DataError(
                f"{self.path}: not a video that can be decoded (another kind of file, damaged or cut off); "
                f"try to convert it: ffmpeg -i {self.path.name} repaired.mp4"
            )
        return capture

    def _compare_with_header(self, decoded: int) -> None:
        """Set `truncated`, and log it the first time, if many of the frames that the header states are missing."""
        expected = self.expected_frames or 0
        if expected - decoded <= max(MISSING_FRAMES, MISSING_SHARE * expected):
            return
        if self.truncated is None:
            logger.warning(
                "%s: %d of %d frames can be decoded; the file is cut off or damaged, or an edit list hides frames",
                self.path,
                decoded,
                expected,
            )
        self.truncated = Truncation(decoded, expected)


def _read(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The next image, (H, W, 3) uint8 BGR; None at the end of the video, or if the frame is damaged."""
    try:
        return capture.read()[1]
    except cv2.error:
        return None


class FrameFolder(Video):
    """A folder of images, in the order of the numbers in their names: 2.png, 10.png, 100.png.

    Attributes:
        files: path of each image by frame number, in order.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self.fps = path, fps
        self.files = _numbered_images(path)
        self.expected_frames = len(self.files)
        image = read_image(next(iter(self.files.values())))
        self.size = image.shape[1], image.shape[0]

    def __iter__(self) -> Iterator[VideoFrame]:
        for number, file in self.files.items():
            image = read_image(file)
            if image.shape[1::-1] != self.size:
                raise DataError(
                    f"{file}: {image.shape[1]} x {image.shape[0]} pixels, but the first frame has "
                    f"{self.size[0]} x {self.size[1]}; give each video a folder of its own"
                )
            yield VideoFrame(number, number / self.fps, image)


def _numbered_images(folder: Path) -> dict[int, Path]:
    """Map the last number in the name of each image of a folder to its path, in numeric order."""
    files: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in IMAGE_SUFFIXES or file.name.startswith("."):
            continue
        digits = re.findall(r"[0-9]+", file.stem)
        if not digits:
            raise DataError(f"{file}: no frame number in its name; rename it like 00012.png, or move it away")
        if len(digits[-1]) > MAX_DIGITS:
            raise DataError(f"{file}: {digits[-1]} is too large a frame number; rename it like 00012.png")
        number = int(digits[-1])
        if number in files:
            raise DataError(f"{file}: frame {number} is also {files[number].name}; keep one of them")
        files[number] = file
    if not files:
        raise DataError(f"{folder}: contains no images ({' '.join(IMAGE_SUFFIXES)}); give the folder of the frames")
    return dict(sorted(files.items()))
