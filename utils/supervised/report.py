"""The report of a mtclar_sl.py run: the scores of the head and of its baselines on the same test rows."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from utils.config.supervised import HEAD, SLTrainingSettings
from utils.runs.run_folder import RunFolder
from utils.supervised.baselines import CONSTANT_NAME, LINEAR_NAME
from utils.supervised.tasks import TASKS, Task


def report_supervised(
    tables: list[dict[str, pd.DataFrame]], settings: SLTrainingSettings, encoders: Iterable[Path], run: RunFolder
) -> pd.DataFrame:
    """Write predictions.csv, scores.csv and a figure to the run folder, and print the scores.

    Args:
        tables: the result of `run_fold` for each fold.
        settings: settings of the run.
        encoders: files of the weights that the features come from.
        run: run folder.

    Returns:
        The table of `score_folds`.
    """
    task = TASKS[settings.task]
    scores = score_folds(tables, task)
    predictions = pd.concat([fold_tables[HEAD] for fold_tables in tables], ignore_index=True)
    run.save_table("predictions.csv", predictions)
    run.save_table("scores.csv", scores)
    plot = run.save_figure(f"{task.name}.png", task.figure(predictions))
    folds = f" in {len(tables)} folds: mean ± standard deviation" if len(tables) > 1 else ""
    print(f"\n{len(predictions)} test images of {predictions['clip'].nunique()} clips{folds}")
    print("".join(f"encoder {path}\n" for path in sorted(set(encoders))), end="")
    if task.name == "expression":
        unit = "class" if settings.balanced else "image"
        print(f"each {unit} has equal weight in training and in the choice of the best epoch")
    print(f"\n{score_table(scores, task)}\n\n{verdict(scores, task)}")
    print(f"\nrun folder  {run.path}\nplot        {plot}")
    return scores


def score_folds(tables: list[dict[str, pd.DataFrame]], task: Task) -> pd.DataFrame:
    """Return a row per fold and method: fold, method, number of images, and the scores.

    Args:
        tables: the result of `run_fold` for each fold.
        task: what was predicted.
    """
    return pd.DataFrame(
        [
            {"fold": table["fold"].iloc[0], "method": method, "images": len(table), **task.score(table)}
            for fold_tables in tables
            for method, table in fold_tables.items()
        ]
    )


def score_table(scores: pd.DataFrame, task: Task) -> str:
    """Return the scores as text, a row per method; for several folds as mean ± standard deviation."""
    by_method = scores.groupby("method", sort=False)[list(task.score_names)]
    text = by_method.mean().map("{:.3f}".format)
    if scores["fold"].nunique() > 1:
        text += " ± " + by_method.std().map("{:.3f}".format)
    return text.rename(columns=_short).rename_axis(None).to_string()


def verdict(scores: pd.DataFrame, task: Task) -> str:
    """Compare the mean scores of the head with those of each baseline, in one sentence per baseline.

    The sentence lists the scores in which the head is not better than the baseline.

    Args:
        scores: table of `score_folds`.
        task: what was predicted.
    """
    mean = scores.groupby("method")[list(task.score_names)].mean()
    lines = []
    for baseline in (LINEAR_NAME[task.name], CONSTANT_NAME[task.name]):
        worse = [
            f"{_short(name)} ({mean.loc[HEAD, name]:.3f} against {mean.loc[baseline, name]:.3f})"
            for name in task.score_names
            if not _is_better(name, mean.loc[HEAD, name], mean.loc[baseline, name])
        ]
        result = f"is no better than {baseline} in {', '.join(worse)}" if worse else f"beats {baseline} in every score"
        lines.append(f"the head {result}")
    return "\n".join(lines)


def _is_better(name: str, value: float, baseline: float) -> bool:
    return value < baseline if name.endswith("RMSE") else value > baseline


def _short(name: str) -> str:
    """Return a short name of a score for the printed table, such as "v RMSE"."""
    return name.replace("valence_", "v ").replace("arousal_", "a ").replace("_", " ")
