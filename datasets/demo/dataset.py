"""Writes the demo set: rendered faces in AFEW-VA's layout, so that everything can be run before a data set is there.

    <root>/001/00000.png ...    frames of one clip; by default, each clip shows another person
    <root>/001/001.json         video_id, actor, frames: {"00000": {"landmarks", "valence", "arousal"}}
    <root>/expressions.csv      clip, frame, expression (AffectNet's codes)
    <root>/demo.json            the parameters; written last, so that its presence marks a complete set

A person depends only on (seed, index): more people, clips or frames leave the identities as they are. Several clips of
a person differ in labels, poses, light, clothes, backdrop and camera.
"""

import contextlib
import csv
import errno
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from datasets.demo.paint import Painter
from datasets.demo.people import in_another_scene, random_person
from datasets.demo.traces import FRAME_RATE, expression_of, label_trace, pose_trace
from utils.base.errors import DataError, StorageError
from utils.base.files import UMASK

MADE_BY = "MT-CLAR demo"  # in demo.json; a folder without it is not overwritten
FORMAT = 2  # to be increased whenever the same parameters give other bytes
LONG_EVERY = 5  # every n-th clip is a long one
NOISE_STD = 6.0  # of the pixel noise, in grey levels
IDENTITY, LABELS, POSES, PIXELS = range(4)
"""Random streams of a clip: each has a generator seeded with (seed, index of the person, stream), followed by the
number of the clip unless it is the person's first, number 0."""

Row = tuple[str, str, int]
"""Clip, frame id and expression code: a row of expressions.csv."""

LabelTrace = Callable[[np.random.Generator, int, float], np.ndarray]
"""Draws valence and arousal (frames, 2) of a clip, given a generator, the number of frames and the frame rate."""


def render_demo(
    root: str | Path,
    seed: int = 0,
    people: int = 900,
    frames: int = 48,
    short_frames: int = 8,
    size: int = 128,
    hard: bool = False,
    workers: int | None = None,
    trace: LabelTrace = label_trace,
    frame_rate: float = FRAME_RATE,
    clips: int = 1,
) -> Path:
    """Render the demo set, unless the same one is already there; an older demo set is replaced.

    Args:
        root: folder of the set; must not exist, or be empty or a demo set.
        seed: another seed gives other people.
        people: number of people.
        frames: length of the clips of the first person and of every fifth one after that.
        short_frames: length of the other clips. They are short because training gains more from many people than
            from many frames of each.
        size: side of the images in pixels.
        hard: stronger personal gain and offset, occluders, blur and side light.
        workers: number of processes; None = one per core. The number does not affect the files.
        trace: draws the labels of a clip; a function of a module, so that other processes can import it.
        frame_rate: frames per second. Readers of the set take it for FRAME_RATE.
        clips: number of clips of each person.

    Returns:
        The folder as a Path.

    Raises:
        DataError: a parameter is out of range, or the folder holds something else.
        StorageError: the set cannot be written.
    """
    root = Path(root)
    parameters = _parameters(seed, people, frames, short_frames, size, hard, trace, frame_rate, clips)
    if _read_parameters(root) != parameters:
        try:
            _build(root, parameters, workers, trace)
        except OSError as error:
            raise StorageError.from_os_error(root, error) from error
    return root


def _parameters(
    seed: int,
    people: int,
    frames: int,
    short_frames: int,
    size: int,
    hard: bool,
    trace: LabelTrace,
    frame_rate: float,
    clips: int,
) -> dict[str, Any]:
    """The content of demo.json, from the arguments of `render_demo`; raises DataError if one is out of range."""
    if min(people, clips, frames, short_frames) < 1 or size < 32:
        raise DataError(
            f"demo set: people ({people}), clips ({clips}) and frames ({frames}, {short_frames}) must be 1 or more, "
            f"size ({size}) 32 or more"
        )
    parameters = {
        "made_by": MADE_BY,
        "format": FORMAT,
        "seed": seed,
        "people": people,
        "frames": frames,
        "short_frames": short_frames,
        "size": size,
        "hard": bool(hard),
    }
    # Later parameters are in the file only where they differ from their defaults, so that older sets remain valid.
    if trace is not label_trace:
        parameters["trace"] = trace.__name__
    if frame_rate != FRAME_RATE:
        parameters["frame_rate"] = frame_rate
    if clips != 1:
        parameters["clips"] = clips
    return parameters


