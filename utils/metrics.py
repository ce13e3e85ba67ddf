"""Scores of predictions, on NumPy arrays. CCC uses population moments."""

import numpy as np
from numpy.typing import ArrayLike

SCORES = ("RMSE", "PCC", "CCC", "SAGR")
"""Names of the regression scores."""
SAGR_NONZERO = "SAGR_nonzero"
"""Name of the sign agreement over the rows whose true value is not exactly 0."""


def regression_scores(predicted: ArrayLike, true: ArrayLike) -> dict[str, float]:
    """Compute RMSE, PCC, CCC, SAGR and SAGR_nonzero over the rows where both arrays are finite.

    Args:
        predicted: (N,) predictions.
        true: (N,) labels; NaN: not labelled.

    Returns:
        Scores by name; empty if no row is finite; without SAGR_nonzero if all labels are 0.
    """
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    finite = np.isfinite(predicted) & np.isfinite(true)
    if not finite.any():
        return {}
    p, t = predicted[finite], true[finite]
    scores = {"RMSE": rmse(p, t), "PCC": pcc(p, t), "CCC": ccc(p, t), "SAGR": sagr(p, t)}
    nonzero = t != 0
    return scores | ({SAGR_NONZERO: sagr(p[nonzero], t[nonzero])} if nonzero.any() else {})


def rmse(predicted: np.ndarray, true: np.ndarray) -> float:
    """Root mean squared error of (N,) arrays."""
    return float(np.sqrt(np.mean((predicted - true) ** 2)))


def pcc(predicted: np.ndarray, true: np.ndarray) -> float:
    """Pearson correlation coefficient of (N,) arrays; 0 if either array is constant."""
    p, t = predicted - predicted.mean(), true - true.mean()
    denominator = np.sqrt(np.mean(p**2) * np.mean(t**2))
    return float(np.mean(p * t) / denominator) if denominator > 1e-12 else 0.0


def ccc(predicted: np.ndarray, true: np.ndarray) -> float:
    """Concordance correlation coefficient, 2·cov / (var_p + var_t + (mean_p - mean_t)²); 0 if both are constant."""
    mean_p, mean_t = predicted.mean(), true.mean()
    covariance = np.mean((predicted - mean_p) * (true - mean_t))
    denominator = predicted.var() + true.var() + (mean_p - mean_t) ** 2
    return float(2 * covariance / denominator) if denominator > 1e-12 else 0.0


def sagr(predicted: np.ndarray, true: np.ndarray) -> float:
    """Sign agreement: share of the (N,) rows whose signs are equal; zero is a sign of its own."""
    return float(np.mean(np.sign(predicted) == np.sign(true)))


def accuracy(predicted: ArrayLike, true: ArrayLike) -> float:
    """Share of the (N,) rows that are equal."""
    return float(np.mean(np.asarray(predicted) == np.asarray(true)))


def confusion_matrix(predicted: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """Count (classes, classes) rows of each true class (row) and predicted class (column), given class codes (N,)."""
    return np.bincount(classes * true + predicted, minlength=classes**2).reshape(classes, classes)
