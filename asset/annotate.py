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

FRAMES, FPS, LABELS = 220, 25, 3
LAG, PICTURES_OF_RATING = 10, 3  # The rating follows the face by so many frames.
WIDTH, COLOURS = 900, 192
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
    """Screenshots of a rating, of labels at suggested frames, and of a wrong label, which is marked and undone."""
    pictures = [screenshot(tab), *rate_and_record(tab, trace)]
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


def rate_and_record(tab: Tab, trace: np.ndarray) -> list[Image.Image]:
    """Screenshots of a rating while the video plays, and of its result."""
    tab.until("annotate.player.ready")
    tab.press("r")
    tab.until("annotate.rating.waiting")
    tab.move_in_plane(*trace[0])
    tab.until("annotate.rating.recording")
    pictures: list[Image.Image] = []
    while tab.page.evaluate("annotate.rating.recording"):
        frame = min(int(tab.page.evaluate("annotate.player.now()") * FPS), FRAMES - 1)
        tab.move_in_plane(*trace[max(0, frame - LAG)])
        if frame >= FRAMES * (len(pictures) + 1) // (PICTURES_OF_RATING + 1) and len(pictures) < PICTURES_OF_RATING:
            pictures.append(screenshot(tab, wait=0))
    tab.until("annotate.pending.size === 0")
    return [*pictures, screenshot(tab)]


def screenshot(tab: Tab, wait: int = 250) -> Image.Image:
    """The page at the width of the GIF, after so many milliseconds."""
    tab.page.wait_for_timeout(wait)
    picture = Image.open(io.BytesIO(tab.page.screenshot())).convert("RGB")
    return picture.resize((WIDTH, WIDTH * picture.height // picture.width), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
