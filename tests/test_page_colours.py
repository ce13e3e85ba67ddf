"""Colours of the annotation page and of the figures: marks of one form are told apart by colour-blind people, too.

Colour blindness is simulated by the matrices of Machado, Oliveira and Fernandes (2009) for complete protanopia,
deuteranopia and tritanopia. Two marks may have similar colours only if their forms differ.
"""

import itertools
import re

import matplotlib.colors
import numpy as np
import pytest
from page_driver import ROOT
from skimage.color import deltaE_ciede2000, rgb2lab

VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
SMALLEST_DIFFERENCE = 20.0  # CIEDE2000; 2.3 is just noticeable when areas touch, but marks are small and apart

CSS = (ROOT / "utils/annotate/page.css").read_text(encoding="utf-8")

# View → rule in page.css → the property that has the colour, and the form of the mark, to which its dashes are added.
MARKS = {
    "traces": {
        ".traces-line.axis-0": ("stroke", "curve"),
        ".traces-line.axis-1": ("stroke", "curve"),
        ".traces-rating": ("stroke", "curve"),
        ".traces-cut": ("stroke", "upright line"),
        ".traces-suggestion": ("stroke", "upright line"),
        ".traces-cursor": ("stroke", "upright line"),
        ".traces-label": ("fill", "disc"),
        ".traces-label.contradicted": ("stroke", "ring"),
        ".traces-expected": ("stroke", "diamond"),
        ".traces-flag": ("fill", "triangle"),
    },
    "plane": {
        ".plane-estimate": ("fill", "disc"),
        ".plane-label circle": ("fill", "disc"),
        ".plane-rating": ("stroke", "ring"),
        ".plane-expected": ("stroke", "diamond"),
        ".plane-interval": ("stroke", "ring"),
    },
    "picture": {
        ".picture-box rect": ("stroke", "rectangle"),
        ".picture-box rect.labelled": ("stroke", "rectangle"),
    },
}
FIGURE = {"estimate": "tab:blue", "support label": "tab:orange"}


def palette(theme: str) -> dict[str, str]:
    """The variables of a theme."""
    light, dark = CSS.split("body.body--dark {")[:2]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", light if theme == "light" else dark.split("}")[0]))


def declared(rule: str, name: str) -> str | None:
    """The value of a property in a rule of page.css."""
    body = re.search(rf"(?:^|\}} ){re.escape(rule)} \{{(.*?)\}}", CSS, re.MULTILINE)
    assert body, f"page.css has no rule {rule}"
    value = re.search(rf"(?:^|[ ;]){name}: ([^;]+);", body[1])
    return value[1] if value else None


def form(rule: str, shape: str) -> str:
    """The shape and the dashes of a mark."""
    return f"{shape} {declared(rule, 'stroke-dasharray')}"


def colour(rule: str, name: str, theme: str) -> np.ndarray:
    value = declared(rule, name)
    variable = re.fullmatch(r"var\(--([\w-]+)\)", value)
    return rgb(palette(theme)[variable[1]] if variable else value)


def rgb(name: str) -> np.ndarray:
    return np.array(matplotlib.colors.to_rgb(name))


def seen(colour: np.ndarray, vision: str) -> np.ndarray:
    """CIELAB coordinates of an sRGB colour as a person with this vision sees it."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    simulated = (np.asarray(VISIONS[vision]) @ linear).clip(0, 1)
    return rgb2lab(np.where(simulated <= 0.0031308, 12.92 * simulated, 1.055 * simulated ** (1 / 2.4) - 0.055))


def difference(first: np.ndarray, second: np.ndarray, vision: str) -> float:
    return float(deltaE_ciede2000(seen(first, vision), seen(second, vision)))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", MARKS)
def test_marks_of_one_form_have_colours_that_everyone_tells_apart(view, theme):
    compared, problems = 0, []
    for (first, (one, shape)), (second, (other, other_shape)) in itertools.combinations(MARKS[view].items(), 2):
        if form(first, shape) != form(second, other_shape):
            continue
        compared += 1
        for vision in VISIONS:
            found = difference(colour(first, one, theme), colour(second, other, theme), vision)
            if found < SMALLEST_DIFFERENCE:
                problems.append(f"{first} and {second}, {vision}: {found:.1f}")
    assert compared and not problems, "\n".join(problems)


@pytest.mark.parametrize("vision", VISIONS)
def test_figures_have_colours_that_everyone_tells_apart(vision):
    assert difference(*map(rgb, FIGURE.values()), vision) >= SMALLEST_DIFFERENCE
    plots = (ROOT / "utils/plots.py").read_text(encoding="utf-8")
    assert set(re.findall(r"color=\"(tab:\w+)\"", plots)) == set(FIGURE.values())  # All others are grey or black.


def test_simulated_vision_confuses_red_and_green_but_not_blue_and_yellow():
    red, green, blue, yellow = map(rgb, ("#b03030", "#557a20", "#3050c0", "#d0b020"))
    assert difference(red, green, "normal") > 50 > 20 > difference(red, green, "deuteranopia")
    assert difference(blue, yellow, "deuteranopia") > 50 and difference(rgb("white"), rgb("white"), "protanopia") == 0
