"""Records the README's picture of the page to label in, asset/annotate.gif: a real session on a demo video.

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

from datasets.demo import label_trace, random_person

FRAMES, LABELS, WIDTH, COLOURS = 220, 5, 900, 256
PAUSE, LAST = 900, 2500  # milliseconds


def main() -> None:
    rng = np.random.default_rng(7)
    trace = label_trace(rng, FRAMES)
    with tempfile.TemporaryDirectory() as folder, browsing(color_scheme="light") as context:
        video = render_clip(Path(folder) / "interview.mp4", trace, random_person(rng), side=360)
        with serving(video, Path(sys.argv[1]), "--runs", folder, "--support_set.annotator_error", "0.05") as server:
            pictures = session(Tab(context, server.url), trace)
    pause = [PAUSE] * (len(pictures) - 1) + [LAST]
    first, *others = (picture.quantize(COLOURS, dither=Image.Dither.NONE) for picture in pictures)
    place = ROOT / "asset" / "annotate.gif"
    first.save(place, save_all=True, append_images=others, duration=pause, loop=0, optimize=True)


def session(tab: Tab, trace: np.ndarray) -> list[Image.Image]:
    """Look, click, next; then a slip of the hand, marked, and taken back."""
    pictures = [shot(tab)]
    for _ in range(LABELS):
        frame = tab.next()
        pictures.append(shot(tab))
        tab.label(*trace[frame])
        pictures.append(shot(tab))
    tab.next()
    tab.label(-0.9, -0.8)
    pictures.append(shot(tab))
    tab.saves(lambda: tab.press("Control+z"))
    pictures.append(shot(tab))
    return pictures


def shot(tab: Tab) -> Image.Image:
    tab.page.wait_for_timeout(250)
    picture = Image.open(io.BytesIO(tab.page.screenshot())).convert("RGB")
    return picture.resize((WIDTH, WIDTH * picture.height // picture.width), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
