"""Reading images, and cropping faces out of them.

`crop_face` makes every crop that a network sees: in training, in labelling and of the user's own videos.

Coordinates are continuous: the pixel in row i, column j covers y in [i, i + 1) and x in [j, j + 1), so an
image of width W spans 0 to W and its first pixel has its centre at 0.5. A *landmark box* is (left, top,
right, bottom), the extent of the 68 facial landmarks: from the eyebrows to the chin, from one side of the
jaw to the other.
"""

import io
import math
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from utils.base.errors import DataError

CROP_DIVISOR = 1.1
"""EmoNet's square has the side (width + height) / 1.1 of the landmark box."""

MARGIN = 1.125
"""Factor on the side of EmoNet's square in the crops that are stored: training shifts images within that margin."""

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
MAX_PIXELS = 8192 * 8192
MAX_IMAGE_BYTES = 256 << 20

FOREHEAD_SHARE = 0.25
"""Share of a detector's rectangle, from its top, that lies above the eyebrows.

Estimated by eye on 39 square face rectangles of web photographs: eyebrows at 0.22-0.38 of the height (mean 0.29),
chin at 0.90-1.05 (mean 0.98). Rectangles that begin at the hairline, as in WIDER FACE, have less forehead, hence the
lower value. To calibrate it for a detector, take the mean over faces that have both boxes.
"""

LANDMARK_ASPECT = 0.70
"""Largest width of the landmark box as a share of the rectangle's height.

The jaw spans 0.55-0.82 (mean 0.69) of the same squares, which contain background on both sides. A tight rectangle,
1.3 times as high as wide, keeps nine tenths of its width.
"""


def read_image(path: str | Path) -> np.ndarray:
    """Read a PNG, JPEG, BMP or WebP as (H, W, 3) uint8 RGB; greyscale becomes RGB, transparency is dropped.

    Raises:
        DataError: the file is missing, cannot be decoded, is larger than ``MAX_IMAGE_BYTES``, or declares more than
            ``MAX_PIXELS`` pixels.
    """
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise DataError(f"{path}: is no file; put an image there or drop its row")
        if os.path.getsize(path) > MAX_IMAGE_BYTES:
            raise DataError(f"{path}: larger than {MAX_IMAGE_BYTES >> 20} MB; make it smaller or drop its row")
        data = Path(path).read_bytes()  # cv2.imread fails on non-ASCII paths on Windows
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore it or drop its row") from error
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if _declared_pixels(data, path) else None
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{path}: not an image that can be decoded; restore it or drop its row")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _declared_pixels(data: bytes, path: str | Path) -> int:
    """Number of pixels that an image's header declares, read before decoding; 0 if no header can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is the limit here
            with Image.open(io.BytesIO(data), formats=FORMATS) as header:
                pixels = header.width * header.height
    except Image.DecompressionBombError:
        pixels = MAX_PIXELS + 1
    except Exception:  # Pillow's readers may raise any exception for a damaged file
        return 0
    if pixels > MAX_PIXELS:
        raise DataError(f"{path}: declares more than {MAX_PIXELS:,} pixels; make it smaller or drop its row")
    return pixels


def landmark_box(landmarks: np.ndarray) -> np.ndarray:
    """Landmark boxes (..., 4) of facial landmarks (..., 68, 2), which are (x, y) in pixels."""
    landmarks = np.asarray(landmarks)
    return np.concatenate([landmarks.min(axis=-2), landmarks.max(axis=-2)], axis=-1)


def box_from_detection(left: ArrayLike, top: ArrayLike, right: ArrayLike, bottom: ArrayLike) -> np.ndarray:
    """Estimate the landmark box from a face detector's rectangle, by two fixed proportions.

    A detector's rectangle begins above the eyebrows and, if square, is wider than the jaw. The upper
    ``FOREHEAD_SHARE`` of its height is cut off, the bottom stays at the chin, and the width is limited to
    ``LANDMARK_ASPECT`` of the height, about the same centre.

    Args:
        left: left edge in pixels, a number or an array; all four edges have the same shape.
        top: upper edge.
        right: right edge.
        bottom: lower edge.

    Returns:
        (..., 4) landmark boxes.
    """
    x0, y0, x1, y1 = (np.asarray(edge, np.float64) for edge in (left, top, right, bottom))
    height = y1 - y0
    half = np.minimum(x1 - x0, LANDMARK_ASPECT * height) / 2
    centre = (x0 + x1) / 2
    return np.stack([centre - half, y0 + FOREHEAD_SHARE * height, centre + half, y1], axis=-1)


def crop_size(image_size: int) -> int:
    """Side in pixels of the stored crops, with `MARGIN`, for a network that sees `image_size` pixels."""
    return round(MARGIN * image_size)


def crop_face(
    image: np.ndarray, box: Iterable[float], size: int, margin: float = 1.0, pixel_aspect: float = 1.0
) -> np.ndarray:
    """Crop a face as EmoNet does: a square of side (width + height) / 1.1 about the centre of the landmark box.

    The centre of the box becomes the centre of the crop, (size / 2, size / 2). EmoNet's own code counts coordinates
    from pixel centres, so its crop is shifted by (size / side - 1) / 2 pixels against this one. The square is
    resampled bilinearly; an image that shrinks to a half or less is averaged over whole blocks of pixels first, so
    that fine texture does not alias. What lies outside the image is black.

    Args:
        image: (H, W, 3) uint8.
        box: (4,) landmark box in pixels of the image as stored.
        size: side of the crop in pixels.
        margin: factor on the side of the square; above 1 shows more around the face.
        pixel_aspect: width / height of one pixel as shown; the crop shows the face in its true proportions.

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
    """Resample the rectangle with upper left ``corner`` (x, y) and extent size / scale (x, y) to (size, size, 3)."""
    block = np.maximum(1, 1 / scale).astype(int)
    region, origin = _region(image, corner, size / scale, block)
    if not region.size:
        return np.zeros((size, size, 3), np.uint8)
    if (block > 1).any():
        region = cv2.resize(
            region, (region.shape[1] // block[0], region.shape[0] // block[1]), interpolation=cv2.INTER_AREA
        )
    # In continuous coordinates, crop = (origin + block · region - corner) · scale. Pixel indices are 0.5 lower.
    factor = block * scale
    shift = (origin - corner) * scale + factor / 2 - 0.5
    matrix = np.array([[factor[0], 0, shift[0]], [0, factor[1], shift[1]]])
    return cv2.warpAffine(region, matrix, (size, size), flags=cv2.INTER_LINEAR)  # black beyond the region


def _region(
    image: np.ndarray, corner: np.ndarray, extent: np.ndarray, block: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that a crop needs, padded with black to whole blocks, and its upper left corner (x, y)."""
    limit = np.array([image.shape[1], image.shape[0]])
    start = np.clip(np.floor(corner) - 2 * block, 0, limit).astype(int)
    stop = np.clip(np.ceil(corner + extent) + 2 * block, start, limit).astype(int)
    region = image[start[1] : stop[1], start[0] : stop[0]]
    missing = -(stop - start) % block
    if region.size and missing.any():
        region = cv2.copyMakeBorder(region, 0, int(missing[1]), 0, int(missing[0]), cv2.BORDER_CONSTANT)
    return region, start
