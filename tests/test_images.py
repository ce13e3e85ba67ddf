"""Face crops, their cache, transforms, and loading by worker processes."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from datasets.faces import MARGIN, crop_face
from datasets.frames import frame_table
from datasets.images import AugmentedCrops, CropCache, EvaluationImages, FaceCrops, TrainingImages
from utils.base.errors import DataError
from utils.compute.loading import PlannedLoader, batches_of, evaluation_loader


@pytest.fixture
def frames(tmp_path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (160, 120)))
        rows.append(
            {
                "path": str(path),
                "clip": "c",
                "frame": number,
                "subject": "s",
                "valence": 0.0,
                "arousal": 0.0,
                "expression": -1,
                "left": 40,
                "top": 30,
                "right": 95,
                "bottom": 85,
            }
        )
    return frame_table(pd.DataFrame(rows))


def test_evaluation_images_are_exactly_emonets_square(frames):
    image_seen = EvaluationImages(FaceCrops(frames, 64, None))[2]
    image = cv2.cvtColor(cv2.imread(frames["path"][2]), cv2.COLOR_BGR2RGB)
    expected = crop_face(image, (40, 30, 95, 85), 64)
    assert image_seen.shape == (3, 64, 64) and image_seen.dtype == torch.uint8
    assert np.abs(image_seen.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_cached_and_fresh_crops_are_identical(frames, tmp_path, monkeypatch):
    fresh = [FaceCrops(frames, 64, None)[row] for row in range(6)]
    crops = FaceCrops(frames, 64, CropCache(tmp_path / "cache", 1e9))
    filled = [crops[row] for row in range(6)]
    monkeypatch.setattr("datasets.images.read_image", lambda path: pytest.fail("decoded a frame again"))
    again = FaceCrops(frames, 64, CropCache(tmp_path / "cache", 1e9))
    for row in range(6):
        assert torch.equal(fresh[row], filled[row]) and torch.equal(fresh[row], again[row])


def test_augmented_copies_share_the_cached_crop(frames, tmp_path, monkeypatch):
    crops = FaceCrops(frames, 64, CropCache(tmp_path / "cache", 1e9))
    copies = [AugmentedCrops(crops, 1.0, seed=0, copy=number) for number in range(2)]
    first = copies[0][0]
    monkeypatch.setattr("datasets.images.read_image", lambda path: pytest.fail("decoded a frame again"))
    assert crops[0].shape == (3, 72, 72) and not torch.equal(copies[1][0], first)
    assert len(list((tmp_path / "cache").glob("*/*.npy"))) == 1
    assert len({repr(images.key(0)) for images in (crops, *copies)}) == 3  # embeddings are cached for each copy


@pytest.mark.parametrize("change", ["box", "size", "file", "aspect"])
def test_cache_is_keyed_by_all_that_a_crop_depends_on(frames, tmp_path, change):
    cache, size = CropCache(tmp_path / "cache", 1e9), 64
    FaceCrops(frames, size, cache)[0]
    if change == "box":
        frames.loc[0, "left"] = 41
    elif change == "size":
        size = 128
    elif change == "aspect":
        frames["pixel_aspect"] = np.float32(1.2)
    else:
        cv2.imwrite(frames["path"][0], np.zeros((120, 160, 3), np.uint8))
    assert torch.equal(FaceCrops(frames, size, cache)[0], FaceCrops(frames, size, None)[0])


def test_cache_keeps_its_limit_and_survives_broken_files(frames, tmp_path):
    folder = tmp_path / "cache"
    one = 72 * 72 * 3
    crops = FaceCrops(frames, 64, CropCache(folder, 2.5 * one))
    fresh = [crops[row] for row in range(6)]
    files = list(folder.glob("*/*.npy"))
    assert len(files) == 2
    for file, content in zip(files, (b"", b"\x93NUMPY garbage"), strict=True):
        file.write_bytes(content)
    again = FaceCrops(frames, 64, CropCache(folder, 1e9))
    assert all(torch.equal(again[row], fresh[row]) for row in range(6))


def test_ranks_share_the_limit(frames, tmp_path):
    folder, size = tmp_path / "cache", 72 * 72 * 3
    caches = [CropCache(folder, 3.5 * size, ranks=2) for _ in range(2)]
    for cache in caches:
        cache.write(cache.path((0,)), np.zeros((1, 1, 3), np.uint8))  # both ranks measure the cache before they fill it
    for rank, cache in enumerate(caches):
        crops = FaceCrops(frames, 64, cache)
        for row in range(rank, 6, 2):
            crops[row]
    assert len(list(folder.glob("*/*.npy"))) == 1 + 2


def test_unwritable_cache_is_no_error(frames, tmp_path):
    (tmp_path / "cache").write_text("a file, no folder")
    crops = FaceCrops(frames, 64, CropCache(tmp_path / "cache", 1e9))
    assert crops[0].shape == (3, 72, 72)


def test_augmentation_depends_only_on_seed_epoch_step_and_index(frames):
    plan = [(0, 0, np.array([1, 1, 3])), (0, 1, np.array([1, 1, 3])), (1, 0, np.array([1, 1, 3]))]
    images = TrainingImages(FaceCrops(frames, 64, None), 1.0, seed=7)
    alone = [images[item] for item in plan]
    assert alone[0].shape == (3, 3, 64, 64)
    assert not torch.equal(alone[0][0], alone[0][1])  # the same row twice, augmented differently
    assert not torch.equal(alone[0], alone[1]) and not torch.equal(alone[0], alone[2])
    state = torch.get_rng_state()
    loader = PlannedLoader(images, workers=2)
    for _ in range(2):  # the same worker processes load every epoch
        for expected, found in zip(alone, loader.load(plan), strict=True):
            assert torch.equal(expected, found)
    images[plan[0]]
    assert torch.equal(images[plan[0]], alone[0])
    torch.set_rng_state(state)


def test_strength_zero_leaves_only_flip_and_random_crop(frames):
    crop = FaceCrops(frames, 64, None)[0]
    image = TrainingImages(FaceCrops(frames, 64, None), 0.0, seed=0)[0, 0, np.array([0])][0]
    found = [
        torch.equal(image, side[:, y : y + 64, x : x + 64])
        for side in (crop, crop.flip(2))
        for y in range(9)
        for x in range(9)
    ]
    assert any(found) and crop.shape[1] == round(MARGIN * 64)


@pytest.mark.parametrize("workers", [0, 2])
def test_last_partial_batch_is_kept(frames, workers):
    batches = list(evaluation_loader(FaceCrops(frames, 64, None), 4, workers))
    assert [len(batch) for batch in batches] == [4, 2]


@pytest.mark.parametrize("workers", [0, 1])
def test_error_names_an_invalid_image(frames, tmp_path, workers):
    (tmp_path / "3.png").write_text("no image")
    with pytest.raises(DataError, match=r"3\.png: not an image") as error:
        list(batches_of(evaluation_loader(FaceCrops(frames, 64, None), 4, workers)))
    assert "Traceback" not in str(error.value)
