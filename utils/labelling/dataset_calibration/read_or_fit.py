"""The calibration for labelling a data set: read from the file beside the checkpoint, or fitted on validation clips."""

import hashlib
import json
import logging
from pathlib import Path

import pandas as pd

from datasets.frames import is_labelled
from utils.base.errors import DataError
from utils.base.text import listed
from utils.compute import ranks
from utils.config.common import ScriptSettings
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION, Calibration
from utils.labelling.calibration.file import (
    read_calibration,
    read_calibration_of_sources,
    save_calibration,
    save_calibration_of_sources,
)
from utils.labelling.clips import ClipReader
from utils.labelling.dataset_calibration.calibrate_clips import (
    FEWEST_CLIPS,
    FEWEST_LABELS,
    RELIABLE_CLIPS,
    SHORTEST_CLIP,
    calibrate,
    clips_to_calibrate_on,
    enough_clips,
)
from utils.labelling.sources import EvidenceSources, NetworkSource, TableSource

log = logging.getLogger(__name__)


def calibration_for_dataset(
    reader: ClipReader,
    validation: pd.DataFrame,
    checkpoint: Path,
    settings: ScriptSettings,
    fine_tuned_from: Path | None = None,
) -> Calibration:
    """The calibration for labelling a data set.

    It is read from the file beside the checkpoint if it was fitted on the same data. Otherwise it is fitted on the
    validation clips. It is saved beside the checkpoint, unless a calibration of other data is there or the data say
    nothing of the network (see `_demo_says_nothing_of_network`).

    With fewer than FEWEST_CLIPS validation clips that are long enough, nothing is fitted. The calibration beside the
    checkpoint is then returned although it was fitted on other data. If there is none, it is that of the network from
    which training started, which is saved, or the default calibration.

    Args:
        reader: reads the clips.
        validation: frame table of people that the network was not trained on.
        checkpoint: the checkpoint of the network.
        settings: the settings that determine the data set and its split.
        fine_tuned_from: checkpoint of the network from which training started.
    """
    fitted_on = split_name(settings.dataset, settings.data_root, settings.data.fold, settings.seed)
    if settings.dataset == "videos":  # Videos and labels may have been added since.
        fitted_on += f", {is_labelled(validation).sum()} labels"
    saved = ranks.broadcast_from_rank_zero(lambda: read_calibration(checkpoint))
    if saved and saved.fitted_on == fitted_on:
        return saved
    frames = clips_to_calibrate_on(validation)
    if not enough_clips(frames):
        return _calibration_of_other_data(saved, checkpoint, fine_tuned_from)
    relative = (reader.encoder.model is not None,)
    fitted = calibrate(reader.encoder, reader.read(frames), relative)._replace(fitted_on=fitted_on)
    text = "calibrated fused labels on %d validation clips of %s (%d labelled frames)"
    log.info(text, fitted.clips, fitted_on, is_labelled(frames).sum())
    if fitted.clips < RELIABLE_CLIPS:
        log.warning(
            "fewer than %d validation clips: the intervals of fused labels may be too narrow or too wide",
            RELIABLE_CLIPS,
        )
    if not saved and ranks.is_rank_zero() and not _demo_says_nothing_of_network(reader, settings):
        save_calibration(checkpoint, fitted)
    return fitted


def _calibration_of_other_data(
    saved: Calibration | None, checkpoint: Path, fine_tuned_from: Path | None
) -> Calibration:
    """The calibration to use if there are too few validation clips, with a warning; arguments as above."""
    calibration = saved or _take_over_calibration(fine_tuned_from, checkpoint)
    log.warning(
        "fewer than %d validation clips of at least %d frames, %d of them labelled: fused labels use %s, and their "
        "intervals are not calibrated on this data set",
        FEWEST_CLIPS,
        SHORTEST_CLIP,
        FEWEST_LABELS,
        f"the calibration for {calibration.fitted_on}" if calibration else "default parameters",
    )
    return calibration or DEFAULT_CALIBRATION


def _demo_says_nothing_of_network(reader: ClipReader, settings: ScriptSettings) -> bool:
    """Whether the data are rendered faces, and a network was not trained here: it may be meant for real faces."""
    networks = [estimator for estimator in reader.estimators if isinstance(estimator, NetworkSource)]
    return settings.dataset == "demo" and any(not network.trainings for network in networks)


def split_name(dataset: str, root: Path, fold: int | str, seed: int) -> str:
    """Text that names a data set and its split, kept in calibration.json."""
    return f"{dataset} {root.name}, fold {fold}, seed {seed}"


def calibrate_together(reader: ClipReader, validation: pd.DataFrame, sources: EvidenceSources) -> Calibration:
    """The calibration of several sources: read from the file of an earlier run, or fitted on the validation clips.

    It has 0 clips if there are too few validation clips, or a table lacks them.
    """
    frames, names = clips_to_calibrate_on(validation), listed(sources.names)
    tables = [estimator for estimator in sources.estimators if isinstance(estimator, TableSource)]
    if not all(table.estimates.names_videos for table in tables):
        return DEFAULT_CALIBRATION  # A table without names of clips belongs to the clip that is labelled.
    if not enough_clips(frames):
        log.warning("evidence %s: fewer than %d validation clips, so it is not calibrated on them", names, FEWEST_CLIPS)
        return DEFAULT_CALIBRATION
    path = _path_of_sources(reader, frames, sources)
    saved = ranks.broadcast_from_rank_zero(lambda: path and read_calibration_of_sources(path))
    if saved:
        log.info("evidence %s: calibrated together on %d validation clips (%s)", names, saved.clips, path)
        return saved
    try:
        clips = reader.read(frames)
    except DataError as error:
        log.warning("evidence %s: not calibrated on the validation clips: %s", names, error)
        return DEFAULT_CALIBRATION
    log.info("evidence %s: calibrated together on %d validation clips", names, len(clips))
    fitted = calibrate(reader.encoder, clips, tuple(source.relative for source in sources.all))
    if path and ranks.is_rank_zero():
        save_calibration_of_sources(path, fitted, sources.names)
    return fitted


def _path_of_sources(reader: ClipReader, frames: pd.DataFrame, sources: EvidenceSources) -> Path | None:
    """The file beside the first network's weights that keeps a calibration of several sources; None for tables alone.

    Its name is a hash of all that the calibration depends on: the sources in their order, the labels and the crops.
    For an exported network, the file is in the folder of the runs, as the embeddings are.
    """
    networks = [estimator for estimator in sources.estimators if isinstance(estimator, NetworkSource)]
    cache = reader.cache or (networks[0].cache if networks else None)
    if cache is None:
        return None
    crops = cache.path(reader.crop_reader(frames), "").stem  # a hash of the images, the boxes and the first network
    content = [[source.sha256 for source in sources.inputs], crops, frames.to_csv(index=False)]
    key = hashlib.sha256(json.dumps(content).encode())
    return cache.folder.parent / f"calibration_{key.hexdigest()[:16]}.json"


def _take_over_calibration(earlier: Path | None, checkpoint: Path) -> Calibration | None:
    """Copy the calibration of the network from which fine-tuning started; None if there is none."""
    calibration = read_calibration(earlier) if earlier else None
    if calibration is None:
        return None
    calibration = calibration._replace(fitted_on=f"{calibration.fitted_on}, before fine-tuning")
    if ranks.is_rank_zero():
        save_calibration(checkpoint, calibration)
    return calibration
