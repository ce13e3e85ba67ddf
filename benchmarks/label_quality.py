"""Measures the quality of labels: every method with every kind of support-set, on people unknown to the network.

    python mtclar.py --name quality --demo.people 2400 --data.root data/demo_quality --train.epochs 30
    python benchmarks/label_quality.py --checkpoint runs/mtclar/<run>/best.pt --plot curve.png
    python benchmarks/label_quality.py --seeds 201 202 --hard_seeds 203      other people, harder scenes

Renders one demo set per seed: 24 people with 60 frames each; "long": 12 people with 240 frames; "minutes": 6 people
with 1,500 frames; and one set of 12 people with 240 frames for each kind of trace in unlike_traces.py. The network was
not trained on these people, and the calibration was not fitted on them. Labels each clip by every method, and prints:

- RMSE and CCC on the frames without a label, coverage and width of the 90 % intervals, and the expected error;
- how many suggested labels give the error of evenly spaced ones;
- which wrong labels the audit finds;
- what noisy labels do: the error that is estimated for them, and RMSE, coverage and expected error against the truth;
- clips without a label of their own, labelled from other people;
- whether the frame rate matters: clips of 100 frames per second, and every 2nd, 4th and 8th frame of them.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.unlike_traces import UNLIKE_TRACES
from datasets.afewva import read_afewva
from datasets.columns import AXES
from datasets.demo.dataset import LabelTrace, render_demo
from datasets.demo.traces import FRAME_RATE, label_trace
from datasets.splits import Splits
from models.mtclar import MTCLAR
from utils.compute.data import CropReader, read_splits
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.encoding import encode_crops_eagerly
from utils.compute.runtime import make_runtime
from utils.config.labelling import MTCLAR_EVIDENCE, LabelSettings
from utils.config.layers import merge_layers
from utils.labelling.anchors import FUSED
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.dataset import label_dataset, with_estimated_errors
from utils.labelling.dataset_calibration.calibrate_clips import calibrate, clips_to_calibrate_on
from utils.labelling.dataset_calibration.read_or_fit import calibration_for_dataset
from utils.labelling.labeller import Labeller
from utils.labelling.scores import score_methods
from utils.labelling.suggestion.suggest import expected_error
from utils.labelling.support import middles_of_parts
from utils.labelling.types import Anchors
from utils.runs.checkpoint import load_mtclar
from utils.runs.trained import checkpoint_path, label_settings

BUDGETS = (1, 2, 3, 4, 5, 7, 10, 14)  # labels per clip of 60 frames
MINUTE_BUDGETS = (6, 12, 24, 48, 96)  # labels per minute: one in ten seconds, and more
TRACE_BUDGETS = (4, 12, 28)  # labels per clip of 240 frames
STRATEGIES = (("first", 1), ("every_n", 40), ("every_n", 20), ("every_n", 10))
OTHER_PEOPLE, LABELS_PER_PERSON = (1, 5), 3  # whose labels serve clips without a label of their own
FRAME_RATE_STEPS, FASTEST = (1, 2, 4, 8), 100.0  # every n-th frame of clips with this frame rate
LABELS_PER_WRONG_LABEL, SHIFT = 10, 0.6  # the audit's test: one label in ten is wrong by this much

ANNOTATORS = {  # gain, offset and standard deviation of an annotator's labels
    "exact": (1.0, 0.0, 0.0),
    "σ 0.05": (1.0, 0.0, 0.05),
    "σ 0.1": (1.0, 0.0, 0.1),
    "σ 0.2": (1.0, 0.0, 0.2),
    "gain 0.8, offset 0.15": (0.8, 0.15, 0.0),
}


class TestSet(NamedTuple):
    """Demo sets of one kind, which differ in their seeds only; see `render_demo`.

    Attributes:
        name: name of the kind.
        seeds: one demo set is rendered per seed.
        people: number of people, each with one clip.
        frames: frames per clip.
        hard: whether the scenes are harder.
        budgets: numbers of labels per clip, for evenly spaced and for suggested frames.
        trace: draws the labels of a clip.
    """

    name: str
    seeds: list[int]
    people: int = 24
    frames: int = 60
    hard: bool = False
    budgets: tuple[int, ...] = BUDGETS
    trace: LabelTrace = label_trace

    def support_sets(self) -> list[tuple[str, int]]:
        """Strategy and amount of each support-set that the clips are labelled from."""
        by_budget = [(strategy, amount) for strategy in ("uniform_k", "suggested") for amount in self.budgets]
        return [*STRATEGIES, *by_budget]


class EncodedFrames(ClipReader):
    """The clips of one frame table, encoded once and kept in memory.

    They are not cached on disk, since a network with random weights has no checkpoint.

    Attributes:
        labeller: labels the clips.
        clips: the clips.
    """

    def __init__(self, labeller: Labeller, frames: pd.DataFrame, settings: LabelSettings):
        self.labeller, self.encoder = labeller, labeller.encoder
        self.crop_reader, self.estimators = CropReader(settings), ()
        self.clips = super().read(frames)

    def read(self, frames: pd.DataFrame) -> list[DatasetClip]:
        return self.clips

    def embed(self, tables: list[pd.DataFrame]) -> list[Tensor]:
        model, runtime = self.encoder.model, self.encoder.runtime
        return [encode_crops_eagerly(model, self.crop_reader(table), runtime) for table in tables]


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    arguments = parse()
    trained, random, settings = make_labellers(arguments.checkpoint)
    normal, *others = test_sets(arguments)
    frames = render(arguments.folder, normal)
    clips = EncodedFrames(trained, frames, settings)
    scores = [score(clips, normal, support_set, settings) for support_set in normal.support_sets()]
    audited = score_audit(trained, clips.clips)
    noisy, foreign = [score_annotators(clips, normal)], [score_foreign(clips, normal)]
    random_clips = EncodedFrames(random, frames, settings)
    for amount in (10, 20, 40):
        scores.append(score(random_clips, normal._replace(name="random weights"), ("every_n", amount), settings))
    for kind in others:
        clips = EncodedFrames(trained, render(arguments.folder, kind), settings)
        scores += [score(clips, kind, support_set, settings) for support_set in kind.support_sets()]
        noisy.append(score_annotators(clips, kind))
        foreign.append(score_foreign(clips, kind))
    table = pd.concat(scores, ignore_index=True)
    table.to_csv(arguments.folder / "label_quality.csv", index=False)
    print_tables(table)
    annotators = pd.concat(noisy, ignore_index=True)
    annotators.to_csv(arguments.folder / "annotators.csv", index=False)
    print(f"\nlabels of imperfect annotators\n{annotators.to_string(index=False, float_format='{:.3f}'.format)}")
    print(f"\naudit, one label in {LABELS_PER_WRONG_LABEL} shifted by {SHIFT}: {audited}")
    foreign_scores = pd.concat(foreign, ignore_index=True).to_string(index=False, float_format="{:.3f}".format)
    print(f"\nclips without a label of their own, {LABELS_PER_PERSON} labels of each other person\n{foreign_scores}")
    frame_rates = score_frame_rates(trained, arguments.folder, arguments.rate_seeds, settings)
    print(f"\nthe same clips at other frame rates\n{frame_rates.to_string(index=False, float_format='{:.3f}'.format)}")
    if arguments.plot:
        plot_rmse(table[table["set"] == normal.name]).savefig(arguments.plot, dpi=120)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="best.pt of a mtclar.py run on the demo set (default: newest)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[111, 112], help="demo seeds of the normal set")
    parser.add_argument("--hard_seeds", type=int, nargs="+", default=[113, 114], help="of the set of harder scenes")
    parser.add_argument("--long_seeds", type=int, nargs="+", default=[115], help="of the set of long clips")
    parser.add_argument("--minute_seeds", type=int, nargs="+", default=[116], help="of the set of clips of a minute")
    parser.add_argument("--trace_seeds", type=int, nargs="+", default=[117], help="of each set of unlike traces")
    parser.add_argument("--rate_seeds", type=int, nargs="+", default=[118], help="of the set of 100 frames per second")
    parser.add_argument("--folder", type=Path, default=Path("data/label_quality"), help="for demo sets and the table")
    parser.add_argument("--plot", type=Path, help="write a plot of RMSE against the number of labels to this PNG file")
    return parser.parse_args()


def test_sets(arguments: argparse.Namespace) -> list[TestSet]:
    """The test sets; the first one is also labelled with random weights and audited."""
    return [
        TestSet("normal", arguments.seeds),
        TestSet("harder", arguments.hard_seeds, hard=True),
        TestSet("long", arguments.long_seeds, 12, 240, budgets=tuple(4 * amount for amount in BUDGETS)),
        TestSet("minutes", arguments.minute_seeds, 6, 1500, budgets=MINUTE_BUDGETS),
        *(
            TestSet(name, arguments.trace_seeds, 12, 240, budgets=TRACE_BUDGETS, trace=trace)
            for name, trace in UNLIKE_TRACES.items()
        ),
    ]


def make_labellers(checkpoint: Path | None) -> tuple[Labeller, Labeller, LabelSettings]:
    """Make a labeller with the trained network, and one with random weights, both calibrated on the validation clips.

    Args:
        checkpoint: best.pt of a mtclar.py run; None: that of the newest run.

    Returns:
        The two labellers, and the settings with the data set of the training run.
    """
    layers = [("defaults", {}), ("command line", {"checkpoint": checkpoint} if checkpoint else {})]
    path = checkpoint_path(merge_layers(LabelSettings, layers))
    model, training_settings = load_mtclar(path)
    settings = label_settings(layers, path, training_settings)
    runtime, validation = make_runtime(settings.runtime), read_splits(settings).validation
    encoder = ClipEncoder(runtime.to_device(model), runtime)
    cache = EmbeddingCache(path.parent / "embeddings", path, runtime)
    reader = ClipReader(encoder, CropReader(settings), cache, settings.data.workers)
    trained = Labeller(encoder, calibration_for_dataset(reader, validation, path, settings))
    torch.manual_seed(0)
    random_model = MTCLAR(training_settings["model"]["width"], training_settings["model"]["fusion"]).eval()
    random = Labeller(ClipEncoder(runtime.to_device(random_model), runtime))
    calibration_frames = clips_to_calibrate_on(validation)
    if len(calibration_frames):
        clips = EncodedFrames(random, calibration_frames, settings).clips
        random = Labeller(random.encoder, calibrate(random.encoder, clips))
    return trained, random, settings


def render(folder: Path, kind: TestSet, frame_rate: float = FRAME_RATE) -> pd.DataFrame:
    """The frame table of a test set. Demo sets that are missing in the folder are rendered."""
    parts = []
    for seed in kind.seeds:
        root = folder / f"{kind.name}_{seed}"
        render_demo(
            root, seed, kind.people, kind.frames, kind.frames, hard=kind.hard, trace=kind.trace, frame_rate=frame_rate
        )
        frames = read_afewva(root, None, 1.0, False)
        parts.append(frames.assign(clip=f"{seed}/" + frames["clip"]))
    return pd.concat(parts, ignore_index=True)


def score(clips: EncodedFrames, kind: TestSet, support_set: tuple[str, int], settings: LabelSettings) -> pd.DataFrame:
    """Label all clips and score every method.

    Args:
        clips: the clips.
        kind: the test set that they belong to.
        support_set: strategy and amount.
        settings: all other settings.

    Returns:
        One row per method: pooled scores, set, strategy, amount, mean number of labels per clip, and the expected RMSE
        of `fused` over both axes.
    """
    strategy, amount = support_set
    support_settings = settings.support_set.model_copy(update={"strategy": strategy, "amount": amount})
    settings = settings.model_copy(update={"support_set": support_settings})
    frames = pd.concat([clip.frames for clip in clips.clips])
    splits = Splits(train=frames, validation=frames, test=frames)  # Only the test set is read.
    tables = label_dataset(clips, clips.labeller, splits, settings, [MTCLAR_EVIDENCE]).tables
    expected, labels = [], 0
    for clip, (_, table) in zip(clips.clips, tables[FUSED].groupby("clip", sort=False), strict=True):
        indices = np.flatnonzero(table["support"])
        anchors = clip.anchors(indices, clip.labels[indices])
        expected.append(expected_error(clips.labeller.posteriors(clip.encoded, anchors)))
        labels += len(indices)
    scores = score_methods(tables, score_support=False)
    return scores[scores["average"] == "pooled"].assign(
        set=kind.name,
        strategy=strategy,
        amount=amount,
        labels=labels / len(clips.clips),
        expected=np.sqrt(np.mean(np.square(expected))),
    )


def score_audit(labeller: Labeller, clips: list[DatasetClip]) -> str:
    """Precision and recall of the audit, when one of ten evenly spaced labels of each clip is wrong on one axis."""
    rng, correct, listed = np.random.default_rng(0), 0, 0
    for clip in clips:
        count = LABELS_PER_WRONG_LABEL
        indices = ((np.arange(count) + 0.5) * len(clip.frames) / count).astype(int)
        labels = clip.labels[indices]
        wrong, axis = rng.integers(count), rng.integers(2)
        labels[wrong, axis] += -SHIFT if labels[wrong, axis] > 0 else SHIFT
        contradictions = labeller.audit(clip.encoded, clip.anchors(indices, labels))
        correct += any((found.anchor_index, found.axis) == (wrong, AXES[axis]) for found in contradictions)
        listed += len(contradictions)
    return f"precision {correct / max(listed, 1):.2f}, recall {correct / len(clips):.2f} ({len(clips)} clips)"


def score_annotators(clips: EncodedFrames, kind: TestSet) -> pd.DataFrame:
    """One row per annotator and support-set: estimated error of the labels, and `fused` against the truth."""
    rows = []
    for amount in (5, 10):
        for annotator, (gain, offset, std) in ANNOTATORS.items():
            rng, anchors = np.random.default_rng(0), []
            for clip in clips.clips:
                indices = np.arange(0, len(clip.frames), amount)
                labels = gain * clip.labels[indices] + offset + rng.normal(0, 1, (len(indices), 2)) * std
                anchors.append(clip.anchors(indices, np.clip(labels, -1, 1)))
            anchors = with_estimated_errors(clips.labeller, clips.clips, anchors)
            scores = score_fused(clips, anchors)
            row = {"set": kind.name, "annotator": annotator, "every": amount}
            rows.append(row | {"estimated": float(anchors[0].errors[0, 0])} | scores)
    return pd.DataFrame(rows)


def score_foreign(clips: EncodedFrames, kind: TestSet) -> pd.DataFrame:
    """One row per number of other people: `fused` and `mean` for clips that only other people's labels serve."""
    rows = []
    for people in OTHER_PEOPLE:
        errors: dict[str, list[np.ndarray]] = {FUSED: [], "mean": []}
        inside = []
        for number, clip in enumerate(clips.clips):
            others = [clips.clips[(number + 1 + step) % len(clips.clips)] for step in range(people)]
            anchors = foreign_anchors(others)
            for rule, parts in errors.items():
                labels = clips.labeller.label(clip.encoded, anchors, rule)
                parts.append((labels.values - clip.labels) ** 2)
                if labels.half_widths is not None:
                    inside.append(np.sqrt(parts[-1]) <= labels.half_widths)
        row: dict[str, object] = {"set": kind.name, "people": people}
        for column, axis in enumerate(AXES):
            row |= {f"{axis} RMSE, {rule}": np.sqrt(np.concatenate(errors[rule])[:, column].mean()) for rule in errors}
            row[f"{axis} coverage"] = np.concatenate(inside)[:, column].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def foreign_anchors(clips: list[DatasetClip]) -> Anchors:
    """LABELS_PER_PERSON frames of each clip, as anchors of another clip."""
    parts = []
    for clip in clips:
        indices = middles_of_parts(np.arange(len(clip.frames)), LABELS_PER_PERSON)
        parts.append(clip.anchors(indices, clip.labels[indices]))
    labels = np.concatenate([part.labels for part in parts])
    return Anchors(
        embeddings=torch.cat([part.embeddings for part in parts]),
        labels=labels,
        errors=np.zeros_like(labels),
        times=np.full(len(labels), np.nan),
        frames=np.concatenate([part.frames for part in parts]),
        indices=np.full(len(labels), -1),
        people=len(clips),
    )


