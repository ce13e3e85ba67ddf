"""Fused labels: the process against its dense form, what fitting finds, intervals, suggestions and the audit."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from models.mtclar import MTCLAR
from utils.errors import CheckpointError
from utils.fused.agreement import annotator_agreement, label_error
from utils.fused.audit import audit
from utils.fused.fusion import NORMAL, UNFITTED, Clip, Fusion, fit_fusion, read_fusion, save_fusion
from utils.fused.smoother import LEVEL, NOBODY, Posterior, Support, TraceModel, liveliness
from utils.fused.suggest import expected_error, suggest
from utils.fused.trace import Trace
from utils.labelling import (
    Anchors,
    SeenClip,
    fuse,
    fuse_unlabelled,
    fused_labels,
    mean_difference,
    see_clip,
    supports,
)
from utils.runtime import make_runtime
from utils.settings import RuntimeSettings

MODEL = TraceModel(0.1, 0.7, 1.1, 0.6, 0.15, 0.25, 0.37, 0.11, 0.02)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def dense(model, times, evidence, support):
    """Mean and covariance of the label trace, from the full covariance matrices of the process."""
    apart, earlier = np.abs(times[:, None] - times), np.minimum(times[:, None], times) - times[0]
    rate = np.sqrt(3) * apart / model.bend_seconds
    amplitude = model.bend * liveliness(times, evidence) ** model.liveliness
    label = LEVEL**2 + model.wander**2 * earlier + np.outer(amplitude, amplitude) * (1 + rate) * np.exp(-rate)
    seen = label + model.offset**2 + model.noise**2 * np.eye(len(times))
    seen += model.drift**2 * np.exp(-apart / model.drift_seconds)
    at = support.places
    said = label[np.ix_(at, at)] + np.diag(np.maximum(support.errors, 1e-3) ** 2)
    whole = np.block([[seen, label[:, at]], [label[at], said]])
    shared = np.hstack([label, label[:, at]])
    mean = shared @ np.linalg.solve(whole, np.concatenate([evidence, support.labels]))
    return mean, label - shared @ np.linalg.solve(whole, shared.T)


@pytest.mark.parametrize("places", [[], [0], [39], [3, 20, 21], list(range(40))])
def test_posterior_equals_the_dense_process(rng, places):
    times = np.cumsum(rng.uniform(0.02, 0.3, 40))
    evidence, errors = rng.normal(0, 0.4, 40), rng.choice([0.0, 0.05, 0.2], len(places))
    support = Support(np.array(places, int), rng.uniform(-1, 1, len(places)), errors)
    found, (mean, covariance) = Posterior(MODEL, times, evidence, support), dense(MODEL, times, evidence, support)
    np.testing.assert_allclose(found.mean, mean, atol=1e-7)
    np.testing.assert_allclose(found.variance, np.diag(covariance), atol=1e-8)
    some = np.array([0, 7, 39])
    np.testing.assert_allclose(found.covariance(some), covariance[:, some], atol=1e-7)


def test_left_out_labels_equal_fitting_without_them(rng):
    times, evidence, places = np.arange(30) / 25, rng.normal(0, 0.3, 30), np.array([2, 11, 12, 27])
    support = Support(places, rng.uniform(-1, 1, 4), np.array([0.0, 0.1, 0.0, 0.05]))
    means, variances = Posterior(MODEL, times, evidence, support).left_out()
    for place in range(4):
        rest = Support(*(np.delete(column, place) for column in support))
        without = Posterior(MODEL, times, evidence, rest)
        assert means[place] == pytest.approx(without.mean[places[place]], abs=1e-5)
        assert variances[place] == pytest.approx(without.variance[places[place]], abs=1e-5)


def test_without_value_in_the_evidence_the_wiener_part_leaves_the_straight_line(rng):
    model = TraceModel(0.5, 1e-3, 1.0, 1e-3, 1e-3, 1.0, 1e-3, 30.0, 0.01)
    times, places, labels = np.arange(50) / 25, np.array([4, 20, 41]), np.array([0.3, -0.5, 0.1])
    found = Posterior(model, times, rng.normal(size=50), Support(places, labels, np.zeros(3)))
    line = np.interp(times, times[places], labels)
    np.testing.assert_allclose(found.mean[4:], line[4:], atol=5e-3)


def test_frames_with_one_time_stamp_and_single_frames_are_fine(rng):
    for times in (np.zeros(5), np.array([3.0])):
        found = Posterior(MODEL, times, rng.normal(size=len(times)), NOBODY)
        assert np.isfinite(found.mean).all() and (found.variance > 0).all()


@pytest.mark.parametrize("frames", [60, 10_000])
def test_a_trace_keeps_its_swing_however_long_the_clip(rng, frames):
    times = np.arange(frames) / 25
    truth = 0.5 * np.sin(2 * times)
    for model in (UNFITTED.models[0], MODEL):
        found = Posterior(model, times, truth + rng.normal(0, model.noise, frames), NOBODY)
        assert np.polyfit(truth, found.mean, 1)[0] > 0.9 and np.std(found.mean - truth) < 0.1


def made_clips(rng, count, frames, noise):
    """Clips drawn from the process itself, seen through evidence of this noise."""
    times, clips = np.arange(frames) / 25, []
    rate = np.sqrt(3) * np.abs(times[:, None] - times) / 1.0
    root = np.linalg.cholesky(0.5**2 * (1 + rate) * np.exp(-rate) + 1e-9 * np.eye(frames))
    for _ in range(count):
        labels = root @ rng.normal(size=(frames, 2))
        view = labels + rng.normal(0, 0.3, 2) + rng.normal(0, noise, labels.shape)
        clips.append(Clip(times, view, labels))
    return clips


@pytest.fixture(scope="module")
def sharp() -> Fusion:
    """Fitted to evidence of little noise."""
    return fit_fusion(made_clips(np.random.default_rng(1), 10, 40, 0.05))


def test_evidence_without_value_gets_no_weight(rng):
    fusion = fit_fusion(made_clips(rng, 8, 40, 2.0))
    fused, line = [], []
    for clip in made_clips(rng, 30, 50, 2.0):
        anchors = anchors_of(clip, [0, 20, 40])
        truth, said = clip.labels[:, 0], anchors.labels[:, 0]
        fused.append(posteriors_of(clip, anchors, fusion)[0].mean - truth)
        line.append(np.interp(clip.times, anchors.times, said) - truth)
    assert np.sqrt(np.mean(np.square(fused))) <= 1.03 * np.sqrt(np.mean(np.square(line)))


def test_intervals_hold_their_share(rng, sharp):
    inside, total = 0, 0
    for clip in made_clips(rng, 30, 60, 0.05):
        support = Support(np.array([10, 40]), clip.labels[[10, 40], 0], np.zeros(2))
        posteriors = sharp.posteriors(clip.times, clip.view, [support, support])
        margins = sharp.margins(posteriors)[:, 0]
        open_frames = np.setdiff1d(np.arange(60), support.places)
        inside += (np.abs(posteriors[0].mean - clip.labels[:, 0]) <= margins)[open_frames].sum()
        total += len(open_frames)
    assert 0.85 < inside / total < 0.95


def test_fit_takes_long_clips_and_missing_labels(rng):
    (clip,) = made_clips(rng, 1, 300, 0.1)
    clip.labels[::7] = np.nan
    fusion = fit_fusion([clip])
    assert all(np.isfinite(model).all() for model in fusion.models) and min(fusion.widths) > 0


def test_fusion_is_kept_with_the_weights_it_was_fitted_for(tmp_path):
    checkpoint = tmp_path / "best.pt"
    fusion = Fusion((MODEL, MODEL._replace(noise=0.3)), (MODEL, MODEL._replace(bend=0.2)), (1.6, 1.7), 9, "demo")
    checkpoint.write_bytes(b"weights")
    assert read_fusion(checkpoint) is None
    save_fusion(checkpoint, fusion)
    assert read_fusion(checkpoint) == fusion
    content = json.loads((tmp_path / "fusion.json").read_text())
    content["valence"]["model"]["noise"] = float("nan")
    (tmp_path / "fusion.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="fusion.json.*delete it"):
        read_fusion(checkpoint)
    checkpoint.write_bytes(b"other weights")
    assert read_fusion(checkpoint) is None


def seen_clip(clip: Clip) -> SeenClip:
    return SeenClip(None, clip.times, clip.view)


def anchors_of(clip: Clip, places, error=0.0) -> Anchors:
    labels = clip.labels[places].copy()
    return Anchors(None, labels, np.full_like(labels, error), clip.times[places], np.array(places), np.array(places))


def posteriors_of(clip: Clip, anchors: Anchors, fusion=UNFITTED):
    return fusion.posteriors(clip.times, clip.view, supports(anchors))


def test_exact_labels_stay_and_noisy_ones_give_way(rng):
    (clip,) = made_clips(rng, 1, 60, 0.05)
    for error in (0.0, 0.3):
        anchors = anchors_of(clip, [10, 30, 50], error)
        labels = fused_labels(posteriors_of(clip, anchors), anchors, UNFITTED)
        same = np.array_equal(labels.values[anchors.places], anchors.labels)
        assert same == (error == 0) and (labels.margins[anchors.places] == 0).all() == (error == 0)
        assert (np.delete(labels.margins, anchors.places, 0) > 0).all()


def test_a_suggestion_takes_off_what_it_says(rng):
    (clip,) = made_clips(rng, 1, 60, 0.1)
    before = fuse_unlabelled(seen_clip(clip), UNFITTED)
    found = suggest(before, 3)
    places = [one.place for one in found]
    assert len(set(places)) == 3 and found[0].before == pytest.approx(expected_error(before), rel=1e-6)
    assert found[0].after == pytest.approx(found[1].before) and found[0].after < found[0].before
    said = supports(anchors_of(clip, sorted(places)))
    variances = [
        Posterior(model, clip.times, view, support).variance + model.residual**2
        for model, view, support in zip(UNFITTED.models, clip.view.T, said, strict=True)
    ]
    assert found[-1].after == pytest.approx(np.sqrt(np.mean(variances)), rel=1e-3)


def test_the_first_suggestion_is_the_best_of_all_frames(rng):
    (clip,) = made_clips(rng, 1, 40, 0.1)
    best = suggest(fuse_unlabelled(seen_clip(clip), UNFITTED), 1)[0]
    errors = [expected_error(posteriors_of(clip, anchors_of(clip, [place]))) for place in range(40)]
    assert errors[best.place] == pytest.approx(min(errors), rel=1e-3)


def test_suggestions_end_with_the_frames(rng):
    (clip,) = made_clips(rng, 1, 3, 0.1)
    assert sorted(one.place for one in suggest(fuse_unlabelled(seen_clip(clip), UNFITTED), 10)) == [0, 1, 2]


def test_audit_lists_the_slip_alone_with_what_was_expected(rng, sharp):
    (clip,) = made_clips(rng, 1, 60, 0.05)
    anchors = anchors_of(clip, list(range(3, 60, 6)))
    assert audit(seen_clip(clip), anchors, sharp) == []
    truth = anchors.labels[4, 1]
    anchors.labels[4, 1] += 0.6
    (doubt,) = audit(seen_clip(clip), anchors, sharp)
    assert (doubt.anchor, doubt.axis) == (4, "arousal") and doubt.label == truth + 0.6
    assert abs(doubt.expected - truth) < 0.2 and doubt.size > 3.5
    assert audit(seen_clip(clip), anchors_of(clip, [7]), sharp) == []


def two_annotators(rng, spread, frames=20):
    truth = rng.uniform(-0.8, 0.8, (frames, 2))
    said = [truth + rng.normal(0, spread, truth.shape) for _ in range(2)]
    return pd.concat([
        pd.DataFrame(scores, columns=["valence", "arousal"]).assign(track=0, frame=np.arange(frames), annotator=name)
        for name, scores in zip("ab", said, strict=True)
    ])  # fmt: skip


def test_annotators_agreement_and_their_error(rng):
    close, apart = two_annotators(rng, 0.05, 200), two_annotators(rng, 0.4, 200)
    table = annotator_agreement(close)
    assert table["axis"].tolist() == ["valence", "arousal"] and (table["frames"] == 200).all()
    assert (table[["CCC", "ICC(A,1)", "ICC(A,k)"]] > 0.95).all(axis=None)
    assert (annotator_agreement(apart)["CCC"] < table["CCC"]).all()
    np.testing.assert_allclose(table["CCC"], table["ICC(A,1)"], atol=0.02)  # alike for two annotators without bias
    np.testing.assert_allclose(label_error(close), 0.05, rtol=0.15)
    np.testing.assert_allclose(label_error(apart), 0.4, rtol=0.15)


def test_a_third_annotator_of_few_frames_hides_nothing(rng):
    both = two_annotators(rng, 0.1)
    third = both[both["annotator"] == "a"].head(1).assign(annotator="")
    found, before = annotator_agreement(pd.concat([both, third])), annotator_agreement(both)
    assert found["CCC"].tolist() == before["CCC"].tolist() and found["ICC(A,1)"].isna().all()


def test_one_annotator_or_few_shared_frames_give_no_agreement(rng):
    both = two_annotators(rng, 0.1, 2)
    assert annotator_agreement(both).empty and annotator_agreement(both[both["annotator"] == "a"]).empty
    assert label_error(both[both["annotator"] == "a"]).tolist() == [0, 0]


def test_constant_labels_of_annotators_have_no_intraclass_correlation():
    table = two_annotators(np.random.default_rng(0), 0.1, 5).assign(valence=0.5)
    found = annotator_agreement(table).set_index("axis")
    assert np.isnan(found.loc["valence", "ICC(A,1)"]) and np.isfinite(found.loc["arousal", "ICC(A,1)"])


def test_constant_labels_give_a_fit_that_can_be_kept_and_read(rng, tmp_path):
    times = np.arange(30) / 25
    fusion = fit_fusion([Clip(times, np.zeros((30, 2)), np.full((30, 2), 0.5)) for _ in range(4)])
    (tmp_path / "best.pt").write_bytes(b"weights")
    save_fusion(tmp_path / "best.pt", fusion)
    assert read_fusion(tmp_path / "best.pt") == fusion and min(fusion.widths) >= NORMAL / 2


def test_an_axis_without_labels_stays_as_it_started(rng):
    clips = [clip._replace(labels=clip.labels * (1, np.nan)) for clip in made_clips(rng, 4, 30, 0.1)]
    fusion = fit_fusion(clips)
    assert fusion.widths[1] == NORMAL and fusion.models[1] == pytest.approx(UNFITTED.models[1])


def test_declared_errors_of_labels_do_not_widen_the_rest(rng, sharp):
    ratios = []
    for clip in made_clips(rng, 20, 60, 0.05):
        anchors = anchors_of(clip, list(range(1, 60, 4)), 0.2)
        anchors.labels[:] += rng.normal(0, 0.2, anchors.labels.shape)
        ratios.append(np.sqrt(posteriors_of(clip, anchors, sharp)[0].scale))
    assert 0.8 < np.mean(ratios) < 1.15


def test_audit_finds_two_slips_among_many_at_once(rng, sharp):
    (clip,) = made_clips(rng, 1, 120, 0.05)
    anchors = anchors_of(clip, list(range(3, 120, 6)))
    anchors.labels[4, 1] += 0.6
    anchors.labels[14, 0] -= 0.6
    found = {(doubt.anchor, doubt.axis) for doubt in audit(seen_clip(clip), anchors, sharp)}
    assert found == {(4, "arousal"), (14, "valence")}


def test_labelled_frames_are_not_suggested(rng):
    (clip,) = made_clips(rng, 1, 6, 0.1)
    some = posteriors_of(clip, anchors_of(clip, [0, 2, 4], 0.3))
    assert sorted(one.place for one in suggest(some, 5)) == [1, 3, 5]
    assert suggest(posteriors_of(clip, anchors_of(clip, list(range(6)))), 2) == []


def test_foreign_labels_shift_the_view(rng):
    model, runtime = MTCLAR(16).eval(), make_runtime(RuntimeSettings(device="cpu", precision="float32"))
    times, others = np.arange(20) / 25, torch.randn(3, 256)
    clip = see_clip(model, runtime, torch.randn(20, 256), times)
    foreign = Anchors(others, np.full((3, 2), 0.4), np.zeros((3, 2)), np.full(3, np.nan), np.arange(3), np.full(3, -1))
    found = fuse(model, runtime, clip, foreign, UNFITTED)
    view = 0.4 + mean_difference(model, runtime, clip.embeddings, others)
    wanted = Posterior(UNFITTED.models[1], times, view[:, 1], NOBODY)
    np.testing.assert_allclose(found[1].mean, wanted.mean)


def test_mean_difference_in_parts_is_the_same(monkeypatch):
    model, runtime = MTCLAR(16).eval(), make_runtime(RuntimeSettings(device="cpu", precision="float32"))
    frames, others = torch.randn(30, 256), torch.randn(4, 256)
    whole = mean_difference(model, runtime, frames, others)
    monkeypatch.setattr("utils.labelling.CHUNK", 1)
    np.testing.assert_allclose(mean_difference(model, runtime, frames, others), whole, atol=1e-5)
    np.testing.assert_allclose(mean_difference(model, runtime, frames, frames[:1])[0], 0, atol=1e-6)


def test_a_clip_whose_labels_surprise_gets_wider_intervals(rng, sharp):
    (clip,) = made_clips(rng, 1, 60, 0.05)
    anchors = anchors_of(clip, list(range(5, 60, 10)))
    usual = sharp.margins(posteriors_of(clip, anchors, sharp))
    anchors.labels[::2] += 0.5
    odd = sharp.margins(posteriors_of(clip, anchors, sharp))
    assert (odd > usual).all()


def misread_clip(rng) -> Clip:
    """The view says the opposite of what the person says."""
    (clip,) = made_clips(rng, 1, 300, 0.05)
    return clip._replace(view=-clip.view)


def test_a_misread_clip_is_told_by_its_labels_and_does_not_promise_too_much(rng, sharp):
    for clip, misread in ((misread_clip(rng), True), (made_clips(rng, 1, 300, 0.05)[0], False)):
        anchors = anchors_of(clip, list(range(7, 300, 15)))
        traces = posteriors_of(clip, anchors, sharp)
        assert [trace.misread for trace in traces] == [misread] * 2
        error = np.sqrt(np.mean((np.stack([trace.mean for trace in traces], 1) - clip.labels) ** 2))
        assert expected_error(traces) > 0.6 * error
        inside = np.abs(np.stack([trace.mean for trace in traces], 1) - clip.labels) <= sharp.margins(traces)
        assert inside.mean() > 0.75


def test_a_misread_clip_follows_its_labels_and_blames_the_network(rng, sharp):
    clip = misread_clip(rng)
    anchors = anchors_of(clip, list(range(10, 300, 15)))
    traces = posteriors_of(clip, anchors, sharp)
    line = np.interp(clip.times, anchors.times, anchors.labels[:, 0])
    errors = [np.sqrt(np.mean((values - clip.labels[:, 0]) ** 2)) for values in (traces[0].mean, line)]
    assert errors[0] < 1.1 * errors[1]
    assert len(audit(seen_clip(clip), anchors, sharp)) <= 1  # of 40


def test_one_slip_does_not_make_a_clip_misread(rng, sharp):
    (clip,) = made_clips(rng, 1, 60, 0.05)
    anchors = anchors_of(clip, list(range(3, 60, 6)))
    anchors.labels[4] += 0.8
    assert not any(trace.misread for trace in posteriors_of(clip, anchors, sharp))


def test_a_clip_that_is_surely_read_is_read_alone(rng, sharp):
    (clip,) = made_clips(rng, 1, 60, 0.05)
    support = supports(anchors_of(clip, [5, 20, 35, 50]))[0]
    trace = sharp.posteriors(clip.times, clip.view, [support] * 2)[0]
    alone = Posterior(sharp.models[0], clip.times, clip.view[:, 0], support)
    assert 0 < trace.weights[1] < 0.01
    np.testing.assert_array_equal(trace.mean, alone.mean)


def test_a_mixture_has_the_moments_of_its_parts(rng, sharp):
    clip = misread_clip(rng)
    anchors = anchors_of(clip, [100, 130])
    support, models = supports(anchors)[0], (sharp.models[0], sharp.blind[0])
    parts = [Posterior(one, clip.times, clip.view[:, 0], support) for one in models]
    ways = [partial(Posterior, one, clip.times, clip.view[:, 0]) for one in models]
    trace = Trace(models[0], support, *ways)
    trace.weights, trace._kept = np.array([0.3, 0.7]), [(0.3, parts[0]), (0.7, parts[1])]
    some = np.array([0, 50, 120])
    covariance = trace.covariance(some, some)
    np.testing.assert_allclose(covariance.diagonal(), trace.variance[some], rtol=1e-4, atol=1e-7)
    means = np.stack([part.mean[some] for part in parts])
    apart = means[0] - means[1]
    wanted = sum(w * part.covariance(some, some) for w, part in zip((0.3, 0.7), parts, strict=True))
    np.testing.assert_allclose(covariance / trace.scale, wanted + 0.21 * np.outer(apart, apart), atol=1e-7)
