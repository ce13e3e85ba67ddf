"""What a head must beat: always the same answer, and a linear regression on the same features, by scikit-learn.

The regressions are fitted on the training rows, on standardised features; the validation rows choose how strongly
they are regularised. Each gives an answer (see `utils.supervised.targets`) for the test rows.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from utils.supervised.features import Features
from utils.supervised.targets import TARGETS

ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
CS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
CONSTANT = {"valence_arousal": "mean", "expression": "most frequent"}
REGRESSION = {"valence_arousal": "ridge", "expression": "logistic"}


def baseline_answers(
    task: str, train: Features, validation: Features, test: Features, balanced: bool
) -> dict[str, np.ndarray]:
    """name → answer. balanced: let the classes count alike."""
    if task == "expression":
        regression = logistic_answer(train, validation, test, balanced)
    else:
        regression = ridge_answer(train, validation, test)
    return {CONSTANT[task]: constant_answer(task, train, test), REGRESSION[task]: regression}


def constant_answer(task: str, train: Features, test: Features) -> np.ndarray:
    """The mean label, or the most frequent class, of the training rows."""
    target = TARGETS[task]
    values = target.values(train.frames)
    answer = np.eye(len(target.outputs))[np.bincount(values).argmax()] if task == "expression" else values.mean(0)
    return np.tile(answer, (len(test.frames), 1))


def ridge_answer(train: Features, validation: Features, test: Features) -> np.ndarray:
    target = TARGETS["valence_arousal"]
    x, labels = _array(train), target.values(train.frames)
    wanted, seen = target.values(validation.frames), _array(validation)
    models = [make_pipeline(StandardScaler(), Ridge(alpha)).fit(x, labels) for alpha in ALPHAS]
    best = min(models, key=lambda model: np.mean((model.predict(seen) - wanted) ** 2))
    return best.predict(_array(test)).clip(-1, 1)


def logistic_answer(train: Features, validation: Features, test: Features, balanced: bool) -> np.ndarray:
    target, criterion = TARGETS["expression"], "balanced_accuracy" if balanced else "accuracy"
    x, codes = _array(train), target.values(train.frames)

    def fit(strength: float) -> Pipeline:
        weights = "balanced" if balanced else None
        regression = LogisticRegression(C=strength, class_weight=weights, max_iter=1000)
        return make_pipeline(StandardScaler(), regression).fit(x, codes)

    def answer(model: Pipeline, features: Features) -> np.ndarray:
        probabilities = np.zeros((len(features.frames), len(target.outputs)))
        probabilities[:, model.classes_] = model.predict_proba(_array(features))
        return probabilities

    def quality(model: Pipeline) -> float:
        return target.score(target.table(validation.frames, answer(model, validation)))[criterion]

    return answer(max(map(fit, CS), key=quality), test)


def _array(features: Features) -> np.ndarray:
    return features.embeddings.double().cpu().numpy()
