"""Labelling: strategies, anchors and rules as pure functions, and the rules against a slow loop over pairs."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.mtclar import MTCLAR
from utils import support_set
from utils.fused.fusion import UNFITTED
from utils.labelling import Anchors, label_by_time, label_clip, see_clip
from utils.runtime import make_runtime
from utils.scoring import score_methods
from utils.settings import LabelSettings, RuntimeSettings, SupportSettings
from utils.support_set import AVERAGES, BASELINES, RULES, SUPPORT, Evidence


@pytest.fixture
def rng():
    return np.random.default_rng(2)


@pytest.fixture(scope="module")
def runtime():
    return make_runtime(RuntimeSettings(device="cpu", precision="float32"))


@pytest.mark.parametrize("strategy", SUPPORT)
@pytest.mark.parametrize("frames, amount", [(1, 1), (1, 20), (7, 3), (50, 20), (60, 60), (5, 9)])
def test_strategies_choose_ascending_frames_of_the_clip(rng, strategy, frames, amount):
    places = SUPPORT[strategy](rng.normal(size=(frames, 8)), amount, rng)
    assert 1 <= len(places) <= frames and (np.diff(places) > 0).all()
    assert 0 <= places[0] and places[-1] < frames
    if strategy != "every_n":
        assert len(places) == min(amount, frames)


def test_strategies_choose_what_they_say(rng):
    embeddings = np.zeros((41, 2))
    assert support_set.first(embeddings, 3, rng).tolist() == [0, 1, 2]
    assert support_set.every_n(embeddings, 20, rng).tolist() == [0, 20, 40]
    assert support_set.uniform_k(embeddings, 1, rng).tolist() == [20]
    assert support_set.uniform_k(np.zeros((40, 2)), 4, rng).tolist() == [5, 15, 25, 35]


def test_diverse_frames_are_spread_in_looks_and_in_time(rng):
    looks = np.zeros((60, 2))
    looks[33] = 9.0  # one face unlike all others
    assert 33 in support_set.diverse_k(looks, 3, rng)
    same = support_set.diverse_k(np.zeros((61, 2)), 3, rng)
    assert same.tolist() == [0, 30, 60] or np.diff(same).min() >= 15


def test_bins_of_the_training_set(rng):
    labels = np.column_stack((np.linspace(-1, 1, 200), np.zeros(200)))
    labels[:5] = np.nan
    rows = support_set.label_bins(labels, 4, 10, rng)
    part = np.clip(np.floor((labels[rows, 0] + 1) * 5), 0, 9)
    assert np.bincount(part.astype(int)).tolist() == [4] * 10
    few = support_set.label_bins(np.array([[0.1, 0.0], [0.15, 0.0], [np.nan, 0.0]]), 4, 10, rng)
    assert few.tolist() == [0, 1]


def test_anchors_in_time_by_loop(rng):
    times, anchors = np.arange(50.0), np.array([4.0, 20.0, 21.0, 40.0])
    latest_of, closest_of = (pick(times, anchors)[:, 0] for pick in (support_set.latest, support_set.closest))
    for t, latest, closest in zip(times, latest_of, closest_of, strict=True):
        before = [i for i, a in enumerate(anchors) if a <= t]
        assert latest == (before[-1] if before else 0)
        assert closest == min(range(4), key=lambda i: (abs(anchors[i] - t), i))


def slow_label(model, images, times, anchors, labels, rule):
    """One frame and one anchor at a time, through model(image_1, image_2), in plain Python."""
    out = []
    for q in range(len(times)):
        said = []
        for a, place in enumerate(anchors):
            with torch.inference_mode():
                found = model(images[q : q + 1], images[place : place + 1])
            estimate = [labels[a][0] + found.delta_valence.item(), labels[a][1] + found.delta_arousal.item()]
            said.append((times[place], estimate, found.similarity.softmax(1)[0, 1].item()))
        if q in list(anchors):
            out.append(list(labels[list(anchors).index(q)]))
            continue
        if rule == "previous":
            chosen = [[s for s in said if s[0] <= times[q]][-1] if said[0][0] <= times[q] else said[0]]
            weights = [1.0]
        elif rule == "nearest":
            chosen, weights = [min(said, key=lambda s: (abs(s[0] - times[q]), s[0]))], [1.0]
        else:
            chosen, weights = said, [1.0] * len(said)
            if rule == "weighted":
                per_anchor = (times[-1] - times[0]) / len(anchors)
                weights = [(s[2] + 1e-6) / (1 + abs(s[0] - times[q]) / per_anchor) for s in said]
        total = sum(weights)
        mixed = [sum(w * s[1][axis] for w, s in zip(weights, chosen, strict=True)) / total for axis in (0, 1)]
        out.append([min(1, max(-1, value)) for value in mixed])
    return np.array(out)


@pytest.mark.parametrize("rule", AVERAGES)
@pytest.mark.parametrize("anchors", [[0, 4, 7], [3]])
def test_rules_equal_a_slow_loop_over_pairs(runtime, rng, rule, anchors):
    model = MTCLAR(16).eval()
    images, times = torch.rand(9, 3, 64, 64), np.array([2.0, 3, 5, 8, 10, 11, 13, 99, 100])
    labels = rng.uniform(-1, 1, (len(anchors), 2))
    with torch.inference_mode():
        embeddings = model.encode(images)
    places = np.array(anchors)
    given = Anchors(embeddings[places], labels, np.zeros_like(labels), times[places], places, places)
    found = label_clip(model, runtime, see_clip(model, runtime, embeddings, times), given, rule, UNFITTED)
    np.testing.assert_allclose(found.values, slow_label(model, images, times, anchors, labels, rule), atol=1e-5)
    served = [anchors[a] for a in found.anchor] if rule in ("previous", "nearest") else None
    if served and rule == "previous" and anchors == [0, 4, 7]:
        assert served == [0, 0, 0, 0, 4, 4, 4, 7, 7]


def test_labels_in_chunks_are_the_same(runtime, rng, monkeypatch):
    model, times = MTCLAR(16).eval(), np.arange(30.0)
    embeddings, places = torch.randn(30, 256), np.array([0, 10, 20])
    anchors = Anchors(embeddings[places], rng.uniform(-1, 1, (3, 2)), np.zeros((3, 2)), times[places], places, places)
    clip = see_clip(model, runtime, embeddings, times)
    whole = {rule: label_clip(model, runtime, clip, anchors, rule, UNFITTED).values for rule in RULES}
    monkeypatch.setattr("utils.labelling.CHUNK", 7)
    for rule, values in whole.items():
        cut = label_clip(model, runtime, clip, anchors, rule, UNFITTED).values
        np.testing.assert_allclose(cut, values, atol=1e-5)


def test_support_frames_keep_what_the_person_said_and_labels_stay_in_range(runtime):
    model, times = MTCLAR(16).eval(), np.arange(6.0)
    embeddings = torch.randn(6, 256) * 50
    places = np.array([1, 4])
    said, clip = np.array([[1.0, -1.0], [0.3, 0.25]]), see_clip(model, runtime, embeddings, times)
    anchors = Anchors(embeddings[places], said, np.zeros((2, 2)), times[places], places, places)
    for rule in RULES:
        found = label_clip(model, runtime, clip, anchors, rule, UNFITTED)
        assert found.values[[1, 4]].tolist() == anchors.labels.tolist() and np.abs(found.values).max() <= 1
        assert found.anchor[[1, 4]].tolist() == [0, 1]


def test_baselines():
    times, at, said = np.arange(6.0), np.array([1.0, 3.0]), np.array([[0.0, 1.0], [1.0, -1.0]])
    assert BASELINES["hold"](times, at, said)[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert BASELINES["linear"](times, at, said)[:, 1].tolist() == [1, 1, 0, -1, -1, -1]
    elsewhere = Anchors(torch.zeros(2, 256), said, said * 0, np.full(2, np.nan), np.zeros(2, int), np.full(2, -1))
    assert label_by_time(times, elsewhere, "linear").values.tolist() == [[0.5, 0.0]] * 6


def test_anchors_of_other_videos_weigh_by_likeness_alone():
    evidence = Evidence(np.array([[[0.0, 0.0], [1.0, 1.0]]]), np.array([[0.2, 0.6]]), np.full((1, 2), np.nan))
    np.testing.assert_allclose(support_set.weighted_mean(evidence), [[0.75, 0.75]], atol=1e-5)


def test_settings_name_all_rules_and_strategies():
    fields = SupportSettings.model_fields
    assert set(fields["rule"].annotation.__args__) == set(RULES)
    assert set(fields["strategy"].annotation.__args__) == set(SUPPORT) | {"suggested", "train_bins", "csv"}
    assert "support_set" in LabelSettings.model_fields


def test_scores_leave_support_out_unless_asked_and_average_over_clips():
    table = pd.DataFrame({
        "clip": list("aaab"), "support": [True, False, False, False], "valence": [9, 1, 1, 3.0],
        "valence_true": [0.0] * 4, "arousal": [0, 1, 2, 3.0], "arousal_true": [0, 1, 2, 3.0],
    })  # fmt: skip
    scores = score_methods({"m": table}, False).set_index("average")
    assert scores.loc["pooled", "valence_RMSE"] == pytest.approx(np.sqrt((1 + 1 + 9) / 3))
    assert scores.loc["clips", "valence_RMSE"] == pytest.approx((1 + 3) / 2)
    assert scores.loc["pooled", "arousal_CCC"] == 1 and scores.loc["pooled", "frames"] == 3
    everything = score_methods({"m": table}, True).set_index("average")
    assert everything.loc["pooled", "valence_RMSE"] == pytest.approx(np.sqrt((81 + 1 + 1 + 9) / 4))


def test_a_clip_whose_every_frame_is_support_has_nothing_to_score():
    table = pd.DataFrame({"clip": ["a"], "support": [True], "valence": [0.1], "arousal": [0.1],
                          "valence_true": [0.1], "arousal_true": [0.1]})  # fmt: skip
    scores = score_methods({"m": table}, False)
    assert scores["frames"].tolist() == [0, 0] and scores["valence_RMSE"].isna().all()
