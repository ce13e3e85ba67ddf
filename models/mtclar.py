"""MT-CLAR: an encoder shared by both faces of a pair, and three heads that compare the two embeddings.

Parameshwara et al., "Efficient Labelling of Affective Video Datasets via Few-Shot & Multi-Task Contrastive
Learning", ACM MM 2023 (arXiv 2308.02173).
"""

from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_linear_bn_eval

from models.emonet import EMBEDDING, Encoder, EncodingNetwork, rename_published
from models.pretrained import WEIGHTS_FILE, read_config, read_weights
from utils.base.errors import CheckpointError

Fusion = Literal["concat", "absolute", "multiply"]
HIDDEN = (2048, 1024, 512, 128)
"""Widths of the hidden layers of a comparison head in the published network."""
PUBLISHED_WIDTH = 256
"""Encoder width of the published network."""

# `compare_all` works on blocks of pairs that are small enough for a CPU cache.
PAIRS_PER_BLOCK = 2048
ANCHORS_PER_BLOCK = 64


class Comparison(NamedTuple):
    """Predictions for B pairs of faces.

    Attributes:
        similarity_logits: (B, 2) logits of dissimilar and similar expression.
        delta_valence: (B,) valence of face 1 minus valence of face 2, in [-2, 2].
        delta_arousal: (B,) arousal of face 1 minus arousal of face 2, in [-2, 2].
    """

    similarity_logits: Tensor
    delta_valence: Tensor
    delta_arousal: Tensor


