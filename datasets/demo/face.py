"""The geometry of the demo set's faces: a person, a pose, and the outlines that valence and arousal give a face.

Outlines are in *head units*: x to the right, y down, z towards the viewer; the origin is between the eyes, and the
face is about two units wide. A `Pose` maps them to pixels. Colours are BGR. Outlines are arrays (N, 2) or (N, 3).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

Colour = tuple[float, float, float]
"""Blue, green and red, each in [0, 255]."""

UNIT = 0.225  # one head unit as a share of the image's width
ORIGIN = (0.5, 0.40)  # position (x, y) of the point between the eyes as shares of the image, before any movement
EYE_KNOTS = np.array([-1, -0.36, 0.36, 1])  # positions of the landmarks, from the inner to the outer corner
EYE_FINE = np.unique(np.concatenate((EYE_KNOTS, np.linspace(-1, 1, 13))))
BROW_KNOTS = np.linspace(0, 1, 5)
LIP_KNOTS = np.array([-1, -0.66, -0.3, 0, 0.3, 0.66, 1])
INNER_LIP_KNOTS = np.array([-0.92, -0.45, 0, 0.45, 0.92])
LIP_FINE = np.unique(np.concatenate((LIP_KNOTS, INNER_LIP_KNOTS, np.linspace(-1, 1, 13))))
JAW_ARC = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 17)), np.maximum(np.sin(np.linspace(0, np.pi, 17)), 0)
HAIR_STYLES = ("bald", "buzz", "side", "fringe", "bob", "long", "curls", "bun")


@dataclass(frozen=True)
class Person:
    """The identity of a rendered person, which is the same in every frame of a clip.

    Lengths are in head units. `gain` and `offset` are for (valence, arousal): the face shows
    `gain * label + offset`, so that the absolute labels of an unknown person cannot be inferred from one image.
    """

    gain: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    width: float = 1.0
    chin: float = 1.5
    jaw: float = 0.85  # 1 = elliptical; lower values are squarer
    taper: float = 0.06
    eye_gap: float = 0.43
    eye_width: float = 0.24
    eye_tilt: float = 0.0
    brow_height: float = 0.36
    brow_width: float = 0.06
    brow_arch: float = 0.07
    nose_width: float = 0.24
    nose_length: float = 0.62
    mouth_height: float = 1.0
    mouth_width: float = 0.40
    lips: float = 0.09
    skin: Colour = (150, 185, 230)
    lip_colour: Colour = (105, 110, 190)
    hair_colour: Colour = (35, 50, 75)
    iris: Colour = (60, 90, 120)
    clothes: Colour = (130, 90, 60)
    backdrop: tuple[Colour, Colour] = ((200, 190, 180), (150, 140, 140))
    hair: str = "side"
    parting: float = 0.4
    volume: float = 0.2
    beard: str = ""  # "", "stubble", "full", "moustache"
    glasses: str = ""  # "", "round", "square", "dark"
    occluder: str = ""  # "", "hand", "scarf", "fringe"
    light: tuple[float, float] = (-0.4, -0.4)  # direction towards the light, x and y
    contrast: float = 0.35
    blush: float = 0.5
    texture: int = 0  # random seed of backdrop and strands of hair


@dataclass(frozen=True)
class Pose:
    """A head pose: yaw and roll in degrees, scale as a factor, shift (x, y) as shares of the image's width."""

    yaw: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Shape:
    """The state of the facial muscles, in head units; up is positive for brows and mouth corners."""

    eye: float  # height of the eye opening
    squint: float  # how much of the eye opening the raised lower lid covers
    brow: float  # lift of the whole brow
    brow_inner: float  # lift of its inner end
    corner: float  # lift of the mouth corners
    widen: float  # added to half the mouth's width
    gap: float  # mouth opening
    square: float  # 0 = the open mouth is round, 1 = it is square, as in anger
    drop: float  # of the jaw
    smile: float  # 0 = none
    frown: float  # 0 = none
    pupil: float  # size of the pupil


def _smoothstep(value: float, low: float, high: float) -> float:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = float(np.clip((value - low) / (high - low), 0, 1))
    return t * t * (3 - 2 * t)


