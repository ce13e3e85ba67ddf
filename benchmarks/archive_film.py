"""Labels a film that is cut every few seconds, from 20 labels in all; run by `benchmarks/archive.py`.

The film shows four rendered people in 40 shots. Faces are found, tracked and labelled by fsl_mtclar.py. The labelled
frames are spread evenly over the film, or suggested by the program. The labels are used without knowing who is shown,
and with people.csv as a person would correct it.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from datasets.afewva import read_afewva
from datasets.columns import AXES
from datasets.demo.dataset import render_demo
from datasets.demo.traces import FRAME_RATE
from utils.metrics import regression_scores

SEED = 411
PEOPLE, SHOTS_PER_PERSON, LABELS = 4, 10, 20
SHORTEST, LONGEST = 50, 125  # frames of a shot
SIDE, WIDTH = 192, 320  # height and width of the film; the rendered images are squares
ROOT = Path(__file__).parents[1]
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple")


class Film(NamedTuple):
    """A film and the truth about it.

    Attributes:
        path: the video file.
        frames: one row per frame, in order: path of the rendered image, shot, subject, valence and arousal.
    """

    path: Path
    frames: pd.DataFrame


def measure_film(checkpoint: Path | None, folder: Path, shift: int) -> pd.DataFrame:
    """RMSE of the labels of the film and coverage of their intervals; also draws <folder>/film.png.

    Args:
        checkpoint: best.pt of a mtclar.py run, with its calibration; None: that of the newest run.
        folder: for the film, its labels, the runs and the figure.
        shift: is added to the demo seed.
    """
    film = make_film(folder, SEED + shift)
    options = ["--video", film.path, "--track", "all", "--exports", "none", "--runs", folder / "film_runs"]
    options += ["--checkpoint", checkpoint] if checkpoint else []
    even = save_labels(folder / "film_even.csv", film, middles_of_shots(film.frames))
    alone = label_film(*options, "--labels", even)
    people = correct_people(alone, film, folder / "film_people.csv")
    together = label_film(*options, "--labels", even, "--people", people)
    template = pd.read_csv(label_film(*options, "--suggest", LABELS, "--people", people) / "film_labels.csv")
    suggested = save_labels(folder / "film_suggested.csv", film, template["frame"].to_numpy())
    runs = {
        ("every second shot", "without people"): alone,
        ("every second shot", "with people"): together,
        ("suggested", "without people"): label_film(*options, "--labels", suggested),
        ("suggested", "with people"): label_film(*options, "--labels", suggested, "--people", people),
    }
    draw_film(film, read_labels(together, film)).savefig(folder / "film.png", dpi=90)
    rows = []
    for (frames, method), run in runs.items():
        table = read_labels(run, film)
        rows.append({"labels": frames, "method": method} | score(table))
        if method == "with people":
            for name, by_person in (("straight line", False), ("straight line, with people", True)):
                rows.append({"labels": frames, "method": name} | score(straight_line(table, by_person)))
    return pd.DataFrame(rows)


def make_film(folder: Path, seed: int) -> Film:
    """Render the shots and write them as film.mp4, in random order and at different positions in the picture."""
    clips = read_afewva(
        render_demo(folder / f"film_{seed}", seed, PEOPLE, LONGEST, LONGEST, SIDE, clips=SHOTS_PER_PERSON)
    )
    rng = np.random.default_rng(seed)
    shots = [shot.iloc[: rng.integers(SHORTEST, LONGEST + 1)] for _, shot in clips.groupby("clip")]
    order = rng.permutation(len(shots))
    frames = pd.concat([shots[index].assign(shot=number) for number, index in enumerate(order)], ignore_index=True)
    margins = rng.integers(0, WIDTH - SIDE + 1, len(shots))
    path = folder / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FRAME_RATE, (WIDTH, SIDE))
    for image, shot in zip(frames["path"], frames["shot"], strict=True):
        left = int(margins[shot])
        sides = (0, 0, left, WIDTH - SIDE - left)
        writer.write(cv2.copyMakeBorder(cv2.imread(image), *sides, borderType=cv2.BORDER_REPLICATE))
    writer.release()
    return Film(path, frames)


def middles_of_shots(frames: pd.DataFrame) -> np.ndarray:
    """The middle frames of LABELS shots, as many of each person: of every second shot that shows the person."""
    shots = frames.groupby("shot")
    middles = shots.apply(lambda shot: shot.index[len(shot) // 2], include_groups=False)
    chosen = [numbers.index[::2] for _, numbers in middles.groupby(shots["subject"].first())]
    return np.sort(middles[np.concatenate(chosen)].to_numpy())


def save_labels(path: Path, film: Film, frames: np.ndarray) -> Path:
    """Write the true labels of some frames of the film as a CSV for --labels."""
    assert len(frames) == LABELS
    film.frames.loc[frames, list(AXES)].to_csv(path, index_label="frame")
    return path


def label_film(*options: object) -> Path:
    """Run fsl_mtclar.py with these options; return its run folder."""
    command = [sys.executable, "fsl_mtclar.py", *map(str, options)]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(r"^run folder +(.+)$", output, re.MULTILINE)
    assert found, output
    return ROOT / found[1]


def correct_people(run: Path, film: Film, path: Path) -> Path:
    """Write the people.csv of a run with the true person of each track."""
    labels, table = read_labels(run, film), pd.read_csv(run / "people.csv")
    persons = labels.groupby("track")["subject"].agg(lambda subjects: subjects.mode()[0])
    table.assign(person=table["track"].map(persons)).to_csv(path, index=False)
    return path


def read_labels(run: Path, film: Film) -> pd.DataFrame:
    """The labels of a run, one row per frame and track, with the truth: shot, subject and <axis>_true."""
    table = pd.read_csv(run / "labels.csv").dropna(subset="track")
    truth = film.frames[["shot", "subject", *AXES]].rename(columns={axis: f"{axis}_true" for axis in AXES})
    return table.join(truth, on="frame").reset_index(drop=True)


def straight_line(table: pd.DataFrame, by_person: bool) -> pd.DataFrame:
    """The labels of a run, replaced by the straight line between the given labels of each track.

    Args:
        table: as `read_labels` returns it.
        by_person: whether a track without a label gets the mean label of its person; otherwise, that of all labels.
    """
    line, support = table.drop(columns=[f"{axis}_{end}" for axis in AXES for end in ("low", "high")]), table["support"]
    for axis in AXES:
        true = table[f"{axis}_true"]
        for _, track in table.groupby("track"):
            given = track.index[support[track.index]]
            elsewhere = support & (table["subject"] == track["subject"].iloc[0]) if by_person else support
            frame = table["frame"]
            between = np.interp(track["frame"], frame[given], true[given]) if len(given) else true[elsewhere].mean()
            line.loc[track.index, axis] = between
    return line


def score(table: pd.DataFrame) -> dict[str, object]:
    """Scores over the frames without a given label; RMSE there: in tracks without any.

    Args:
        table: as `read_labels` returns it.
    """
    labelled = table.groupby("track")["support"].transform("any")
    scores: dict[str, object] = {"tracks": table["track"].nunique(), "labelled": table[labelled]["track"].nunique()}
    scored = table[~table["support"]]
    for axis in AXES:
        scores[f"{axis} RMSE"] = regression_scores(scored[axis], scored[f"{axis}_true"])["RMSE"]
        without = scored[~labelled[scored.index]]
        scores[f"{axis} RMSE there"] = regression_scores(without[axis], without[f"{axis}_true"])["RMSE"]
        if f"{axis}_low" in scored:
            inside = scored[f"{axis}_true"].between(scored[f"{axis}_low"], scored[f"{axis}_high"])
            scores[f"{axis} coverage"] = inside.mean()
    return scores


def draw_film(film: Film, table: pd.DataFrame) -> Figure:
    """Plot the labels over the film, coloured by person, with the truth and a picture of each shot.

    Args:
        film: the film.
        table: as `read_labels` returns it.
    """
    figure = Figure(figsize=(14, 5.6), layout="constrained")
    pictures, *panels = figure.subplots(3, 1, sharex=True, height_ratios=(1.1, 3, 3))
    for number, (_, shot) in enumerate(film.frames.groupby("shot")):
        centre = (shot.index[0] + shot.index[-1]) / 2 / FRAME_RATE
        image = cv2.cvtColor(cv2.imread(shot["path"].iloc[len(shot) // 2]), cv2.COLOR_BGR2RGB)
        low, half = number % 2, len(film.frames) / FRAME_RATE / 44
        pictures.imshow(image, extent=(centre - half, centre + half, low, low + 1), aspect="auto", clip_on=False)
    pictures.set(ylim=(0, 2), xlim=(0, len(film.frames) / FRAME_RATE))
    pictures.axis("off")
    for axes, axis in zip(panels, AXES, strict=True):
        _draw_axis(axes, axis, film, table)
    panels[-1].set(xlabel="seconds; vertical lines are cuts, colours are people")
    handles, names = panels[-1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def _draw_axis(axes: Axes, axis: str, film: Film, table: pd.DataFrame) -> None:
    """Plot valence or arousal of all tracks; arguments as of `draw_film`."""
    colours = dict(zip(sorted(film.frames["subject"].unique()), COLOURS, strict=True))
    for number, (_, track) in enumerate(table.groupby("track")):
        seconds, colour = track["time"], colours[track["subject"].iloc[0]]
        names = ("truth", "label", "90 % interval") if number == 0 else ("_", "_", "_")
        axes.fill_between(
            seconds, track[f"{axis}_low"], track[f"{axis}_high"], color=colour, alpha=0.2, linewidth=0, label=names[2]
        )
        axes.plot(seconds, track[f"{axis}_true"], color="black", linewidth=1, label=names[0])
        axes.plot(seconds, track[axis], color=colour, linewidth=1.4, label=names[1])
    support = table[table["support"]]
    axes.plot(support["time"], support[f"{axis}_true"], "o", color="red", markersize=4, label="given label")
    for shot in film.frames.drop_duplicates("shot").index[1:]:
        axes.axvline(shot / FRAME_RATE, color="0.8", linewidth=0.6, zorder=0)
    axes.set(ylabel=axis, ylim=(-1.05, 1.05))
