"""Draw the contact sheet of the demo set, asset/demo_sheet.png.

    python asset/demo_sheet.py

Left: one person at several levels of valence and arousal. Right: people of the demo set in random poses and
expressions, without the pixel noise; the last row is from the hard set.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.demo.dataset import IDENTITY, Camera  # noqa: E402
from datasets.demo.face import Person, Pose  # noqa: E402
from datasets.demo.paint import draw_face  # noqa: E402
from datasets.demo.people import random_person  # noqa: E402

LEVELS = (-1.0, -0.5, 0.0, 0.5, 1.0)
TILE, EDGE, PEOPLE = 150, 34, 25
INK, PAPER = (60, 60, 60), (255, 255, 255)


def write(sheet: np.ndarray, text: str, x: int, y: int) -> None:
    """Write text on the sheet, centred at x and with its baseline at y."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.48
    width = cv2.getTextSize(text, font, scale, 1)[0][0]
    cv2.putText(sheet, text, (x - width // 2, y), font, scale, INK, 1, cv2.LINE_AA)


def expression_tiles() -> list[list[np.ndarray]]:
    """Images of one person, 5 × 5: arousal decreases from row to row, valence increases from column to column."""
    person = Person(
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
    return [[draw_face(person, v, a, size=TILE)[0] for v in LEVELS] for a in LEVELS[::-1]]


def identity_tiles(seed: int = 0) -> list[list[np.ndarray]]:
    """Images of the first people of a demo set, 5 × 5, with random labels and poses; the last row from the hard set."""
    tiles = []
    for index in range(PEOPLE):
        hard = index >= PEOPLE - 5
        person = random_person(np.random.default_rng([seed, index, IDENTITY]), hard)
        rng = np.random.default_rng([seed, index, 9])
        pose = Pose(*rng.uniform(-10, 10, 2))
        valence, arousal = rng.uniform(-0.9, 0.9, 2)
        image, _ = draw_face(person, valence, arousal, pose, TILE)
        camera = Camera(rng, TILE, hard)
        camera.noise[:] = 0  # noise would make the file four times as large
        tiles.append(camera.shoot(image))
    return [tiles[row : row + 5] for row in range(0, PEOPLE, 5)]


def main() -> None:
    grid, people = (np.vstack([np.hstack(row) for row in tiles]) for tiles in (expression_tiles(), identity_tiles()))
    side = grid.shape[0]
    sheet = np.full((side + 2 * EDGE, 2 * side + 3 * EDGE + 10, 3), PAPER, np.uint8)
    right = side + 2 * EDGE + 10
    sheet[EDGE : EDGE + side, EDGE + 10 : EDGE + 10 + side] = grid
    sheet[EDGE : EDGE + side, right : right + side] = people
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
