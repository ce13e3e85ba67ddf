"""Paints the faces of the demo set: a stylised head whose expression follows valence and arousal.

Everything is drawn at twice the wanted size and averaged down. Colours are BGR.
"""

from copy import copy
from functools import lru_cache

import cv2
import numpy as np

from datasets.demo_face import (
    EYE_FINE,
    LIP_FINE,
    ORIGIN,
    UNIT,
    Pose,
    at_depth,
    brow_line,
    eye_curves,
    jaw_line,
    landmarks_of,
    mouth_curves,
    nose_points,
    on_face,
    ribbon,
    shape_of,
    skull_line,
    smooth,
    xy,
)

OVERSAMPLE = 2
SHADE_CELL = 4  # the soft shading is computed on every fourth pixel


class Pen:
    """Draws shapes given in head units on a canvas, through a pose."""

    def __init__(self, canvas, pose):
        self.canvas = canvas
        side = canvas.shape[1]
        yaw, roll = np.deg2rad(pose.yaw), np.deg2rad(pose.roll)
        self.unit = float(UNIT * pose.scale * side)
        cos, sin = np.cos(roll), np.sin(roll)
        turn = np.array([[cos, -sin], [sin, cos]])
        self.matrix = self.unit * turn @ np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0]])
        pivot = np.array([0, 0.9])
        centre = (np.array(ORIGIN) + np.array(pose.shift) + UNIT * pivot) * side - 0.5
        self.offset = centre - self.unit * turn @ pivot
        self.matrix = np.ascontiguousarray(self.matrix.T)

    def pixels(self, points):
        """(N, 3) head units -> (N, 2) pixels of the canvas."""
        return np.dot(points, self.matrix) + self.offset

    def fixed(self, points):
        """The same in sixteenths of a pixel, as OpenCV's `shift` wants it."""
        return np.rint(self.pixels(points) * 16).astype(np.int32)

    def on_patch(self, rows, columns):
        """A pen for a copy of a patch of this canvas (two slices)."""
        pen = copy(self)
        pen.canvas = self.canvas[rows, columns].copy()
        pen.offset = self.offset - (columns.start, rows.start)
        return pen

    def fill(self, points, colour):
        """Fills a closed outline (N, 3) -> the outline as `fixed` gives it."""
        outline = self.fixed(points)
        cv2.fillPoly(self.canvas, [outline], colour, cv2.LINE_AA, 4)
        return outline

    def line(self, points, colour, width):
        """A curve (N, 3), or several of one length (K, N, 3)."""
        thick = max(1, round(width * self.unit))
        curves = self.fixed(points).reshape(-1, points.shape[-2], 2)
        cv2.polylines(self.canvas, list(curves), False, colour, thick, cv2.LINE_AA, 4)

    def dot(self, point, radius, colour, width=-1):
        x, y = self.fixed(point[None])[0]
        thick = width if width < 0 else max(1, round(width * self.unit))
        cv2.circle(self.canvas, (int(x), int(y)), round(radius * self.unit * 16), colour, thick,
                   cv2.LINE_AA, 4)


@lru_cache(maxsize=1024)
def tone(colour, factor, towards=None):
    """A colour made lighter or darker by a factor, or mixed by that share with another."""
    other, keep = (towards, 1 - factor) if towards else ((0, 0, 0), factor)
    mixed = (c * keep + o * (1 - keep) for c, o in zip(colour, other, strict=True))
    return tuple(min(max(c, 0.0), 255.0) for c in mixed)


@lru_cache(maxsize=256)
def _circle(x, y, rx, ry=None, power=1.0):
    """Closed outline (24, 2) of an ellipse about (x, y); power below 1 squares it."""
    phi = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    cos, sin = np.cos(phi), np.sin(phi)
    across, down = (np.sign(wave) * np.abs(wave) ** power for wave in (cos, sin))
    return xy(x + rx * across, y + (ry or rx) * down)


def _backdrop(person, side):
    """(side, side, 3) uint8: a wall in two colours with a few blurred lights or panels."""
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


