"""Scores of predictions, on numpy arrays. CCC and its parts use population moments."""

import numpy as np
from numpy.typing import ArrayLike

SCORES = ("RMSE", "PCC", "CCC", "SAGR")


def regression_scores(predicted: ArrayLike, true: ArrayLike) -> dict[str, float]:
    """RMSE, PCC, CCC and SAGR of two (N,) arrays, over the rows where both are finite; {} where there are none."""
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    known = np.isfinite(predicted) & np.isfinite(true)
    if not known.any():
        return {}
    p, t = predicted[known], true[known]
    return {"RMSE": rmse(p, t), "PCC": pcc(p, t), "CCC": ccc(p, t), "SAGR": sagr(p, t)}


def rmse(predicted: np.ndarray, true: np.ndarray) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((predicted - true) ** 2)))


def pcc(predicted: np.ndarray, true: np.ndarray) -> float:
    """Pearson's correlation; 0 where either is constant."""
    p, t = predicted - predicted.mean(), true - true.mean()
    scale = np.sqrt(np.mean(p**2) * np.mean(t**2))
    return float(np.mean(p * t) / scale) if scale > 1e-12 else 0.0


def ccc(predicted: np.ndarray, true: np.ndarray) -> float:
    """Concordance correlation: 2·cov / (var + var + (mean - mean)²); 0 where both are constant."""
    mean_p, mean_t = predicted.mean(), true.mean()
    covariance = np.mean((predicted - mean_p) * (true - mean_t))
    spread = predicted.var() + true.var() + (mean_p - mean_t) ** 2
    return float(2 * covariance / spread) if spread > 1e-12 else 0.0


def sagr(predicted: np.ndarray, true: np.ndarray) -> float:
    """Share of rows whose signs agree; zero is a sign of its own."""
    return float(np.mean(np.sign(predicted) == np.sign(true)))


def accuracy(predicted: ArrayLike, true: ArrayLike) -> float:
    """Share of equal rows."""
    return float(np.mean(np.asarray(predicted) == np.asarray(true)))


def confusion_matrix(predicted: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) counts: a row a true class, a column a predicted one."""
    return np.bincount(classes * true + predicted, minlength=classes**2).reshape(classes, classes)
