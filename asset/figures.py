"""Draws the README's two diagrams, asset/overview.png and asset/architecture.png.

    python asset/figures.py

The faces are rendered as in the demo set. The traces in the overview are the labels of a rendered clip, drawn to
explain the method; they are not a result.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asset import sketch  # noqa: E402
from asset.sketch import ACTOR, BLUE, FAINT, GREEN, GREY, INK, ORANGE, PURPLE, RED, Sheet, face  # noqa: E402
from datasets.demo.face import Pose  # noqa: E402
from datasets.demo.traces import label_trace, pose_trace  # noqa: E402

WIDTH = 1660
AXES = (("valence", BLUE), ("arousal", ORANGE))
PAIR = ((ACTOR, (0.8, 0.5)), (sketch.STRANGER, (-0.4, -0.2)))  # two people, each with valence and arousal

# Overview ------------------------------------------------------------------------------------------------------

# All sizes and positions are in pixels.
TILE, FILM_X, FILM_Y = 108, 622, 222  # the film strip: side of a frame, left edge, top edge
STRIP, STEP, ANCHOR_EVERY = 9, 8, 3  # frames shown, distance between them in frames, shown frames per anchor
TRACE_SEED = 958
ZERO_LINES = {"valence": 594, "arousal": 806}  # y of valence 0 and of arousal 0
SCALE = 76  # pixels per unit of valence or arousal


def overview() -> Sheet:
    """Draw what MT-CLAR does: it is trained on pairs of faces, and labels a video from a few labelled frames."""
    sheet = Sheet(WIDTH, 960)
    panels = (("1", 20, 480, "Train on pairs"), ("2", 560, 1080, "Label a few frames, get the rest"))
    for number, x, width, title in panels:
        sheet.box(x, 20, width, 920, colour=FAINT, fill=0.18, corner=18)
        sheet.dot(x + 52, 70, 22, INK, words=number, size=28)
        sheet.text(x + 92, 70, title, 32, bold=True, align="left")
    sheet.arrow((505, 480), (555, 480), line=6, head=40, colour=GREY)
    draw_training(sheet)
    draw_film(sheet)
    draw_comparisons(sheet)
    draw_traces(sheet)
    return sheet


def draw_training(sheet: Sheet) -> None:
    """Draw two labelled faces, the network, and its targets for them."""
    for x, (person, label) in zip((60, 270), PAIR, strict=True):
        sheet.picture(face(person, *label, side=190)[0], x, 124, 190)
        for row, ((axis, colour), value) in enumerate(zip(AXES, label, strict=True)):
            sheet.text(x + 95, 344 + 34 * row, f"{axis} {signed(value)}", 23, colour)
        sheet.arrow((x + 95, 406), (x + 95, 456))
    sheet.box(60, 460, 400, 104, colour=INK, fill=0.10)
    sheet.text(260, 496, "MT-CLAR", 32, bold=True)
    sheet.text(260, 534, "one network sees both faces", 23, GREY)
    deltas = [signed(a - b) for a, b in zip(PAIR[0][1], PAIR[1][1], strict=True)]
    tasks = zip(("similar?", "Δ valence", "Δ arousal"), (PURPLE, BLUE, ORANGE), ("no", *deltas), strict=True)
    for x, (task, colour, target) in zip((56, 196, 336), tasks, strict=True):
        sheet.arrow((x + 64, 566), (x + 64, 620))
        sheet.box(x, 624, 128, 108, colour=colour)
        sheet.text(x + 64, 654, task, 23, colour)
        sheet.text(x + 64, 698, target, 30, bold=True)
    sheet.text(260, 764, "targets, from the two labels", 21, GREY)
    sheet.text(260, 856, "Are the two expressions alike?\nHow much more valence and\narousal has the first face?", 24)


def signed(value: float) -> str:
    """The value with its sign, a minus sign rather than a hyphen."""
    return f"{value:+.1f}".replace("-", "−")


def draw_film(sheet: Sheet) -> None:
    """Draw a strip of frames; a coloured rim marks the frames of the support-set."""
    trace, poses = film()
    sheet.text(FILM_X, 122, "A person labels a few frames: the support-set. MT-CLAR compares every", 23, align="left")
    sheet.text(FILM_X, 156, "other frame with an anchor, say the latest labelled one before it.", 23, align="left")
    length = STRIP * TILE
    sheet.box(FILM_X - 8, FILM_Y - 22, length + 16, TILE + 44, colour=INK, fill=1, corner=8)
    for hole in np.linspace(FILM_X, FILM_X + length - 12, 45):
        for y in (FILM_Y - 16, FILM_Y + TILE + 7):
            sheet.box(hole, y, 12, 9, colour=sketch.PAPER, fill=1, line=0, corner=2)
    for shown in range(STRIP):
        x, frame = FILM_X + shown * TILE + 3, shown * STEP
        sheet.picture(face(ACTOR, *trace[frame], poses[frame])[0], x, FILM_Y + 3, TILE - 6, INK, 1)
        if shown % ANCHOR_EVERY == 0:
            sheet.frame(x + 1, FILM_Y + 4, TILE - 8, TILE - 8, "#2fc49d", 5)


def film() -> tuple[np.ndarray, list[Pose]]:
    """Labels (N, 2) and poses of the N frames of the clip."""
    frames = STRIP * STEP
    return label_trace(np.random.default_rng(TRACE_SEED), frames), pose_trace(np.random.default_rng(1), frames)


def middle(shown: ArrayLike) -> Any:
    """x of the middle of frames of the strip, by their numbers, which may be fractions."""
    return FILM_X + (np.asarray(shown) + 0.5) * TILE


def draw_comparisons(sheet: Sheet) -> None:
    """Draw an arc from each anchor to the frames that it serves, and a line down to its labels in the traces."""
    y = FILM_Y + TILE + 26
    for shown in range(STRIP):
        distance = shown % ANCHOR_EVERY  # to the anchor, in shown frames
        if distance:
            start, curvature = middle(shown - distance) + 8 * (2 - distance), (0.30, 0.56)[distance - 1]
            sheet.arc((start, y), (middle(shown), y), curvature, GREY)
            sheet.dot((start + middle(shown)) / 2, y + curvature * distance * TILE / 2, 14, GREY, words="Δ", size=19)
        else:
            sheet.curve([middle(shown)] * 2, [y, ZERO_LINES["arousal"] + SCALE], GREEN, 1.4, ":")
            sheet.box(middle(shown) - 52, y + 76, 104, 36, "labelled", GREEN, 0.15, 21)


def draw_traces(sheet: Sheet) -> None:
    """Draw both traces below the strip, the anchors' labels held until the next anchor, and the differences Δ."""
    trace, _ = film()
    for (axis, colour), values in zip(AXES, trace.T, strict=True):
        height = ZERO_LINES[axis] - SCALE * values
        draw_axis(sheet, axis, colour)
        frames = np.arange((STRIP - 1) * STEP + 5)
        sheet.curve(middle(frames / STEP), height[frames], colour, 4)
        for shown in range(STRIP):
            x, y, distance = middle(shown), height[shown * STEP], shown % ANCHOR_EVERY
            held = height[(shown - distance) * STEP]
            if distance == 0:
                end = min(middle(shown + ANCHOR_EVERY), FILM_X + STRIP * TILE)
                sheet.curve([x, end], [y, y], GREY, 1.6, (0, (4, 3)))
                sheet.dot(x, y, 10, GREEN)
            elif abs(y - held) > 12:
                sheet.arrow((x, held), (x, y), colour=INK, line=1.8, head=15)
                sheet.text(x + 8, (y + held) / 2, "Δ", 20, align="left")
    sheet.arrow((FILM_X, 900), (FILM_X + STRIP * TILE, 900), colour=GREY)
    sheet.text(FILM_X + STRIP * TILE, 919, "time", 20, GREY, align="right")
    sheet.text(FILM_X, 919, "schematic, with the labels of a rendered clip", 20, GREY, align="left")


