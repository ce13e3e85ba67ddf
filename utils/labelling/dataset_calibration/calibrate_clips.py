"""Fits a calibration on labelled clips of people that no source of evidence was trained on."""

import logging
from pathlib import Path

import pandas as pd

from datasets.frames import is_labelled
from utils.base.errors import DataError
from utils.compute import ranks
from utils.labelling.calibration.calibration import Calibration
from utils.labelling.calibration.file import save_calibration
from utils.labelling.calibration.fit_problems import CalibrationClip
from utils.labelling.calibration.fitting import fit_calibration
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.dataset_calibration.foreign import fit_foreign_offsets
from utils.labelling.dataset_calibration.shots import fit_shot_offsets

log = logging.getLogger(__name__)

SHORTEST_CLIP = 24  # frames; shorter clips contain too little information on how labels change over time
FEWEST_LABELS = 4  # labelled frames of such a clip
FEWEST_CLIPS = 6  # With fewer clips, no calibration is fitted.
RELIABLE_CLIPS = 15  # With fewer clips, the interval widths are uncertain.


def clips_to_calibrate_on(frames: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame table that belong to clips with enough frames and enough labels to calibrate on."""
    lengths = frames.groupby("clip")["frame"].transform("size")
    labels = pd.Series(is_labelled(frames), frames.index).groupby(frames["clip"]).transform("sum")
    return frames[(lengths >= SHORTEST_CLIP) & (labels >= FEWEST_LABELS)].reset_index(drop=True)


def enough_clips(frames: pd.DataFrame) -> bool:
    """Whether a calibration can be fitted on these rows, which `clips_to_calibrate_on` returned."""
    return bool(frames["clip"].nunique() >= FEWEST_CLIPS)


def calibrate(encoder: ClipEncoder, clips: list[DatasetClip], relative: tuple[bool, ...] = (True,)) -> Calibration:
    """Fit a calibration on clips of people that no source of evidence was trained on.

    Args:
        encoder: compares frames of different people, if it has the Siamese network.
        clips: the clips, with their evidence.
        relative: for each source, whether its evidence is relative to the clip.
    """
    fitted = fit_calibration(
        [CalibrationClip(clip.encoded.times, clip.encoded.evidence, clip.labels) for clip in clips], relative
    )
    fitted = fit_shot_offsets(encoder, fitted, clips)
    if encoder.model is None:
        return fitted
    offsets = zip(fitted.axes, fit_foreign_offsets(encoder, clips), strict=True)
    return fitted.replace_axes(axis._replace(foreign_offset=offset) for axis, offset in offsets)


def calibrate_on_videos(reader: ClipReader, frames: pd.DataFrame, checkpoint: Path, folder: Path) -> Calibration:
    """Fit a calibration on the user's own labelled videos, and save it beside the checkpoint.

    Args:
        reader: reads the clips.
        frames: frame table of the videos, which must show people that the network was not trained on.
        checkpoint: the checkpoint of the network; its present calibration is replaced.
        folder: the folder of the videos.

    Raises:
        DataError: too few clips have enough frames and labels.
    """
    usable = clips_to_calibrate_on(frames)
    if not enough_clips(usable):
        raise DataError(
            f"{folder}: {usable['clip'].nunique()} of {frames['clip'].nunique()} clips have at least {SHORTEST_CLIP} "
            f"frames, {FEWEST_LABELS} of them labelled, but a calibration needs {FEWEST_CLIPS} such clips; label more"
        )
    fitted = calibrate(reader.encoder, reader.read(usable), (reader.encoder.model is not None,))._replace(
        fitted_on=f"videos {folder.absolute().name}, {is_labelled(usable).sum()} labels"
    )
    if fitted.clips < RELIABLE_CLIPS:
        log.warning("fewer than %d clips: the intervals may be too narrow or too wide", RELIABLE_CLIPS)
    if ranks.is_rank_zero():
        save_calibration(checkpoint, fitted)
    return fitted
