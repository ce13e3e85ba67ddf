"""Sorts the people who may be shown in a face track by image similarity. Who it is, a person must decide."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from datasets.people import simultaneous_tracks
from datasets.video.cached_tracks import short_hash, tracks_key
from datasets.video.image_features import FEATURES_FORMAT, TrackAppearance, track_appearances
from datasets.video.random_access import VideoFrames
from utils.base.arrays import load_arrays, save_arrays
from utils.plots import candidate_sheet
from utils.videos.face_video import FaceVideo, VideoReader
from utils.videos.people import TrackKey

log = logging.getLogger(__name__)

CANDIDATES_NAME = "people_candidates.csv"
CANDIDATES = 5  # candidates of a track in the files of a run
ROWS_PER_SHEET, MOST_SHEETS = 40, 25
CAPTION_LENGTH = 22  # characters
SHEET_HEADING = "Tracks, and the people whose faces look most alike. Sorted by image similarity; a person must decide."


class Candidate(NamedTuple):
    """A person who may be shown in a track.

    Attributes:
        person: name of the person.
        track: the track of this person that is most alike.
        image_similarity: cosine similarity of the image features of the two tracks, in [0, 1].
    """

    person: str
    track: TrackKey
    image_similarity: float


class ImageSimilarity:
    """How alike the faces of all tracks of a set of videos look.

    Attributes:
        faces: track → picture of its first face, (S, S, 3) uint8 RGB.
    """

    def __init__(self) -> None:
        self.faces: dict[TrackKey, np.ndarray] = {}
        self._features: dict[TrackKey, np.ndarray] = {}
        self._simultaneous: dict[TrackKey, set[TrackKey]] = {}

    def add(self, reader: VideoReader, face_video: FaceVideo) -> None:
        """Add the chosen tracks of a video. A few frames of each are read, or the results are taken from the cache."""
        self.__dict__.pop("_matrix", None)
        path = face_video.video.path
        chosen = [track.number for track in face_video.tracks]
        others = simultaneous_tracks(face_video.faces, chosen)
        for number, appearance in _cached_appearances(reader, face_video, chosen).items():
            self.faces[path, number], self._features[path, number] = appearance
            self._simultaneous[path, number] = {(path, other) for other in others[number]}

    def candidates(self, track: TrackKey, people: Mapping[TrackKey, str], count: int) -> list[Candidate]:
        """Up to `count` other people who may be shown in a track, the most alike first.

        People who are shown in the same frame as the track are left out.

        Args:
            track: the track.
            people: name of the person in each track.
            count: number of candidates.
        """
        impossible = {people[track]} | {people[other] for other in self._simultaneous[track]}
        similarities = (self._matrix @ self._features[track]).clip(0, 1)
        tracks = list(self._features)
        best: dict[str, Candidate] = {}
        for index in np.argsort(-similarities, kind="stable"):
            if len(best) == count:
                break
            other = tracks[index]
            if people[other] not in impossible:
                best.setdefault(people[other], Candidate(people[other], other, float(similarities[index])))
        return list(best.values())

    def simultaneous(self, track: TrackKey) -> set[TrackKey]:
        """The other tracks that are shown in the same frame as a track, who must be other people."""
        return self._simultaneous[track]

    @cached_property
    def _matrix(self) -> np.ndarray:
        """(T, F) features of all tracks."""
        return np.stack(list(self._features.values()))


def candidate_table(image_similarity: ImageSimilarity, people: Mapping[TrackKey, str]) -> pd.DataFrame:
    """A row per track: video, track, person, and the likeliest other people with their image similarity.

    Args:
        image_similarity: of all tracks.
        people: name of the person in each track.
    """
    rows = []
    for key in image_similarity.faces:
        row: dict[str, object] = {"video": key[0].stem, "track": key[1], "person": people[key]}
        for rank, candidate in enumerate(image_similarity.candidates(key, people, CANDIDATES), 1):
            row |= {
                f"candidate_{rank}": candidate.person,
                f"image_similarity_{rank}": round(candidate.image_similarity, 3),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def candidate_sheets(image_similarity: ImageSimilarity, people: Mapping[TrackKey, str]) -> Iterator[Figure]:
    """Pictures of each track and its likeliest other people: ROWS_PER_SHEET tracks on each of up to MOST_SHEETS."""
    tracks = list(image_similarity.faces)
    if omitted := len(tracks[ROWS_PER_SHEET * MOST_SHEETS :]):
        log.warning("%d of %d tracks are left out of the pictures; %s lists all", omitted, len(tracks), CANDIDATES_NAME)
        tracks = tracks[:-omitted]
    for start in range(0, len(tracks), ROWS_PER_SHEET):
        rows = [_sheet_row(image_similarity, people, track) for track in tracks[start : start + ROWS_PER_SHEET]]
        yield candidate_sheet(rows, SHEET_HEADING)


def _sheet_row(
    image_similarity: ImageSimilarity, people: Mapping[TrackKey, str], track: TrackKey
) -> list[tuple[np.ndarray, str]]:
    """The pictures and captions of a track and its candidates."""
    captions = [(track, f"{_short(track[0].stem)}\ntrack {track[1]}: {_short(people[track])}")]
    for candidate in image_similarity.candidates(track, people, CANDIDATES):
        captions.append((candidate.track, f"{_short(candidate.person)}\n{candidate.image_similarity:.2f}"))
    return [(image_similarity.faces[key], caption) for key, caption in captions]


def _short(text: str) -> str:
    """The text, or its first characters, so that it fits below a face; matplotlib must not take $ for a formula."""
    text = text if len(text) <= CAPTION_LENGTH else f"{text[: CAPTION_LENGTH - 1]}…"
    return text.replace("$", r"\$")


def _cached_appearances(
    reader: VideoReader, face_video: FaceVideo, chosen: Sequence[int]
) -> dict[int, TrackAppearance]:
    """How the faces of the chosen tracks look, from the cache of face tracks if they have been read before."""
    video, settings = face_video.video, reader.settings
    key = tracks_key(video.path, settings.detect_every, settings.fps)
    cache = reader.folder / f"{short_hash(f'{key} {FEATURES_FORMAT} {chosen}')}.image_features.npz"
    arrays = load_arrays(cache)
    if arrays is None:
        frames = VideoFrames(video, face_video.timeline)
        appearances = track_appearances(frames, face_video.faces, chosen)
        frames.close()
        faces, features = (np.stack(values) for values in zip(*appearances.values(), strict=True))
        save_arrays(cache, {"faces": faces, "features": features})
        return appearances
    return dict(zip(chosen, map(TrackAppearance, arrays["faces"], arrays["features"]), strict=True))
