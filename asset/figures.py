"""Draws the README's two diagrams, asset/overview.png and asset/architecture.png.

    python asset/figures.py

The faces are those of the demo set. The traces of the overview are a rendered person's own labels, drawn to
explain the method; they are not a result.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asset import sketch  # noqa: E402
from asset.sketch import ACTOR, BLUE, FAINT, GREEN, GREY, INK, ORANGE, PURPLE, RED, Sheet, face  # noqa: E402
from datasets.demo import label_trace, pose_trace  # noqa: E402

WIDTH = 1660
AXES = (("valence", BLUE), ("arousal", ORANGE))
PAIR = ((ACTOR, (0.8, 0.5)), (sketch.STRANGER, (-0.4, -0.2)))  # two people, valence and arousal

# Overview ------------------------------------------------------------------------------------------------------

TILE, FILM_X, FILM_Y = 108, 622, 222  # of the film strip: side of a frame, left, top
TRACE_SEED, STRIP, STEP, ANCHOR_EVERY = 958, 9, 8, 3  # frames shown, frames between them, shown frames per anchor
LEVELS = {"valence": 594, "arousal": 806}  # y of the two zero lines
REACH = 76  # pixels of valence or arousal 1


def overview() -> Sheet:
    """What MT-CLAR does: trained on pairs of faces, it labels a film from a few labelled frames."""
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


def draw_training(sheet):
    """Two labelled faces, the network, and what it learns to say of them."""
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


def signed(value):
    return f"{value:+.1f}".replace("-", "−")


def draw_film(sheet):
    """A strip of frames; those of the support-set carry a label."""
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


def film():
    """Labels (frames, 2) and poses of the clip."""
    frames = STRIP * STEP
    return label_trace(np.random.default_rng(TRACE_SEED), frames), pose_trace(np.random.default_rng(1), frames)


def middle(shown):
    """x of the middle of a frame of the strip; the number may be a fraction."""
    return FILM_X + (shown + 0.5) * TILE


def draw_comparisons(sheet):
    """Arcs from each anchor to the frames that it serves, and a line down to its place in the traces."""
    y = FILM_Y + TILE + 26
    for shown in range(STRIP):
        ahead = shown % ANCHOR_EVERY
        if ahead:
            start, bend = middle(shown - ahead) + 8 * (2 - ahead), (0.30, 0.56)[ahead - 1]
            sheet.arc((start, y), (middle(shown), y), bend, GREY)
            sheet.dot((start + middle(shown)) / 2, y + bend * ahead * TILE / 2, 14, GREY, words="Δ", size=19)
        else:
            sheet.curve([middle(shown)] * 2, [y, LEVELS["arousal"] + REACH], GREEN, 1.4, ":")
            sheet.box(middle(shown) - 52, y + 76, 104, 36, "labelled", GREEN, 0.15, 21)


def draw_traces(sheet):
    """Both traces below the strip: what holding an anchor's label would give, and Δ on top of that."""
    trace, _ = film()
    for (axis, colour), values in zip(AXES, trace.T, strict=True):
        height = LEVELS[axis] - REACH * values
        draw_axis(sheet, axis, colour)
        time = np.arange((STRIP - 1) * STEP + 5)
        sheet.curve(middle(time / STEP), height[time], colour, 4)
        for shown in range(STRIP):
            x, y, ahead = middle(shown), height[shown * STEP], shown % ANCHOR_EVERY
            held = height[(shown - ahead) * STEP]
            if ahead == 0:
                end = min(middle(shown + ANCHOR_EVERY), FILM_X + STRIP * TILE)
                sheet.curve([x, end], [y, y], GREY, 1.6, (0, (4, 3)))
                sheet.dot(x, y, 10, GREEN)
            elif abs(y - held) > 12:
                sheet.arrow((x, held), (x, y), colour=INK, line=1.8, head=15)
                sheet.text(x + 8, (y + held) / 2, "Δ", 20, align="left")
    sheet.arrow((FILM_X, 900), (FILM_X + STRIP * TILE, 900), colour=GREY)
    sheet.text(FILM_X + STRIP * TILE, 919, "time", 20, GREY, align="right")
    sheet.text(FILM_X, 919, "schematic, with the labels of a rendered clip", 20, GREY, align="left")


