"""The video, track and frame that a tab of the browser shows, and the actions there; independent of the web page."""

import numpy as np

from utils.annotate.actions import Action
from utils.annotate.playback import Playback
from utils.annotate.project import Project
from utils.annotate.session import Session, no_face
from utils.base.errors import DataError


class Position:
    """The video, track and frame that a tab shows.

    Attributes:
        video_index: index of the video in the project.
        track: number of the track.
        row: row of the frame in the video's timeline.
    """

    def __init__(self, project: Project):
        """Open the video with the largest expected error."""
        self.project = project
        self.open(project.by_expected_error()[0])

    def open(self, video_index: int) -> None:
        """Open a video at the first face of its first track."""
        self.video_index = video_index
        self.session.use_rating()  # also of a tab that was closed while it recorded
        self.track = next(iter(self.session.tracks))
        self.row = int(np.searchsorted(self.session.timeline.frames, self.session.tracks[self.track].frames[0]))

    @property
    def session(self) -> Session:
        """The session of the video."""
        session = self.project.videos[self.video_index].session
        assert session is not None, "the page lists no button for a video that cannot be labelled"
        return session

    @property
    def playback(self) -> Playback:
        """What the browser plays of the video."""
        playback = self.project.videos[self.video_index].playback
        assert playback is not None, "a video with a session can be played"
        return playback

    @property
    def frame(self) -> int:
        """Number of the frame."""
        return int(self.session.timeline.frames[self.row])

    def change(self, action: Action) -> None:
        """Perform one of `actions.CHANGES`.

        Raises:
            DataError, NotSavedError: the change is impossible or cannot be saved; nothing has changed.
        """
        session, name = self.session, action["name"]
        if name in ("undo", "redo"):
            key = session.undo() if name == "undo" else session.redo()
            if key:
                self.track, self.row = key[0], session.timeline.row_of_frame(key[1], name)
            return
        if name == "note":
            session.set_note(self.track, int(action["requested"]), str(action["text"]))
            return
        if name in ("rate", "delete_rating"):
            self._change_rating(action)
            return
        frame = int(action["frame"]) if name == "drag" else _shown_frame(action)
        if name == "delete":
            session.delete(self.track, frame)
            return
        valence, arousal = self._changed_scores(frame, action)
        session.label(self.track, frame, valence, arousal)

    def _change_rating(self, action: Action) -> None:
        if action["name"] == "delete_rating":
            self.session.delete_rating()
            return
        self.session.rate(float(action["start"]), action["samples"], continues=not action["first"])
        if action["last"]:
            self.session.use_rating()

    def move(self, action: Action) -> None:
        """Perform one of `actions.MOVES`, or follow the player ("playing")."""
        timeline, row, name = self.session.timeline, self.row, action["name"]
        if name == "goto" and "frame" in action:
            row = timeline.row_of_frame(int(action["frame"]), "the page")
        elif name in ("goto", "playing"):
            row = int(action["row"]) if "row" in action else int(timeline.nearest(float(action["time"])))
        elif name == "step" and "seconds" in action:
            row = int(timeline.nearest(timeline.times[row] + float(action["seconds"])))
        elif name == "step":
            row += int(action["frames"])
        else:
            row = self._next_row(name, int(action.get("by", 1)))
        self.row = int(np.clip(row, 0, len(timeline.frames) - 1))

    def _next_row(self, name: str, by: int) -> int:
        """Row of the suggested frame, or of the next (by=1) or previous (by=-1) label or contradicted label.

        After the last one comes the first one again. Without any, the row stays as it is.
        """
        estimate, frames = self.session.estimate(self.track), self.session.tracks[self.track].frames
        if name == "next_suggestion":
            indices = [estimate.suggestion.frame_index] if estimate.suggestion else []
        elif name == "next_contradiction":
            contradicted = [contradiction.anchor_index for contradiction in estimate.contradictions]
            indices = estimate.labelled[contradicted].tolist()
        else:
            indices = estimate.labelled.tolist()
        targets = [int(frames[index]) for index in indices]
        beyond = [frame for frame in targets if (frame - self.frame) * by > 0] or targets
        if not beyond:
            return self.row
        return self.session.timeline.row_of_frame(min(beyond) if by > 0 else max(beyond), "the page")

    def _changed_scores(self, frame: int, action: Action) -> list[float]:
        """Valence and arousal after an action that labels the frame."""
        name = action["name"]
        if name == "label":
            return [action["valence"], action["arousal"]]
        scores = self._scores(frame)
        if name == "drag":
            scores[int(action["axis"])] = float(action["value"])
        elif name == "nudge":
            scores[int(action["axis"])] += float(action["by"])
        return scores

    def _scores(self, frame: int) -> list[float]:
        """Valence and arousal of the frame's label, or else of its estimate."""
        label = self.session.labels.get((self.track, frame))
        if label:
            return [label.valence, label.arousal]
        index = self.session.tracks[self.track].index_of(frame)
        if index is None:
            raise DataError(no_face(self.track, frame))
        return self.session.estimate(self.track).values[index].tolist()


def _shown_frame(action: Action) -> int:
    """The frame on screen, which may lag behind the current frame: only a frame that the person sees is labelled."""
    if action.get("shown") is None:
        raise DataError("no frame is on screen yet; wait for it")
    return int(action["shown"])
