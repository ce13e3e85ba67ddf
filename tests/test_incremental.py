"""Posteriors updated after each label: equal to those computed from scratch."""

import numpy as np
import pytest
import torch

from utils.labelling.audit import audit, find_contradictions
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION
from utils.labelling.incremental import IncrementalClip
from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.suggestion.suggest import expected_error, suggest_one_by_one
from utils.labelling.types import NO_LABELS, Anchors, EncodedClip, observations_of

FRAMES = 700


def true_labels(times: np.ndarray) -> np.ndarray:
    """(N, 2) valence and arousal."""
    return np.stack((np.sin(times), np.cos(times / 3)), 1) / 2


@pytest.fixture
def clip() -> EncodedClip:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.06, FRAMES))
    evidence = true_labels(times) + rng.normal(0, 0.1, (FRAMES, 2))
    return EncodedClip(torch.zeros(FRAMES, 1), times, evidence[:, None])


def random_anchors(clip: EncodedClip, indices, error=0.0) -> Anchors:
    """Anchors at frames of the clip, with random labels."""
    indices = np.array(indices)
    labels = np.random.default_rng(1).uniform(-0.8, 0.8, (len(indices), 2))
    errors = np.full(labels.shape, error)
    return Anchors(torch.zeros(len(indices), 1), labels, errors, clip.times[indices], indices, indices)


@pytest.mark.parametrize("error", [0.0, 0.1])
@pytest.mark.parametrize("indices", [[350], [0, 1, 2, 699], [5, 100, 101, 300, 420, 640]])
def test_conditioned_posteriors_equal_those_from_scratch(clip, indices, error):
    anchors = random_anchors(clip, indices, error)
    incremental = IncrementalClip(clip, DEFAULT_CALIBRATION)
    incremental.posteriors(observations_of(random_anchors(clip, [3, 200])))  # Earlier labels must have no effect.
    expected = DEFAULT_CALIBRATION.posteriors(clip.times, clip.evidence, observations_of(anchors))
    found = incremental.posteriors(observations_of(anchors))
    frames = np.array([0, 77, indices[0]])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, atol=1e-5)
        np.testing.assert_allclose(one.variance, other.variance, rtol=1e-4, atol=1e-6)
        for rows in (None, frames[:2]):
            covariances = [posterior.covariance(frames, rows) for posterior in (one, other)]
            np.testing.assert_allclose(*covariances, rtol=1e-4, atol=1e-5)
        for values, expected_values in zip(one.loo_predictive(), other.loo_predictive(), strict=True):
            np.testing.assert_allclose(values, expected_values, rtol=1e-3, atol=1e-4)
    half_widths = [DEFAULT_CALIBRATION.half_widths(posteriors) for posteriors in (found, expected)]
    np.testing.assert_allclose(*half_widths, atol=1e-4)
    assert expected_error(found) == pytest.approx(expected_error(expected), abs=1e-5)
    suggestions = (suggest_one_by_one(posteriors, 6, (error, error)) for posteriors in (found, expected))
    for one, other in zip(*suggestions, strict=True):
        assert one.frame_index == other.frame_index
        assert one.error_after == pytest.approx(other.error_after, abs=1e-5)


def test_posteriors_before_the_first_label_equal_those_from_scratch(clip):
    found = IncrementalClip(clip, DEFAULT_CALIBRATION).posteriors([NO_LABELS, NO_LABELS])
    expected = DEFAULT_CALIBRATION.posteriors(clip.times, clip.evidence, [NO_LABELS, NO_LABELS])
    suggested, suggested_again, expected_suggestions = (
        [suggestion.frame_index for suggestion in suggest_one_by_one(posteriors, 3)]
        for posteriors in (found, found, expected)
    )
    assert suggested == expected_suggestions
    assert suggested == suggested_again  # Suggesting does not change the posteriors.
    half_widths = [DEFAULT_CALIBRATION.half_widths(posteriors) for posteriors in (found, expected)]
    np.testing.assert_allclose(*half_widths, atol=1e-9)


def test_audit_with_conditioned_posteriors_finds_the_same_labels(clip):
    anchors = random_anchors(clip, range(10, FRAMES, 40))
    anchors.labels[:] = true_labels(clip.times[anchors.indices])
    anchors.labels[[4, 9], [0, 1]] += 0.9, -0.9
    found = find_contradictions(anchors, DEFAULT_CALIBRATION, IncrementalClip(clip, DEFAULT_CALIBRATION).posteriors)
    expected = audit(clip, anchors, DEFAULT_CALIBRATION)
    assert [(one.anchor_index, one.axis) for one in found] == [(one.anchor_index, one.axis) for one in expected]
    assert {4, 9} <= {one.anchor_index for one in found}


def test_a_label_computes_the_covariances_of_its_frame_alone(clip, monkeypatch):
    """All candidates but the frame that was labelled are candidates again, so their covariances are cached."""
    incremental, labelled = IncrementalClip(clip, DEFAULT_CALIBRATION), [50]
    computed, compute = [], GPPosterior.covariance_at_known_offsets

    def record(posterior, columns, rows=None):
        computed.extend(columns)
        return compute(posterior, columns, rows)

    monkeypatch.setattr(GPPosterior, "covariance_at_known_offsets", record)
    for _ in range(5):  # From three labels on, the posterior by time alone is computed, too.
        computed.clear()
        posteriors = incremental.posteriors(observations_of(random_anchors(clip, labelled)))
        labelled = [*labelled, suggest_one_by_one(posteriors, 1)[0].frame_index]
    assert set(computed) <= {labelled[-2]}
