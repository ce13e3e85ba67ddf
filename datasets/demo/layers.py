"""What stays the same in all images of a person: backdrop, body, shading of the face at rest, layout of the hair."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike

from datasets.demo.face import ORIGIN, UNIT, Person, Pose, at_depth, on_face, skull_line, spline
from datasets.demo.pen import Pen, ellipse, tone

WHITE = (255, 255, 255)

SHADE_BOX = (-1.6, -1.6, 3.5, 64)
"""The square of the head that the shading map covers: left, top and side in head units; cells along a side."""

# Knots (x, y) from image-left to image-right; x in widths of the face.
HAIRLINES = {
    "buzz": [(-1.0, -0.02), (-0.90, -0.45), (-0.60, -0.78), (0, -0.84), (0.60, -0.78), (0.90, -0.45), (1.0, -0.02)],
    "side": [(-1.0, 0.12), (-0.91, -0.36), (-0.72, -0.66), (-0.35, -0.90),
             (0.25, -0.72), (0.80, -0.58), (0.93, -0.34), (1.0, 0.12)],
    "fringe": [(-1.0, 0.15), (-0.90, -0.40), (-0.62, -0.60), (-0.30, -0.66), (0.05, -0.62),
               (0.40, -0.66), (0.66, -0.58), (0.90, -0.40), (1.0, 0.15)],
    "bob": [(-1.02, 0.9), (-0.98, 0.30), (-0.88, -0.30), (-0.55, -0.68), (-0.15, -0.95),
            (0.45, -0.70), (0.88, -0.30), (0.98, 0.30), (1.02, 0.9)],
    "curls": [(-1.0, 0.10), (-0.92, -0.35), (-0.70, -0.62), (-0.35, -0.72), (0, -0.76),
              (0.35, -0.70), (0.70, -0.64), (0.92, -0.35), (1.0, 0.10)],
    "bun": [(-1.0, 0.10), (-0.93, -0.38), (-0.65, -0.76), (0, -0.92), (0.65, -0.76), (0.93, -0.38), (1.0, 0.10)],
}  # fmt: skip
HAIRLINES["long"] = HAIRLINES["bob"]


def draw_backdrop(person: Person, side: int) -> np.ndarray:
    """Draw a wall in two colours with a few blurred lights or panels, (side, side, 3) uint8."""
    rng = np.random.default_rng(person.texture)
    top, bottom = person.backdrop
    t = np.linspace(0, 1, side)[:, None, None]
    wall = np.repeat(np.array(top) * (1 - t) + np.array(bottom) * t, side, axis=1).astype(np.uint8)
    for _ in range(rng.integers(3, 8)):
        colour = tone(tone(top, 0.5, bottom), rng.uniform(0.75, 1.25))
        x, y = rng.integers(0, side, 2).tolist()
        reach = int(side * rng.uniform(0.05, 0.22))
        if rng.random() < 0.5:
            cv2.circle(wall, (x, y), reach, colour, -1)
        else:
            cv2.rectangle(wall, (x - reach // 2, y - 2 * reach), (x + reach // 2, y + 3 * reach), colour, -1)
    return cv2.GaussianBlur(wall, (0, 0), side / 40)


def draw_body(person: Person, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw neck and shoulders: the image (side, side, 3) and its mask (side, side), both uint8."""
    image = np.full((side, side, 3), tone(person.skin, 0.86), np.uint8)
    mask = np.zeros((side, side), np.uint8)
    image[int((ORIGIN[1] + 1.95 * UNIT) * side) :] = person.clothes
    neck = 0.50 * person.width + 0.06
    shoulders = spline([
        (-2.6, 3.3), (-2.05, 2.35), (-1.2, 2.02), (-neck, 1.8), (0, 2.0),
        (neck, 1.8), (1.2, 2.02), (2.05, 2.35), (2.6, 3.3),
    ], 6)  # fmt: skip
    throat = np.array([
        (-neck, 0.8), (-neck, 1.8), (-neck - 0.1, 1.95), (0, 2.35), (neck + 0.1, 1.95), (neck, 1.8), (neck, 0.8),
    ])  # fmt: skip
    collar = spline([(-neck - 0.12, 1.86), (-0.35, 2.22), (0, 2.36), (0.35, 2.22), (neck + 0.12, 1.86)], 6)
    for layer, colour in ((image, None), (mask, WHITE)):
        pen = Pen(layer, Pose())
        pen.fill(at_depth(shoulders), colour or person.clothes)
        pen.fill(at_depth(throat), colour or tone(person.skin, 0.86))
        pen.line(at_depth(collar), colour or tone(person.clothes, 0.75), 0.07)
    return _shade_body(person, image), mask


def _shade_body(person: Person, image: np.ndarray) -> np.ndarray:
    """Darken the neck below the chin and the side away from the light."""
    side = len(image)
    y = (np.arange(side) / side - ORIGIN[1]) / UNIT
    x = (np.arange(side) / side - ORIGIN[0]) / UNIT
    below_chin = np.exp(-(((y[:, None] - person.chin) / 0.35) ** 2) - (x[None] / 0.9) ** 2)
    across = 1 + 0.20 * person.contrast * person.light[0] * np.clip(x, -2, 2)
    shaded = image * ((1 - 0.42 * below_chin) * across)[..., None]
    return np.clip(shaded, 0, 255).astype(np.uint8)


