"""The report of mtclar.py: scores, tables and figures of the test pairs."""

import pandas as pd

from datasets.columns import AXES
from models.mtclar import MTCLAR
from utils.compute.runtime import Runtime
from utils.metrics import SCORES
from utils.plots import delta_figure, pair_sheet, similarity_figure
from utils.runs.run_folder import RunFolder
from utils.training.pair_evaluation import PairEvaluator


def report_pairs(test: PairEvaluator, model: MTCLAR, runtime: Runtime, run: RunFolder) -> dict[str, float]:
    """Evaluate the network on the test pairs; write predictions.csv, scores.json and figures, and print the scores.

    Args:
        test: evaluates the network on the test pairs.
        model: the network, on the runtime's device.
        runtime: device and precision.
        run: folder to write to.

    Returns:
        The scores by name, as in scores.json.
    """
    table, scores = test.evaluate(model, runtime)
    run.save_table("predictions.csv", table)
    run.save_json("scores.json", scores)
    confusion = run.save_figure("similarity_confusion.png", similarity_figure(table))
    scatter = run.save_figure("delta_scatter.png", delta_figure(table))
    sheet = run.save_figure("pairs.png", pair_sheet(test.crops, table, test.pairs.first, test.pairs.second))
    images, subjects = len(test.frames), test.frames["subject"].nunique()
    # AffectNet does not name the people: each of its images counts as a subject.
    print(f"\n{len(table)} test pairs of {f'{subjects} people' if subjects < images else f'{images} images'}")
    print(f"similarity accuracy {scores['similarity_accuracy']:.3f}\n")
    print(delta_table(scores))
    print(f"\nrun folder  {run.path}\nplots       {confusion}\n            {scatter}\n            {sheet}")
    return scores


def delta_table(scores: dict[str, float]) -> str:
    """Format the regression scores as text: a row for Δvalence and one for Δarousal, a column per score."""
    rows = {f"Δ{axis}": {name: scores.get(f"delta_{axis}_{name}") for name in SCORES} for axis in AXES}
    table = pd.DataFrame.from_dict(rows, orient="index", dtype=float)
    return table.to_string(float_format="{:.3f}".format, na_rep="not labelled")
