"""The tables of the protocol as Markdown, and its figure."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from datasets.columns import AXES
from utils.labelling.anchors import FUSED
from utils.metrics import SCORES

CURVE_STRATEGY = "uniform_k"
"""Strategy of the figure and of the table of all rules."""
SHORT_METHODS = ("previous", FUSED)
"""The paper's rule and the default."""
COLOURS = {
    "hold": "0.6",
    "linear": "0.3",
    "previous": "tab:orange",
    "nearest": "tab:red",
    "mean": "tab:purple",
    "weighted": "tab:green",
    FUSED: "tab:blue",
}


def markdown_report(summary: pd.DataFrame, expression: pd.DataFrame, people: pd.DataFrame, provenance: str) -> str:
    """All tables as Markdown, each with the line of provenance under it."""
    labelled = summary[summary["part"] == "labelling"]
    even = labelled[(labelled["strategy"] == CURVE_STRATEGY) & (labelled["scope"] == "clip")]
    elsewhere = (labelled["scope"] != "clip") | (labelled["strategy"] == "train_bins")
    parts = {
        f"Rules and baselines, {CURVE_STRATEGY}": even,
        "Strategies": labelled[~elsewhere & (labelled["strategy"] != CURVE_STRATEGY)],
        "Anchors of a person, of other clips or of the training set": labelled[elsewhere],
        "Without labels of the clip": summary[summary["part"] == "no labels"],
        "Network of another data set": summary[summary["part"] == "across data sets"],
    }
    sections = []
    for title, rows in parts.items():
        for average, name in (("pooled", "pooled over all frames"), ("clips", "mean over clips")):
            chosen = rows[rows["average"] == average]
            if len(chosen):
                sections.append(f"### {title}: {name}\n\n{score_table(chosen)}\n\n{provenance}")
    if len(expression):
        sections.append(f"### Expression\n\n{expression_table(expression)}\n\n{provenance}")
    sections.append(f"### What each part has seen\n\n{people_table(people)}\n\n{provenance}")
    return "\n\n".join(sections) + "\n"


def is_detail(summary: pd.DataFrame) -> pd.Series:
    """Which rows short tables leave out: methods not in SHORT_METHODS, except with the strategy of the figure."""
    labelling = summary["part"].isin(["labelling", "across data sets"])
    even = (summary["part"] == "labelling") & (summary["strategy"] == CURVE_STRATEGY)
    return labelling & ~even & ~summary["method"].isin(SHORT_METHODS)


def score_table(rows: pd.DataFrame) -> str:
    """A row per support-set and method; each score as mean ± standard deviation, valence / arousal."""
    lines = []
    for _, row in rows.iterrows():
        scope = "" if row["scope"] in ("clip", "none") else f", {row['scope']}"
        support = "–" if row["strategy"] == "none" else f"{row['strategy']}{scope}, {budget_text(row)}"
        scores = [_both(row, name) for name in SCORES]
        intervals = [_both(row, name) for name in ("coverage", "width")]
        lines.append([support, row["method"], f"{row['labels']:.1f}", *scores, *intervals])
    header = ["support-set", "method", "labels per clip", *SCORES, "coverage", "width"]
    text = markdown_table(header, lines)
    constant = {axis: int(rows[f"{axis}_constant_clips"].max()) for axis in AXES}
    if any(constant.values()):
        counts = ", ".join(f"{count} in {axis}" for axis, count in constant.items())
        text += (
            f"\n\nClips whose true labels are constant have no PCC and CCC and are left out of their means: {counts}."
        )
    return text


def budget_text(row: pd.Series) -> str:
    """The budget of a support-set in words, such as "1 frame" or "5 %"."""
    if row["strategy"] == "train_bins":
        return f"{row['budget']:g} per bin"
    if row["budget"] < 1:
        return f"{100 * row['budget']:g} %"
    return f"{row['budget']:g} frame{'s' if row['budget'] != 1 else ''}"


def expression_table(scores: pd.DataFrame) -> str:
    """A row per method: accuracy, balanced accuracy and macro F1."""
    names = [name for name in scores.columns if f"{name}_std" in scores and name != "images"]
    lines = [[row["method"], *(_mean_std(row, name) for name in names)] for _, row in scores.iterrows()]
    return markdown_table(["method", *(name.replace("_", " ") for name in names)], lines)


def people_table(people: pd.DataFrame) -> str:
    """What each part has seen, one row per part with the folds that are alike."""
    lines = []
    for part, rows in people.groupby("part", sort=False):
        sources = rows["source"].str.replace(r"fold \d", "its fold", regex=True).unique()
        counts = ", ".join("unknown" if pd.isna(one) else str(one) for one in rows["people seen"])
        tested = ", ".join(map(str, rows["people tested"]))
        lines.append([part, "; ".join(sources), counts, tested, str(rows["in both"].sum())])
    return markdown_table(["part", "has seen", "people, by fold", "people tested, by fold", "in both"], lines)


def markdown_table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table of text cells."""
    rows = [list(header), *map(list, lines)]
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def curve_figure(summary: pd.DataFrame) -> Figure:
    """RMSE against labels per clip, mean and standard deviation over the folds; a panel per axis."""
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    pooled = summary[summary["average"] == "pooled"]
    labelled = pooled[(pooled["part"] == "labelling") & (pooled["scope"] == "clip")]
    even = labelled[labelled["strategy"] == CURVE_STRATEGY]
    unlabelled = pooled[pooled["part"] == "no labels"]
    for column, axis in enumerate(AXES):
        axes = figure.add_subplot(1, 2, column + 1)
        name = f"{axis}_RMSE"
        for method, colour in COLOURS.items():
            rows = even[even["method"] == method].sort_values("labels")
            style = "--" if method in ("hold", "linear") else "-"
            errors = rows[f"{name}_std"].fillna(0)
            axes.errorbar(
                rows["labels"], rows[name], errors, label=method, color=colour, ls=style, marker="o", capsize=2
            )
        for number, (method, rmse) in enumerate(zip(unlabelled["method"], unlabelled[name], strict=True)):
            axes.axhline(rmse, color="black", ls=(":", "-.")[number % 2], lw=1, label=f"{method}, no labels")
        axes.set(title=axis, xlabel=f"labels per clip ({CURVE_STRATEGY})", ylabel="RMSE", xscale="log", ylim=(0, None))
        ticks = sorted(set(even["labels"].round(1)))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _both(row: pd.Series, name: str) -> str:
    """A score of valence and arousal, as mean ± standard deviation each; empty if the method does not have it."""
    texts = [_mean_std(row, f"{axis}_{name}") for axis in AXES if pd.notna(row.get(f"{axis}_{name}"))]
    return " / ".join(texts)


def _mean_std(row: pd.Series, name: str) -> str:
    std = row[f"{name}_std"]
    return f"{row[name]:.3f}" + (f" ± {std:.3f}" if pd.notna(std) else "")
