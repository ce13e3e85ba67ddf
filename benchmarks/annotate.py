"""The page to label in, with a script for the annotator: does it pay, and how long does a click take?

    python benchmarks/annotate.py --checkpoint runs/mtclar/<run>/best.pt

A real browser labels CLIPS clips of rendered people whom the network has never seen: LABELS labels each, at the frames
that the page suggests, the true labels but for normal errors of SIGMA. The labels that *Finish* writes are compared
with the straight line through EVEN labels at even distances, with errors of the same kind. Then LONG frames are
labelled, and the time from each click to the new traces, bands and suggestion on screen is measured in the browser.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import pandas as pd
from clips import render_clip, write_video
from page_driver import Tab, browsing, serving

from datasets.afewva import read_afewva
from datasets.annotations import AXES
from datasets.demo import label_trace, render_demo
from datasets.faces import read_image
from utils.support_set import uniform_k

CLIPS, FRAMES, SEED = 5, 60, 105
LABELS, EVEN, SIGMA = 6, 12, 0.1
LONG, LOOP, CLICKS = 10_000, 200, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browsing() as context:
        print(labelling_pays(Path(folder), context, arguments).to_string(float_format="{:.3f}".format))
        times = click_times(Path(folder), context, arguments)
    low, high = np.percentile(times, (10, 90))
    print(f"\n{LONG} frames, {len(times)} clicks: median {np.median(times):.0f} ms, 80 % in {low:.0f} to {high:.0f} ms")


def labelling_pays(folder: Path, context, arguments: argparse.Namespace) -> pd.DataFrame:
    """RMSE over all frames of each clip, a row a clip, both axes by both ways."""
    truth, rng = render_clips(folder), np.random.default_rng(0)
    options = ("--runs", arguments.runs, "--support_set.annotator_error", SIGMA)
    with serving(folder / "clips", arguments.checkpoint, *options) as server:
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
    found = pd.read_csv(folder / "labels.csv", dtype={"video": str})
    rows = {}
    for name, true in truth.items():
        table = found[(found["video"] == name) & found["valence"].notna()]
        frames = table["frame"].to_numpy()
        errors = {f"{LABELS} suggested": table[list(AXES)].to_numpy() - true[frames],
                  f"line, {EVEN} even": (straight_line(true, rng) - true)[frames]}  # fmt: skip
        rows[name] = {f"{way}: {axis}": np.sqrt(np.mean(error[:, place] ** 2))
                      for way, error in errors.items() for place, axis in enumerate(AXES)}  # fmt: skip
    table = pd.DataFrame(rows).T
    table.loc["all"] = np.sqrt((table**2).mean())
    return table


def render_clips(folder: Path) -> dict[str, np.ndarray]:
    """MP4s of demo people in folder/clips: name → true labels (FRAMES, 2)."""
    table = read_afewva(render_demo(folder / "demo", SEED, 10, FRAMES, FRAMES), None, 1.0, False)
    truth = {}
    (folder / "clips").mkdir()
    for name, part in list(table.groupby("clip"))[:CLIPS]:
        images = [read_image(path) for path in part.sort_values("frame")["path"]]
        write_video(folder / "clips" / f"{name}.mp4", (image[..., ::-1].copy() for image in images))
        truth[name] = part.sort_values("frame")[list(AXES)].to_numpy(np.float64)
    return truth


def straight_line(true: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    places = uniform_k(true, EVEN, rng)
    labels = np.clip(true[places] + rng.normal(0, SIGMA, (EVEN, 2)), -1, 1)
    return np.stack([np.interp(np.arange(len(true)), places, labels[:, axis]) for axis in range(2)], 1)


def click_times(folder: Path, context, arguments: argparse.Namespace) -> list[float]:
    """Milliseconds from each click to what it changes, for a clip that shows the same LOOP frames again and again."""
    rng = np.random.default_rng(0)
    loop = label_trace(rng, LOOP)
    trace = np.concatenate((loop, loop[::-1]))
    video = render_clip(folder / "long.mp4", np.tile(trace, (LONG // len(trace), 1)), side=160)
    with serving(video, arguments.checkpoint, "--detect_every", "5") as server:
        tab, times = Tab(context, server.url), []
        for _ in range(CLICKS + 1):
            tab.next()
            tab.label(*rng.uniform(-0.8, 0.8, 2))
            times.append(tab.page.evaluate("annotate.took"))
    return times[1:]  # the first one also opens the clip


if __name__ == "__main__":
    main()
