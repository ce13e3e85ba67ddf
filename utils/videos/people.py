"""Labels of people who are shown in several tracks, of one or several videos, as people.csv says."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.people import named_tracks, read_people
from datasets.video.jobs import VideoJob
from utils.base.errors import DataError
from utils.config.labelling import LabelSettings
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.suggestion.suggest import unlabelled_variances
from utils.labelling.types import Anchors, EncodedClip, Labels
from utils.videos.face_video import FaceVideo, VideoReader
from utils.videos.support import anchors_in_track, encode_tracks, labels_with_errors

TrackKey = tuple[Path, int]
"""Path of a video and number of a track."""


class PersonTrack(NamedTuple):
    """A track of a person.

    Attributes:
        key: identifies the track.
        clip: the encoded track.
        anchors: its own labelled frames; None: it has none.
    """

    key: TrackKey
    clip: EncodedClip
    anchors: Anchors | None


class TrackEstimates(NamedTuple):
    """The estimates of a track by the rule `fused`.

    Attributes:
        labels: estimated labels.
        variances: (n, 2) predictive variances at the n frames without a given label.
    """

    labels: Labels
    variances: np.ndarray

    @classmethod
    def of_posteriors(
        cls, labeller: Labeller, posteriors: list[MixturePosterior], anchors: Anchors | None
    ) -> "TrackEstimates":
        """The estimates from the posteriors of valence and arousal, which were computed from these anchors."""
        return cls(labeller.fused_labels(posteriors, anchors), unlabelled_variances(posteriors))


class People:
    """Who is shown in the tracks of the videos that are labelled.

    Attributes:
        rows: the rows of people.csv, by the name of the video without ending.
    """

    def __init__(self, file: Path, jobs: Sequence[VideoJob]):
        """Read people.csv. Raises DataError as of `datasets.people.read_people`."""
        self.rows = read_people(file, [job.video for job in jobs])

    def of_tracks(self, face_video: FaceVideo) -> dict[int, str]:
        """Name of the person by number of the chosen track; a track that is not named is left out."""
        chosen = [track.number for track in face_video.tracks]
        path = face_video.video.path
        named = named_tracks(self.rows[path.stem], face_video.faces, chosen, path)
        return {track: person for track, person in named.items() if track in chosen}


def shared_labels(
    labeller: Labeller, people: People, reader: VideoReader, jobs: Sequence[VideoJob], settings: LabelSettings
) -> dict[TrackKey, TrackEstimates]:
    """Labels of the tracks of all people who are shown in several tracks, one of them labelled.

    Videos that cannot be used are left out; their error is reported when they are processed. The tracks of a person are
    kept in memory together.

    Args:
        labeller: the network and its calibration.
        people: who is shown.
        reader: reads the videos.
        jobs: the videos and their labels.
        settings: how labels are read.

    Raises:
        DataError: people.csv does not fit the tracks of a video.
    """
    by_person: dict[str, list[PersonTrack]] = {}
    for face_video, labels in _readable(reader, jobs):
        named = people.of_tracks(face_video)
        for track in _person_tracks(labeller, face_video, labels, settings) if named else ():
            if track.key[1] in named:
                by_person.setdefault(named[track.key[1]], []).append(track)
    shared = {}
    for tracks in by_person.values():
        anchors = [track.anchors for track in tracks]
        if len(tracks) > 1 and any(anchors):
            clips = labeller.encoder.relative_to_person([track.clip for track in tracks])
            for track, posteriors in zip(tracks, labeller.person_posteriors(clips, anchors), strict=True):
                shared[track.key] = TrackEstimates.of_posteriors(labeller, posteriors, track.anchors)
    return shared


def _readable(reader: VideoReader, jobs: Sequence[VideoJob]) -> Iterator[tuple[FaceVideo, Path | None]]:
    """The videos that can be read, each with the file of its labels."""
    for job in jobs:
        try:
            face_video = reader.read(job.video)
        except DataError:
            continue
        yield face_video, job.labels


def _person_tracks(
    labeller: Labeller, face_video: FaceVideo, labels: Path | None, settings: LabelSettings
) -> list[PersonTrack]:
    """The tracks of a video with their labels; none if the labels cannot be used."""
    clips = encode_tracks(labeller, face_video)
    try:
        resolved, _ = labels_with_errors(labels, face_video, clips, labeller, settings)
    except DataError:
        return []
    path = face_video.video.path
    return [
        PersonTrack((path, track.number), clips[track.number], anchors_in_track(track, resolved.means))
        for track in face_video.tracks
    ]