def score_fused(clips: EncodedFrames, anchors: list[Anchors]) -> dict[str, float]:
    """RMSE and coverage per axis, real and expected RMSE of both, and the share of labels that the audit doubts."""
    labeller, errors, inside, expected, contradicted = clips.labeller, [], [], [], 0
    for clip, own in zip(clips.clips, anchors, strict=True):
        posteriors = labeller.posteriors(clip.encoded, own)
        labels = labeller.fused_labels(posteriors, own)
        unlabelled = np.delete(np.arange(len(clip.frames)), own.indices)
        deviations = (labels.values - clip.labels)[unlabelled]
        errors.append(deviations**2)
        inside.append(np.abs(deviations) <= labels.half_widths[unlabelled])
        expected.append(expected_error(posteriors) ** 2)
        contradicted += len(labeller.audit(clip.encoded, own))
    squares, coverage = np.concatenate(errors).mean(0), np.concatenate(inside).mean(0)
    scores = {f"{axis} RMSE": np.sqrt(square) for axis, square in zip(AXES, squares, strict=True)}
    scores |= {f"{axis} coverage": share for axis, share in zip(AXES, coverage, strict=True)}
    labelled = sum(own.labels.size for own in anchors)
    scores |= {"real": np.sqrt(squares.mean()), "expected": np.sqrt(np.mean(expected))}
    return scores | {"contradicted": contradicted / labelled}


