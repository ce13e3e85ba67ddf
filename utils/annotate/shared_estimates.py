"""Estimates of people who are shown in several tracks, of one or several videos: their labels inform all tracks."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from utils.annotate.people import PeopleState, TrackPeople
from utils.annotate.session import Session
from utils.labelling.incremental import IncrementalClip
from utils.labelling.people import person_offsets, person_posteriors
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.posterior.offsets import PersonOffset
from utils.labelling.types import LabelObservations, observations_of
from utils.videos.people import TrackKey


class PersonModels(NamedTuple):
    """The tracks of a person without labels, as long as neither they nor the calibration change.

    Attributes:
        state: what they depend on; compared by identity.
        clips: the tracks, with evidence relative to the person.
    """

    state: tuple[Any, ...]
    clips: list[IncrementalClip]


class PersonPosteriors(NamedTuple):
    """The posteriors of the tracks of a person.

    Attributes:
        state: what they depend on; compared by identity.
        observations: given labels of each track.
        posteriors: of each track, of valence and arousal.
    """

    state: tuple[Any, ...]
    observations: list[list[LabelObservations]]
    posteriors: dict[TrackKey, list[MixturePosterior]]


class SharedEstimates:
    """The posteriors of the tracks of people who are shown in several tracks.

    Labels are shared among tracks with the same calibration. A video that was rated on the page has a calibration of
    its own until Finish, and so has a video whose evidence is fitted to its own labels.
    """

    def __init__(self, people: TrackPeople, sessions: Mapping[Path, Session]):
        """Who is shown, and the sessions of the videos that can be labelled."""
        self.people, self.sessions = people, sessions
        self._models: dict[tuple[str, int], PersonModels] = {}
        self._posteriors: dict[tuple[str, int], PersonPosteriors] = {}
        self._lock = threading.RLock()

    def posteriors(self, session: Session, track: int) -> list[MixturePosterior] | None:
        """The posteriors of valence and arousal of a track; the same list until a label of the person changes.

        None: the track shows a person without labels, or whom no other track shows.
        """
        with self._lock:
            key = (session.face_video.video.path, track)
            shared = self._of_person(key, self.people.state)
            return shared.posteriors[key] if shared else None

    def offsets(self, track: TrackKey, people: PeopleState) -> list[PersonOffset]:
        """The offsets by which a label in one track informs the others of the person; empty if it does not.

        Args:
            track: one of the tracks.
            people: who is shown.
        """
        with self._lock:
            shared = self._of_person(track, people)
            if not shared:
                return []
            person: PersonModels = shared.state[0]
            calibration, models = person.state[0], [clip.models for clip in person.clips]
            return person_offsets(calibration, models, shared.observations, list(shared.posteriors.values()))

    def group_of(self, track: TrackKey, people: PeopleState) -> list[TrackKey]:
        """The tracks that share their labels with a track, and the track itself; `people`: who is shown."""
        calibration = self.sessions[track[0]].labeller.calibration
        tracks = people.tracks[people.names[track]]
        return [other for other in tracks if self.sessions[other[0]].labeller.calibration is calibration]

    def _of_person(self, track: TrackKey, people: PeopleState) -> PersonPosteriors | None:
        tracks = self.group_of(track, people)
        sessions = [self.sessions[video] for video, _ in tracks]
        is_labelled = any(key in session.labelled_tracks for session, (_, key) in zip(sessions, tracks, strict=True))
        if len(tracks) < 2 or not is_labelled:
            return None
        labeller = self.sessions[track[0]].labeller
        group = people.names[track], id(labeller.calibration)
        clips = [session.tracks[number].clip for session, (_, number) in zip(sessions, tracks, strict=True)]
        state: tuple[Any, ...] = (labeller.calibration, *clips)
        models = self._models.get(group)
        if models is None or not _same(models.state, state):
            relative = labeller.encoder.relative_to_person(clips)
            models = PersonModels(state, [IncrementalClip(clip, labeller.calibration) for clip in relative])
            self._models[group] = models
        state = (models, *(part for session in sessions for part in (session.labels, session.annotator_error)))
        known = self._posteriors.get(group)
        if known is None or not _same(known.state, state):
            observations = [
                observations_of(session.anchors_in(number))
                for session, (_, number) in zip(sessions, tracks, strict=True)
            ]
            posteriors = person_posteriors(labeller.calibration, [clip.models for clip in models.clips], observations)
            known = PersonPosteriors(state, observations, dict(zip(tracks, posteriors, strict=True)))
            self._posteriors[group] = known
        return known


def _same(state: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two states hold the same objects, and numbers that are equal."""
    return len(state) == len(other) and all(
        a is b or (isinstance(a, float) and a == b) for a, b in zip(state, other, strict=True)
    )
