"""Agreement of several annotators on the frames that more than one of them labelled."""

from itertools import combinations

import numpy as np
import pandas as pd

from datasets.columns import AXES
from utils.metrics import ccc

FEWEST_FRAMES = 3  # Agreement on fewer shared frames is not reported.


def annotator_agreement(labels: pd.DataFrame) -> pd.DataFrame:
    """Compute how far annotators agree.

    Args:
        labels: one row per label, with track, frame, annotator, valence, arousal.

    Returns:
        One row per axis: annotators, frames with several labels, mean CCC over pairs of annotators, ICC(A,1) and
        ICC(A,k). Empty if no two annotators share three frames. The CCC of a pair uses the frames that both labelled.
        The ICCs use the frames that all annotators labelled; they are NaN if there are fewer than three, or if all
        labels are equal.
    """
    rows = []
    for axis in AXES:
        wide = labels.pivot_table(index=["track", "frame"], columns="annotator", values=axis)
        shared = [wide[list(pair)].dropna() for pair in combinations(wide, 2)]
        concordance = [ccc(*pair.to_numpy().T) for pair in shared if len(pair) >= FEWEST_FRAMES]
        if concordance:
            frames = int((wide.notna().sum(axis=1) > 1).sum())
            row = {"axis": axis, "annotators": wide.shape[1], "frames": frames, "CCC": np.mean(concordance)}
            rows.append(row | _intraclass_correlations(wide.dropna()))
    return pd.DataFrame(rows)


def label_error(labels: pd.DataFrame) -> np.ndarray:
    """Estimate the error of a single label from the differences of annotators from the mean of each frame.

    Args:
        labels: as for `annotator_agreement`.

    Returns:
        (2,) standard deviations for valence and arousal; 0 means no estimate, with fewer than three degrees of freedom.
    """
    errors = []
    for axis in AXES:
        groups = labels.groupby(["track", "frame"])[axis]
        degrees_of_freedom = (groups.count() - 1).sum()
        squares = (labels[axis] - groups.transform("mean")).pow(2).sum()
        errors.append(np.sqrt(squares / degrees_of_freedom) if degrees_of_freedom >= FEWEST_FRAMES else 0.0)
    return np.array(errors)


def _intraclass_correlations(wide: pd.DataFrame) -> dict[str, float]:
    """ICC(A,1) and ICC(A,k): absolute agreement of a single annotator, and of the mean of all annotators."""
    from pingouin import intraclass_corr  # Takes seconds to import, and is seldom needed.

    long = wide.reset_index(drop=True).rename_axis("target").reset_index().melt("target", value_name="score")
    if len(wide) < FEWEST_FRAMES or long["score"].nunique() == 1:
        return {"ICC(A,1)": np.nan, "ICC(A,k)": np.nan}
    found = intraclass_corr(long, "target", "annotator", "score").set_index("Type")["ICC"]
    return {name: float(found[name]) for name in ("ICC(A,1)", "ICC(A,k)")}
