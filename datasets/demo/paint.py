"""Paints the faces of the demo set: a stylised head whose expression follows valence and arousal.

Everything is drawn at twice the final size and averaged down. Colours are BGR; see `datasets.demo.face` for the units.
"""

import cv2
import numpy as np

from datasets.demo.face import (
    EYE_FINE,
    LIP_FINE,
    Person,
    Pose,
    Shape,
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
    spline,
)
from datasets.demo.layers import SHADE_BOX, WHITE, draw_backdrop, draw_body, draw_shading, lay_out_hair
from datasets.demo.pen import Pen, ellipse, tone

OVERSAMPLE = 2
SHADE_CELL = 4  # pixels of the canvas per pixel of the soft shading


class Painter:
    """Paints one person; what is the same in all images is made once.

    Args:
        person: whom to paint.
        size: side of the images in pixels.
    """

    def __init__(self, person: Person, size: int):
        self.person, self.size, self.side = person, size, size * OVERSAMPLE
        self.backdrop = draw_backdrop(person, self.side)
        self.body, self.body_mask = draw_body(person, self.side)
        self.shading = draw_shading(person)
        self.skull = skull_line(person)[1:-1]
        self.ears = [at_depth(ellipse(side * (person.width + 0.02), 0.22, 0.15, 0.27), -0.15) for side in (-1, 1)]
        self.hair = lay_out_hair(person)

    def draw(self, valence: float, arousal: float, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Paint one image.

        Args:
            valence: in [-1, 1]; the face shows it after the person's gain and offset.
            arousal: likewise.
            pose: of the head.

        Returns:
            The image (size, size, 3) uint8 BGR, and its landmarks (68, 2) float64 in pixels.
        """
        p = self.person
        shape = shape_of(p.gain[0] * valence + p.offset[0], p.gain[1] * arousal + p.offset[1])
        canvas = self.backdrop.copy()
        pen = Pen(canvas, pose)
        for outline in self.hair.back:
            pen.fill(outline, tone(p.hair_colour, 0.72))
        cv2.copyTo(self.body, self.body_mask, canvas)
        self._shade(pen, self._head(pen, shape), pose, shape)
        for side in (-1, 1):
            self._eye(pen, shape, side)
            self._brow(pen, shape, side)
        self._nose(pen, shape)
        self._mouth(pen, shape)
        self._glasses(pen)
        self._occluder(pen)
        image = cv2.resize(canvas, (self.size, self.size), interpolation=cv2.INTER_AREA)
        points = (pen.pixels(landmarks_of(p, shape)) + 0.5) / OVERSAMPLE - 0.5
        return image, points

    def _head(self, pen: Pen, shape: Shape) -> np.ndarray:
        """Paint ears, face, beard and hair in flat colours; return their mask (side, side) uint8."""
        p, jaw = self.person, jaw_line(self.person, shape)
        parts = []
        for ear in self.ears:
            parts.append(pen.fill(ear, tone(p.skin, 0.93)))
            pen.fill(ear * [1, 0.62, 1] + [0, 0.08, 0], tone(p.skin, 0.78))
        parts.append(pen.fill(at_depth(np.concatenate((spline(jaw, 3), self.skull))), p.skin))
        self._beard(pen, jaw, shape)
        parts += self._hair(pen)
        mask = np.zeros(pen.canvas.shape[:2], np.uint8)
        for part in parts:
            cv2.fillPoly(mask, [part], (255,), cv2.LINE_8, 4)
        return mask

    def _beard(self, pen: Pen, jaw: np.ndarray, shape: Shape) -> None:
        """Paint the beard below the mouth or the moustache above it."""
        p = self.person
        colour = tone(p.skin, 0.13 if p.beard == "stubble" else 0.85, p.hair_colour)
        if p.beard in ("full", "stubble"):
            lip = p.mouth_height - 0.14 - 0.1 * shape.corner
            top = [
                (0.80, 0.62), (0.62, lip), (0.22, lip - 0.06), (0, lip - 0.03),
                (-0.22, lip - 0.06), (-0.62, lip), (-0.80, 0.62),
            ]  # fmt: skip
            edge = on_face(spline(np.array(top) * [p.width, 1]))
            pen.fill(np.concatenate((at_depth(spline(jaw[2:15])), edge)), colour)
        elif p.beard == "moustache":
            t = np.linspace(-1, 1, 13)
            middle = mouth_curves(p, shape, 0.95 * t)[0] - [0, 0.05]
            pen.fill(on_face(ribbon(middle, 0.03 + 0.11 * (1 - t**2))), colour)

    def _hair(self, pen: Pen) -> list[np.ndarray]:
        """Paint the hair on the head; return its outlines in sixteenths of a pixel."""
        p = self.person
        colour = tone(p.skin, 0.6, p.hair_colour) if p.hair == "buzz" else p.hair_colour
        parts = [pen.fill(outline, colour) for outline in self.hair.front]
        if p.hair not in ("buzz", "bald"):
            light = tone(tone(p.hair_colour, 1.25), 0.08, WHITE)
            pen.line(self.hair.strands[::2], light, 0.025)
            pen.line(self.hair.strands[1::2], tone(p.hair_colour, 0.75), 0.025)
        return parts

    def _shade(self, pen: Pen, mask: np.ndarray, pose: Pose, shape: Shape) -> None:
        """Multiply the head by soft light: the shading at rest, and the folds that the expression makes."""
        soft = Pen(np.full((self.side // SHADE_CELL, self.side // SHADE_CELL, 3), 128, np.uint8), pose)
        left, top, reach, cells = SHADE_BOX
        corners = np.array([(0, 0), (cells, 0), (0, cells)]) * reach / cells + [left, top]
        grid = np.array([(0, 0), (cells, 0), (0, cells)], np.float32) - 0.5
        warp = cv2.getAffineTransform(grid, soft.pixels(at_depth(corners, 0.75)).astype(np.float32))
        at_rest = cv2.warpAffine(self.shading, warp, soft.canvas.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        self._folds(soft, shape)
        folds = cv2.GaussianBlur(soft.canvas, (0, 0), 0.9 * self.size / 128)
        light = cv2.resize(cv2.multiply(at_rest, folds, scale=1 / 128), (self.side, self.side))
        factors = np.full_like(pen.canvas, 128)
        cv2.copyTo(light, mask, factors)
        cv2.multiply(pen.canvas, factors, pen.canvas, scale=1 / 128)

    def _folds(self, soft: Pen, shape: Shape) -> None:
        """Paint warm cheeks, the folds beside the mouth, and those between the brows."""
        p = self.person
        deep = max(shape.smile, 0.75 * shape.square)
        for side in (-1, 1):
            if shape.smile > 0.05:
                cheek = on_face([(side * 0.62, 0.52 - 0.06 * shape.smile)])[0]
                warm = 9 * shape.smile
                soft.dot(cheek, 0.12 + 0.10 * shape.smile, (128 - warm, 130 - warm, 132 + warm))
            if deep > 0.15:
                end = p.mouth_width + shape.widen + 0.12
                knots = [
                    (side * 0.30, p.nose_length - 0.02),
                    (side * (end - 0.02), 0.80),
                    (side * end, p.mouth_height - 0.5 * shape.corner),
                ]
                fold = on_face(spline(knots))
                dark = 128 - 42 * deep
                soft.line(fold, (dark - 4, dark, dark + 6), 0.06)
            if shape.square > 0.2:
                dark = 128 - 26 * shape.square
                soft.line(on_face([(side * 0.07, -0.38), (side * 0.09, -0.16)]), (dark, dark, dark), 0.06)

    def _eye(self, pen: Pen, shape: Shape, side: int) -> None:
        """Paint the eyeball where the lids are open, then the lids; side -1 = image-left, 1 = image-right."""
        curves = on_face(np.concatenate(eye_curves(self.person, shape, side, EYE_FINE)))
        up, low = curves.reshape(2, -1, 3)
        outline = pen.fixed(np.concatenate((up, low[::-1])))
        (x, y), (right, bottom) = (outline.min(0) >> 4) - 2, (outline.max(0) >> 4) + 3
        rows, columns = slice(max(y, 0), bottom), slice(max(x, 0), right)
        inside = pen.on_patch(rows, columns)
        self._eyeball(inside, side, shape, up)
        mask = np.zeros(inside.canvas.shape[:2], np.uint8)
        cv2.fillPoly(mask, [inside.fixed(np.concatenate((up, low[::-1])))], (255,), cv2.LINE_8, 4)
        cv2.copyTo(inside.canvas, mask, pen.canvas[rows, columns])
        self._lids(pen, up, low, shape)

    def _eyeball(self, pen: Pen, side: int, shape: Shape, up: np.ndarray) -> None:
        """Paint white, iris, pupil, glint and the shadow of the upper lid `up` (K, 3)."""
        p = self.person
        pen.canvas[:] = tone((236, 240, 243), 0.12, p.skin)
        centre = on_face([(side * p.eye_gap, -0.025)])[0]
        pen.dot(centre, 0.148, tone(p.iris, 0.55))
        pen.dot(centre, 0.125, p.iris)
        pen.dot(centre + [0, 0.04, 0], 0.08, tone(p.iris, 1.3))
        pen.dot(centre, 0.15 * shape.pupil, (18, 16, 16))
        pen.line(up + [0, 0.03, 0], tone(tone((190, 195, 205), 0.4, p.skin), 0.72), 0.05)
        pen.dot(centre + [0.05 * np.sign(p.light[0]), -0.05, 0], 0.036, (250, 250, 250))

    def _lids(self, pen: Pen, up: np.ndarray, low: np.ndarray, shape: Shape) -> None:
        """Paint the upper and lower lid, (K, 3) each."""
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

    def _brow(self, pen: Pen, shape: Shape, side: int) -> None:
        """Paint the brow on one side."""
        curve = spline(brow_line(self.person, shape, side), 3)
        t = np.linspace(0, 1, len(curve))
        thickness = self.person.brow_width * 2.0 * np.minimum(0.55 + 2 * t, 1) * (1 - 0.75 * t**2)
        colour = tone(tone(self.person.hair_colour, 0.72), 0.12, self.person.skin)
        pen.fill(on_face(ribbon(curve, thickness)), colour)

    def _nose(self, pen: Pen, shape: Shape) -> None:
        """Paint the nose's base, wings, nostrils and highlight."""
        p, points = self.person, nose_points(self.person, shape)
        dark = tone(p.skin, 0.62)
        pen.line(spline(points[4:]), tone(p.skin, 0.70), 0.03)
        for side, wing in ((-1, points[4]), (1, points[8])):
            curl = [wing + [0, -0.10, 0], wing + [side * 0.025, -0.03, 0], wing]
            pen.line(spline(curl), tone(p.skin, 0.72), 0.03)
            nostril = (points[5] if side < 0 else points[7]) + [0, -0.025, 0]
            pen.fill(nostril + at_depth(ellipse(0, 0, 0.055, 0.025)), tone(dark, 0.6))
        pen.dot(points[3] + [0.04 * np.sign(p.light[0]), 0.0, 0], 0.03, tone(p.skin, 0.22, WHITE))

    def _mouth(self, pen: Pen, shape: Shape) -> None:
        """Paint the lips as bands between their edges, and the open mouth between the inner edges."""
        p = self.person
        edges = on_face(np.concatenate(mouth_curves(p, shape, LIP_FINE)))
        top, upper, lower, bottom = edges.reshape(4, -1, 3)
        pen.fill(np.concatenate((top, upper[::-1])), tone(p.lip_colour, 0.86))
        pen.fill(np.concatenate((lower, bottom[::-1])), p.lip_colour)
        if shape.gap > 0.02:
            self._open_mouth(pen, shape, upper, lower)
        gleam = 0.55 * lower[6:-6] + 0.45 * bottom[6:-6]
        pen.line(gleam, tone(p.lip_colour, 0.30, WHITE), 0.03)
        pen.line(upper, tone(p.lip_colour, 0.45), 0.025)
        if shape.gap < 0.06:
            for corner, side in ((upper[0], -1), (upper[-1], 1)):
                tick = corner + np.array([(0, 0, 0), (side * 0.04, -0.15 * shape.corner, 0)])
                pen.line(tick, tone(p.skin, 0.62), 0.03)

    def _open_mouth(self, pen: Pen, shape: Shape, upper: np.ndarray, lower: np.ndarray) -> None:
        """Paint tongue and teeth between the inner edges of the lips, (K, 3) each."""
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
            pen.fill(np.concatenate((lower[inside], (lower - 0.7 * teeth)[inside][::-1])), (205, 215, 222))

    def _glasses(self, pen: Pen) -> None:
        """Paint the person's glasses, if any."""
        p = self.person
        if not p.glasses:
            return
        frame = tone((30, 28, 30), 0.25, p.clothes)
        for side in (-1, 1):
            squareness = 1.0 if p.glasses == "round" else 0.55
            rim = ellipse(0, 0, 0.35, 0.31, squareness) + [side * (p.eye_gap + 0.01), 0.02]
            rim = on_face(np.concatenate((rim, rim[:1])), 0.12)
            if p.glasses == "dark":
                pen.fill(rim, (40, 36, 36))
                pen.line(rim[3:7] * [0.97, 0.8, 1], (110, 105, 100), 0.03)
            pen.line(rim, frame, 0.045)
            pen.line(np.array([(side * (p.eye_gap + 0.34), -0.04, 0.7), (side * p.width, -0.06, 0.0)]), frame, 0.045)
        inner = p.eye_gap - 0.33
        pen.line(on_face(spline([(-inner, 0.0), (0, -0.05), (inner, 0.0)]), 0.14), frame, 0.045)

    def _occluder(self, pen: Pen) -> None:
        """Paint what covers a part of the face, if anything does."""
        paint = {"scarf": self._scarf, "hand": self._hand, "fringe": self._fringe}.get(self.person.occluder)
        if paint:
            paint(pen, 1 if self.person.parting > 0 else -1)

    def _scarf(self, pen: Pen, side: int) -> None:
        """Paint a scarf over mouth and chin."""
        colour = self.person.clothes
        edge = spline([(-1.12, 0.75), (-0.6, 1.05), (0, 1.13), (0.6, 1.05), (1.12, 0.75)])
        outline = np.concatenate((edge, [(1.35, 2.0), (0.9, 2.3), (-0.9, 2.3), (-1.35, 2.0)]))
        pen.fill(at_depth(outline, 0.6), colour)
        for drop in (0.22, 0.45, 0.75):
            pen.line(at_depth(edge + [0, drop], 0.6), tone(colour, 0.78), 0.05)

    def _hand(self, pen: Pen, side: int) -> None:
        """Paint a hand on the cheek of one side."""
        skin = self.person.skin
        palm = spline([(0.65, 2.5), (0.62, 1.75), (0.75, 1.25), (1.15, 1.1), (1.45, 1.5), (1.5, 2.5)])
        pen.fill(at_depth(palm * [side, 1], 0.5), tone(skin, 0.92))
        for x, y, tip in ((0.72, 1.4, 0.86), (0.88, 1.25, 0.62), (1.04, 1.25, 0.55), (1.22, 1.35, 0.68)):
            finger = at_depth(np.array([(side * x, y), (side * (x - 0.14), tip)]), 0.5)
            pen.line(finger, tone(skin, 0.68), 0.22)
            pen.line(finger, tone(skin, 0.92), 0.17)

    def _fringe(self, pen: Pen, side: int) -> None:
        """Paint seven locks over the forehead and one eye."""
        for i in range(7):
            x = side * (-0.5 + 0.19 * i)
            lock = spline([(0.6 * x, -1.15), (x, -0.7), (x + 0.1 * side, -0.25 + 0.05 * i)])
            taper = np.linspace(0.16, 0.02, len(lock))[:, None] * [1, 0]
            outline = at_depth(np.concatenate((lock - taper, (lock + taper)[::-1])), 0.7)
            pen.fill(outline, tone(self.person.hair_colour, 0.9 + 0.06 * (i % 3)))


def draw_face(
    person: Person, valence: float, arousal: float, pose: Pose | None = None, size: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """Paint one image of a person: (size, size, 3) uint8 BGR and its landmarks (68, 2); see `Painter.draw`."""
    return Painter(person, size).draw(valence, arousal, pose or Pose())
