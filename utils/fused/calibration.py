"""The fusion of a network: fitted on validation clips, kept beside its checkpoint."""

import logging
from pathlib import Path

import pandas as pd

from datasets.annotations import AXES
from utils import ranks
from utils.fused.fusion import UNFITTED, Clip, Fusion, fit_fusion, read_fusion, save_fusion
from utils.label_dataset import DatasetClip, read_clips

log = logging.getLogger(__name__)

SHORTEST = 24  # frames of a clip from which one can learn how labels move
FEWEST = 6  # clips
ENOUGH = 15  # clips from which on the intervals can be relied on


def fusion_for_dataset(model, validation: pd.DataFrame, crops, cache, checkpoint: Path, settings, runtime) -> Fusion:
    """The fusion fitted on the validation set of this dataset; kept beside the checkpoint, unless another one is.

    validation: frame table of people that the network was not trained on.
    """
    source = f"{settings.dataset} {settings.data_root.name}, fold {settings.data.fold}, seed {settings.seed}"
    found = ranks.from_first(lambda: read_fusion(checkpoint))
    if found and found.source == source:
        return found
    frames = long_clips(validation)
    if frames["clip"].nunique() < FEWEST:
        log.warning("fewer than %d validation clips of %d frames: nothing is fitted for fused labels, and their "
                    "intervals are not calibrated", FEWEST, SHORTEST)  # fmt: skip
        return found or UNFITTED
    clips = read_clips(model, frames, crops, cache, settings, runtime)
    fitted = fit_on_clips(clips)._replace(source=source)
    log.info("fused labels: fitted to %d validation clips of %s", fitted.clips, source)
    if fitted.clips < ENOUGH:
        log.warning("fewer than %d validation clips: the intervals of fused labels are rough", ENOUGH)
    if not found and ranks.is_first():
        save_fusion(checkpoint, fitted)
    return fitted


def fusion_for_videos(checkpoint: Path) -> Fusion:
    """The fusion beside the checkpoint, or one that is not calibrated, with a warning."""
    found = read_fusion(checkpoint)
    if not found:
        log.warning("%s: nothing was fitted for fused labels, so their intervals are not calibrated; "
                    "run fsl_mtclar.py on a dataset with clips first", checkpoint)  # fmt: skip
        return UNFITTED
    log.info("fused labels: as fitted to %d validation clips of %s", found.clips, found.source)
    return found


def long_clips(frames: pd.DataFrame) -> pd.DataFrame:
    """The rows of clips that are long enough to fit to."""
    return frames[frames.groupby("clip")["frame"].transform("size") >= SHORTEST].reset_index(drop=True)


def fit_on_clips(clips: list[DatasetClip]) -> Fusion:
    """clips: long enough, of people that the network was not trained on."""
    labels = [clip.frames[list(AXES)].to_numpy(float) for clip in clips]
    return fit_fusion([Clip(clip.seen.times, clip.seen.view, true) for clip, true in zip(clips, labels, strict=True)])