def draw_axis(sheet: Sheet, axis: str, colour: str) -> None:
    """Draw the name of an axis, and lines at -1, 0 and 1."""
    zero, end = ZERO_LINES[axis], FILM_X + STRIP * TILE
    sheet.text(middle(0) + 12, zero - SCALE - 22, axis, 24, colour, bold=True, align="left")
    sheet.text(middle(ANCHOR_EVERY) + 12, zero - SCALE - 22, "label = anchor's label + Δ", 22, GREY, align="left")
    for level, words in ((1, "+1"), (0, "0"), (-1, "−1")):
        sheet.text(FILM_X - 10, zero - level * SCALE, words, 20, GREY, align="right")
        sheet.curve([FILM_X, end], [zero - level * SCALE] * 2, FAINT, 1.2)


# Architecture --------------------------------------------------------------------------------------------------

ROWS = (218, 448)  # y of the two faces
HEADS = (("similarity", "2 logits", PURPLE), ("Δ valence", "2·tanh", BLUE), ("Δ arousal", "2·tanh", ORANGE))
STEM_Y, MAIN_Y, FIRST_Y = 794, 960, 1148  # y of the features of the stem, of hourglass 2, and of hourglass 1
HEATMAP_Y = (MAIN_Y + FIRST_Y) / 2
MASK_X = 1100  # of the attention mask


