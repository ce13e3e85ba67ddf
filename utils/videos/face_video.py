"""Reads a video as face tracks with embeddings: finds and tracks the faces, chooses tracks, and encodes their faces.

The video is read once to find the faces, and once or twice to encode them. Each step saves its results on disk part by
part, so that an interrupted run resumes and ends with the same results, and no step holds more images than a few
batches.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.annotations.estimates import without_frozen
from datasets.annotations.timeline import Timeline
from datasets.video.cached_tracks import cached_face_tracks, short_hash, tracks_key
from datasets.video.reading import Video, open_video
from datasets.video.tracks import choose_tracks
from models.emonet import EncodingNetwork
from utils.base.errors import DataError
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.config.supervised import SLSettings
from utils.labelling.clip_rating import ClipRating
from utils.labelling.encoding_plan import EncodingPlan
from utils.labelling.raters.ratings import RatingSource
from utils.labelling.sources import Estimator, NetworkSource
from utils.labelling.types import is_encoded
from utils.videos.track_embeddings import track_embeddings


class Track(NamedTuple):
    """One person in one shot of a video.

    Attributes:
        number: number of the track in the video.
        faces: the track's N rows of the table of faces, indexed from 0.
        embeddings: (N, 256) embedding of each face, NaN if the face is not encoded; (N, 0) without an encoder.
        evidence: (N, E, 2) evidence by E estimators; NaN = no value.
        ratings: of the track by each rater; None: this person did not rate it.
    """

    number: int
    faces: pd.DataFrame
    embeddings: Tensor
    evidence: np.ndarray
    ratings: tuple[ClipRating | None, ...] = ()

    @property
    def times(self) -> np.ndarray:
        """(N,) seconds, ascending."""
        return self.faces["time"].to_numpy()

    def nearest_embeddings(self, indices: np.ndarray) -> Tensor:
        """(A, 256) embeddings of the faces at indices (A,), or of the encoded faces nearest to them in time."""
        encoded = np.flatnonzero(is_encoded(self.embeddings))
        after = encoded[np.searchsorted(encoded, indices).clip(max=len(encoded) - 1)]
        before = encoded[(np.searchsorted(encoded, indices, "right") - 1).clip(min=0)]
        times = self.times
        nearest = np.where(times[indices] - times[before] <= times[after] - times[indices], before, after)
        return self.embeddings[torch.from_numpy(nearest)]


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


EVERY_FACE = EncodingPlan()


class VideoReader:
    """Reads videos: finds and tracks the faces, chooses tracks, and encodes their faces; cached results are reused.

    Attributes:
        settings: the tracks to choose, how often to detect faces, the frame rate and the image size.
        model: a network with an encoder; None: faces are not encoded.
        estimators: sources of evidence for each face besides the network.
        raters: people who rated the videos.
        plan: which faces the networks encode.
        device: where the networks run.
    """

    def __init__(
        self,
        model: EncodingNetwork | None,
        checkpoint: Path | None,
        settings: LabelSettings | SLSettings,
        runtime: Runtime,
        estimators: tuple[Estimator, ...] = (),
        raters: tuple[RatingSource, ...] = (),
        plan: EncodingPlan = EVERY_FACE,
    ):
        """Prepare the cache of face tracks and embeddings.

        It is kept beside the checkpoint, or beside that of the first network among the estimators. Without any network,
        it is in the folder of the crops.

        Args:
            model: see above.
            checkpoint: file of its weights.
            settings: see above.
            runtime: device and precision.
            estimators: see above.
            raters: see above.
            plan: see above.
        """
        self.model, self.settings, self.plan, self.device = model, settings, plan, runtime.device
        self.estimators, self.raters = estimators, raters
        self.cache = EmbeddingCache.of_network(checkpoint, settings.runs, runtime) if checkpoint else None
        self._caches = [self.cache] if self.cache else []
        self._caches += [estimator.cache for estimator in estimators if isinstance(estimator, NetworkSource)]
        without_network = (settings.data.cache or settings.runs) / "tracks"
        self.folder = self._caches[0].folder if self._caches else without_network

    @property
    def backends_used(self) -> set[str]:
        """Names of the backends that have encoded faces."""
        return set().union(*(cache.backends.used for cache in self._caches))

    def read(self, path: Path) -> FaceVideo:
        """Read a video file or a folder of frames.

        Raises:
            DataError: the video cannot be read, shows no face, or lacks the chosen track; another tool's estimates lack
                the video; or it is unclear which face was rated, and when.
        """
        settings = self.settings
        video = open_video(path, settings.fps)
        key = tracks_key(path, settings.detect_every, settings.fps)
        faces = cached_face_tracks(video, self.folder / short_hash(key), settings.detect_every, self.device)
        chosen = faces[faces["track"].isin(choose_tracks(faces, settings.track))]
        faces_by_track = {int(number): rows.reset_index(drop=True) for number, rows in chosen.groupby("track")}
        ratings = self._ratings(path, faces_by_track)
        faces_to_encode = {
            number: self.plan.first_pass(len(rows), video.fps) for number, rows in faces_by_track.items()
        }
        tracks = self._encode(video, faces_by_track, faces_to_encode, key, ratings)
        planned = {
            track.number: self.plan.second_pass(track.embeddings, track.times, track.evidence, video.fps)
            for track in tracks
        }
        if any((planned[number] != chosen).any() for number, chosen in faces_to_encode.items()):
            tracks.clear()  # frees the embeddings of the first pass
            tracks = self._encode(video, faces_by_track, planned, key, ratings)
        return FaceVideo(video, faces, tracks)

    def _encode(
        self,
        video: Video,
        faces_by_track: dict[int, pd.DataFrame],
        faces_to_encode: dict[int, np.ndarray],
        key: str,
        ratings: tuple[ClipRating | None, ...],
    ) -> list[Track]:
        """The tracks, with the embeddings and the evidence of the chosen faces.

        Args:
            video: the video.
            faces_by_track: number of each track → its N rows of the table of faces.
            faces_to_encode: number of each track → (N,) whether the face is encoded.
            key: see `track_embeddings`.
            ratings: of the video.
        """
        embeddings = {number: torch.empty(len(rows), 0) for number, rows in faces_by_track.items()}
        if self.model is not None and self.cache is not None:
            size = self.settings.data.image_size
            embeddings = track_embeddings(video, faces_by_track, faces_to_encode, self.model, self.cache, key, size)
        by_estimator = [
            self._evidence(estimator, video, faces_by_track, faces_to_encode, key) for estimator in self.estimators
        ]
        tracks = []
        for number, rows in faces_by_track.items():
            columns = [evidence[number] for evidence in by_estimator]
            evidence = np.stack(columns, 1) if columns else np.empty((len(rows), 0, 2))
            tracks.append(Track(number, rows, embeddings[number], evidence, ratings))
        return tracks

    def _ratings(self, path: Path, faces_by_track: dict[int, pd.DataFrame]) -> tuple[ClipRating | None, ...]:
        """The ratings of a video; DataError if the chosen tracks show several faces at once."""
        times = {number: rows["time"].to_numpy() for number, rows in faces_by_track.items()}
        ratings = tuple(rater.of_video(path, list(times.values())) for rater in self.raters)
        if any(ratings):
            refuse_simultaneous_tracks(path, times)
        return ratings

    def _evidence(
        self,
        estimator: Estimator,
        video: Video,
        faces_by_track: dict[int, pd.DataFrame],
        faces_to_encode: dict[int, np.ndarray],
        key: str,
    ) -> dict[int, np.ndarray]:
        """Track number → evidence (N, 2) of an estimator; NaN where a network did not encode the face."""
        if isinstance(estimator, NetworkSource):
            network, cache, size = estimator.network, estimator.cache, estimator.image_size
            estimates = track_embeddings(video, faces_by_track, faces_to_encode, network, cache, key, size)
            return {number: values.cpu().numpy().astype(np.float64) for number, values in estimates.items()}
        evidence = {}
        for number, rows in faces_by_track.items():
            times = rows["time"].to_numpy()
            values = estimator.estimates.of_track(video.name, number, rows["frame"].to_numpy(), times)
            evidence[number] = without_frozen(values, times)
        return evidence


def refuse_simultaneous_tracks(path: Path, times: Mapping[int, np.ndarray]) -> None:
    """Raise DataError if tracks of a video (number → seconds) are shown at once, since a rating is of one person."""
    spans = sorted((seconds[0], seconds[-1], number) for number, seconds in times.items())
    for (_, end, number), (start, _, other) in pairwise(spans):
        if start <= end:
            raise DataError(
                f"{path}: tracks {number} and {other} are shown at the same time, but a rating is of one person; "
                "choose the track by --track"
            )
