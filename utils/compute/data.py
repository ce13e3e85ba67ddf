"""Reads the data set that the settings name: frame tables and face crops."""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from datasets.afewva import read_afewva
from datasets.affectnet import read_affectnet, split_affectnet
from datasets.demo.dataset import render_demo
from datasets.images import CropCache, FaceCrops
from datasets.own_videos import read_own_videos
from datasets.splits import Splits, split_by_subject
from utils.base.errors import SettingsError
from utils.compute import ranks
from utils.config.common import ScriptSettings
from utils.config.sections import DataSettings

log = logging.getLogger(__name__)


def read_splits(settings: ScriptSettings, device: torch.device | None = None) -> Splits:
    """Read the data set and split it into training, validation and test set. A missing demo set is rendered first.

    Args:
        settings: name the data set and the split.
        device: where to find the faces of your own videos, see `FaceDetector`.

    Raises:
        DataError: the data set is missing or invalid, or too small to split.
    """
    return read_fold_splits([settings], device)[0]


def read_fold_splits(folds: Sequence[ScriptSettings], device: torch.device | None = None) -> list[Splits]:
    """Read the data set once and split it for each fold.

    Args:
        folds: the settings of at least one fold; those of the data set differ in `data.fold` only.
        device: as in `read_splits`.

    Raises:
        DataError: as `read_splits`.
    """
    settings, data = folds[0], folds[0].data
    if settings.dataset == "affectnet":
        tables = read_affectnet(settings.data_root, data.clean, data.strict)
        splits_of_folds = [split_affectnet(tables, data.validation_share, settings.seed)]  # It has a single fold.
    else:
        frames = _read_frames(settings, device)
        splits_of_folds = [
            split_by_subject(frames, int(fold.data.fold), validation_share=data.validation_share, seed=settings.seed)
            for fold in folds
        ]
    for splits in splits_of_folds:
        for name, part in zip(splits._fields, splits, strict=True):
            # AffectNet does not name the people: each of its images counts as a subject.
            people = "" if settings.dataset == "affectnet" else f" of {part['subject'].nunique()} people"
            log.info("%s: %d images%s", name, len(part), people)
    return splits_of_folds


def _read_frames(settings: ScriptSettings, device: torch.device | None) -> pd.DataFrame:
    """Read the frame table of a data set that is split by people."""
    data, root = settings.data, settings.data_root
    if settings.dataset == "videos":
        return read_videos(root, data, device)
    if settings.dataset == "demo":
        demo = settings.demo
        with ranks.rank_zero_first():
            parameters = (demo.seed, demo.people, demo.frames, demo.short_frames)
            render_demo(root, *parameters, hard=demo.hard, clips=demo.clips)
    return read_afewva(root, data.expressions, data.pixel_aspect, data.strict)


def read_videos(root: Path, data: DataSettings, device: torch.device | None = None) -> pd.DataFrame:
    """Read a folder of the user's own labelled videos; rank 0 finds the faces, the other ranks read its cache.

    Args:
        root: the folder.
        data: the settings `data.cache`, `data.fps` and `data.strict` are used.
        device: where to find the faces, see `FaceDetector`.

    Raises:
        DataError: a video or its labels cannot be used.
        SettingsError: there is no cache.
    """
    if data.cache is None:
        raise SettingsError("data.cache is null, but face images of videos are kept there; name a folder")
    with ranks.rank_zero_first():
        return read_own_videos(root, data.cache, data.fps, data.strict, device)


class CropReader:
    """Opens the face crops of a frame table: `crop_reader = CropReader(settings)`, then `crop_reader(frames)`.

    Args:
        settings: the settings `data.cache`, `data.cache_gb` and `data.image_size` are used.
        image_size: side of the crops in pixels, in place of `data.image_size`.
    """

    def __init__(self, settings: ScriptSettings, image_size: int | None = None):
        data = settings.data
        self.cache = CropCache(data.cache, data.cache_gb * 1e9, ranks.world_size()) if data.cache else None
        self.image_size = image_size or data.image_size

    def with_image_size(self, image_size: int) -> "CropReader":
        """Return a reader of crops of another size, with the same cache."""
        other = copy.copy(self)
        other.image_size = image_size
        return other

    def __call__(self, frames: pd.DataFrame) -> FaceCrops:
        """Return the face crops of a frame table; they are read from disk when they are used."""
        return FaceCrops(frames, self.image_size, self.cache)
