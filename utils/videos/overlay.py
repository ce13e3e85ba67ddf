"""The video itself with its labels drawn on: face box, running traces, and the moving point of valence and arousal."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from datasets.frames import DataError
from datasets.tracks import BOX
from datasets.video import Video

PANEL = 120  # height in pixels of the strip below the picture
WIDTH = 960  # wider videos are shrunk to this
SECONDS = 10  # of trace that the strip shows
COLOURS = {"valence": (255, 160, 40), "arousal": (60, 170, 255)}
BACKGROUND, GRID, TEXT = (24, 24, 24), (70, 70, 70), (220, 220, 220)


def write_overlay(path: Path, video: Video, labels: pd.DataFrame) -> None:
    """Writes an H.264 MP4. labels: rows of one video as `label_video` gives them.

    Raises DataError where the package that encodes is missing.
    """
    try:
        import av
    except ImportError as error:
        raise DataError(f"--overlay needs the package av: pip install av ({error})") from error
    with av.open(str(path), "w", format="mp4") as container:
        stream = None
        for picture in overlay_frames(video, labels):
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1001))
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt, stream.options = "yuv420p", {"crf": "20"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def overlay_frames(video: Video, labels: pd.DataFrame) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB for each frame of the video, H and W even."""
    shown = labels[labels["track"].notna()].sort_values("frame")
    numbers = shown["frame"].to_numpy()
    main = shown[shown["track"] == shown["track"].mode().iloc[0]] if len(shown) else shown
    for frame, time, image in video:
        scale = min(1.0, WIDTH / image.shape[1])
        size = (round(image.shape[1] * scale) // 2 * 2, round(image.shape[0] * scale) // 2 * 2)
        picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for row in shown.iloc[slice(*np.searchsorted(numbers, [frame, frame + 1]))].itertuples():
            _draw_face(picture, np.array([getattr(row, edge) for edge in BOX]) * scale, row)
        yield np.vstack((picture, _strip(main, frame, time, size[0])))


def _draw_face(picture: np.ndarray, box: np.ndarray, row) -> None:
    left, top, right, bottom = (int(round(edge)) for edge in box)
    colour = (255, 190, 60) if row.support else (235, 235, 235)
    cv2.rectangle(picture, (left, top), (right, bottom), colour, 2, cv2.LINE_AA)
    text = f"v {row.valence:+.2f}  a {row.arousal:+.2f}" + ("  label" if row.support else "")
    for ink, shift in ((BACKGROUND, 1), (colour, 0)):  # a shadow, to be read on any background
        place = left + shift, max(14, top - 8) + shift
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, 1, cv2.LINE_AA)


def _strip(rows: pd.DataFrame, frame: int, time: float, width: int) -> np.ndarray:
    """(PANEL, width, 3): the last seconds of both traces, and the plane at the right."""
    strip = np.full((PANEL, width, 3), BACKGROUND, np.uint8)
    traces = width - PANEL
    cv2.line(strip, (0, PANEL // 2), (traces, PANEL // 2), GRID, 1)
    past = rows[(rows["time"] > time - SECONDS) & (rows["frame"] <= frame)]
    across = (traces - 8 - (time - past["time"].to_numpy()) / SECONDS * (traces - 16)).astype(int)
    for place, (axis, colour) in enumerate(COLOURS.items()):
        down = _down(past[axis].to_numpy())
        cv2.polylines(strip, [np.stack((across, down), 1)], False, colour, 1, cv2.LINE_AA)
        for x, y in zip(across[past["support"]], down[past["support"]], strict=True):
            cv2.circle(strip, (int(x), int(y)), 4, colour, -1, cv2.LINE_AA)
        cv2.putText(strip, axis, (6, 16 + 18 * place), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    now = past[past["frame"] == frame]
    _draw_plane(strip[:, traces:], now.iloc[0] if len(now) else None)
    return strip


def _down(values: np.ndarray) -> np.ndarray:
    return np.round(PANEL / 2 - values * (PANEL / 2 - 8)).astype(int)


def _draw_plane(panel: np.ndarray, row) -> None:
    middle = PANEL // 2
    cv2.rectangle(panel, (8, 8), (PANEL - 8, PANEL - 8), GRID, 1)
    cv2.line(panel, (8, middle), (PANEL - 8, middle), GRID, 1)
    cv2.line(panel, (middle, 8), (middle, PANEL - 8), GRID, 1)
    if row is not None:
        point = int(round(middle + row["valence"] * (middle - 8))), int(_down(row["arousal"]))
        cv2.circle(panel, point, 5, TEXT, -1, cv2.LINE_AA)
