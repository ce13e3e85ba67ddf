"""Draws the demo set's contact sheet, asset/demo_sheet.png.

    python asset/demo_sheet.py

Left: one person over valence and arousal. Right: people of the demo set in random poses and expressions,
without the pixel noise; the last row comes from the hard set.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.demo import IDENTITY, Camera, random_person  # noqa: E402
from datasets.demo_face import Person, Pose  # noqa: E402
from datasets.demo_paint import draw_face  # noqa: E402

LEVELS = (-1.0, -0.5, 0.0, 0.5, 1.0)
TILE, EDGE, PEOPLE = 150, 34, 25
INK, PAPER = (60, 60, 60), (255, 255, 255)


def write(sheet, text, x, y, centred=True):
    """Puts text on the sheet with its baseline at y, around or from x."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.48
    width = cv2.getTextSize(text, font, scale, 1)[0][0]
    cv2.putText(sheet, text, (x - width // 2 if centred else x, y), font, scale, INK, 1, cv2.LINE_AA)


def expression_tiles():
    """One person, 5 x 5: arousal falls from row to row, valence rises from column to column."""
    person = Person(width=1.02, skin=(128, 168, 215), hair="bob", hair_colour=(38, 48, 78), lips=0.10,
                    iris=(60, 105, 95), clothes=(150, 110, 60), backdrop=((225, 220, 214), (205, 196, 190)),
                    texture=7)
    return [[draw_face(person, v, a, size=TILE)[0] for v in LEVELS] for a in LEVELS[::-1]]


def identity_tiles(seed=0):
    """The first people of a demo set, each with some label and pose; the last five from the hard set."""
    tiles = []
    for index in range(PEOPLE):
        hard = index >= PEOPLE - 5
        person = random_person(np.random.default_rng([seed, index, IDENTITY]), hard)
        rng = np.random.default_rng([seed, index, 9])
        pose = Pose(*rng.uniform(-10, 10, 2))
        picture, _ = draw_face(person, *rng.uniform(-0.9, 0.9, 2), pose, TILE)
        camera = Camera(rng, TILE, hard)
        camera.noise[:] = 0  # it would make the file four times as large
        tiles.append(camera.shoot(picture))
    return [tiles[row:row + 5] for row in range(0, PEOPLE, 5)]


def main():
    grid, people = (np.vstack([np.hstack(row) for row in tiles])
                    for tiles in (expression_tiles(), identity_tiles()))
    side = grid.shape[0]
    sheet = np.full((side + 2 * EDGE, 2 * side + 3 * EDGE + 10, 3), PAPER, np.uint8)
    right = side + 2 * EDGE + 10
    sheet[EDGE:EDGE + side, EDGE + 10:EDGE + 10 + side] = grid
    sheet[EDGE:EDGE + side, right:right + side] = people
    write(sheet, "one person: valence across, arousal up", EDGE + 10 + side // 2, 22)
    write(sheet, "people of the demo set (last row: hard)", right + side // 2, 22)
    for i, level in enumerate(LEVELS):
        middle = i * TILE + TILE // 2
        write(sheet, f"{level:+.1f}", EDGE + 10 + middle, side + EDGE + 22)
        write(sheet, f"{level:+.1f}", 22, EDGE + side - middle)
    target = Path(__file__).with_name("demo_sheet.png")
    cv2.imwrite(str(target), sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
