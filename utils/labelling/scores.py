"""Scores of labels against the truth."""

import numpy as np
import pandas as pd

from datasets.columns import AXES
from utils.metrics import SCORES, regression_scores


def score_methods(labelled: dict[str, pd.DataFrame], score_support: bool) -> pd.DataFrame:
    """Scores every method, pooled over all frames and as the mean over clips.

    Args:
        labelled: method → table with clip, support, valence, arousal, valence_true, arousal_true; and valence_low,
            valence_high, arousal_low, arousal_high for a method that gives intervals.
        score_support: whether support frames, whose labels are known, are scored too.

    Returns:
        One row per method and kind of average ("pooled" or "clips"): RMSE, PCC, CCC and SAGR per axis, and the coverage
        (share of true labels inside) and mean width of intervals.
    """
    rows = []
    for method, table in labelled.items():
        scored = table if score_support else table[~table["support"]]
        clips = [part for _, part in scored.groupby("clip", sort=False)]
        for average, parts in (("pooled", [scored]), ("clips", clips)):
            row: dict[str, object] = {"method": method, "average": average, "frames": len(scored)}
            for axis in AXES:
                by_part = [regression_scores(part[axis], part[f"{axis}_true"]) for part in parts]
                for name in SCORES:
                    row[f"{axis}_{name}"] = np.mean([scores[name] for scores in by_part if scores] or [np.nan])
                if f"{axis}_low" in table:
                    intervals = pd.DataFrame([interval_scores(part, axis) for part in parts]).mean()
                    row |= {f"{axis}_{name}": value for name, value in intervals.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def interval_scores(table: pd.DataFrame, axis: str) -> dict[str, float]:
    """Coverage (share of true labels inside) and mean width of an axis's intervals, over rows with known truth."""
    known = table.dropna(subset=f"{axis}_true")
    low, high, true = (known[f"{axis}_{name}"] for name in ("low", "high", "true"))
    return {"coverage": ((true >= low) & (true <= high)).mean(), "width": (high - low).mean()}
