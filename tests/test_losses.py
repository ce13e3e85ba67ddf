"""Losses and metrics, compared with explicit loops and with scikit-learn and torchmetrics."""

import math

import numpy as np
import pytest
import sklearn.metrics
import torch
import torchmetrics.functional.regression as regression

from models.mtclar import Comparison
from utils import metrics
from utils.training import losses
from utils.training.losses import PairTargets


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def ccc_by_loop(p, t):
    n = len(p)
    mean_p, mean_t = sum(p) / n, sum(t) / n
    covariance = sum((a - mean_p) * (b - mean_t) for a, b in zip(p, t, strict=True)) / n
    var_p, var_t = sum((a - mean_p) ** 2 for a in p) / n, sum((b - mean_t) ** 2 for b in t) / n
    return 2 * covariance / (var_p + var_t + (mean_p - mean_t) ** 2)


def test_mse_ccc_loss_equals_loop(rng):
    p, t = rng.normal(size=(2, 30))
    t[[3, 17]] = np.nan
    known = [i for i in range(30) if not math.isnan(t[i])]
    mse = sum((p[i] - t[i]) ** 2 for i in known) / len(known)
    concordance = ccc_by_loop([p[i] for i in known], [t[i] for i in known])
    for weight in (0, 0.3, 1):
        actual = losses.mse_ccc_loss(torch.tensor(p), torch.tensor(t), weight).item()
        assert actual == pytest.approx(weight * mse + (1 - weight) * (1 - concordance), abs=1e-6)


def test_embedding_loss_equals_loop(rng):
    a, b = rng.normal(size=(2, 12, 5)) + 0.7
    similar = rng.integers(-1, 2, 12)
    total, count = 0.0, 0
    for i in range(12):
        cosine = sum(a[i] * b[i]) / math.sqrt(sum(a[i] ** 2) * sum(b[i] ** 2))
        if similar[i] >= 0:
            total += 1 - cosine if similar[i] == 1 else max(0.0, cosine - 0.25)
            count += 1
    actual = losses.embedding_loss(torch.tensor(a), torch.tensor(b), torch.tensor(similar)).item()
    assert actual == pytest.approx(total / count, abs=1e-6)


@pytest.mark.parametrize("balance", [False, True])
def test_similarity_loss_equals_loop(rng, balance):
    logits, similar = rng.normal(size=(20, 2)), np.array([1] * 5 + [0] * 12 + [-1] * 3)
    total = weights = 0.0
    for (zero, one), label in zip(logits, similar, strict=True):
        if label >= 0:
            weight = 1 if not balance else 1 / (5 if label == 1 else 12)
            chosen = one if label == 1 else zero
            total += weight * (math.log(math.exp(zero) + math.exp(one)) - chosen)
            weights += weight
    weighted = losses.balanced_weights(torch.tensor(similar)) if balance else None
    actual = losses.similarity_loss(torch.tensor(logits), torch.tensor(similar), weighted).item()
    assert actual == pytest.approx(total / weights, abs=1e-6)


@pytest.mark.parametrize(
    "similar, delta",
    [
        ([1], [0.3]),
        ([1, 1, 0, 0], [0.5] * 4),
        ([-1, -1], [math.nan] * 2),
        ([0, 0, 0], [0.1, math.nan, -2.0]),
    ],
)
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_losses_of_degenerate_batches_are_finite(similar, delta, weight):
    count = len(similar)
    a, b = (torch.zeros(count, 256, requires_grad=True) for _ in range(2))
    raw = torch.zeros(count, 4, requires_grad=True)
    predicted = Comparison(raw[:, :2], raw[:, 2], raw[:, 3])
    targets = PairTargets(torch.tensor(similar), torch.tensor(delta), torch.tensor(delta))
    for balance in (False, True):
        terms = losses.pair_losses(predicted, a, b, targets, weight, balance)
        assert list(terms) == ["similarity", "embedding", "delta_valence", "delta_arousal"]
        sum(terms.values()).backward()
        assert all(term.isfinite() for term in terms.values())
        assert all(leaf.grad.isfinite().all() for leaf in (a, b, raw))


def test_weights_of_the_terms():
    weights = [losses.mse_weight_at(epoch, 40, 2) for epoch in range(40)]
    assert weights[0] == 0 and weights == sorted(weights) and weights[20] == pytest.approx(0.25)
    drawn = torch.stack([losses.random_weights(4) for _ in range(500)])
    torch.testing.assert_close(drawn.sum(1), torch.ones(500))
    torch.testing.assert_close(drawn.mean(0), torch.full((4,), 0.25), atol=0.02, rtol=0)


def test_metrics_agree_with_other_libraries(rng):
    p, t = rng.normal(size=(2, 200))
    t += 0.6 * p
    scores = metrics.regression_scores(p, t)
    tp, tt = torch.tensor(p), torch.tensor(t)
    assert scores["RMSE"] == pytest.approx(math.sqrt(sklearn.metrics.mean_squared_error(t, p)), abs=1e-6)
    assert scores["PCC"] == pytest.approx(regression.pearson_corrcoef(tp, tt).item(), abs=1e-6)
    assert scores["CCC"] == pytest.approx(ccc_by_loop(list(p), list(t)), abs=1e-6)
    assert scores["SAGR"] == pytest.approx(np.mean([(a > 0) == (b > 0) for a, b in zip(p, t, strict=True)]))
    # torchmetrics uses sample variances in CCC; for many rows both definitions agree.
    many = torch.tensor(rng.normal(size=(2, 200_000)) + 0.5)
    expected = regression.concordance_corrcoef(many[0], many[0] + many[1]).item()
    assert metrics.ccc(many[0].numpy(), (many[0] + many[1]).numpy()) == pytest.approx(expected, abs=1e-5)
    assert losses.ccc(tp, tt).item() == pytest.approx(scores["CCC"], abs=1e-6)


def test_classification_metrics_agree_with_scikit_learn(rng):
    p, t = rng.integers(0, 4, size=(2, 100))
    assert metrics.accuracy(p, t) == pytest.approx(sklearn.metrics.accuracy_score(t, p))
    expected = sklearn.metrics.confusion_matrix(t, p, labels=range(5))
    assert np.array_equal(metrics.confusion_matrix(p, t, 5), expected)


@pytest.mark.parametrize("p, t", [([0.3], [0.4]), ([0.1, 0.1], [0.2, 0.2]), ([0.5, -0.5], [0.2, 0.2])])
def test_scores_of_constant_predictions_are_finite(p, t):
    scores = metrics.regression_scores(p, t)
    assert all(math.isfinite(value) for value in scores.values())
    assert scores["PCC"] == scores["CCC"] == 0


def test_unlabelled_rows_are_not_scored():
    assert metrics.regression_scores([1, 2], [math.nan, math.nan]) == {}
    assert metrics.regression_scores([1, 2, 9], [1, 2, math.nan])["RMSE"] == 0
