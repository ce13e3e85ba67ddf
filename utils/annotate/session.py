"""A video being labelled: the labels, what they make of the traces, and the way back. Knows nothing of the web."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from datasets.annotations import AXES, score_text
from datasets.frames import DataError
from utils.annotate.label_file import LabelFile, Mark, Marks
from utils.fused.audit import Doubt, contradicted
from utils.fused.fusion import Fusion
from utils.fused.live import LiveClip
from utils.fused.smoother import NOBODY
from utils.fused.suggest import Suggestion, expected_error, suggest
from utils.fused.trace import Trace
from utils.labelling import Labels, SeenClip, fuse, fused_labels, supports
from utils.videos.face_video import FaceVideo, Track
from utils.videos.support import ERRORS, anchors_of, place_labels

LOOK_AHEAD = 24  # labels to come that a target is planned with
DECIMALS = 2  # of a new label: finer than anybody sees


class Network(NamedTuple):
    """What sees and labels: as `read_face_video` and `fuse` take it."""

    model: object
    runtime: object
    fusion: Fusion


class View:
    """A track as its labels so far make it.

    Attributes:
        labels: values and margins of the track's N frames.
        places: (A,) places of the labelled frames.
        doubts: labels that the others contradict; their anchors count as `places` does.
        error: expected error of the track's labels.
    """

    def __init__(self, posteriors: list[Trace], labels: Labels, places: np.ndarray, doubts: list[Doubt],
                 annotator_error: float):  # fmt: skip
        self.labels, self.places, self.doubts, self.error = labels, places, doubts, expected_error(posteriors)
        self._posteriors, self._annotator_error = posteriors, annotator_error

    @cached_property
    def next(self) -> Suggestion | None:
        """The label that would help most; None where every frame has one."""
        return next(iter(suggest(self._posteriors, 1, (self._annotator_error,) * 2)), None)

    @cached_property
    def ahead(self) -> list[Suggestion]:
        """The next labels that would help most, in order, as a plan: a tenth of a second of work for a long clip."""
        return suggest(self._posteriors, LOOK_AHEAD, (self._annotator_error,) * 2)

    def needed(self, target: float) -> int | None:
        """How many more labels bring the expected error to `target`; None: more than are planned."""
        if self.error <= target:
            return 0
        return next((count for count, one in enumerate(self.ahead, 1) if one.after <= target), None)


class Clip:
    """A track of the video, as the network sees it."""

    def __init__(self, track: Track, seen: SeenClip, fusion: Fusion):
        self.track, self.seen, self.fusion = track, seen, fusion
        self.frames = track.faces["frame"].to_numpy()

    @cached_property
    def live(self) -> LiveClip:
        """Only when it is asked for."""
        return LiveClip(self.seen, self.fusion)

    def place(self, frame: int) -> int | None:
        """The frame's place among the track's; None where it shows no face of the track."""
        place = int(np.searchsorted(self.frames, frame))
        return place if place < len(self.frames) and self.frames[place] == frame else None


class Session:
    """One annotator's labels of one video. Every change is on disk before a method returns, or NotSaved is raised
    and nothing has changed.
    """

    def __init__(
        self, video: FaceVideo, clips: list[SeenClip], network: Network, file: LabelFile, annotator_error: float = 0.0
    ):
        self.video, self.network, self.file, self.annotator_error = video, network, file, annotator_error
        self.timeline = video.timeline
        self.clips = {
            track.number: Clip(track, seen, network.fusion) for track, seen in zip(video.tracks, clips, strict=True)
        }
        self.marks, self._elsewhere = self._read()
        self._done: list[tuple[tuple[int, int], Mark | None, Mark | None]] = []
        self._undone: list[tuple[tuple[int, int], Mark | None, Mark | None]] = []
        self._views: dict[int, View] = {}

    def label(self, track: int, frame: int, valence: float, arousal: float) -> None:
        """Labels a frame, or changes its label, whose note stays. Raises DataError where there is no such face."""
        if track not in self.clips or self.clips[track].place(frame) is None:
            raise DataError(f"frame {frame} shows no face of track {track}, so there is nothing to label")
        if not (np.isfinite(valence) and np.isfinite(arousal)):
            raise DataError("a label needs two numbers")
        scores = (round(min(max(float(value), -1.0), 1.0), DECIMALS) + 0.0 for value in (valence, arousal))
        before = self.marks.get((track, frame))
        self._change((track, frame), Mark(*scores, before.note if before else ""))

    def annotate(self, track: int, frame: int, note: str) -> None:
        """Gives a label a note, one line. Raises DataError where there is no label."""
        if (track, frame) not in self.marks:
            raise DataError("a note belongs to a label: label the frame first")
        self._change((track, frame), self.marks[track, frame]._replace(note=" ".join(note.split())))

    def delete(self, track: int, frame: int) -> None:
        """Takes a label away, if there is one."""
        self._change((track, frame), None)

    def undo(self) -> tuple[int, int] | None:
        """Takes back the last change: its track and frame; None where there is none."""
        return self._go_back(self._done, self._undone)

    def redo(self) -> tuple[int, int] | None:
        """Makes again what was last taken back."""
        return self._go_back(self._undone, self._done)

    @property
    def can_undo(self) -> bool:
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def view(self, track: int) -> View:
        if track not in self._views:
            self._views[track] = self._look(self.clips[track])
        return self._views[track]

    @property
    def error(self) -> float:
        """Expected error over all frames of the tracks to be labelled."""
        sizes = [len(clip.frames) for clip in self.clips.values()]
        squares = [self.view(track).error ** 2 for track in self.clips]
        return float(np.sqrt(np.average(squares, weights=sizes)))

    def _look(self, clip: Clip) -> View:
        anchors = anchors_of(clip.track, self.video, self._means()) if self.marks else None
        doubts = []
        if anchors is None:
            posteriors = clip.live.posteriors([NOBODY] * len(AXES))
            values = np.clip(np.stack([posterior.mean for posterior in posteriors], 1), -1, 1)
            margins = self.network.fusion.margins(posteriors)
            labels = Labels(values, np.full(len(values), -1), margins)
        else:
            if anchors.inside:
                posteriors = clip.live.posteriors(supports(anchors))
                doubts = contradicted(anchors, self.network.fusion, clip.live.posteriors)
            else:
                posteriors = fuse(self.network.model, self.network.runtime, clip.seen, anchors, self.network.fusion)
            labels = fused_labels(posteriors, anchors, self.network.fusion)
        places = anchors.places if anchors and anchors.inside else np.empty(0, int)
        return View(posteriors, labels, places, doubts, self.annotator_error)

    def _means(self) -> pd.DataFrame:
        """As `place_labels` gives them for one annotator."""
        rows = [(*key, mark.valence, mark.arousal) for key, mark in sorted(self.marks.items())]
        table = pd.DataFrame(rows, columns=["track", "frame", *AXES])
        table[ERRORS] = self.annotator_error
        return table

    def _read(self) -> tuple[Marks, Marks]:
        """Labels of the chosen tracks, and those of others, which stay in the file as they are."""
        labels = self.file.read()
        if labels is None:
            return {}, {}
        named = labels["track"].notna() & ~labels["track"].isin(list(self.clips))
        others = {
            (int(label.track), int(label.frame)): Mark(*_scores(label), label.note)
            for label in labels[named].itertuples()
        }  # fmt: skip
        notes = {(_number(label.track), label.frame): label.note for label in labels.itertuples()}
        marks = {}
        for one in place_labels(labels, self.video).single.itertuples():
            key = int(one.track), int(one.frame)
            marks[key] = Mark(*_scores(one), notes.get(key, notes.get((None, key[1]), "")))
        return marks, others

    def _change(self, key: tuple[int, int], after: Mark | None) -> None:
        before = self.marks.get(key)
        if before == after:
            return
        self._put(key, after)
        self._done.append((key, before, after))
        self._undone.clear()

    def _go_back(self, source: list, other: list) -> tuple[int, int] | None:
        if not source:
            return None
        key, before, after = source[-1]
        self._put(key, before)
        source.pop()
        other.append((key, after, before))
        return key

    def _put(self, key: tuple[int, int], mark: Mark | None) -> None:
        marks = {**self.marks, key: mark} if mark else {k: v for k, v in self.marks.items() if k != key}
        self.file.write({**self._elsewhere, **marks})
        self.marks = marks
        self._views.clear()


def _scores(label) -> list[float]:
    """As the file says them: float32 holds more digits than anybody wrote."""
    return [float(score_text(np.float32(value))) for value in (label.valence, label.arousal)]


def _number(track) -> int | None:
    return None if pd.isna(track) else int(track)


def shot_changes(video: FaceVideo) -> np.ndarray:
    """(C,) seconds at which one shot ends and the next begins, as far as faces tell: no track outlives a cut."""
    shown = video.faces[video.faces["track"] >= 0]
    tracks = shown.groupby("track")["frame"].agg(["min", "max"])
    times = dict(zip(video.timeline.frames.tolist(), video.timeline.times.tolist(), strict=True))
    starts = sorted(set(tracks["min"]) - {video.timeline.frames[0]})
    cuts = [start for start in starts if not ((tracks["min"] < start) & (tracks["max"] >= start)).any()]
    return np.array([times[int(cut)] for cut in cuts])