def draw_axis(sheet, axis, colour):
    zero, end = LEVELS[axis], FILM_X + STRIP * TILE
    sheet.text(middle(0) + 12, zero - REACH - 22, axis, 24, colour, bold=True, align="left")
    sheet.text(middle(ANCHOR_EVERY) + 12, zero - REACH - 22, "label = anchor's label + Δ", 22, GREY, align="left")
    for level, words in ((1, "+1"), (0, "0"), (-1, "−1")):
        sheet.text(FILM_X - 10, zero - level * REACH, words, 20, GREY, align="right")
        sheet.curve([FILM_X, end], [zero - level * REACH] * 2, FAINT, 1.2)


# Architecture --------------------------------------------------------------------------------------------------

ROWS = (218, 448)  # of the two faces
HEADS = (("similarity", "2 logits", PURPLE), ("Δ valence", "2·tanh", BLUE), ("Δ arousal", "2·tanh", ORANGE))
X_LANE, MAIN, FIRST_LANE = 794, 960, 1148  # y of the stem's features, of the second and of the first hourglass's
MASK = 1100  # x of the attention mask
MIDWAY = (MAIN + FIRST_LANE) / 2


def architecture() -> Sheet:
    """The network of models/: the pair network above, its encoder in detail below."""
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


def draw_siamese(sheet):
    """Both faces through one encoder, the embeddings joined."""
    for y, (person, label) in zip(ROWS, PAIR, strict=True):
        sheet.picture(face(person, *label)[0], 50, y - 62, 124)
        sheet.arrow((178, y), (318, y))
        sheet.text(246, y - 20, "3×256×256", 20, GREY)
        sheet.box(322, y - 52, 140, 104, "encoder", INK, 0.10, 24, bold=True)
        sheet.arrow((464, y), (560, y))
        sheet.text(511, y - 20, "256", 20, GREY)
        sheet.bar(562, y, 26, 110, GREEN)
        towards = np.sign(333 - y)
        sheet.arrow((590, y), (780, y), (780, 333 - 42 * towards))
        sheet.arrow((575, y + 57 * towards), (575, 333 - 34 * towards), colour=RED)
    sheet.arrow((392, ROWS[0] + 54), (392, 306), colour=GREY, head=0)
    sheet.arrow((392, 362), (392, ROWS[1] - 54), colour=GREY, head=0)
    sheet.text(392, 333, "shared\nweights", 21, GREY)
    sheet.box(465, 302, 220, 62, "cosine-embedding", RED, 0.08, 21)
    sheet.box(725, 295, 110, 76, "concat", INK, 0.10, 24)


def draw_heads(sheet):
    """Three heads of one shape, their outputs and losses."""
    rows = (188, 333, 478)
    for x, words in ((575, "embeddings"), (1031, "three heads"), (1256, "outputs"), (1504, "losses")):
        sheet.text(x, 90, words, 24, RED if words == "losses" else INK, bold=True)
    sheet.text(868, 313, "512", 20, GREY)
    sheet.arrow((837, 333), (905, 333), head=0)
    sheet.dot(905, 333, 4)
    for y, (name, form, colour) in zip(rows, HEADS, strict=True):
        sheet.arrow((905, 333), (905, y), (942, y))
        for place, channels in enumerate((2048, 1024, 512, 128)):
            sheet.bar(946 + 44 * place, y, 38, 116 - 19 * place, colour, 0.25, str(channels))
        sheet.arrow((1120, y), (1160, y))
        sheet.box(1164, y - 44, 184, 88, colour=colour)
        sheet.text(1256, y - 16, name, 24, colour, bold=True)
        sheet.text(1256, y + 19, form, 22)
        sheet.arrow((1352, y), (1390, y), colour=RED)
        loss = "cross-entropy" if name == "similarity" else "w·MSE +\n(1−w)·(1−CCC)"
        sheet.box(1394, y - 44, 220, 88, loss, RED, 0.08, 22)
    sheet.text(1504, 561, "w grows from 0 to 1", 20, GREY)
    sheet.text(1140, 561, "Δ: first face minus second, in [−2, 2]", 20, GREY)


