"""Figures of a run. Each function returns a figure, which is saved or logged but never shown on a screen."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from datasets.columns import AXES
from datasets.images import FaceCrops
from utils.metrics import confusion_matrix, regression_scores


def confusion_figure(predicted: ArrayLike, true: ArrayLike, names: tuple[str, ...]) -> Figure:
    """Plot a confusion matrix: true classes in rows, predicted ones in columns, shaded by the share of the row.

    Args:
        predicted: (N,) class codes.
        true: (N,) class codes.
        names: name of each class.
    """
    counts = confusion_matrix(np.asarray(predicted, int), np.asarray(true, int), len(names))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(2 + 0.8 * len(names), 1.6 + 0.8 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{count}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=f"accuracy {np.trace(counts) / max(counts.sum(), 1):.3f}")
    return figure


def similarity_figure(table: pd.DataFrame) -> Figure:
    """Plot the confusion matrix of similar and dissimilar pairs; `table` as in `PairPredictions.table`."""
    return confusion_figure(table["similar_probability"] > 0.5, table["similar"], ("dissimilar", "similar"))


def delta_figure(table: pd.DataFrame) -> Figure:
    """Plot predicted against true Δvalence and Δarousal of pairs; `table` as in `PairPredictions.table`."""
    panels = {f"Δ{axis}": (table[f"delta_{axis}"], table[f"delta_{axis}_predicted"]) for axis in AXES}
    return _scatter_figure(panels, largest=2, limit=2)


def affect_figure(table: pd.DataFrame) -> Figure:
    """Plot predicted against true valence and arousal; columns of `table`: valence, valence_true, arousal, ..."""
    return _scatter_figure({axis: (table[f"{axis}_true"], table[axis]) for axis in AXES}, largest=1, limit=1.05)


def _scatter_figure(panels: dict[str, tuple[pd.Series, pd.Series]], largest: float, limit: float) -> Figure:
    """Plot predicted against true values with their scores, in a panel per quantity.

    Args:
        panels: name of the quantity → true values (N,), predictions (N,).
        largest: end of the diagonal, the largest possible value.
        limit: end of the axes.
    """
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    for number, (name, (true, predicted)) in enumerate(panels.items(), start=1):
        scores = regression_scores(predicted, true)
        text = f"CCC {scores['CCC']:.3f}, RMSE {scores['RMSE']:.3f}" if scores else "not labelled"
        axes = figure.add_subplot(1, len(panels), number)
        axes.plot([-largest, largest], [-largest, largest], color="0.7", linewidth=1, zorder=0)
        axes.scatter(true, predicted, s=4, alpha=0.25, linewidths=0, color="tab:blue", rasterized=True)
        axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", title=f"{name}: {text}")
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    return figure


def pair_sheet(crops: FaceCrops, table: pd.DataFrame, first: np.ndarray, second: np.ndarray, count: int = 12) -> Figure:
    """Show some pairs of faces with their true and predicted differences.

    Args:
        crops: the face crops.
        table: as in `PairPredictions.table`, a row per pair.
        first: (P,) row in `crops` of the first face of each pair.
        second: (P,) row in `crops` of the second face of each pair.
        count: number of pairs to show, evenly spaced in the table.
    """
    images, captions = [], []
    for pair in np.linspace(0, len(table) - 1, min(count, len(table))).astype(int):
        faces = [crops[int(rows[pair])].permute(1, 2, 0).numpy() for rows in (first, second)]
        images.append(np.concatenate(faces, axis=1))
        row = table.iloc[pair]
        captions.append(
            f"{'similar' if row['similar'] else 'dissimilar'}: p(similar) {row['similar_probability']:.2f}\n"
            f"Δv {row['delta_valence']:+.1f} → {row['delta_valence_predicted']:+.2f}   "
            f"Δa {row['delta_arousal']:+.1f} → {row['delta_arousal_predicted']:+.2f}"
        )
    return _image_grid(images, captions, columns=4, row_height=2.2, fontsize=7)


def frame_sheet(pictures: list[tuple[np.ndarray, str]]) -> Figure:
    """Show images (H, W, 3) uint8 RGB with their captions, in rows of four."""
    images, captions = zip(*pictures, strict=True)
    height, width = images[0].shape[:2]
    row_height = 3.2 * height / width + 0.35
    return _image_grid(images, captions, columns=min(len(images), 4), row_height=row_height, fontsize=9)


def candidate_sheet(rows: Sequence[Sequence[tuple[np.ndarray, str]]], heading: str) -> Figure:
    """Show the face of each track, and beside it those of its candidates.

    Args:
        rows: of each track, pictures (S, S, 3) uint8 RGB with their captions: the track, then its candidates.
        heading: text above all rows.
    """
    size, gap, caption_height = rows[0][0][0].shape[0], 24, 36  # in pixels of the pictures
    columns = max(map(len, rows))
    height, width = len(rows) * (size + caption_height), columns * (size + gap)
    sheet = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / 72, height / 72 + 0.6))
    axes = figure.add_axes((0, 0, 1, height / (height + 0.6 * 72)))
    for row, pictures in enumerate(rows):
        for column, (picture, caption) in enumerate(pictures):
            top, left = row * (size + caption_height), column * (size + gap) + gap // 2
            sheet[top : top + size, left : left + size] = picture
            axes.text(left, top + size + 4, caption, va="top", fontsize=7, weight="normal" if column else "bold")
    axes.imshow(sheet, aspect="auto")
    axes.axis("off")
    figure.text(gap / 2 / width, 1 - 0.1 * 72 / (height + 0.6 * 72), heading, va="top", fontsize=9)
    return figure


def _image_grid(
    images: Sequence[np.ndarray], captions: Sequence[str], columns: int, row_height: float, fontsize: float
) -> Figure:
    """Arrange images under captions, row by row. row_height: in inches."""
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(3.2 * columns, row_height * rows), layout="constrained")
    for number, (image, caption) in enumerate(zip(images, captions, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(image)
        axes.set_title(caption, fontsize=fontsize)
        axes.axis("off")
    return figure


def trace_figure(clip: str, method: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Plot valence and arousal of a clip over its frames.

    Shown are the labels of one method, their intervals and the truth if the table has them, the support labels, and the
    baselines if `tables` has them.

    Args:
        clip: name of the clip.
        method: the method whose labels are shown.
        tables: method → the clip's rows, with frame, valence, arousal and support, and possibly valence_low,
            valence_high, valence_true and the same for arousal.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    for index, axis in enumerate(AXES):
        axes = figure.add_subplot(2, 1, index + 1)
        _plot_trace(axes, axis, method, tables)
        axes.set_title(f"clip {clip}" if index == 0 else "", loc="left")
        axes.set_xlabel("frame" if index else "")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def _plot_trace(axes: Axes, axis: str, method: str, tables: dict[str, pd.DataFrame]) -> None:
    """Plot valence or arousal of a clip; arguments as in `trace_figure`."""
    table = tables[method]
    frame, support = table["frame"], table["support"]
    if f"{axis}_true" in table:
        true = table[f"{axis}_true"]
        marker = "." if true.isna().any() else ""  # A line does not show single labelled frames.
        axes.plot(frame, true, color="black", linewidth=1.2, marker=marker, label="truth")
    for baseline, style in (("linear", ":"), ("hold", "--")):
        if baseline in tables:
            axes.plot(tables[baseline]["frame"], tables[baseline][axis], style, color="0.6", label=baseline)
    axes.plot(frame, table[axis], color="tab:blue", linewidth=1.8, label=method)
    if f"{axis}_low" in table:
        interval = table[f"{axis}_low"], table[f"{axis}_high"]
        axes.fill_between(frame, *interval, color="tab:blue", alpha=0.18, linewidth=0, label="90 % interval")
    if support.any():
        # The linear baseline passes through the labels as given; those of other methods may differ from them.
        given = tables.get("linear", table)[axis][support.to_numpy()]
        axes.plot(frame[support], given, "o", color="tab:orange", markersize=6, label="support")
    axes.set(ylabel=axis, ylim=(-1.05, 1.05))
    axes.grid(color="0.92")


def expression_trace_figure(clip: str, table: pd.DataFrame, names: tuple[str, ...]) -> Figure:
    """Plot the probabilities of the expressions over the frames of a track, stacked.

    Args:
        clip: name of the clip.
        table: frame, and a column p_<name> per expression.
        names: names of the expressions.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.stackplot(table["frame"], *(table[f"p_{name}"] for name in names), labels=names, step="mid", alpha=0.85)
    axes.set(xlabel="frame", ylabel="probability", ylim=(0, 1))
    axes.margins(x=0)
    axes.set_title(f"clip {clip}", loc="left")
    figure.legend(loc="outside right center", frameon=False, reverse=True)
    return figure


def plane_figure(table: pd.DataFrame) -> Figure:
    """Plot all labels of a table in the valence-arousal plane, with the support labels and the truth if known.

    Args:
        table: valence, arousal and support, and possibly valence_true and arousal_true.
    """
    figure = Figure(figsize=(5.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    if "valence_true" in table:
        axes.scatter(table["valence_true"], table["arousal_true"], s=9, color="0.75", linewidths=0, label="truth")
    axes.scatter(table["valence"], table["arousal"], s=5, color="tab:blue", alpha=0.4, linewidths=0, label="labels")
    support = table[table["support"]]
    if len(support):
        axes.scatter(support["valence"], support["arousal"], s=14, color="tab:orange", linewidths=0, label="support")
    axes.axhline(0, color="0.85", zorder=0)
    axes.axvline(0, color="0.85", zorder=0)
    for x, y, corner in ((-1, 1, "angry, afraid"), (1, 1, "excited"), (-1, -1, "sad, tired"), (1, -1, "calm")):
        axes.text(x, y, corner, ha="left" if x < 0 else "right", va="top" if y > 0 else "bottom", color="0.5")
    axes.set(xlabel="valence", ylabel="arousal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    axes.legend(loc="center left", fontsize=8, framealpha=0.8)
    return figure
