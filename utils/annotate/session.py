"""One annotator's labels and rating of one video, with undo; independent of the web page."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from datasets.annotations.cells import score_text
from datasets.columns import AXES
from utils.annotate.history import History
from utils.annotate.label_file import FrameLabel, FrameLabels, LabelFile, LabelKey, label_scores
from utils.annotate.rating_file import NO_RATING, RatingFile, redo_stretch
from utils.annotate.tracks import LabelledTrack, TrackEstimate
from utils.base.errors import DataError
from utils.labelling.clip_rating import ClipRating
from utils.labelling.label_noise import estimate_label_error
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.types import Anchors
from utils.videos.face_video import FaceVideo, refuse_simultaneous_tracks
from utils.videos.support import ERROR_COLUMNS, anchors_for_track, anchors_in_track, resolve_labels

LABELS_PER_ESTIMATE = 5  # The error of the labels is estimated again after so many new or deleted labels.


class Session:
    """One annotator's labels and rating of one video.

    Every change is on disk before a method returns. Otherwise NotSavedError is raised and nothing has changed. Another
    thread may ask for estimates meanwhile.

    Attributes:
        face_video: the video and its tracks.
        file: where the labels are saved.
        rating_file: where the rating is saved.
        timeline: the frames of the video.
        tracks: track number → track.
        labels: (track, frame) → label.
        rating: (T, 3) seconds, valence and arousal; T = 0: nothing is rated.
        last_saved: the file that was written last.
        shared_posteriors: number of a track → its posteriors, if it shares the labels of a person with other tracks;
            None: no track does.
    """

    _lock: ClassVar[Any] = threading.RLock()  # one for all sessions, so that no thread waits for two

    def __init__(
        self,
        face_video: FaceVideo,
        labeller: Labeller,
        file: LabelFile,
        rating_file: RatingFile,
        annotator_error: float | Literal["auto"] = 0.0,
    ):
        """Read the labels and the rating that are on disk.

        Args:
            face_video: the video and the tracks to label.
            labeller: the network and its calibration.
            file: where the labels are saved.
            rating_file: where the rating is saved.
            annotator_error: standard deviation of the annotator's labels; "auto": estimated while labelling.

        Raises:
            DataError: a file cannot be read, or is of another annotator.
        """
        self.face_video, self.file, self.rating_file = face_video, file, rating_file
        self.labeller = self._unrated_labeller = self._unadapted_labeller = labeller
        self.estimates_error = annotator_error == "auto"
        self.annotator_error = 0.0 if annotator_error == "auto" else annotator_error
        self.timeline = face_video.timeline
        self.tracks = {track.number: LabelledTrack(track, labeller) for track in face_video.tracks}
        self.labels, self._labels_of_other_tracks = self._read()
        # The target of a change is the track and frame of a label, or None for the rating.
        self._history = History[LabelKey | None, FrameLabel | np.ndarray | None](self._write)
        self._estimates: dict[int, TrackEstimate] = {}
        self.shared_posteriors: Callable[[int], list[MixturePosterior] | None] | None = None
        self._shared: dict[int, list[MixturePosterior] | None] = {}
        self.rating = rating_file.read()
        self.last_saved = file.path
        self._used_rating: np.ndarray | None = None
        self.use_rating()

    def label(self, track: int, frame: int, valence: float, arousal: float) -> None:
        """Label a frame, or change its label and keep the note; values are clipped to [-1, 1] and rounded.

        Raises:
            DataError: the frame does not show the track's face, or a value is not finite.
        """
        if track not in self.tracks or self.tracks[track].index_of(frame) is None:
            raise DataError(no_face(track, frame))
        scores, before = label_scores(valence, arousal), self.labels.get((track, frame))
        self._change((track, frame), FrameLabel(*scores, before.note if before else ""))

    def set_note(self, track: int, frame: int, note: str) -> None:
        """Set the note of a label; line breaks become spaces.

        Raises:
            DataError: the frame has no label.
        """
        if (track, frame) not in self.labels:
            raise DataError("a note belongs to a label: label the frame first")
        self._change((track, frame), self.labels[track, frame]._replace(note=" ".join(note.split())))

    def delete(self, track: int, frame: int) -> None:
        """Delete a label, if there is one."""
        self._change((track, frame), None)

    def rate(self, start: float, samples: list[list[float]], continues: bool = False) -> None:
        """Rate a stretch of the video; the estimates follow when `use_rating` is called.

        Args:
            start: time in seconds at which the stretch starts; an earlier rating of the stretch is replaced.
            samples: seconds, valence and arousal of each sample, ascending in time.
            continues: the samples follow those of the last call, so that both are undone together.

        Raises:
            DataError: the tracks show several faces at once, or a sample is no number.
        """
        refuse_simultaneous_tracks(
            self.face_video.video.path, {number: track.track.times for number, track in self.tracks.items()}
        )
        new = np.array(samples, np.float64).reshape(-1, 3)
        if not np.isfinite(new).all():
            raise DataError("a rating needs numbers")
        new[:, 1:] = new[:, 1:].clip(-1, 1)
        rating = redo_stretch(self.rating, start, new)
        if rating is self.rating:
            return
        self._history.change(None, self.rating, rating, continues)

    def delete_rating(self) -> None:
        """Delete the rating, if there is one."""
        if len(self.rating):
            self._history.change(None, self.rating, NO_RATING)
            self.use_rating()

    def use_rating(self) -> None:
        """Take the rating as evidence; it is fitted to the other evidence and the labels with the next estimate."""
        if self._used_rating is self.rating:
            return
        with self._lock:
            self._apply_rating()

    def _apply_rating(self) -> None:
        self._used_rating = self.rating
        is_rated = len(self.rating) > 1
        self.labeller = self._unadapted_labeller = (
            self._unrated_labeller.with_rater() if is_rated else self._unrated_labeller
        )
        times, *axes = self.rating.T
        rating = ClipRating([(times, values) for values in axes]) if is_rated else None
        for track in self.tracks.values():
            track.use_rating(rating, self.labeller)
        # Ratings are fitted before the first label, to other evidence.
        self._labels_at_estimate = -LABELS_PER_ESTIMATE if self.labeller.rater_lags else 0
        self._estimates.clear()

    @property
    def rating_lag(self) -> float | None:
        """Seconds by which the rating follows the face, as estimated; None: it has not been."""
        rater = self.labeller.rater_lags[-1] if len(self.rating) > 1 else None
        return rater.lag if rater and rater.clips else None

    def undo(self) -> LabelKey | None:
        """Undo the last change and return the track and frame of a label; None: it was no label, or none is left."""
        change = self._history.undo()
        self.use_rating()
        return change.target if change else None

    def redo(self) -> LabelKey | None:
        """Repeat the change that was undone last; return as `undo`."""
        change = self._history.redo()
        self.use_rating()
        return change.target if change else None

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return self._history.can_redo

    def estimate(self, track: int) -> TrackEstimate:
        """The estimates of a track, given the labels so far."""
        with self._lock:
            self._fit_to_labels()
            shared = self.shared_posteriors(track) if self.shared_posteriors else None
            if track not in self._estimates or self._shared.get(track) is not shared:
                self._estimates[track] = self._estimate(track, shared)
                self._shared[track] = shared
            return self._estimates[track]

    def anchors_in(self, track: int) -> Anchors | None:
        """The labelled frames of a track; None: it has none."""
        return anchors_in_track(self.tracks[track].track, self._means())

    @property
    def labelled_tracks(self) -> set[int]:
        """Numbers of the tracks that have labels."""
        return {track for track, _ in self.labels}

    def _estimate(self, track: int, shared: list[MixturePosterior] | None) -> TrackEstimate:
        labelled_track = self.tracks[track]
        if shared is not None:
            return labelled_track.estimate(self.anchors_in(track), self.annotator_error, shared)
        anchors = anchors_for_track(labelled_track.track, self.face_video, self._means()) if self.labels else None
        return labelled_track.estimate(anchors, self.annotator_error)

    def _fit_to_labels(self) -> None:
        """Fit uncalibrated evidence and the error of the labels again, if the number of labels has changed enough."""
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
        """Expected root mean square error of the estimates, over the frames of all tracks without a label."""
        unlabelled = Counter({track: len(self.tracks[track].frames) for track in self.tracks})
        unlabelled.subtract(track for track, _ in self.labels)
        squares = [unlabelled[track] * self.estimate(track).expected_error ** 2 for track in self.tracks]
        return float(np.sqrt(sum(squares) / max(unlabelled.total(), 1)))

    def share_done(self, target: float) -> float:
        """Share of the frames of all tracks whose expected error is at most `target`."""
        errors = np.concatenate([self.estimate(track).frame_errors for track in self.tracks])
        return float(np.mean(errors <= target))

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
        if before != after:
            self._history.change(key, before, after)

    def _write(self, key: LabelKey | None, state: FrameLabel | np.ndarray | None) -> None:
        """Set or delete a label, or, with None as key, replace the rating; on disk, then in memory."""
        if isinstance(state, np.ndarray):
            self._save_rating(state)
        elif key is not None:
            self._save(key, state)

    def _save(self, key: LabelKey, label: FrameLabel | None) -> None:
        labels = {**self.labels, key: label} if label else {k: v for k, v in self.labels.items() if k != key}
        self.file.write({**self._labels_of_other_tracks, **labels})
        with self._lock:
            self.labels = labels
            self._estimates.clear()
        self.last_saved = self.file.path

    def _save_rating(self, rating: np.ndarray) -> None:
        """Replace the rating on disk, then in memory."""
        self.rating_file.write(rating)
        self.rating = rating
        self.last_saved = self.rating_file.path


def no_face(track: int, frame: int) -> str:
    """The message for a frame that cannot be labelled."""
    return f"frame {frame} does not show the face of track {track}, so it cannot be labelled"


def _frame_label(row: Any, note: str) -> FrameLabel:
    """The label of a row, with the digits that the file has: a float32 shows further digits as a float64."""
    valence, arousal = (float(score_text(np.float32(value))) for value in (row.valence, row.arousal))
    return FrameLabel(valence, arousal, note)
