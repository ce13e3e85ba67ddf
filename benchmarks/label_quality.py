"""How good labels are: every method by every kind of support-set, on demo sets that the network has never seen.

    python mtclar.py --name quality --demo.people 2400 --data.root data/demo_quality --train.epochs 30
    python benchmarks/label_quality.py --checkpoint runs/mtclar/<run>/best.pt --plot curve.png
    python benchmarks/label_quality.py --seeds 201 202 --hard_seeds 203      other people, harder scenes

Renders a demo set a seed (24 people, 60 frames each; of a long one 12 people, 240 frames each; of minutes 6 people,
1,500 frames each), none of whose people the network was trained on, and to which nothing was fitted; labels each clip
from a support-set by every method; prints RMSE and CCC on the frames that were not labelled, coverage and width of the
90 % intervals, the error that was expected, how many suggested labels are as good as so many even ones, and what the
audit finds; draws RMSE against labels.
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

from datasets.afewva import read_afewva
from datasets.annotations import AXES
from datasets.demo import render_demo
from models.mtclar import MTCLAR
from utils.checkpoint import load_mtclar
from utils.config import merge_layers
from utils.data import CropReader, read_splits
from utils.embed import EmbeddingCache, embed
from utils.fused.audit import audit
from utils.fused.calibration import fit_on_clips, fusion_for_dataset, long_clips
from utils.fused.fusion import Fusion
from utils.fused.suggest import expected_error
from utils.label_dataset import DatasetClip, anchors_at, choose_support, clip_table
from utils.labelling import FRAME_RATE, fuse, label_by_all, see_clip
from utils.runtime import Runtime, make_runtime
from utils.scoring import score_methods
from utils.settings import LabelSettings
from utils.support_set import FUSED
from utils.trained import checkpoint_path, label_settings

BUDGETS = (1, 2, 3, 4, 5, 7, 10, 14)  # labels a 60 frames
A_MINUTE = (6, 12, 24, 48, 96)  # labels a minute: one in 10 seconds and more
FIXED = (("first", 1), ("every_n", 40), ("every_n", 20), ("every_n", 10))
SLIP, ONE_IN = 0.6, 10  # the audit's test: one label in ten is this far off


class Set(NamedTuple):
    """Demo sets of one kind."""

    name: str
    seeds: list[int]
    people: int = 24
    frames: int = 60
    hard: bool = False
    budgets: tuple[int, ...] = BUDGETS

    def supports(self) -> list[tuple[str, int]]:
        """(strategy, amount) to label each clip from."""
        return [*FIXED, *((strategy, amount) for strategy in ("uniform_k", "suggested") for amount in self.budgets)]


class Network(NamedTuple):
    """What labels: a Siamese network and what was fitted on its validation clips."""

    model: MTCLAR
    fusion: Fusion
    runtime: Runtime
    settings: LabelSettings


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    arguments = parse()
    trained, untrained = read_networks(arguments)
    normal = Set("normal", arguments.seeds)
    scores = []
    sets = (
        normal, Set("harder", arguments.hard_seeds, hard=True),
        Set("long", arguments.long_seeds, 12, 240, budgets=tuple(4 * amount for amount in BUDGETS)),
        Set("minutes", arguments.minute_seeds, 6, 1500, budgets=A_MINUTE),
    )  # fmt: skip
    for kind in sets:
        frames = set_frames(arguments.folder, kind)
        clips = see_frames(trained, frames)
        scores += [score(trained, clips, *support).assign(set=kind.name) for support in kind.supports()]
        if kind is normal:
            blind = see_frames(untrained, frames)
            for amount in (10, 20, 40):
                scores.append(score(untrained, blind, "every_n", amount).assign(set="random weights"))
            found = audit_scores(trained, clips)
    table = pd.concat(scores, ignore_index=True)
    table.to_csv(arguments.folder / "label_quality.csv", index=False)
    for kind, part in table.groupby("set", sort=False):
        print(f"\n{kind}\n{wide(part).to_string(float_format='{:.3f}'.format)}")
    for kind in (normal.name, "long", "minutes"):
        print(f"\n{kind}: suggested labels for the error of even ones")
        print(saved_labels(table[table["set"] == kind]).to_string(index=False, float_format="{:.3f}".format))
    print(f"\naudit of one label in {ONE_IN} shifted by {SLIP}: {found}")
    if arguments.plot:
        curve(table[table["set"] == normal.name]).savefig(arguments.plot, dpi=120)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="best.pt of a mtclar.py run on the demo set (default: newest)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[111, 112])
    parser.add_argument("--hard_seeds", type=int, nargs="+", default=[113, 114])
    parser.add_argument("--long_seeds", type=int, nargs="+", default=[115])
    parser.add_argument("--minute_seeds", type=int, nargs="+", default=[116])
    parser.add_argument("--folder", type=Path, default=Path("data/label_quality"), help="for demo sets and the table")
    parser.add_argument("--plot", type=Path, help="PNG of RMSE against labels")
    return parser.parse_args()


def read_networks(arguments: argparse.Namespace) -> tuple[Network, Network]:
    """The trained network, and one of random weights with a fusion fitted in the same way."""
    named = {"checkpoint": arguments.checkpoint} if arguments.checkpoint else {}
    layers = [("defaults", {}), ("command line", named)]
    checkpoint = checkpoint_path(merge_layers(LabelSettings, layers))
    model, trained = load_mtclar(checkpoint)
    settings = label_settings(layers, checkpoint, trained)
    runtime = make_runtime(settings.runtime)
    splits, crops = read_splits(settings), CropReader(settings)
    model = runtime.place(model)
    cache = EmbeddingCache(checkpoint.parent / "embeddings", checkpoint, runtime)
    fusion = fusion_for_dataset(model, splits.validation, crops, cache, checkpoint, settings, runtime)
    torch.manual_seed(0)
    blind = runtime.place(MTCLAR(settings.model.width, settings.model.fusion).eval())
    unseen = Network(blind, fusion, runtime, settings)
    return Network(model, fusion, runtime, settings), unseen._replace(
        fusion=fit_on_clips(see_frames(unseen, long_clips(splits.validation)))
    )


def set_frames(folder: Path, kind: Set) -> pd.DataFrame:
    """The frame table of all its demo sets, which are rendered where they are not there."""
    parts = []
    for seed in kind.seeds:
        root = folder / f"{kind.name}_{seed}"
        render_demo(root, seed, kind.people, kind.frames, kind.frames, hard=kind.hard)
        frames = read_afewva(root, None, 1.0, False)
        parts.append(frames.assign(clip=f"{seed}/" + frames["clip"]))
    return pd.concat(parts)


def see_frames(network: Network, frames: pd.DataFrame) -> list[DatasetClip]:
    """Each clip of a frame table, encoded."""
    crops, clips = CropReader(network.settings), []
    for name, part in frames.groupby("clip", sort=False):
        part = part.reset_index(drop=True)
        embeddings = embed(network.model, crops(part), network.runtime)
        times = part["frame"].to_numpy() / FRAME_RATE
        clips.append(DatasetClip(name, part, see_clip(network.model, network.runtime, embeddings, times)))
    return clips


def score(network: Network, clips: list[DatasetClip], strategy: str, amount: int) -> pd.DataFrame:
    """A row a method: pooled scores of all clips by this support-set, and how many labels a clip it takes."""
    support = network.settings.support_set.model_copy(update={"strategy": strategy, "amount": amount})
    settings = network.settings.model_copy(update={"support_set": support})
    tables: dict[str, list[pd.DataFrame]] = {}
    labels, expected = 0, []
    for number, clip in enumerate(clips):
        places = choose_support(clip, number, settings, network.fusion)
        anchors = anchors_at(clip, places, clip.frames[list(AXES)].to_numpy(np.float64)[places])
        labels += len(places)
        traces = fuse(network.model, network.runtime, clip.seen, anchors, network.fusion)
        expected.append(expected_error(traces))
        found = label_by_all(network.model, network.runtime, clip.seen, anchors, network.fusion)
        for method, values in found.items():
            tables.setdefault(method, []).append(clip_table(clip, anchors, values))
    scores = score_methods({method: pd.concat(parts) for method, parts in tables.items()}, False)
    pooled = scores[scores["average"] == "pooled"]
    error = np.sqrt(np.mean(np.square(expected)))
    return pooled.assign(strategy=strategy, amount=amount, labels=labels / len(clips), expected=error)


def audit_scores(network: Network, clips: list[DatasetClip]) -> str:
    """Ten labels a clip, one of them shifted on one axis: what of it the audit lists, and what else."""
    rng, right, listed = np.random.default_rng(0), 0, 0
    for clip in clips:
        places = ((np.arange(ONE_IN) + 0.5) * len(clip.frames) / ONE_IN).astype(int)
        labels = clip.frames[list(AXES)].to_numpy(np.float64)[places]
        wrong, axis = rng.integers(ONE_IN), rng.integers(2)
        labels[wrong, axis] += -SLIP if labels[wrong, axis] > 0 else SLIP
        doubts = audit(clip.seen, anchors_at(clip, places, labels), network.fusion)
        right += any((doubt.anchor, doubt.axis) == (wrong, AXES[axis]) for doubt in doubts)
        listed += len(doubts)
    return f"precision {right / max(listed, 1):.2f}, recall {right / len(clips):.2f} ({len(clips)} clips)"


def wide(scores: pd.DataFrame) -> pd.DataFrame:
    """A row a support-set, valence / arousal: RMSE of each method; of `fused` also CCC, intervals, error of both axes
    and the expected one, its RMSE as a share of the straight line's and of the best of line, hold and previous,
    and whether its CCC is the best.
    """
    rows = []
    for (strategy, amount), part in scores.groupby(["strategy", "amount"], sort=False):
        part = part.set_index("method")
        row = {"support": f"{strategy} {amount}"} | {method: _both(part, method, "RMSE") for method in part.index}
        row |= {name: _both(part, FUSED, name) for name in ("CCC", "coverage", "width")}
        real = np.sqrt(np.mean([part.loc[FUSED, f"{axis}_RMSE"] ** 2 for axis in AXES]))
        row["error/expected"] = f"{real:.3f}/{part.loc[FUSED, 'expected']:.3f}"
        for name, others in (("of line", ["linear"]), ("of best", ["linear", "hold", "previous"])):
            shares = (part.loc[FUSED, f"{axis}_RMSE"] / part.loc[others, f"{axis}_RMSE"].min() for axis in AXES)
            row[name] = "/".join(f"{share:.2f}" for share in shares)
        row["best CCC"] = "/".join(part[f"{axis}_CCC"].idxmax() for axis in AXES)
        rows.append(row)
    return pd.DataFrame(rows).set_index("support")


def _both(part: pd.DataFrame, method: str, name: str) -> str:
    return "/".join(f"{part.loc[method, f'{axis}_{name}']:.3f}" for axis in AXES)


def saved_labels(scores: pd.DataFrame) -> pd.DataFrame:
    """How many suggested labels reach the error of so many even ones: mean RMSE of both axes, between budgets by
    the straight line in the logarithms; NaN where no number of them tried does."""
    fused = scores[scores["method"] == FUSED]
    error = fused.assign(error=np.sqrt((fused["valence_RMSE"] ** 2 + fused["arousal_RMSE"] ** 2) / 2))
    even, asked = (error[error["strategy"] == name].sort_values("amount") for name in ("uniform_k", "suggested"))
    reached = np.minimum.accumulate(asked["error"].to_numpy())
    needed = np.exp(np.interp(-np.log(even["error"]), -np.log(reached), np.log(asked["amount"]), right=np.nan))
    return pd.DataFrame({
        "even labels": even["amount"], "error": even["error"], "suggested labels needed": needed,
        "share": needed / even["amount"].to_numpy(),
    })  # fmt: skip


def curve(scores: pd.DataFrame) -> Figure:
    """Labels a clip against RMSE, a panel an axis."""
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    lines = (
        ("linear", "uniform_k", "straight line, even labels", "0.5", ":"),
        ("previous", "uniform_k", "previous (paper), even labels", "tab:orange", "--"),
        (FUSED, "uniform_k", "fused, even labels", "tab:blue", "-"),
        (FUSED, "suggested", "fused, suggested labels", "tab:green", "-"),
    )
    for place, axis in enumerate(AXES):
        axes = figure.add_subplot(1, 2, place + 1)
        for method, strategy, name, colour, style in lines:
            part = scores[(scores["method"] == method) & (scores["strategy"] == strategy)].sort_values("amount")
            axes.plot(part["amount"], part[f"{axis}_RMSE"], style, color=colour, marker="o", markersize=4, label=name)
        axes.set(title=axis, xlabel="labels a clip of 60 frames", ylabel="RMSE", xscale="log", ylim=(0, None))
        axes.set_xticks(BUDGETS, BUDGETS)
        axes.minorticks_off()
        axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
