"""The two tasks of a supervised head: valence and arousal, or an expression class.

*Predictions* are an array (N, columns) of floats: valence and arousal in [-1, 1], or a probability for each class of
EXPRESSIONS. To add a task, add its class and an instance of it to TASKS here, its name to the setting `task` in
`utils.config.supervised`, its number of outputs to `models.supervised.OUTPUTS`, and the names of its baselines to
`utils.supervised.baselines`. Then adapt the code that branches on the name of a task:
`grep -rnE '"(expression|valence_arousal)"' utils models`.
"""

import logging
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch import Tensor
from torch.nn import functional as F

from datasets.columns import AXES, EXPRESSIONS
from datasets.frames import is_labelled
from datasets.splits import Splits
from utils.base.errors import DataError
from utils.metrics import SCORES, regression_scores
from utils.plots import affect_figure, confusion_figure
from utils.training.losses import mse_ccc_loss

log = logging.getLogger(__name__)


class Task(Protocol):
    """What a supervised head learns to predict.

    Attributes:
        name: value of the setting `task`.
        columns: names of the columns of predictions.
        score_names: names of the scores that `score` returns.
        description: name of the labels in messages, in the plural.
        hint: how to add such labels, appended to an error message; empty: no hint.
    """

    name: str
    columns: tuple[str, ...]
    score_names: tuple[str, ...]
    description: str
    hint: str

    def is_labelled(self, frames: pd.DataFrame) -> np.ndarray:
        """Return (N,) bool: which frames of a frame table have labels for this task."""
        ...

    def check(self, splits: Splits) -> None:
        """Raise DataError if a head cannot learn from the training labels, and warn of missing classes."""
        ...

    def labels(self, frames: pd.DataFrame) -> np.ndarray:
        """Return the labels of labelled frames: (N, 2) float32 in [-1, 1], or (N,) int64 class codes."""
        ...

    def loss(
        self, outputs: Tensor, labels: Tensor, mse_weight: float, class_weights: Tensor | None
    ) -> dict[str, Tensor]:
        """Return a dict of scalar tensors: the terms of the loss by name, and the total under the key "loss".

        Args:
            outputs: (B, columns) outputs of the head.
            labels: labels of the B frames, as `labels` returns them.
            mse_weight: weight of the MSE in [0, 1]. Only `ValenceArousal` uses it.
            class_weights: (classes,) weights; None: equal weights. Only `Expression` uses them.
        """
        ...

    def predictions(self, outputs: Tensor) -> np.ndarray:
        """Convert outputs of the head (N, columns) to predictions (N, columns)."""
        ...

    def table(self, frames: pd.DataFrame, predictions: np.ndarray) -> pd.DataFrame:
        """Return a table with a row per frame: clip, frame, true labels and predictions.

        Args:
            frames: N labelled rows of a frame table.
            predictions: (N, columns), as `predictions` returns them.
        """
        ...

    def score(self, table: pd.DataFrame) -> dict[str, float]:
        """Return by name the scores of the predictions in a table that `table` has returned."""
        ...

    def figure(self, table: pd.DataFrame) -> Figure:
        """Plot predictions against true labels, from a table that `table` has returned."""
        ...


class ValenceArousal:
    """Valence and arousal, by regression."""

    name = "valence_arousal"
    columns: tuple[str, ...] = AXES
    score_names = tuple(f"{axis}_{name}" for axis in AXES for name in SCORES)
    description = "valence and arousal"
    hint = ""

    def is_labelled(self, frames: pd.DataFrame) -> np.ndarray:
        return is_labelled(frames)

    def check(self, splits: Splits) -> None:
        """Accept all splits: valence and arousal have no classes that could be missing."""

    def labels(self, frames: pd.DataFrame) -> np.ndarray:
        return frames[list(AXES)].to_numpy(np.float32)

    def loss(
        self, outputs: Tensor, labels: Tensor, mse_weight: float, class_weights: Tensor | None
    ) -> dict[str, Tensor]:
        terms = {axis: mse_ccc_loss(outputs[:, i], labels[:, i], mse_weight) for i, axis in enumerate(AXES)}
        return terms | {"loss": (terms["valence"] + terms["arousal"]) / 2}

    def predictions(self, outputs: Tensor) -> np.ndarray:
        return outputs.clamp(-1, 1).cpu().double().numpy()  # Apple GPUs have no float64

    def table(self, frames: pd.DataFrame, predictions: np.ndarray) -> pd.DataFrame:
        table = frames[["clip", "frame"]].reset_index(drop=True)
        for i, axis in enumerate(AXES):
            table[f"{axis}_true"], table[axis] = frames[axis].to_numpy(), predictions[:, i]
        return table

    def score(self, table: pd.DataFrame) -> dict[str, float]:
        scores = {axis: regression_scores(table[axis], table[f"{axis}_true"]) for axis in AXES}
        return {f"{axis}_{name}": value for axis in AXES for name, value in scores[axis].items()}

    def figure(self, table: pd.DataFrame) -> Figure:
        return affect_figure(table)