class MTCLAR(EncodingNetwork):
    """The Siamese network. `encode` each image once, then `compare` any number of pairs of embeddings.

    Args:
        width: channels of the encoder, a multiple of 16; the hidden layers of the heads scale with it. 256: the
            published network.
        fusion: how two embeddings a, b become one vector: "concat" (512 values), "absolute" |a - b| or "multiply" a·b
            (256 values each).
        dropout: dropout probability in the heads.

    Raises:
        ValueError: `fusion` has another value.

    Attributes:
        similarity: head whose two outputs are the logits of dissimilar and similar expression.
        delta_valence: head whose output x gives Δvalence = 2·tanh(x).
        delta_arousal: head whose output x gives Δarousal = 2·tanh(x).
    """

    encoder: Encoder

    def __init__(self, width: int = 256, fusion: Fusion = "concat", dropout: float = 0.5):
        super().__init__()
        if fusion not in get_args(Fusion):
            raise ValueError(f"fusion must be one of {', '.join(get_args(Fusion))}, not {fusion!r}")
        self.encoder = Encoder(width)
        self.fusion = fusion
        joined = 2 * EMBEDDING if fusion == "concat" else EMBEDDING
        hidden = [channels * width // PUBLISHED_WIDTH for channels in HIDDEN]
        self.similarity = comparison_head(joined, hidden, 2, dropout)
        self.delta_valence = comparison_head(joined, hidden, 1, dropout)
        self.delta_arousal = comparison_head(joined, hidden, 1, dropout)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "MTCLAR":
        """Load a network from a folder that `mtclar.py --export` wrote, in eval mode. Only local files are read.

        Raises:
            CheckpointError: a file is missing or broken, or the two files do not belong together.
        """
        folder = Path(folder)
        config = read_config(folder)
        state, _ = read_weights(folder / WEIGHTS_FILE)
        try:
            # On the device meta no memory is allocated, so a wrong width in the file costs none.
            with torch.device("meta"):
                model = cls(config["width"], config["fusion"], config["dropout"])
            model.load_state_dict(state, assign=True)
        except (LookupError, TypeError, ValueError, RuntimeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{folder}: config.json and weights do not fit ({reason}); export again") from None
        return model.eval()

    @property
    def predicts_differences(self) -> bool:
        """Whether Δ(a, b) can differ from Δ(b, a), as differences must. "absolute" and "multiply" are symmetric."""
        return self.fusion == "concat"

    def compare(self, a: Tensor, b: Tensor) -> Comparison:
        """Embeddings a, b (B, 256) of the first and second faces → Comparison of the B pairs."""
        pair = self.join(a, b)
        return Comparison(
            self.similarity(pair),
            2 * torch.tanh(self.delta_valence(pair)).squeeze(1),
            2 * torch.tanh(self.delta_arousal(pair)).squeeze(1),
        )

    def compare_all(self, frames: Tensor, anchors: Tensor) -> Comparison:
        """Compare every frame (face 1) with every anchor (face 2). The network must be in eval mode.

        The result equals that of `compare` on all N·A pairs up to rounding, but takes less time and memory.

        Args:
            frames: embeddings (N, 256).
            anchors: embeddings (A, 256).

        Returns:
            Comparison with shapes (N, A, 2), (N, A) and (N, A).

        Raises:
            AssertionError: the network is in training mode, in which batch norms cannot be folded into other layers.
        """
        similarity_logits = self._head_outputs(self.similarity, frames, anchors)
        return Comparison(similarity_logits, *self.deltas_all(frames, anchors))

    def deltas_all(self, frames: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Compute only Δvalence and Δarousal of `compare_all`, (N, A) each, in [-2, 2]."""
        valence, arousal = (
            2 * torch.tanh(self._head_outputs(head, frames, anchors)).squeeze(2)
            for head in (self.delta_valence, self.delta_arousal)
        )
        return valence, arousal

    @torch.inference_mode()
    def estimates(self, embeddings: Tensor) -> Tensor:
        """Mean differences (N, 2) of valence and arousal of each face from all faces; embeddings (N, 256)."""
        deltas = self.deltas_all(embeddings, embeddings)
        return torch.stack([(delta - delta.T).mean(1) / 2 for delta in deltas], 1)

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        """Join embeddings a, b (B, 256) to the input of the heads: (B, 512) for "concat", otherwise (B, 256)."""
        if self.fusion == "concat":
            return torch.cat((a, b), 1)
        return (a - b).abs() if self.fusion == "absolute" else a * b

    def forward(self, image_1: Tensor, image_2: Tensor) -> Comparison:
        """Images (B, 3, S, S) of the first and second faces, RGB in [0, 1] → Comparison of the B pairs."""
        a, b = self.encode(torch.cat((image_1, image_2))).chunk(2)
        return self.compare(a, b)

    def _head_outputs(self, head: nn.Sequential, frames: Tensor, anchors: Tensor) -> Tensor:
        """Outputs of a head for all pairs: frames (N, 256), anchors (A, 256) → (N, A, outputs)."""
        layers = folded_layers(head)
        frames_per_block = PAIRS_PER_BLOCK // min(ANCHORS_PER_BLOCK, len(anchors))
        anchor_blocks = anchors.split(ANCHORS_PER_BLOCK)
        rows = [
            torch.cat([self._block_outputs(layers, frame_block, anchor_block) for anchor_block in anchor_blocks], 1)
            for frame_block in frames.split(frames_per_block)
        ]
        return torch.cat(rows)

    def _block_outputs(self, layers: list[tuple[Tensor, Tensor]], frames: Tensor, anchors: Tensor) -> Tensor:
        """Outputs of folded layers for one block of pairs: frames (n, 256), anchors (a, 256) → (n, a, outputs)."""
        (weight, bias), *rest = layers
        if self.fusion == "concat":
            # W·[x, y] = W_x·x + W_y·y, so the first layer is multiplied once per face instead of once per pair.
            frame_weight, anchor_weight = weight.split(EMBEDDING, 1)
            hidden = F.linear(frames, frame_weight, bias)[:, None] + F.linear(anchors, anchor_weight)
        else:
            hidden = F.linear(self.join(frames[:, None], anchors), weight, bias)
        hidden = hidden.flatten(0, 1)
        for weight, bias in rest:
            hidden = F.linear(hidden.relu_(), weight, bias)
        return hidden.unflatten(0, (len(frames), len(anchors)))


def comparison_head(channels_in: int, hidden: list[int], channels_out: int, dropout: float) -> nn.Sequential:
    """Create an MLP (B, channels_in) → (B, channels_out) with Xavier-uniform weights.

    Args:
        channels_in: number of inputs.
        hidden: widths of the hidden layers, each of which has batch norm, ReLU and dropout.
        channels_out: number of outputs.
        dropout: dropout probability, also of the input.
    """
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


def folded_layers(head: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    """Fold the batch norms of a head in eval mode into its Linear layers.

    Returns:
        Weight (out, in) and bias (out,) of each Linear layer, in autocast's precision if autocast is on.
    """
    linear = [layer for layer in head if isinstance(layer, nn.Linear)]
    norms = [layer for layer in head if isinstance(layer, nn.BatchNorm1d)]
    layers = [fuse_linear_bn_eval(*pair) for pair in zip(linear[:-1], norms, strict=True)] + linear[-1:]
    device, dtype = linear[0].weight.device.type, linear[0].weight.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    return [(layer.weight.to(dtype), layer.bias.to(dtype)) for layer in layers]


# Tensor names of the authors' checkpoints --------------------------------------------------------------------------

PUBLISHED_ENCODER = "emo_net."
"""Prefix of the encoder's tensor names in the authors' checkpoints."""
_PUBLISHED_HEADS = {"fc": "similarity", "fc0": "delta_valence", "fc2": "delta_arousal"}


def rename_published_siamese(key: str) -> str:
    """Convert a tensor name of the authors' Siamese network to its name in `MTCLAR`.

    A name that their network does not have is returned without the prefix `module.`; loading the state dict then
    reports it. The names of EmoNet's own head, which `MTCLAR` lacks, begin with `head.`.
    """
    key = key.removeprefix("module.")
    if key.startswith(PUBLISHED_ENCODER):
        return rename_published(key.removeprefix(PUBLISHED_ENCODER))
    first, _, rest = key.partition(".")
    return f"{_PUBLISHED_HEADS[first]}.{rest}" if first in _PUBLISHED_HEADS else key
