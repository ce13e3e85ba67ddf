"""The audit of support labels: it finds wrong labels, and nothing else."""

import numpy as np
import pytest
from simulated_clips import accurate_calibration, anchors_at, encoded, simulate_clips

from utils.labelling.audit import audit


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_audit_lists_only_the_wrong_label_with_its_expected_value(rng):
    calibration = accurate_calibration()
    (clip,) = simulate_clips(rng, 1, 60, 0.05)
    anchors = anchors_at(clip, range(3, 60, 6))
    assert audit(encoded(clip), anchors, calibration) == []
    truth = anchors.labels[4, 1]
    anchors.labels[4, 1] += 0.6
    (contradiction,) = audit(encoded(clip), anchors, calibration)
    assert (contradiction.anchor_index, contradiction.axis) == (4, "arousal")
    assert contradiction.label == truth + 0.6
    assert abs(contradiction.expected - truth) < 0.2 and contradiction.standardised_error > 3.5
    assert audit(encoded(clip), anchors_at(clip, [7]), calibration) == []


def test_audit_finds_two_wrong_labels_among_many(rng):
    (clip,) = simulate_clips(rng, 1, 120, 0.05)
    anchors = anchors_at(clip, range(3, 120, 6))
    anchors.labels[4, 1] += 0.6
    anchors.labels[14, 0] -= 0.6
    found = audit(encoded(clip), anchors, accurate_calibration())
    assert {(one.anchor_index, one.axis) for one in found} == {(4, "arousal"), (14, "valence")}
