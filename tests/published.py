"""Weights and images from closed formulas, for networks with the published tensor names and shapes."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch

REFERENCE = Path(__file__).parent / "reference"
GOLDEN = json.loads((REFERENCE / "golden.json").read_text())
KEYS = json.loads((REFERENCE / "state_dict_keys.json").read_text())


def weight(key: str, shape: list[int]) -> torch.Tensor:
    """Return the tensor of this name; its values depend on name and shape alone."""
    rng = np.random.RandomState(zlib.crc32(key.encode()))
    w = rng.standard_normal(math.prod(shape)).reshape(shape)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith("running_var"):
        w = 1 + 0.2 * np.tanh(w)
    elif key.endswith("running_mean"):
        w = 0.1 * w
    elif len(shape) == 1:
        w = 1 + 0.1 * w if key.endswith("weight") else 0.05 * w
    else:
        w = w * math.sqrt(0.35 / math.prod(shape[1:]))
    return torch.from_numpy(w.astype(np.float32))


def emonet_state(classes: int = 8, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return a state dict like that of emonet_8.pth or emonet_5.pth. The prefix changes the values, not the names."""
    shapes = dict(KEYS["emonet_8"])
    for name in ("emo_fc_2.3.weight", "emo_fc_2.3.bias"):
        shapes[name] = [classes + 2, *shapes[name][1:]]
    return {key: weight(prefix + key, shape) for key, shape in shapes.items()}


def siamese_state() -> dict[str, torch.Tensor]:
    """Return a state dict like that of the authors' Siamese network."""
    encoder = {f"emo_net.{key}": value for key, value in emonet_state(prefix="emo_net.").items()}
    return encoder | {key: weight(key, shape) for key, shape in KEYS["siamese"].items()}


def images() -> torch.Tensor:
    """Return two images, (2, 3, 256, 256) in [0, 1]."""
    coordinates = np.arange(256) / 256
    x, y = coordinates[None, :], coordinates[:, None]
    waves = [
        [np.sin(2 * np.pi * ((c + 1) * 1.5 * x + (b + 1) * (1 + 0.5 * c) * y) + 0.3 + b + c) for c in range(3)]
        for b in range(2)
    ]
    return torch.from_numpy((0.5 + 0.5 * np.array(waves)).astype(np.float32))
