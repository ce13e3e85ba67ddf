"""EmoNet (Toisoul et al., Nature Machine Intelligence 2021): a face-alignment network with an emotion branch.

Two stacked hourglasses find 68 facial landmarks; the emotion branch looks at their features through the
attention mask that the landmark heatmaps make. MT-CLAR keeps everything up to the 256-d embedding.
"""

import re
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EMBEDDING = 256
LANDMARKS = 68
DEPTH = 4  # levels of an hourglass; its input must halve that often


class Block(nn.Module):
    """Pre-activation block: three 3×3 convolutions whose outputs are concatenated, plus a shortcut.

    (B, in, H, W) → (B, out, H, W). The three widths are out/2, out/4 and out/4.
    """

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        half, quarter = channels_out // 2, channels_out // 4
        self.norm1, self.conv1 = nn.BatchNorm2d(channels_in), conv3x3(channels_in, half)
        self.norm2, self.conv2 = nn.BatchNorm2d(half), conv3x3(half, quarter)
        self.norm3, self.conv3 = nn.BatchNorm2d(quarter), conv3x3(quarter, quarter)
        self.shortcut = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.BatchNorm2d(channels_in), nn.ReLU(), nn.Conv2d(channels_in, channels_out, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv1(F.relu(self.norm1(x)))
        b = self.conv2(F.relu(self.norm2(a)))
        c = self.conv3(F.relu(self.norm3(b)))
        return torch.cat((a, b, c), 1) + self.shortcut(x)


def conv3x3(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)


class Hourglass(nn.Module):
    """One level of an hourglass: a skip at this scale, and the next level at half of it.

    (B, C, H, W) → (B, C, H, W); H and W must be divisible by 2**depth.
    """

    def __init__(self, depth: int, channels: int):
        super().__init__()
        self.skip = Block(channels, channels)
        self.before = Block(channels, channels)
        self.inner = Hourglass(depth - 1, channels) if depth > 1 else Block(channels, channels)
        self.after = Block(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        low = self.after(self.inner(self.before(F.max_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(low, scale_factor=2, mode="nearest")


class Stage(nn.Module):
    """An hourglass and what is read off it: features (B, C, H, W) and heatmaps (B, 68, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.hourglass = Hourglass(DEPTH, channels)
        self.top = Block(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.heatmaps = nn.Conv2d(channels, LANDMARKS, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.norm(self.conv(self.top(self.hourglass(x)))))
        return features, self.heatmaps(features)


class LandmarkNetwork(nn.Module):
    """Images → stem features, features of both hourglasses, and the last heatmaps, all at a quarter of the size."""

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
        """images (B, 3, S, S) → x, first, second: (B, width, S/4, S/4), heatmaps: (B, 68, S/4, S/4)."""
        x = F.relu(self.norm(self.conv(images)))
        x = F.max_pool2d(self.block1(x), 2)
        x = self.block3(self.block2(x))
        first, heatmaps = self.stage1(x)
        first = self.merge_features(first)
        second, heatmaps = self.stage2(x + first + self.merge_heatmaps(heatmaps))
        return x, first, second, heatmaps


class EmotionBranch(nn.Module):
    """What the landmark network saw → embedding (B, 256)."""

    def __init__(self, width: int):
        super().__init__()
        self.reduce = nn.Conv2d(3 * width, EMBEDDING, 1)
        self.blocks = nn.ModuleList(Block(EMBEDDING, EMBEDDING) for _ in range(4))

    def forward(self, x: Tensor, first: Tensor, second: Tensor, heatmaps: Tensor) -> Tensor:
        attention = heatmaps.sum(1, keepdim=True)
        features = self.reduce(torch.cat((x, attention * first, attention * second), 1))
        for block in self.blocks:
            features = F.max_pool2d(block(features), 2)
        return features.mean((2, 3))


class Encoder(nn.Module):
    """EmoNet without its head: RGB images in [0, 1], (B, 3, S, S), S a multiple of 64 → embeddings (B, 256).

    `width` is the number of channels in the hourglasses: 256 is the published network; 64 is a narrower one,
    to train from scratch. The size S is free, because the embedding is a mean over
    what is left after pooling: 4×4 cells at the published 256.
    """

    def __init__(self, width: int = 256):
        super().__init__()
        self.width = width
        self.landmarks = LandmarkNetwork(width)
        self.emotion = EmotionBranch(width)
        self.landmarks_frozen = False

    def forward(self, images: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.landmarks_frozen):
            seen = self.landmarks(images)
        return self.emotion(*seen)

    def freeze_landmarks(self) -> None:
        """Keep the landmark network as published: no gradients, and no drift of its running statistics."""
        self.landmarks_frozen = True
        self.landmarks.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Encoder":
        super().train(mode)
        if self.landmarks_frozen:
            self.landmarks.eval()
        return self


class Affect(NamedTuple):
    """EmoNet's own answer for B images: expression logits (B, classes), valence (B,) and arousal (B,)."""

    expression: Tensor
    valence: Tensor
    arousal: Tensor


class EmoNet(nn.Module):
    """The whole published network, for zero-shot estimates. `classes`: 8, or 5 (codes 0, 1, 2, 3 and 6)."""

    def __init__(self, classes: int = 8):
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Sequential(
            nn.Linear(EMBEDDING, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, classes + 2)
        )

    def forward(self, images: Tensor) -> Affect:
        """images (B, 3, 256, 256), RGB in [0, 1]; valence and arousal are not clipped to [-1, 1]."""
        out = self.head(self.encoder(images))
        return Affect(out[:, :-2], out[:, -2], out[:, -1])

    @torch.inference_mode()
    def estimate(self, images: Tensor) -> Affect:
        """As the published figures were made: valence and arousal averaged with those of the mirror images."""
        seen, mirrored = self(images), self(images.flip(3))
        return Affect(
            seen.expression, (seen.valence + mirrored.valence) / 2, (seen.arousal + mirrored.arousal) / 2
        )


# Names ---------------------------------------------------------------------------------------------------------

_BLOCK = {"bn": "norm", "conv": "conv", "downsample": "shortcut"}
_STEM = {"conv1": "conv", "bn1": "norm", "conv2": "block1", "conv3": "block2", "conv4": "block3"}
_STAGE = {"m": "hourglass", "top_m_": "top", "conv_last": "conv", "bn_end": "norm", "l": "heatmaps"}
_MERGE = {"bl0": "merge_features", "al0": "merge_heatmaps"}
_HOURGLASS = {"b1": "skip", "b2": "before", "b2_plus": "inner", "b3": "after"}


def rename_published(key: str) -> str:
    """The name in `EmoNet` of a tensor of the published `emonet_8.pth` and `emonet_5.pth`.

    A key that the published files do not have comes back as it is, for the caller to refuse.
    """
    try:
        return _rename(key.removeprefix("module."))
    except (KeyError, ValueError):
        return key


def _rename(key: str) -> str:
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
    """`b2_3.conv1.weight`: level 4 is the outermost, level 1 holds `b2_plus`."""
    name, _, rest = rest.partition(".")
    block, _, level = name.rpartition("_")
    return "inner." * (DEPTH - int(level)) + f"{_HOURGLASS[block]}.{_rename_in_block(rest)}"


def _rename_in_block(rest: str) -> str:
    return re.sub(r"^(bn|conv|downsample)(?=[\d.])", lambda found: _BLOCK[found[1]], rest)
