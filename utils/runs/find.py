"""Finds run folders and their checkpoints."""

import re
from pathlib import Path


def find_runs(folder: Path, name: str = "", file: str = "best.pt") -> list[Path]:
    """Return the run folders in a folder, newest first.

    Args:
        folder: the folder of a script's runs, such as runs/mtclar.
        name: the name of the run (`--name`, by default that of the data set); empty: all names.
        file: only runs that contain this file, themselves or in a fold's subfolder, count.
    """
    pattern = re.compile(rf"[\d-]+_[\d-]+_{re.escape(name)}(\+\d+)?" if name else ".*")
    runs = [path for path in folder.glob("*") if pattern.fullmatch(path.name) and find_checkpoints(path, file)]
    return sorted(runs, key=lambda run: run.name, reverse=True)


def network_file(path: Path) -> Path:
    """Return the weights in a folder that `mtclar.py --export` wrote; any other path is returned as it is."""
    file = path / "model.safetensors"
    return file if file.is_file() else path


def find_checkpoints(run: Path, file: str) -> list[Path]:
    """Return the files with this name in a run folder and in the subfolders of its folds."""
    return [path for path in (run / file, *sorted(run.glob(f"fold_*/{file}"))) if path.exists()]
