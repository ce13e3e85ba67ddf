"""Time reading and pairing a synthetic AffectNet of the original number of rows. `throughput.py` runs this.

It is a script of its own, so that PyTorch does not count in the peak memory.

python -m benchmarks.affectnet_rows make <folder>
python -m benchmarks.affectnet_rows read <folder>      print rows, seconds, peak memory in MB, pairs per second
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measure import peak_memory, seconds
from datasets.affectnet import CSV_COLUMNS, read_affectnet
from datasets.pairs import SameExpression, draw_pairs

ROWS, PAIRS = 300_000, 10**6


def make_affectnet(root: Path) -> None:
    """Write the folder of AffectNet's 2017 release with ROWS rows and empty images."""
    rng = np.random.default_rng(0)
    names = [f"{row % 300}/{row}.jpg" for row in range(ROWS)]
    for folder in range(300):
        (root / "Manually_Annotated_Images" / str(folder)).mkdir(parents=True)
    for name in names:
        (root / "Manually_Annotated_Images" / name).touch()
    points = rng.uniform(20, 200, (1000, 136)).round(2)
    landmarks = np.array([";".join(map(str, line)) for line in points])[np.arange(ROWS) % len(points)]
    rows = pd.DataFrame({"subDirectory_filePath": names, "facial_landmarks": landmarks})
    rows[["face_x", "face_y", "face_width", "face_height"]] = 0, 0, 224, 224
    rows["expression"] = rng.integers(0, 8, ROWS)
    rows[["valence", "arousal"]] = rng.uniform(-0.7, 0.7, (ROWS, 2)).round(3)
    rows = rows[list(CSV_COLUMNS)]
    rows.to_csv(root / "training.csv", index=False)
    rows[:1000].to_csv(root / "validation.csv", index=False)


def read_affectnet_rows(root: Path) -> None:
    """Print the number of rows, the seconds and peak memory (MB) of reading them, and the pairs drawn per second."""
    started = time.perf_counter()
    frames = read_affectnet(root).training
    took, memory = time.perf_counter() - started, peak_memory()
    criterion, rng = SameExpression(frames), np.random.default_rng(0)
    print(len(frames), took, memory, PAIRS / seconds(lambda: draw_pairs(criterion, PAIRS, rng)))


if __name__ == "__main__":
    {"make": make_affectnet, "read": read_affectnet_rows}[sys.argv[1]](Path(sys.argv[2]))
