"""Figures of a run. Each function draws one and returns it; none of them touches the screen."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from datasets.images import FaceCrops
from utils.metrics import confusion_matrix, regression_scores


def confusion_figure(predicted: np.ndarray, true: np.ndarray, names: tuple[str, ...]) -> Figure:
    """Row: true class, column: predicted one; counts, shaded by their share of the row. Codes (N,) int."""
    counts = confusion_matrix(np.asarray(predicted, int), np.asarray(true, int), len(names))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(2 + 0.8 * len(names), 1.6 + 0.8 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.5 else "black"
        text = f"{count}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=f"accuracy {np.trace(counts) / max(counts.sum(), 1):.3f}")
    return figure


def similarity_figure(table: pd.DataFrame) -> Figure:
    """Confusion matrix of similar or not; table: as `PairResult.predictions`."""
    return confusion_figure(table["similar_probability"] > 0.5, table["similar"], ("dissimilar", "similar"))


def delta_figure(table: pd.DataFrame, scores: dict[str, float]) -> Figure:
    """True against predicted Δ of test pairs, a panel an axis. table: as `PairResult.predictions`."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    for place, axis in enumerate(("valence", "arousal")):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.plot([-2, 2], [-2, 2], color="0.7", linewidth=1, zorder=0)
        true, predicted = table[f"delta_{axis}"], table[f"delta_{axis}_predicted"]
        axes.scatter(true, predicted, s=4, alpha=0.25, linewidths=0, color="tab:blue", rasterized=True)
        ccc = scores.get(f"delta_{axis}_CCC")
        note = "not labelled" if ccc is None else f"CCC {ccc:.3f}, RMSE {scores[f'delta_{axis}_RMSE']:.3f}"
        axes.set(xlabel=f"true Δ{axis}", ylabel=f"predicted Δ{axis}", title=f"Δ{axis}: {note}")
        axes.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
    return figure


