"""Traces conditioned on labels as they come: equal to working the clip out anew."""

import numpy as np
import pytest
import torch

from utils.fused.audit import audit, contradicted
from utils.fused.fusion import UNFITTED
from utils.fused.live import LiveClip
from utils.fused.smoother import NOBODY
from utils.fused.suggest import expected_error, suggest
from utils.labelling import Anchors, SeenClip, supports

FRAMES = 700


def truth(times: np.ndarray) -> np.ndarray:
    return np.stack((np.sin(times), np.cos(times / 3)), 1) / 2


@pytest.fixture
def clip() -> SeenClip:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.06, FRAMES))
    view = truth(times) + rng.normal(0, 0.1, (FRAMES, 2))
    return SeenClip(torch.zeros(FRAMES, 1), times, view)


def anchors_at(clip: SeenClip, places, errors=0.0) -> Anchors:
    places = np.array(places)
    labels = np.random.default_rng(1).uniform(-0.8, 0.8, (len(places), 2))
    return Anchors(torch.zeros(len(places), 1), labels, np.full(labels.shape, errors), clip.times[places], places,
                   places)  # fmt: skip


@pytest.mark.parametrize("errors", [0.0, 0.1])
@pytest.mark.parametrize("places", [[350], [0, 1, 2, 699], [5, 100, 101, 300, 420, 640]])
def test_conditioning_equals_the_posterior_worked_out_anew(clip, places, errors):
    anchors = anchors_at(clip, places, errors)
    live = LiveClip(clip, UNFITTED)
    live.posteriors(supports(anchors_at(clip, [3, 200])))  # what was labelled before leaves no trace
    afresh = UNFITTED.posteriors(clip.times, clip.view, supports(anchors))
    found = live.posteriors(supports(anchors))
    some = np.array([0, 77, places[0]])
    for one, other in zip(found, afresh, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, atol=1e-5)
        np.testing.assert_allclose(one.variance, other.variance, rtol=1e-4, atol=1e-6)
        for rows in (None, some[:2]):
            of_rows = [trace.covariance(some, rows) for trace in (one, other)]
            np.testing.assert_allclose(*of_rows, rtol=1e-4, atol=1e-5)
        for mine, theirs in zip(one.left_out(), other.left_out(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(UNFITTED.margins(found), UNFITTED.margins(afresh), atol=1e-4)
    assert expected_error(found) == pytest.approx(expected_error(afresh), abs=1e-5)
    for mine, theirs in zip(suggest(found, 6, (errors, errors)), suggest(afresh, 6, (errors, errors)), strict=True):
        assert mine.place == theirs.place and mine.after == pytest.approx(theirs.after, abs=1e-5)


def test_before_the_first_label(clip):
    found = LiveClip(clip, UNFITTED).posteriors([NOBODY, NOBODY])
    afresh = UNFITTED.posteriors(clip.times, clip.view, [NOBODY, NOBODY])
    assert [one.place for one in suggest(found, 3)] == [one.place for one in suggest(afresh, 3)]
    assert [one.place for one in suggest(found, 3)] == [one.place for one in suggest(found, 3)]  # nothing is used up
    np.testing.assert_allclose(UNFITTED.margins(found), UNFITTED.margins(afresh), atol=1e-9)


def test_audit_by_conditioning_lists_the_same(clip):
    anchors = anchors_at(clip, range(10, FRAMES, 40))
    anchors.labels[:] = truth(clip.times[anchors.places])
    anchors.labels[[4, 9], [0, 1]] += 0.9, -0.9
    found = contradicted(anchors, UNFITTED, LiveClip(clip, UNFITTED).posteriors)
    afresh = audit(clip, anchors, UNFITTED)
    assert [(one.anchor, one.axis) for one in found] == [(one.anchor, one.axis) for one in afresh]
    assert {4, 9} <= {one.anchor for one in found}
