"""Calibrates a network on the validation clips of a data set, or reads the calibration that was fitted before."""

import logging
from pathlib import Path

import pandas as pd

from datasets.frames import is_labelled
from utils.base.errors import DataError
from utils.compute import ranks
from utils.config.common import ScriptSettings
from utils.labelling.calibration import DEFAULT_CALIBRATION, Calibration, read_calibration, save_calibration
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.fitting import CalibrationClip, fit_calibration
from utils.labelling.foreign import fit_foreign_offsets
from utils.labelling.labeller import Labeller

log = logging.getLogger(__name__)

SHORTEST_CLIP = 24  # frames; shorter clips contain too little information on how labels change over time
FEWEST_LABELS = 4  # labelled frames of such a clip
FEWEST_CLIPS = 6  # With fewer clips, no calibration is fitted.
RELIABLE_CLIPS = 15  # With fewer clips, the interval widths are uncertain.


def calibration_for_dataset(
    clips: ClipReader,
    validation: pd.DataFrame,
    checkpoint: Path,
    settings: ScriptSettings,
    fine_tuned_from: Path | None = None,
) -> Calibration:
    """The calibration for labelling a data set.

    It is read from the file beside the checkpoint if it was fitted on the same data. Otherwise it is fitted on the
    validation clips. It is saved beside the checkpoint unless a calibration of other data is there.

    With fewer than FEWEST_CLIPS validation clips that are long enough, nothing is fitted. The calibration beside the
    checkpoint is then returned although it was fitted on other data. If there is none, it is that of the network from
    which training started, which is saved, or the default calibration.

    Args:
        clips: reads the clips.
        validation: frame table of people that the network was not trained on.
        checkpoint: the checkpoint of the network.
        settings: the settings that determine the data set and its split.
        fine_tuned_from: checkpoint of the network from which training started.
    """
    source = f"{settings.dataset} {settings.data_root.name}, fold {settings.data.fold}, seed {settings.seed}"
    if settings.dataset == "videos":  # Videos and labels may have been added since.
        source += f", {is_labelled(validation).sum()} labels"
    saved = ranks.broadcast_from_rank_zero(lambda: read_calibration(checkpoint))
    if saved and saved.source == source:
        return saved
    frames = long_clips(validation)
    if frames["clip"].nunique() < FEWEST_CLIPS:
        saved = saved or _take_over_calibration(fine_tuned_from, checkpoint)
        used = f"the calibration for {saved.source}" if saved else "default parameters"
        log.warning(
            "fewer than %d validation clips of at least %d frames, %d of them labelled: fused labels use %s, and their "
            "intervals are not calibrated on this data set",
            FEWEST_CLIPS,
            SHORTEST_CLIP,
            FEWEST_LABELS,
            used,
        )
        return saved or DEFAULT_CALIBRATION
    fitted = calibrate(clips.labeller, clips.read(frames))._replace(source=source)
    labels = is_labelled(frames).sum()
    log.info("calibrated fused labels on %d validation clips of %s (%d labelled frames)", fitted.clips, source, labels)
    if fitted.clips < RELIABLE_CLIPS:
        log.warning(
            "fewer than %d validation clips: the intervals of fused labels may be too narrow or too wide",
            RELIABLE_CLIPS,
        )
    if not saved and ranks.is_rank_zero():
        save_calibration(checkpoint, fitted)
    return fitted


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
    """The rows of a frame table that belong to clips with enough frames and enough labels to calibrate on."""
    lengths = frames.groupby("clip")["frame"].transform("size")
    labels = pd.Series(is_labelled(frames), frames.index).groupby(frames["clip"]).transform("sum")
    return frames[(lengths >= SHORTEST_CLIP) & (labels >= FEWEST_LABELS)].reset_index(drop=True)


def calibrate_on_videos(clips: ClipReader, frames: pd.DataFrame, checkpoint: Path, folder: Path) -> Calibration:
    """Fits a calibration on the user's own labelled videos, and saves it beside the checkpoint.

    Args:
        clips: reads the clips.
        frames: frame table of the videos, which must show people that the network was not trained on.
        checkpoint: the checkpoint of the network; its present calibration is replaced.
        folder: the folder of the videos.

    Raises:
        DataError: too few clips have enough frames and labels.
    """
    usable = long_clips(frames)
    if usable["clip"].nunique() < FEWEST_CLIPS:
        raise DataError(
            f"{folder}: {usable['clip'].nunique()} of {frames['clip'].nunique()} clips have at least {SHORTEST_CLIP} "
            f"frames, {FEWEST_LABELS} of them labelled, but a calibration needs {FEWEST_CLIPS} such clips; label more"
        )
    labels = is_labelled(usable).sum()
    fitted = calibrate(clips.labeller, clips.read(usable))._replace(
        source=f"videos {folder.absolute().name}, {labels} labels"
    )
    if fitted.clips < RELIABLE_CLIPS:
        log.warning("fewer than %d clips: the intervals may be too narrow or too wide", RELIABLE_CLIPS)
    if ranks.is_rank_zero():
        save_calibration(checkpoint, fitted)
    return fitted


def _take_over_calibration(earlier: Path | None, checkpoint: Path) -> Calibration | None:
    """Copies the calibration beside an earlier checkpoint of a fine-tuned network; None if there is none."""
    calibration = read_calibration(earlier) if earlier else None
    if calibration is None:
        return None
    calibration = calibration._replace(source=f"{calibration.source}, before fine-tuning")
    if ranks.is_rank_zero():
        save_calibration(checkpoint, calibration)
    return calibration


def calibrate(labeller: Labeller, clips: list[DatasetClip]) -> Calibration:
    """Fits a calibration on clips of people that the network of the labeller was not trained on."""
    fitted = fit_calibration(
        [CalibrationClip(clip.encoded.times, clip.encoded.evidence, clip.labels) for clip in clips]
    )
    return fitted._replace(foreign_offsets=fit_foreign_offsets(labeller, clips))