def _body(person, side):
    """Neck and shoulders -> (picture (side, side, 3), mask (side, side)), both uint8."""
    layers = np.full((side, side, 3), tone(person.skin, 0.86), np.uint8), np.zeros((side, side), np.uint8)
    layers[0][int((ORIGIN[1] + 1.95 * UNIT) * side):] = person.clothes
    neck = 0.50 * person.width + 0.06
    slope = smooth([(-2.6, 3.3), (-2.05, 2.35), (-1.2, 2.02), (-neck, 1.8), (0, 2.0), (neck, 1.8),
                    (1.2, 2.02), (2.05, 2.35), (2.6, 3.3)], 6)
    throat = np.array([(-neck, 0.8), (-neck, 1.8), (-neck - 0.1, 1.95), (0, 2.35), (neck + 0.1, 1.95),
                       (neck, 1.8), (neck, 0.8)])
    collar = smooth([(-neck - 0.12, 1.86), (-0.35, 2.22), (0, 2.36), (0.35, 2.22), (neck + 0.12, 1.86)], 6)
    for layer, ink in zip(layers, (None, (255, 255, 255)), strict=True):
        pen = Pen(layer, Pose())
        pen.fill(at_depth(slope), ink or person.clothes)
        pen.fill(at_depth(throat), ink or tone(person.skin, 0.86))
        pen.line(at_depth(collar), ink or tone(person.clothes, 0.75), 0.07)
    y = (np.arange(side) / side - ORIGIN[1]) / UNIT
    x = (np.arange(side) / side - ORIGIN[0]) / UNIT
    chin = np.exp(-(((y[:, None] - person.chin) / 0.35) ** 2) - (x[None] / 0.9) ** 2)
    fall = 1 + 0.20 * person.contrast * person.light[0] * np.clip(x, -2, 2)
    shaded = layers[0] * ((1 - 0.42 * chin) * fall)[..., None]
    return np.clip(shaded, 0, 255).astype(np.uint8), layers[1]


SHADE_BOX = (-1.6, -1.6, 3.5, 64)  # left, top and side in head units of the shading map; its cells


def _form_shading(person):
    """The light on the face at rest, (64, 64, 3) uint8 with 128 = unchanged."""
    left, top, reach, cells = SHADE_BOX
    x = left + (np.arange(cells) + 0.5) * reach / cells
    y = (top + (np.arange(cells) + 0.5) * reach / cells)[:, None]
    nx, ny = np.clip(x / 1.2, -1, 1), np.clip((y - 0.2) / 1.75, -1, 1)
    nz = np.sqrt(np.maximum(1 - nx**2 - ny**2, 0))
    lx, ly = person.light
    lambert = (nx * lx + ny * ly + nz * 0.9) / np.sqrt(lx**2 + ly**2 + 0.81)
    shade = np.repeat((1 + person.contrast * (lambert - 0.72))[..., None], 3, axis=2)

    def blob(cx, cy, sx, sy, amount):
        weight = np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)
        return weight[..., None] * np.asarray(amount, float)

    pink = person.blush * np.array([-0.11, -0.10, 0.0])
    turn = 1 if lx <= 0 else -1
    for side in (-1, 1):
        shade = shade + blob(side * person.eye_gap, -0.08, 0.27, 0.17, -0.13)
        shade = shade + blob(side * 0.60, 0.55, 0.26, 0.22, pink)
        shade = shade + blob(side * 0.12, 0.0, 0.08, 0.14, -0.07)
    shade = shade + blob(turn * 0.17, person.nose_length - 0.22, 0.09, 0.24, -0.15)
    shade = shade + blob(-turn * 0.03, person.nose_length - 0.25, 0.07, 0.26, 0.11)
    shade = shade + blob(-turn * 0.04, person.nose_length - 0.07, 0.09, 0.07, 0.12)
    shade = shade + blob(0, person.nose_length, 0.22, 0.10, 0.6 * pink)
    shade = shade + blob(0, person.nose_length + 0.12, 0.22, 0.06, -0.13)
    shade = shade + blob(-turn * 0.25, -0.72, 0.40, 0.22, 0.08)
    shade = shade + blob(-turn * 0.05, person.chin - 0.15, 0.2, 0.12, 0.07)
    return np.clip(shade * 128, 30, 255).astype(np.uint8)