def architecture() -> Sheet:
    """Draw the network in models/: the Siamese network above, its encoder in detail below."""
    sheet = Sheet(WIDTH, 1270)
    sheet.box(20, 20, 1620, 570, colour=FAINT, fill=0.18, corner=18)
    sheet.text(50, 66, "MT-CLAR", 32, bold=True, align="left")
    draw_siamese(sheet)
    draw_heads(sheet)
    sheet.box(20, 616, 1620, 634, colour=FAINT, fill=0.18, corner=18)
    sheet.text(50, 660, "The encoder: EmoNet without its head", 32, bold=True, align="left")
    sheet.box(190, 690, 810, 540, colour=BLUE, fill=0.08, line=0)
    sheet.text(208, 718, "landmark network: frozen when published weights are loaded", 22, BLUE, align="left")
    sheet.box(1016, 690, 612, 540, colour=GREEN, fill=0.10, line=0)
    sheet.text(1034, 718, "emotion branch: trained", 22, GREEN, align="left")
    draw_landmark_network(sheet)
    draw_attention(sheet)
    draw_emotion_branch(sheet)
    return sheet


def draw_siamese(sheet: Sheet) -> None:
    """Draw two faces, their shared encoder, and the concatenated embeddings."""
    for y, (person, label) in zip(ROWS, PAIR, strict=True):
        sheet.picture(face(person, *label)[0], 50, y - 62, 124)
        sheet.arrow((178, y), (318, y))
        sheet.text(246, y - 20, "3×256×256", 20, GREY)
        sheet.box(322, y - 52, 140, 104, "encoder", INK, 0.10, 24, bold=True)
        sheet.arrow((464, y), (560, y))
        sheet.text(511, y - 20, "256", 20, GREY)
        sheet.bar(562, y, 26, 110, GREEN)
        direction = np.sign(333 - y)
        sheet.arrow((590, y), (780, y), (780, 333 - 42 * direction))
        sheet.arrow((575, y + 57 * direction), (575, 333 - 34 * direction), colour=RED)
    sheet.arrow((392, ROWS[0] + 54), (392, 306), colour=GREY, head=0)
    sheet.arrow((392, 362), (392, ROWS[1] - 54), colour=GREY, head=0)
    sheet.text(392, 333, "shared\nweights", 21, GREY)
    sheet.box(465, 302, 220, 62, "cosine-embedding", RED, 0.08, 21)
    sheet.box(725, 295, 110, 76, "concat", INK, 0.10, 24)


def draw_heads(sheet: Sheet) -> None:
    """Draw the three heads, their outputs and their losses."""
    rows = (188, 333, 478)
    for x, words in ((575, "embeddings"), (1031, "three heads"), (1256, "outputs"), (1504, "losses")):
        sheet.text(x, 90, words, 24, RED if words == "losses" else INK, bold=True)
    sheet.text(868, 313, "512", 20, GREY)
    sheet.arrow((837, 333), (905, 333), head=0)
    sheet.dot(905, 333, 4)
    for y, (name, form, colour) in zip(rows, HEADS, strict=True):
        sheet.arrow((905, 333), (905, y), (942, y))
        for layer, channels in enumerate((2048, 1024, 512, 128)):
            sheet.bar(946 + 44 * layer, y, 38, 116 - 19 * layer, colour, 0.25, str(channels))
        sheet.arrow((1120, y), (1160, y))
        sheet.box(1164, y - 44, 184, 88, colour=colour)
        sheet.text(1256, y - 16, name, 24, colour, bold=True)
        sheet.text(1256, y + 19, form, 22)
        sheet.arrow((1352, y), (1390, y), colour=RED)
        loss = "cross-entropy" if name == "similarity" else "w·MSE +\n(1−w)·(1−CCC)"
        sheet.box(1394, y - 44, 220, 88, loss, RED, 0.08, 22)
    sheet.text(1504, 561, "w grows from 0 to 1", 20, GREY)
    sheet.text(1140, 561, "Δ: first face minus second, in [−2, 2]", 20, GREY)


