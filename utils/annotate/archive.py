"""The frame of all videos whose label is expected to help most."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

from utils.annotate.session import Session
from utils.annotate.tracks import TrackEstimate
from utils.labelling.suggestion.archive import ArchiveSuggester


class ArchiveFrame(NamedTuple):
    """A frame of the archive: index of its video, number of its track, and number of the frame in the video."""

    video_index: int
    track: int
    frame: int


class Archive:
    """All tracks of all videos, each as a person of its own. Only tracks whose labels have changed are read again."""

    def __init__(self, sessions: Sequence[Session | None]):
        """Sessions of the videos by their index; None: the video cannot be labelled."""
        self._sessions = sessions
        self._suggester = ArchiveSuggester()
        self._known: dict[tuple[int, int], TrackEstimate] = {}
        self._lock = threading.Lock()

    def next(self) -> ArchiveFrame | None:
        """The frame to label next; None: there is none left. Several threads may ask, one after the other."""
        with self._lock:
            for index, session in enumerate(self._sessions):
                for track in session.tracks if session else ():
                    self._update(index, track)
            suggestion = self._suggester.next()
        if suggestion is None:
            return None
        index, track = suggestion.track  # type: ignore[misc]  # as `_update` names it
        session = self._sessions[index]
        assert session is not None, "only tracks of sessions are suggested"
        return ArchiveFrame(index, track, int(session.tracks[track].frames[suggestion.frame_index]))

    def _update(self, index: int, track: int) -> None:
        session = self._sessions[index]
        assert session is not None
        estimate = session.estimate(track)
        if self._known.get((index, track)) is not estimate:
            self._known[index, track] = estimate
            self._suggester.update(
                (index, track), {(index, track): estimate.posteriors}, (session.annotator_error,) * 2
            )
