"""MT-CLAR + SL: a small supervised head on frozen embeddings."""

import torch
from torch import Tensor, nn

from models.emonet import EMBEDDING, Affect, Encoder, EncodingNetwork

HIDDEN = (1024, 512, 256, 128)
"""Widths of the hidden layers."""
OUTPUTS = {"valence_arousal": 2, "expression": 8}
"""Task → number of outputs of its head."""


class SupervisedHead(nn.Module):
    """An MLP from embeddings to valence and arousal, or to expression logits.

    Args:
        outputs: number of outputs.
        tanh: limit the outputs to [-1, 1]; for valence and arousal.
        dropout: dropout probability after each hidden layer.
    """

    def __init__(self, outputs: int, tanh: bool = False, dropout: float = 0.5):
        super().__init__()
        layers: list[nn.Module] = []
        channels_in = EMBEDDING
        for channels in HIDDEN:
            layers += [
                nn.Linear(channels_in, channels, bias=False),
                nn.BatchNorm1d(channels),
                nn.ReLU(),
                nn.Dropout(dropout),
            ]
            channels_in = channels
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(channels_in, outputs)
        self.tanh = tanh

    @classmethod
    def for_task(cls, task: str, tanh: bool, dropout: float) -> "SupervisedHead":
        """Create a head for "valence_arousal" or "expression"; `tanh` applies to valence and arousal only."""
        return cls(OUTPUTS[task], tanh and task == "valence_arousal", dropout)

    def forward(self, embeddings: Tensor) -> Tensor:
        """embeddings (B, 256) → (B, outputs)."""
        outputs = self.output(self.hidden(embeddings))
        return torch.tanh(outputs) if self.tanh else outputs


class Supervised(EncodingNetwork):
    """A trained encoder and a head for its embeddings, both switched to eval mode when the object is created.

    Args:
        encoder: makes the embeddings.
        head: was trained on embeddings of this encoder.
    """

    encoder: Encoder

    def __init__(self, encoder: Encoder, head: SupervisedHead):
        super().__init__()
        self.encoder, self.head = encoder, head
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, S, S), RGB in [0, 1] → outputs of the head (B, outputs)."""
        return self.head(self.encode(images))

    def estimate(self, images: Tensor) -> Affect:
        """Estimate valence and arousal; the expression logits are empty, (B, 0).

        Unlike `EmoNet.estimate`, this does not average over each image and its mirror image.
        """
        outputs = self(images)
        return Affect(outputs[:, 2:], outputs[:, 0], outputs[:, 1])

    @torch.inference_mode()
    def estimates(self, embeddings: Tensor) -> Tensor:
        """Valence and arousal (N, 2), or the probabilities of expressions (N, 8); embeddings (N, 256)."""
        outputs = self.head(embeddings)
        return outputs if outputs.shape[1] == OUTPUTS["valence_arousal"] else outputs.softmax(1)
