"""What a run says at its end: tables, figures, and a short table on standard output."""

import pandas as pd

from datasets.annotations import AXES
from datasets.video import safe_name
from models.mtclar import MTCLAR
from utils.metrics import SCORES
from utils.pair_training import PairTest
from utils.plots import delta_figure, pair_sheet, plane_figure, similarity_figure, trace_figure
from utils.run_folder import RunFolder
from utils.runtime import Runtime
from utils.scoring import score_methods
from utils.settings import SupportSettings
from utils.support_set import FUSED


def report_pairs(test: PairTest, model: MTCLAR, runtime: Runtime, run: RunFolder) -> dict[str, float]:
    """Evaluates on the test pairs; writes predictions.csv, scores.json and figures; prints the table."""
    table, scores = test.run(model, runtime)
    run.save_table("predictions.csv", table)
    run.save_json("scores.json", scores)
    confusion = run.save_figure("similarity_confusion.png", similarity_figure(table))
    scatter = run.save_figure("delta_scatter.png", delta_figure(table, scores))
    sheet = run.save_figure("pairs.png", pair_sheet(test.crops, table, test.pairs.first, test.pairs.second))
    print(f"\n{len(table)} test pairs of {test.frames['subject'].nunique()} people")
    print(f"similarity accuracy {scores['similarity_accuracy']:.3f}\n")
    print(delta_table(scores))
    print(f"\nrun folder  {run.path}\nplots       {confusion}\n            {scatter}\n            {sheet}")
    return scores


def report_labels(
    tables: dict[str, pd.DataFrame], doubts: pd.DataFrame, settings: SupportSettings, run: RunFolder
) -> pd.DataFrame:
    """Scores every method's labels; writes labels.csv (of the rule chosen), scores.csv, figures; prints the table.

    tables, doubts: as `label_dataset` gives them.
    """
    chosen = tables[settings.rule]
    scores = score_methods(tables, settings.score_support)
    run.save_table("labels.csv", chosen)
    run.save_table("scores.csv", scores)
    if len(doubts):
        run.save_table("audit.csv", doubts)
    plots = [run.save_figure(f"plane_{settings.rule}.png", plane_figure(chosen))]
    for clip in chosen["clip"].value_counts(sort=True).index[: settings.plots]:
        parts = {method: table[table["clip"] == clip] for method, table in tables.items()}
        plots.append(run.save_figure(f"clip_{safe_name(clip)}.png", trace_figure(clip, settings.rule, parts)))
    support = chosen["support"]
    alone = (chosen.groupby("clip")["support"].sum() == 1).sum()
    print(f"\n{len(chosen)} frames of {chosen['clip'].nunique()} clips, {support.sum()} of them support "
          f"({support.mean():.1%}); scored: {'all' if settings.score_support else 'the others'}")  # fmt: skip
    print(f"{alone} clips have one support frame, where the straight line is level\n" if alone else "")
    print(method_table(scores))
    print(interval_line(scores))
    if len(doubts):
        print(f"{len(doubts)} support labels that the others of their clip contradict: audit.csv")
    print(f"\nrun folder  {run.path}\nplot        {plots[-1]}")
    return scores


def method_table(scores: pd.DataFrame) -> str:
    """A row a method, pooled scores of both axes, and the mean over clips of CCC; marks what time alone beats."""
    pooled, clips = (scores[scores["average"] == kind].set_index("method") for kind in ("pooled", "clips"))
    columns = {}
    for axis in ("valence", "arousal"):
        for name in SCORES:
            columns[f"{axis[0]} {name}"] = pooled[f"{axis}_{name}"]
        columns[f"{axis[0]} CCC/clip"] = clips[f"{axis}_CCC"]
    table = pd.DataFrame(columns)
    line = pooled.loc["linear", ["valence_RMSE", "arousal_RMSE"]]
    worse = [
        "" if method == "linear" else ", ".join(
            axis for axis in ("valence", "arousal") if not row[f"{axis}_RMSE"] < line[f"{axis}_RMSE"]
        )
        for method, row in pooled.iterrows()
    ]  # fmt: skip
    table["no better than the straight line"] = worse
    return table.rename_axis(None).to_string(float_format="{:.3f}".format)


def interval_line(scores: pd.DataFrame) -> str:
    """How often the 90 % intervals hold the truth, and how wide they are."""
    fused = scores[(scores["method"] == FUSED) & (scores["average"] == "pooled")].iloc[0]
    parts = [f"{axis} {fused[f'{axis}_coverage']:.1%} in {fused[f'{axis}_width']:.2f}" for axis in AXES]
    return f"\n90 % intervals of {FUSED}: share of the truth inside, mean width: {', '.join(parts)}"


def delta_table(scores: dict[str, float]) -> str:
    """A row an axis, a column a score, as text."""
    rows = {}
    for axis in ("delta_valence", "delta_arousal"):
        found = {name: scores.get(f"{axis}_{name}") for name in SCORES}
        rows["Δ" + axis.removeprefix("delta_")] = found
    table = pd.DataFrame.from_dict(rows, orient="index", dtype=float)
    return table.to_string(float_format="{:.3f}".format, na_rep="not labelled")
