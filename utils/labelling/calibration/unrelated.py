"""The probability that an uncalibrated source has nothing to do with the labels, like estimates of another clip.

Two hypotheses are compared by the probability of all evidence of the source in a clip, not at labelled frames alone:

    related      the evidence follows the latent label f, whose mean and covariance come from the given labels and, in
                 clips with enough labels to notice that they misread the face, from the other sources
    unrelated    the evidence follows an unknown trace that changes over time as labels usually do

Gain, bias, offset and error are integrated out on a grid with the same prior under both hypotheses (`source_grid`).
"""

from collections.abc import Sequence

import numpy as np

from datasets.columns import AXES
from utils.labelling.calibration.calibration import Calibration
from utils.labelling.calibration.source_grid import COARSE_GRID, error_correlation, likelihood, whiten
from utils.labelling.posterior.mixture import LABELS_TO_WEIGH_EXPLANATIONS
from utils.labelling.support import evenly_spaced
from utils.labelling.types import NO_LABELS, Anchors, EncodedClip, LabelObservations, observations_of

PRIOR = 0.2  # prior probability that a source is unrelated to the labels
LARGEST = 0.9999  # largest probability, so that the error of an unrelated source stays finite
POINT_SECONDS = 0.1  # shortest distance between points at which a source is compared with f
MOST_POINTS = 100  # evenly spaced points of a clip, besides as many labelled frames
MOST_CLIPS = 24  # More clips would take long and add little.
MISREAD = 0.02  # share of the clips that a related source misreads, so that it does not follow their labels


def unrelated_probability(
    calibration: Calibration,
    index: int,
    others: list[int],
    clips: Sequence[tuple[EncodedClip, Anchors | None]],
) -> float:
    """Probability that a source has nothing to do with the labels of the clips, on both axes; 0 without labels.

    Args:
        calibration: parameters of all sources.
        index: index of the source, whose parameters are not used.
        others: indices of the sources that are not adapted.
        clips: encoded clips with their anchors; None: without labels. Anchors of other clips are not used.
    """
    observed = [(clip, observations_of(anchors and anchors.in_clip)) for clip, anchors in clips]
    labelled = [pair for pair in observed if len(pair[1][0].indices)]
    if not labelled:
        return 0.0
    related, unrelated = COARSE_GRID.log_prior.copy(), COARSE_GRID.log_prior.copy()
    for row in evenly_spaced(np.arange(len(labelled)), MOST_CLIPS):
        follows_labels, follows_trace = _log_likelihoods(calibration, index, others, *labelled[row])
        related += np.logaddexp(np.log(1 - MISREAD) + follows_labels, np.log(MISREAD) + follows_trace)
        unrelated += follows_trace
    log_odds = np.log(PRIOR / (1 - PRIOR)) + np.logaddexp.reduce(unrelated) - np.logaddexp.reduce(related)
    return float(min(1 / (1 + np.exp(-np.clip(log_odds, -50, 50))), LARGEST))


def _log_likelihoods(
    calibration: Calibration,
    index: int,
    others: list[int],
    clip: EncodedClip,
    observations: list[LabelObservations],
) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of the evidence of a clip at each grid point, both (G,), if it follows f, and if it does not."""
    rows, at_rows = _points(clip.times, observations)
    times, evidence = clip.times[rows], clip.evidence[rows]
    followed = others if len(observations[0].indices) >= LABELS_TO_WEIGH_EXPLANATIONS else []
    with_others, without_sources = (
        calibration.replace_axes(
            axis.replace_sources(axis.with_evidence.sources[source] for source in sources) for axis in calibration.axes
        )
        for sources in (followed, [])
    )
    posteriors = with_others.posteriors(times, evidence[:, followed], at_rows)
    priors = without_sources.posteriors(times, evidence[:, []], [NO_LABELS] * len(AXES))
    follows_labels, follows_trace = np.zeros((2, len(COARSE_GRID.gain)))
    for axis, (posterior, prior) in enumerate(zip(posteriors, priors, strict=True)):
        known = np.flatnonzero(np.isfinite(evidence[:, index, axis]))
        if len(known):
            values, correlation = evidence[known, index, axis], error_correlation(times[known])
            for of_f, total in ((posterior, follows_labels), (prior, follows_trace)):
                covariance = of_f.covariance(known, known)
                whitened = whiten(values, of_f.mean[known], covariance, correlation)
                total += likelihood([whitened], COARSE_GRID).log_likelihood
    return follows_labels, follows_trace


def _points(times: np.ndarray, observations: list[LabelObservations]) -> tuple[np.ndarray, list[LabelObservations]]:
    """Frames at which a source is compared with f: evenly spaced ones, and labelled ones.

    Returns:
        Indices of the frames, ascending; and the observations at these frames, with indices among them.
    """
    spaced = np.arange(times[0], times[-1], max(POINT_SECONDS, (times[-1] - times[0]) / MOST_POINTS))
    labelled = observations[0].indices
    kept = evenly_spaced(np.arange(len(labelled)), MOST_POINTS)
    rows = np.union1d(np.searchsorted(times, spaced), labelled[kept])
    at_rows = [
        LabelObservations(np.searchsorted(rows, labelled[kept]), observed.labels[kept], observed.errors[kept])
        for observed in observations
    ]
    return rows, at_rows
