"""Drawing tools for the README's diagrams: a sheet of boxes, arrows, text and pictures, and faces to put on it."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Patch, Rectangle
from matplotlib.path import Path as Line
from numpy.typing import ArrayLike

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.demo.dataset import IDENTITY  # noqa: E402
from datasets.demo.face import Person, Pose  # noqa: E402
from datasets.demo.paint import draw_face  # noqa: E402
from datasets.demo.people import random_person  # noqa: E402

DPI = 100
INK, GREY, FAINT, PAPER = "#1f2d3a", "#6b7885", "#d5dce3", "#ffffff"
BLUE, ORANGE, PURPLE, GREEN, RED = "#2c6fb3", "#c8691c", "#6f5aa8", "#16856a", "#a8443f"
ACTOR = Person(
    width=1.02,
    skin=(128, 168, 215),
    hair="bob",
    hair_colour=(38, 48, 78),
    lips=0.10,
    iris=(60, 105, 95),
    clothes=(150, 110, 60),
    backdrop=((225, 220, 214), (205, 196, 190)),
    texture=7,
)
STRANGER = random_person(np.random.default_rng([0, 14, IDENTITY]))


def tint(colour: str, strength: float) -> tuple[float, ...]:
    """Mix the colour "#rrggbb" with white; at strength 0 the result is white, at 1 the colour itself."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return tuple(1 - strength * (1 - rgb))


class Sheet:
    """A white sheet of width × height pixels. All sizes and positions are in pixels; later items are on top."""

    def __init__(self, width: int, height: int):
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self.axes.axis("off")
        self.layer = 1.0

    def save(self, target: Path) -> None:
        """Write a PNG with seven bits per colour, which makes the file smaller without a visible difference."""
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., 2::-1]
        cv2.imwrite(str(target), picture & 0xFE | picture >> 7, [cv2.IMWRITE_PNG_COMPRESSION, 9])

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 22,
        colour: str = INK,
        bold: bool = False,
        align: str = "center",
        rotation: float = 0,
    ) -> None:
        """Write text, vertically centred at y; a single horizontal line has the same baseline whatever its letters."""
        level = "\n" not in words and not rotation
        self.axes.text(
            x,
            y + (0.36 * size if level else 0),
            words,
            size=points(size),
            color=colour,
            ha=align,
            rotation=rotation,
            va="baseline" if level else "center",
            weight="bold" if bold else "normal",
            linespacing=1.3,
            zorder=self._next(),
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        words: str = "",
        colour: str = GREY,
        fill: float = 0.12,
        size: float = 22,
        bold: bool = False,
        line: float = 2.0,
        corner: float = 12,
    ) -> None:
        """Draw a rounded box with centred text; (x, y) is its upper left corner, fill the strength of its tint."""
        style = f"round,pad=0,rounding_size={corner}" if corner else "square,pad=0"
        self._add(
            FancyBboxPatch((x, y), width, height, style, facecolor=tint(colour, fill), edgecolor=colour, linewidth=line)
        )
        if words:
            self.text(x + width / 2, y + height / 2, words, size, bold=bold)

    def bar(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str = GREY,
        fill: float = 0.35,
        words: str = "",
        size: float = 20,
    ) -> None:
        """Draw a network layer as an upright bar with left edge x and centre y; its text runs upwards."""
        self.box(x, y - height / 2, width, height, "", colour, fill, line=1.5, corner=4)
        if words:
            self.text(x + width / 2, y, words, size, rotation=90)

    def arrow(self, *corners: tuple[float, float], colour: str = INK, line: float = 2.0, head: float = 20.0) -> None:
        """Draw a line through the corners (x, y), with a head of that size at the last one; 0 = no head."""
        self._arrow({"path": Line(corners)}, colour, line, head)

    def arc(
        self,
        start: tuple[float, float],
        stop: tuple[float, float],
        curvature: float,
        colour: str = INK,
        line: float = 2.0,
    ) -> None:
        """Draw a curved arrow; curvature is its greatest distance from a straight line as a share of its length."""
        self._arrow({"posA": start, "posB": stop, "connectionstyle": f"arc3,rad={curvature}"}, colour, line, 20)

    def _arrow(self, geometry: dict[str, Any], colour: str, line: float, head: float) -> None:
        style = "-|>,head_length=0.5,head_width=0.24" if head else "-"
        self._add(
            FancyArrowPatch(
                **geometry,
                arrowstyle=style,
                mutation_scale=head or 1,
                shrinkA=0,
                shrinkB=0,
                color=colour,
                linewidth=line,
                fill=bool(head),
                joinstyle="miter",
            )
        )

    def curve(self, x: ArrayLike, y: ArrayLike, colour: str = INK, line: float = 2.0, dashes: str = "-") -> None:
        """Draw a curve through points; dashes is matplotlib's line style."""
        self.axes.plot(x, y, linestyle=dashes, color=colour, linewidth=line, zorder=self._next())

    def dot(self, x: float, y: float, radius: float, colour: str = INK, words: str = "", size: float = 26) -> None:
        """Draw a disc, or with text the node of a graph, white with a coloured rim."""
        self._add(Circle((x, y), radius, facecolor=PAPER if words else colour, edgecolor=colour, linewidth=2.0))
        if words:
            self.text(x, y, words, size, colour)

    def picture(self, image: np.ndarray, x: float, y: float, side: float, edge: str = GREY, line: float = 1.5) -> None:
        """Place a square RGB image with a frame; (x, y) is its upper left corner."""
        extent = (x, x + side, y + side, y)
        self.axes.imshow(image, extent=extent, aspect="auto", interpolation="antialiased", zorder=self._next())
        self.frame(x, y, side, side, edge, line)

    def frame(self, x: float, y: float, width: float, height: float, colour: str, line: float) -> None:
        """Draw a rectangle; (x, y) is its upper left corner."""
        self._add(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=line, joinstyle="round"))

    def _add(self, patch: Patch) -> None:
        """Add a shape on top of all others."""
        patch.set_zorder(self._next())
        self.axes.add_patch(patch)

    def _next(self) -> float:
        """Drawing order of the next item."""
        self.layer += 0.01
        return self.layer


def points(pixels: float) -> float:
    """Convert pixels to points, the unit of font sizes."""
    return pixels * 72 / DPI


def face(
    person: Person, valence: float, arousal: float, pose: Pose | None = None, side: int = 160
) -> tuple[np.ndarray, np.ndarray]:
    """Render a head alone: RGB image (side, side, 3) and its landmarks (68, 2) in pixels."""
    full = round(side / 0.74)
    picture, landmarks = draw_face(person, valence, arousal, pose or Pose(), full)
    left, top = round(0.13 * full), round(0.05 * full)
    return picture[top : top + side, left : left + side, ::-1], landmarks - (left, top)


def heatmaps_of(person: Person, cells: int = 64) -> list[np.ndarray]:
    """Draw the landmark heatmap of one eye and the sum of all heatmaps, each RGB (cells, cells, 3) in [0, 1]."""
    _, landmarks = face(person, 0.8, 0.5, side=cells)
    y, x = np.mgrid[:cells, :cells, :1][:2]
    blobs = np.exp(-((x - landmarks[:, 0]) ** 2 + (y - landmarks[:, 1]) ** 2) / (2 * 1.8**2))
    return [1 - heat[..., None] * (1 - np.array(tint(BLUE, 1))) for heat in (blobs[..., 45], blobs.sum(2).clip(max=1))]
