"""The report on the estimated labels of a data set: tables, figures, and a short table on standard output."""

from pathlib import Path

import pandas as pd

from datasets.columns import AXES
from utils.base.text import safe_name
from utils.config.sections import SupportSettings
from utils.labelling.anchors import FUSED
from utils.labelling.calibration.calibration import Calibration
from utils.labelling.calibration.file import FILE_NAME
from utils.labelling.dataset import DatasetLabels
from utils.labelling.scores import score_methods
from utils.metrics import SCORES
from utils.plots import plane_figure, trace_figure
from utils.runs.run_folder import RunFolder


def report_labels(labels: DatasetLabels, settings: SupportSettings, run: RunFolder) -> pd.DataFrame:
    """Score every method, and write and print the results.

    Writes labels.csv (estimated labels of the chosen rule), scores.csv, figures and, where they apply, audit.csv (given
    labels that the others contradict) and calibration.json (evidence fitted to the given labels). Prints the scores as
    a table.

    Args:
        labels: the labels of the data set.
        settings: the chosen rule, whether support frames are scored, and how many clips to plot.
        run: the folder to write to.

    Returns:
        The scores, as `score_methods` gives them.
    """
    tables, contradictions, adapted = labels
    chosen = tables[settings.rule]
    scores = score_methods(tables, settings.score_support)
    run.save_table("labels.csv", chosen)
    run.save_table("scores.csv", scores)
    if len(contradictions):
        run.save_table("audit.csv", contradictions)
    if adapted:
        run.save_json(FILE_NAME, adapted)
    plots = [run.save_figure(f"plane_{settings.rule}.png", plane_figure(chosen))]
    for clip in chosen["clip"].value_counts(sort=True).index[: settings.plots]:
        clip_tables = {method: table[table["clip"] == clip] for method, table in tables.items()}
        plots.append(run.save_figure(f"clip_{safe_name(clip)}.png", trace_figure(clip, settings.rule, clip_tables)))
    support = chosen["support"]
    scored = "all frames" if settings.score_support else "frames without a support label"
    known = chosen[f"{AXES[0]}_true"].notna()
    if not known.all():
        scored = f"{scored} whose true label is known ({(known & (~support | settings.score_support)).sum()})"
    print(
        f"\n{len(chosen)} frames of {chosen['clip'].nunique()} clips, {support.sum()} of them support frames "
        f"({support.mean():.1%}); scored: {scored}"
    )
    single = (chosen.groupby("clip")["support"].sum() == 1).sum()
    print(f"{single} clips have one support frame, where linear interpolation is constant\n" if single else "")
    print(method_table(scores))
    print("".join(missing_estimates(scores)) + interval_line(scores))
    if len(contradictions):
        print(f"{len(contradictions)} support labels are contradicted by the others of their clip: see audit.csv")
    print(f"\nrun folder  {run.path}\nplot        {plots[-1]}")
    return scores


def method_table(scores: pd.DataFrame) -> str:
    """The scores as text, one row per method.

    The last column lists the axes on which linear interpolation has an equal or smaller RMSE.
    """
    pooled, clips = (scores[scores["average"] == kind].set_index("method") for kind in ("pooled", "clips"))
    columns = {}
    for axis in AXES:
        for name in SCORES:
            columns[f"{axis[0]} {name}"] = pooled[f"{axis}_{name}"]
        columns[f"{axis[0]} CCC/clip"] = clips[f"{axis}_CCC"]
    table = pd.DataFrame(columns)
    errors = pooled[[f"{axis}_RMSE" for axis in AXES]]
    no_better = ~(errors < errors.loc["linear"])
    no_better.loc["linear"] = False
    table["no better than linear"] = [
        ", ".join(axis for axis in AXES if row[f"{axis}_RMSE"]) for _, row in no_better.iterrows()
    ]
    return table.rename_axis(None).to_string(float_format="{:.3f}".format)


def missing_estimates(scores: pd.DataFrame) -> list[str]:
    """A line of text for each method that has no value for some of the scored frames."""
    pooled = scores[scores["average"] == "pooled"]
    most = pooled["frames"].max()
    return [
        f"\n{row['method']}: scored on the {row['frames']} of {most} frames that it has estimates for"
        for _, row in pooled[pooled["frames"] < most].iterrows()
    ]


def interval_line(scores: pd.DataFrame) -> str:
    """A line of text: coverage and mean width of the 90 % intervals of fused labels."""
    fused = scores[(scores["method"] == FUSED) & (scores["average"] == "pooled")].iloc[0]
    parts = [f"{axis} coverage {fused[f'{axis}_coverage']:.1%}, width {fused[f'{axis}_width']:.2f}" for axis in AXES]
    return f"\n90 % intervals of {FUSED}: {'; '.join(parts)}"


def report_calibration(calibration: Calibration, checkpoint: Path) -> None:
    """Print what was fitted on the user's own videos, and where it is saved."""
    print(f"\ncalibrated on {calibration.clips} clips of {calibration.fitted_on}")
    for axis, fitted in zip(AXES, calibration.axes, strict=True):
        evidence, widths = fitted.with_evidence.sources[0], fitted.interval_widths.widths
        print(
            f"{axis:8} error of the evidence: {evidence.ou:.2f} slow, {evidence.observation_noise:.2f} per frame; "
            f"scatter of the labels: {fitted.with_evidence.process.nugget:.2f}; 90 % intervals: ± {min(widths):.2f} to "
            f"{max(widths):.2f} standard deviations"
        )
    print(f"\nsaved in    {checkpoint.parent / FILE_NAME}")
