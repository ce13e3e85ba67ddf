"""Estimates the standard deviation of a person's labels from these labels and the evidence.

The labels of one annotator share one standard deviation σ over all clips and both axes. For each σ on a grid, the
likelihood of every given label is computed from the other given labels of its clip and the evidence. With a single
process, evidence that is worse than on the validation clips would look like noisy labels. The likelihood of each axis
of a clip is therefore that of a mixture of several processes: with evidence errors from half to about three times the
calibrated ones, and by time alone.
"""

import numpy as np

from utils.labelling.calibration.calibration import Calibration
from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.posterior.process import EXACT_ERROR, GPParameters, scale_errors
from utils.labelling.support import evenly_spaced
from utils.labelling.types import NO_LABELS, Anchors, EncodedClip

STANDARD_DEVIATIONS = np.array(
    [EXACT_ERROR, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.115, 0.13, 0.15, 0.17, 0.2, 0.23, 0.27, 0.33]
)
EVIDENCE_SCALES = {0.5: 0.1, 0.7: 0.2, 1.0: 0.35, 1.4: 0.2, 2.0: 0.08, 2.8: 0.04}  # factor → prior weight
TIME_ONLY_WEIGHT = 0.03
EXACT_WEIGHT = 0.5  # prior probability that the labels are exact
ANNOTATOR_OUTLIER_RATE = 0.02  # share of labels that are outliers, uniform on [-1, 1]
LABELS_TO_ESTIMATE_NOISE = 5  # A clip with fewer labels says too little: noisy labels and bad evidence look alike.
MOST_LABELS, MOST_FRAMES = 200, 4096  # of a clip that are used; more would take long and add little


def estimate_label_error(clips: list[tuple[EncodedClip, Anchors]], calibration: Calibration) -> float | None:
    """Estimate the standard deviation of one annotator's labels.

    Args:
        clips: encoded clips with the annotator's labels. Those with fewer than LABELS_TO_ESTIMATE_NOISE are not used.
        calibration: of the network.

    Returns:
        The most probable of STANDARD_DEVIATIONS; 0.0 if the labels are best explained as exact; None if no clip has
        enough labels.
    """
    profiles = [
        _log_likelihoods(clip, anchors, calibration)
        for clip, anchors in clips
        if anchors.all_in_clip and len(anchors.indices) >= LABELS_TO_ESTIMATE_NOISE
    ]
    if not profiles:
        return None
    prior = np.full(len(STANDARD_DEVIATIONS), np.log((1 - EXACT_WEIGHT) / (len(STANDARD_DEVIATIONS) - 1)))
    prior[0] = np.log(EXACT_WEIGHT)
    best = float(STANDARD_DEVIATIONS[int((prior + np.sum(profiles, axis=0)).argmax())])
    return best if best > EXACT_ERROR else 0.0


def _log_likelihoods(clip: EncodedClip, anchors: Anchors, calibration: Calibration) -> np.ndarray:
    """Log-likelihood of a clip's labels on both axes, for each of STANDARD_DEVIATIONS."""
    labelled = anchors.indices[:MOST_LABELS]
    grid = np.arange(labelled[0], labelled[-1] + 1)
    if len(grid) > MOST_FRAMES:
        grid = clip.following_evidence(evenly_spaced(grid, MOST_FRAMES))
    frames = np.union1d(labelled, grid)
    total = np.zeros(len(STANDARD_DEVIATIONS))
    for column, axis in enumerate(calibration.axes):
        times, evidence = clip.times[frames], clip.evidence[frames, :, column]
        indices, labels = np.searchsorted(frames, labelled), anchors.labels[: len(labelled), column]
        explanations = [(_scale(axis.with_evidence, scale), weight) for scale, weight in EVIDENCE_SCALES.items()]
        explanations.append((axis.time_only, TIME_ONLY_WEIGHT))
        total += np.logaddexp.reduce(
            [
                np.log(weight) + _loo_log_likelihoods(parameters, times, evidence, indices, labels)
                for parameters, weight in explanations
            ]
        )
    return total


def _scale(parameters: GPParameters, scale: float) -> GPParameters:
    return parameters._replace(sources=tuple(scale_errors(source, scale) for source in parameters.sources))


def _loo_log_likelihoods(
    parameters: GPParameters, times: np.ndarray, evidence: np.ndarray, indices: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Leave-one-out log-likelihood of the labels for each of STANDARD_DEVIATIONS, by one eigendecomposition.

    Args:
        parameters: of the process; without sources, the evidence is left out.
        times: (N,) seconds.
        evidence: (N, E) evidence of the axis.
        indices: (A,) indices of the labelled frames.
        labels: (A,) given labels.
    """
    posterior = GPPosterior(parameters, times, evidence[:, : len(parameters.sources)], NO_LABELS)
    eigenvalues, vectors = np.linalg.eigh(posterior.covariance(indices, indices))
    rotated = vectors.T @ (labels - posterior.mean[indices])
    inverse = 1 / np.maximum(eigenvalues[:, None] + STANDARD_DEVIATIONS**2, EXACT_ERROR**2)  # (A, grid)
    precision = vectors**2 @ inverse
    residuals = (vectors @ (inverse * rotated[:, None])) / precision
    variance = np.maximum(1 / precision, STANDARD_DEVIATIONS**2) + parameters.process.nugget**2
    density = np.exp(-(residuals**2) / variance / 2) / np.sqrt(2 * np.pi * variance)
    return np.log((1 - ANNOTATOR_OUTLIER_RATE) * density + ANNOTATOR_OUTLIER_RATE / 2).sum(0)
