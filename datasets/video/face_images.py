"""The faces of a video as image files, so that a frame table can name them.

A folder of frames already consists of images. From a video file, each face is cut out once, with enough of the image
around it for the crop that a network sees, and kept in a cache.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from datasets.columns import BOX
from datasets.faces import CROP_DIVISOR, MARGIN
from datasets.video.reading import FrameFolder, Video
from utils.base.arrays import load_arrays, save_arrays
from utils.base.files import make_folder, write_atomically

CUT_MARGIN = 1.25 * MARGIN
"""Factor on the side of EmoNet's square in the images that are cut out: resampling needs more than `MARGIN`."""

LARGEST_SIDE = 512
"""Longest side in pixels of the images that are cut out; larger ones are shrunk."""

PNG_SETTINGS = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def cached_face_images(video: Video, faces: pd.DataFrame, tracks: Sequence[int], folder: Path) -> pd.DataFrame:
    """Cut the faces of some tracks out of a video, or find them in the cache.

    Args:
        video: read once if a track is not in the cache; a folder of frames is not read at all.
        faces: as from `datasets.video.tracks.track_faces` on the same video.
        tracks: numbers of the tracks.
        folder: holds the images and a table per track, ``track0.npz`` and so on.

    Returns:
        The rows of `faces` that belong to the tracks, with a column ``path``, and boxes in pixels of that image.
    """
    if isinstance(video, FrameFolder):
        rows = faces[faces["track"].isin(tracks)].reset_index(drop=True)
        return rows.assign(path=[str(video.files[frame].absolute()) for frame in rows["frame"]])
    tables = {track: load_arrays(_table_path(folder, track)) for track in tracks}
    missing = [track for track, arrays in tables.items() if arrays is None]
    if missing:
        _cut_faces(video, faces[faces["track"].isin(missing)], folder)
        tables |= {track: load_arrays(_table_path(folder, track)) for track in missing}
    rows = pd.concat([pd.DataFrame(arrays).assign(track=track) for track, arrays in tables.items()], ignore_index=True)
    return rows.assign(path=[str(_image_path(folder, *key)) for key in zip(rows["track"], rows["frame"], strict=True)])


def _cut_faces(video: Video, faces: pd.DataFrame, folder: Path) -> None:
    """Write the images of all faces, then the table of each track, whose presence marks a complete track."""
    faces = faces.sort_values(["frame", "track"], kind="stable").reset_index(drop=True)
    frames, boxes = faces["frame"].to_numpy(), faces[BOX].to_numpy(np.float64, copy=True)
    make_folder(folder)
    for frame, _, image in video:
        for row in range(*np.searchsorted(frames, [frame, frame + 1])):
            part, boxes[row] = cut_face(image, boxes[row])
            _write_png(_image_path(folder, faces.at[row, "track"], frame), part)
        if frame >= frames[-1]:
            break
    faces[BOX] = boxes
    for track, rows in faces.groupby("track"):
        save_arrays(_table_path(folder, track), {name: rows[name].to_numpy() for name in ("frame", "time", *BOX)})


def cut_face(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut out the part of an image from which `datasets.faces.crop_face` makes the same crop as from the whole.

    Args:
        image: (H, W, 3) uint8.
        box: (4,) landmark box in pixels of the image.

    Returns:
        The part, (h, w, 3) uint8 with sides of at most LARGEST_SIDE, and the box (4,) in pixels of the part.
    """
    centre, side = (box[:2] + box[2:]) / 2, CUT_MARGIN * (box[2:] - box[:2]).sum() / CROP_DIVISOR
    limit = np.array(image.shape[1::-1])
    start = np.clip(np.floor(centre - side / 2) - 2, 0, limit - 1).astype(int)
    stop = np.clip(np.ceil(centre + side / 2) + 2, start + 1, limit).astype(int)
    part = image[start[1] : stop[1], start[0] : stop[0]]
    box = box - np.tile(start, 2)
    if max(part.shape) > LARGEST_SIDE:
        extent = stop - start
        size = np.maximum(extent * LARGEST_SIDE // extent.max(), 1)
        part, box = cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA), box * np.tile(size / extent, 2)
    return part, box


def _image_path(folder: Path, track: int, frame: int) -> Path:
    return folder / f"track{track}_{frame:06d}.png"


def _table_path(folder: Path, track: int) -> Path:
    return folder / f"track{track}.npz"


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write an image (H, W, 3) uint8 RGB."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), PNG_SETTINGS)
    write_atomically(path, lambda temporary: temporary.write_bytes(data.tobytes()), durable=False)
