"""A network that estimates absolute valence and arousal, in the form of an encoder."""

import torch
from torch import Tensor

from models.emonet import EmoNet, EncodingNetwork, ImageEncoder
from models.supervised import Supervised


class AffectEncoder(ImageEncoder):
    """Estimates valence and arousal of images: (B, 3, S, S), RGB in [0, 1] → (B, 2), in [-1, 1].

    Args:
        network: published EmoNet, or an encoder with a supervised head for valence and arousal.
    """

    outputs = 2

    def __init__(self, network: EmoNet | Supervised):
        super().__init__()
        self.network = network
        self.width = network.encoder.width

    def forward(self, images: Tensor) -> Tensor:
        estimate = self.network.estimate(images)
        return torch.stack((estimate.valence, estimate.arousal), 1).clamp(-1, 1)


class AffectEstimator(EncodingNetwork):
    """EmoNet or a supervised head, whose "embeddings" are valence and arousal.

    All that encodes, converts and caches embeddings can thereby be used for estimates.

    Args:
        network: published EmoNet, or an encoder with a supervised head for valence and arousal.
    """

    def __init__(self, network: EmoNet | Supervised):
        super().__init__()
        self.encoder = AffectEncoder(network)
        self.eval()

    def estimates(self, embeddings: Tensor) -> Tensor:
        """Valence and arousal (N, 2), which are the "embeddings" themselves."""
        return embeddings
