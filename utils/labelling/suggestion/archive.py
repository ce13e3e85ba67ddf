"""Suggests which frame of an archive to label next, over all tracks of all videos.

The archive's expected squared error is the sum of the variances of all frames. A label at frame q of a track reduces
the variance of each frame t of this track by cov(t, q)² / (var(q) + error²), and so it does in the other tracks of the
same person: the network's evidence is off by nearly the same offset in all of them (`PersonOffset`). Given the offset,
the tracks are independent, so that the covariance between frames of two tracks is

    cov(f(t), f(q)) = c(t) · V⁻¹ · c(q)ᵀ        c = cov(f, offset), a row vector;  V = var(offset)

A label is a rank-one update of all these covariances. Tracks of other people are not touched by it, so only the tracks
of the labelled person have to be worked out again.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from utils.labelling.posterior.mixture import LARGEST_VARIANCE, MixturePosterior
from utils.labelling.posterior.offsets import PersonOffset
from utils.labelling.suggestion.covariances import AxisCovariance, axis_covariances, candidate_frames

CANDIDATES = 96  # Up to this many evenly spaced frames of a track may be suggested.
EVALUATION_POINTS = 256  # The variances of a track are summed over up to this many evenly spaced frames.


class ArchiveSuggestion(NamedTuple):
    """A frame of the archive to label next.

    Attributes:
        track: name of the track, as in `ArchiveSuggester.update`.
        frame_index: index of the frame among the frames of the track.
        error_before: expected RMSE of the archive over both axes if all earlier suggestions, but not this one, have
            been labelled.
        error_after: expected RMSE if this one has been labelled too.
    """

    track: Hashable
    frame_index: int
    error_before: float
    error_after: float


class ArchiveSuggester:
    """Suggests frames of an archive, one after the other: each the one that reduces the archive's error most."""

    def __init__(self) -> None:
        self._people: dict[Hashable, _Person] = {}

    def update(
        self,
        person: Hashable,
        tracks: Mapping[Hashable, list[MixturePosterior]],
        label_errors: tuple[float, float] = (0.0, 0.0),
        offsets: Sequence[PersonOffset] = (),
    ) -> None:
        """Add the tracks of a person, or replace them after one of them got a label.

        Args:
            person: name of the person. A track whose person is not known is a person of its own.
            tracks: name of each track → its posteriors of valence and arousal, given the labels so far.
            label_errors: standard deviations of the errors in a label of valence and of arousal.
            offsets: of valence and arousal, with the tracks in the same order, from `people.person_offsets`; empty: a
                label does not inform other tracks.
        """
        self._people[person] = _Person(tracks, label_errors, offsets)

    def remove(self, person: Hashable) -> None:
        """Remove the tracks of a person, for example because they have been found to be of another person."""
        del self._people[person]

    @property
    def expected_error(self) -> float:
        """Expected RMSE of the archive over both axes and all frames; 0 without tracks."""
        return _root_mean(sum(person.squared_error for person in self._people.values()), self._values)

    def next(self) -> ArchiveSuggestion | None:
        """The frame to label next; None: every candidate has a label."""
        return next(iter(self.suggest(1)), None)

    def suggest(self, count: int) -> list[ArchiveSuggestion]:
        """Up to `count` frames, the most useful first. Each assumes that the earlier ones have been labelled."""
        people = dict(self._people)
        squared_error = sum(person.squared_error for person in people.values())
        suggestions: list[ArchiveSuggestion] = []
        while people and len(suggestions) < count:
            name = max(people, key=lambda name: people[name].best.gain)
            best = people[name].best
            if best.gain < 0:
                break
            labelled = people[name].with_label(best)
            before = squared_error
            squared_error += labelled.squared_error - people[name].squared_error
            people[name] = labelled
            errors = (_root_mean(total, self._values) for total in (before, squared_error))
            suggestions.append(ArchiveSuggestion(labelled.names[best.track], labelled.frame_of(best), *errors))
        return suggestions

    @property
    def _values(self) -> int:
        """Number of values to estimate: both axes of all frames."""
        return sum(person.values for person in self._people.values())


class _Candidate(NamedTuple):
    """A frame that may be suggested: its track, its position in the track's candidates, its reduction of the error."""

    track: int
    position: int
    gain: float


