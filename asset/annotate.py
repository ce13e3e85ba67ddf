"""Records the README's picture of the annotation page, asset/annotate.gif: a scripted session on a demo video.

python asset/annotate.py runs/mtclar/<run>/best.pt
"""

import io
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
from clips import render_clip
from page_driver import Tab, browsing, serving
from PIL import Image

from datasets.demo.people import random_person
from datasets.demo.traces import label_trace

FRAMES, LABELS = 220, 5
WIDTH, COLOURS = 900, 256
DURATION, LAST_DURATION = 900, 2500  # milliseconds that a picture is shown


def main() -> None:
    rng = np.random.default_rng(7)
    trace = label_trace(rng, FRAMES)
    with tempfile.TemporaryDirectory() as folder, browsing(color_scheme="light") as context:
        video = render_clip(Path(folder) / "interview.mp4", trace, random_person(rng), side=360)
        with serving(video, Path(sys.argv[1]), "--runs", folder, "--support_set.annotator_error", "0.05") as server:
            pictures = label_and_record(Tab(context, server.url), trace)
    durations = [DURATION] * (len(pictures) - 1) + [LAST_DURATION]
    first, *others = (picture.quantize(COLOURS, dither=Image.Dither.NONE) for picture in pictures)
    first.save(
        ROOT / "asset" / "annotate.gif", save_all=True, append_images=others, duration=durations, loop=0, optimize=True
    )


def label_and_record(tab: Tab, trace: np.ndarray) -> list[Image.Image]:
    """Screenshots of labelling the suggested frames, then of a wrong label, which is marked, and of its undoing."""
    pictures = [screenshot(tab)]
    for _ in range(LABELS):
        frame = tab.next()
        pictures.append(screenshot(tab))
        tab.label(*trace[frame])
        pictures.append(screenshot(tab))
    tab.next()
    tab.label(-0.9, -0.8)
    pictures.append(screenshot(tab))
    tab.wait_for_answer(lambda: tab.press("Control+z"))
    pictures.append(screenshot(tab))
    return pictures


def screenshot(tab: Tab) -> Image.Image:
    """The page at the width of the GIF."""
    tab.page.wait_for_timeout(250)
    picture = Image.open(io.BytesIO(tab.page.screenshot())).convert("RGB")
    return picture.resize((WIDTH, WIDTH * picture.height // picture.width), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