def score_frame_rates(labeller: Labeller, folder: Path, seeds: list[int], settings: LabelSettings) -> pd.DataFrame:
    """One row per frame rate: `fused` with a label every 0.8 s, on the frames that all frame rates have."""
    kind = TestSet("100 fps", seeds, 12, 240)
    clips = EncodedFrames(labeller, render(folder, kind, FASTEST), settings).clips
    rows = []
    for step in FRAME_RATE_STEPS:
        sampled = [sample_clip(labeller, clip, step) for clip in clips]
        anchors = []
        for clip in sampled:
            indices = np.arange(0, len(clip.frames), 80 // step)
            anchors.append(clip.anchors(indices, clip.labels[indices]))
        shared = max(FRAME_RATE_STEPS) // step
        errors, inside = [], []
        for clip, own in zip(sampled, anchors, strict=True):
            labels = labeller.label(clip.encoded, own, FUSED)
            frames = np.setdiff1d(np.arange(0, len(clip.frames), shared), own.indices)
            deviations = (labels.values - clip.labels)[frames]
            errors.append(deviations**2)
            assert labels.half_widths is not None
            inside.append(np.abs(deviations) <= labels.half_widths[frames])
        row: dict[str, float] = {"frames per second": FASTEST / step}
        for column, axis in enumerate(AXES):
            row[f"{axis} RMSE"] = float(np.sqrt(np.concatenate(errors)[:, column].mean()))
            row[f"{axis} coverage"] = float(np.concatenate(inside)[:, column].mean())
        rows.append(row)
    return pd.DataFrame(rows)


def sample_clip(labeller: Labeller, clip: DatasetClip, step: int) -> DatasetClip:
    """Every n-th frame of a clip with the frame rate FASTEST."""
    frames = clip.frames.iloc[::step].reset_index(drop=True)
    encoded = labeller.encode_clip(clip.encoded.embeddings[::step], frames["frame"].to_numpy() / FASTEST)
    return DatasetClip(clip.name, frames, encoded)


def print_tables(scores: pd.DataFrame) -> None:
    """Print the scores of each test set, and how many labels suggestions save."""
    for kind, part in scores.groupby("set", sort=False):
        print(f"\n{kind}\n{score_table(part).to_string(float_format='{:.3f}'.format)}")
    for kind in ("normal", "long", "minutes"):
        print(f"\n{kind}: suggested labels that give the error of evenly spaced ones")
        table = suggested_labels_needed(scores[scores["set"] == kind])
        print(table.to_string(index=False, float_format="{:.3f}".format))


def score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of a test set, one row per support-set, valence / arousal in each cell.

    Columns: RMSE of each method; of `fused` also CCC, coverage and width of intervals, real and expected RMSE over both
    axes, RMSE relative to that of linear interpolation, and to the best of linear, hold and previous; and the method
    with the highest CCC.
    """
    rows = []
    for (strategy, amount), part in scores.groupby(["strategy", "amount"], sort=False):
        part = part.set_index("method")
        row = {"support": f"{strategy} {amount}"} | {method: both_axes(part, method, "RMSE") for method in part.index}
        row |= {name: both_axes(part, FUSED, name) for name in ("CCC", "coverage", "width")}
        real = np.sqrt(np.mean([part.loc[FUSED, f"{axis}_RMSE"] ** 2 for axis in AXES]))
        row["real/expected"] = f"{real:.3f}/{part.loc[FUSED, 'expected']:.3f}"
        for name, others in (("of linear", ["linear"]), ("of best", ["linear", "hold", "previous"])):
            ratios = (part.loc[FUSED, f"{axis}_RMSE"] / part.loc[others, f"{axis}_RMSE"].min() for axis in AXES)
            row[name] = "/".join(f"{ratio:.2f}" for ratio in ratios)
        row["best CCC"] = "/".join(part[f"{axis}_CCC"].idxmax() for axis in AXES)
        rows.append(row)
    return pd.DataFrame(rows).set_index("support")


def both_axes(scores: pd.DataFrame, method: str, name: str) -> str:
    """A score of a method as text, valence / arousal."""
    return "/".join(f"{scores.loc[method, f'{axis}_{name}']:.3f}" for axis in AXES)


def suggested_labels_needed(scores: pd.DataFrame) -> pd.DataFrame:
    """How many suggested labels of `fused` reach the error of evenly spaced ones.

    The error is the RMSE over both axes. It is interpolated between budgets, linearly in the logarithms. The number is
    NaN where no budget reaches the error.
    """
    fused = scores[scores["method"] == FUSED]
    error = fused.assign(error=np.sqrt((fused["valence_RMSE"] ** 2 + fused["arousal_RMSE"] ** 2) / 2))
    even, suggested = (error[error["strategy"] == name].sort_values("amount") for name in ("uniform_k", "suggested"))
    lowest = np.minimum.accumulate(suggested["error"].to_numpy())
    needed = np.exp(np.interp(-np.log(even["error"]), -np.log(lowest), np.log(suggested["amount"]), right=np.nan))
    return pd.DataFrame(
        {
            "even labels": even["amount"],
            "error": even["error"],
            "suggested labels needed": needed,
            "ratio": needed / even["amount"].to_numpy(),
        }
    )


def plot_rmse(scores: pd.DataFrame) -> Figure:
    """RMSE against labels per clip, one panel per axis."""
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    lines = (
        ("linear", "uniform_k", "linear interpolation, even labels", "0.5", ":"),
        ("previous", "uniform_k", "previous (paper), even labels", "tab:orange", "--"),
        (FUSED, "uniform_k", "fused, even labels", "tab:blue", "-"),
        (FUSED, "suggested", "fused, suggested labels", "tab:green", "-"),
    )
    for column, axis in enumerate(AXES):
        axes = figure.add_subplot(1, 2, column + 1)
        for method, strategy, name, colour, style in lines:
            part = scores[(scores["method"] == method) & (scores["strategy"] == strategy)].sort_values("amount")
            axes.plot(part["amount"], part[f"{axis}_RMSE"], style, color=colour, marker="o", markersize=4, label=name)
        axes.set(title=axis, xlabel="labels per clip of 60 frames", ylabel="RMSE", xscale="log", ylim=(0, None))
        axes.set_xticks(BUDGETS, BUDGETS)
        axes.minorticks_off()
        axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
