"""The activity of the evidence of a clip: its local root-mean-square rate of change, as a share of a usual rate.

Where the evidence is at rest, the latent label changes little; where the evidence changes fast, the label does, too.
Example: where the evidence changes by 0.6 per second, the activity is 1. Where it is at rest, the activity is 1/7, so
that with an exponent of 0.5 the amplitude of the Matérn component is √(1/7) = 0.38 of the usual one.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from utils.labelling.posterior.process import GPParameters, time_steps

RATE_SMOOTHING = 0.1  # seconds; standard deviation of the Gaussian filter that is applied before differentiation
RATE_AVERAGING = 0.16  # seconds; standard deviation of the Gaussian filter that averages the squared rate of change
REST_RATE = 0.1  # label units per second; it is added to every rate, so that activity stays above 0
NORMAL_RATE = 0.6  # label units per second; the rate of change at which activity is 1
KNOWN_SECONDS = 0.3  # The activity is measured up to this far from a value of the evidence.


def combined_evidence(parameters: GPParameters, times: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Combine all sources of evidence to one estimate per frame, from which the activity is computed.

    Gain and bias are corrected, frames without a value are interpolated, and the sources are weighted by the inverse of
    their error variance.

    Args:
        parameters: of the process.
        times: (N,) seconds, ascending.
        evidence: (N, E) evidence of E sources; NaN = no value.

    Returns:
        (N,) estimates; all 0 without evidence.
    """
    total, weights = np.zeros(len(times)), 0.0
    for source, values in zip(parameters.sources, evidence.T, strict=True):
        known = np.isfinite(values)
        if known.any():
            weight = source.gain**2 / (source.ou**2 + source.observation_noise**2)
            total += weight * (np.interp(times, times[known], values[known]) - source.bias) / source.gain
            weights += weight
    return total / weights if weights else total


def activity(times: np.ndarray, evidence: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Measure how fast the evidence changes around each frame: its smoothed absolute rate of change.

    Args:
        times: (N,) seconds, ascending.
        evidence: (N,) evidence of one axis, interpolated where it has no value.
        known: (N,) whether there is a value; None: everywhere.

    Returns:
        (N,) activity: 1 at the rate of change NORMAL_RATE, 1/7 at rest. It is 1 further than KNOWN_SECONDS from any
        value: without evidence, a face does not count as at rest.
    """
    if len(times) < 2:
        return np.ones(len(times))
    measured = _measured_activity(times, evidence)
    if known is None or known.all():
        return measured
    return np.where(_seconds_to_nearest(times, times[known]) <= KNOWN_SECONDS, measured, 1.0)


def _seconds_to_nearest(times: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(N,) seconds from each of the times (N,) to the nearest of the given ones, which are ascending."""
    if not len(given):
        return np.full(len(times), np.inf)
    after = np.searchsorted(given, times)
    before, after = given[np.maximum(after - 1, 0)], given[np.minimum(after, len(given) - 1)]
    return np.minimum(np.abs(times - before), np.abs(after - times))


def _measured_activity(times: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(N,) activity where the evidence has values."""
    frame_interval = np.median(time_steps(times))
    squared_rate = smoothed_rate(times, evidence) ** 2
    rate = np.sqrt(gaussian_filter1d(squared_rate, RATE_AVERAGING / frame_interval, mode="nearest"))
    return (rate + REST_RATE) / (NORMAL_RATE + REST_RATE)


def smoothed_rate(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(N,) rate of change per second of two or more values (N,), after Gaussian smoothing."""
    steps = time_steps(times)
    smoothed = gaussian_filter1d(values, RATE_SMOOTHING / np.median(steps), mode="nearest")
    return np.gradient(smoothed, np.concatenate(([0], np.cumsum(steps))))
