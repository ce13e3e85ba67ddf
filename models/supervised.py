"""MT-CLAR + SL: a small supervised head on frozen embeddings."""

import torch
from torch import Tensor, nn

from models.emonet import EMBEDDING, Affect, Encoder

HIDDEN = (1024, 512, 256, 128)


class SupervisedHead(nn.Module):
    """Embeddings (B, 256) → (B, outputs): valence and arousal, or expression logits.

    tanh: bound the outputs to [-1, 1], for valence and arousal.
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

    def forward(self, embeddings: Tensor) -> Tensor:
        out = self.output(self.hidden(embeddings))
        return torch.tanh(out) if self.tanh else out


class Supervised(nn.Module):
    """An encoder and the head that was trained on its embeddings, in eval mode."""

    def __init__(self, encoder: Encoder, head: SupervisedHead):
        super().__init__()
        self.encoder, self.head = encoder, head
        self.eval()

    def encode(self, images: Tensor) -> Tensor:
        """images (B, 3, S, S), RGB in [0, 1] → embeddings (B, 256)."""
        return self.encoder(images)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, S, S) → what the head says of them, (B, outputs)."""
        return self.head(self.encode(images))

    @torch.inference_mode()
    def estimate(self, images: Tensor) -> Affect:
        """A head for valence and arousal in the place of EmoNet's own; it knows no expressions: logits (B, 0)."""
        out = self(images)
        return Affect(out[:, 2:], out[:, 0], out[:, 1])
