"""Video, one frame at a time: any file that OpenCV decodes, or a folder of numbered images.

A frame of a file has its place in decoding order as number, from 0, and its time from the container, so that a
variable frame rate keeps its true times. A frame of a folder has the number in its file's name, and number / fps
as time. Images are turned upright where the file says how the camera was held. At most one image is held, so that
memory does not grow with the length.
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
from datasets.frames import DataError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

DEFAULT_FPS = 25.0
HIGHEST_FPS = 1000.0  # some headers give the ticks of their clock (90,000 a second) for a frame rate

MISSING_FRAMES, MISSING_SHARE = 5, 0.01
"""A file whose header promises this many more frames is truncated: more than both.

Headers of sound files are a few frames off: edit lists hide frames, and where a container holds no count, it is
worked out from the duration.
"""


MAX_DIGITS = 15  # of a frame number, in the name of an image
MAX_NAME = 100  # bytes; file systems take 255, and endings are added

LONGEST_DAMAGE = 250
"""Frames in a row that may fail to decode before the rest of the file is given up."""


class VideoFrame(NamedTuple):
    """Frame number, time in seconds, image (H, W, 3) uint8 RGB."""

    frame: int
    time: float
    image: np.ndarray


class Truncation(NamedTuple):
    """Frames that came, and frames that the header promises."""

    decoded: int
    expected: int


class Video(ABC):
    """What all videos have. Each iteration decodes anew, from the first frame, and yields a `VideoFrame` at a time.

    Attributes:
        path: the file or folder.
        name: its name without suffix, safe as a file name.
        fps: nominal frames per second.
        size: (width, height) in pixels, upright.
        expected_frames: how many frames there should be; None = unknown. Headers can be wrong.
        truncated: after an iteration to the end, what came of a file that lacks frames; None = all is well.
    """

    path: Path
    fps: float
    size: tuple[int, int]
    expected_frames: int | None
    truncated: Truncation | None = None

    @property
    def name(self) -> str:
        whole = self.path.resolve()
        return safe_name(whole.stem if whole.is_file() else whole.name)

    @abstractmethod
    def __iter__(self) -> Iterator[VideoFrame]: ...


def safe_name(text: str) -> str:
    """What of a name is safe as a file name."""
    safe = re.sub(r"[^\w.-]+", "_", text).encode()[:MAX_NAME].decode(errors="ignore")
    return safe.strip("._") or "video"


def open_video(path: str | Path, fps: float = DEFAULT_FPS) -> Video:
    """Open a video file or a folder of frames.

    Args:
        path: a file that OpenCV decodes, or a folder of images with a number in their names.
        fps: frames per second of a folder; for a file it only serves where the header names no rate.

    Raises:
        DataError: nothing is there, it is no video, it has no frame, or images of a folder have no number of their
            own. In iteration: an image of a folder cannot be decoded, or differs in size.
    """
    path = Path(path)
    if not 0 < fps <= HIGHEST_FPS:
        raise DataError(f"fps = {fps}: give frames per second, above 0 and at most {HIGHEST_FPS:g}")
    if path.is_dir():
        return FrameFolder(path, fps)
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; check the path")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise DataError(f"{path}: a single image; give a video file, or the folder that holds the frames")
    return VideoFile(path, fps)


class VideoFile(Video):
    """A file that OpenCV decodes."""

    def __init__(self, path: Path, fps: float):
        self.path = path
        capture = self.open()
        try:
            rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
            image = _read(capture)
        finally:
            capture.release()
        if image is None:
            raise DataError(f"{path}: no frame of it can be decoded; record or download it again")
        self.size = image.shape[1], image.shape[0]  # the header's may be as stored, before it is turned upright
        self.fps = rate if 0 < rate <= HIGHEST_FPS else fps
        self.expected_frames = int(count) if 1 <= count < 2**31 else None
        if self.fps != rate:
            logger.warning("%s: the header names no frame rate; taking %g frames per second", path, fps)

    def __iter__(self) -> Iterator[VideoFrame]:
        capture = self.open()
        try:
            decoded, lost, time = 0, 0, -1 / self.fps
            for frame in itertools.count():
                image = _read(capture)
                if image is not None:
                    stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                    time = stamp if stamp > time and math.isfinite(stamp) else time + (1 + lost) / self.fps
                    decoded, lost = decoded + 1, 0
                    yield VideoFrame(frame, time, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                elif lost < LONGEST_DAMAGE and frame + 1 < (self.expected_frames or 0):
                    lost += 1  # frames after a damaged stretch keep their numbers
                else:
                    break
        finally:
            capture.release()
        self._compare_with_header(decoded)

    def open(self) -> cv2.VideoCapture:
        """A decoder at the first frame."""
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise DataError(f"{self.path}: not a video that can be decoded (of another kind, damaged or cut off); "
                            f"try to convert it: ffmpeg -i {self.path.name} repaired.mp4")  # fmt: skip
        return capture

    def _compare_with_header(self, decoded: int) -> None:
        expected = self.expected_frames or 0
        if expected - decoded <= max(MISSING_FRAMES, MISSING_SHARE * expected):
            return
        if self.truncated is None:
            logger.warning("%s: %d of %d frames can be decoded; the file is cut off or damaged, or an edit list hides "
                           "frames", self.path, decoded, expected)  # fmt: skip
        self.truncated = Truncation(decoded, expected)


def _read(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The next image, (H, W, 3) uint8 BGR; None at the end, or where a frame is damaged."""
    try:
        return capture.read()[1]
    except cv2.error:
        return None


class FrameFolder(Video):
    """A folder of images, in the order of the numbers in their names: 2.png, 10.png, 100.png."""

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
                raise DataError(f"{file}: {image.shape[1]} x {image.shape[0]} pixels, but the first frame has "
                                f"{self.size[0]} x {self.size[1]}; give each video a folder of its own")  # fmt: skip
            yield VideoFrame(number, number / self.fps, image)


def _numbered_images(folder: Path) -> dict[int, Path]:
    """The images of a folder by the last number in their names, in numeric order."""
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
        raise DataError(f"{folder}: holds no images ({' '.join(IMAGE_SUFFIXES)}); give the folder of the frames")
    return dict(sorted(files.items()))
