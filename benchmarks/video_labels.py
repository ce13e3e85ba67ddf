"""Speed and label errors of `--encode_every` and of the backends, on one film; run by `throughput.py labels`.

The film of 640 × 360 pixels shows rendered people that the network was not trained on, each in a shot of its own:
normal and harder scenes of 240 frames, and one of 1,500. fsl_mtclar.py finds, tracks and labels them, from exact
labels on every 10th, 20th or 40th frame of each shot.

Errors are those of a network trained on the demo set. Speed, from the file to labels.csv with the start of Python, is
that of the published network (width 256, 256 × 256 pixels) with random weights. Their embeddings show no movement, so
`auto` would encode fewer faces than with trained weights. For timing, the faces that it chose with the trained network
are encoded, after its choice was computed.
"""

import contextlib
import io
import re
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
from clips import write_video
from torch import Tensor

from benchmarks.label_quality import TestSet, render
from benchmarks.measure import measure_alone
from benchmarks.own_data import refuse_known_seeds
from datasets.columns import AXES
from datasets.video.reading import open_video
from datasets.video.tracks import track_faces
from utils.base.errors import DataError
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import RuntimeSettings
from utils.labelling.calibration.file import FILE_NAME
from utils.labelling.encoding_plan import EncodingPlan
from utils.runs.checkpoint import load_mtclar

SETS = (
    TestSet("normal", [181], 6, 240),
    TestSet("harder", [182], 6, 240, hard=True),
    TestSet("minutes", [183], 1, 1500),
)
LABEL_STEPS = (10, 20, 40)  # frames of a shot from one label to the next
TIMED_LABEL_STEP = 20
ENCODE_EVERY = {"eager": ("1", "3", "auto"), "openvino": ("1", "3", "auto"), "openvino-int8": ("3", "auto")}
FACE_SIDE, WIDTH, HEIGHT = 320, 640, 360  # pixels of a rendered image in the film, and of the film

EncodedFaces = dict[tuple[float, int], np.ndarray]
"""Seconds of its first face and number of faces N of a track → (N,) whether a face is encoded."""


class Film(NamedTuple):
    """A film and its true labels.

    Attributes:
        path: the video file.
        labels: a file of exact labels for each of LABEL_STEPS.
        frames: one row per frame, in order: set, position in the shot, true valence and arousal.
    """

    path: Path
    labels: dict[int, Path]
    frames: pd.DataFrame


class Cost(NamedTuple):
    """The cost of labelling the film.

    Attributes:
        seconds: wall-clock seconds.
        core_seconds: processor time of all threads in seconds.
    """

    seconds: float
    core_seconds: float


def measure_film(backends: list[str], trained: Path, published: Path, folder: Path) -> pd.DataFrame:
    """Label the film with each backend and value of `--encode_every`, one row each.

    Args:
        backends: names; the first one is the reference, with every face encoded.
        trained: best.pt of a calibrated mtclar.py run on the demo set.
        published: checkpoint of a network of the published size.
        folder: for the film, copies of the networks, and runs.

    Returns:
        Share of the faces that are encoded, frames per second, core-milliseconds per frame; for each set and for all of
        them, the RMSE over both axes on frames without a label, all label distances together, followed by each of them,
        relative to the first row (absolute in the first row); coverage of the 90 % intervals.
    """
    refuse_known_seeds(trained, [seed for kind in SETS for seed in kind.seeds])
    film = make_film(folder)
    network = copy_network(trained, folder / "trained")
    converted = copy_network(published, folder / "published", convert="openvino" in backends)
    rows: list[dict[str, object]] = []
    reference: pd.DataFrame | None = None
    for backend in backends:
        for step in ENCODE_EVERY[backend]:
            print(f"labelling a film by {backend}, --encode_every {step} ...", file=sys.stderr)
            row: dict[str, object] = {"backend": backend, "`--encode_every`": step}
            options = ["--runtime.backend", backend, "--encode_every", step]
            try:
                tables, encoded = measure_alone(label_film, film, LABEL_STEPS, network, options).value
            except DataError as error:  # 8-bit integers would change the estimates of the trained network
                rows.append(row | {"faces encoded": str(error)})
                continue
            errors = pd.concat([film_errors(table, film, distance) for distance, table in tables.items()])
            row["faces encoded"] = f"{np.concatenate(list(encoded.values())).mean():.0%}"
            row |= measure_speed(film, converted, options, encoded)
            rows.append(row | describe_errors(errors, reference))
            reference = errors if reference is None else reference
    return pd.DataFrame(rows)


def make_film(folder: Path) -> Film:
    """Render the people and join their clips, at different positions in the picture.

    A frame in which no face is found, as in a few shots, is not labelled.
    """
    clips = [render(folder / "people", kind).assign(set=kind.name) for kind in SETS]
    frames = pd.concat(clips, ignore_index=True)
    shots = frames.groupby(["set", "clip"], sort=False)
    frames["position"] = shots.cumcount()
    margins = np.random.default_rng(0).integers(0, WIDTH - FACE_SIDE + 1, shots.ngroups)[shots.ngroup()]
    path = write_video(folder / "film.mp4", map(film_image, frames["path"], margins))
    faces = track_faces(open_video(path), LabelSettings().detect_every)
    found = frames.index.isin(faces.loc[faces["track"] >= 0, "frame"])
    labels = {step: folder / f"every_{step}.csv" for step in LABEL_STEPS}
    for step, file in labels.items():
        frames.loc[found & (frames["position"] % step == 0), list(AXES)].to_csv(file, index_label="frame")
    return Film(path, labels, frames[["set", "position", *AXES]])


