"""Builds the labeller of a data set or of the user's own videos: combines the calibrations of its sources."""

import logging

import pandas as pd

from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.labelling.calibration.adaptation import PRIOR_SOURCE, SHARED_ERROR_SCALE
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION, DEFAULT_PARAMETERS, Calibration
from utils.labelling.calibration.file import read_calibration
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import ClipReader
from utils.labelling.dataset_calibration.read_or_fit import calibrate_together, calibration_for_dataset
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.process import SourceParameters, scale_errors
from utils.labelling.raters.rater import PRIOR_LAG, PRIOR_RATING_PARAMETERS
from utils.labelling.raters.ratings import RatingSource
from utils.labelling.sources import EvidenceSource, EvidenceSources

log = logging.getLogger(__name__)


def labeller_for_dataset(
    reader: ClipReader, sources: EvidenceSources, validation: pd.DataFrame, settings: LabelSettings
) -> Labeller:
    """A labeller for the clips of a data set, with a calibration of all sources of evidence.

    The calibration of a single network is read or fitted by `calibration_for_dataset`. That of several sources, or of a
    table, is fitted on the validation clips. If it cannot be fitted, the sources are combined as for videos.

    Args:
        reader: reads the validation clips, and encodes them as the labeller will.
        sources: those of the reader.
        validation: frame table of people that no source was trained on.
        settings: the settings that determine the data set and its split.
    """
    first, *others = sources.all
    if first.checkpoint and not others:
        calibration = calibration_for_dataset(reader, validation, first.checkpoint, settings)
    else:
        calibration = calibrate_together(reader, validation, sources)
    if calibration.clips:
        return Labeller(reader.encoder, calibration)
    return Labeller(reader.encoder, *combine_calibrations(sources))


def labeller_for_videos(sources: EvidenceSources, runtime: Runtime) -> Labeller:
    """A labeller for videos, by the calibrations beside the checkpoints of the sources."""
    calibration, uncalibrated = combine_calibrations(sources)
    encoder = ClipEncoder(sources.model, runtime)
    return Labeller(encoder, calibration, uncalibrated, (PRIOR_LAG,) * len(sources.raters))


def combine_calibrations(sources: EvidenceSources) -> tuple[Calibration, tuple[int, ...]]:
    """Combine the calibrations beside the checkpoints of the sources, and log which of them there are.

    The process and the interval widths are those of the first calibrated source. Several networks or tables share
    errors, since they see the same images, so their errors are enlarged. Example: by 1.25, from 0.20 to 0.25.

    Returns:
        The calibration; and `Labeller.uncalibrated`, the indices of the absolute sources without a calibration.
    """
    saved = [read_calibration(source.checkpoint) if source.checkpoint else None for source in sources.all]
    pairs = list(zip(sources.all, saved, strict=True))
    for source, calibration in pairs:
        _log_calibration(source, calibration)
    base = next(filter(None, saved), DEFAULT_CALIBRATION)
    error_scale = SHARED_ERROR_SCALE if len(pairs) - len(sources.raters) > 1 else 1.0
    axes = []
    for index, axis in enumerate(base.axes):
        parameters = [_parameters(source, calibration, index) for source, calibration in pairs]
        axes.append(axis.replace_sources(scale_errors(source, error_scale) for source in parameters))
    uncalibrated = [
        index for index, (source, calibration) in enumerate(pairs) if not calibration and not source.relative
    ]
    return base.replace_axes(axes), tuple(uncalibrated)


def _log_calibration(source: EvidenceSource, calibration: Calibration | None) -> None:
    """Log whether a source is calibrated; a rater never is."""
    if calibration:
        text = "evidence %s: calibrated on %d validation clips of %s"
        log.info(text, source.name, calibration.clips, calibration.fitted_on)
    elif source.relative:
        log.warning(
            "evidence %s: not calibrated, so the intervals of fused labels are not reliable; run fsl_mtclar.py on "
            "a data set with clips first",
            source.name,
        )
    elif not isinstance(source, RatingSource):
        log.info("evidence %s: not calibrated; it is fitted to the given labels", source.name)


def _parameters(source: EvidenceSource, calibration: Calibration | None, axis: int) -> SourceParameters:
    """Calibrated parameters of a source on an axis (by index); without a calibration, those before the first label."""
    if calibration:
        return calibration.axes[axis].with_evidence.sources[0]
    if isinstance(source, RatingSource):
        return PRIOR_RATING_PARAMETERS
    return DEFAULT_PARAMETERS.sources[0] if source.relative else PRIOR_SOURCE
