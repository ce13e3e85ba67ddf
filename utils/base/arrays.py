"""Arrays on disk: .npz files that can be loaded without running code from them."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from utils.base.files import make_folder, write_atomically


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of an .npz file by name; None if the file is missing, damaged or not from `save_arrays`."""
    try:
        with zipfile.ZipFile(path) as content:
            # save_arrays never compresses, and a compressed file could unpack to any size.
            if any(part.compress_type != zipfile.ZIP_STORED for part in content.infolist()):
                return None
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except Exception:  # zipfile and numpy may raise any exception for damaged bytes
        return None


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed .npz file atomically, and its folder if that is missing. Raises StorageError."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # mypy takes an array for allow_pickle

    make_folder(path.parent)
    write_atomically(path, write)
