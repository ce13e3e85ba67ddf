"""Transforms from a face crop to the square image that the network sees.

A crop is larger than that square by the factor `datasets.faces.MARGIN`. Its centre is exactly EmoNet's square; the
margin leaves room for the random shifts of training.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Transform = Callable[[Tensor], Tensor]


class CentreCrop:
    """The transform of evaluation: cuts the centre, (3, image_size, image_size), out of a crop (3, S, S)."""

    def __init__(self, image_size: int):
        self.image_size = image_size

    def __call__(self, crop: Tensor) -> Tensor:
        start = (crop.shape[1] - self.image_size) // 2
        rows = slice(start, start + self.image_size)
        return crop[:, rows, rows]


def augment(image_size: int, strength: float) -> Transform:
    """Build the random transform of training: affine transform, horizontal flip, random crop.

    Args:
        image_size: side in pixels of the resulting image, (3, image_size, image_size) uint8 like its input.
        strength: factor on all ranges of the affine transform, in [0, 1]; 1 is the paper's setting, 0 leaves only
            flip and crop.
    """
    from torchvision.transforms import v2  # takes seconds to import, and only training needs it

    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(), v2.RandomCrop(image_size)]
    if strength:
        affine = v2.RandomAffine(
            degrees=20 * strength,
            translate=(0.2 * strength, 0.2 * strength),
            scale=(1 - 0.2 * strength, 1 + 0.2 * strength),
            shear=0.1 * strength,
            interpolation=v2.InterpolationMode.BILINEAR,
        )
        steps.insert(0, affine)
    return v2.Compose(steps)


def apply_seeded(transform: Transform, image: Tensor, *seeds: int) -> Tensor:
    """Apply a random transform seeded by `seeds` alone, so that no worker process or earlier image affects it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash(seeds) & 0x7FFFFFFFFFFFFFFF)
        return transform(image)
