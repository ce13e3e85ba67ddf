"""The frame of all videos whose label is expected to help most."""

import threading
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from utils.annotate.people import PeopleState
from utils.annotate.session import Session
from utils.annotate.shared_estimates import SharedEstimates
from utils.annotate.tracks import TrackEstimate
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.suggestion.archive import ArchiveSuggester

ArchiveTrack = tuple[int, int]
"""Index of a video and number of a track."""


class ArchiveFrame(NamedTuple):
    """A frame of the archive: index of its video, number of its track, and number of the frame in the video."""

    video_index: int
    track: int
    frame: int


class Archive:
    """All tracks of all videos. Only people whose labels have changed are read again."""

    def __init__(self, sessions: Sequence[Session | None], shared: SharedEstimates | None = None):
        """Sessions of the videos by their index, and who is shown in several tracks; None: nobody is.

        A session is None if the video cannot be labelled.
        """
        self._sessions, self._shared = sessions, shared
        self._suggester = ArchiveSuggester()
        self._known: dict[tuple[ArchiveTrack, ...], list[TrackEstimate]] = {}
        self._lock = threading.Lock()

    def next(self) -> ArchiveFrame | None:
        """The frame to label next; None: there is none left. Several threads may ask, one after the other."""
        with self._lock:
            while not self._read_changes():  # Who is shown may change again meanwhile.
                pass
            suggestion = self._suggester.next()
        if suggestion is None:
            return None
        target: ArchiveTrack = suggestion.track  # type: ignore[assignment]  # as `_update` names it
        index, track = target
        session = self._sessions[index]
        assert session is not None, "only tracks of sessions are suggested"
        return ArchiveFrame(index, track, int(session.tracks[track].frames[suggestion.frame_index]))

    def _read_changes(self) -> bool:
        """Read the people whose labels have changed; False: who is shown has changed before all of them were read."""
        people = self._shared.people.state if self._shared else None
        groups = self._groups(people)
        for group in set(self._known) - set(groups):
            self._suggester.remove(group)
            del self._known[group]
        return all(self._update(group, people) for group in groups)

    def _groups(self, people: PeopleState | None) -> list[tuple[ArchiveTrack, ...]]:
        """The tracks of each person."""
        groups: dict[Hashable, list[ArchiveTrack]] = {}
        indices = {session.face_video.video.path: index for index, session in enumerate(self._sessions) if session}
        for index, session in enumerate(self._sessions):
            for track in session.tracks if session else ():
                person: Hashable = (index, track)
                if self._shared and people and session:
                    path, number = self._shared.group_of((session.face_video.video.path, track), people)[0]
                    person = (indices[path], number)
                groups.setdefault(person, []).append((index, track))
        return [tuple(tracks) for tracks in groups.values()]

    def _update(self, group: tuple[ArchiveTrack, ...], people: PeopleState | None) -> bool:
        """Read the tracks of a person; False: who is shown has changed meanwhile, so that nothing was read."""
        sessions = [self._sessions[index] for index, _ in group]
        estimates = [session.estimate(track) for session, (_, track) in zip(sessions, group, strict=True) if session]
        known = self._known.get(group)
        if known and all(old is new for old, new in zip(known, estimates, strict=True)):
            return True
        error = max(session.annotator_error for session in sessions if session)
        offsets = []
        if self._shared and people and sessions[0]:
            offsets = self._shared.offsets((sessions[0].face_video.video.path, group[0][1]), people)
            if self._shared.people.state is not people:  # The estimates may be of other groups.
                return False
        posteriors: dict[Hashable, list[MixturePosterior]] = {
            track: estimate.posteriors for track, estimate in zip(group, estimates, strict=True)
        }
        self._suggester.update(group, posteriors, (error, error), offsets)
        self._known[group] = estimates
        return True
