"""Labels from those that the clips of a person share, and from the labels of each clip alone; run by `archive.py`.

Ten people with five clips of 240 frames each are rendered, and as many in harder scenes. In a third set, each person of
the normal scenes has the evidence of another person, as if the network misread the face in all clips. Each clip gets 0,
1, 2, 3, 4 or 6 evenly spaced labels; with 60 labels, one clip of each person gets two and the others one. Or frames are
suggested one after the other over all clips of all people, as by `fsl_mtclar.py --suggest 1 --people people.csv`.
"""

from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import utils.labelling.people as people_module
from benchmarks.label_quality import EncodedFrames
from datasets.afewva import read_afewva
from datasets.columns import AXES
from datasets.demo.dataset import render_demo
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.layers import merge_layers
from utils.labelling.calibration.file import read_calibration
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import DatasetClip
from utils.labelling.dataset_calibration.shots import fit_shot_offsets
from utils.labelling.incremental import IncrementalClip
from utils.labelling.labeller import Labeller
from utils.labelling.people import person_offsets, person_posteriors
from utils.labelling.suggestion.archive import ArchiveSuggester
from utils.labelling.support import middles_of_parts
from utils.labelling.types import Anchors, EncodedClip, observations_of
from utils.runs.checkpoint import load_mtclar
from utils.runs.trained import checkpoint_path, label_settings

SEED, HARD_SEED = 403, 404  # demo seeds of normal and of harder scenes
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
SUGGESTED = (60, 100)
"""Numbers of labels in all at suggested frames."""


class Person(NamedTuple):
    """A person with several clips.

    Attributes:
        clips: the clips.
        shared: the encoded clips, with evidence relative to the person.
    """

    clips: list[DatasetClip]
    shared: list[EncodedClip]


def measure_people(checkpoint: Path | None, folder: Path, shift: int) -> list[pd.DataFrame]:
    """The fitted offsets of shots; RMSE, coverage and expected error. Also draws the latter as <folder>/people.png.

    Args:
        checkpoint: best.pt of a mtclar.py run, with its calibration; None: that of the newest run.
        folder: for demo sets and the figure.
        shift: is added to the demo seeds.
    """
    labeller, settings = load_labeller(checkpoint)
    offsets, scores = [], []
    for name, seed in (("normal", SEED), ("harder scenes", HARD_SEED)):
        frames = render(folder, seed + shift, name != "normal")
        clips = EncodedFrames(labeller, frames, settings).clips
        offsets.append({"set": name} | offsets_of_shots(labeller, clips))
        people = people_of(clips, labeller)
        scores += score_budgets(labeller, name, people)
        if name == "normal":
            misread = score_budgets(labeller, "misread", misread_people(people))
    table = pd.DataFrame(scores + misread)
    plot(table[table["set"] == "normal"]).savefig(folder / "people.png", dpi=120)
    return [pd.DataFrame(offsets), table]


def offsets_of_shots(labeller: Labeller, clips: list[DatasetClip]) -> dict[str, float]:
    """Standard deviation of the shot's offset of both axes: fitted to the clips, and that of the calibration."""
    fitted = fit_shot_offsets(labeller.encoder, labeller.calibration, clips)
    stds = {}
    for axis, fit, used in zip(AXES, fitted.axes, labeller.calibration.axes, strict=True):
        stds[f"{axis}, fitted"], stds[f"{axis}, used"] = (
            each.with_evidence.sources[0].shot_offset for each in (fit, used)
        )
    return stds


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
        Person(person, labeller.encoder.relative_to_person([clip.encoded for clip in person]))
        for person in by_person.values()
    ]


def misread_people(people: list[Person]) -> list[Person]:
    """The people, each with the evidence of the next person instead of their own."""
    misread = []
    for person, other in zip(people, people[1:] + people[:1], strict=True):
        alone = zip(person.clips, other.clips, strict=True)
        shared = zip(person.shared, other.shared, strict=True)
        misread.append(
            Person(
                [
                    clip._replace(encoded=clip.encoded._replace(evidence=wrong.encoded.evidence))
                    for clip, wrong in alone
                ],
                [clip._replace(evidence=wrong.evidence) for clip, wrong in shared],
            )
        )
    return misread


