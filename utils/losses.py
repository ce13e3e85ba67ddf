"""The losses of MT-CLAR, each a mean over pairs.

`weights` (B,), where given, are relative weights of the pairs. Targets that are NaN (Δ) or negative (similarity)
mean *unknown*: such pairs do not count, and a batch of nothing else gives 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.mtclar import Comparison

MARGIN = 0.25
EPSILON = 1e-12


class PairTargets(NamedTuple):
    """What is true of B pairs; all tensors (B,)."""

    similar: Tensor
    """1 similar, 0 dissimilar, -1 unknown; int64."""
    delta_valence: Tensor
    """Valence of face 1 minus that of face 2; NaN unknown."""
    delta_arousal: Tensor
    """Arousal of face 1 minus that of face 2; NaN unknown."""


def pair_losses(
    predicted: Comparison, a: Tensor, b: Tensor, targets: PairTargets, error_share: float, balance: bool
) -> dict[str, Tensor]:
    """The four terms of the loss, by name.

    a, b: the embeddings (B, 256) behind `predicted`. error_share: w of `dynamic_loss`. balance: let similar and
    dissimilar pairs count equally in the first two terms, however many there are of each.
    """
    weights = balanced_weights(targets.similar) if balance else None
    return {
        "similarity": similarity_loss(predicted.similarity, targets.similar, weights),
        "embedding": embedding_loss(a, b, targets.similar, weights),
        "delta_valence": dynamic_loss(predicted.delta_valence, targets.delta_valence, error_share),
        "delta_arousal": dynamic_loss(predicted.delta_arousal, targets.delta_arousal, error_share),
    }


def similarity_loss(logits: Tensor, similar: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of (B, 2) logits."""
    losses = F.cross_entropy(logits.float(), similar.clamp(min=0), reduction="none")
    return _mean_of_known(losses, similar, weights)


def embedding_loss(a: Tensor, b: Tensor, similar: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cosine-embedding loss: 1 - cos for similar pairs, max(0, cos - 0.25) for dissimilar ones."""
    sign = torch.where(similar == 1, 1.0, -1.0)
    losses = F.cosine_embedding_loss(a.float(), b.float(), sign, margin=MARGIN, reduction="none")
    return _mean_of_known(losses, similar, weights)


def dynamic_loss(predicted: Tensor, target: Tensor, error_share: float) -> Tensor:
    """w·MSE + (1 - w)·(1 - CCC) over the labelled values of a (B,) batch, w = error_share in [0, 1]."""
    known = ~target.isnan()
    if not known.any():
        return predicted.float().sum() * 0
    predicted, target = _float(predicted)[known], _float(target)[known]
    return error_share * F.mse_loss(predicted, target) + (1 - error_share) * (1 - ccc(predicted, target))


def ccc(predicted: Tensor, target: Tensor) -> Tensor:
    """Concordance correlation coefficient of two (B,) tensors, population moments; 0 where both are constant."""
    mean_p, mean_t = predicted.mean(), target.mean()
    covariance = ((predicted - mean_p) * (target - mean_t)).mean()
    spread = predicted.var(correction=0) + target.var(correction=0) + (mean_p - mean_t).square()
    return 2 * covariance / (spread + EPSILON)


def error_share(epoch: int, epochs: int, exponent: float) -> float:
    """w of `dynamic_loss` in an epoch counted from 0: concordance first, error late. The paper's exponent is 2."""
    return (epoch / epochs) ** exponent


def balanced_weights(similar: Tensor) -> Tensor:
    """Weights (B,) that give the similar and the dissimilar pairs of a batch the same total."""
    positive, negative = (similar == 1).sum().clamp(min=1), (similar == 0).sum().clamp(min=1)
    return torch.where(similar == 1, 1 / positive, 1 / negative)


def random_weights(count: int) -> Tensor:
    """(count,) fresh uniform weights that sum to 1, from torch's global generator on the CPU."""
    weights = torch.rand(count)
    return weights / weights.sum()


def _mean_of_known(losses: Tensor, similar: Tensor, weights: Tensor | None) -> Tensor:
    counts = (similar >= 0).to(losses.dtype)
    if weights is not None:
        counts = counts * weights.to(losses.dtype)
    return (losses * counts).sum() / counts.sum().clamp(min=EPSILON)


def _float(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
