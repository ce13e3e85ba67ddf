"""The annotation page, used by a script: the error of the labels.

    python benchmarks/annotate.py --checkpoint runs/mtclar/<run>/best.pt

In a real browser, a script labels CLIPS clips of rendered people whom the network has never seen: LABELS labels per
clip, at the frames that the page suggests, equal to the true labels plus normal errors of standard deviation SIGMA. The
labels that *Finish* writes are compared with linear interpolation between EVEN evenly spaced labels with errors of the
same distribution. Neither method is told SIGMA: the page estimates it, and the interpolation is not smoothed.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import pandas as pd
from clips import write_video
from page_driver import Tab, browsing, serving

from datasets.afewva import read_afewva
from datasets.columns import AXES
from datasets.demo.dataset import render_demo
from datasets.faces import read_image
from utils.labelling.support import uniform_k

CLIPS, FRAMES, SEED = 5, 60, 105
LABELS, EVEN, SIGMA = 6, 12, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browsing() as context:
        print(labelling_errors(Path(folder), context, arguments).to_string(float_format="{:.3f}".format))


def labelling_errors(folder: Path, context, arguments: argparse.Namespace) -> pd.DataFrame:
    """RMSE over all frames, one row per clip, for both methods and axes."""
    truth, rng = render_clips(folder), np.random.default_rng(0)
    with serving(folder / "clips", arguments.checkpoint, "--runs", arguments.runs) as server:
        tab = Tab(context, server.url)
        for name, true in truth.items():
            tab.page.get_by_label("Choose a video").click()
            tab.page.get_by_role("button", name=f"{name}.mp4").click()
            tab.page.wait_for_selector(".q-dialog", state="detached")
            tab.ready()
            for _ in range(LABELS):
                frame = tab.next()
                tab.label(*np.clip(true[frame] + rng.normal(0, SIGMA, 2), -1, 1))
        tab.page.get_by_role("button", name="Finish").click()
        tab.page.wait_for_selector(".finished", timeout=300_000)
        folder = Path(tab.text(".finished").removeprefix("All outputs are in "))
    labels = pd.read_csv(folder / "labels.csv", dtype={"video": str})
    rows = {}
    for name, true in truth.items():
        table = labels[(labels["video"] == name) & labels["valence"].notna()]
        frames = table["frame"].to_numpy()
        errors = {
            f"{LABELS} suggested": table[list(AXES)].to_numpy() - true[frames],
            f"linear, {EVEN} even": (linear_labels(true, rng) - true)[frames],
        }
        rows[name] = {
            f"{method}: {axis}": np.sqrt(np.mean(error[:, column] ** 2))
            for method, error in errors.items()
            for column, axis in enumerate(AXES)
        }
    table = pd.DataFrame(rows).T
    table.loc["all"] = np.sqrt((table**2).mean())
    return table


def render_clips(folder: Path) -> dict[str, np.ndarray]:
    """Write MP4s of demo people to folder/clips: name → true labels (FRAMES, 2)."""
    table = read_afewva(render_demo(folder / "demo", SEED, 10, FRAMES, FRAMES), None, 1.0, False)
    truth = {}
    (folder / "clips").mkdir()
    for name, part in list(table.groupby("clip"))[:CLIPS]:
        images = [read_image(path) for path in part.sort_values("frame")["path"]]
        write_video(folder / "clips" / f"{name}.mp4", (image[..., ::-1].copy() for image in images))
        truth[name] = part.sort_values("frame")[list(AXES)].to_numpy(np.float64)
    return truth


def linear_labels(true: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Linear interpolation (N, 2) between EVEN labels with errors, given the true labels (N, 2)."""
    frames = uniform_k(true, EVEN, rng)
    labels = np.clip(true[frames] + rng.normal(0, SIGMA, (EVEN, 2)), -1, 1)
    return np.stack([np.interp(np.arange(len(true)), frames, labels[:, axis]) for axis in range(2)], 1)


if __name__ == "__main__":
    main()