HAIRLINES = {  # knots (x, y) from image-left to image-right; x in widths of the face
    "buzz": [(-1.0, -0.02), (-0.90, -0.45), (-0.60, -0.78), (0, -0.84), (0.60, -0.78), (0.90, -0.45),
             (1.0, -0.02)],
    "side": [(-1.0, 0.12), (-0.91, -0.36), (-0.72, -0.66), (-0.35, -0.90), (0.25, -0.72), (0.80, -0.58),
             (0.93, -0.34), (1.0, 0.12)],
    "fringe": [(-1.0, 0.15), (-0.90, -0.40), (-0.62, -0.60), (-0.30, -0.66), (0.05, -0.62), (0.40, -0.66),
               (0.66, -0.58), (0.90, -0.40), (1.0, 0.15)],
    "bob": [(-1.02, 0.9), (-0.98, 0.30), (-0.88, -0.30), (-0.55, -0.68), (-0.15, -0.95), (0.45, -0.70),
            (0.88, -0.30), (0.98, 0.30), (1.02, 0.9)],
    "curls": [(-1.0, 0.10), (-0.92, -0.35), (-0.70, -0.62), (-0.35, -0.72), (0, -0.76), (0.35, -0.70),
              (0.70, -0.64), (0.92, -0.35), (1.0, 0.10)],
    "bun": [(-1.0, 0.10), (-0.93, -0.38), (-0.65, -0.76), (0, -0.92), (0.65, -0.76), (0.93, -0.38),
            (1.0, 0.10)],
}
HAIRLINES["long"] = HAIRLINES["bob"]


