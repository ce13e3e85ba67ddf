"""What a supervised head says of a face: valence and arousal, or an expression. A new target is one class here.

An *answer* is (N, outputs) float: valence and arousal in [-1, 1], or a probability for each of EXPRESSIONS.
"""

import logging
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.metrics import f1_score, recall_score
from torch import Tensor
from torch.nn import functional as F

from datasets.annotations import AXES
from datasets.frames import EXPRESSIONS, DataError, Splits
from utils.losses import dynamic_loss
from utils.metrics import SCORES, accuracy, regression_scores
from utils.plots import affect_figure, confusion_figure

log = logging.getLogger(__name__)

UNSEEN = ": the head will never say so, and test images of it count as wrong"


class Target(Protocol):
    outputs: tuple[str, ...]
    """Columns of an answer."""
    scores: tuple[str, ...]
    """Names of what `score` gives."""
    labels: str
    """What frames need, in words, and where it comes from."""

    def labelled(self, frames: pd.DataFrame) -> np.ndarray:
        """(N,) bool: the frames that have the labels."""

    def check(self, splits: Splits) -> None:
        """Raises DataError where the labels of the splits cannot teach anything."""

    def values(self, frames: pd.DataFrame) -> np.ndarray:
        """The labels of labelled frames: (N, 2) float32, or (N,) int64 codes."""

    def loss(self, out: Tensor, values: Tensor, error_share: float, class_weights: Tensor | None) -> dict[str, Tensor]:
        """The named terms of the loss of the head's outputs (N, outputs), and their mean as `loss`."""

    def answer(self, out: Tensor) -> np.ndarray:
        """The head's outputs (N, outputs) → answer."""

    def table(self, frames: pd.DataFrame, answer: np.ndarray) -> pd.DataFrame:
        """clip and frame, the truth, and the answer."""

    def score(self, table: pd.DataFrame) -> dict[str, float]:
        """Scores of such a table."""

    def figure(self, table: pd.DataFrame) -> Figure:
        """Truth against answer."""


class ValenceArousal:
    outputs = AXES
    scores = tuple(f"{axis}_{name}" for axis in AXES for name in SCORES)
    labels = "valence and arousal"

    def labelled(self, frames: pd.DataFrame) -> np.ndarray:
        return frames[list(AXES)].notna().all(axis=1).to_numpy()

    def check(self, splits: Splits) -> None:
        pass  # any two images will do

    def values(self, frames: pd.DataFrame) -> np.ndarray:
        return frames[list(AXES)].to_numpy(np.float32)

    def loss(self, out: Tensor, values: Tensor, error_share: float, class_weights: Tensor | None) -> dict[str, Tensor]:
        terms = {axis: dynamic_loss(out[:, place], values[:, place], error_share) for place, axis in enumerate(AXES)}
        return terms | {"loss": sum(terms.values()) / len(terms)}

    def answer(self, out: Tensor) -> np.ndarray:
        return out.clamp(-1, 1).double().cpu().numpy()

    def table(self, frames: pd.DataFrame, answer: np.ndarray) -> pd.DataFrame:
        table = frames[["clip", "frame"]].reset_index(drop=True)
        for place, axis in enumerate(AXES):
            table[f"{axis}_true"], table[axis] = frames[axis].to_numpy(), answer[:, place]
        return table

    def score(self, table: pd.DataFrame) -> dict[str, float]:
        found = {axis: regression_scores(table[axis], table[f"{axis}_true"]) for axis in AXES}
        return {f"{axis}_{name}": value for axis, scores in found.items() for name, value in scores.items()}

    def figure(self, table: pd.DataFrame) -> Figure:
        return affect_figure(table)


class Expression:
    outputs = tuple(f"p_{name}" for name in EXPRESSIONS)
    scores = ("accuracy", "balanced_accuracy", "macro_F1")
    labels = "expression classes (afewva: a CSV named by data.expressions)"

    def labelled(self, frames: pd.DataFrame) -> np.ndarray:
        return frames["expression"].to_numpy() >= 0

    def check(self, splits: Splits) -> None:
        """Warns of classes that occur in some splits only; there must be two to learn."""
        present = {name: set(frames["expression"]) for name, frames in zip(splits._fields, splits, strict=True)}
        if len(present["train"]) < 2:
            only = EXPRESSIONS[present["train"].pop()]
            raise DataError(f"all training images show one expression class, {only}; add images of another")
        for name, codes in present.items():
            missing = set.union(*present.values()) - codes
            if missing:
                names = ", ".join(EXPRESSIONS[code] for code in sorted(missing))
                log.warning("%s: no image of %s%s", name, names, UNSEEN if name == "train" else "")

    def values(self, frames: pd.DataFrame) -> np.ndarray:
        return frames["expression"].to_numpy(np.int64)

    def loss(self, out: Tensor, values: Tensor, error_share: float, class_weights: Tensor | None) -> dict[str, Tensor]:
        return {"loss": F.cross_entropy(out, values, class_weights)}

    def answer(self, out: Tensor) -> np.ndarray:
        return out.double().softmax(1).cpu().numpy()

    def table(self, frames: pd.DataFrame, answer: np.ndarray) -> pd.DataFrame:
        names = np.array(EXPRESSIONS)
        table = frames[["clip", "frame"]].reset_index(drop=True)
        table["expression_true"] = names[frames["expression"].to_numpy()]
        table["expression"] = names[answer.argmax(1)]
        return table.join(pd.DataFrame(answer, columns=list(self.outputs)))

    def score(self, table: pd.DataFrame) -> dict[str, float]:
        """Averages over classes are over those that occur in truth."""
        true, predicted = table["expression_true"].to_numpy(str), table["expression"].to_numpy(str)
        average = {"labels": np.unique(true), "average": "macro", "zero_division": 0}
        return {
            "accuracy": accuracy(predicted, true),
            "balanced_accuracy": float(recall_score(true, predicted, **average)),
            "macro_F1": float(f1_score(true, predicted, **average)),
        }

    def figure(self, table: pd.DataFrame) -> Figure:
        codes = {name: code for code, name in enumerate(EXPRESSIONS)}
        return confusion_figure(table["expression"].map(codes), table["expression_true"].map(codes), EXPRESSIONS)


TARGETS: dict[str, Target] = {"valence_arousal": ValenceArousal(), "expression": Expression()}


def class_weights(codes: np.ndarray) -> Tensor:
    """(classes,) weights under which each class that occurs in codes (N,) counts alike; 0 for the others."""
    counts = np.bincount(codes, minlength=len(EXPRESSIONS))
    return torch.from_numpy(np.where(counts, 1 / np.maximum(counts, 1), 0).astype(np.float32))
