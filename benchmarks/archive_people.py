"""Measures labelling from labels that the clips of a person share, and from the labels of each clip alone.

    python benchmarks/archive_people.py --checkpoint runs/mtclar/<run>/best.pt --plot shared.png

Renders ten people with five clips of 240 frames each, and as many in harder scenes. Each clip gets 0, 1, 2, 4 or 6
evenly spaced labels; with 60 labels, one clip of each person gets two and the others one. Clips are labelled alone and
with the labels of their person. Prints RMSE, coverage of the 90 % intervals and expected error over the frames without
a label.

Needs a network trained on the demo set, and its calibration: run fsl_mtclar.py first. The network is not trained on the
people rendered here.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.label_quality import EncodedFrames
from datasets.afewva import read_afewva
from datasets.columns import AXES
from datasets.demo.dataset import render_demo
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.layers import merge_layers
from utils.labelling.calibration.file import read_calibration
from utils.labelling.clip_calibration.shots import fit_shot_offsets
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import DatasetClip
from utils.labelling.labeller import Labeller
from utils.labelling.support import middles_of_parts
from utils.labelling.types import Anchors, EncodedClip
from utils.runs.checkpoint import load_mtclar
from utils.runs.trained import checkpoint_path, label_settings

PEOPLE, CLIPS, FRAMES = 10, 5, 240


class Budget(NamedTuple):
    """Given labels of the clips of a person.

    Attributes:
        name: name in the table.
        labels: number of labels of each clip.
        scored: indices of the clips that are scored.
    """

    name: str
    labels: tuple[int, ...]
    scored: tuple[int, ...] = tuple(range(CLIPS))


BUDGETS = (
    *(Budget(f"0 of its own, {count} elsewhere", (0, *[count] * (CLIPS - 1)), (0,)) for count in (1, 3)),
    Budget("0 of its own, 3 in one other clip", (3, 0, 0, 0, 0), (1, 2, 3, 4)),
    Budget("1", (1,) * CLIPS),
    Budget("1.2", (2, 1, 1, 1, 1)),
    *(Budget(str(count), (count,) * CLIPS) for count in (2, 3, 4, 6)),
)


class Person(NamedTuple):
    """A person with several clips.

    Attributes:
        clips: the clips.
        shared: the encoded clips, with evidence relative to the person.
    """

    clips: list[DatasetClip]
    shared: list[EncodedClip]


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    arguments = parse()
    labeller, settings = load_labeller(arguments.checkpoint)
    tables = []
    for name, seeds in (("normal", arguments.seeds), ("harder scenes", arguments.hard_seeds)):
        if not seeds:
            continue
        frames = pd.concat([render(arguments.folder, seed, name != "normal") for seed in seeds], ignore_index=True)
        clips = EncodedFrames(labeller, frames, settings).clips
        fitted = fit_shot_offsets(labeller.encoder, labeller.calibration, clips)
        for axis, fit, used in zip(AXES, fitted.axes, labeller.calibration.axes, strict=True):
            shot, assumed = (each.with_evidence.sources[0].shot_offset for each in (fit, used))
            print(f"{name}, {axis}: standard deviation of the shot's offset {shot:.3f}, assumed {assumed:.3f}")
        people = people_of(clips, labeller)
        tables += [
            score(labeller, people, budget, shared) | {"set": name} for budget in BUDGETS for shared in (False, True)
        ]
    table = pd.DataFrame(tables).set_index("set")
    print(table.to_string(float_format="{:.3f}".format))
    if arguments.plot:
        plot(table.loc["normal"]).savefig(arguments.plot, dpi=120)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="best.pt of a mtclar.py run on the demo set (default: newest)")
    parser.add_argument("--seeds", type=int, nargs="*", default=[401], help="demo seeds of the normal set")
    parser.add_argument("--hard_seeds", type=int, nargs="*", default=[402], help="of the set of harder scenes")
    parser.add_argument("--folder", type=Path, default=Path("data/archive_people"), help="for demo sets")
    parser.add_argument("--plot", type=Path, help="write a plot of RMSE against the number of labels to this PNG file")
    return parser.parse_args()


def load_labeller(checkpoint: Path | None) -> tuple[Labeller, LabelSettings]:
    """The network with its calibration, and the settings with the data set of its training."""
    layers = [("defaults", {}), ("command line", {"checkpoint": checkpoint} if checkpoint else {})]
    path = checkpoint_path(merge_layers(LabelSettings, layers))
    model, training_settings = load_mtclar(path)
    settings = label_settings(layers, path, training_settings)
    calibration = read_calibration(path)
    if calibration is None:
        raise SystemExit(f"{path}: has no calibration of this version; run fsl_mtclar.py --checkpoint {path}")
    runtime = make_runtime(settings.runtime)
    return Labeller(ClipEncoder(runtime.to_device(model), runtime), calibration), settings


def render(folder: Path, seed: int, hard: bool) -> pd.DataFrame:
    """The frame table of ten people; the demo set is rendered if it is missing in the folder."""
    root = folder / f"people_{seed}"
    render_demo(root, seed, PEOPLE, FRAMES, FRAMES, hard=hard, clips=CLIPS)
    frames = read_afewva(root, None, 1.0, False)
    return frames.assign(clip=f"{seed}/" + frames["clip"])


def people_of(clips: list[DatasetClip], labeller: Labeller) -> list[Person]:
    """The people whom the clips show."""
    by_person: dict[str, list[DatasetClip]] = {}
    for clip in clips:
        by_person.setdefault(clip.person, []).append(clip)
    return [
        Person(own, labeller.encoder.relative_to_person([clip.encoded for clip in own])) for own in by_person.values()
    ]


def score(labeller: Labeller, people: list[Person], budget: Budget, shared: bool) -> dict[str, object]:
    """RMSE, coverage and expected error of both axes, over the frames without a label."""
    errors, inside, variances = [], [], []
    for person in people:
        anchors = [given_labels(clip, count) for clip, count in zip(person.clips, budget.labels, strict=True)]
        if shared:
            posteriors = labeller.person_posteriors(person.shared, anchors)
        else:
            posteriors = [
                labeller.posteriors(clip.encoded, own) for clip, own in zip(person.clips, anchors, strict=True)
            ]
        for index in budget.scored:
            clip, own = person.clips[index], anchors[index]
            labels = labeller.fused_labels(posteriors[index], own)
            assert labels.half_widths is not None
            rows = np.delete(np.arange(len(clip.labels)), [] if own is None else own.indices)
            errors.append((labels.values - clip.labels)[rows])
            inside.append(np.abs(errors[-1]) <= labels.half_widths[rows])
            variances.append(np.stack([posterior.predictive_variance for posterior in posteriors[index]], 1)[rows])
    rmse, expected = (np.sqrt(np.concatenate(parts).mean(0)) for parts in ([e**2 for e in errors], variances))
    scores: dict[str, object] = {"labels a clip": budget.name, "labels": "shared" if shared else "alone"}
    for column, axis in enumerate(AXES):
        scores |= {f"{axis} RMSE": rmse[column], f"{axis} coverage": np.concatenate(inside)[:, column].mean()}
        scores |= {f"{axis} expected": expected[column]}
    return scores


def given_labels(clip: DatasetClip, count: int) -> Anchors | None:
    """Evenly spaced true labels of a clip; None: it gets no label."""
    if not count:
        return None
    indices = middles_of_parts(clip.labelled, count)
    return clip.anchors(indices, clip.labels[indices])


def plot(table: pd.DataFrame) -> Figure:
    """RMSE against the number of labels a clip, alone and shared."""
    table = table[table["labels a clip"].str.fullmatch(r"[\d.]+")]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 2), AXES, strict=True):
        for name, rows in table.groupby("labels"):
            axes.plot(rows["labels a clip"].astype(float), rows[f"{axis} RMSE"], marker="o", label=name)
        axes.set(title=axis, xlabel="labels a clip", ylabel="RMSE", ylim=(0, None))
        axes.legend()
    return figure


if __name__ == "__main__":
    main()
