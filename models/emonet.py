"""EmoNet (Toisoul et al., Nature Machine Intelligence 2021): a face-alignment network with an emotion branch.

Two stacked hourglasses predict heatmaps of 68 facial landmarks. The emotion branch weights the hourglass features by
an attention mask, the sum of these heatmaps, and reduces them to a 256-d embedding. MT-CLAR uses the network up to
the embedding; EmoNet's own head predicts expression, valence and arousal from it.
"""

import re
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EMBEDDING = 256
"""Length of an embedding."""
IMAGE_SIZE = 256
"""Side in pixels of the images that the published weights were trained on."""
LANDMARKS = 68
DEPTH = 4
"""Levels of an hourglass, each of which halves the resolution."""


class Block(nn.Module):
    """Pre-activation residual block: the outputs of three 3×3 convolutions, concatenated, plus a shortcut.

    The convolutions have channels_out/2, channels_out/4 and channels_out/4 output channels.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output, a multiple of 4.
    """

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        half, quarter = channels_out // 2, channels_out // 4
        self.norm1, self.conv1 = nn.BatchNorm2d(channels_in), conv3x3(channels_in, half)
        self.norm2, self.conv2 = nn.BatchNorm2d(half), conv3x3(half, quarter)
        self.norm3, self.conv3 = nn.BatchNorm2d(quarter), conv3x3(quarter, quarter)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.BatchNorm2d(channels_in), nn.ReLU(), nn.Conv2d(channels_in, channels_out, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels_in, H, W) → (B, channels_out, H, W)."""
        a = self.conv1(F.relu(self.norm1(x)))
        b = self.conv2(F.relu(self.norm2(a)))
        c = self.conv3(F.relu(self.norm3(b)))
        return torch.cat((a, b, c), 1) + self.shortcut(x)


def conv3x3(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Return a 3×3 convolution that keeps height and width; without bias, since a norm follows."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)


class Hourglass(nn.Module):
    """One level of an hourglass: a skip connection at this resolution plus the next level at half of it.

    Args:
        depth: number of levels from this one inwards.
        channels: channels of input and output.
    """

    def __init__(self, depth: int, channels: int):
        super().__init__()
        self.skip = Block(channels, channels)
        self.before = Block(channels, channels)
        self.inner: nn.Module = Hourglass(depth - 1, channels) if depth > 1 else Block(channels, channels)
        self.after = Block(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) → (B, C, H, W); H and W must be divisible by 2**depth."""
        low = self.after(self.inner(self.before(F.max_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(low, scale_factor=2, mode="nearest")


class Stage(nn.Module):
    """An hourglass with its outputs: features and landmark heatmaps.

    Args:
        channels: channels of the hourglass.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.hourglass = Hourglass(DEPTH, channels)
        self.top = Block(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.heatmaps = nn.Conv2d(channels, LANDMARKS, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W) → features (B, C, H, W), heatmaps (B, 68, H, W)."""
        features = F.relu(self.norm(self.conv(self.top(self.hourglass(x)))))
        return features, self.heatmaps(features)


class LandmarkNetwork(nn.Module):
    """The stem and both hourglasses, at a quarter of the image's resolution.

    Args:
        width: channels of the hourglasses, a multiple of 16.
    """

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(3, width // 4, 7, stride=2, padding=3)
        self.norm = nn.BatchNorm2d(width // 4)
        self.block1 = Block(width // 4, width // 2)
        self.block2 = Block(width // 2, width // 2)
        self.block3 = Block(width // 2, width)
        self.stage1, self.stage2 = Stage(width), Stage(width)
        self.merge_features = nn.Conv2d(width, width, 1)
        self.merge_heatmaps = nn.Conv2d(LANDMARKS, width, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the inputs of the emotion branch.

        Args:
            images: (B, 3, S, S), RGB in [0, 1].

        Returns:
            Features of the stem, of the first and of the second hourglass, each (B, width, S/4, S/4), and the
            heatmaps of the second hourglass, (B, 68, S/4, S/4).
        """
        x = F.relu(self.norm(self.conv(images)))
        x = F.max_pool2d(self.block1(x), 2)
        x = self.block3(self.block2(x))
        first, heatmaps = self.stage1(x)
        first = self.merge_features(first)
        second, heatmaps = self.stage2(x + first + self.merge_heatmaps(heatmaps))
        return x, first, second, heatmaps


class EmotionBranch(nn.Module):
    """The features and heatmaps of the landmark network → embeddings.

    Args:
        width: channels of each feature map.
    """

    def __init__(self, width: int):
        super().__init__()
        self.reduce = nn.Conv2d(3 * width, EMBEDDING, 1)
        self.blocks = nn.ModuleList(Block(EMBEDDING, EMBEDDING) for _ in range(4))

    def forward(self, x: Tensor, first: Tensor, second: Tensor, heatmaps: Tensor) -> Tensor:
        """The outputs of `LandmarkNetwork` → embeddings (B, 256)."""
        attention = heatmaps.sum(1, keepdim=True)
        features = self.reduce(torch.cat((x, attention * first, attention * second), 1))
        for block in self.blocks:
            features = F.max_pool2d(block(features), 2)
        return features.mean((2, 3))


class ImageEncoder(nn.Module):
    """Base class of networks that turn images (B, 3, S, S) into vectors (B, outputs).

    Attributes:
        width: channels of the hourglasses.
        outputs: length of the vector of an image.
    """

    width: int
    outputs: int


class Encoder(ImageEncoder):
    """EmoNet without its head: face images → embeddings.

    Any image size S that is a multiple of 64 works, because the embedding is the mean over the cells that remain after
    pooling: 4×4 cells for S = 256.

    Args:
        width: channels of the hourglasses, a multiple of 16. 256: the published network. 64: a narrower one that
            trains from scratch within minutes.

    Attributes:
        landmarks_frozen: whether `freeze_landmarks` was called.
    """

    outputs = EMBEDDING

    def __init__(self, width: int = 256):
        super().__init__()
        self.width = width
        self.landmarks = LandmarkNetwork(width)
        self.emotion = EmotionBranch(width)
        self.landmarks_frozen = False

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, S, S), RGB in [0, 1], S a multiple of 64 → embeddings (B, 256)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.landmarks_frozen):
            features = self.landmarks(images)
        return self.emotion(*features)

    def freeze_landmarks(self) -> None:
        """Exclude the landmark network from training: its weights and running statistics stay as they are."""
        self.landmarks_frozen = True
        self.landmarks.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Encoder":
        """Set training or eval mode; a frozen landmark network stays in eval mode."""
        super().train(mode)
        if self.landmarks_frozen:
            self.landmarks.eval()
        return self


class EncodingNetwork(nn.Module):
    """Base class of the networks that work on the embeddings of an encoder.

    Attributes:
        encoder: makes the embeddings.
    """

    encoder: ImageEncoder

    def encode(self, images: Tensor) -> Tensor:
        """images (B, 3, S, S), RGB in [0, 1], S a multiple of 64 → embeddings (B, 256)."""
        return self.encoder(images)

    def estimates(self, embeddings: Tensor) -> Tensor:
        """Return what the network estimates from the faces of a video, to compare two ways of encoding them.

        Args:
            embeddings: (N, 256) of faces of one video. The network must be in eval mode.

        Returns:
            (N, K) estimates, such as valence and arousal.
        """
        raise NotImplementedError


class Affect(NamedTuple):
    """Estimates for B images.

    Attributes:
        expression: (B, classes) logits.
        valence: (B,), roughly in [-1, 1].
        arousal: (B,), roughly in [-1, 1].
    """

    expression: Tensor
    valence: Tensor
    arousal: Tensor


class EmoNet(nn.Module):
    """The complete published network, which estimates valence and arousal without further training.

    Args:
        classes: number of expression classes: 8, or 5 (AffectNet codes 0, 1, 2, 3 and 6).
    """

    def __init__(self, classes: int = 8):
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Sequential(
            nn.Linear(EMBEDDING, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, classes + 2)
        )

    def forward(self, images: Tensor) -> Affect:
        """images (B, 3, 256, 256), RGB in [0, 1] → Affect; valence and arousal are not clipped to [-1, 1]."""
        outputs = self.head(self.encoder(images))
        return Affect(outputs[:, :-2], outputs[:, -2], outputs[:, -1])

    def estimate(self, images: Tensor) -> Affect:
        """Average valence and arousal over each image and its mirror image, as in the published results."""
        direct, mirrored = self(images), self(images.flip(3))
        valence, arousal = (direct.valence + mirrored.valence) / 2, (direct.arousal + mirrored.arousal) / 2
        return Affect(direct.expression, valence, arousal)


# Tensor names of the published files -----------------------------------------------------------------------------

_BLOCK = {"bn": "norm", "conv": "conv", "downsample": "shortcut"}
_STEM = {"conv1": "conv", "bn1": "norm", "conv2": "block1", "conv3": "block2", "conv4": "block3"}
_STAGE = {"m": "hourglass", "top_m_": "top", "conv_last": "conv", "bn_end": "norm", "l": "heatmaps"}
_MERGE = {"bl0": "merge_features", "al0": "merge_heatmaps"}
_HOURGLASS = {"b1": "skip", "b2": "before", "b2_plus": "inner", "b3": "after"}


def rename_published(key: str) -> str:
    """Convert a tensor name of the published emonet_8.pth and emonet_5.pth to its name in `EmoNet`.

    A name that the published files do not have is returned unchanged; loading the state dict then reports it.
    """
    try:
        return _rename(key.removeprefix("module."))
    except (KeyError, ValueError):
        return key


def _rename(key: str) -> str:
    """Convert a published name without the prefix `module.`. Raises KeyError or ValueError for an unknown part."""
    first, _, rest = key.partition(".")
    if first == "emo_fc_2":
        return f"head.{rest}"
    if first == "conv1x1_input_emo_2":
        return f"encoder.emotion.reduce.{rest}"
    if first == "emo_net_2":
        index, _, rest = rest.partition(".")
        return f"encoder.emotion.blocks.{int(index) // 2}.{_rename_in_block(rest)}"
    if first in _MERGE:
        return f"encoder.landmarks.{_MERGE[first]}.{rest}"
    if first in _STEM:
        return f"encoder.landmarks.{_STEM[first]}.{_rename_in_block(rest)}"
    stage = re.fullmatch(r"(m|top_m_|conv_last|bn_end|l)([01])", first)
    if not stage:
        return key
    part, number = _STAGE[stage[1]], int(stage[2]) + 1
    rest = _rename_in_hourglass(rest) if part == "hourglass" else _rename_in_block(rest)
    return f"encoder.landmarks.stage{number}.{part}.{rest}"


def _rename_in_hourglass(rest: str) -> str:
    """Convert a name such as `b2_3.conv1.weight`, where 3 is the level: 4 is outermost, only 1 has `b2_plus`."""
    name, _, rest = rest.partition(".")
    block, _, level = name.rpartition("_")
    return "inner." * (DEPTH - int(level)) + f"{_HOURGLASS[block]}.{_rename_in_block(rest)}"


def _rename_in_block(rest: str) -> str:
    """Convert the part of a name inside a block, such as `bn1.weight`."""
    return re.sub(r"^(bn|conv|downsample)(?=[\d.])", lambda match: _BLOCK[match[1]], rest)
