"""Anchor rules and baselines as pure functions, and the rules in the labeller against a slow loop over pairs."""

import numpy as np
import pytest
import torch

from models.mtclar import MTCLAR
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import RuntimeSettings, SupportSettings
from utils.labelling.anchors import (
    ANCHOR_RULES,
    BASELINES,
    RULES,
    AnchorEstimates,
    latest_anchor,
    nearest_anchor,
    weighted_mean,
)
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.labeller import Labeller, label_by_baseline
from utils.labelling.support import SUPPORT_STRATEGIES
from utils.labelling.types import Anchors


@pytest.fixture
def rng():
    return np.random.default_rng(2)


@pytest.fixture
def labeller():
    """A labeller with a random network."""
    return Labeller(ClipEncoder(MTCLAR(16).eval(), make_runtime(RuntimeSettings(device="cpu", precision="float32"))))


def anchors_of(embeddings, times, indices, labels):
    """Exact labels at frames of a clip."""
    indices = np.array(indices)
    return Anchors(embeddings[indices], labels, np.zeros_like(labels), times[indices], indices, indices)


def test_latest_and_nearest_anchor_equal_a_loop(rng):
    times, anchors = np.arange(50.0), np.array([4.0, 20.0, 21.0, 40.0])
    latest, nearest = (select(times, anchors)[:, 0] for select in (latest_anchor, nearest_anchor))
    for time, found_latest, found_nearest in zip(times, latest, nearest, strict=True):
        before = [i for i, anchor in enumerate(anchors) if anchor <= time]
        assert found_latest == (before[-1] if before else 0)
        assert found_nearest == min(range(4), key=lambda i: (abs(anchors[i] - time), i))


def label_slowly(model, images, times, anchors, labels, rule):
    """Labels by comparing one frame with one anchor at a time, through model(image_1, image_2), in plain Python."""
    rows = []
    for frame in range(len(times)):
        estimates = []
        for a, anchor in enumerate(anchors):
            with torch.inference_mode():
                compared = model(images[frame : frame + 1], images[anchor : anchor + 1])
            values = [labels[a][0] + compared.delta_valence.item(), labels[a][1] + compared.delta_arousal.item()]
            estimates.append((times[anchor], values, compared.similarity_logits.softmax(1)[0, 1].item()))
        if frame in list(anchors):
            rows.append(list(labels[list(anchors).index(frame)]))
            continue
        if rule == "previous":
            earlier = [estimate for estimate in estimates if estimate[0] <= times[frame]]
            chosen, weights = [earlier[-1] if earlier else estimates[0]], [1.0]
        elif rule == "nearest":
            chosen, weights = [min(estimates, key=lambda e: (abs(e[0] - times[frame]), e[0]))], [1.0]
        else:
            chosen, weights = estimates, [1.0] * len(estimates)
            if rule == "weighted":
                per_anchor = (times[-1] - times[0]) / len(anchors)
                weights = [(e[2] + 1e-6) / (1 + abs(e[0] - times[frame]) / per_anchor) for e in estimates]
        total = sum(weights)
        mixed = [sum(w * e[1][axis] for w, e in zip(weights, chosen, strict=True)) / total for axis in (0, 1)]
        rows.append([min(1, max(-1, value)) for value in mixed])
    return np.array(rows)


@pytest.mark.parametrize("rule", ANCHOR_RULES)
@pytest.mark.parametrize("indices", [[0, 4, 7], [3]])
def test_rules_equal_a_slow_loop_over_pairs(labeller, rng, rule, indices):
    images, times = torch.rand(9, 3, 64, 64), np.array([2.0, 3, 5, 8, 10, 11, 13, 99, 100])
    labels = rng.uniform(-1, 1, (len(indices), 2))
    with torch.inference_mode():
        embeddings = labeller.encoder.model.encode(images)
    clip = labeller.encode_clip(embeddings, times)
    found = labeller.label(clip, anchors_of(embeddings, times, indices, labels), rule)
    expected = label_slowly(labeller.encoder.model, images, times, np.array(indices), labels, rule)
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    if rule == "previous" and indices == [0, 4, 7]:
        assert [indices[anchor] for anchor in found.anchor] == [0, 0, 0, 0, 4, 4, 4, 7, 7]


def test_labels_computed_in_parts_are_equal(labeller, rng, monkeypatch):
    times, embeddings = np.arange(30.0), torch.randn(30, 256)
    anchors = anchors_of(embeddings, times, [0, 10, 20], rng.uniform(-1, 1, (3, 2)))
    clip = labeller.encode_clip(embeddings, times)
    at_once = {rule: labeller.label(clip, anchors, rule).values for rule in RULES}
    monkeypatch.setattr("utils.labelling.labeller.COMPARISONS_AT_ONCE", 7)
    for rule, values in at_once.items():
        np.testing.assert_allclose(labeller.label(clip, anchors, rule).values, values, atol=1e-5)


def test_support_frames_keep_their_labels_and_all_labels_stay_in_range(labeller):
    times, embeddings = np.arange(6.0), torch.randn(6, 256) * 50
    anchors = anchors_of(embeddings, times, [1, 4], np.array([[1.0, -1.0], [0.3, 0.25]]))
    clip = labeller.encode_clip(embeddings, times)
    for rule in RULES:
        found = labeller.label(clip, anchors, rule)
        assert found.values[[1, 4]].tolist() == anchors.labels.tolist() and np.abs(found.values).max() <= 1
        assert found.anchor[[1, 4]].tolist() == [0, 1]


def test_baselines():
    times, anchor_times, labels = np.arange(6.0), np.array([1.0, 3.0]), np.array([[0.0, 1.0], [1.0, -1.0]])
    assert BASELINES["hold"](times, anchor_times, labels)[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert BASELINES["linear"](times, anchor_times, labels)[:, 1].tolist() == [1, 1, 0, -1, -1, -1]
    foreign = Anchors(torch.zeros(2, 256), labels, labels * 0, np.full(2, np.nan), np.zeros(2, int), np.full(2, -1))
    assert label_by_baseline(times, foreign, "linear").values.tolist() == [[0.5, 0.0]] * 6


def test_anchors_of_other_videos_are_weighted_by_similarity_alone():
    values, similar_probability = np.array([[[0.0, 0.0], [1.0, 1.0]]]), np.array([[0.2, 0.6]])
    estimates = AnchorEstimates(values, similar_probability, np.full((1, 2), np.nan))
    np.testing.assert_allclose(weighted_mean(estimates), [[0.75, 0.75]], atol=1e-5)


def test_settings_offer_all_rules_and_strategies():
    fields = SupportSettings.model_fields
    assert set(fields["rule"].annotation.__args__) == set(RULES)
    strategies = set(SUPPORT_STRATEGIES) | {"suggested", "train_bins", "csv"}
    assert set(fields["strategy"].annotation.__args__) == strategies
    assert "support_set" in LabelSettings.model_fields
