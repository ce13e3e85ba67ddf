"""How far several annotators agree on the frames that they all labelled."""

from itertools import combinations

import numpy as np
import pandas as pd

from datasets.annotations import AXES
from utils.metrics import ccc

FEWEST = 3  # shared frames from which agreement says anything


def annotator_agreement(labels: pd.DataFrame) -> pd.DataFrame:
    """A row an axis: annotators, frames that several labelled, mean CCC of two annotators, ICC(A,1), ICC(A,k).

    labels: a row a label, with track, frame, annotator, valence, arousal. Empty where no two annotators share three
    frames. The ICCs are of the frames that all annotators labelled; NaN where those are too few or all alike.
    """
    rows = []
    for axis in AXES:
        wide = labels.pivot_table(index=["track", "frame"], columns="annotator", values=axis)
        shared = [wide[list(pair)].dropna() for pair in combinations(wide, 2)]
        pairs = [ccc(*both.to_numpy().T) for both in shared if len(both) >= FEWEST]
        if pairs:
            several = int((wide.notna().sum(axis=1) > 1).sum())
            row = {"axis": axis, "annotators": wide.shape[1], "frames": several, "CCC": np.mean(pairs)}
            rows.append(row | _intraclass(wide.dropna()))
    return pd.DataFrame(rows)


def label_error(labels: pd.DataFrame) -> np.ndarray:
    """(2,) standard deviation of one annotator's label of a frame; 0 where fewer than three labels tell."""
    errors = []
    for axis in AXES:
        groups = labels.groupby(["track", "frame"])[axis]
        freedom = (groups.count() - 1).sum()
        squares = (labels[axis] - groups.transform("mean")).pow(2).sum()
        errors.append(np.sqrt(squares / freedom) if freedom >= FEWEST else 0.0)
    return np.array(errors)


def _intraclass(wide: pd.DataFrame) -> dict[str, float]:
    """ICC(A,1) and ICC(A,k): absolute agreement of one annotator, and of the mean of them all."""
    from pingouin import intraclass_corr  # seconds to import, and seldom needed

    long = wide.reset_index(drop=True).rename_axis("target").reset_index().melt("target", value_name="score")
    if len(wide) < FEWEST or long["score"].nunique() == 1:
        return {"ICC(A,1)": np.nan, "ICC(A,k)": np.nan}
    found = intraclass_corr(long, "target", "annotator", "score").set_index("Type")["ICC"]
    return {name: float(found[name]) for name in ("ICC(A,1)", "ICC(A,k)")}
