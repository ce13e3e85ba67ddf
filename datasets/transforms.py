"""From a face crop to the square that the network sees.

A crop is read with a margin of an eighth; its centre is exactly EmoNet's square, and the margin gives the random
changes of training something to move in.
"""

import torch
from torch import Tensor
from torchvision.transforms import v2

MARGIN = 1.125


def crop_size(image_size: int) -> int:
    """Side of the crop that is read for a network that sees `image_size` pixels."""
    return round(MARGIN * image_size)


def centre(image_size: int) -> v2.Transform:
    """Evaluation: (3, crop, crop) uint8 → (3, image_size, image_size) uint8."""
    return v2.CenterCrop(image_size)


def augment(image_size: int, strength: float) -> v2.Transform:
    """Training, same shapes: random affine change, mirror image, random crop. strength 1: as in the paper."""
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


def seeded(transform: v2.Transform, image: Tensor, *numbers: int) -> Tensor:
    """The transform with random choices that depend on `numbers` alone: on no worker process, on no history."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash(numbers) & 0x7FFFFFFFFFFFFFFF)
        return transform(image)
