"""Face crops of a frame table, and the torch datasets that hand them to training and to encoding."""

import copy
import hashlib
import logging
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from datasets.faces import crop_face, read_image
from datasets.frames import PIXEL_ASPECT, DataError
from datasets.transforms import MARGIN, Centre, augment, crop_size, seeded
from utils.errors import StorageError
from utils.files import write_whole

log = logging.getLogger(__name__)

LEFT_FREE = 1e9  # bytes

class CropCache:
    """Crops on disk, keyed by file, size and box: one small file each, so that runs can share it and fill it at once.

    A crop that does not fit any more (limit in bytes), or a folder that cannot be written, only costs time.
    """

    def __init__(self, folder: Path, limit: float):
        self.folder, self.limit = folder, limit
        self.room: float | None = None

    def path(self, key: tuple) -> Path:
        """Where the crop of this key (see `FaceCrops.key`) lies."""
        name = hashlib.sha256(repr(key).encode()).hexdigest()
        return self.folder / name[:2] / f"{name[2:34]}.npy"

    def read(self, path: Path) -> np.ndarray | None:
        try:
            return np.load(path, allow_pickle=False)
        except Exception:  # none there, or a damaged one, for which numpy declares no errors: it is cut anew
            return None

    def write(self, path: Path, crop: np.ndarray) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.room is None:
                self.room = self._find_room()
            if crop.nbytes > self.room:
                return
            write_whole(path, lambda temporary: _save(temporary, crop), durable=False)  # a broken one is cut anew
            self.room -= crop.nbytes
        except (OSError, StorageError) as error:
            log.warning("face crops are not cached any more: %s", error)
            self.room = 0

    def _find_room(self) -> float:
        """Bytes that this process may add; the disk keeps room for checkpoints."""
        used = sum(file.stat().st_size for file in self.folder.glob("*/*.npy"))
        free = shutil.disk_usage(self.folder).free - LEFT_FREE
        worker = get_worker_info()
        return min(self.limit - used, free) / (worker.num_workers if worker else 1)


def _save(path: Path, crop: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, crop, allow_pickle=False)


class FaceCrops:
    """The crops of a frame table, with the margin that transforms need: `crops[row]` → (3, crop, crop) uint8."""

    def __init__(self, frames: pd.DataFrame, image_size: int, cache: CropCache | None):
        self.paths = frames["path"].to_numpy(object)
        self.boxes = frames[["left", "top", "right", "bottom"]].to_numpy(np.float64)
        self.aspects = frames[PIXEL_ASPECT].fillna(1).to_numpy() if PIXEL_ASPECT in frames else np.ones(len(frames))
        self.image_size, self.cache = image_size, cache

    def __len__(self) -> int:
        return len(self.paths)

    @classmethod
    def joined(cls, parts: list["FaceCrops"]) -> "FaceCrops":
        """The crops of several tables, one after the other; all of one image size."""
        whole = copy.copy(parts[0])
        for name in ("paths", "boxes", "aspects"):
            setattr(whole, name, np.concatenate([getattr(part, name) for part in parts]))
        return whole

    def key(self, row: int) -> tuple:
        """All that a crop depends on: the file, when it was written, the box, the size."""
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
            return as_tensor(self._cut(row, size))
        place = self.cache.path(self.key(row))
        crop = self.cache.read(place)
        if crop is None or crop.shape != (size, size, 3) or crop.dtype != np.uint8:
            crop = self._cut(row, size)
            self.cache.write(place, crop)
        return as_tensor(crop)

    def _cut(self, row: int, size: int) -> np.ndarray:
        path = self.paths[row]
        try:
            return crop_face(read_image(path), self.boxes[row], size, MARGIN, float(self.aspects[row]))
        except DataError as error:
            raise DataError(str(error) if path in str(error) else f"{path}: {error}") from None


class ChangedCrops(FaceCrops):
    """Crops changed once and for all, as training changes images: `crops[row]` → (3, S, S) uint8.

    They are of the network's size already, which the centre crop of evaluation leaves as it is. What chance does to
    an image depends on the seed, the copy's number and the image's path alone.
    """

    def __init__(self, crops: FaceCrops, strength: float, seed: int, copy: int):
        vars(self).update(vars(crops))
        self.strength, self.seed, self.copy = strength, seed, copy
        self.transform = augment(crops.image_size, strength)

    def key(self, row: int) -> tuple:
        return *super().key(row), "changed", self.strength, self.seed, self.copy

    def __getitem__(self, row: int) -> Tensor:
        image = super().__getitem__(row)
        return seeded(self.transform, image, self.seed, self.copy, zlib.crc32(os.fsencode(self.paths[row])))


def as_tensor(crop: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)


class EvaluationImages(Dataset):
    """Rows of the table, in order, each as the network sees it: (3, S, S) uint8."""

    def __init__(self, crops: FaceCrops):
        self.crops, self.transform = crops, Centre(crops.image_size)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, row: int) -> Tensor:
        return self.transform(self.crops[row])


class TrainingImages(Dataset):
    """Batches of images, changed at random: `images[epoch, step, rows]` → (N, 3, S, S) uint8 for rows (N,).

    What chance does to an image depends on the seed, the epoch, the step and the image's place alone.
    """

    def __init__(self, crops: FaceCrops, strength: float, seed: int):
        self.crops, self.seed = crops, seed
        self.transform = augment(crops.image_size, strength)

    def __getitem__(self, item: tuple[int, int, np.ndarray]) -> Tensor:
        epoch, step, rows = item
        return torch.stack([
            seeded(self.transform, self.crops[row], self.seed, epoch, step, place)
            for place, row in enumerate(rows)
        ])  # fmt: skip
