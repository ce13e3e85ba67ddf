"""From an image and a face box to the square that the network sees: the only crop in the project.

Coordinates are continuous: the pixel in row i, column j covers y in [i, i + 1) and x in [j, j + 1), so an
image of width W spans 0 to W and its first pixel has its centre at 0.5. A *landmark box* is (left, top,
right, bottom), the extent of the 68 facial landmarks: from the eyebrows to the chin, from one side of the
jaw to the other.
"""

import io
import math
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from datasets.frames import DataError

CROP_DIVISOR = 1.1
"""EmoNet's square has the side (width + height) / 1.1 of the landmark box."""

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
MAX_PIXELS = 8192 * 8192
MAX_IMAGE_BYTES = 256 << 20

FOREHEAD_SHARE = 0.25
"""Share of a detector's rectangle, from its top, that lies above the eyebrows.

Read by eye off 39 square face rectangles of web photographs: eyebrows at 0.22-0.38 of the height (about 0.29
on average), chin at 0.90-1.05 (0.98). Rectangles that begin at the hairline, in the manner of WIDER FACE,
have less forehead: hence the lower figure. To calibrate it for a detector, take the mean over faces that have
both boxes.
"""

LANDMARK_ASPECT = 0.70
"""Largest width of the landmark box as a share of the rectangle's height.

The jaw spans 0.55-0.82 (about 0.69) of the same squares, which hold background at both sides. A tight
rectangle, 1.3 times as high as wide, keeps nine tenths of its width.
"""


def read_image(path: str | Path) -> np.ndarray:
    """Read a PNG, JPEG, BMP or WebP as (H, W, 3) uint8 RGB; grey becomes RGB, transparency is dropped.

    Raises:
        DataError: the file is missing, is no such image, or declares more than ``MAX_PIXELS``.
    """
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise DataError(f"{path}: is no file; put the image there or drop its row")
        if os.path.getsize(path) > MAX_IMAGE_BYTES:
            raise DataError(f"{path}: larger than {MAX_IMAGE_BYTES >> 20} MB; make it smaller or drop its row")
        data = np.fromfile(path, np.uint8)  # imread fails on non-ASCII paths on Windows
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore it or drop its row") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if _declared_pixels(data, path) else None
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{path}: not an image that can be decoded; restore it or drop its row")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _declared_pixels(data: np.ndarray, path: str | Path) -> int:
    """Pixels that an image's header declares, before any is decoded; 0 where there is no such header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its limit is not ours
            with Image.open(io.BytesIO(data), formats=FORMATS) as header:
                pixels = header.width * header.height
    except Image.DecompressionBombError:
        pixels = MAX_PIXELS + 1
    except Exception:  # Pillow's readers declare no errors
        return 0
    if pixels > MAX_PIXELS:
        raise DataError(f"{path}: declares more than {MAX_PIXELS:,} pixels; make it smaller or drop its row")
    return pixels


def landmark_box(landmarks: np.ndarray) -> np.ndarray:
    """Extent of facial landmarks: (..., 68, 2) x, y in pixels -> (..., 4) left, top, right, bottom."""
    landmarks = np.asarray(landmarks)
    return np.concatenate([landmarks.min(axis=-2), landmarks.max(axis=-2)], axis=-1)


def box_from_detection(left, top, right, bottom) -> np.ndarray:
    """Landmark box (..., 4) expected in a face detector's rectangle, by two fixed proportions.

    A detector's rectangle begins above the eyebrows and, if square, is wider than the jaw. So the upper
    ``FOREHEAD_SHARE`` of the height goes, the bottom stays at the chin, and the width is at most
    ``LANDMARK_ASPECT`` of the height, about the same middle.

    Args:
        left, top, right, bottom: the rectangle's edges in pixels, numbers or arrays of one shape.
    """
    left, top, right, bottom = (np.asarray(edge, np.float64) for edge in (left, top, right, bottom))
    height = bottom - top
    half = np.minimum(right - left, LANDMARK_ASPECT * height) / 2
    middle = (left + right) / 2
    return np.stack([middle - half, top + FOREHEAD_SHARE * height, middle + half, bottom], axis=-1)


def crop_face(
    image: np.ndarray, box, size: int, margin: float = 1.0, pixel_aspect: float = 1.0
) -> np.ndarray:
    """Cut a face out as EmoNet does: a square of side (width + height) / 1.1 about the landmark box's centre.

    The centre of the box lands on the centre of the crop, (size / 2, size / 2). EmoNet's own code, which
    counts from pixel centres, lies (size / side - 1) / 2 pixels of the crop beside it. The square is warped
    bilinearly; an image that shrinks to a half or less is averaged over whole blocks of pixels first, so that
    fine texture does not alias. What lies outside the image is black.

    Args:
        image: (H, W, 3) uint8.
        box: (4,) landmark box in pixels of the image as stored.
        size: side of the crop in pixels.
        margin: factor on the side of the square; above 1 shows more around the face.
        pixel_aspect: width / height of one pixel as shown; the crop has the face in its true proportions.

    Returns:
        (size, size, 3) uint8.

    Raises:
        DataError: the box has no area or is not finite, or a factor is not positive.
    """
    left, top, right, bottom = (float(edge) for edge in box)
    if not (all(map(math.isfinite, (left, top, right, bottom))) and right > left and bottom > top):
        raise DataError(f"face box {left, top, right, bottom} has no area: give left < right, top < bottom")
    if not (0 < margin < math.inf and 0 < pixel_aspect < math.inf and size >= 1):
        raise DataError(f"size {size}, margin {margin} and pixel_aspect {pixel_aspect} must all be above 0")
    side = margin * ((right - left) * pixel_aspect + (bottom - top)) / CROP_DIVISOR
    scale = np.array([pixel_aspect * size / side, size / side])
    corner = np.array([left + right, top + bottom]) / 2 - size / 2 / scale
    return _warp(image, corner, scale, size)


def _warp(image: np.ndarray, corner: np.ndarray, scale: np.ndarray, size: int) -> np.ndarray:
    """Resample the rectangle at ``corner`` (x, y) that is size / scale wide and high to (size, size, 3)."""
    block = np.maximum(1, 1 / scale).astype(int)
    region, origin = _region(image, corner, size / scale, block)
    if not region.size:
        return np.zeros((size, size, 3), np.uint8)
    if (block > 1).any():
        region = cv2.resize(region, (region.shape[1] // block[0], region.shape[0] // block[1]),
                            interpolation=cv2.INTER_AREA)  # fmt: skip
    # Continuous: crop = (origin + block · region - corner) · scale. Pixel indices lie half a pixel below.
    factor = block * scale
    shift = (origin - corner) * scale + factor / 2 - 0.5
    matrix = np.array([[factor[0], 0, shift[0]], [0, factor[1], shift[1]]])
    return cv2.warpAffine(region, matrix, (size, size), flags=cv2.INTER_LINEAR)  # black beyond the region


def _region(image: np.ndarray, corner, extent, block) -> tuple[np.ndarray, np.ndarray]:
    """Part of the image that a crop needs, in whole blocks (black where they go beyond), and its origin."""
    limit = np.array([image.shape[1], image.shape[0]])
    start = np.clip(np.floor(corner) - 2 * block, 0, limit).astype(int)
    stop = np.clip(np.ceil(corner + extent) + 2 * block, start, limit).astype(int)
    region = image[start[1] : stop[1], start[0] : stop[0]]
    missing = -(stop - start) % block
    if region.size and missing.any():
        region = cv2.copyMakeBorder(region, 0, int(missing[1]), 0, int(missing[0]), cv2.BORDER_CONSTANT)
    return region, start
