"""Fits how far the constant error of the evidence differs between the clips of one person, on validation clips.

Where tracks of a person share their labels (`utils.labelling.people`), the evidence of a clip has the offset of the
person and an offset of its own, that of the shot. The standard deviation of the latter is estimated by the method of
moments, from the mean errors of the evidence of all clips of a person.
"""

import numpy as np

from utils.labelling.calibration.calibration import AxisCalibration, Calibration
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import DatasetClip
from utils.labelling.posterior.process import SourceParameters

FEWEST_PEOPLE = 3  # With fewer people who have several clips, `process.SHOT_OFFSET` is used.
SMALLEST_STD = 0.02


def fit_shot_offsets(encoder: ClipEncoder, calibration: Calibration, clips: list[DatasetClip]) -> Calibration:
    """The calibration with `shot_offset` fitted for all sources of evidence.

    Args:
        encoder: computes the evidence of clips relative to their person.
        calibration: fitted on the clips.
        clips: clips of people that no source was trained on. With fewer than FEWEST_PEOPLE people who have several
            labelled clips, the calibration is returned unchanged.
    """
    by_person: dict[str, list[DatasetClip]] = {}
    for clip in clips:
        if len(clip.labelled):
            by_person.setdefault(clip.person, []).append(clip)
    people = [person for person in by_person.values() if len(person) > 1]
    if len(people) < FEWEST_PEOPLE:
        return calibration
    evidence = [encoder.relative_to_person([clip.encoded for clip in person]) for person in people]
    axes = []
    for column, axis in enumerate(calibration.axes):
        errors = [
            np.stack(
                [_mean_errors(axis, clip.labels, track.evidence, column) for clip, track in zip(*pair, strict=True)]
            )
            for pair in zip(people, evidence, strict=True)
        ]
        sources = axis.with_evidence.sources
        axes.append(
            axis.replace_sources(
                _fitted(source, [error[:, index] for error in errors], clips) for index, source in enumerate(sources)
            )
        )
    return calibration.replace_axes(axes)


def _mean_errors(axis: AxisCalibration, labels: np.ndarray, evidence: np.ndarray, column: int) -> np.ndarray:
    """(E,) mean error of each source in the labelled frames of a clip; NaN = the source has no value there."""
    means = []
    for index, source in enumerate(axis.with_evidence.sources):
        errors = evidence[:, index, column] - source.bias - source.gain * labels[:, column]
        means.append(errors[np.isfinite(errors)].mean() if np.isfinite(errors).any() else np.nan)
    return np.array(means)


def _fitted(source: SourceParameters, errors: list[np.ndarray], clips: list[DatasetClip]) -> SourceParameters:
    """The parameters of a source with a fitted shot offset.

    Args:
        source: the parameters so far.
        errors: for each person, (C,) mean errors of the clips.
        clips: of which the mean duration is taken.
    """
    known = [values[np.isfinite(values)] for values in errors]
    known = [values for values in known if len(values) > 1]
    if len(known) < FEWEST_PEOPLE:
        return source
    freedom = sum(len(values) - 1 for values in known)
    variance = sum(((values - values.mean()) ** 2).sum() for values in known) / freedom
    # The mean over T seconds of the slowly varying error, an Ornstein-Uhlenbeck process, has a variance of its own.
    seconds = np.mean([clip.encoded.times[-1] - clip.encoded.times[0] for clip in clips])
    variance -= source.ou**2 * min(1.0, 2 * source.ou_seconds / seconds)
    return source._replace(shot_offset=max(float(np.sqrt(max(variance, 0.0))), SMALLEST_STD))
