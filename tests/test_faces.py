"""Face crops against known geometry, face boxes, and images that cannot be read."""

import cv2
import numpy as np
import pytest

from datasets.faces import (
    CROP_DIVISOR,
    FOREHEAD_SHARE,
    LANDMARK_ASPECT,
    box_from_detection,
    crop_face,
    landmark_box,
    read_image,
)
from utils.base.errors import DataError


def box_with_side(side, x, y, aspect=1.0):
    """A landmark box about (x, y) whose crop has this side; ``aspect`` is width / height of the box."""
    height = side * CROP_DIVISOR / (1 + aspect)
    return x - aspect * height / 2, y - height / 2, x + aspect * height / 2, y + height / 2


def ramp(height, width, x_step=0.0, y_step=0.0):
    """An image whose value at continuous (x, y) is 10 + x_step · x + y_step · y, in all three channels."""
    y, x = np.mgrid[:height, :width] + 0.5
    values = 10 + x_step * x + y_step * y
    return np.repeat(np.rint(values).astype(np.uint8)[..., None], 3, axis=2)


def test_whole_image_at_its_own_size_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(crop_face(image, box_with_side(64, 32, 32), 64), image)


def test_part_at_its_own_size_is_a_slice():
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    crop = crop_face(image, box_with_side(40, 50, 45, aspect=0.6), 40)
    np.testing.assert_array_equal(crop, image[25:65, 30:70])


def test_side_is_width_plus_height_over_crop_divisor():
    # The ramp rises by one grey level per pixel, so the values at the ends of the crop show where its edges are.
    image = ramp(200, 220, x_step=1)
    box = (60, 40, 126, 84)  # centre 93, 62; side (66 + 44) / 1.1 = 100
    crop = crop_face(image, box, 50)[25, :, 0].astype(float)
    x = 43 + (np.arange(50) + 0.5) * 2
    np.testing.assert_allclose(crop, 10 + x, atol=1)


@pytest.mark.parametrize("size", [16, 33, 64, 100, 301])
@pytest.mark.parametrize("centre", [(100.0, 100.0), (97.3, 103.8)])
def test_ramp_is_reproduced_at_every_scale(size, centre):
    image = ramp(200, 200, x_step=0.6, y_step=0.5)
    crop = crop_face(image, box_with_side(110, *centre), size)[..., 0].astype(float)
    offset = (np.arange(size) + 0.5) * 110 / size - 55
    expected = 10 + 0.6 * (centre[0] + offset)[None] + 0.5 * (centre[1] + offset)[:, None]
    assert np.abs(crop - expected).max() < 1.1
    assert abs((crop - expected).mean()) < 0.15  # the crop is not shifted: 0.15 levels are a quarter of a pixel


@pytest.mark.parametrize("scale", [0.17, 0.5, 1.0, 2.5])
def test_centre_of_the_box_is_the_centre_of_the_crop(scale):
    image = np.zeros((300, 400, 3), np.uint8)
    cv2.circle(image, (251 * 16 - 8, 121 * 16 - 8), 20 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    crop = crop_face(image, box_with_side(120, 251, 121), round(120 * scale))[..., 0].astype(float)
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]] + 0.5
    centre = np.array([(x * crop).sum(), (y * crop).sum()]) / crop.sum()
    np.testing.assert_allclose(centre, round(120 * scale) / 2, atol=0.1)


def test_margin_widens_the_square():
    image = ramp(200, 200, x_step=1)
    narrow, wide = (crop_face(image, box_with_side(60, 100, 100), 60, margin)[0, 0, 0] for margin in (1, 2))
    assert abs(int(narrow) - 80) <= 1 and abs(int(wide) - 50) <= 1


def test_pixel_aspect_restores_the_proportions_of_a_face():
    upright = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(upright, (150, 100), 40, (255, 255, 255), -1)
    squeezed = cv2.resize(upright, (200, 200), interpolation=cv2.INTER_AREA)  # pixels 1.5 × as wide as high
    expected = crop_face(upright, (110, 60, 190, 140), 96)
    crop = crop_face(squeezed, (110 / 1.5, 60, 190 / 1.5, 140), 96, pixel_aspect=1.5)
    assert np.abs(crop.astype(int) - expected).mean() < 2
    ignored = crop_face(squeezed, (110 / 1.5, 60, 190 / 1.5, 140), 96)
    assert np.abs(ignored.astype(int) - expected).mean() > 10


