"""From a face crop to the square that the network sees.

A crop is read with a margin of an eighth; its centre is exactly EmoNet's square, and the margin gives the random
changes of training something to move in.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Transform = Callable[[Tensor], Tensor]

MARGIN = 1.125


def crop_size(image_size: int) -> int:
    """Side of the crop that is read for a network that sees `image_size` pixels."""
    return round(MARGIN * image_size)


class Centre:
    """Evaluation: (3, crop, crop) uint8 → (3, image_size, image_size) uint8."""

    def __init__(self, image_size: int):
        self.image_size = image_size

    def __call__(self, crop: Tensor) -> Tensor:
        start = (crop.shape[1] - self.image_size) // 2
        rows = slice(start, start + self.image_size)
        return crop[:, rows, rows]


def augment(image_size: int, strength: float) -> Transform:
    """Training, same shapes: random affine change, mirror image, random crop. strength 1: as in the paper."""
    from torchvision.transforms import v2  # seconds to import, and only needed to train

    changes: list[v2.Transform] = [v2.RandomHorizontalFlip(), v2.RandomCrop(image_size)]
    if strength:
        affine = v2.RandomAffine(
            degrees=20 * strength,
            translate=(0.2 * strength, 0.2 * strength),
            scale=(1 - 0.2 * strength, 1 + 0.2 * strength),
            shear=0.1 * strength,
            interpolation=v2.InterpolationMode.BILINEAR,
        )
        changes.insert(0, affine)
    return v2.Compose(changes)


def seeded(transform: Transform, image: Tensor, *numbers: int) -> Tensor:
    """The transform with random choices that depend on `numbers` alone: on no worker process, on no history."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash(numbers) & 0x7FFFFFFFFFFFFFFF)
        return transform(image)
