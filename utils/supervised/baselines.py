"""Baselines for the supervised head: a constant prediction, and a linear model on the same features (scikit-learn).

The linear models are fitted on the training rows with standardised features. Of several strengths of regularisation,
the one with the best score on the validation rows is used.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from datasets.columns import EXPRESSIONS
from utils.supervised.features import Features
from utils.supervised.tasks import TASKS, Task, balanced_accuracy

RIDGE_ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
LOGISTIC_CS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
CONSTANT_NAME = {"valence_arousal": "mean", "expression": "most frequent"}
"""Name of the task → name of the constant baseline in the report."""
LINEAR_NAME = {"valence_arousal": "ridge", "expression": "logistic"}
"""Name of the task → name of the linear model in the report."""


def baseline_predictions(
    task: Task, train: Features, validation: Features, test: Features, balanced: bool
) -> dict[str, np.ndarray]:
    """Return the predictions (N, columns) of both baselines for the N test rows, by name.

    Args:
        task: what is predicted.
        train: features to fit on.
        validation: features that select the regularisation.
        test: features to predict.
        balanced: whether all expression classes have equal weight.
    """
    if task.name == "expression":
        linear = logistic_predictions(train, validation, test, balanced)
    else:
        linear = ridge_predictions(train, validation, test)
    return {CONSTANT_NAME[task.name]: constant_predictions(task, train, test), LINEAR_NAME[task.name]: linear}


def constant_predictions(task: Task, train: Features, test: Features) -> np.ndarray:
    """Predict the mean label, or the most frequent class, of the training rows for each test row."""
    labels = task.labels(train.frames)
    if task.name == "expression":
        return _probabilities(DummyClassifier(strategy="most_frequent").fit(_array(train), labels), test)
    return DummyRegressor(strategy="mean").fit(_array(train), labels).predict(_array(test))


def ridge_predictions(train: Features, validation: Features, test: Features) -> np.ndarray:
    """Predict valence and arousal (N, 2) by ridge regression."""
    model = make_pipeline(StandardScaler(), Ridge())
    _fit_best(
        model, {"ridge__alpha": RIDGE_ALPHAS}, "neg_mean_squared_error", TASKS["valence_arousal"], train, validation
    )
    return model.predict(_array(test)).clip(-1, 1)


def logistic_predictions(train: Features, validation: Features, test: Features, balanced: bool) -> np.ndarray:
    """Predict probabilities (N, classes) of expressions by logistic regression.

    Args:
        train: features to fit on.
        validation: features that select the regularisation.
        test: features to predict.
        balanced: whether all classes have equal weight, in fitting and in the score that selects.
    """
    regression = LogisticRegression(class_weight="balanced" if balanced else None, max_iter=1000)
    model = make_pipeline(StandardScaler(), regression)
    scoring = make_scorer(balanced_accuracy) if balanced else "accuracy"
    _fit_best(model, {"logisticregression__C": LOGISTIC_CS}, scoring, TASKS["expression"], train, validation)
    return _probabilities(model, test)


def _fit_best(
    model: Pipeline,
    grid: dict[str, Any],
    scoring: str | Callable[..., float],
    task: Task,
    train: Features,
    validation: Features,
) -> None:
    """Fit a pipeline on the training rows, with the parameters of the grid that score best on the validation rows."""
    x, labels = _array(train), task.labels(train.frames)
    # PredefinedSplit's codes: -1 for rows that are in no test fold, 0 for rows of the only test fold.
    test_fold = np.repeat([-1, 0], [len(train.frames), len(validation.frames)])
    # Without refit: GridSearchCV would fit on the training and the validation rows together.
    search = GridSearchCV(model, grid, scoring=scoring, cv=PredefinedSplit(test_fold), refit=False, error_score="raise")
    search.fit(
        np.concatenate((x, _array(validation))),
        np.concatenate((labels, task.labels(validation.frames))),
    )
    model.set_params(**search.best_params_).fit(x, labels)


def _probabilities(model: ClassifierMixin | Pipeline, features: Features) -> np.ndarray:
    """Return (N, classes) probabilities for all EXPRESSIONS; 0 for those that the model was not fitted on."""
    probabilities = np.zeros((len(features.frames), len(EXPRESSIONS)))
    probabilities[:, model.classes_] = model.predict_proba(_array(features))
    return probabilities


def _array(features: Features) -> np.ndarray:
    """Return the embeddings as a float64 array (N, 256)."""
    return features.embeddings.cpu().double().numpy()
