"""What `Labeller.adapt` has fitted to the given labels, for the log and for a run folder."""

import logging
from typing import Any

import numpy as np

from datasets.columns import AXES
from utils.labelling.calibration.file import calibration_content
from utils.labelling.labeller import Labeller

log = logging.getLogger(__name__)

UNRELATED_ERROR = 1.0  # Evidence with larger errors, in label units, says nothing about labels in [-1, 1].


def log_adaptation(labeller: Labeller, names: list[str], clips: int) -> None:
    """Log what `Labeller.adapt` has fitted.

    Args:
        labeller: the adapted labeller.
        names: of all sources, in the order of their parameters.
        clips: number of labelled clips.
    """
    for index in labeller.uncalibrated_estimators:
        fitted = [axis.with_evidence.sources[index] for axis in labeller.calibration.axes]
        texts = [
            f"{axis} gain {source.gain:.2f}, bias {source.bias:+.2f}, "
            f"error {np.hypot(source.ou, source.observation_noise):.2f}"
            for axis, source in zip(AXES, fitted, strict=True)
        ]
        counted = f"{clips} clip{'s' * (clips != 1)}"
        log.info("evidence %s: fitted to the labels of %s: %s", names[index], counted, "; ".join(texts))
        if all(np.hypot(source.ou, source.observation_noise) > UNRELATED_ERROR * source.gain for source in fitted):
            log.warning(
                "evidence %s: it seems unrelated to the labels and hardly counts; check that it belongs to these clips",
                names[index],
            )
    for name, rater in zip(names[labeller.source_count - len(labeller.rater_lags) :], labeller.rater_lags, strict=True):
        if rater.clips:
            log.info("rating by %s: %.2f ± %.2f s late, fitted to %d clips", name, *rater)
        else:
            log.warning(
                "rating by %s: there is nothing to compare it with (no labels, no other evidence, or a few seconds "
                "of video), so its lag is assumed to be %.1f ± %.1f s and its scale to be right; label some frames",
                name,
                rater.lag,
                rater.lag_std,
            )


def adapted_content(labeller: Labeller, names: list[str]) -> dict[str, Any]:
    """What `Labeller.adapt` has fitted, as plain values for a JSON file; empty without uncalibrated sources.

    Args:
        names: of all sources, in the order of their parameters.
    """
    if not labeller.uncalibrated:
        return {}
    raters = dict(zip(names[labeller.source_count - len(labeller.rater_lags) :], labeller.rater_lags, strict=True))
    return {
        "sources": names,
        "fitted_to_given_labels": [names[index] for index in labeller.uncalibrated],
        "raters": {name: rater._asdict() for name, rater in raters.items()},
    } | calibration_content(labeller.calibration)
