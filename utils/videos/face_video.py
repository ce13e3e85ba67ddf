"""Reads a video as face tracks with embeddings: finds and tracks the faces, chooses tracks, encodes each face once.

The video is read twice, once for each step. Both steps save their results on disk part by part, so that an interrupted
run resumes and ends with the same results, and neither holds more images than a few batches.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from datasets.annotations.timeline import Timeline
from datasets.video.cached_tracks import cached_face_tracks, short_hash, tracks_key
from datasets.video.reading import Video, open_video
from datasets.video.tracks import choose_tracks
from models.emonet import EncodingNetwork
from utils.compute.embedding_cache import EmbeddingCache
from utils.config.labelling import LabelSettings
from utils.config.supervised import PredictSettings
from utils.videos.track_embeddings import track_embeddings


class Track(NamedTuple):
    """One person in one shot of a video.

    Attributes:
        number: number of the track in the video.
        faces: the track's N rows of the table of faces, indexed from 0.
        embeddings: (N, 256) embedding of each face.
    """

    number: int
    faces: pd.DataFrame
    embeddings: Tensor

    @property
    def times(self) -> np.ndarray:
        """(N,) seconds, ascending."""
        return self.faces["time"].to_numpy()


class FaceVideo(NamedTuple):
    """A video in which faces were found.

    Attributes:
        video: the video.
        faces: the table of all faces, as `datasets.video.tracks.track_faces` returns it.
        tracks: the tracks that were chosen to be labelled.
    """

    video: Video
    faces: pd.DataFrame
    tracks: list[Track]

    @property
    def timeline(self) -> Timeline:
        """The frames of the video and their times."""
        frames = self.faces.drop_duplicates("frame")
        return Timeline(frames["frame"].to_numpy(), frames["time"].to_numpy())


def read_face_video(
    path: Path, model: EncodingNetwork, cache: EmbeddingCache, settings: LabelSettings | PredictSettings
) -> FaceVideo:
    """Finds and tracks the faces of a video, chooses tracks and encodes their faces; cached results are reused.

    Args:
        path: a video file or a folder of frames.
        model: a network with an encoder.
        cache: where tracks and embeddings are saved.
        settings: the tracks to choose, how often to detect faces, the frame rate and the image size.

    Raises:
        DataError: the video cannot be read, shows no face, or lacks the chosen track.
    """
    video = open_video(path, settings.fps)
    key = tracks_key(path, settings.detect_every, settings.fps)
    faces = cached_face_tracks(video, cache.folder / short_hash(key), settings.detect_every)
    chosen = faces[faces["track"].isin(choose_tracks(faces, settings.track))]
    embeddings = track_embeddings(video, chosen, model, cache, key, settings.data.image_size)
    tracks = [
        Track(int(number), rows.reset_index(drop=True), embeddings[number]) for number, rows in chosen.groupby("track")
    ]
    return FaceVideo(video, faces, tracks)
