"""The scripts that draw the README's pictures: they run, and the pictures are as the README needs them."""

import itertools

import cv2
import numpy as np
import pytest

from asset import demo_sheet, figures

SIZES = {"overview.png": (960, 1660), "architecture.png": (1270, 1660), "demo_sheet.png": (818, 1612)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with the pictures of both scripts."""
    folder = tmp_path_factory.mktemp("asset")
    with pytest.MonkeyPatch.context() as patch:
        for script in (demo_sheet, figures):
            patch.setattr(script, "__file__", str(folder / "script.py"))
            script.main()
    return folder


@pytest.mark.parametrize("name", SIZES)
def test_pictures_have_their_size_and_a_white_opaque_background(drawn, name):
    picture = cv2.imread(str(drawn / name), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (*SIZES[name], 3)  # Three channels: no alpha.
    assert (picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert len(np.unique(picture @ np.array([1 << 16, 1 << 8, 1]))) > 1000


@pytest.mark.parametrize("name", ["overview.png", "architecture.png"])
def test_diagrams_are_small_files(drawn, name):
    assert (drawn / name).stat().st_size < 300_000


def test_landmarks_of_a_face_lie_in_its_picture():
    picture, landmarks = figures.face(figures.ACTOR, 0.8, 0.5, side=100)
    assert picture.shape == (100, 100, 3)
    assert landmarks.shape == (68, 2)
    assert ((landmarks > 0) & (landmarks < 100)).all()


@pytest.mark.parametrize("draw", [figures.overview, figures.architecture])
def test_texts_are_on_the_sheet_and_do_not_overlap(draw):
    sheet = draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in sheet.axes.texts]
    width, height = sheet.figure.get_size_inches() * sheet.figure.dpi
    outside = [text for text, box in boxes if box.x0 < 0 or box.x1 > width or box.y0 < 0 or box.y1 > height]
    pairs = itertools.combinations(boxes, 2)
    overlapping = [(first, second) for (first, a), (second, b) in pairs if a.overlaps(b)]
    assert not outside and not overlapping