def score_budgets(labeller: Labeller, name: str, people: list[Person]) -> list[dict[str, object]]:
    """Rows for each budget; `name` is that of the set.

    Each clip is labelled alone, from the labels of its person, and with a shared offset only: the labels of other clips
    of the person then do not tell whether the face is misread.
    """
    rows = []
    for budget in BUDGETS:
        given = [[given_labels(*pair) for pair in zip(person.clips, budget.labels, strict=True)] for person in people]
        row = {"set": name, "labels a clip": budget.name}
        for shared in (False, True):
            scores = score(labeller, people, given, budget.scored, shared)
            rows.append(row | {"labels": "shared" if shared else "alone"} | scores)
        with patch.object(people_module, "_labels_elsewhere", lambda models, observations: [None] * len(models)):
            rows.append(row | {"labels": "offset shared"} | score(labeller, people, given, budget.scored, True))
    for count in SUGGESTED:
        given = suggested_labels(labeller, people, count)
        row = {"set": name, "labels a clip": f"{count / len(people) / CLIPS:g}, suggested", "labels": "shared"}
        rows.append(row | score(labeller, people, given, BUDGETS[-1].scored, True))
    return rows


def suggested_labels(labeller: Labeller, people: list[Person], count: int) -> list[list[Anchors | None]]:
    """The labels of each clip of each person, at frames that are suggested one after the other, `count` in all."""
    suggester, calibration = ArchiveSuggester(), labeller.calibration
    models = [[IncrementalClip(clip, calibration).models for clip in person.shared] for person in people]
    frames: list[list[list[int]]] = [[[] for _ in person.clips] for person in people]

    def given(number: int) -> list[Anchors | None]:
        chosen = [np.array(sorted(indices), int) for indices in frames[number]]
        pairs = zip(people[number].clips, chosen, strict=True)
        return [clip.anchors(indices, clip.labels[indices]) if len(indices) else None for clip, indices in pairs]

    def update(number: int) -> None:
        observations = [observations_of(anchors) for anchors in given(number)]
        posteriors = person_posteriors(calibration, models[number], observations)
        offsets = person_offsets(calibration, models[number], observations, posteriors)
        suggester.update(number, {(number, clip): pair for clip, pair in enumerate(posteriors)}, offsets=offsets)

    for number in range(len(people)):
        update(number)
    for _ in range(count):
        suggestion = suggester.next()
        assert suggestion is not None
        number, clip = suggestion.track  # type: ignore[misc]
        frames[number][clip].append(suggestion.frame_index)
        update(number)
    return [given(number) for number in range(len(people))]


def score(
    labeller: Labeller, people: list[Person], given: list[list[Anchors | None]], scored: tuple[int, ...], shared: bool
) -> dict[str, float]:
    """RMSE, coverage and expected error of both axes, over the frames without a label.

    Args:
        labeller: the network and its calibration.
        people: the people.
        given: the labels of each clip of each person.
        scored: indices of the clips of each person that are scored.
        shared: whether the labels of a person inform all clips of the person.
    """
    errors, inside, variances = [], [], []
    for person, anchors in zip(people, given, strict=True):
        if shared:
            posteriors = labeller.person_posteriors(person.shared, anchors)
        else:
            posteriors = [
                labeller.posteriors(clip.encoded, labels) for clip, labels in zip(person.clips, anchors, strict=True)
            ]
        for index in scored:
            clip, in_clip = person.clips[index], anchors[index]
            labels = labeller.fused_labels(posteriors[index], in_clip)
            assert labels.half_widths is not None
            rows = np.delete(np.arange(len(clip.labels)), [] if in_clip is None else in_clip.indices)
            errors.append((labels.values - clip.labels)[rows])
            inside.append(np.abs(errors[-1]) <= labels.half_widths[rows])
            variances.append(np.stack([posterior.predictive_variance for posterior in posteriors[index]], 1)[rows])
    rmse, expected = (np.sqrt(np.concatenate(parts).mean(0)) for parts in ([e**2 for e in errors], variances))
    scores: dict[str, float] = {}
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
    """RMSE against the number of labels a clip, alone and shared; at 0, the other clips have a label each."""
    table = table[table["labels"] != "offset shared"]
    table = table.assign(count=table["labels a clip"].replace(BUDGETS[0].name, "0"))
    table = table[table["count"].str.fullmatch(r"[\d.]+")]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 2), AXES, strict=True):
        for name, rows in table.groupby("labels"):
            axes.plot(rows["count"].astype(float), rows[f"{axis} RMSE"], marker="o", label=name)
        axes.set(title=axis, xlabel="labels a clip", ylabel="RMSE", ylim=(0, 1.1 * table[f"{axis} RMSE"].max()))
        axes.legend()
    return figure
