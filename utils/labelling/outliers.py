"""Outlier rejection among observed labels, shared by the mixture weights and by the audit."""

import numpy as np

OUTLIER_DEVIATIONS = 3.5  # standard deviations from the leave-one-out prediction
IGNORED_ERROR = 1e3  # The error that a rejected label is given, so that it no longer counts.


def find_outliers(deviations: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Finds the labels to reject next.

    A wrong label makes its neighbours look wrong, too. So a label is rejected only if it deviates at least as much as
    the labels before and after it; the remaining labels are then compared again.

    Args:
        deviations: (A,) or (A, 2) distance of each label from its leave-one-out prediction, in standard deviations.
        errors: of the same shape; IGNORED_ERROR for labels that are already rejected.

    Returns:
        Boolean mask of the same shape.
    """
    remaining = np.where(errors < IGNORED_ERROR, deviations, 0)
    padded = np.pad(remaining, [(1, 1)] + [(0, 0)] * (remaining.ndim - 1))
    return (remaining > OUTLIER_DEVIATIONS) & (remaining >= padded[:-2]) & (remaining >= padded[2:])
