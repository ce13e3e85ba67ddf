"""How good labels are, where the truth is known."""

import numpy as np
import pandas as pd

from datasets.annotations import AXES
from utils.metrics import SCORES, regression_scores


def score_methods(labelled: dict[str, pd.DataFrame], score_support: bool) -> pd.DataFrame:
    """A row a method and a way of averaging ("pooled": all frames at once; "clips": mean over clips).

    labelled: method → table with clip, support, valence, arousal, valence_true, arousal_true, and of a method that
    knows its intervals valence_low and so on: coverage is the share of the true labels inside, width their mean
    width. Support frames are known, so they count only where score_support says so.
    """
    rows = []
    for method, table in labelled.items():
        scored = table if score_support else table[~table["support"]]
        clips = [part for _, part in scored.groupby("clip", sort=False)]
        for average, parts in (("pooled", [scored]), ("clips", clips)):
            row = {"method": method, "average": average, "frames": len(scored)}
            for axis in AXES:
                found = [regression_scores(part[axis], part[f"{axis}_true"]) for part in parts]
                for name in SCORES:
                    row[f"{axis}_{name}"] = np.mean([one[name] for one in found if one] or [np.nan])
                if f"{axis}_low" in table:
                    inside = pd.DataFrame([interval_scores(part, axis) for part in parts]).mean()
                    row |= {f"{axis}_{name}": value for name, value in inside.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def interval_scores(table: pd.DataFrame, axis: str) -> dict[str, float]:
    """coverage (share) and mean width of an axis's intervals, over the rows whose truth is known."""
    known = table.dropna(subset=f"{axis}_true")
    low, high, true = (known[f"{axis}_{name}"] for name in ("low", "high", "true"))
    return {"coverage": ((true >= low) & (true <= high)).mean(), "width": (high - low).mean()}