@pytest.mark.parametrize("size", [20, 80])
def test_outside_of_the_image_is_black(size):
    image = np.full((100, 100, 3), 200, np.uint8)
    crop = crop_face(image, box_with_side(80, 100, 0), size)  # centred on the upper right corner
    half = size // 2
    assert (crop[: half - 1] == 0).all() and (crop[:, half + 1 :] == 0).all()
    assert (crop[half + 1 :, : half - 1] == 200).all()


def test_box_wholly_outside_gives_black():
    crop = crop_face(np.full((50, 50, 3), 255, np.uint8), (500, 500, 540, 540), 32)
    assert crop.shape == (32, 32, 3) and crop.dtype == np.uint8 and not crop.any()


def test_shrinking_does_not_alias():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = crop_face(stripes, box_with_side(400, 256, 256), 50)
    assert np.abs(crop.astype(int) - 127.5).max() < 20  # a block of 7 columns has one more of one colour


def test_crop_does_not_change_the_image_and_accepts_views():
    image = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    before = image.copy()
    mirrored = crop_face(image[:, ::-1], box_with_side(50, 40, 40), 50)
    np.testing.assert_array_equal(mirrored[:, ::-1], crop_face(image, box_with_side(50, 40, 40), 50))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (20, 10, 10, 20), (10, 20, 20, 10), (np.nan, 0, 1, 1)])
def test_box_without_area_is_refused(box):
    with pytest.raises(DataError, match="no area"):
        crop_face(np.zeros((30, 30, 3), np.uint8), box, 16)


@pytest.mark.parametrize("setting", [{"size": 0}, {"margin": 0}, {"pixel_aspect": -1}, {"margin": np.nan}])
def test_crop_settings_must_be_positive(setting):
    with pytest.raises(DataError, match="above 0"):
        crop_face(np.zeros((30, 30, 3), np.uint8), (0, 0, 9, 9), **({"size": 16} | setting))


def test_landmark_box():
    landmarks = np.random.default_rng(0).uniform(0, 100, (5, 68, 2))
    boxes = landmark_box(landmarks)
    assert boxes.shape == (5, 4)
    for box, points in zip(boxes, landmarks, strict=True):
        x, y = points.T
        assert box.tolist() == [x.min(), y.min(), x.max(), y.max()]
        np.testing.assert_array_equal(landmark_box(points), box)


def test_box_from_detection():
    left, top, right, bottom = box_from_detection(100, 50, 300, 250)  # square: background beside the jaw
    assert (top, bottom) == (50 + 200 * FOREHEAD_SHARE, 250)
    assert right - left == pytest.approx(200 * LANDMARK_ASPECT) and (left + right) / 2 == 200
    left, top, right, bottom = box_from_detection(100, 50, 150, 250)  # narrow: all of the width
    assert (left, right) == (100, 150)
    assert box_from_detection(*np.ones((4, 7))).shape == (7, 4)


def test_read_image_is_rgb(tmp_path):
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    file = tmp_path / "bild-ä.png"
    file.write_bytes(cv2.imencode(".png", red[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(read_image(file), red)


def test_read_image_converts_grey_and_transparent_images_to_rgb(tmp_path):
    for channels, shape in (("grey", (4, 6)), ("alpha", (4, 6, 4))):
        file = tmp_path / f"{channels}.png"
        cv2.imwrite(str(file), np.full(shape, 90, np.uint8))
        assert read_image(str(file)).shape == (4, 6, 3)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n broken"])
def test_invalid_image_is_refused(tmp_path, content):
    file = tmp_path / "00001.png"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"00001\.png.*restore"):
        read_image(file)


def test_missing_image_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"missing\.png.*restore"):
        read_image(tmp_path / "missing.png")