def film_image(path: str, left: int) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8 BGR: a rendered image, `left` pixels from the edge; its borders are continued."""
    image = cv2.resize(cv2.imread(path), (FACE_SIDE, FACE_SIDE))
    above = (HEIGHT - FACE_SIDE) // 2
    sides = (above, above, left, WIDTH - FACE_SIDE - left)
    return cv2.copyMakeBorder(image, *sides, borderType=cv2.BORDER_REPLICATE)


def copy_network(checkpoint: Path, folder: Path, convert: bool = False) -> Path:
    """Copy a checkpoint, since caches are written beside it, and its calibration; convert it for OpenVINO."""
    folder.mkdir(exist_ok=True)
    copy = Path(shutil.copy(checkpoint, folder / "best.pt"))
    calibration = checkpoint.with_name(FILE_NAME)
    if calibration.exists():
        shutil.copy(calibration, folder)
    if convert:
        model, settings = load_mtclar(copy)
        runtime = make_runtime(RuntimeSettings(backend="openvino"))
        backends = EmbeddingCache.of_network(copy, folder, runtime).backends
        backends.create("openvino", model, settings["data"]["image_size"])
    return copy


def label_film(
    film: Film, distances: tuple[int, ...], checkpoint: Path, options: list[str], encoded: EncodedFaces | None = None
) -> tuple[dict[int, Path], EncodedFaces]:
    """Label the film by fsl_mtclar.py, in this process.

    Args:
        film: the film.
        distances: of its labels; it is labelled once for each.
        checkpoint: the network. Its caches are used.
        options: of fsl_mtclar.py.
        encoded: the faces to encode; None: those that the script chooses.

    Returns:
        The table of labels for each distance, and which faces were encoded.
    """
    import fsl_mtclar

    chosen: EncodedFaces = {}
    second_pass = EncodingPlan.second_pass

    def choose(
        plan: EncodingPlan, embeddings: Tensor, times: np.ndarray, estimates: np.ndarray, fps: float
    ) -> np.ndarray:
        track, faces = (float(times[0]), len(times)), second_pass(plan, embeddings, times, estimates, fps)
        chosen[track] = faces if encoded is None else encoded[track]
        return chosen[track]

    tables = {}
    for distance in distances:
        files = ["--video", film.path, "--labels", film.labels[distance], "--checkpoint", checkpoint]
        sys.argv = ["fsl_mtclar.py", *map(str, files), "--runs", str(checkpoint.parent), "--track", "all", *options]
        with patch.object(EncodingPlan, "second_pass", choose), contextlib.redirect_stdout(io.StringIO()) as output:
            fsl_mtclar.main()
        run = re.search(r"^run folder +(.+)$", output.getvalue(), re.MULTILINE)
        assert run, output.getvalue()
        tables[distance] = Path(run[1]) / "labels.csv"
    return tables, chosen


def measure_speed(film: Film, checkpoint: Path, options: list[str], encoded: EncodedFaces) -> dict[str, str]:
    """Frames per second and core-milliseconds per frame; the reason if 8-bit integers would change the estimates."""
    try:
        cost = timed(film, checkpoint, options, encoded)
    except DataError as error:
        return {"frames/s": str(error)}
    frames = len(film.frames)
    return {
        "frames/s": f"{frames / cost.seconds:.1f}",
        "core-ms a frame": f"{1000 * cost.core_seconds / frames:.1f}",
    }


def timed(film: Film, checkpoint: Path, options: list[str], encoded: EncodedFaces) -> Cost:
    """The cost of labelling the film in a new process, with nothing in the caches but the converted network."""
    with tempfile.TemporaryDirectory(dir=checkpoint.parents[1]) as folder:
        copy = shutil.copytree(checkpoint.parent, Path(folder) / "network") / checkpoint.name
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        measure_alone(label_film, film, (TIMED_LABEL_STEP,), copy, options, encoded)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def film_errors(table: Path, film: Film, distance: int) -> pd.DataFrame:
    """One row per face without a given label: set, distance of the labels, squared error and coverage over both axes.

    Args:
        table: labels.csv.
        film: the film.
        distance: of the given labels.
    """
    labels = pd.read_csv(table).dropna(subset="track")
    truth = film.frames[["set", *AXES]].rename(columns={axis: f"{axis}_true" for axis in AXES})
    labels = labels[~labels["support"]].join(truth, on="frame")
    squared = sum((labels[axis] - labels[f"{axis}_true"]) ** 2 for axis in AXES) / len(AXES)
    covered = sum(labels[f"{axis}_true"].between(labels[f"{axis}_low"], labels[f"{axis}_high"]) for axis in AXES) / len(
        AXES
    )
    return pd.DataFrame({"set": labels["set"], "distance": distance, "squared": squared, "covered": covered})


def describe_errors(errors: pd.DataFrame, reference: pd.DataFrame | None) -> dict[str, str]:
    """RMSE of each set and of all of them, relative to the reference if there is one; coverage.

    Args:
        errors: as `film_errors` returns them, of all distances.
        reference: those of the first row; None for the first row itself.
    """
    row = {}
    for name in [*(kind.name for kind in SETS), "all"]:
        values = rmse(errors, name)
        if reference is not None:
            values /= rmse(reference, name)
        row[f"RMSE, {name}"] = f"{values[0]:.3f} ({', '.join(f'{value:.3f}' for value in values[1:])})"
    return row | {"coverage": f"{errors['covered'].mean():.0%}"}


def rmse(errors: pd.DataFrame, name: str) -> np.ndarray:
    """RMSE over all distances of the labels, followed by that of each distance, of a set or of all."""
    chosen = errors if name == "all" else errors[errors["set"] == name]
    squared = chosen.groupby("distance")["squared"].mean()
    return np.sqrt([chosen["squared"].mean(), *squared])