def _build(root: Path, parameters: dict[str, Any], workers: int | None, trace: LabelTrace) -> None:
    """Render into a temporary folder beside `root`, and rename it when the set is complete."""
    root.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    building.chmod(0o777 & ~UMASK)
    try:
        _render_clips(building, parameters, workers, trace)
        (building / "demo.json").write_text(json.dumps(parameters, indent=1) + "\n")
        _rename(building, root, parameters)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _read_parameters(root: Path) -> dict[str, Any] | None:
    """Parameters of the demo set in `root`; None for a new or empty folder, DataError for any other content."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        parameters = json.loads((root / "demo.json").read_text())
        if parameters["made_by"] == MADE_BY:
            return parameters
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DataError(
        f"{root} contains something other than a demo set, which is not overwritten: "
        "name another folder for the demo set, or move this one away"
    )


def _rename(building: Path, root: Path, parameters: dict[str, Any]) -> None:
    """Rename the finished folder to `root`, unless another process has done so; replace an older demo set there."""
    while _read_parameters(root) != parameters:
        try:
            os.rename(building, root)  # succeeds if `root` does not exist or is an empty folder
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = Path(tempfile.mkdtemp(prefix=f".{root.name}-old-", dir=root.parent))
        with contextlib.suppress(FileNotFoundError):  # another process may have moved it already
            os.rename(root, old / "demo")
        shutil.rmtree(old)


class _ClipJob(NamedTuple):
    """A clip to render.

    Attributes:
        folder: folder of the set.
        parameters: of the set.
        person: index of the person.
        clip: number of the clip among those of the person.
        trace: draws the labels.
    """

    folder: Path
    parameters: dict[str, Any]
    person: int
    clip: int
    trace: LabelTrace

    @property
    def name(self) -> str:
        """Name of the clip: its number in the set."""
        return self._numbered(self.person * self._clips + self.clip + 1, self._clips)

    @property
    def actor(self) -> str:
        """Name of the person."""
        return f"person {self.parameters['seed']}-{self._numbered(self.person + 1, 1)}"

    @property
    def generators(self) -> list[np.random.Generator]:
        """A random generator for each stream."""
        clip = [self.clip] if self.clip else []
        return [np.random.default_rng([self.parameters["seed"], self.person, stream, *clip]) for stream in range(4)]

    @property
    def _clips(self) -> int:
        return self.parameters.get("clips", 1)

    def _numbered(self, number: int, each: int) -> str:
        return f"{number:0{max(3, len(str(self.parameters['people'] * each)))}d}"


def _render_clips(folder: Path, parameters: dict[str, Any], workers: int | None, trace: LabelTrace) -> None:
    """Render every clip, in several processes if there are several workers, and write expressions.csv."""
    clips = product(range(parameters["people"]), range(parameters.get("clips", 1)))
    jobs = [_ClipJob(folder, parameters, person, clip, trace) for person, clip in clips]
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers == 1:
        tables = [_render_clip(job) for job in jobs]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            try:
                tables = list(pool.map(_render_clip, jobs, chunksize=4))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    with open(folder / "expressions.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("clip", "frame", "expression"))
        writer.writerows(row for table in tables for row in table)


def _render_clip(job: _ClipJob) -> list[Row]:
    """Render one clip; return its rows of expressions.csv."""
    seed, size, hard = (job.parameters[key] for key in ("seed", "size", "hard"))
    frames = job.parameters["short_frames" if job.person % LONG_EVERY else "frames"]
    rng = job.generators
    person = random_person(np.random.default_rng([seed, job.person, IDENTITY]), hard)
    if job.clip:
        person = in_another_scene(person, rng[IDENTITY], hard)
    painter, camera = Painter(person, size), Camera(rng[PIXELS], size, hard)
    frame_rate = job.parameters.get("frame_rate", FRAME_RATE)
    labels, poses = job.trace(rng[LABELS], frames, frame_rate), pose_trace(rng[POSES], frames, frame_rate)
    clip = job.name
    (job.folder / clip).mkdir()
    records, rows = {}, []
    for number, ((valence, arousal), pose) in enumerate(zip(labels, poses, strict=True)):
        name = f"{number:05d}"
        image, points = painter.draw(valence, arousal, pose)
        _write_png(job.folder / clip / f"{name}.png", camera.shoot(image))
        v, a = round(10 * valence), round(10 * arousal)
        records[name] = {"landmarks": np.round(points, 2).tolist(), "valence": v, "arousal": a}
        rows.append((clip, name, expression_of(v / 10, a / 10)))
    content = {"video_id": clip, "actor": job.actor, "frames": records}
    (job.folder / clip / f"{clip}.json").write_text(json.dumps(content, separators=(",", ":")))
    return rows


# Noise hardly compresses, so the fastest compression is the best. Older versions of OpenCV cannot choose the filter.
PNG_SETTINGS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    PNG_SETTINGS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG]


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write an image; OpenCV gives no reason for a failure, so it is reported as a full disk, the most likely one."""
    if not cv2.imwrite(str(path), image, PNG_SETTINGS):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Camera:
    """The camera of one clip: constant brightness and blur, and other pixel noise in every frame.

    Args:
        rng: random generator, also used by `shoot`.
        size: side of the images in pixels.
        hard: whether images are blurred.

    Attributes:
        brightness: factor on the grey levels.
        blur: standard deviation of the blur in pixels; 0 = none.
        noise: (size + 64, size + 64, 3) int16, in grey levels; each frame has a random window of it.
    """

    def __init__(self, rng: np.random.Generator, size: int, hard: bool):
        self.rng, self.size = rng, size
        self.brightness = rng.uniform(0.75, 1.2)
        self.blur = rng.uniform(0.3, 1.4) * size / 128 if hard else 0.0
        side = size + 64
        self.noise = np.rint(NOISE_STD * rng.standard_normal((side, side, 3), np.float32)).astype(np.int16)

    def shoot(self, image: np.ndarray) -> np.ndarray:
        """Apply blur, brightness and noise to an image (size, size, 3) uint8."""
        if self.blur:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        y, x = self.rng.integers(0, 65, 2)
        noise = self.noise[y : y + self.size, x : x + self.size]
        return cv2.add(cv2.convertScaleAbs(image, alpha=self.brightness), noise, dtype=cv2.CV_8U)