class Expression:
    """One of the classes EXPRESSIONS, by classification."""

    name = "expression"
    columns = tuple(f"p_{name}" for name in EXPRESSIONS)
    score_names: tuple[str, ...] = ("accuracy", "balanced_accuracy", "macro_F1")
    description = "expression classes"
    hint = " (afewva: in a CSV named by data.expressions)"

    def is_labelled(self, frames: pd.DataFrame) -> np.ndarray:
        return frames["expression"].to_numpy() >= 0

    def check(self, splits: Splits) -> None:
        present = {name: set(frames["expression"]) for name, frames in zip(splits._fields, splits, strict=True)}
        if len(present["train"]) < 2:
            only = EXPRESSIONS[present["train"].pop()]
            raise DataError(f"all training images have the same expression class, {only}; add images of another class")
        for name, codes in present.items():
            missing = set.union(*present.values()) - codes
            if missing:
                names = ", ".join(EXPRESSIONS[code] for code in sorted(missing))
                effect = ": the head will never predict it, and test images of it count as errors"
                log.warning("%s: no image of %s%s", name, names, effect if name == "train" else "")

    def labels(self, frames: pd.DataFrame) -> np.ndarray:
        return frames["expression"].to_numpy(np.int64)

    def loss(
        self, outputs: Tensor, labels: Tensor, mse_weight: float, class_weights: Tensor | None
    ) -> dict[str, Tensor]:
        return {"loss": F.cross_entropy(outputs, labels, class_weights)}

    def predictions(self, outputs: Tensor) -> np.ndarray:
        return outputs.cpu().double().softmax(1).numpy()

    def table(self, frames: pd.DataFrame, predictions: np.ndarray) -> pd.DataFrame:
        names = np.array(EXPRESSIONS)
        table = frames[["clip", "frame"]].reset_index(drop=True)
        table["expression_true"] = names[frames["expression"].to_numpy()]
        table["expression"] = names[predictions.argmax(1)]
        return table.join(pd.DataFrame(predictions, columns=list(self.columns)))

    def score(self, table: pd.DataFrame) -> dict[str, float]:
        true, predicted = table["expression_true"].to_numpy(str), table["expression"].to_numpy(str)
        macro_f1 = f1_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)
        return {
            "accuracy": float(accuracy_score(true, predicted)),
            "balanced_accuracy": balanced_accuracy(true, predicted),
            "macro_F1": float(macro_f1),
        }

    def figure(self, table: pd.DataFrame) -> Figure:
        codes = {name: code for code, name in enumerate(EXPRESSIONS)}
        return confusion_figure(table["expression"].map(codes), table["expression_true"].map(codes), EXPRESSIONS)


_TASKS: tuple[Task, ...] = (ValenceArousal(), Expression())
TASKS = {task.name: task for task in _TASKS}
"""The tasks by name."""


def balanced_accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean recall of the classes that occur in the true labels (N,).

    The value equals that of scikit-learn's `balanced_accuracy_score`, which also warns if classes are predicted that
    do not occur in the true labels.
    """
    return float(recall_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0))


def class_weights(codes: np.ndarray) -> Tensor:
    """Return (classes,) weights that give equal total weight to each class in `codes` (N,), and 0 to other classes."""
    counts = np.bincount(codes, minlength=len(EXPRESSIONS))
    return torch.from_numpy(np.where(counts, 1 / np.maximum(counts, 1), 0).astype(np.float32))
