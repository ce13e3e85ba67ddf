"""Small videos that tests, benchmarks and pictures are made with."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from datasets.demo_face import Person
from datasets.demo_paint import draw_face

EDGE = 24  # the picture's height in edges: the face leaves one free above and below


def write_video(path: Path, images: Iterable[np.ndarray], fps: float = 25.0) -> Path:
    """images (H, W, 3) uint8 BGR; an .avi holds every one by itself, as a JPEG."""
    writer = None
    for image in images:
        if writer is None:
            codec = "MJPG" if path.suffix == ".avi" else "mp4v"
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, image.shape[1::-1])
            assert writer.isOpened()
        writer.write(image)
    writer.release()
    return path


def face_images(
    trace: Iterable[tuple[float, float]], person: Person | None = None, gap=range(0), side: int = 240,
    aspect: float = 4 / 3,
) -> Iterator[np.ndarray]:
    """A rendered face that follows a trace of valence and arousal; an empty room in the gap."""
    face, margin = side - 2 * (side // EDGE), side // EDGE
    width = round(side * aspect) // 2 * 2
    left = (width - face) // 2
    for frame, (valence, arousal) in enumerate(trace):
        canvas = np.full((side, width, 3), 120, np.uint8)
        if frame not in gap:
            picture = draw_face(person or Person(), valence, arousal, size=face)[0]
            canvas[margin : margin + face, left : left + face] = picture
        yield canvas


def render_clip(path: Path, trace: np.ndarray, person: Person | None = None, gap=range(0), side: int = 240) -> Path:
    """A wide video at 25 frames a second of `face_images`."""
    return write_video(path, face_images(trace, person, gap, side, 16 / 9))
