"""Face crops of a frame table, their cache on disk, and the torch datasets that load them."""

import copy
import hashlib
import logging
import os
import shutil
import zlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from datasets.columns import BOX
from datasets.faces import MARGIN, crop_face, crop_size, read_image
from datasets.frames import PIXEL_ASPECT
from datasets.transforms import CentreCrop, apply_seeded, augment
from utils.base.errors import DataError, StorageError
from utils.base.files import write_atomically

logger = logging.getLogger(__name__)

RESERVED_BYTES = 1e9
"""Free disk space that the cache leaves for checkpoints."""


class CropCache:
    """Crops on disk, one small file each, so that several runs can read and fill the cache at the same time.

    A full cache or a folder that cannot be written is no error: the crops are then made anew each time.

    Args:
        folder: holds the cache; created when the first crop is written.
        limit: largest size of the whole cache in bytes. It is exceeded if several loaders or runs fill the cache at the
            same time, since each measures the size only at its first crop.
        ranks: number of ranks that fill the cache, each up to an equal share of what is left.
    """

    def __init__(self, folder: Path, limit: float, ranks: int = 1):
        self.folder, self.limit, self.ranks = folder, limit, ranks
        self.remaining_bytes: float | None = None  # bytes that may still be written; None = not yet determined

    def path(self, key: tuple) -> Path:
        """Path of the crop with this key (see `FaceCrops.key`)."""
        name = hashlib.sha256(repr(key).encode()).hexdigest()
        return self.folder / name[:2] / f"{name[2:34]}.npy"

    def read(self, path: Path) -> np.ndarray | None:
        """The array in a file of the cache; None if it is missing or damaged."""
        try:
            return np.load(path, allow_pickle=False)
        except Exception:  # numpy may raise any exception for a damaged file
            return None

    def write(self, path: Path, crop: np.ndarray) -> None:
        """Write a crop unless the cache is full; after a failure, log it and write nothing more."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.remaining_bytes is None:
                self.remaining_bytes = self._available_bytes()
            if crop.nbytes > self.remaining_bytes:
                return
            # Not durable: a file damaged by a crash is recognised, and its crop is made anew.
            write_atomically(path, lambda temporary: _save(temporary, crop), durable=False)
            self.remaining_bytes -= crop.nbytes
        except (OSError, StorageError) as error:
            logger.warning("face crops are not cached any more: %s", error)
            self.remaining_bytes = 0

    def _available_bytes(self) -> float:
        """Bytes that this process may write: its share of the limit and of the free disk space."""
        used = sum(file.stat().st_size for file in self.folder.glob("*/*.npy"))
        free = shutil.disk_usage(self.folder).free - RESERVED_BYTES
        worker = get_worker_info()
        processes = self.ranks * (worker.num_workers if worker else 1)
        return min(self.limit - used, free) / processes


def _save(path: Path, crop: np.ndarray) -> None:
    """Write an array under exactly this path; given a path, np.save would append .npy."""
    with path.open("wb") as file:
        np.save(file, crop, allow_pickle=False)


class FaceCrops:
    """The face crops of a frame table: `crops[row]` is (3, S, S) uint8 RGB with S = crop_size(image_size).

    Args:
        frames: frame table of N rows.
        image_size: side in pixels of the image that the network sees.
        cache: where crops are kept; None = made anew each time.

    Attributes:
        paths: (N,) str, absolute paths of the images.
        boxes: (N, 4) float64, landmark boxes in pixels.
        aspects: (N,) width / height of one pixel as shown.
        image_size: as given.
        cache: as given.
    """

    def __init__(self, frames: pd.DataFrame, image_size: int, cache: CropCache | None):
        self.paths = frames["path"].to_numpy(object)
        self.boxes = frames[BOX].to_numpy(np.float64)
        self.aspects = frames[PIXEL_ASPECT].fillna(1).to_numpy() if PIXEL_ASPECT in frames else np.ones(len(frames))
        self.image_size, self.cache = image_size, cache

    def __len__(self) -> int:
        return len(self.paths)

    @classmethod
    def concatenate(cls, parts: list["FaceCrops"]) -> "FaceCrops":
        """Concatenate the crops of several tables, all with the same image size and cache."""
        joined = copy.copy(parts[0])
        for name in ("paths", "boxes", "aspects"):
            setattr(joined, name, np.concatenate([getattr(part, name) for part in parts]))
        return joined

    def key(self, row: int) -> tuple:
        """Everything that `self[row]` depends on."""
        return self.crop_key(row)

    def crop_key(self, row: int) -> tuple:
        """Everything that the crop of a row depends on: the file and when it was written, the box, the sizes."""
        path = self.paths[row]
        try:
            state = os.stat(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); restore the file or drop its row") from None
        box, aspect = self.boxes[row].tolist(), float(self.aspects[row])
        return os.path.abspath(path), state.st_mtime_ns, state.st_size, box, aspect, self.image_size, MARGIN

    def __getitem__(self, row: int) -> Tensor:
        size = crop_size(self.image_size)
        if self.cache is None:
            return as_tensor(self._crop(row, size))
        path = self.cache.path(self.crop_key(row))  # Augmented copies share the file of their crop.
        crop = self.cache.read(path)
        if crop is None or crop.shape != (size, size, 3) or crop.dtype != np.uint8:
            crop = self._crop(row, size)
            self.cache.write(path, crop)
        return as_tensor(crop)

    def _crop(self, row: int, size: int) -> np.ndarray:
        """Read the image of a row and crop its face, (size, size, 3)."""
        path = self.paths[row]
        try:
            return crop_face(read_image(path), self.boxes[row], size, MARGIN, float(self.aspects[row]))
        except DataError as error:
            raise DataError(str(error) if path in str(error) else f"{path}: {error}") from None


class AugmentedCrops(FaceCrops):
    """A fixed augmented copy of crops: `crops[row]` is (3, image_size, image_size) uint8.

    The images already have the network's size, which the centre crop of evaluation leaves unchanged. The augmentation
    of an image depends only on the seed, the number of the copy, and the path of the image.

    Args:
        crops: the crops to augment.
        strength: of the augmentation, see `datasets.transforms.augment`.
        seed: seed of the random numbers.
        copy: number of the copy; each copy is augmented differently.
    """

    def __init__(self, crops: FaceCrops, strength: float, seed: int, copy: int):
        vars(self).update(vars(crops))
        self.strength, self.seed, self.copy = strength, seed, copy
        self.transform = augment(crops.image_size, strength)

    def key(self, row: int) -> tuple:
        """As in `FaceCrops`, with everything that the augmentation depends on."""
        return *super().key(row), "changed", self.strength, self.seed, self.copy

    def __getitem__(self, row: int) -> Tensor:
        image = super().__getitem__(row)
        return apply_seeded(self.transform, image, self.seed, self.copy, zlib.crc32(os.fsencode(self.paths[row])))


def as_tensor(crop: np.ndarray) -> Tensor:
    """Convert an image (H, W, 3) to a tensor (3, H, W) that shares its memory if it is contiguous."""
    return torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)


def shrink_to_width(image: np.ndarray, width: int) -> np.ndarray:
    """Shrink an image (H, W, 3) to a width in pixels, keeping its proportions; a narrower image stays as it is."""
    scale = width / image.shape[1]
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image


class EvaluationImages(Dataset):
    """The images of evaluation, row by row: `images[row]` is (3, image_size, image_size) uint8, cropped centrally."""

    def __init__(self, crops: FaceCrops):
        self.crops, self.transform = crops, CentreCrop(crops.image_size)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, row: int) -> Tensor:
        return self.transform(self.crops[row])


class TrainingImages(Dataset):
    """Batches of augmented images: `images[epoch, step, rows]` is (N, 3, image_size, image_size) uint8 for rows (N,).

    The augmentation of an image depends only on the seed, the epoch, the step and its index in the batch.

    Args:
        crops: the crops to draw from.
        strength: of the augmentation, see `datasets.transforms.augment`.
        seed: seed of the random numbers.
    """

    def __init__(self, crops: FaceCrops, strength: float, seed: int):
        self.crops, self.seed = crops, seed
        self.transform = augment(crops.image_size, strength)

    def __getitem__(self, item: tuple[int, int, np.ndarray]) -> Tensor:
        epoch, step, rows = item
        return torch.stack(
            [
                apply_seeded(self.transform, self.crops[row], self.seed, epoch, step, index)
                for index, row in enumerate(rows)
            ]
        )