class _Person:
    """All tracks of a person, given labels at some candidates.

    Attributes:
        names: names of the tracks.
        values: number of values to estimate.
        squared_error: expected squared error, summed over both axes and all frames.
        best: the candidate whose label would reduce it most; its gain is negative if none is left.
    """

    def __init__(
        self,
        tracks: Mapping[Hashable, list[MixturePosterior]],
        label_errors: tuple[float, float],
        offsets: Sequence[PersonOffset],
    ):
        """Arguments as of `ArchiveSuggester.update`."""
        self.names = list(tracks)
        by_track = list(tracks.values())
        self._candidates = [candidate_frames(posteriors, 1, CANDIDATES) for posteriors in by_track]
        covariances = [
            axis_covariances(posteriors, label_errors, candidates, EVALUATION_POINTS)
            for posteriors, candidates in zip(by_track, self._candidates, strict=True)
        ]
        frames = np.array([len(posteriors[0].mean) for posteriors in by_track])
        self.values = 2 * int(frames.sum())
        self._axes = [
            _PersonAxis(
                list(axis_covariances_of_tracks),
                frames,
                [posteriors[axis].nugget_variance for posteriors in by_track],
                offsets[axis] if offsets else None,
            )
            for axis, axis_covariances_of_tracks in enumerate(zip(*covariances, strict=True))
        ]
        self._labelled: set[tuple[int, int]] = set()
        self._evaluate()

    def frame_of(self, candidate: _Candidate) -> int:
        """Index of the candidate among the frames of its track."""
        return int(self._candidates[candidate.track][candidate.position])

    def with_label(self, candidate: _Candidate) -> "_Person":
        """The person given a label at one more candidate."""
        person = object.__new__(_Person)
        person.names, person.values, person._candidates = self.names, self.values, self._candidates
        person._labelled = self._labelled | {candidate[:2]}
        person._axes = [axis.copy() for axis in self._axes]
        for axis in person._axes:
            axis.add_label(candidate.track, candidate.position)
        person._evaluate()
        return person

    def _evaluate(self) -> None:
        """Set `squared_error` and `best`."""
        self.squared_error = sum(axis.squared_error for axis in self._axes)
        self.best = _Candidate(0, 0, -1.0)
        for track, by_axis in enumerate(zip(*(axis.gains() for axis in self._axes), strict=True)):
            gains = np.sum(by_axis, axis=0)
            gains[[position for labelled, position in self._labelled if labelled == track]] = -1
            if len(gains) and gains.max() > self.best.gain:
                self.best = _Candidate(track, int(gains.argmax()), float(gains.max()))


class _PersonAxis:
    """Covariances of all tracks of a person on one axis, within the tracks and, by the person's offset, between them.

    Attributes:
        squared_error: expected squared error, summed over all frames.
    """

    def __init__(
        self,
        tracks: list[AxisCovariance],
        frames: np.ndarray,
        nugget_variances: list[float],
        offset: PersonOffset | None,
    ):
        """Take the covariances over, without copying them.

        Args:
            tracks: covariances within each of the T tracks.
            frames: (T,) number of frames of each track.
            nugget_variances: of each track.
            offset: the person's offset; None: labels do not inform other tracks.
        """
        self._tracks, self._nugget_variances = tracks, nugget_variances
        # An evaluation point stands for this many frames.
        self._weights = frames / [len(track.variances) for track in tracks]
        sources = 0 if offset is None else len(offset.variance)
        self._variance = np.empty((0, 0)) if offset is None else offset.variance.copy()
        self._with_offset = [
            np.zeros((len(track.frames), sources)) if offset is None else offset.covariances[number][track.frames]
            for number, track in enumerate(tracks)
        ]

    def copy(self) -> "_PersonAxis":
        axis = object.__new__(_PersonAxis)
        axis._tracks = [track.copy() for track in self._tracks]
        axis._with_offset = [covariance.copy() for covariance in self._with_offset]
        axis._variance = self._variance.copy()
        axis._weights, axis._nugget_variances = self._weights, self._nugget_variances
        return axis

    @property
    def squared_error(self) -> float:
        sums = [
            np.clip(track.variances + nugget_variance, 0, LARGEST_VARIANCE).sum()
            for track, nugget_variance in zip(self._tracks, self._nugget_variances, strict=True)
        ]
        return float(self._weights @ sums)

    def gains(self) -> list[np.ndarray]:
        """For each track, (Q,) reduction of the variance of all tracks by a label at each of its candidates."""
        products = []  # Of each track, the sum of cᵀ · c over its frames, (E, E).
        for track, covariance, weight in zip(self._tracks, self._with_offset, self._weights, strict=True):
            evaluated = covariance[: len(track.variances)]
            products.append(weight * evaluated.T @ evaluated)
        total = np.sum(products, axis=0)
        gains = []
        for number, (track, product) in enumerate(zip(self._tracks, products, strict=True)):
            projection = self._projection(number)[track.candidate_rows]
            in_other_tracks = np.einsum("qe,ef,qf->q", projection, total - product, projection)
            gains.append(self._weights[number] * track.gains() + in_other_tracks / track.label_variances)
        return gains

    def add_label(self, number: int, candidate: int) -> None:
        """Condition on a label at a candidate of a track."""
        track = self._tracks[number]
        row, label_variance = track.candidate_rows[candidate], track.label_variances[candidate]
        with_offset, projection = self._with_offset[number][row].copy(), self._projection(number)[row]
        columns = [covariance @ projection for covariance in self._with_offset]
        columns[number] = track.covariance[:, candidate].copy()
        for other, (covariance, column) in enumerate(zip(self._tracks, columns, strict=True)):
            if len(self._variance) or other == number:
                covariance.update(column, -1 / label_variance)
                self._with_offset[other] -= np.outer(column, with_offset) / label_variance
        self._variance -= np.outer(with_offset, with_offset) / label_variance

    def _projection(self, number: int) -> np.ndarray:
        """(R, E) c · V⁻¹ of each row of a track."""
        return np.linalg.solve(self._variance, self._with_offset[number].T).T


def _root_mean(total: float, count: int) -> float:
    return float(np.sqrt(total / count)) if count else 0.0
