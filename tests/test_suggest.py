"""Suggestions: the error that they predict, the best frame, and which frames may be suggested."""

import numpy as np
import pytest
from simulated_clips import anchors_at, posteriors_given, simulate_clips

from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION
from utils.labelling.calibration.fit_problems import CalibrationClip
from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.suggestion.suggest import _Plan, expected_error, suggest_one_by_one, suggest_set
from utils.labelling.support import middles_of_parts
from utils.labelling.types import observations_of


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_suggestions_reduce_the_error_as_predicted(rng):
    (clip,) = simulate_clips(rng, 1, 60, 0.1)
    unlabelled = posteriors_given(clip, None)
    suggestions = suggest_one_by_one(unlabelled, 3)
    indices = [suggestion.frame_index for suggestion in suggestions]
    assert len(set(indices)) == 3
    assert suggestions[0].error_before == pytest.approx(expected_error(unlabelled), rel=1e-6)
    assert suggestions[0].error_after == pytest.approx(suggestions[1].error_before)
    assert suggestions[0].error_after < suggestions[0].error_before
    given = observations_of(anchors_at(clip, sorted(indices)))
    axes = [
        (one.with_evidence, clip.evidence[..., axis], observed)
        for axis, (one, observed) in enumerate(zip(DEFAULT_CALIBRATION.axes, given, strict=True))
    ]
    variances = [
        GPPosterior(parameters, clip.times, evidence, observations).variance + parameters.process.nugget**2
        for parameters, evidence, observations in axes
    ]
    unlabelled_variances = np.delete(variances, indices, 1)
    assert suggestions[-1].error_after == pytest.approx(np.sqrt(np.mean(unlabelled_variances)), rel=1e-3)


@pytest.mark.parametrize("labelled", [[], [3], [0, 8, 20, 31]])
@pytest.mark.parametrize("suggest", [suggest_one_by_one, suggest_set])
def test_error_after_a_suggested_label_is_the_expected_error_given_this_label(rng, monkeypatch, labelled, suggest):
    # A label also changes the scale of the variances and the weights of the explanations: both are held fixed here.
    monkeypatch.setattr(MixturePosterior, "variance_scale", 1.0)
    monkeypatch.setattr("utils.labelling.posterior.mixture.LABELS_TO_WEIGH_EXPLANATIONS", 99)
    (clip,) = simulate_clips(rng, 1, 40, 0.1)
    for _ in range(3):
        posteriors = posteriors_given(clip, anchors_at(clip, labelled) if labelled else None)
        (suggestion,) = suggest(posteriors, 1)
        assert suggestion.error_before == pytest.approx(expected_error(posteriors), rel=1e-3)
        clip.labels[suggestion.frame_index] = [posterior.mean[suggestion.frame_index] for posterior in posteriors]
        labelled = sorted([*labelled, suggestion.frame_index])
        given = posteriors_given(clip, anchors_at(clip, labelled))
        assert suggestion.error_after == pytest.approx(expected_error(given), rel=1e-3)


def test_first_suggestion_is_the_best_of_all_frames(rng):
    (clip,) = simulate_clips(rng, 1, 40, 0.1)
    (best,) = suggest_one_by_one(posteriors_given(clip, None), 1)
    errors = [expected_error(posteriors_given(clip, anchors_at(clip, [index]))) for index in range(40)]
    assert errors[best.frame_index] == pytest.approx(min(errors), rel=1e-3)


def test_no_more_suggestions_than_frames(rng):
    (clip,) = simulate_clips(rng, 1, 3, 0.1)
    suggestions = suggest_one_by_one(posteriors_given(clip, None), 10)
    assert sorted(suggestion.frame_index for suggestion in suggestions) == [0, 1, 2]


def test_labelled_frames_are_not_suggested(rng):
    (clip,) = simulate_clips(rng, 1, 6, 0.1)
    suggestions = suggest_one_by_one(posteriors_given(clip, anchors_at(clip, [0, 2, 4], 0.3)), 5)
    assert sorted(suggestion.frame_index for suggestion in suggestions) == [1, 3, 5]
    assert suggest_one_by_one(posteriors_given(clip, anchors_at(clip, range(6))), 2) == []


@pytest.mark.parametrize("count", [1, 3, 6, 12])
def test_labels_planned_together_are_no_worse_than_even_or_greedy_ones(rng, count):
    for clip in simulate_clips(rng, 3, 60, 0.1):
        unlabelled = posteriors_given(clip, None)
        plan = suggest_set(unlabelled, count)
        assert len({suggestion.frame_index for suggestion in plan}) == count
        greedy = suggest_one_by_one(unlabelled, count)[-1].error_after
        assert plan[-1].error_after <= greedy * (1 + 1e-6)
        even = _Plan(unlabelled, (0.0, 0.0), middles_of_parts(np.arange(60), count), 60)
        assert plan[-1].error_after <= even.suggestions(np.arange(count))[-1].error_after * (1 + 1e-6)