def draw_landmark_network(sheet: Sheet) -> None:
    """Draw the stem and two stacked hourglasses, whose features lead to the emotion branch."""
    sheet.picture(face(ACTOR, 0.8, 0.5)[0], 42, MAIN_Y - 55, 110)
    sheet.text(97, MAIN_Y + 76, "3×256×256", 20, GREY)
    sheet.arrow((156, MAIN_Y), (208, MAIN_Y))
    sheet.box(212, MAIN_Y - 66, 126, 132, colour=BLUE, fill=0.25)
    sheet.text(275, MAIN_Y - 32, "stem", 24, bold=True)
    sheet.text(275, MAIN_Y + 20, "7×7 conv,\n3 blocks", 20)
    sheet.arrow((340, MAIN_Y), (396, MAIN_Y))
    draw_hourglass(sheet, 400, "hourglass 1")
    sheet.arrow((542, MAIN_Y), (618, MAIN_Y))
    sheet.arrow((656, MAIN_Y), (694, MAIN_Y))
    draw_hourglass(sheet, 698, "hourglass 2")
    sheet.arrow((362, MAIN_Y), (362, STEM_Y), (1180, STEM_Y))
    sheet.arrow((638, STEM_Y), (638, MAIN_Y - 20))
    sheet.arrow((562, MAIN_Y), (562, FIRST_Y), (MASK_X - 20, FIRST_Y))
    sheet.arrow((840, MAIN_Y), (MASK_X - 20, MAIN_Y))
    sheet.dot(638, MAIN_Y, 18, INK, words="+")
    sheet.dot(362, MAIN_Y, 4)
    sheet.dot(638, STEM_Y, 4)
    sheet.text(208, 1204, "not drawn: the 1×1 convolutions between the two stages", 20, GREY, align="left")
    for x, y in ((500, STEM_Y - 18), (925, MAIN_Y - 18), (925, FIRST_Y + 20)):
        sheet.text(x, y, "256×64×64", 20, GREY)


def draw_hourglass(sheet: Sheet, x: float, name: str) -> None:
    """Draw nine bars for features with sides 64, 32, 16, 8, 4, and back."""
    for layer in range(9):
        sheet.bar(x + 16 * layer, MAIN_Y, 11, 24 + 27 * abs(layer - 4), BLUE, 0.45)
    sheet.text(x + 69, MAIN_Y - 88, name, 22, bold=True)


def draw_attention(sheet: Sheet) -> None:
    """Draw the heatmaps of both hourglasses; the sum of the last 68 is the mask that multiplies the features."""
    heatmaps, mask = sketch.heatmaps_of(ACTOR)
    for branch, centre in ((562, 638), (854, 930)):
        sheet.dot(branch, MAIN_Y, 4)
        sheet.arrow((branch, MAIN_Y), (branch, HEATMAP_Y), (centre - 44, HEATMAP_Y))
        for shift in (8, 4, 0):
            sheet.picture(heatmaps, centre - 42 + shift, HEATMAP_Y - 42 - shift, 84, BLUE)
        sheet.text(centre, HEATMAP_Y + 60, "68 heatmaps", 20)
    sheet.dot(562, HEATMAP_Y, 4)
    sheet.arrow((638, HEATMAP_Y - 52), (638, MAIN_Y + 20))
    sheet.arrow((976, HEATMAP_Y), (MASK_X - 44, HEATMAP_Y))
    sheet.text(1030, HEATMAP_Y - 22, "Σ", 24)
    sheet.picture(mask, MASK_X - 42, HEATMAP_Y - 42, 84, GREEN)
    sheet.text(MASK_X + 52, HEATMAP_Y, "attention\nmask", 20, align="left")
    for y, direction in ((MAIN_Y, -1), (FIRST_Y, 1)):
        sheet.arrow((MASK_X, HEATMAP_Y + 44 * direction), (MASK_X, y - 20 * direction))
        sheet.dot(MASK_X, y, 18, INK, words="×")
        sheet.arrow((MASK_X + 20, y), (1180, y))


def draw_emotion_branch(sheet: Sheet) -> None:
    """Draw the layers from the joined features, 768 channels, to the embedding."""
    for y in (STEM_Y, MAIN_Y, FIRST_Y):
        sheet.bar(1184, y, 34, 92, GREEN, 0.25, "256")
        sheet.arrow((1220, y), (1256, y), head=0)
    sheet.arrow((1256, STEM_Y), (1256, FIRST_Y), head=0)
    sheet.arrow((1256, MAIN_Y), (1390, MAIN_Y))
    sheet.text(1322, MAIN_Y - 20, "768×64×64", 19, GREY)
    sheet.bar(1394, MAIN_Y, 36, 132, GREEN, 0.45, "1×1 conv")
    for layer in range(4):
        sheet.bar(1440 + 25 * layer, MAIN_Y, 19, 105 - 24 * layer, GREEN, 0.45)
    sheet.text(1489, MAIN_Y + 92, "4 × (block,\nmax-pool)", 20)
    sheet.arrow((1540, MAIN_Y), (1584, MAIN_Y))
    sheet.text(1556, MAIN_Y - 32, "mean", 20)
    sheet.bar(1588, MAIN_Y, 26, 110, GREEN)
    sheet.text(1601, MAIN_Y - 72, "256", 20, GREY)
    sheet.text(1620, MAIN_Y - 106, "embedding", 22, align="right", bold=True)


def main() -> None:
    folder = Path(__file__).parent
    for draw in (overview, architecture):
        target = folder / f"{draw.__name__}.png"
        draw().save(target)
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
