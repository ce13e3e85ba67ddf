"""Outlier rejection among given labels, shared by the mixture weights and by the audit."""

import numpy as np

OUTLIER_DEVIATIONS = 3.5  # standard deviations from the leave-one-out prediction
IGNORED_ERROR = 1e3  # A rejected label gets this practically infinite error, so that it has no influence.


def find_outliers(deviations: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Find the labels to reject next.

    A wrong label makes its neighbours look wrong, too. So only local maxima are rejected in each round: labels that
    deviate at least as much as the labels before and after them. The caller then compares the other labels again.

    Args:
        deviations: (A,) or (A, 2) distance of each label from its leave-one-out prediction, in standard deviations.
        errors: of the same shape; IGNORED_ERROR for labels that are already rejected.

    Returns:
        Boolean mask of the same shape.
    """
    active_deviations = np.where(errors < IGNORED_ERROR, deviations, 0)
    padded = np.pad(active_deviations, [(1, 1)] + [(0, 0)] * (active_deviations.ndim - 1))
    is_maximum = (active_deviations >= padded[:-2]) & (active_deviations >= padded[2:])
    return is_maximum & (active_deviations > OUTLIER_DEVIATIONS)
