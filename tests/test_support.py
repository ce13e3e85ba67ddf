"""Support strategies: which frames they choose."""

import numpy as np
import pytest

from utils.labelling.support import (
    SUPPORT_STRATEGIES,
    diverse_k,
    every_n,
    first,
    sample_valence_bins,
    uniform_k,
)


@pytest.fixture
def rng():
    return np.random.default_rng(2)


@pytest.mark.parametrize("strategy", SUPPORT_STRATEGIES)
@pytest.mark.parametrize("frames, amount", [(1, 1), (1, 20), (7, 3), (50, 20), (60, 60), (5, 9)])
def test_strategies_choose_ascending_frames_of_the_clip(rng, strategy, frames, amount):
    indices = SUPPORT_STRATEGIES[strategy](rng.normal(size=(frames, 8)), amount, rng)
    assert 1 <= len(indices) <= frames and (np.diff(indices) > 0).all()
    assert 0 <= indices[0] and indices[-1] < frames
    if strategy != "every_n":
        assert len(indices) == min(amount, frames)


def test_strategies_choose_the_frames_that_their_names_promise(rng):
    embeddings = np.zeros((41, 2))
    assert first(embeddings, 3, rng).tolist() == [0, 1, 2]
    assert every_n(embeddings, 20, rng).tolist() == [0, 20, 40]
    assert uniform_k(embeddings, 1, rng).tolist() == [20]
    assert uniform_k(np.zeros((40, 2)), 4, rng).tolist() == [5, 15, 25, 35]


def test_diverse_frames_differ_in_embedding_and_in_time(rng):
    embeddings = np.zeros((60, 2))
    embeddings[33] = 9.0  # one face unlike all others
    assert 33 in diverse_k(embeddings, 3, rng)
    equal = diverse_k(np.zeros((61, 2)), 3, rng)
    assert equal.tolist() == [0, 30, 60] or np.diff(equal).min() >= 15


def test_valence_bins_give_equally_many_rows(rng):
    labels = np.column_stack((np.linspace(-1, 1, 200), np.zeros(200)))
    labels[:5] = np.nan
    rows = sample_valence_bins(labels, 4, 10, rng)
    bins = np.clip(np.floor((labels[rows, 0] + 1) * 5), 0, 9)
    assert np.bincount(bins.astype(int)).tolist() == [4] * 10
    few = sample_valence_bins(np.array([[0.1, 0.0], [0.15, 0.0], [np.nan, 0.0]]), 4, 10, rng)
    assert few.tolist() == [0, 1]
