"""Drawing primitives: shapes in head units on an image, and colours. See `datasets.demo.face` for the units."""

from copy import copy
from functools import lru_cache

import cv2
import numpy as np

from datasets.demo.face import ORIGIN, UNIT, Colour, Pose, xy


class Pen:
    """Draws shapes in head units on a canvas, as seen in a pose.

    Args:
        canvas: (H, W, 3) or (H, W) uint8, drawn on in place.
        pose: of the head.

    Attributes:
        canvas: as given.
        unit: pixels per head unit.
        matrix: (3, 2) linear part of the map from head units to pixels.
        offset: (2,) its translation in pixels.
    """

    def __init__(self, canvas: np.ndarray, pose: Pose):
        self.canvas = canvas
        side = canvas.shape[1]
        yaw, roll = np.deg2rad(pose.yaw), np.deg2rad(pose.roll)
        self.unit = float(UNIT * pose.scale * side)
        cos, sin = np.cos(roll), np.sin(roll)
        rotation = np.array([[cos, -sin], [sin, cos]])
        self.matrix = self.unit * rotation @ np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0]])
        pivot = np.array([0, 0.9])
        centre = (np.array(ORIGIN) + np.array(pose.shift) + UNIT * pivot) * side - 0.5
        self.offset = centre - self.unit * rotation @ pivot
        self.matrix = np.ascontiguousarray(self.matrix.T)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Map points (N, 3) in head units to pixels (N, 2) of the canvas."""
        return np.dot(points, self.matrix) + self.offset

    def fixed(self, points: np.ndarray) -> np.ndarray:
        """Map points (N, 3) in head units to (N, 2) int32 in sixteenths of a pixel, for OpenCV's `shift` of 4."""
        return np.rint(self.pixels(points) * 16).astype(np.int32)

    def on_patch(self, rows: slice, columns: slice) -> "Pen":
        """A pen that draws on a copy of a patch of this canvas."""
        pen = copy(self)
        pen.canvas = self.canvas[rows, columns].copy()
        pen.offset = self.offset - (columns.start, rows.start)
        return pen

    def fill(self, points: np.ndarray, colour: Colour) -> np.ndarray:
        """Fill a closed outline (N, 3); return it as `fixed` does."""
        outline = self.fixed(points)
        cv2.fillPoly(self.canvas, [outline], colour, cv2.LINE_AA, 4)
        return outline

    def line(self, points: np.ndarray, colour: Colour, width: float) -> None:
        """Draw a curve (N, 3), or several curves of equal length (K, N, 3)."""
        thickness = max(1, round(width * self.unit))
        curves = self.fixed(points).reshape(-1, points.shape[-2], 2)
        cv2.polylines(self.canvas, list(curves), False, colour, thickness, cv2.LINE_AA, 4)

    def dot(self, point: np.ndarray, radius: float, colour: Colour) -> None:
        """Draw a disc about a point (3,)."""
        x, y = self.fixed(point[None])[0]
        cv2.circle(self.canvas, (int(x), int(y)), round(radius * self.unit * 16), colour, -1, cv2.LINE_AA, 4)


@lru_cache(maxsize=1024)
def tone(colour: Colour, factor: float, towards: Colour | None = None) -> Colour:
    """Multiply a colour by a factor, or mix it with another colour whose share is the factor."""
    other, keep = (towards, 1 - factor) if towards else ((0, 0, 0), factor)
    blue, green, red = (min(max(c * keep + o * (1 - keep), 0.0), 255.0) for c, o in zip(colour, other, strict=True))
    return blue, green, red


@lru_cache(maxsize=256)
def ellipse(x: float, y: float, rx: float, ry: float | None = None, power: float = 1.0) -> np.ndarray:
    """Closed outline (24, 2) of an ellipse about (x, y); ry None = a circle; a power below 1 makes it squarer."""
    phi = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    cos, sin = np.cos(phi), np.sin(phi)
    across, down = (np.sign(wave) * np.abs(wave) ** power for wave in (cos, sin))
    return xy(x + rx * across, y + (ry or rx) * down)
