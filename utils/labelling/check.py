"""Bounds the error of estimated labels, from frames that are drawn at random and labelled without seeing the estimates.

A frame is drawn more often the larger its expected squared error is, because the few frames with large errors decide
about the mean. Each draw gets the weight 1 / (N · probability), so that the weighted mean over the draws is an unbiased
estimate of the mean over all N frames, whether the expected errors are right or not.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

LEVEL = 0.95
"""Confidence level of the bound."""

# The following constants were chosen by simulation (benchmarks/archive.py).
DRAW_EXPONENT = 0.75  # 1 is best if the expected errors are right, 0 if they say nothing.

# The variance of few heavy-tailed squared errors is usually underestimated, so it is shrunk towards a prior, and the
# chi-square bound is taken at a higher level than LEVEL.
PRIOR_CV2 = 5.0  # squared coefficient of variation of weighted squared errors; 2 if errors were normal
PRIOR_DRAWS = 60  # number of draws that the prior counts for
NOMINAL_LEVEL = 0.975

LARGEST_RMSE = 2.0  # Labels are in [-1, 1].


class FrameDraw(NamedTuple):
    """Frames drawn from the N frames of an archive.

    Attributes:
        indices: (K,) indices of the frames, ascending. A frame may be drawn more than once.
        weights: (K,) weight of each draw; the mean of weight times value estimates the mean over the N frames.
    """

    indices: np.ndarray
    weights: np.ndarray


class ErrorBound(NamedTuple):
    """Error of the estimated labels of one axis over all frames of an archive.

    Attributes:
        rmse: estimate of the RMSE.
        upper: upper confidence bound of the RMSE at LEVEL.
    """

    rmse: float
    upper: float


def draw_frames(variances: np.ndarray, count: int, rng: np.random.Generator) -> FrameDraw:
    """Draw frames for a check, one at random from each of `count` consecutive parts of the archive.

    The parts have equal sums of probabilities, so that the draws spread over all videos and tracks.

    Args:
        variances: (N, 2) predictive variances of valence and arousal, in the order of videos, tracks and time.
        count: number of draws, K.
        rng: draws the frames.
    """
    probabilities = variances.sum(1, dtype=np.float64) ** DRAW_EXPONENT
    ends = np.cumsum(probabilities / probabilities.sum())
    positions = (np.arange(count) + rng.random(count)) / count
    indices = np.minimum(np.searchsorted(ends / ends[-1], positions, side="right"), len(ends) - 1)
    return FrameDraw(indices, probabilities.mean() / probabilities[indices])


def bound_error(squared_errors: np.ndarray, weights: np.ndarray) -> ErrorBound:
    """Estimate the RMSE over all frames, with an upper confidence bound.

    The mean of the weighted squared errors is taken as a scaled chi-square variable, whose degrees of freedom follow
    from the coefficient of variation of the squared errors.

    Args:
        squared_errors: (K,) squared difference of estimated and given label at each draw.
        weights: (K,) weights of the draws, as in `FrameDraw`.
    """
    weighted, count = weights * squared_errors, len(weights)
    mean = float(weighted.mean())
    if mean == 0:
        return ErrorBound(0.0, 0.0)
    cv2 = float(weighted.var(ddof=1)) / mean**2
    cv2 = (count * cv2 + PRIOR_DRAWS * PRIOR_CV2) / (count + PRIOR_DRAWS)
    degrees = 2 * count / cv2
    upper = mean * degrees / float(chi2.ppf(1 - NOMINAL_LEVEL, degrees))
    return ErrorBound(float(np.sqrt(mean)), min(float(np.sqrt(upper)), LARGEST_RMSE))