def shape_of(valence: float, arousal: float) -> Shape:
    """The state of the facial muscles at a valence and an arousal, each clipped to [-1.3, 1.3]."""
    v, a = float(np.clip(valence, -1.3, 1.3)), float(np.clip(arousal, -1.3, 1.3))
    smile, frown = max(v, 0.0), max(-v, 0.0)
    anger = _smoothstep(frown, 0.2, 0.75) * _smoothstep(a, -0.1, 0.6)
    gap = 0.40 * _smoothstep(a, -0.35, 1.25) * (1 + 0.15 * smile)
    eye = 0.235 + (0.15 if a > 0 else 0.165) * a - 0.05 * smile
    return Shape(
        eye=max(eye - 0.03 * anger, 0.035),
        squint=0.25 * smile,
        brow=0.13 * a - 0.07 * anger,
        brow_inner=0.19 * frown * (1 - anger) - 0.20 * anger,
        corner=0.20 * v,
        widen=0.10 * smile + 0.05 * anger - 0.05 * max(a, 0) * (1 - smile) * (1 - anger),
        gap=gap,
        square=anger,
        drop=0.55 * gap,
        smile=smile,
        frown=frown,
        pupil=0.42 + 0.10 * a,
    )


def xy(x: float | np.ndarray, y: float | np.ndarray) -> np.ndarray:
    """Join coordinates, numbers or (N,), to points (N, 2); several times as fast as np.column_stack on few points."""
    points = np.empty((max(np.size(x), np.size(y)), 2))
    points[:, 0], points[:, 1] = x, y
    return points


def on_face(points: ArrayLike, lift: float = 0.0) -> np.ndarray:
    """Project points (N, 2) onto the curved front of the head, (N, 3), `lift` above its surface."""
    solid = at_depth(points)
    x, y = solid[:, 0] / 1.15, (solid[:, 1] - 0.35) / 1.8
    solid[:, 2] = 0.9 * np.sqrt(np.maximum(1 - x * x - y * y, 0.02)) + lift
    return solid


def at_depth(points: ArrayLike, depth: float = 0.0) -> np.ndarray:
    """Place points (N, 2) at one depth, (N, 3)."""
    flat = np.asarray(points)
    solid = np.empty((len(flat), 3))
    solid[:, :2], solid[:, 2] = flat, depth
    return solid


