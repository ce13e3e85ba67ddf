"""Scores of estimated labels against true labels."""

import numpy as np
import pandas as pd

from datasets.columns import AXES
from utils.metrics import SAGR_NONZERO, SCORES, regression_scores

CORRELATIONS = ("PCC", "CCC")  # undefined for a clip whose true labels are all equal


def score_methods(labelled: dict[str, pd.DataFrame], score_support: bool) -> pd.DataFrame:
    """Score every method, pooled over all frames and as the mean over the scores of the clips.

    Args:
        labelled: method → table with clip, support, valence, arousal (NaN = no estimate, so the frame is not scored),
            valence_true, arousal_true (NaN = not known); and valence_low, valence_high, arousal_low, arousal_high for
            a method that gives intervals.
        score_support: whether support frames, whose labels were given, are scored too.

    Returns:
        One row per method and kind of average ("pooled" or "clips"), with the number of scored frames, the mean number
        of anchors per clip as `labels`, and these columns for each axis: RMSE, PCC, CCC, SAGR (sign agreement),
        SAGR_nonzero (sign agreement where the true label is not 0), and the coverage (share of true labels inside) and
        mean width of intervals. Clips whose true labels are constant have no correlation. They are left out of the mean
        of PCC and CCC over clips, and counted in constant_clips.
    """
    rows = []
    for method, table in labelled.items():
        scored = table if score_support else table[~table["support"]]
        scored = scored.dropna(subset=[f"{axis}_true" for axis in AXES], how="all")
        scored = scored.dropna(subset=list(AXES), how="all")
        clips = [part for _, part in scored.groupby("clip", sort=False)]
        for average, parts in (("pooled", [scored]), ("clips", clips)):
            row: dict[str, object] = {"method": method, "average": average, "frames": len(scored)}
            row["labels"] = table.groupby("clip")["anchors"].first().mean() if "anchors" in table else np.nan
            for axis in AXES:
                by_part = [regression_scores(part[axis], part[f"{axis}_true"]) for part in parts]
                varies = [part[f"{axis}_true"].nunique() > 1 for part in parts]
                for name in (*SCORES, SAGR_NONZERO):
                    kept = varies if name in CORRELATIONS and average == "clips" else [True] * len(parts)
                    values = [scores.get(name, np.nan) for scores, keep in zip(by_part, kept, strict=True) if keep]
                    row[f"{axis}_{name}"] = np.nanmean(values) if np.isfinite(values).any() else np.nan
                row[f"{axis}_constant_clips"] = len(parts) - sum(varies) if average == "clips" else 0
                if f"{axis}_low" in table:
                    intervals = pd.DataFrame([interval_scores(part, axis) for part in parts]).mean()
                    row |= {f"{axis}_{name}": value for name, value in intervals.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def interval_scores(table: pd.DataFrame, axis: str) -> dict[str, float]:
    """Coverage (share of true labels inside) and mean width of an axis's intervals, over rows with a true label."""
    known = table.dropna(subset=f"{axis}_true")
    low, high, true = (known[f"{axis}_{name}"] for name in ("low", "high", "true"))
    return {"coverage": ((true >= low) & (true <= high)).mean(), "width": (high - low).mean()}
