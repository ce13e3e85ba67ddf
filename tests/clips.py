"""Small videos for tests, benchmarks and pictures."""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from datasets.demo.face import Person
from datasets.demo.paint import draw_face

MARGIN_DIVISOR = 24  # the margin above and below the face is this fraction of the height


def write_video(path: Path, images: Iterable[np.ndarray], fps: float = 25.0) -> Path:
    """Write images (H, W, 3) uint8 BGR as a video; in an .avi each frame is a JPEG of its own."""
    images = iter(images)
    first = next(images)
    codec = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, first.shape[1::-1])
    assert writer.isOpened()
    for image in itertools.chain([first], images):
        writer.write(image)
    writer.release()
    return path


def add_sound(video: Path, path: Path, samples: np.ndarray, delay: float = 0.0, codec: str = "aac") -> Path:
    """Copy a video and give it a sound track.

    Args:
        video: the video, whose picture is copied as it is.
        path: the copy.
        samples: (n,) float32 in [-1, 1], 48,000 a second.
        delay: seconds from the start of the file to that of the sound; negative: to that of the picture.
        codec: of the sound.
    """
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        picture = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream(codec, rate=48_000, layout="mono")
        shift = round(max(-delay, 0) / source.streams.video[0].time_base)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream, packet.pts, packet.dts = picture, packet.pts + shift, packet.dts + shift
                target.mux(packet)
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), round(max(delay, 0) * 48_000)
        target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
    return path


def face_images(
    trace: Iterable[tuple[float, float]],
    person: Person | None = None,
    gap: range = range(0),
    side: int = 240,
    aspect: float = 4 / 3,
) -> Iterator[np.ndarray]:
    """Render a face that follows a trace of valence and arousal, in front of a grey wall.

    Args:
        trace: valence and arousal of each frame, in [-1, 1].
        person: the identity.
        gap: frames without a face.
        side: height of the images in pixels.
        aspect: width / height of the images.

    Yields:
        (side, W, 3) uint8 BGR.
    """
    face, margin = side - 2 * (side // MARGIN_DIVISOR), side // MARGIN_DIVISOR
    width = round(side * aspect) // 2 * 2
    left = (width - face) // 2
    for frame, (valence, arousal) in enumerate(trace):
        canvas = np.full((side, width, 3), 120, np.uint8)
        if frame not in gap:
            picture = draw_face(person or Person(), valence, arousal, size=face)[0]
            canvas[margin : margin + face, left : left + face] = picture
        yield canvas


def render_clip(
    path: Path, trace: np.ndarray, person: Person | None = None, gap: range = range(0), side: int = 240
) -> Path:
    """Write `face_images` as a 16:9 video at 25 frames per second."""
    return write_video(path, face_images(trace, person, gap, side, 16 / 9))