def affect_figure(table: pd.DataFrame) -> Figure:
    """True against predicted valence and arousal, a panel an axis. table: valence_true, valence, …"""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    for place, axis in enumerate(("valence", "arousal")):
        axes = figure.add_subplot(1, 2, place + 1)
        true, predicted = table[f"{axis}_true"], table[axis]
        scores = regression_scores(predicted, true)
        axes.plot([-1, 1], [-1, 1], color="0.7", linewidth=1, zorder=0)
        axes.scatter(true, predicted, s=4, alpha=0.25, linewidths=0, color="tab:blue", rasterized=True)
        axes.set(xlabel=f"true {axis}", ylabel=f"predicted {axis}", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
        axes.set(title=f"{axis}: CCC {scores['CCC']:.3f}, RMSE {scores['RMSE']:.3f}", aspect="equal")
    return figure


def pair_sheet(crops: FaceCrops, table: pd.DataFrame, first: np.ndarray, second: np.ndarray, count: int = 12) -> Figure:
    """Some pairs as pictures, each over its true and predicted Δ; first, second: rows of `crops` of the pairs."""
    shown = np.linspace(0, len(table) - 1, min(count, len(table))).astype(int)
    columns = 4
    figure = Figure(figsize=(3.2 * columns, 2.2 * -(-len(shown) // columns)), layout="constrained")
    for place, pair in enumerate(shown):
        axes = figure.add_subplot(-(-len(shown) // columns), columns, place + 1)
        faces = [crops[int(rows[pair])].permute(1, 2, 0).numpy() for rows in (first, second)]
        axes.imshow(np.concatenate(faces, axis=1))
        row = table.iloc[pair]
        kind = "similar" if row["similar"] else "dissimilar"
        axes.set_title(
            f"{kind}: p(similar) {row['similar_probability']:.2f}\n"
            f"Δv {row['delta_valence']:+.1f} → {row['delta_valence_predicted']:+.2f}   "
            f"Δa {row['delta_arousal']:+.1f} → {row['delta_arousal_predicted']:+.2f}",
            fontsize=7,
        )
        axes.axis("off")
    return figure


def trace_figure(clip: str, method: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Both traces of a clip: labels, intervals and truth where they are known, support points, the straight line.

    tables: method → the clip's rows, with frame, valence, arousal, support, and valence_true, arousal_true if known.
    """
    chosen = tables[method]
    figure = Figure(figsize=(9, 5), layout="constrained")
    for place, axis in enumerate(("valence", "arousal")):
        axes = figure.add_subplot(2, 1, place + 1)
        frame, support = chosen["frame"], chosen["support"]
        if f"{axis}_true" in chosen:
            axes.plot(frame, chosen[f"{axis}_true"], color="black", linewidth=1.2, label="truth")
        for baseline, style in (("linear", ":"), ("hold", "--")):
            if baseline in tables:
                axes.plot(tables[baseline]["frame"], tables[baseline][axis], style, color="0.6", label=baseline)
        axes.plot(frame, chosen[axis], color="tab:blue", linewidth=1.8, label=method)
        if f"{axis}_low" in chosen:
            band = chosen[f"{axis}_low"], chosen[f"{axis}_high"]
            axes.fill_between(frame, *band, color="tab:blue", alpha=0.18, linewidth=0, label="90 % interval")
        if support.any():
            said = tables.get("linear", chosen)[axis][support.to_numpy()]  # it goes through what the person said
            axes.plot(frame[support], said, "o", color="tab:orange", markersize=6, label="support")
        axes.set(ylabel=axis, ylim=(-1.05, 1.05))
        axes.grid(color="0.92")
        axes.set_title(f"clip {clip}" if place == 0 else "", loc="left")
        axes.set_xlabel("frame" if place else "")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def expression_trace_figure(clip: str, table: pd.DataFrame, names: tuple[str, ...]) -> Figure:
    """Probabilities of the expressions over a track's frames, one above the other. table: frame, p_<name> …"""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.stackplot(table["frame"], *(table[f"p_{name}"] for name in names), labels=names, step="mid", alpha=0.85)
    axes.set(xlabel="frame", ylabel="probability", ylim=(0, 1))
    axes.margins(x=0)
    axes.set_title(f"clip {clip}", loc="left")
    figure.legend(loc="outside right center", frameon=False, reverse=True)
    return figure


def plane_figure(table: pd.DataFrame) -> Figure:
    """All labels of a table on the valence-arousal plane, support points on top, truth below where it is known."""
    figure = Figure(figsize=(5.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    if "valence_true" in table:
        axes.scatter(table["valence_true"], table["arousal_true"], s=9, color="0.75", linewidths=0, label="truth")
    axes.scatter(table["valence"], table["arousal"], s=5, color="tab:blue", alpha=0.4, linewidths=0, label="labels")
    known = table[table["support"]]
    if len(known):
        axes.scatter(known["valence"], known["arousal"], s=14, color="tab:orange", linewidths=0, label="support")
    axes.axhline(0, color="0.85", zorder=0)
    axes.axvline(0, color="0.85", zorder=0)
    for x, y, corner in ((-1, 1, "angry, afraid"), (1, 1, "excited"), (-1, -1, "sad, tired"), (1, -1, "calm")):
        axes.text(x, y, corner, ha="left" if x < 0 else "right", va="top" if y > 0 else "bottom", color="0.5")
    axes.set(xlabel="valence", ylabel="arousal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    axes.legend(loc="center left", fontsize=8, framealpha=0.8)
    return figure


def frame_sheet(pictures: list[tuple[np.ndarray, str]]) -> Figure:
    """Pictures (H, W, 3) uint8, each under its caption, row by row."""
    columns = min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    height, width = pictures[0][0].shape[:2]
    figure = Figure(figsize=(3.2 * columns, (3.2 * height / width + 0.35) * rows), layout="constrained")
    for place, (picture, caption) in enumerate(pictures):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(picture)
        axes.set_title(caption, fontsize=9)
        axes.axis("off")
    return figure
