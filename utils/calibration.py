"""The fusion of a network: fitted on its validation clips, kept beside its checkpoint."""

import logging
from pathlib import Path

import pandas as pd

from datasets.annotations import AXES
from utils import ranks
from utils.checkpoint import digest
from utils.fusion import UNFITTED, Clip, Fusion, fit_fusion, read_fusion, save_fusion
from utils.label_dataset import DatasetClip, read_clips

log = logging.getLogger(__name__)

SHORTEST = 24  # frames of a clip from which one can learn how labels move
FEWEST = 4  # clips


def fusion_for_dataset(model, validation: pd.DataFrame, crops, cache, checkpoint: Path, settings, runtime) -> Fusion:
    """The fusion beside the checkpoint; fitted on the validation set, and put there, where it is not.

    validation: frame table of people that the network was not trained on.
    """
    found = ranks.from_first(lambda: read_fusion(checkpoint, digest(checkpoint)))
    if found:
        return found
    lengths = validation.groupby("clip")["frame"].transform("size")
    frames = validation[lengths >= SHORTEST]
    if frames["clip"].nunique() < FEWEST:
        log.warning("fewer than %d validation clips of %d frames: nothing is fitted for fused labels, and their "
                    "intervals are not calibrated", FEWEST, SHORTEST)  # fmt: skip
        return UNFITTED
    fusion = fit_on_clips(read_clips(model, frames.reset_index(drop=True), crops, cache, settings, runtime))
    if ranks.is_first():
        save_fusion(checkpoint, digest(checkpoint), fusion)
    return fusion


def fusion_for_videos(checkpoint: Path) -> Fusion:
    """The fusion beside the checkpoint, or one that is not calibrated, with a warning."""
    found = read_fusion(checkpoint, digest(checkpoint))
    if not found:
        log.warning("%s: nothing was fitted for fused labels, so their intervals are not calibrated; "
                    "run fsl_mtclar.py on a dataset with clips first", checkpoint)  # fmt: skip
    return found or UNFITTED


def fit_on_clips(clips: list[DatasetClip]) -> Fusion:
    """clips: of at least SHORTEST frames, of people that the network was not trained on."""
    labels = [clip.frames[list(AXES)].to_numpy(float) for clip in clips]
    return fit_fusion([Clip(clip.seen.times, clip.seen.view, true) for clip, true in zip(clips, labels, strict=True)])
