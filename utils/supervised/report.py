"""What a run of mtclar_sl.py says at its end: the head and its baselines on the same test rows."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from utils.run_folder import RunFolder
from utils.supervised.baselines import CONSTANT, REGRESSION
from utils.supervised.settings import SupervisedSettings
from utils.supervised.targets import TARGETS, Target

HEAD = "MT-CLAR + SL"
LESS_IS_BETTER = "RMSE"


def report_supervised(
    tables: list[dict[str, pd.DataFrame]], settings: SupervisedSettings, encoders: Iterable[Path], run: RunFolder
) -> pd.DataFrame:
    """Writes predictions.csv, scores.csv and a figure, and prints the table.

    tables: of each fold, method → table of its test rows as `Target.table` gives it, with the fold as first column.
    encoders: the files of the weights that the features came from.
    """
    target = TARGETS[settings.task]
    scores = score_folds(tables, target)
    whole = pd.concat([methods[HEAD] for methods in tables], ignore_index=True)
    run.save_table("predictions.csv", whole)
    run.save_table("scores.csv", scores)
    plot = run.save_figure(f"{settings.task}.png", target.figure(whole))
    folds = f" in {len(tables)} folds: mean ± standard deviation" if len(tables) > 1 else ""
    print(f"\n{len(whole)} test images of {whole['clip'].nunique()} clips{folds}")
    print("".join(f"encoder {path}\n" for path in sorted(set(encoders))), end="")
    if settings.task == "expression":
        print(f"{'classes' if settings.balanced else 'images'} count alike in training and in choosing the best epoch")
    print(f"\n{score_table(scores, target)}\n\n{verdict(scores, settings.task, target)}")
    print(f"\nrun folder  {run.path}\nplot        {plot}")
    return scores


def score_folds(tables: list[dict[str, pd.DataFrame]], target: Target) -> pd.DataFrame:
    """A row a fold and method."""
    return pd.DataFrame([
        {"fold": table["fold"].iloc[0], "method": method, "images": len(table), **target.score(table)}
        for methods in tables for method, table in methods.items()
    ])  # fmt: skip


def score_table(scores: pd.DataFrame, target: Target) -> str:
    """A row a method, a column a score: over several folds the mean and the standard deviation."""
    by_method = scores.groupby("method", sort=False)[list(target.scores)]
    mean, deviation = by_method.mean(), by_method.std()
    several = scores["fold"].nunique() > 1
    text = pd.DataFrame(
        {_short(name): [
            f"{value:.3f} ± {spread:.3f}" if several else f"{value:.3f}"
            for value, spread in zip(mean[name], deviation[name], strict=True)
        ] for name in target.scores},
        index=mean.index,
    )  # fmt: skip
    return text.rename_axis(None).to_string()


def verdict(scores: pd.DataFrame, task: str, target: Target) -> str:
    """Where the head does not beat the regression or the constant answer, in a sentence each."""
    mean = scores.groupby("method")[list(target.scores)].mean()
    lines = []
    for baseline in (REGRESSION[task], CONSTANT[task]):
        worse = [
            f"{_short(name)} ({mean.loc[HEAD, name]:.3f} against {mean.loc[baseline, name]:.3f})"
            for name in target.scores
            if not _better(name, mean.loc[HEAD, name], mean.loc[baseline, name])
        ]
        found = f"is no better than {baseline} in {', '.join(worse)}" if worse else f"beats {baseline} in every score"
        lines.append(f"the head {found}")
    return "\n".join(lines)


def _better(name: str, one: float, other: float) -> bool:
    return one < other if name.endswith(LESS_IS_BETTER) else one > other


def _short(name: str) -> str:
    return name.replace("valence_", "v ").replace("arousal_", "a ").replace("_", " ")
