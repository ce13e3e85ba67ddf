"""Drawing pairs as the paper does, and batches whose every pair is compared."""

import numpy as np
import pandas as pd
import pytest

from datasets.pairs import Neighbourhood, SameExpression, draw_batches, draw_pairs
from utils.base.errors import DataError


def table(expression=None, valence=None, arousal=None, subject=None) -> pd.DataFrame:
    given = {"expression": expression, "valence": valence, "arousal": arousal, "subject": subject}
    frames = pd.DataFrame({name: values for name, values in given.items() if values is not None})
    return frames.assign(**{name: np.nan for name in ("valence", "arousal") if name not in frames})


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_pairs_by_expression(rng):
    codes = np.repeat([0, 1, 4, 6, -1], [500, 20, 2, 60, 100])
    rng.shuffle(codes)
    pairs = draw_pairs(SameExpression(table(codes)), 8000, rng)
    first, second = codes[pairs.first], codes[pairs.second]
    assert (pairs.first != pairs.second).all() and first.min() >= 0 and second.min() >= 0
    assert np.array_equal(pairs.similar, np.arange(8000) % 2 == 0)
    assert np.array_equal(pairs.similar, first == second)
    shares = np.bincount(first)[[0, 1, 4, 6]] / 8000
    np.testing.assert_allclose(shares, 0.25, atol=0.03)  # uniform, although one class has 500 images and another has 2
    odd = np.bincount(second[1::2])[[0, 1, 4, 6]] / 4000
    np.testing.assert_allclose(odd, 0.25, atol=0.04)


def test_pairs_by_neighbourhood(rng):
    labels = rng.integers(-10, 11, (700, 2)).astype(np.float32) / 10
    labels[:30] = np.nan
    pairs = draw_pairs(Neighbourhood(table(valence=labels[:, 0], arousal=labels[:, 1]), 0.2), 6000, rng)
    distance = np.linalg.norm(labels[pairs.first] - labels[pairs.second], axis=1)
    assert (pairs.first != pairs.second).all() and np.isfinite(distance).all()
    assert np.array_equal(pairs.similar, distance < 0.2001)
    assert np.array_equal(pairs.similar, np.arange(6000) % 2 == 0)
    assert np.isclose(distance, 0.2, atol=1e-4).any()  # exactly 0.2 apart counts as similar


def test_every_possible_partner_is_drawn(rng):
    labels = rng.uniform(-1, 1, (60, 2))
    criterion = Neighbourhood(table(valence=labels[:, 0], arousal=labels[:, 1]), 0.3)
    near = np.linalg.norm(labels[:, None] - labels, axis=2) <= 0.3
    possible = {(i, j) for i, j in np.argwhere(near) if i != j}
    pairs = draw_pairs(criterion, 60_000, rng)
    drawn = set(zip(pairs.first[pairs.similar], pairs.second[pairs.similar], strict=True))
    assert drawn == possible


@pytest.mark.parametrize("labels", [[-1, -1, 1, 1], [-1, 1, -1, 1]])
def test_neighbourhood_at_the_corners_of_the_plane(rng, labels):
    criterion = Neighbourhood(table(valence=labels, arousal=labels), 0.2)
    pairs = draw_pairs(criterion, 100, rng)
    same = np.asarray(labels)[pairs.first] == np.asarray(labels)[pairs.second]
    assert np.array_equal(pairs.similar, same) and pairs.similar.sum() == 50


@pytest.mark.parametrize(
    "codes, kinds",
    [
        ([0, 1, 2, 3], {False}),  # one image per class: no similar pair exists
        ([2, 2, 2], {True}),  # one class: no dissimilar pair exists
        ([0, 1, 1], {True, False}),  # a class of one image
        ([5, 5, -1, 6], {True, False}),
    ],
)
def test_small_classes(rng, codes, kinds):
    pairs = draw_pairs(SameExpression(table(codes)), 200, rng)
    codes = np.asarray(codes)
    assert set(pairs.similar.tolist()) == kinds and (pairs.first != pairs.second).all()
    assert np.array_equal(codes[pairs.first] == codes[pairs.second], pairs.similar)


def test_an_image_without_neighbours_is_in_no_similar_pair(rng):
    valence = [0.0] * 20 + [0.9]
    pairs = draw_pairs(Neighbourhood(table(valence=valence, arousal=[0.0] * 21), 0.2), 2000, rng)
    assert 20 not in pairs.first[pairs.similar] and 20 in pairs.first[~pairs.similar]


@pytest.mark.parametrize("codes", [[], [3], [-1, -1, 2]])
def test_too_few_images_are_refused(rng, codes):
    with pytest.raises(DataError, match="fewer than two images"):
        draw_pairs(SameExpression(table(np.asarray(codes, int))), 10, rng)


def test_same_seed_gives_same_pairs():
    codes = np.random.default_rng(0).integers(0, 8, 300)
    one, two, other = (draw_pairs(SameExpression(table(codes)), 500, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.first, two.first) and np.array_equal(one.second, two.second)
    assert not np.array_equal(one.first, other.first)


def test_unknown_labels_make_unknown_pairs():
    by_code = SameExpression(table([0, 0, -1]))
    by_label = Neighbourhood(table(valence=[0.1, 0.1, np.nan], arousal=[0, 0, 0]), 0.2)
    for criterion in (by_code, by_label):
        found = criterion.similar(np.array([0, 0, 2]), np.array([1, 2, 0]))
        assert found.tolist() == [1, -1, -1]


def test_batches_by_subject(rng):
    subjects = np.repeat([f"p{i}" for i in range(30)], rng.integers(1, 40, 30))
    batches = draw_batches(table(subject=subjects), 50, 24, 8, rng)
    assert batches.shape == (50, 24)
    for batch in batches:
        people, counts = np.unique(subjects[batch], return_counts=True)
        assert len(people) == 8 and (counts == 3).all()
        for person in people:
            rows = batch[subjects[batch] == person]
            assert len(set(rows)) == min(3, (subjects == person).sum())


def test_batches_of_any_images(rng):
    batches = draw_batches(table(subject=list("abcdefghij")), 7, 5, 0, rng)
    assert np.array_equal(
        np.bincount(batches[:6].ravel()), [3] * 10
    )  # complete passes: each image occurs equally often


def test_more_subjects_than_there_are_are_refused(rng):
    with pytest.raises(DataError, match="only 2 people"):
        draw_batches(table(subject=["a", "b"]), 1, 6, 3, rng)
