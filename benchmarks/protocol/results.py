"""The scores of all run folders of the protocol, as tables."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.protocol.people import read_clips
from benchmarks.protocol.plan import FoldRuns, Support
from utils.config.supervised import HEAD
from utils.labelling.anchors import BASELINES, RULES
from utils.labelling.scores import score_methods

KEYS = ["part", "scope", "strategy", "budget", "method", "average"]
"""The columns that name what was scored."""
NO_SUPPORT = Support("none", "none", 0)


def fold_scores(folds: list[FoldRuns]) -> pd.DataFrame:
    """The scores of valence and arousal: a row per fold and KEYS, with the columns of `score_methods`."""
    tables = []
    for runs in folds:
        for part, labelled in (("labelling", runs.labelled), ("across data sets", runs.crossed)):
            tables += [_scores(run, part, support, runs.fold) for support, run in labelled.items()]
        if runs.zero_shot:
            scores = _scores(runs.zero_shot, "no labels", NO_SUPPORT, runs.fold)
            tables.append(scores[~scores["method"].isin([*RULES, *BASELINES])].assign(labels=0.0))
        if "valence_arousal" in runs.heads:
            tables.append(_head_scores(runs))
    return pd.concat(tables, ignore_index=True)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of every score over the folds; constant_clips are summed.

    Returns:
        A row per KEYS: the number of folds, and for each score two columns, <score> and <score>_std.
    """
    groups = scores.groupby(KEYS, sort=False)
    names = [name for name in scores.columns if name not in (*KEYS, "fold")]
    mean, std = groups[names].mean(), groups[names].std().add_suffix("_std")
    constant = [name for name in names if name.endswith("constant_clips")]
    mean[constant] = groups[constant].sum()
    std = std.drop(columns=[f"{name}_std" for name in constant])
    columns = [column for name in names for column in (name, f"{name}_std") if column in mean or column in std]
    return pd.concat([mean, std], axis=1)[columns].assign(folds=groups.size()).reset_index()


def expression_scores(folds: list[FoldRuns]) -> pd.DataFrame:
    """The scores of the expression heads and their baselines: mean and standard deviation over the folds."""
    runs = [runs.heads["expression"] for runs in folds if "expression" in runs.heads]
    if not runs:
        return pd.DataFrame()
    scores = pd.concat([pd.read_csv(run / "scores.csv") for run in runs])
    groups = scores.drop(columns="fold").groupby("method", sort=False)
    return pd.concat([groups.mean(), groups.std().add_suffix("_std")], axis=1).reset_index()


def _scores(run: Path, part: str, support: Support, fold: int) -> pd.DataFrame:
    return _keyed(pd.read_csv(run / "scores.csv"), part, support, fold)


def _head_scores(runs: FoldRuns) -> pd.DataFrame:
    """The scores of MT-CLAR + SL on the clips that were labelled, which may be fewer than were predicted."""
    predictions = read_clips(runs.heads["valence_arousal"] / "predictions.csv")
    labelled = {clip for run in list(runs.labelled.values())[:1] for clip in read_clips(run / "labels.csv")["clip"]}
    kept = predictions[predictions["clip"].isin(labelled)].assign(support=False, anchors=0)
    return _keyed(score_methods({HEAD: kept}, score_support=True), "no labels", NO_SUPPORT, runs.fold)


def _keyed(scores: pd.DataFrame, part: str, support: Support, fold: int) -> pd.DataFrame:
    keys = {"part": part, "scope": support.scope, "strategy": support.strategy, "budget": np.float64(support.budget)}
    return scores.assign(**keys, fold=fold)