def draw_landmark_network(sheet):
    """Stem and two stacked hourglasses; what they find goes on in three lanes."""
    sheet.picture(face(ACTOR, 0.8, 0.5)[0], 42, MAIN - 55, 110)
    sheet.text(97, MAIN + 76, "3×256×256", 20, GREY)
    sheet.arrow((156, MAIN), (208, MAIN))
    sheet.box(212, MAIN - 66, 126, 132, colour=BLUE, fill=0.25)
    sheet.text(275, MAIN - 32, "stem", 24, bold=True)
    sheet.text(275, MAIN + 20, "7×7 conv,\n3 blocks", 20)
    sheet.arrow((340, MAIN), (396, MAIN))
    draw_hourglass(sheet, 400, "hourglass 1")
    sheet.arrow((542, MAIN), (618, MAIN))
    sheet.arrow((656, MAIN), (694, MAIN))
    draw_hourglass(sheet, 698, "hourglass 2")
    sheet.arrow((362, MAIN), (362, X_LANE), (1180, X_LANE))
    sheet.arrow((638, X_LANE), (638, MAIN - 20))
    sheet.arrow((562, MAIN), (562, FIRST_LANE), (MASK - 20, FIRST_LANE))
    sheet.arrow((840, MAIN), (MASK - 20, MAIN))
    sheet.dot(638, MAIN, 18, INK, words="+")
    sheet.dot(362, MAIN, 4)
    sheet.dot(638, X_LANE, 4)
    sheet.text(208, 1204, "not drawn: the 1×1 convolutions between the two stages", 20, GREY, align="left")
    for x, y in ((500, X_LANE - 18), (925, MAIN - 18), (925, FIRST_LANE + 20)):
        sheet.text(x, y, "256×64×64", 20, GREY)


def draw_hourglass(sheet, x, name):
    """Nine bars: features at 64, 32, 16, 8, 4, and back."""
    for place in range(9):
        sheet.bar(x + 16 * place, MAIN, 11, 24 + 27 * abs(place - 4), BLUE, 0.45)
    sheet.text(x + 69, MAIN - 88, name, 22, bold=True)


def draw_attention(sheet):
    """The heatmaps of both stages; the sum of the last 68 is the mask that weighs the features."""
    heatmaps, mask = sketch.heatmaps_of(ACTOR)
    for branch, centre in ((562, 638), (854, 930)):
        sheet.dot(branch, MAIN, 4)
        sheet.arrow((branch, MAIN), (branch, MIDWAY), (centre - 44, MIDWAY))
        for back in (8, 4, 0):
            sheet.picture(heatmaps, centre - 42 + back, MIDWAY - 42 - back, 84, BLUE)
        sheet.text(centre, MIDWAY + 60, "68 heatmaps", 20)
    sheet.dot(562, MIDWAY, 4)
    sheet.arrow((638, MIDWAY - 52), (638, MAIN + 20))
    sheet.arrow((976, MIDWAY), (MASK - 44, MIDWAY))
    sheet.text(1030, MIDWAY - 22, "Σ", 24)
    sheet.picture(mask, MASK - 42, MIDWAY - 42, 84, GREEN)
    sheet.text(MASK + 52, MIDWAY, "attention\nmask", 20, align="left")
    for lane, towards in ((MAIN, -1), (FIRST_LANE, 1)):
        sheet.arrow((MASK, MIDWAY + 44 * towards), (MASK, lane - 20 * towards))
        sheet.dot(MASK, lane, 18, INK, words="×")
        sheet.arrow((MASK + 20, lane), (1180, lane))


def draw_emotion_branch(sheet):
    """768 channels → embedding."""
    for lane in (X_LANE, MAIN, FIRST_LANE):
        sheet.bar(1184, lane, 34, 92, GREEN, 0.25, "256")
        sheet.arrow((1220, lane), (1256, lane), head=0)
    sheet.arrow((1256, X_LANE), (1256, FIRST_LANE), head=0)
    sheet.arrow((1256, MAIN), (1390, MAIN))
    sheet.text(1322, MAIN - 20, "768×64×64", 19, GREY)
    sheet.bar(1394, MAIN, 36, 132, GREEN, 0.45, "1×1 conv")
    for place in range(4):
        sheet.bar(1440 + 25 * place, MAIN, 19, 105 - 24 * place, GREEN, 0.45)
    sheet.text(1489, MAIN + 92, "4 × (block,\nmax-pool)", 20)
    sheet.arrow((1540, MAIN), (1584, MAIN))
    sheet.text(1556, MAIN - 32, "mean", 20)
    sheet.bar(1588, MAIN, 26, 110, GREEN)
    sheet.text(1601, MAIN - 72, "256", 20, GREY)
    sheet.text(1620, MAIN - 106, "embedding", 22, align="right", bold=True)


def main():
    folder = Path(__file__).parent
    for draw in (overview, architecture):
        target = folder / f"{draw.__name__}.png"
        draw().save(target)
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