@lru_cache(maxsize=64)
def _spline_basis(knots: int, steps: int) -> np.ndarray:
    """Weights (steps * (knots - 1) + 1, knots) of the knots in a Catmull-Rom spline."""
    basis = np.zeros((steps * (knots - 1) + 1, knots))
    for row in range(len(basis)):
        i = min(row // steps, knots - 2)
        t = row / steps - i
        weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
        for j, weight in zip(range(i - 1, i + 3), weights, strict=True):
            basis[row, min(max(j, 0), knots - 1)] += weight / 2
    return basis


def spline(points: ArrayLike, steps: int = 4) -> np.ndarray:
    """Catmull-Rom spline (steps * (N - 1) + 1, D) through points (N, D)."""
    knots = np.asarray(points, float)
    return _spline_basis(len(knots), steps) @ knots


def ribbon(curve: np.ndarray, thickness: float | np.ndarray) -> np.ndarray:
    """Closed polygon (2N, D) of a band along a curve (N, D), of vertical thickness (a number or (N,))."""
    half = np.zeros_like(curve)
    half[:, 1] = np.asarray(thickness) / 2
    return np.concatenate((curve - half, (curve + half)[::-1]))


def jaw_line(person: Person, shape: Shape) -> np.ndarray:
    """The jaw (17, 2), from ear to ear by the chin, image-left to image-right."""
    side, down = JAW_ARC
    x = person.width * np.sign(side) * np.abs(side) ** person.jaw * (1 - person.taper * down)
    return xy(x, person.chin * down**0.92 + shape.drop * down**2)


def skull_line(person: Person, rise: float = 1.14, widen: float = 1.0, count: int = 15) -> np.ndarray:
    """The top of the head (count, 2), from ear to ear, image-right to image-left.

    Args:
        person: gives the width.
        rise: height above the origin.
        widen: factor on the width.
        count: number of points.
    """
    phi = np.linspace(0, np.pi, count)
    cos, sin = np.cos(phi), np.sin(phi)
    x = person.width * widen * np.sign(cos) * np.abs(cos) ** 0.85
    return xy(x, -rise * np.maximum(sin, 0) ** 0.9)


def brow_line(person: Person, shape: Shape, side: int) -> np.ndarray:
    """The brow (5, 2) on one side (-1 = image-left, 1 = image-right), from its inner to its outer end."""
    t = BROW_KNOTS
    x = person.eye_gap + person.eye_width * (-1.0 + 2.35 * t)
    lift = person.brow_height + shape.brow + person.brow_arch * np.sin(np.pi * (0.1 + 0.8 * t))
    lift = lift + shape.brow_inner * (1 - t) ** 1.5 - 0.35 * shape.brow_inner * t - 0.05 * t
    return xy(side * x, -lift)


def eye_curves(person: Person, shape: Shape, side: int, knots: np.ndarray = EYE_KNOTS) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower lid, each (K, 2), from the inner to the outer corner, at knots (K,) in [-1, 1]."""
    bulge = (1 - np.abs(knots) ** 2.2) * shape.eye
    tilt = -person.eye_tilt * knots * person.eye_width
    x = side * (person.eye_gap + knots * person.eye_width)
    up = tilt - 0.58 * bulge - shape.squint * 0.10 * (1 - np.abs(knots))
    low = tilt + (0.42 - 0.5 * shape.squint) * bulge
    return xy(x, np.minimum(up, low)), xy(x, low)


def nose_points(person: Person, shape: Shape) -> np.ndarray:
    """The nose (9, 3): four points down the bridge, five below the nostrils from image-left to image-right."""
    base = person.nose_length - 0.03 * shape.square - 0.015 * shape.smile
    half = person.nose_width * (1 + 0.12 * shape.smile + 0.10 * shape.square)
    bridge = np.column_stack((np.zeros(4), np.linspace(0.02, base - 0.12, 4)))
    below = np.array(
        [[-half, base - 0.03], [-half / 2, base + 0.02], [0, base + 0.04], [half / 2, base + 0.02], [half, base - 0.03]]
    )
    lift = np.array([0.02, 0.08, 0.15, 0.24, 0.03, 0.10, 0.15, 0.10, 0.03])
    return on_face(np.concatenate((bridge, below))) + np.column_stack((np.zeros((9, 2)), lift))


def mouth_curves(person: Person, shape: Shape, knots: np.ndarray) -> list[np.ndarray]:
    """The four edges of the lips: upper outer, upper inner, lower inner, lower outer.

    Args:
        person: whose mouth it is.
        shape: the state of the muscles.
        knots: (K,) positions in [-1, 1]; the edges meet near the corners, at -1 and 1.

    Returns:
        Four arrays (K, 2), image-left to image-right.
    """
    width = person.mouth_width + shape.widen
    power = 2 + 3 * shape.square
    bulge = (1 - np.abs(knots) ** power) ** 0.8
    centre = person.mouth_height + 0.45 * shape.corner - shape.corner * knots**2
    upper = centre - 0.30 * shape.gap * bulge
    lower = centre + 0.70 * shape.gap * bulge
    taper = (1 - knots**2) ** 0.7
    stretch = 1 - 0.3 * shape.smile - 0.2 * shape.frown
    bow = person.lips * stretch * taper * (1 - 0.22 * np.exp(-((knots / 0.16) ** 2)))
    full = 1.25 * person.lips * stretch * taper
    edges = (upper - bow - 0.008, upper, lower, lower + full + 0.008)
    return [xy(width * knots, y) for y in edges]


def landmarks_of(person: Person, shape: Shape) -> np.ndarray:
    """The 68 iBUG landmarks (68, 3) in head units."""
    brows = [brow_line(person, shape, -1)[::-1], brow_line(person, shape, 1)]
    eyes = []
    for side in (-1, 1):
        up, low = eye_curves(person, shape, side)
        eyes.append(np.concatenate((up[::-1], low[1:3])) if side < 0 else np.concatenate((up, low[2:0:-1])))
    top, _, _, bottom = mouth_curves(person, shape, LIP_KNOTS)
    _, inner, floor, _ = mouth_curves(person, shape, INNER_LIP_KNOTS)
    mouth = np.concatenate((top, bottom[5:0:-1], inner, floor[3:0:-1]))
    front = on_face(np.concatenate((*brows, *eyes, mouth)))
    jaw = at_depth(jaw_line(person, shape))
    return np.concatenate((jaw, front[:10], nose_points(person, shape), front[10:]))
