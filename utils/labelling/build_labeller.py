"""Builds the labeller of a data set or of the user's own videos: combines the calibrations of its sources."""

import logging

import pandas as pd

from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.labelling.calibration.adaptation import PRIOR_SOURCE, SHARED_ERROR_SCALE
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION, START, Calibration
from utils.labelling.calibration.file import read_calibration
from utils.labelling.clip_calibration.dataset_calibration import calibrate_together, calibration_for_dataset
from utils.labelling.clips import ClipReader
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.process import GPParameters, SourceParameters, scale_errors
from utils.labelling.raters.rater import PRIOR_RATER, PRIOR_RATING
from utils.labelling.raters.ratings import RatingSource
from utils.labelling.sources import EvidenceSource, EvidenceSources

log = logging.getLogger(__name__)


def clip_reader_for_dataset(
    sources: EvidenceSources, runtime: Runtime, validation: pd.DataFrame, settings: LabelSettings
) -> ClipReader:
    """A reader of the clips of a data set, whose labeller has a calibration of all sources of evidence.

    The calibration of a single network is read or fitted by `calibration_for_dataset`. That of several sources, or of a
    table, is fitted on the validation clips. If it cannot be fitted, the sources are combined as for videos.
    """
    clips = ClipReader.of_sources(Labeller(sources.model, runtime), sources, settings)
    first, *others = sources.all
    if first.checkpoint and not others:
        calibration = calibration_for_dataset(clips, validation, first.checkpoint, settings)
    else:
        calibration = calibrate_together(clips, validation, sources)
    uncalibrated: tuple[int, ...] = ()
    if not calibration.clips:
        calibration, uncalibrated = combine_calibrations(sources)
    clips.labeller = Labeller(sources.model, runtime, calibration, uncalibrated)
    return clips


def labeller_for_videos(sources: EvidenceSources, runtime: Runtime) -> Labeller:
    """A labeller for videos, by the calibrations beside the checkpoints of the sources."""
    calibration, uncalibrated = combine_calibrations(sources)
    return Labeller(sources.model, runtime, calibration, uncalibrated, (PRIOR_RATER,) * len(sources.raters))


def combine_calibrations(sources: EvidenceSources) -> tuple[Calibration, tuple[int, ...]]:
    """Combines the calibrations beside the checkpoints of the sources, and logs which of them there are.

    The process and the interval widths are those of the first calibrated source.

    Returns:
        The calibration; and `Labeller.uncalibrated`, the indices of the absolute sources without a calibration.
    """
    saved = [read_calibration(source.checkpoint) if source.checkpoint else None for source in sources.all]
    pairs = list(zip(sources.all, saved, strict=True))
    for source, calibration in pairs:
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
    base = next(filter(None, saved), DEFAULT_CALIBRATION)
    axes = []
    for index, axis in enumerate(base.axes):
        evidence = [_parameters(source, calibration, index) for source, calibration in pairs]
        if len(evidence) - len(sources.raters) > 1:
            evidence = [scale_errors(parameters, SHARED_ERROR_SCALE) for parameters in evidence]
        axes.append(axis._replace(with_evidence=GPParameters(axis.with_evidence.process, tuple(evidence))))
    uncalibrated = [
        index for index, (source, calibration) in enumerate(pairs) if not calibration and not source.relative
    ]
    return base.replace_axes(axes), tuple(uncalibrated)


def _parameters(source: EvidenceSource, calibration: Calibration | None, axis: int) -> SourceParameters:
    """Calibrated parameters of a source on an axis (by index); without a calibration, those before the first label."""
    if calibration:
        return calibration.axes[axis].with_evidence.sources[0]
    if isinstance(source, RatingSource):
        return PRIOR_RATING
    return START.sources[0] if source.relative else PRIOR_SOURCE
