"""Scores of labels: which frames count, and the two kinds of average."""

import numpy as np
import pandas as pd
import pytest

from utils.labelling.report import missing_estimates
from utils.labelling.scores import score_methods


def test_support_frames_are_scored_only_on_request_and_clips_are_averaged():
    table = pd.DataFrame(
        {
            "clip": list("aaab"),
            "support": [True, False, False, False],
            "valence": [9, 1, 1, 3.0],
            "valence_true": [0.0] * 4,
            "arousal": [0, 1, 2, 3.0],
            "arousal_true": [0, 1, 2, 3.0],
        }
    )
    scores = score_methods({"m": table}, False).set_index("average")
    assert scores.loc["pooled", "valence_RMSE"] == pytest.approx(np.sqrt((1 + 1 + 9) / 3))
    assert scores.loc["clips", "valence_RMSE"] == pytest.approx((1 + 3) / 2)
    assert scores.loc["pooled", "arousal_CCC"] == 1 and scores.loc["pooled", "frames"] == 3
    with_support = score_methods({"m": table}, True).set_index("average")
    assert with_support.loc["pooled", "valence_RMSE"] == pytest.approx(np.sqrt((81 + 1 + 1 + 9) / 4))


def test_frames_without_a_true_label_are_not_scored():
    columns = {"valence": [0.1, 0.5, 0.9], "valence_true": [0.2, np.nan, 0.9]}
    columns |= {name.replace("valence", "arousal"): values for name, values in columns.items()}
    table = pd.DataFrame({"clip": list("aab"), "support": False} | columns)
    scores = score_methods({"m": table}, False).set_index("average")
    assert scores["frames"].tolist() == [2, 2]
    assert scores.loc["pooled", "valence_RMSE"] == pytest.approx(np.sqrt(0.01 / 2))


def test_frames_without_an_estimate_are_not_scored():
    columns = {"valence": [0.1, np.nan, 0.9], "valence_true": [0.2, 0.5, 0.9]}
    columns |= {name.replace("valence", "arousal"): values for name, values in columns.items()}
    table = pd.DataFrame({"clip": list("aab"), "support": False} | columns)
    tables = {"tool": table, "linear": table.fillna(0.5)}
    scores = score_methods(tables, False)
    assert scores.set_index("average").loc["pooled", "frames"].tolist() == [2, 3]
    assert missing_estimates(scores) == ["\ntool: scored on the 2 of 3 frames that it has estimates for"]


def test_clip_of_support_frames_alone_has_no_scores():
    columns = ["valence", "arousal", "valence_true", "arousal_true"]
    table = pd.DataFrame({"clip": ["a"], "support": [True]} | {column: [0.1] for column in columns})
    scores = score_methods({"m": table}, False)
    assert scores["frames"].tolist() == [0, 0] and scores["valence_RMSE"].isna().all()
