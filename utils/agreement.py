"""How far several annotators agree on the frames that they all labelled."""

from itertools import combinations

import numpy as np
import pandas as pd

from datasets.annotations import AXES
from utils.metrics import ccc

FEWEST = 3  # shared frames from which agreement says anything


def annotator_agreement(labels: pd.DataFrame) -> pd.DataFrame:
    """A row an axis: annotators, frames that all of them labelled, the mean CCC of two of them, ICC(A,1), ICC(A,k).

    labels: a row a label, with track, frame, annotator, valence, arousal. Empty where fewer than two annotators share
    fewer than three frames; an ICC that is not defined (no variance) is NaN.
    """
    rows = []
    for axis in AXES:
        wide = labels.pivot_table(index=["track", "frame"], columns="annotator", values=axis, dropna=False).dropna()
        if wide.shape[1] < 2 or len(wide) < FEWEST:
            continue
        pairs = [ccc(wide[one].to_numpy(), wide[other].to_numpy()) for one, other in combinations(wide, 2)]
        row = {"axis": axis, "annotators": wide.shape[1], "frames": len(wide), "CCC": np.mean(pairs)}
        rows.append(row | _intraclass(wide))
    return pd.DataFrame(rows)


def label_error(labels: pd.DataFrame) -> np.ndarray:
    """(2,) standard deviation of one annotator's label of a frame about the frame's mean; 0 where none has two."""
    errors = []
    for axis in AXES:
        groups = labels.groupby(["track", "frame"])[axis]
        freedom = (groups.count() - 1).sum()
        squares = (labels[axis] - groups.transform("mean")).pow(2).sum()
        errors.append(np.sqrt(squares / freedom) if freedom else 0.0)
    return np.array(errors)


def _intraclass(wide: pd.DataFrame) -> dict[str, float]:
    """ICC(A,1) and ICC(A,k): absolute agreement of one annotator, and of the mean of them all."""
    from pingouin import intraclass_corr  # seconds to import, and seldom needed

    long = wide.reset_index(drop=True).rename_axis("target").reset_index().melt("target", value_name="score")
    if long["score"].nunique() == 1:
        return {"ICC(A,1)": np.nan, "ICC(A,k)": np.nan}
    found = intraclass_corr(long, "target", "annotator", "score").set_index("Type")["ICC"]
    return {name: float(found[name]) for name in ("ICC(A,1)", "ICC(A,k)")}
