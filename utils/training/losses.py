"""The losses of MT-CLAR. Each is a mean over the pairs of a batch whose targets are known.

Unknown targets are NaN (Δ) or negative (similarity). If all targets of a batch are unknown, the loss is 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.mtclar import Comparison

MARGIN = 0.25
"""Margin of the cosine-embedding loss."""
VALIDATION_MSE_WEIGHT = 0.5
"""Weight of the MSE in validation losses; constant, so that the losses of different epochs are comparable."""
EPSILON = 1e-12


class PairTargets(NamedTuple):
    """True labels of B pairs.

    Attributes:
        similarity_label: (B,) int64: 1 similar, 0 dissimilar, -1 unknown.
        delta_valence: (B,) valence of face 1 minus valence of face 2, in [-2, 2]; NaN: unknown.
        delta_arousal: (B,) arousal of face 1 minus arousal of face 2, in [-2, 2]; NaN: unknown.
    """

    similarity_label: Tensor
    delta_valence: Tensor
    delta_arousal: Tensor

    def to(self, device: torch.device) -> "PairTargets":
        """Return the targets on another device."""
        return PairTargets(*(target.to(device) for target in self))


def pair_losses(
    predicted: Comparison, a: Tensor, b: Tensor, targets: PairTargets, mse_weight: float, balance: bool
) -> dict[str, Tensor]:
    """Compute the four terms of the loss.

    Args:
        predicted: predictions for B pairs.
        a: (B, 256) embeddings of the first faces.
        b: (B, 256) embeddings of the second faces.
        targets: true labels of the pairs.
        mse_weight: weight w of the MSE in `mse_ccc_loss`, in [0, 1].
        balance: in the terms `similarity` and `embedding`, give all similar pairs together the same weight as all
            dissimilar pairs.

    Returns:
        Scalar tensors by name: similarity, embedding, delta_valence and delta_arousal, in this order.
    """
    weights = balanced_weights(targets.similarity_label) if balance else None
    return {
        "similarity": similarity_loss(predicted.similarity_logits, targets.similarity_label, weights),
        "embedding": embedding_loss(a, b, targets.similarity_label, weights),
        "delta_valence": mse_ccc_loss(predicted.delta_valence, targets.delta_valence, mse_weight),
        "delta_arousal": mse_ccc_loss(predicted.delta_arousal, targets.delta_arousal, mse_weight),
    }


def similarity_loss(logits: Tensor, similarity_label: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy.

    Args:
        logits: (B, 2), dissimilar and similar.
        similarity_label: (B,) 1 similar, 0 dissimilar, -1 unknown.
        weights: (B,) relative weights of the pairs; None: equal weights.
    """
    losses = F.cross_entropy(logits.float(), similarity_label.clamp(min=0), reduction="none")
    return _mean_of_known(losses, similarity_label, weights)


def embedding_loss(a: Tensor, b: Tensor, similarity_label: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cosine-embedding loss: 1 - cos(a, b) for similar pairs, max(0, cos(a, b) - 0.25) for dissimilar ones.

    Args:
        a: (B, 256) embeddings of the first faces.
        b: (B, 256) embeddings of the second faces.
        similarity_label: (B,) 1 similar, 0 dissimilar, -1 unknown.
        weights: (B,) relative weights of the pairs; None: equal weights.
    """
    sign = torch.where(similarity_label == 1, 1.0, -1.0)
    losses = F.cosine_embedding_loss(a.float(), b.float(), sign, margin=MARGIN, reduction="none")
    return _mean_of_known(losses, similarity_label, weights)


def mse_ccc_loss(predicted: Tensor, target: Tensor, mse_weight: float) -> Tensor:
    """Combine mean squared error and concordance correlation: w·MSE + (1 - w)·(1 - CCC).

    Args:
        predicted: (B,) predictions.
        target: (B,) true values; NaN: unknown.
        mse_weight: w, in [0, 1].
    """
    known = ~target.isnan()
    if not known.any():
        return predicted.float().sum() * 0  # 0 with a gradient
    predicted, target = _at_least_float32(predicted)[known], _at_least_float32(target)[known]
    return mse_weight * F.mse_loss(predicted, target) + (1 - mse_weight) * (1 - ccc(predicted, target))


def ccc(predicted: Tensor, target: Tensor) -> Tensor:
    """Concordance correlation coefficient of (B,) tensors, with population moments; 0 if both are constant."""
    mean_p, mean_t = predicted.mean(), target.mean()
    covariance = ((predicted - mean_p) * (target - mean_t)).mean()
    denominator = predicted.var(correction=0) + target.var(correction=0) + (mean_p - mean_t).square()
    return 2 * covariance / (denominator + EPSILON)


def mse_weight_at(epoch: int, epochs: int, exponent: float) -> float:
    """Weight w of the MSE in an epoch: it grows, and so the share of CCC falls. The paper's exponent is 2.

    It grows from 0 in the first epoch to ((epochs - 1) / epochs) ** exponent in the last.

    Args:
        epoch: number of the epoch, from 0.
        epochs: number of epochs.
        exponent: above 0.
    """
    return (epoch / epochs) ** exponent


def balanced_weights(similarity_label: Tensor) -> Tensor:
    """Return weights (B,) whose sums over the similar and over the dissimilar pairs of a batch are equal."""
    positive, negative = (similarity_label == 1).sum().clamp(min=1), (similarity_label == 0).sum().clamp(min=1)
    return torch.where(similarity_label == 1, 1 / positive, 1 / negative)


def random_weights(count: int) -> Tensor:
    """Draw weights (count,) from U(0, 1) with PyTorch's global CPU generator, and divide them by their sum."""
    weights = torch.rand(count)
    return weights / weights.sum()


def _mean_of_known(losses: Tensor, similarity_label: Tensor, weights: Tensor | None) -> Tensor:
    """Weighted mean of losses (B,) over the pairs whose similarity is known."""
    factors = (similarity_label >= 0).to(losses.dtype)
    if weights is not None:
        factors = factors * weights.to(losses.dtype)
    return (losses * factors).sum() / factors.sum().clamp(min=EPSILON)


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
