"""A track that is being labelled, and its estimates given the labels so far."""

from functools import cached_property

import numpy as np

from utils.labelling.audit import Contradiction, find_contradictions
from utils.labelling.clip_rating import ClipRating
from utils.labelling.incremental import IncrementalClip
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.suggestion.suggest import Suggestion, expected_error, suggest_one_by_one
from utils.labelling.types import Anchors, Labels, observations_of
from utils.videos.face_video import Track

PLANNED_LABELS = 24  # how many labels ahead the page plans


class TrackEstimate:
    """The estimates of a track's N frames, given the labels so far.

    Attributes:
        values: (N, 2) valence and arousal in [-1, 1].
        half_widths: (N, 2) half-widths of the 90 % intervals.
        misread: names of the axes on which the labels contradict the network's evidence for this face.
        labelled: (A,) indices of the labelled frames among the track's frames.
        contradictions: labels that the other labels contradict; their `anchor_index` is an index into `labelled`.
        expected_error: expected root mean square error of the estimates.
        posteriors: of valence and arousal.
    """

    def __init__(
        self,
        posteriors: list[MixturePosterior],
        labels: Labels,
        labelled: np.ndarray,
        contradictions: list[Contradiction],
        annotator_error: float,
    ):
        assert labels.half_widths is not None, "fused labels have intervals"
        self.values, self.half_widths, self.misread = labels.values, labels.half_widths, labels.misread
        self.labelled, self.contradictions = labelled, contradictions
        self.expected_error = expected_error(posteriors)
        self.posteriors, self._annotator_error = posteriors, annotator_error

    @cached_property
    def suggestion(self) -> Suggestion | None:
        """The frame whose label would help most; None: every frame has a label."""
        return next(iter(self._suggest(1)), None)

    @cached_property
    def plan(self) -> list[Suggestion]:
        """The next suggestions in order; computing them for a long clip takes about 0.1 s."""
        return self._suggest(PLANNED_LABELS)

    @cached_property
    def frame_errors(self) -> np.ndarray:
        """(N,) expected root mean square error of each frame over both axes; 0 for labelled frames."""
        errors = np.sqrt(np.mean([posterior.predictive_variance for posterior in self.posteriors], 0))
        errors[self.labelled] = 0.0
        return errors

    def labels_needed(self, target: float) -> int | None:
        """Number of further labels that reduce the expected error to `target`; None: more than are planned."""
        if self.expected_error <= target:
            return 0
        return next((count for count, suggestion in enumerate(self.plan, 1) if suggestion.error_after <= target), None)

    def _suggest(self, count: int) -> list[Suggestion]:
        return suggest_one_by_one(self.posteriors, count, (self._annotator_error,) * 2)


class LabelledTrack:
    """A track of the video that is being labelled.

    Attributes:
        track: the track, with N frames.
        clip: the track as the labeller sees it.
        frames: (N,) frame numbers.
    """

    def __init__(self, track: Track, labeller: Labeller):
        self.track, self.labeller = track, labeller
        self.clip = labeller.encode_clip(track.embeddings, track.times, track.evidence, track.ratings)
        self._unrated_clip = self.clip
        self.frames = track.faces["frame"].to_numpy()

    def use_rating(self, rating: ClipRating | None, labeller: Labeller) -> None:
        """Add the annotator's own rating, whose rater is the last one of the labeller; None: there is none."""
        self.clip = self._unrated_clip
        if rating is not None:
            unrated = np.full((len(self.frames), 1, 2), np.nan)
            evidence = np.concatenate((self.clip.evidence, unrated), 1)
            self.clip = self.clip._replace(evidence=evidence, ratings=(*self.clip.ratings, rating))
        self.use(labeller)

    def use(self, labeller: Labeller) -> None:
        """Replace the labeller by one with another calibration of the same sources of evidence."""
        self.labeller, self.clip = labeller, labeller.shifted(self.clip)
        self.__dict__.pop("_incremental", None)

    def index_of(self, frame: int) -> int | None:
        """Index of a frame number among the track's frames; None: the frame does not show the track's face."""
        index = int(np.searchsorted(self.frames, frame))
        return index if index < len(self.frames) and self.frames[index] == frame else None

    def estimate(
        self, anchors: Anchors | None, annotator_error: float, shared: list[MixturePosterior] | None = None
    ) -> TrackEstimate:
        """Estimate all frames from the labels so far.

        Args:
            anchors: labelled frames of the track, or of other tracks; None: nothing is labelled yet.
            annotator_error: standard deviation of the labels to come.
            shared: the posteriors, if the track shares the labels of a person with other tracks; `anchors` are then
                the labelled frames of this track alone.
        """
        contradictions: list[Contradiction] = []
        labelled = np.empty(0, int)
        if shared is not None:
            posteriors = shared
        elif anchors is None or anchors.all_in_clip:
            posteriors = self._incremental.posteriors(observations_of(anchors))
        else:
            posteriors = self.labeller.posteriors(self.clip, anchors)
        if anchors is not None and anchors.all_in_clip:
            labelled = anchors.indices
            contradictions = find_contradictions(anchors, self.labeller.calibration, self._incremental.posteriors)
        labels = self.labeller.fused_labels(posteriors, anchors)
        return TrackEstimate(posteriors, labels, labelled, contradictions, annotator_error)

    @cached_property
    def _incremental(self) -> IncrementalClip:
        """Computed only when an estimate needs it: anchors of other tracks do not."""
        return IncrementalClip(self.clip, self.labeller.calibration)
