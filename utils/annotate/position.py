"""Where a tab of the browser is: which video, track and frame; and what its acts do there. Knows nothing of the web."""

import numpy as np

from datasets.frames import DataError
from utils.annotate.project import Project
from utils.annotate.session import Session

CHANGES = ("label", "move", "nudge", "accept", "delete", "undo", "redo", "note")


class Position:
    """A video of the project, one of its tracks, and a row of its timeline."""

    def __init__(self, project: Project):
        """At the video that is labelled worst."""
        self.project = project
        self.open(project.worst_first()[0])

    def open(self, number: int) -> None:
        """Goes to the first track's first face of another video."""
        self.number = number
        self.track = next(iter(self.session.clips))
        self.row = int(np.searchsorted(self.session.timeline.frames, self.session.clips[self.track].frames[0]))

    @property
    def session(self) -> Session:
        return self.project.items[self.number].session

    @property
    def frame(self) -> int:
        return int(self.session.timeline.frames[self.row])

    def change(self, act: dict) -> None:
        """One of CHANGES, by its `name`, with what it needs. Raises DataError or NotSaved, and nothing is changed."""
        session, name = self.session, act["name"]
        if name in ("undo", "redo"):
            key = session.undo() if name == "undo" else session.redo()
            if key:
                self.track, self.row = key[0], session.timeline.row_of_frame(key[1], "undo")
            return
        frame = int(act["frame"]) if name in ("move", "note") else _shown(act)
        if name == "label":
            session.label(self.track, frame, act["valence"], act["arousal"])
        elif name == "delete":
            session.delete(self.track, frame)
        elif name == "note":
            session.annotate(self.track, frame, str(act["text"]))
        else:
            scores = self._scores(frame)
            if name == "move":
                scores[int(act["axis"])] = float(act["value"])
            elif name == "nudge":
                scores[int(act["axis"])] += float(act["by"])
            session.label(self.track, frame, *scores)

    def go(self, act: dict) -> None:
        """To a moment, by a step, or to the next frame of a kind."""
        timeline, row, name = self.session.timeline, self.row, act["name"]
        if name == "goto" and "mark" in act:
            row = timeline.row_of_frame(int(act["mark"]), "the page")
        elif name == "goto":
            row = int(act["row"]) if "row" in act else int(timeline.nearest(float(act["time"])))
        elif name == "step" and "seconds" in act:
            row = int(timeline.nearest(timeline.times[row] + float(act["seconds"])))
        elif name == "step":
            row += int(act["frames"])
        else:
            row = self._row_of(name, int(act.get("by", 1)))
        self.row = int(np.clip(row, 0, len(timeline.frames) - 1))

    def _row_of(self, name: str, by: int) -> int:
        """Of the next suggestion, or of the next (by 1) or previous (by -1) label, or contradicted label."""
        view, frames = self.session.view(self.track), self.session.clips[self.track].frames
        if name == "next":
            places = [view.next.place] if view.next else []
        elif name == "doubt":
            places = sorted({int(view.places[doubt.anchor]) for doubt in view.doubts})
        else:
            places = view.places.tolist()
        there = [int(frames[place]) for place in places]
        beyond = [frame for frame in there if (frame - self.frame) * by > 0] or there
        if not beyond:
            return self.row
        return self.session.timeline.row_of_frame(min(beyond) if by > 0 else max(beyond), "the page")

    def _scores(self, frame: int) -> list[float]:
        """The frame's label, or where it has none, the estimate."""
        mark = self.session.marks.get((self.track, frame))
        if mark:
            return [mark.valence, mark.arousal]
        place = self.session.clips[self.track].place(frame)
        if place is None:
            raise DataError(f"frame {frame} shows no face of track {self.track}, so there is nothing to label")
        return self.session.view(self.track).labels.values[place].tolist()


def _shown(act: dict) -> int:
    """The frame that the person sees: a label is never of another one."""
    if act.get("shown") is None:
        raise DataError("no frame is on screen yet; wait for it")
    return int(act["shown"])
