"""The overlay: the video with face boxes, the latest seconds of both traces, and a point in the plane of both axes."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from datasets.columns import BOX
from datasets.images import shrink_to_width
from datasets.video.reading import Video
from utils.base.errors import DataError

STRIP_HEIGHT = 120  # height in pixels of the strip below the picture; also the side of the plane at its right
MAX_WIDTH = 960  # wider videos are shrunk to this width in pixels
SHOWN_SECONDS = 10  # length of the traces on the strip
MARGIN = 8  # pixels
COLOURS = {"valence": (255, 160, 40), "arousal": (60, 170, 255)}
BACKGROUND, GRID, TEXT = (24, 24, 24), (70, 70, 70), (220, 220, 220)


def write_overlay(path: Path, video: Video, labels: pd.DataFrame) -> None:
    """Write the overlay as an H.264 MP4.

    Args:
        path: file to write.
        video: the video.
        labels: its table, as `outputs.video_table` returns it.

    Raises:
        DataError: the package that encodes videos is missing.
    """
    try:
        import av
    except ImportError as error:
        raise DataError(f"--overlay needs the package av: pip install av ({error})") from error
    with av.open(str(path), "w", format="mp4") as container:
        stream = None
        for image in overlay_frames(video, labels):
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1001))
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt, stream.options = "yuv420p", {"crf": "20"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode(None))


def overlay_frames(video: Video, labels: pd.DataFrame) -> Iterator[np.ndarray]:
    """Yield the overlay of each frame, (H, W, 3) uint8 RGB; H and W are even, as H.264 requires."""
    faces = labels[labels["track"].notna()].sort_values("frame")
    frames = faces["frame"].to_numpy()
    longest = faces[faces["track"] == faces["track"].mode().iloc[0]] if len(faces) else faces
    for frame, time, image in video:
        scale = min(1.0, MAX_WIDTH / image.shape[1])
        small = shrink_to_width(image, MAX_WIDTH)
        height, width = (side // 2 * 2 for side in small.shape[:2])
        picture = small[:height, :width].copy()
        for row in faces.iloc[slice(*np.searchsorted(frames, [frame, frame + 1]))].itertuples():
            _draw_face(picture, np.array([getattr(row, edge) for edge in BOX]) * scale, row)
        yield np.vstack((picture, _draw_strip(longest, frame, time, width)))


def _draw_face(picture: np.ndarray, box: np.ndarray, row: Any) -> None:
    """Draw the face box and the labels of a row of the table."""
    left, top, right, bottom = (int(round(edge)) for edge in box)
    colour = (255, 190, 60) if row.support else (235, 235, 235)
    cv2.rectangle(picture, (left, top), (right, bottom), colour, 2, cv2.LINE_AA)
    text = f"v {row.valence:+.2f}  a {row.arousal:+.2f}" + ("  label" if row.support else "")
    for ink, shift in ((BACKGROUND, 1), (colour, 0)):  # A shadow makes the text legible on any background.
        origin = left + shift, max(14, top - MARGIN) + shift
        cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, 1, cv2.LINE_AA)


def _draw_strip(rows: pd.DataFrame, frame: int, time: float, width: int) -> np.ndarray:
    """(STRIP_HEIGHT, width, 3): the latest seconds of both traces, and the plane at the right."""
    strip = np.full((STRIP_HEIGHT, width, 3), BACKGROUND, np.uint8)
    traces = width - STRIP_HEIGHT
    cv2.line(strip, (0, STRIP_HEIGHT // 2), (traces, STRIP_HEIGHT // 2), GRID, 1)
    past = rows[(rows["time"] > time - SHOWN_SECONDS) & (rows["frame"] <= frame)]
    age = (time - past["time"].to_numpy()) / SHOWN_SECONDS
    x = (traces - MARGIN - age * (traces - 2 * MARGIN)).astype(int)
    for index, (axis, colour) in enumerate(COLOURS.items()):
        y = _to_y(past[axis].to_numpy())
        cv2.polylines(strip, [np.stack((x, y), 1)], False, colour, 1, cv2.LINE_AA)
        for point in zip(x[past["support"]].tolist(), y[past["support"]].tolist(), strict=True):
            cv2.circle(strip, point, 4, colour, -1, cv2.LINE_AA)
        cv2.putText(strip, axis, (6, 16 + 18 * index), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    now = past[past["frame"] == frame]
    _draw_plane(strip[:, traces:], now.iloc[0] if len(now) else None)
    return strip


def _to_y(values: np.ndarray) -> np.ndarray:
    """Vertical positions in the strip, in pixels, of values in [-1, 1]."""
    return np.round(STRIP_HEIGHT / 2 - values * (STRIP_HEIGHT / 2 - MARGIN)).astype(int)


def _draw_plane(panel: np.ndarray, row: pd.Series | None) -> None:
    """Draw the valence-arousal plane, with a point for the labels of the row."""
    middle, end = STRIP_HEIGHT // 2, STRIP_HEIGHT - MARGIN
    cv2.rectangle(panel, (MARGIN, MARGIN), (end, end), GRID, 1)
    cv2.line(panel, (MARGIN, middle), (end, middle), GRID, 1)
    cv2.line(panel, (middle, MARGIN), (middle, end), GRID, 1)
    if row is not None:
        point = int(round(middle + row["valence"] * (middle - MARGIN))), int(_to_y(row["arousal"]))
        cv2.circle(panel, point, 5, TEXT, -1, cv2.LINE_AA)
