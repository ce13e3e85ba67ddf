"""Calibrates a network on the validation clips of a data set, or reads the calibration that was fitted before."""

import logging
from pathlib import Path

import pandas as pd

from utils.compute import ranks
from utils.config.common import ScriptSettings
from utils.labelling.calibration import DEFAULT_CALIBRATION, Calibration, read_calibration, save_calibration
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.fitting import CalibrationClip, fit_calibration
from utils.labelling.foreign import fit_foreign_offsets
from utils.labelling.labeller import Labeller

log = logging.getLogger(__name__)

SHORTEST_CLIP = 24  # frames; shorter clips contain too little information on how labels change over time
FEWEST_CLIPS = 6  # With fewer clips, no calibration is fitted.
RELIABLE_CLIPS = 15  # With fewer clips, the interval widths are uncertain.


def calibration_for_dataset(
    clips: ClipReader, validation: pd.DataFrame, checkpoint: Path, settings: ScriptSettings
) -> Calibration:
    """The calibration for labelling a data set.

    It is read from the file beside the checkpoint if it was fitted on the same data. Otherwise it is fitted on the
    validation clips. It is saved beside the checkpoint unless a calibration of other data is there.

    With fewer than FEWEST_CLIPS validation clips that are long enough, nothing is fitted. The calibration beside the
    checkpoint is then returned although it was fitted on other data, or the default calibration if there is none.

    Args:
        clips: reads the clips.
        validation: frame table of people that the network was not trained on.
        checkpoint: the checkpoint of the network.
        settings: the settings that determine the data set and its split.
    """
    source = split_name(settings.dataset, settings.data_root, settings.data.fold, settings.seed)
    saved = ranks.broadcast_from_rank_zero(lambda: read_calibration(checkpoint))
    if saved and saved.source == source:
        return saved
    frames = long_clips(validation)
    if frames["clip"].nunique() < FEWEST_CLIPS:
        used = f"the calibration for {saved.source}" if saved else "default parameters"
        log.warning(
            "fewer than %d validation clips of at least %d frames: fused labels use %s, and their intervals are not "
            "calibrated on this data set",
            FEWEST_CLIPS,
            SHORTEST_CLIP,
            used,
        )
        return saved or DEFAULT_CALIBRATION
    fitted = calibrate(clips.labeller, clips.read(frames))._replace(source=source)
    log.info("calibrated fused labels on %d validation clips of %s", fitted.clips, source)
    if fitted.clips < RELIABLE_CLIPS:
        log.warning(
            "fewer than %d validation clips: the intervals of fused labels may be too narrow or too wide",
            RELIABLE_CLIPS,
        )
    if not saved and ranks.is_rank_zero():
        save_calibration(checkpoint, fitted)
    return fitted


def split_name(dataset: str, root: Path, fold: int | str, seed: int) -> str:
    """Text that names a data set and its split, kept in calibration.json."""
    return f"{dataset} {root.name}, fold {fold}, seed {seed}"


def calibration_for_videos(checkpoint: Path) -> Calibration:
    """The calibration beside the checkpoint; if there is none, logs a warning and returns the default calibration."""
    saved = read_calibration(checkpoint)
    if not saved:
        log.warning(
            "%s: the network is not calibrated, so the intervals of fused labels are not reliable; "
            "run fsl_mtclar.py on a data set with clips first",
            checkpoint,
        )
        return DEFAULT_CALIBRATION
    log.info("fused labels: calibrated on %d validation clips of %s", saved.clips, saved.source)
    return saved


def long_clips(frames: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame table that belong to clips long enough to calibrate on."""
    return frames[frames.groupby("clip")["frame"].transform("size") >= SHORTEST_CLIP].reset_index(drop=True)


def calibrate(labeller: Labeller, clips: list[DatasetClip]) -> Calibration:
    """Fits a calibration on clips of people that the network of the labeller was not trained on."""
    fitted = fit_calibration(
        [CalibrationClip(clip.encoded.times, clip.encoded.evidence, clip.labels) for clip in clips]
    )
    return fitted._replace(foreign_offsets=fit_foreign_offsets(labeller, clips))