def draw_shading(person: Person) -> np.ndarray:
    """Draw the light on the face at rest in the square SHADE_BOX: (64, 64, 3) uint8, factors times 128."""
    left, top, reach, cells = SHADE_BOX
    x = left + (np.arange(cells) + 0.5) * reach / cells
    y = (top + (np.arange(cells) + 0.5) * reach / cells)[:, None]
    nx, ny = np.clip(x / 1.2, -1, 1), np.clip((y - 0.2) / 1.75, -1, 1)
    nz = np.sqrt(np.maximum(1 - nx**2 - ny**2, 0))
    lx, ly = person.light
    lambert = (nx * lx + ny * ly + nz * 0.9) / np.sqrt(lx**2 + ly**2 + 0.81)
    shade = np.repeat((1 + person.contrast * (lambert - 0.72))[..., None], 3, axis=2)

    def blob(cx: float, cy: float, sx: float, sy: float, amount: ArrayLike) -> np.ndarray:
        weight = np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)
        return weight[..., None] * np.asarray(amount, float)

    pink = person.blush * np.array([-0.11, -0.10, 0.0])
    lit_side = 1 if lx <= 0 else -1
    for side in (-1, 1):
        shade = shade + blob(side * person.eye_gap, -0.08, 0.27, 0.17, -0.13)
        shade = shade + blob(side * 0.60, 0.55, 0.26, 0.22, pink)
        shade = shade + blob(side * 0.12, 0.0, 0.08, 0.14, -0.07)
    shade = shade + blob(lit_side * 0.17, person.nose_length - 0.22, 0.09, 0.24, -0.15)
    shade = shade + blob(-lit_side * 0.03, person.nose_length - 0.25, 0.07, 0.26, 0.11)
    shade = shade + blob(-lit_side * 0.04, person.nose_length - 0.07, 0.09, 0.07, 0.12)
    shade = shade + blob(0, person.nose_length, 0.22, 0.10, 0.6 * pink)
    shade = shade + blob(0, person.nose_length + 0.12, 0.22, 0.06, -0.13)
    shade = shade + blob(-lit_side * 0.25, -0.72, 0.40, 0.22, 0.08)
    shade = shade + blob(-lit_side * 0.05, person.chin - 0.15, 0.2, 0.12, 0.07)
    return np.clip(shade * 128, 30, 255).astype(np.uint8)


class Hair(NamedTuple):
    """The hair of a person in head units.

    Attributes:
        back: outlines (N, 3) of hair behind the neck.
        front: outlines (N, 3) of hair on the head.
        strands: (K, 5, 3) curves.
    """

    back: list[np.ndarray]
    front: list[np.ndarray]
    strands: np.ndarray


def lay_out_hair(person: Person) -> Hair:
    """Lay out the hair in the person's style."""
    rng = np.random.default_rng(person.texture + 1)
    if person.hair == "bald":
        return Hair([], [], np.empty((0, 5, 3)))
    volume = 0.25 * person.volume if person.hair == "buzz" else person.volume
    low = {"bob": 1.0, "long": 1.1}.get(person.hair, 0.12)
    outer = skull_line(person, 1.16 + volume, 1.03 + 0.5 * volume, 25)
    outer[[0, -1], 1] = low
    outer[[0, -1], 0] = np.array([1, -1]) * person.width * (1.0 if low < 0.5 else 1.05)
    flip = 1 if person.parting > 0 else -1
    inner = spline(np.array(HAIRLINES[person.hair])[::flip] * [flip * person.width, 1], 5)
    hairline = on_face(inner)
    hairline[:, 2] *= 1 - np.minimum(np.abs(inner[:, 0]) / person.width, 1) ** 3  # its ends join the outline
    front = [np.concatenate((at_depth(outer), hairline))]
    back = [_hair_behind(person, volume)] if low > 0.5 else []
    if person.hair == "bun":
        front.append(at_depth(ellipse(0.0, -1.22 - volume, 0.36), -0.2))
    if person.hair == "curls":
        for x, y in skull_line(person, 1.05 + volume, 1.02 + 0.4 * volume, 17):
            front.append(at_depth(ellipse(x, y, rng.uniform(0.2, 0.27) + 0.3 * volume)))
    return Hair(back, front, _lay_out_strands(rng, outer, inner, person.parting))


def _hair_behind(person: Person, volume: float) -> np.ndarray:
    """Outline (N, 3) of hair that hangs down behind the neck."""
    end = 1.45 if person.hair == "bob" else 2.35
    edge = 1.12 + 0.6 * volume
    left = [(-edge * 0.8, end + 0.05), (-edge * 1.1, end - 0.4), (-edge * 1.06, 0.3)]
    outline = np.array(left + [(-0.8, -0.9), (0, -1.2), (0.8, -0.9)] + [(-x, y) for x, y in left[::-1]])
    return at_depth(spline(outline * [person.width, 1], 5), -0.2)


def _lay_out_strands(rng: np.random.Generator, outer: np.ndarray, inner: np.ndarray, parting: float) -> np.ndarray:
    """Strands (11, 5, 3) from the outer outline of the hair to the hairline."""
    strands = []
    start = outer[len(outer) // 6 : -len(outer) // 6][::-1]
    stop = inner[len(inner) // 6 : -len(inner) // 6]
    for t in rng.uniform(0.03, 0.97, 11):
        a, b = (line[int(t * (len(line) - 1))] for line in (start, stop))
        s = np.linspace(rng.uniform(0.1, 0.3), rng.uniform(0.7, 0.95), 5)[:, None]
        curvature = np.array([0.10 * parting, -0.06]) * np.sin(np.pi * s)
        strands.append(at_depth(a + (b - a) * s + curvature, 0.2))
    return np.array(strands)
