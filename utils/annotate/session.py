"""One annotator's labels of one video, with undo; independent of the web page."""

from typing import Any, Literal

import numpy as np
import pandas as pd

from datasets.annotations.cells import score_text
from datasets.columns import AXES
from utils.annotate.label_file import FrameLabel, FrameLabels, LabelFile, LabelKey
from utils.annotate.tracks import LabelledTrack, TrackEstimate
from utils.base.errors import DataError
from utils.labelling.label_noise import estimate_label_error
from utils.labelling.labeller import Labeller
from utils.videos.face_video import FaceVideo
from utils.videos.support import ERROR_COLUMNS, anchors_for_track, anchors_in_track, resolve_labels

DECIMALS = 2  # decimals of a new label
LABELS_PER_ESTIMATE = 5  # The error of the labels is estimated again after so many new or deleted labels.

Change = tuple[LabelKey, FrameLabel | None, FrameLabel | None]  # frame, label before, label after


class Session:
    """One annotator's labels of one video.

    Every change is on disk before a method returns. Otherwise NotSavedError is raised and nothing has changed.

    Attributes:
        face_video: the video and its tracks.
        file: where the labels are saved.
        timeline: the frames of the video.
        tracks: track number → track.
        labels: (track, frame) → label.
    """

    def __init__(
        self, face_video: FaceVideo, labeller: Labeller, file: LabelFile, annotator_error: float | Literal["auto"] = 0.0
    ):
        """Reads the labels that are on disk.

        Args:
            face_video: the video and the tracks to label.
            labeller: the network and its calibration.
            file: where the labels are saved.
            annotator_error: standard deviation of the annotator's labels; "auto": estimated while labelling.

        Raises:
            DataError: the file cannot be read, or holds labels of another annotator.
        """
        self.face_video, self.file = face_video, file
        self.labeller = self._unadapted_labeller = labeller
        self.estimates_error = annotator_error == "auto"
        self.annotator_error = 0.0 if annotator_error == "auto" else annotator_error
        # Ratings are fitted before the first label, to other evidence.
        self._labels_at_estimate = -LABELS_PER_ESTIMATE if labeller.raters else 0
        self.timeline = face_video.timeline
        self.tracks = {track.number: LabelledTrack(track, labeller) for track in face_video.tracks}
        self.labels, self._labels_of_other_tracks = self._read()
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self._estimates: dict[int, TrackEstimate] = {}

    def label(self, track: int, frame: int, valence: float, arousal: float) -> None:
        """Labels a frame, or changes its label and keeps the note; values are clipped to [-1, 1] and rounded.

        Raises:
            DataError: the frame does not show the track's face, or a value is not finite.
        """
        if track not in self.tracks or self.tracks[track].index_of(frame) is None:
            raise DataError(no_face(track, frame))
        if not (np.isfinite(valence) and np.isfinite(arousal)):
            raise DataError("a label needs two numbers")
        # Adding 0.0 turns -0.0 into 0.0.
        valence, arousal = (round(min(max(float(value), -1.0), 1.0), DECIMALS) + 0.0 for value in (valence, arousal))
        before = self.labels.get((track, frame))
        self._change((track, frame), FrameLabel(valence, arousal, before.note if before else ""))

    def set_note(self, track: int, frame: int, note: str) -> None:
        """Sets the note of a label; line breaks become spaces.

        Raises:
            DataError: the frame has no label.
        """
        if (track, frame) not in self.labels:
            raise DataError("a note belongs to a label: label the frame first")
        self._change((track, frame), self.labels[track, frame]._replace(note=" ".join(note.split())))

    def delete(self, track: int, frame: int) -> None:
        """Deletes a label, if there is one."""
        self._change((track, frame), None)

    def undo(self) -> LabelKey | None:
        """Undoes the last change and returns its track and frame; None: there is none."""
        return self._revert(self._done, self._undone)

    def redo(self) -> LabelKey | None:
        """Repeats the change that was undone last and returns its track and frame; None: there is none."""
        return self._revert(self._undone, self._done)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self._undone)

    def estimate(self, track: int) -> TrackEstimate:
        """The estimates of a track, given the labels so far."""
        self._fit_to_labels()
        if track not in self._estimates:
            labelled_track = self.tracks[track]
            anchors = anchors_for_track(labelled_track.track, self.face_video, self._means()) if self.labels else None
            self._estimates[track] = labelled_track.estimate(anchors, self.annotator_error)
        return self._estimates[track]

    def _fit_to_labels(self) -> None:
        """Fits uncalibrated evidence and the error of the labels again, if the number of labels has changed enough."""
        fits = self.estimates_error or self.labeller.uncalibrated
        if not fits or abs(len(self.labels) - self._labels_at_estimate) < LABELS_PER_ESTIMATE:
            return
        self._labels_at_estimate = len(self.labels)
        means = self._means().assign(**dict.fromkeys(ERROR_COLUMNS, 0.0))
        if self.labeller.uncalibrated:
            self.labeller = self._unadapted_labeller.adapt(
                [(track.clip, anchors_in_track(track.track, means)) for track in self.tracks.values()]
            )
            for track in self.tracks.values():
                track.use(self.labeller)
        if self.estimates_error:
            pairs = [(track.clip, anchors_in_track(track.track, means)) for track in self.tracks.values()]
            labelled = [(clip, anchors) for clip, anchors in pairs if anchors is not None]
            self.annotator_error = estimate_label_error(labelled, self.labeller.calibration) or 0.0
        self._estimates.clear()

    @property
    def expected_error(self) -> float:
        """Expected root mean square error over all frames of the tracks."""
        sizes = [len(track.frames) for track in self.tracks.values()]
        squares = [self.estimate(track).expected_error ** 2 for track in self.tracks]
        return float(np.sqrt(np.average(squares, weights=sizes)))

    def _means(self) -> pd.DataFrame:
        """The labels as the table `ResolvedLabels.means`."""
        rows = [(*key, label.valence, label.arousal) for key, label in sorted(self.labels.items())]
        table = pd.DataFrame(rows, columns=["track", "frame", *AXES])
        table[ERROR_COLUMNS] = self.annotator_error
        return table.assign(annotator=self.file.annotator)

    def _read(self) -> tuple[FrameLabels, FrameLabels]:
        """The labels of the chosen tracks, and those of other tracks, which are kept in the file as they are."""
        table = self.file.read()
        if table is None:
            return {}, {}
        in_other_tracks = table["track"].notna() & ~table["track"].isin(list(self.tracks))
        others = {
            (int(row.track), int(row.frame)): _frame_label(row, row.note) for row in table[in_other_tracks].itertuples()
        }
        notes = {(None if pd.isna(row.track) else int(row.track), row.frame): row.note for row in table.itertuples()}
        labels = {}
        for row in resolve_labels(table, self.face_video).labels.itertuples():
            key = int(row.track), int(row.frame)
            labels[key] = _frame_label(row, notes.get(key, notes.get((None, key[1]), "")))
        return labels, others

    def _change(self, key: LabelKey, after: FrameLabel | None) -> None:
        before = self.labels.get(key)
        if before == after:
            return
        self._save(key, after)
        self._done.append((key, before, after))
        self._undone.clear()

    def _revert(self, source: list[Change], target: list[Change]) -> LabelKey | None:
        """Reverts the last change of `source` and moves it, reversed, to `target`."""
        if not source:
            return None
        key, before, after = source[-1]
        self._save(key, before)
        source.pop()
        target.append((key, after, before))
        return key

    def _save(self, key: LabelKey, label: FrameLabel | None) -> None:
        """Sets or deletes a label on disk, then in memory."""
        labels = {**self.labels, key: label} if label else {k: v for k, v in self.labels.items() if k != key}
        self.file.write({**self._labels_of_other_tracks, **labels})
        self.labels = labels
        self._estimates.clear()


def no_face(track: int, frame: int) -> str:
    """The message for a frame that cannot be labelled."""
    return f"frame {frame} does not show the face of track {track}, so it cannot be labelled"


def _frame_label(row: Any, note: str) -> FrameLabel:
    """The label of a row, with the digits that the file has: a float32 shows further digits as a float64."""
    valence, arousal = (float(score_text(np.float32(value))) for value in (row.valence, row.arousal))
    return FrameLabel(valence, arousal, note)
