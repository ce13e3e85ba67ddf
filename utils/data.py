"""From settings to frame tables and face crops."""

import logging

import pandas as pd

from datasets.afewva import read_afewva
from datasets.affectnet import read_affectnet, split_affectnet
from datasets.demo import render_demo
from datasets.frames import Splits, split_by_subject
from datasets.images import CropCache, FaceCrops
from utils import ranks
from utils.settings import ScriptSettings

log = logging.getLogger(__name__)


def read_splits(settings: ScriptSettings) -> Splits:
    """The dataset that the settings name, in three parts; the demo set is rendered first where it is not there."""
    data, root = settings.data, settings.data_root
    if settings.dataset == "affectnet":
        tables = read_affectnet(root, data.clean, data.strict)
        splits = split_affectnet(tables, data.validation_share, settings.seed)
    else:
        if settings.dataset == "demo":
            demo = settings.demo
            with ranks.first_alone():
                render_demo(root, demo.seed, demo.people, demo.frames, demo.short_frames, hard=demo.hard)
        frames = read_afewva(root, data.expressions, data.pixel_aspect, data.strict)
        splits = split_by_subject(frames, int(data.fold), validation_share=data.validation_share, seed=settings.seed)
    for name, frames in zip(splits._fields, splits, strict=True):
        log.info("%s: %d images of %d people", name, len(frames), frames["subject"].nunique())
    return splits


class CropReader:
    """frame table → its face crops, at the size and through the cache that the settings name."""

    def __init__(self, settings: ScriptSettings, image_size: int | None = None):
        data = settings.data
        self.cache = CropCache(data.cache, data.cache_gb * 1e9) if data.cache else None
        self.image_size = image_size or data.image_size

    def __call__(self, frames: pd.DataFrame) -> FaceCrops:
        return FaceCrops(frames, self.image_size, self.cache)
