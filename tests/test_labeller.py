"""The labeller: evidence from pairwise differences, fused labels, and clips without a label of their own."""

import numpy as np
import pytest
import torch
from simulated_clips import anchors_at, encoded, posteriors_given, simulate_clips

from models.mtclar import MTCLAR
from utils.compute.runtime import make_runtime
from utils.config.sections import RuntimeSettings
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.types import NO_LABELS, Anchors


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def labeller():
    """A labeller with a random network and the default calibration."""
    return Labeller(ClipEncoder(MTCLAR(16).eval(), make_runtime(RuntimeSettings(device="cpu", precision="float32"))))


def test_mean_difference_computed_in_parts_is_equal(labeller, monkeypatch):
    frames, references = torch.randn(30, 256), torch.randn(4, 256)
    at_once = labeller.encoder.mean_difference(frames, references)
    monkeypatch.setattr("utils.labelling.clip_encoder.DIFFERENCES_AT_ONCE", 64)
    np.testing.assert_allclose(labeller.encoder.mean_difference(frames, references), at_once, atol=1e-5)
    np.testing.assert_allclose(labeller.encoder.mean_difference(frames, frames[:1])[0], 0, atol=1e-6)
    # What is compared to accept an encoder in integers is the evidence.
    estimates = labeller.encoder.model.estimates(frames)
    np.testing.assert_allclose(estimates, labeller.encoder.mean_difference(frames, frames), atol=1e-5)


def test_anchors_of_other_videos_shift_the_evidence(labeller):
    times, others = np.arange(20) / 25, torch.randn(3, 256)
    clip = labeller.encode_clip(torch.randn(20, 256), times)
    foreign = Anchors(others, np.full((3, 2), 0.4), np.zeros((3, 2)), np.full(3, np.nan), np.arange(3), np.full(3, -1))
    posteriors = labeller.posteriors(clip, foreign)
    evidence = 0.4 + labeller.encoder.mean_difference(clip.embeddings, others)
    parameters = DEFAULT_CALIBRATION.for_foreign_anchors(1).arousal.with_evidence
    expected = GPPosterior(parameters, times, evidence[:, 1:], NO_LABELS)
    np.testing.assert_allclose(posteriors[1].mean, expected.mean)


def test_exact_labels_are_kept_and_uncertain_labels_are_smoothed(labeller, rng):
    (clip,) = simulate_clips(rng, 1, 60, 0.05)
    for error in (0.0, 0.3):
        anchors = anchors_at(clip, [10, 30, 50], error)
        labels = labeller.fused_labels(posteriors_given(clip, anchors), anchors)
        assert np.array_equal(labels.values[anchors.indices], anchors.labels) == (error == 0)
        assert (labels.half_widths[anchors.indices] == 0).all() == (error == 0)
        assert (np.delete(labels.half_widths, anchors.indices, 0) > 0).all()


def test_clip_without_labels_is_labelled_by_the_evidence_alone(labeller, rng):
    (clip,) = simulate_clips(rng, 1, 40, 0.1)
    posteriors = labeller.posteriors(encoded(clip), None)
    for axis, (posterior, one) in enumerate(zip(posteriors, DEFAULT_CALIBRATION.axes, strict=True)):
        expected = GPPosterior(one.with_evidence, clip.times, clip.evidence[..., axis], NO_LABELS)
        np.testing.assert_array_equal(posterior.mean, expected.mean)
        np.testing.assert_array_equal(posterior.variance, expected.variance)
        assert not posterior.misread and posterior.variance_scale == 1
    labels = labeller.fused_labels(posteriors, None)
    means = np.stack([posterior.mean for posterior in posteriors], 1)
    np.testing.assert_array_equal(labels.values, np.clip(means, -1, 1))
    np.testing.assert_array_equal(labels.half_widths, DEFAULT_CALIBRATION.half_widths(posteriors))
    assert (labels.half_widths > 0).all() and (labels.anchor == -1).all() and labels.misread == ()


def test_anchors_of_other_clips_do_not_change_fused_labels_if_some_are_of_the_clip_itself(labeller, rng):
    (simulated,) = simulate_clips(rng, 1, 30, 0.05)
    clip = encoded(simulated)._replace(embeddings=torch.randn(30, 256))
    own = anchors_at(simulated, [5, 20])._replace(embeddings=clip.embeddings[[5, 20]])
    mixed = Anchors(
        torch.cat((torch.randn(1, 256), own.embeddings)),
        np.concatenate(([[0.9, -0.9]], own.labels)),
        np.zeros((3, 2)),
        np.full(3, np.nan),
        np.array([7, 5, 20]),
        np.array([-1, 5, 20]),
    )
    assert not mixed.none_in_clip and mixed.in_clip.indices.tolist() == [5, 20]
    alone, together = labeller.label(clip, own, "fused"), labeller.label(clip, mixed, "fused")
    np.testing.assert_array_equal(alone.values, together.values)
    np.testing.assert_array_equal(alone.half_widths, together.half_widths)
    assert together.anchor[[5, 20]].tolist() == [1, 2] and (np.delete(together.anchor, [5, 20]) == -1).all()
    means = labeller.label(clip, mixed, "mean").values
    np.testing.assert_array_equal(means[[5, 20]], own.labels)
    assert set(labeller.label_by_all_methods(clip, mixed)) == {"mean", "weighted", "fused", "hold", "linear"}
