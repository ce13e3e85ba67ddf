"""MT-CLAR: one encoder looks at both faces of a pair, three heads compare what it saw.

Parameshwara et al., "Efficient Labelling of Affective Video Datasets via Few-Shot & Multi-Task Contrastive
Learning", ACM MM 2023 (arXiv 2308.02173).
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from models.emonet import EMBEDDING, Encoder

Fusion = Literal["concat", "absolute", "multiply"]
HIDDEN = (2048, 1024, 512, 128)
PUBLISHED_WIDTH = 256


class Comparison(NamedTuple):
    """What MT-CLAR says of B pairs of faces."""

    similarity: Tensor
    """(B, 2) logits: dissimilar, similar expression."""
    delta_valence: Tensor
    """(B,) valence of face 1 minus valence of face 2, in [-2, 2]."""
    delta_arousal: Tensor
    """(B,) arousal of face 1 minus arousal of face 2, in [-2, 2]."""


class MTCLAR(nn.Module):
    """The Siamese network. `encode` each face once, then `compare` as many pairs of embeddings as you like."""

    def __init__(self, width: int = 256, fusion: Fusion = "concat", dropout: float = 0.5):
        """width: channels of the encoder; the heads' hidden layers shrink with it (256: all as published).
        fusion: how two embeddings become one vector: side by side, their absolute difference, or their product.
        dropout: of the three heads.
        """
        super().__init__()
        self.encoder = Encoder(width)
        self.fusion = fusion
        fused = 2 * EMBEDDING if fusion == "concat" else EMBEDDING
        hidden = [channels * width // PUBLISHED_WIDTH for channels in HIDDEN]
        self.similarity = comparison_head(fused, hidden, 2, dropout)
        self.delta_valence = comparison_head(fused, hidden, 1, dropout)
        self.delta_arousal = comparison_head(fused, hidden, 1, dropout)

    def encode(self, images: Tensor) -> Tensor:
        """images (B, 3, S, S), RGB in [0, 1] → embeddings (B, 256)."""
        return self.encoder(images)

    def compare(self, a: Tensor, b: Tensor) -> Comparison:
        """Embeddings of the first and of the second faces, (B, 256) each → Comparison of the B pairs."""
        pair = self.fuse(a, b)
        return Comparison(
            self.similarity(pair),
            2 * torch.tanh(self.delta_valence(pair)).squeeze(1),
            2 * torch.tanh(self.delta_arousal(pair)).squeeze(1),
        )

    def fuse(self, a: Tensor, b: Tensor) -> Tensor:
        if self.fusion == "concat":
            return torch.cat((a, b), 1)
        return (a - b).abs() if self.fusion == "absolute" else a * b

    def forward(self, image_1: Tensor, image_2: Tensor) -> Comparison:
        """Two batches of images, (B, 3, S, S) each → Comparison of image_1[i] with image_2[i]."""
        a, b = self.encode(torch.cat((image_1, image_2))).chunk(2)
        return self.compare(a, b)


def comparison_head(channels_in: int, hidden: list[int], channels_out: int, dropout: float) -> nn.Sequential:
    """(B, channels_in) → (B, channels_out): an MLP whose hidden layers are each normed and with dropout."""
    layers: list[nn.Module] = [nn.Dropout(dropout)]
    for channels in hidden:
        layers += [nn.Linear(channels_in, channels), nn.BatchNorm1d(channels), nn.ReLU(), nn.Dropout(dropout)]
        channels_in = channels
    layers.append(nn.Linear(channels_in, channels_out))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
