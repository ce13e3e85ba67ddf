"""What the README's diagrams are drawn with: a sheet of boxes, arrows, text and pictures, and faces for it."""

import sys
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Line

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.demo import IDENTITY, random_person  # noqa: E402
from datasets.demo_face import Person, Pose  # noqa: E402
from datasets.demo_paint import draw_face  # noqa: E402

DPI = 100
INK, GREY, FAINT, PAPER = "#1f2d3a", "#6b7885", "#d5dce3", "#ffffff"
BLUE, ORANGE, PURPLE, GREEN, RED = "#2c6fb3", "#c8691c", "#6f5aa8", "#16856a", "#a8443f"
ACTOR = Person(width=1.02, skin=(128, 168, 215), hair="bob", hair_colour=(38, 48, 78), lips=0.10, iris=(60, 105, 95),
               clothes=(150, 110, 60), backdrop=((225, 220, 214), (205, 196, 190)), texture=7)  # fmt: skip
STRANGER = random_person(np.random.default_rng([0, 14, IDENTITY]))


def tint(colour: str, strength: float) -> tuple[float, ...]:
    """The colour "#rrggbb" on white paper: 0 is white, 1 the colour itself."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return tuple(1 - strength * (1 - rgb))


class Sheet:
    """White, opaque, width × height pixels. Every size and place is in pixels; later things lie on top."""

    def __init__(self, width: int, height: int):
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self.axes.axis("off")
        self.layer = 1.0

    def save(self, target) -> None:
        """Writes a PNG with seven bits a colour: the eye sees no difference, and the file is smaller."""
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., 2::-1]
        cv2.imwrite(str(target), picture & 0xFE | picture >> 7, [cv2.IMWRITE_PNG_COMPRESSION, 9])

    def text(self, x, y, words, size=22, colour=INK, bold=False, align="center", turn=0) -> None:
        """Around y, and left, center or right of x; a single level line sits on the same baseline whatever it says."""
        level = "\n" not in words and not turn
        self.axes.text(
            x, y + (0.36 * size if level else 0), words, size=points(size), color=colour, ha=align, rotation=turn,
            va="baseline" if level else "center", weight="bold" if bold else "normal", linespacing=1.3,
            zorder=self._next(),
        )  # fmt: skip

    def box(self, x, y, width, height, words="", colour=GREY, fill=0.12, size=22, bold=False, line=2.0, corner=12):
        """A rounded box with its words in the middle; x, y: its upper left corner; fill: strength of the tint."""
        style = f"round,pad=0,rounding_size={corner}" if corner else "square,pad=0"
        self._add(
            FancyBboxPatch((x, y), width, height, style, facecolor=tint(colour, fill), edgecolor=colour, linewidth=line)
        )
        if words:
            self.text(x + width / 2, y + height / 2, words, size, bold=bold)

    def bar(self, x, y, width, height, colour=GREY, fill=0.35, words="", size=20) -> None:
        """A layer: an upright bar, x its left edge and y its middle; the words run upwards."""
        self.box(x, y - height / 2, width, height, "", colour, fill, line=1.5, corner=4)
        if words:
            self.text(x + width / 2, y, words, size, turn=90)

    def arrow(self, *corners, colour=INK, line=2.0, head=20.0) -> None:
        """A line through the corners (x, y), with a head of that size at the last one; 0: no head."""
        self._arrow({"path": Line(corners)}, colour, line, head)

    def arc(self, start, stop, bend, colour=INK, line=2.0) -> None:
        """A curved arrow; bend: how far it swings out, as a share of its length."""
        self._arrow({"posA": start, "posB": stop, "connectionstyle": f"arc3,rad={bend}"}, colour, line, 20)

    def _arrow(self, course, colour, line, head) -> None:
        style = "-|>,head_length=0.5,head_width=0.24" if head else "-"
        self._add(
            FancyArrowPatch(
                **course, arrowstyle=style, mutation_scale=head or 1, shrinkA=0, shrinkB=0, color=colour,
                linewidth=line, fill=bool(head), joinstyle="miter",
            )  # fmt: skip
        )

    def curve(self, x, y, colour=INK, line=2.0, dashes="-") -> None:
        self.axes.plot(x, y, linestyle=dashes, color=colour, linewidth=line, zorder=self._next())

    def dot(self, x, y, radius, colour=INK, words="", size=26) -> None:
        """A disc; with words, a node of a graph: white, with a coloured rim."""
        self._add(Circle((x, y), radius, facecolor=PAPER if words else colour, edgecolor=colour, linewidth=2.0))
        if words:
            self.text(x, y, words, size, colour)

    def picture(self, image, x, y, side, edge=GREY, line=1.5) -> None:
        """A square RGB picture with a frame; x, y: its upper left corner."""
        extent = (x, x + side, y + side, y)
        self.axes.imshow(image, extent=extent, aspect="auto", interpolation="antialiased", zorder=self._next())
        self.frame(x, y, side, side, edge, line)

    def frame(self, x, y, width, height, colour, line) -> None:
        self._add(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=line, joinstyle="round"))

    def _add(self, patch) -> None:
        patch.set_zorder(self._next())
        self.axes.add_patch(patch)

    def _next(self) -> float:
        self.layer += 0.01
        return self.layer


def points(pixels: float) -> float:
    return pixels * 72 / DPI


def face(person: Person, valence: float, arousal: float, pose: Pose | None = None, side: int = 160):
    """The head alone: RGB (side, side, 3) and its landmarks (68, 2), both in its own pixels."""
    full = round(side / 0.74)
    picture, landmarks = draw_face(person, valence, arousal, pose or Pose(), full)
    left, top = round(0.13 * full), round(0.05 * full)
    return picture[top : top + side, left : left + side, ::-1], landmarks - (left, top)


def heatmaps_of(person: Person, cells: int = 64):
    """What landmark heatmaps look like: that of one eye, and the sum of all; RGB (cells, cells, 3) in [0, 1] each."""
    _, landmarks = face(person, 0.8, 0.5, side=cells)
    y, x = np.mgrid[:cells, :cells, :1][:2]
    blobs = np.exp(-((x - landmarks[:, 0]) ** 2 + (y - landmarks[:, 1]) ** 2) / (2 * 1.8**2))
    return [1 - heat[..., None] * (1 - np.array(tint(BLUE, 1))) for heat in (blobs[..., 45], blobs.sum(2).clip(max=1))]