class Painter:
    """Draws one person in pictures of side `size`; makes the layers that never move once."""

    def __init__(self, person, size):
        self.person, self.size, self.side = person, size, size * OVERSAMPLE
        self.backdrop = _backdrop(person, self.side)
        self.body, self.body_mask = _body(person, self.side)
        self.form = _form_shading(person)
        self.skull = skull_line(person)[1:-1]
        self.ears = [at_depth(_circle(side * (person.width + 0.02), 0.22, 0.15, 0.27), -0.15)
                     for side in (-1, 1)]
        self._style_hair()

    def _style_hair(self):
        """Lays out the hair: `back` (behind the neck), `front` polygons (N, 3), `strands` (K, 5, 3)."""
        p, rng = self.person, np.random.default_rng(self.person.texture + 1)
        self.back, self.front, self.strands = [], [], np.empty((0, 5, 3))
        if p.hair == "bald":
            return
        volume = 0.25 * p.volume if p.hair == "buzz" else p.volume
        low = {"bob": 1.0, "long": 1.1}.get(p.hair, 0.12)
        outer = skull_line(p, 1.16 + volume, 1.03 + 0.5 * volume, 25)
        outer[[0, -1], 1] = low
        outer[[0, -1], 0] = np.array([1, -1]) * p.width * (1.0 if low < 0.5 else 1.05)
        flip = 1 if p.parting > 0 else -1
        inner = smooth(np.array(HAIRLINES[p.hair])[::flip] * [flip * p.width, 1], 5)
        hairline = on_face(inner)
        hairline[:, 2] *= 1 - np.minimum(np.abs(inner[:, 0]) / p.width, 1) ** 3  # its ends join the outline
        self.front.append(np.concatenate((at_depth(outer), hairline)))
        if low > 0.5:
            end = 1.45 if p.hair == "bob" else 2.35
            edge = 1.12 + 0.6 * volume
            fall = [(-edge * 0.8, end + 0.05), (-edge * 1.1, end - 0.4), (-edge * 1.06, 0.3)]
            back = np.array(fall + [(-0.8, -0.9), (0, -1.2), (0.8, -0.9)] + [(-x, y) for x, y in fall[::-1]])
            self.back.append(at_depth(smooth(back * [p.width, 1], 5), -0.2))
        if p.hair == "bun":
            self.front.append(at_depth(_circle(0.0, -1.22 - volume, 0.36), -0.2))
        if p.hair == "curls":
            for x, y in skull_line(p, 1.05 + volume, 1.02 + 0.4 * volume, 17):
                self.front.append(at_depth(_circle(x, y, rng.uniform(0.2, 0.27) + 0.3 * volume)))
        self._comb(rng, outer, inner)

    def _comb(self, rng, outer, inner):
        """Strands from the crown's outline to the hairline."""
        strands = []
        start = outer[len(outer) // 6:-len(outer) // 6][::-1]
        stop = inner[len(inner) // 6:-len(inner) // 6]
        for t in rng.uniform(0.03, 0.97, 11):
            a, b = (line[int(t * (len(line) - 1))] for line in (start, stop))
            s = np.linspace(rng.uniform(0.1, 0.3), rng.uniform(0.7, 0.95), 5)[:, None]
            bend = np.array([0.10 * self.person.parting, -0.06]) * np.sin(np.pi * s)
            strands.append(at_depth(a + (b - a) * s + bend, 0.2))
        self.strands = np.array(strands)

    def draw(self, valence, arousal, pose):
        """-> picture (size, size, 3) uint8 BGR and landmarks (68, 2) float in its pixels.

        The labels lie in [-1, 1] and reach the face through the person's gain and offset.
        """
        p = self.person
        shape = shape_of(p.gain[0] * valence + p.offset[0], p.gain[1] * arousal + p.offset[1])
        canvas = self.backdrop.copy()
        pen = Pen(canvas, pose)
        for lock in self.back:
            pen.fill(lock, tone(p.hair_colour, 0.72))
        cv2.copyTo(self.body, self.body_mask, canvas)
        self._head(pen, shape)
        self._shade(pen, pose, shape)
        for side in (-1, 1):
            self._eye(pen, shape, side)
            self._brow(pen, shape, side)
        self._nose(pen, shape)
        self._mouth(pen, shape)
        self._glasses(pen)
        self._occluder(pen, shape)
        picture = cv2.resize(canvas, (self.size, self.size), interpolation=cv2.INTER_AREA)
        points = (pen.pixels(landmarks_of(p, shape)) + 0.5) / OVERSAMPLE - 0.5
        return picture, points

    def _head(self, pen, shape):
        """Ears, face, beard and hair in flat colours; keeps their silhouette for the shading."""
        p, jaw = self.person, jaw_line(self.person, shape)
        parts = []
        for ear in self.ears:
            parts.append(pen.fill(ear, tone(p.skin, 0.93)))
            pen.fill(ear * [1, 0.62, 1] + [0, 0.08, 0], tone(p.skin, 0.78))
        parts.append(pen.fill(at_depth(np.concatenate((smooth(jaw, 3), self.skull))), p.skin))
        self._beard(pen, jaw, shape)
        parts += self._hair(pen)
        self.mask = np.zeros(pen.canvas.shape[:2], np.uint8)
        for part in parts:
            cv2.fillPoly(self.mask, [part], 255, cv2.LINE_8, 4)

    def _beard(self, pen, jaw, shape):
        p = self.person
        colour = tone(p.skin, 0.13 if p.beard == "stubble" else 0.85, p.hair_colour)
        if p.beard in ("full", "stubble"):
            lip = p.mouth_height - 0.14 - 0.1 * shape.corner
            top = [(0.80, 0.62), (0.62, lip), (0.22, lip - 0.06), (0, lip - 0.03), (-0.22, lip - 0.06),
                   (-0.62, lip), (-0.80, 0.62)]
            edge = on_face(smooth(np.array(top) * [p.width, 1]))
            pen.fill(np.concatenate((at_depth(smooth(jaw[2:15])), edge)), colour)
        elif p.beard == "moustache":
            t = np.linspace(-1, 1, 13)
            top = mouth_curves(p, shape, 0.95 * t)[0] - [0, 0.05]
            pen.fill(on_face(ribbon(top, 0.03 + 0.11 * (1 - t**2))), colour)

    def _hair(self, pen):
        p = self.person
        colour = tone(p.skin, 0.6, p.hair_colour) if p.hair == "buzz" else p.hair_colour
        parts = [pen.fill(lock, colour) for lock in self.front]
        if p.hair not in ("buzz", "bald"):
            light = tone(tone(p.hair_colour, 1.25), 0.08, (255, 255, 255))
            pen.line(self.strands[::2], light, 0.025)
            pen.line(self.strands[1::2], tone(p.hair_colour, 0.75), 0.025)
        return parts

    def _shade(self, pen, pose, shape):
        """Multiplies the head with soft light: its form, cheeks, and the folds that the expression makes."""
        folds = np.full((self.side // SHADE_CELL, self.side // SHADE_CELL, 3), 128, np.uint8)
        soft = Pen(folds, pose)
        left, top, reach, cells = SHADE_BOX
        corners = np.array([(0, 0), (cells, 0), (0, cells)]) * reach / cells + [left, top]
        grid = np.float32([(0, 0), (cells, 0), (0, cells)]) - 0.5
        warp = cv2.getAffineTransform(grid, soft.pixels(at_depth(corners, 0.75)).astype(np.float32))
        form = cv2.warpAffine(self.form, warp, folds.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        self._folds(soft, shape)
        folds = cv2.GaussianBlur(folds, (0, 0), 0.9 * self.size / 128)
        light = cv2.resize(cv2.multiply(form, folds, scale=1 / 128), (self.side, self.side))
        even = np.full_like(pen.canvas, 128)
        cv2.copyTo(light, self.mask, even)
        cv2.multiply(pen.canvas, even, pen.canvas, scale=1 / 128)

    def _folds(self, soft, shape):
        p = self.person
        deep = max(shape.smile, 0.75 * shape.square)
        for side in (-1, 1):
            if shape.smile > 0.05:
                cheek = on_face([(side * 0.62, 0.52 - 0.06 * shape.smile)])[0]
                warm = 9 * shape.smile
                soft.dot(cheek, 0.12 + 0.10 * shape.smile, (128 - warm, 130 - warm, 132 + warm))
            if deep > 0.15:
                end = p.mouth_width + shape.widen + 0.12
                fold = on_face(smooth([(side * 0.30, p.nose_length - 0.02), (side * (end - 0.02), 0.80),
                                       (side * end, p.mouth_height - 0.5 * shape.corner)]))
                dark = 128 - 42 * deep
                soft.line(fold, (dark - 4, dark, dark + 6), 0.06)
            if shape.square > 0.2:
                dark = 128 - 26 * shape.square
                soft.line(on_face([(side * 0.07, -0.38), (side * 0.09, -0.16)]), (dark, dark, dark), 0.06)

    def _eye(self, pen, shape, side):
        """White, iris, pupil and glint seen through the lids, then the lids themselves."""
        curves = on_face(np.concatenate(eye_curves(self.person, shape, side, EYE_FINE)))
        up, low = curves.reshape(2, -1, 3)
        outline = pen.fixed(np.concatenate((up, low[::-1])))
        (x, y), (right, bottom) = (outline.min(0) >> 4) - 2, (outline.max(0) >> 4) + 3
        rows, columns = slice(max(y, 0), bottom), slice(max(x, 0), right)
        inside = pen.on_patch(rows, columns)
        self._eyeball(inside, side, shape, up)
        mask = np.zeros(inside.canvas.shape[:2], np.uint8)
        cv2.fillPoly(mask, [inside.fixed(np.concatenate((up, low[::-1])))], 255, cv2.LINE_8, 4)
        cv2.copyTo(inside.canvas, mask, pen.canvas[rows, columns])
        self._lids(pen, up, low, shape)

    def _eyeball(self, pen, side, shape, up):
        p = self.person
        pen.canvas[:] = tone((236, 240, 243), 0.12, p.skin)
        centre = on_face([(side * p.eye_gap, -0.025)])[0]
        pen.dot(centre, 0.148, tone(p.iris, 0.55))
        pen.dot(centre, 0.125, p.iris)
        pen.dot(centre + [0, 0.04, 0], 0.08, tone(p.iris, 1.3))
        pen.dot(centre, 0.15 * shape.pupil, (18, 16, 16))
        pen.line(up + [0, 0.03, 0], tone(tone((190, 195, 205), 0.4, p.skin), 0.72), 0.05)
        pen.dot(centre + [0.05 * np.sign(p.light[0]), -0.05, 0], 0.036, (250, 250, 250))

    def _lids(self, pen, up, low, shape):
        p, arch = self.person, 1 - EYE_FINE**2
        lash = tone((28, 28, 34), 0.25, p.hair_colour)
        pen.fill(ribbon(up - [0, 0.012, 0], 0.028 + 0.030 * arch), lash)
        pen.line(low[2:], tone(p.skin, 0.62), 0.022)
        crease = up - [0, 0.075, 0]
        crease[:, 1] -= 0.02 * arch
        pen.line(crease[1:], tone(p.skin, 0.74), 0.022)
        if shape.squint > 0.08:
            bag = low + [0, 0.055, 0]
            bag[:, 1] += 0.03 * arch
            pen.line(bag[3:-1], tone(p.skin, 0.84), 0.025)

    def _brow(self, pen, shape, side):
        curve = smooth(brow_line(self.person, shape, side), 3)
        t = np.linspace(0, 1, len(curve))
        thick = self.person.brow_width * 2.0 * np.minimum(0.55 + 2 * t, 1) * (1 - 0.75 * t**2)
        colour = tone(tone(self.person.hair_colour, 0.72), 0.12, self.person.skin)
        pen.fill(on_face(ribbon(curve, thick)), colour)

    def _nose(self, pen, shape):
        p, points = self.person, nose_points(self.person, shape)
        dark = tone(p.skin, 0.62)
        pen.line(smooth(points[4:]), tone(p.skin, 0.70), 0.03)
        for side, wing in ((-1, points[4]), (1, points[8])):
            curl = [wing + [0, -0.10, 0], wing + [side * 0.025, -0.03, 0], wing]
            pen.line(smooth(curl), tone(p.skin, 0.72), 0.03)
            nostril = (points[5] if side < 0 else points[7]) + [0, -0.025, 0]
            pen.fill(nostril + at_depth(_circle(0, 0, 0.055, 0.025)), tone(dark, 0.6))
        pen.dot(points[3] + [0.04 * np.sign(p.light[0]), 0.0, 0], 0.03, tone(p.skin, 0.22, (255, 255, 255)))

    def _mouth(self, pen, shape):
        """Lips as bands between their edges; what is between the inner edges is the open mouth."""
        p = self.person
        edges = on_face(np.concatenate(mouth_curves(p, shape, LIP_FINE)))
        top, upper, lower, bottom = edges.reshape(4, -1, 3)
        pen.fill(np.concatenate((top, upper[::-1])), tone(p.lip_colour, 0.86))
        pen.fill(np.concatenate((lower, bottom[::-1])), p.lip_colour)
        if shape.gap > 0.02:
            self._open_mouth(pen, shape, upper, lower)
        gleam = 0.55 * lower[6:-6] + 0.45 * bottom[6:-6]
        pen.line(gleam, tone(p.lip_colour, 0.30, (255, 255, 255)), 0.03)
        pen.line(upper, tone(p.lip_colour, 0.45), 0.025)
        if shape.gap < 0.06:
            for corner, side in ((upper[0], -1), (upper[-1], 1)):
                tick = corner + np.array([(0, 0, 0), (side * 0.04, -0.15 * shape.corner, 0)])
                pen.line(tick, tone(p.skin, 0.62), 0.03)

    def _open_mouth(self, pen, shape, upper, lower):
        gap = lower - upper
        pen.fill(np.concatenate((upper, lower[::-1])), (38, 28, 62))
        middle = slice(4, -4)
        pen.fill(np.concatenate((lower[middle], (lower - 0.42 * gap)[middle][::-1])), (92, 88, 172))
        teeth = np.zeros_like(gap)
        shown = (0.07 + 0.05 * shape.smile) * (1 - np.abs(LIP_FINE) ** 1.5)
        teeth[:, 1] = np.minimum(0.85 * gap[:, 1], shown)
        inside = slice(2, -2)
        pen.fill(np.concatenate((upper[inside], (upper + teeth)[inside][::-1])), (228, 236, 240))
        if shape.square > 0.3:
            pen.fill(np.concatenate((lower[inside], (lower - 0.7 * teeth)[inside][::-1])),
                     (205, 215, 222))

    def _glasses(self, pen):
        p = self.person
        if not p.glasses:
            return
        frame = tone((30, 28, 30), 0.25, p.clothes)
        for side in (-1, 1):
            squareness = 1.0 if p.glasses == "round" else 0.55
            rim = _circle(0, 0, 0.35, 0.31, squareness) + [side * (p.eye_gap + 0.01), 0.02]
            rim = on_face(np.concatenate((rim, rim[:1])), 0.12)
            if p.glasses == "dark":
                pen.fill(rim, (40, 36, 36))
                pen.line(rim[3:7] * [0.97, 0.8, 1], (110, 105, 100), 0.03)
            pen.line(rim, frame, 0.045)
            pen.line(np.array([(side * (p.eye_gap + 0.34), -0.04, 0.7), (side * p.width, -0.06, 0.0)]), frame,
                     0.045)
        inner = p.eye_gap - 0.33
        pen.line(on_face(smooth([(-inner, 0.0), (0, -0.05), (inner, 0.0)]), 0.14), frame, 0.045)

    def _occluder(self, pen, shape):
        p, side = self.person, 1 if self.person.parting > 0 else -1
        if p.occluder == "scarf":
            edge = smooth([(-1.12, 0.75), (-0.6, 1.05), (0, 1.13), (0.6, 1.05), (1.12, 0.75)])
            wrap = np.concatenate((edge, [(1.35, 2.0), (0.9, 2.3), (-0.9, 2.3), (-1.35, 2.0)]))
            pen.fill(at_depth(wrap, 0.6), p.clothes)
            for drop in (0.22, 0.45, 0.75):
                pen.line(at_depth(edge + [0, drop], 0.6), tone(p.clothes, 0.78), 0.05)
        elif p.occluder == "hand":
            skin = tone(p.skin, 0.92)
            palm = smooth([(0.65, 2.5), (0.62, 1.75), (0.75, 1.25), (1.15, 1.1), (1.45, 1.5), (1.5, 2.5)])
            pen.fill(at_depth(palm * [side, 1], 0.5), skin)
            for x, y, tip in ((0.72, 1.4, 0.86), (0.88, 1.25, 0.62), (1.04, 1.25, 0.55), (1.22, 1.35, 0.68)):
                finger = at_depth(np.array([(side * x, y), (side * (x - 0.14), tip)]), 0.5)
                pen.line(finger, tone(p.skin, 0.68), 0.22)
                pen.line(finger, skin, 0.17)
        elif p.occluder == "fringe":
            for i in range(7):
                x = side * (-0.5 + 0.19 * i)
                lock = smooth([(0.6 * x, -1.15), (x, -0.7), (x + 0.1 * side, -0.25 + 0.05 * i)])
                taper = np.linspace(0.16, 0.02, len(lock))[:, None] * [1, 0]
                pen.fill(at_depth(np.concatenate((lock - taper, (lock + taper)[::-1])), 0.7),
                         tone(p.hair_colour, 0.9 + 0.06 * (i % 3)))


def draw_face(person, valence, arousal, pose=None, size=128):
    """One picture: -> (size, size, 3) uint8 BGR and landmarks (68, 2) in pixels. See `Painter.draw`."""
    return Painter(person, size).draw(valence, arousal, pose or Pose())