def test_plan_for_a_labelled_clip_is_empty_and_expected_error_leaves_labelled_frames_out(rng):
    (clip,) = simulate_clips(rng, 1, 30, 0.1)
    labelled = posteriors_given(clip, anchors_at(clip, range(30)))
    assert suggest_set(labelled, 3) == [] and expected_error(labelled) == 0
    some = posteriors_given(clip, anchors_at(clip, [10, 20]))
    unlabelled = np.delete(np.arange(30), [10, 20])
    variances = [posterior.predictive_variance[unlabelled] for posterior in some]
    assert expected_error(some) == pytest.approx(np.sqrt(np.mean(variances)))


def error_given_labels(clip, frames):
    """Expected error of the clip with exact labels at these frames, computed without `suggestion.suggest`."""
    given = observations_of(anchors_at(clip, sorted(frames)))
    axes = [
        (one.with_evidence, clip.evidence[..., axis], observed)
        for axis, (one, observed) in enumerate(zip(DEFAULT_CALIBRATION.axes, given, strict=True))
    ]
    variances = [
        GPPosterior(parameters, clip.times, evidence, observations).variance + parameters.process.nugget**2
        for parameters, evidence, observations in axes
    ]
    return np.sqrt(np.mean(variances))


@pytest.mark.parametrize("frames, count, beaten", [(700, 2, "even"), (240, 14, "greedy")])
def test_plans_of_long_clips_are_no_worse_than_greedy_or_even_ones_and_sometimes_better(rng, frames, count, beaten):
    ratios = []
    times = np.arange(frames) / 25
    for _ in range(3):
        evidence = np.cumsum(rng.normal(0, 0.05, (frames, 2)), 0)
        evidence[: frames // 2] = evidence[frames // 2]  # at rest in the first half
        clip = CalibrationClip(times, evidence[:, None], evidence)
        unlabelled = posteriors_given(clip, None)
        plan = [suggestion.frame_index for suggestion in suggest_set(unlabelled, count)]
        greedy = [suggestion.frame_index for suggestion in suggest_one_by_one(unlabelled, count)]
        planned, *others = (
            error_given_labels(clip, chosen) for chosen in (plan, greedy, middles_of_parts(np.arange(frames), count))
        )
        ratios.append(np.divide(planned, others))
    # The plan is optimised on some of the frames, so it may be slightly worse over all of them.
    assert np.max(ratios) < 1.002
    mean_ratio = dict(zip(("greedy", "even"), np.mean(ratios, 0), strict=True))
    assert mean_ratio[beaten] < 0.995


def test_plan_has_no_more_frames_than_are_without_a_label(rng):
    (clip,) = simulate_clips(rng, 1, 6, 0.1)
    plan = suggest_set(posteriors_given(clip, anchors_at(clip, [0, 2, 4], 0.3)), 5)
    assert sorted(suggestion.frame_index for suggestion in plan) == [1, 3, 5]
    assert [one.error_after for one in plan[:-1]] == pytest.approx([one.error_before for one in plan[1:]])
    (long,) = simulate_clips(rng, 1, 100, 0.1)
    assert len({one.frame_index for one in suggest_set(posteriors_given(long, None), 90)}) == 90
    assert suggest_set(posteriors_given(long, None), 0) == []


def test_a_clip_can_be_given_more_suggestions_than_the_usual_number_of_candidates(rng):
    (clip,) = simulate_clips(rng, 1, 600, 0.1)
    unlabelled = posteriors_given(clip, None)
    assert len({suggestion.frame_index for suggestion in suggest_one_by_one(unlabelled, 300)}) == 300
    assert len({suggestion.frame_index for suggestion in suggest_set(unlabelled, 300)}) == 300


def test_covariances_stay_exact_when_labels_are_added_and_removed(rng):
    (clip,) = simulate_clips(rng, 1, 60, 0.1)
    plan = _Plan(posteriors_given(clip, None), (0.05, 0.05), np.arange(0, 60, 2), 20)
    chosen = np.array([3, 11, 12, 25])
    for axis, changed, expected in zip(plan._axes, plan._given(chosen), plan._given(chosen[[0, 1, 3]]), strict=True):
        changed.remove_label(axis, chosen, 2)
        np.testing.assert_allclose(changed.covariance, expected.covariance, atol=1e-9)
        np.testing.assert_allclose(changed.variances, expected.variances, atol=1e-9)
