"""Calibrates a network on the validation clips of a data set, or reads the calibration that was fitted before."""

import logging
from pathlib import Path

import pandas as pd

from datasets.frames import is_labelled
from utils.base.errors import DataError
from utils.base.text import listed
from utils.compute import ranks
from utils.compute.runtime import Runtime
from utils.config.common import ScriptSettings
from utils.config.labelling import LabelSettings
from utils.labelling.adaptation import SHARED_ERROR_SCALE, UNFITTED
from utils.labelling.calibration import DEFAULT_CALIBRATION, START, Calibration, read_calibration, save_calibration
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.fitting import CalibrationClip, fit_calibration
from utils.labelling.foreign import fit_foreign_offsets
from utils.labelling.labeller import Labeller
from utils.labelling.process import GPParameters, scale_errors
from utils.labelling.rater import UNFITTED_RATER, UNFITTED_RATING
from utils.labelling.sources import EvidenceSources, NetworkSource, TableSource

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
    source = split_name(settings.dataset, settings.data_root, settings.data.fold, settings.seed)
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
    relative = (clips.labeller.model is not None,)
    fitted = calibrate(clips.labeller, clips.read(frames), relative)._replace(source=source)
    labels = is_labelled(frames).sum()
    log.info("calibrated fused labels on %d validation clips of %s (%d labelled frames)", fitted.clips, source, labels)
    if fitted.clips < RELIABLE_CLIPS:
        log.warning(
            "fewer than %d validation clips: the intervals of fused labels may be too narrow or too wide",
            RELIABLE_CLIPS,
        )
    if not saved and ranks.is_rank_zero() and not _is_foreign_demo(clips, settings):
        save_calibration(checkpoint, fitted)
    return fitted


def _is_foreign_demo(clips: ClipReader, settings: ScriptSettings) -> bool:
    """Whether a network that was not trained here was calibrated on rendered faces, which says nothing of real ones."""
    networks = [one for one in clips.absolute if isinstance(one, NetworkSource)]
    return settings.dataset == "demo" and any(not network.trainings for network in networks)


def split_name(dataset: str, root: Path, fold: int | str, seed: int) -> str:
    """Text that names a data set and its split, kept in calibration.json."""
    return f"{dataset} {root.name}, fold {fold}, seed {seed}"


def clips_for_dataset(
    sources: EvidenceSources, runtime: Runtime, validation: pd.DataFrame, settings: LabelSettings
) -> ClipReader:
    """A reader of the clips of a data set, whose labeller has a calibration of all sources of evidence.

    The calibration of a single network is read or fitted by `calibration_for_dataset`. That of several sources, or of a
    table, is fitted on the validation clips. If it cannot be fitted, the sources are combined as for videos.
    """
    clips = ClipReader.of_sources(Labeller(sources.model, runtime), sources, settings)
    checkpoint, *others = sources.checkpoints
    unfitted: tuple[int, ...] = ()
    if checkpoint and not others:
        calibration = calibration_for_dataset(clips, validation, checkpoint, settings)
        if not calibration.clips:
            calibration, unfitted = combined_calibration(sources)
    else:
        calibration = _calibrate_together(clips, validation, sources)
        if not calibration.clips:
            calibration, unfitted = combined_calibration(sources)
    clips.labeller = Labeller(sources.model, runtime, calibration, unfitted)
    return clips


def _calibrate_together(clips: ClipReader, validation: pd.DataFrame, sources: EvidenceSources) -> Calibration:
    """Fits a calibration of several sources; one of 0 clips if there are too few clips, or a table lacks them."""
    frames, names = long_clips(validation), listed(sources.names)
    tables = [one for one in sources.absolute if isinstance(one, TableSource)]
    if not all(one.estimates.names_videos for one in tables):
        return DEFAULT_CALIBRATION  # A table without names of clips belongs to the clip that is labelled.
    if frames["clip"].nunique() < FEWEST_CLIPS:
        log.warning("evidence %s: fewer than %d validation clips, so it is not calibrated on them", names, FEWEST_CLIPS)
        return DEFAULT_CALIBRATION
    try:
        read = clips.read(frames)
    except DataError as error:
        log.warning("evidence %s: not calibrated on the validation clips: %s", names, error)
        return DEFAULT_CALIBRATION
    log.info("evidence %s: calibrated together on %d validation clips", names, len(read))
    return calibrate(clips.labeller, read, sources.relative)


def labeller_for_videos(sources: EvidenceSources, runtime: Runtime) -> Labeller:
    """A labeller for videos, by the calibrations beside the checkpoints of the sources."""
    calibration, unfitted = combined_calibration(sources)
    return Labeller(sources.model, runtime, calibration, unfitted, (UNFITTED_RATER,) * len(sources.ratings))


def combined_calibration(sources: EvidenceSources) -> tuple[Calibration, tuple[int, ...]]:
    """Combines the calibrations beside the checkpoints of the sources, and logs which of them there are.

    The process and the interval widths are those of the first calibrated source.

    Returns:
        The calibration, and the indices of the absolute sources without one, which `Labeller.adapted` fits to labels.
    """
    saved = [read_calibration(path) if path else None for path in sources.checkpoints]
    for name, one, relative in zip(sources.names, saved, sources.relative, strict=True):
        if one:
            log.info("evidence %s: calibrated on %d validation clips of %s", name, one.clips, one.source)
        elif relative:
            log.warning(
                "evidence %s: not calibrated, so the intervals of fused labels are not reliable; run fsl_mtclar.py on "
                "a data set with clips first",
                name,
            )
        elif name in [one.name for one in sources.absolute]:
            log.info("evidence %s: not calibrated; it is fitted to the given labels", name)
    base = next((one for one in saved if one), DEFAULT_CALIBRATION)
    axes = []
    for axis, of_base in enumerate(base.axes):
        evidence = [
            one.axes[axis].parameters.evidence[0] if one else (START.evidence[0] if relative else UNFITTED)
            for one, relative in zip(saved, sources.relative, strict=True)
        ]
        evidence[len(evidence) - len(sources.ratings) :] = [UNFITTED_RATING] * len(sources.ratings)
        if len(evidence) - len(sources.ratings) > 1:
            evidence = [scale_errors(one, SHARED_ERROR_SCALE) for one in evidence]
        axes.append(of_base._replace(parameters=GPParameters(of_base.parameters.process, tuple(evidence))))
    pairs = enumerate(zip(saved, sources.relative, strict=True))
    unfitted = tuple(source for source, (one, relative) in pairs if not one and not relative)
    return base._replace(valence=axes[0], arousal=axes[1]), unfitted


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
    fitted = calibrate(clips.labeller, clips.read(usable), (clips.labeller.model is not None,))._replace(
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


def calibrate(labeller: Labeller, clips: list[DatasetClip], relative: tuple[bool, ...] = (True,)) -> Calibration:
    """Fits a calibration on clips of people that no source of evidence was trained on.

    Args:
        labeller: compares frames of different people, if it has the Siamese network.
        clips: the clips, with their evidence.
        relative: for each source, whether its evidence is relative to the clip.
    """
    fitted = fit_calibration(
        [CalibrationClip(clip.encoded.times, clip.encoded.evidence, clip.labels) for clip in clips], relative
    )
    if labeller.model is None:
        return fitted
    offsets = zip(fitted.axes, fit_foreign_offsets(labeller, clips), strict=True)
    valence, arousal = (one._replace(foreign_offset=offset) for one, offset in offsets)
    return fitted._replace(valence=valence, arousal=arousal)
