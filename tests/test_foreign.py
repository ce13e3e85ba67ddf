"""The constant error of evidence from anchors of other people, fitted on clips whose errors are known."""

import numpy as np
import pandas as pd
import pytest
import torch

from datasets.columns import AXES
from utils.labelling.clips import DatasetClip
from utils.labelling.dataset_calibration.foreign import SMALLEST_STD, fit_foreign_offsets
from utils.labelling.types import EncodedClip

SHARED, PER_PERSON = (0.3, 0.2), (0.15, 0.4)  # standard deviations, valence and arousal


class Comparer:
    """Stands in for a labeller. An embedding holds the true labels of a frame and the number of its person."""

    def __init__(self, of_clips: np.ndarray, of_anchors: np.ndarray):
        """of_clips, of_anchors: (P, 2) constant error for each person, as the person of the clip or of the anchors."""
        self.of_clips, self.of_anchors = of_clips, of_anchors

    def mean_difference(self, frames, references):
        (clips, anchors) = (embeddings[:, 2].long().numpy() for embeddings in (frames, references))
        difference = frames[:, :2].numpy() - references[:, :2].numpy().mean(0)
        return difference + self.of_clips[clips] + self.of_anchors[anchors].mean(0)


def clips_of(rng, people):
    clips = []
    for person in range(people):
        labels = rng.uniform(-0.8, 0.8, (12, 2))
        embeddings = torch.from_numpy(np.column_stack((labels, np.full(12, person))))
        encoded = EncodedClip(embeddings, np.arange(12) / 25, np.zeros((12, 2)))
        clips.append(DatasetClip(str(person), pd.DataFrame(labels, columns=list(AXES)), encoded))
    return clips


def test_both_standard_deviations_are_recovered():
    fitted = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        comparer = Comparer(rng.normal(0, SHARED, (32, 2)), rng.normal(0, PER_PERSON, (32, 2)))
        clips = clips_of(rng, 32)
        clips[5].frames.loc[3, "arousal"] = np.nan  # An unlabelled frame is left out.
        fitted.append(fit_foreign_offsets(comparer, clips))
    means = np.mean(fitted, 0)  # (axis, standard deviation)
    np.testing.assert_allclose(means[:, 0], SHARED, rtol=0.2)
    np.testing.assert_allclose(means[:, 1], PER_PERSON, rtol=0.2)


@pytest.mark.parametrize("axis", range(2))
def test_offset_falls_with_the_number_of_people_to_the_shared_part(axis):
    rng = np.random.default_rng(0)
    comparer = Comparer(rng.normal(0, SHARED, (20, 2)), rng.normal(0, PER_PERSON, (20, 2)))
    offset = fit_foreign_offsets(comparer, clips_of(rng, 20))[axis]
    stds = [offset.std(people) for people in (1, 2, 10, 10_000)]
    assert stds == sorted(stds, reverse=True) and stds[0] == pytest.approx(np.hypot(*offset))
    assert stds[-1] == pytest.approx(offset.shared, rel=0.01)


def test_offset_of_a_network_without_constant_errors_stays_above_zero():
    fitted = fit_foreign_offsets(Comparer(np.zeros((6, 2)), np.zeros((6, 2))), clips_of(np.random.default_rng(0), 6))
    np.testing.assert_array_equal(fitted, SMALLEST_STD)
