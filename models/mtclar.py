"""MT-CLAR: one encoder looks at both faces of a pair, three heads compare what it saw.

Parameshwara et al., "Efficient Labelling of Affective Video Datasets via Few-Shot & Multi-Task Contrastive
Learning", ACM MM 2023 (arXiv 2308.02173).
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_linear_bn_eval

from models.emonet import EMBEDDING, Encoder

Fusion = Literal["concat", "absolute", "multiply"]
HIDDEN = (2048, 1024, 512, 128)
PUBLISHED_WIDTH = 256
BLOCK, SIDE = 2048, 64  # of compare_all: pairs at once, which fit a processor's cache, of so many anchors at most


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

    def compare_all(self, frames: Tensor, anchors: Tensor) -> Comparison:
        """Each of N frames with each of A anchors: embeddings (N, 256), (A, 256) → (N, A, 2), (N, A), (N, A).

        What `compare` says of the N·A pairs (frame first), up to rounding, in less time and in the memory of the
        answer. In eval mode only.
        """
        return Comparison(self._all(self.similarity, frames, anchors), *self.deltas_all(frames, anchors))

    def deltas_all(self, frames: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """The same of Δvalence and of Δarousal alone, (N, A) each."""
        heads = (self.delta_valence, self.delta_arousal)
        return tuple(2 * torch.tanh(self._all(head, frames, anchors)).squeeze(2) for head in heads)

    def _all(self, head: nn.Sequential, frames: Tensor, anchors: Tensor) -> Tensor:
        """(N, 256), (A, 256) → a head's output (N, A, outputs)."""
        layers = folded(head)
        rows = [
            torch.cat([self._block(layers, some, few) for few in anchors.split(SIDE)], 1)
            for some in frames.split(BLOCK // min(SIDE, len(anchors)))
        ]
        return torch.cat(rows)

    def _block(self, head: list[tuple[Tensor, Tensor]], frames: Tensor, anchors: Tensor) -> Tensor:
        """(n, 256), (a, 256) → a folded head's output (n, a, outputs)."""
        (weight, bias), *rest = head
        if self.fusion == "concat":  # W·(x, y) = W_x·x + W_y·y: multiplied once a face, not once a pair
            of_frames, of_anchors = weight.split(EMBEDDING, 1)
            hidden = F.linear(frames, of_frames, bias)[:, None] + F.linear(anchors, of_anchors)
        else:
            hidden = F.linear(self.fuse(frames[:, None], anchors), weight, bias)
        hidden = hidden.flatten(0, 1)
        for weight, bias in rest:
            hidden = F.linear(hidden.relu_(), weight, bias)
        return hidden.unflatten(0, (len(frames), len(anchors)))

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


def folded(head: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of a head's Linear layers in eval mode, the norms folded in, in the precision of autocast."""
    linear, norms = ([layer for layer in head if isinstance(layer, kind)] for kind in (nn.Linear, nn.BatchNorm1d))
    layers = [fuse_linear_bn_eval(*pair) for pair in zip(linear[:-1], norms, strict=True)] + linear[-1:]
    device, dtype = linear[0].weight.device.type, linear[0].weight.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    return [(layer.weight.to(dtype), layer.bias.to(dtype)) for layer in layers]
