"""How fast the annotation page reacts, measured in a real browser.

    python benchmarks/page_speed.py --checkpoint runs/mtclar/<run>/best.pt click anywhere table

- click: in a clip of LONG frames, the time from a click until the new traces, intervals and suggestion are on screen.
- anywhere: over VIDEOS videos, the time from Shift+N until the suggested frame is on screen. To save time, the videos
  are copies of CLIPS clips and share the embeddings of these; the program treats them as different videos.
- table: of ROWS videos, the time to open the table, to sort it, and to find a video.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
from clips import render_clip
from page_driver import Tab, browsing, serving
from video_table_page import serving_table

from datasets.demo.people import random_person
from datasets.demo.traces import label_trace

LONG, LOOP, CLICKS = 10_000, 200, 20
VIDEOS, CLIPS, FRAMES, SEARCHES = 200, 10, 225, 20
ROWS, REPEATS = 3000, 10

LIMIT = 60_000  # milliseconds after which a measurement fails

# Milliseconds from `start` until a condition is true.
WAIT = """const wait = async (start, condition, what) => {
  while (!condition()) {
    if (performance.now() - start > LIMIT) throw new Error(`${what} was not on screen after LIMIT ms`);
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - start;
};""".replace("LIMIT", str(LIMIT))
# Milliseconds from the key until the suggested frame, which may be in the same video, is on screen.
SEARCH = f"""async () => {{
  {WAIT}
  const before = annotate.picture.requested, start = performance.now();
  annotate.perform({{ name: "next_anywhere" }});
  const isRequested = () => annotate.picture.requested && annotate.picture.requested !== before;
  const isShown = () => isRequested() && annotate.shownFrame === annotate.requestedFrame;
  return wait(start, isShown, "the suggested frame");
}}"""
# Milliseconds from an action until the first row of the table shows another video.
CHANGE = f"""async (action) => {{
  {WAIT}
  const first = () => document.querySelector(".video-button")?.innerText, before = first(), start = performance.now();
  eval(action);
  return wait(start, () => first() && first() !== before, "another row of the table");
}}"""
ACTIONS = {
    "open": "document.querySelector('.open').click()",
    "sort": "document.querySelectorAll('.sort-button')[1].click()",
    "sort back": "document.querySelectorAll('.sort-button')[3].click()",
}
FIND = """const field = document.querySelector("input[aria-label='Find a video']");
field.value = "{}";
field.dispatchEvent(new Event("input", {{ bubbles: true }}));"""


def main() -> None:
    if "--annotate" in sys.argv:  # This script is also the server of `search_times`.
        serve_copies()
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("sections", nargs="*", default=["click", "anywhere", "table"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browsing() as context:
        network = Path(shutil.copy(arguments.checkpoint, folder))
        for file in arguments.checkpoint.parent.glob("calibration.json"):
            shutil.copy(file, folder)
        if "click" in arguments.sections:
            report(f"click, {LONG} frames", click_times(Path(folder), context, network))
        if "anywhere" in arguments.sections:
            first, *others = search_times(Path(folder) / "copies", context, network)
            report(f"anywhere, {VIDEOS} videos, first", [first])
            report(f"anywhere, {VIDEOS} videos, after a label", others)
        if "table" in arguments.sections:
            for name, times in table_times(context).items():
                report(f"table of {ROWS} videos, {name}", times)


def report(name: str, times: list[float]) -> None:
    """Print the median and the range of times in milliseconds."""
    low, high = np.percentile(times, (10, 90))
    print(f"{name}: median {np.median(times):.0f} ms, 80 % in {low:.0f} to {high:.0f} ms ({len(times)})", flush=True)


def click_times(folder: Path, context, network: Path) -> list[float]:
    """Milliseconds from each click until its result is on screen, for a clip that repeats the same LOOP frames."""
    rng = np.random.default_rng(0)
    loop = label_trace(rng, LOOP)
    trace = np.concatenate((loop, loop[::-1]))
    video = render_clip(folder / "long.mp4", np.tile(trace, (LONG // len(trace), 1)), side=160)
    with serving(video, network, "--detect_every", "5") as server:
        tab, times = Tab(context, server.url), []
        for _ in range(CLICKS + 1):
            tab.next()
            tab.label(*rng.uniform(-0.8, 0.8, 2))
            times.append(tab.page.evaluate("annotate.latency"))
        tab.page.close()
    return times[1:]  # The first click also computes what later ones reuse.


def search_times(folder: Path, context, network: Path) -> list[float]:
    """Milliseconds from Shift+N until the frame is on screen; each frame then gets a label."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for clip in range(CLIPS):
        first = render_clip(folder / f"{clip}_0.mp4", label_trace(rng, FRAMES), random_person(rng), side=160)
        for copy in range(1, VIDEOS // CLIPS):
            shutil.copy(first, folder / f"{clip}_{copy}.mp4")
    with serving(folder, network, "--detect_every", "5", script="benchmarks/page_speed.py") as server:
        assert server.url, server.printed
        tab, times = Tab(context, server.url), []
        for _ in range(SEARCHES + 1):
            times.append(tab.page.evaluate(SEARCH))
            tab.label(*rng.uniform(-0.8, 0.8, 2))
        tab.page.close()
    return times


def serve_copies() -> None:
    """fsl_mtclar.py, with the cache of a video found by its content, so that its copies are not encoded again."""
    from fsl_mtclar import main as serve

    with patch("datasets.video.cached_tracks.video_key", lambda path: hashlib.sha256(path.read_bytes()).hexdigest()):
        serve()


def table_times(context) -> dict[str, list[float]]:
    """Milliseconds that each action takes, with rows as `video_row` returns them."""
    times: dict[str, list[float]] = {name: [] for name in (*ACTIONS, "find")}
    with serving_table(ROWS) as url:
        page = context.new_page()
        for repeat in range(REPEATS):
            page.goto(url)
            page.wait_for_selector(".open")
            page.wait_for_timeout(500)
            for name, action in ACTIONS.items():
                times[name].append(page.evaluate(CHANGE, action))
            times["find"].append(page.evaluate(CHANGE, FIND.format(f"_10{repeat}")))
        page.close()
    return times


if __name__ == "__main__":
    main()
