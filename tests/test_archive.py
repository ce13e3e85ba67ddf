"""Suggestions over all tracks of an archive, against covariance matrices of all frames of a person."""

import numpy as np
import pytest
from simulated_clips import anchors_at, posteriors_given, simulate_clips

from utils.labelling.posterior.offsets import PersonOffset
from utils.labelling.suggestion.archive import ArchiveSuggester
from utils.labelling.suggestion.suggest import suggest_one_by_one
from utils.labelling.types import NO_LABELS

FRAMES, ERROR = (20, 31, 12), 0.1


class DensePosterior:
    """A Gaussian posterior of a track, given by its covariance matrix."""

    def __init__(self, covariance):
        self.matrix = covariance
        self.mean, self.variance, self.nugget_variance = np.zeros(len(covariance)), covariance.diagonal(), 0.01
        self.observations = NO_LABELS

    def covariance(self, columns, rows):
        return self.matrix[np.ix_(rows, columns)]


class DensePerson:
    """One axis of tracks whose frames depend on common offsets of two sources of evidence."""

    def __init__(self, rng):
        total = sum(FRAMES)
        self.parts = np.split(np.arange(total), np.cumsum(FRAMES)[:-1])
        factors = [rng.normal(size=(len(part), 4)) / 4 for part in self.parts]
        sensitivities = [rng.normal(size=(len(part), 2)) / 3 for part in self.parts]
        root = rng.normal(size=(2, 2))
        variance = root @ root.T + 0.1 * np.eye(2)
        self.matrix = np.zeros((total, total))
        for part, factor in zip(self.parts, factors, strict=True):
            self.matrix[np.ix_(part, part)] = factor @ factor.T + 0.01 * np.eye(len(part))
        stacked = np.concatenate(sensitivities)
        self.matrix += stacked @ variance @ stacked.T
        self.offset = PersonOffset(variance, [sensitivity @ variance for sensitivity in sensitivities])
        self.posteriors = [DensePosterior(self.matrix[np.ix_(part, part)]) for part in self.parts]

    def given_labels(self, frames):
        """Variances of all frames, given labels at frames of the person."""
        columns = self.matrix[:, frames]
        solved = np.linalg.solve(columns[frames] + (ERROR**2 + 1e-6) * np.eye(len(frames)), columns.T)
        return self.matrix.diagonal() - np.einsum("fa,af->f", columns, solved)


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_the_suggested_frame_is_the_best_over_all_tracks_of_all_people(rng):
    people = {name: [DensePerson(rng), DensePerson(rng)] for name in ("Ada", "Ben")}
    suggester = ArchiveSuggester()
    for name, axes in people.items():
        tracks = {
            (name, number): list(both)
            for number, both in enumerate(zip(*(one.posteriors for one in axes), strict=True))
        }
        suggester.update(name, tracks, (ERROR, ERROR), [axis.offset for axis in axes])

    def error(labelled):
        variances = [
            np.delete(axis.given_labels(labelled[name]), labelled[name])
            for name, axes in people.items()
            for axis in axes
        ]
        return np.sqrt(np.minimum(np.concatenate(variances) + 0.01, 1).mean())

    def reductions(labelled):
        return {
            (name, frame): sum(
                (axis.given_labels(labelled[name]) - axis.given_labels([*labelled[name], frame])).sum()
                for axis in people[name]
            )
            for name in people
            for frame in range(sum(FRAMES))
            if frame not in labelled[name]
        }

    labelled = {name: [] for name in people}
    assert suggester.expected_error == pytest.approx(error(labelled))
    for suggestion in suggester.suggest(8):
        name, number = suggestion.track
        frame = people[name][0].parts[number][suggestion.frame_index]
        expected = reductions(labelled)
        assert expected[name, frame] == pytest.approx(max(expected.values()))
        assert suggestion.error_before == pytest.approx(error(labelled))
        labelled[name].append(frame)
        assert suggestion.error_after == pytest.approx(error(labelled))
    assert all(len(frames) > 1 for frames in labelled.values())


def test_without_people_a_track_gets_the_suggestions_of_a_single_clip(rng):
    clips = simulate_clips(rng, 3, 40, 0.1)
    suggester = ArchiveSuggester()
    for number, clip in enumerate(clips):
        suggester.update(number, {number: posteriors_given(clip, None)})
    chosen = {number: [] for number in range(3)}
    for suggestion in suggester.suggest(9):
        chosen[suggestion.track].append(suggestion.frame_index)
    for number, frames in chosen.items():
        alone = suggest_one_by_one(posteriors_given(clips[number], None), 9)
        assert frames == [one.frame_index for one in alone][: len(frames)] and len(frames) >= 2


def test_an_update_replaces_the_tracks_of_the_labelled_person(rng):
    clips = simulate_clips(rng, 2, 30, 0.1)
    suggester = ArchiveSuggester()
    for number, clip in enumerate(clips):
        suggester.update(number, {number: posteriors_given(clip, None)})
    before = suggester.expected_error
    first = suggester.next()
    labelled = posteriors_given(clips[first.track], anchors_at(clips[first.track], [first.frame_index]))
    suggester.update(first.track, {first.track: labelled})
    assert suggester.expected_error == pytest.approx(first.error_after, rel=0.02) and first.error_before == before
    second = suggester.next()
    assert second[:2] != first[:2]
    suggester.remove(1 - first.track)
    assert suggester.next().track == first.track


def test_an_archive_without_a_frame_to_label_gets_no_suggestion(rng):
    (clip,) = simulate_clips(rng, 1, 5, 0.1)
    suggester = ArchiveSuggester()
    assert suggester.next() is None and suggester.expected_error == 0
    suggester.update("a", {"a": posteriors_given(clip, anchors_at(clip, [0, 1, 3, 4], 0.1))})
    assert [one.frame_index for one in suggester.suggest(3)] == [2]
    suggester.update("a", {"a": posteriors_given(clip, anchors_at(clip, range(5), 0.1))})
    assert suggester.next() is None
