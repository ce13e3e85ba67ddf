"""Random identities: bones, skin, hair, clothes, light and backdrop."""

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from datasets.demo.face import HAIR_STYLES, Colour, Person
from datasets.demo.pen import tone

# From light to dark.
SKINS: list[Colour] = [
    (178, 205, 240), (160, 192, 235), (140, 178, 224), (120, 160, 210),
    (98, 138, 190), (76, 112, 165), (60, 90, 138), (46, 70, 110),
]  # fmt: skip
# The first three are dark.
HAIRS: list[Colour] = [
    (24, 22, 22), (30, 36, 44), (34, 50, 76), (44, 72, 112),
    (80, 130, 175), (120, 175, 212), (40, 72, 150), (165, 165, 165),
]  # fmt: skip
IRISES: list[Colour] = [
    (40, 60, 88), (48, 80, 118), (70, 120, 120), (88, 132, 96), (165, 130, 88), (140, 120, 105),
]  # fmt: skip
# Smallest and largest value of each length, in head units.
FEATURE_RANGES = {
    "width": (0.90, 1.08),
    "chin": (1.38, 1.60),
    "jaw": (0.68, 0.98),
    "taper": (0.0, 0.14),
    "eye_gap": (0.39, 0.46),
    "eye_width": (0.21, 0.27),
    "eye_tilt": (-0.12, 0.22),
    "brow_height": (0.32, 0.42),
    "brow_width": (0.035, 0.085),
    "brow_arch": (0.0, 0.12),
    "nose_width": (0.17, 0.28),
    "nose_length": (0.55, 0.68),
    "mouth_width": (0.32, 0.46),
    "lips": (0.055, 0.13),
}


def random_person(rng: np.random.Generator, hard: bool = False) -> Person:
    """Draw a random identity.

    Args:
        rng: random generator.
        hard: stronger gain and offset, more light from the side, and for two thirds of the people something that covers
            a part of the face.
    """
    gains, offset_std = ((0.5, 1.5), 0.2) if hard else ((0.7, 1.2), 0.12)
    offset = rng.normal(0, offset_std, 2)
    look = _features(rng) | _style(rng) | _setting(rng, hard)
    if hard:
        fringe = "scarf" if look["hair"] in ("bald", "buzz") else "fringe"
        occluder = str(rng.choice(["", "", "sunglasses", "hand", "scarf", fringe]))
        look |= {"glasses": "dark"} if occluder == "sunglasses" else {"occluder": occluder}
    return Person(gain=tuple(rng.uniform(*gains, 2).tolist()), offset=tuple(offset.tolist()), **look)


def in_another_scene(person: Person, rng: np.random.Generator, hard: bool = False) -> Person:
    """The same person with other light, clothes and backdrop; arguments as of `random_person`."""
    return replace(person, **_setting(rng, hard))


def _features(rng: np.random.Generator) -> dict[str, float]:
    """Draw the lengths of the face."""
    features = {name: float(rng.uniform(*limits)) for name, limits in FEATURE_RANGES.items()}
    features["mouth_height"] = 0.42 * features["nose_length"] + 0.48 * features["chin"] + 0.02
    return features


def _style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw skin, hair and glasses. Dark skin comes with dark hair, beards with short hair."""
    shade = rng.uniform(0, len(SKINS) - 1.001)
    skin = tone(SKINS[int(shade)], shade % 1, SKINS[int(shade) + 1])
    hair = str(rng.choice(HAIR_STYLES, p=(0.05, 0.10, 0.21, 0.14, 0.15, 0.14, 0.11, 0.10)))
    hair_colour = HAIRS[rng.integers(0, 3 if shade > 4.5 else len(HAIRS))]
    beards = ("stubble", "full", "moustache") if hair in ("bald", "buzz", "side", "fringe", "curls") else ()
    beard = str(rng.choice(beards)) if beards and rng.random() < 0.45 else ""
    lipstick = rng.random() < 0.3 and not beard
    lips = tone(skin, 0.35, (70, 50, 185)) if lipstick else tone(skin, 0.28, (85, 75, 150))
    return {
        "skin": skin,
        "hair": hair,
        "hair_colour": tone(hair_colour, float(rng.uniform(0.8, 1.15))),
        "lip_colour": tone(lips, 0.88),
        "beard": beard,
        "iris": IRISES[rng.integers(0, 3 if shade > 4 else len(IRISES))],
        "glasses": str(rng.choice(["", "round", "square"], p=[0.8, 0.1, 0.1])),
        "parting": float(rng.choice([-1, 1]) * rng.uniform(0.2, 0.8)),
        "volume": float(rng.uniform(0.04, 0.2)),
        "blush": float(rng.uniform(0.2, 1.0)),
    }


def _setting(rng: np.random.Generator, hard: bool) -> dict[str, Any]:
    """Draw light, clothes and backdrop; `hard` adds light from the side."""
    angle = rng.uniform(-1.1, 1.1)
    light = (math.sin(angle), -0.5 * math.cos(angle))
    contrast = rng.uniform(0.25, 0.6)
    if hard and rng.random() < 0.6:
        light, contrast = (float(rng.choice([-1.6, 1.6])), -0.1), rng.uniform(0.6, 0.9)
    return {
        "clothes": _colour(rng, (0.1, 0.6), (50, 180)),
        "light": light,
        "contrast": float(contrast),
        "backdrop": (_colour(rng, (0.05, 0.4), (110, 235)), _colour(rng, (0.05, 0.5), (70, 190))),
        "texture": int(rng.integers(2**31)),
    }


def _colour(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """Draw a colour of any hue, with its saturation in a range within [0, 1] and its value in one within [0, 255]."""
    hsv = [rng.uniform(0, 180), 255 * rng.uniform(*saturation), rng.uniform(*value)]
    blue, green, red = cv2.cvtColor(np.array([[hsv]]).astype(np.uint8), cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return float(blue), float(green), float(red)
