"""Measures speed and memory on this machine: a plain implementation against this project.

    python benchmarks/throughput.py                  all parts, in minutes
    python benchmarks/throughput.py labelling scale  some parts
    python benchmarks/throughput.py labels --checkpoint runs/mtclar/<run>/best.pt    speed beside errors of labels
    python benchmarks/throughput.py --checkpoint … --readme    all parts; writes the tables to benchmarks/README.md
    python benchmarks/throughput.py --compile        also measures torch.compile, which takes a minute to start

Both use the same frames and weights. The plain implementation computes in float32 in PyTorch's default memory layout,
and sends both faces of every pair through `model(image_1, image_2)`, five pairs at a time. Networks have the published
size (width 256, 256 × 256 pixels) and random weights unless a row says otherwise. Each ratio is of two measurements of
one run, and each part runs in processes of its own.

The part `labels` has a table of its own, which video_labels.py describes. It needs --checkpoint: best.pt of a
calibrated mtclar.py run on the demo set.
"""

import argparse
import contextlib
import importlib.util
import io
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import cv2
import numpy as np
import torch
from clips import write_video
from torch import Tensor

from benchmarks.measure import machine, matrix_peak, measure_alone, seconds
from datasets.demo.dataset import render_demo
from datasets.video.centerface import OpenCVCenterFace, centerface_file
from datasets.video.detector import FaceDetector
from datasets.video.reading import open_video
from datasets.video.tracks import track_faces
from models.mtclar import MTCLAR
from utils.base.files import write_text
from utils.compute.backends import Backend, Backends
from utils.compute.integers import SAMPLE_FACES, FaceSample
from utils.compute.runtime import Runtime, make_runtime
from utils.config.mtclar import MtclarTrainingSettings
from utils.config.sections import RuntimeSettings
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.labeller import Labeller
from utils.labelling.types import Anchors
from utils.runs.checkpoint import save_checkpoint
from utils.training.losses import PairTargets, pair_losses

IMAGE_SIZE, WIDTH = 256, 256  # of the published network
FLOP = 33.87e9  # per image, counted by torch.utils.flop_counter
SMALL_IMAGE_SIZE, SMALL_WIDTH = 64, 64  # of the demo's network
PLAIN_BATCH = 5
PAIRS, IMAGES = 8, 24  # of a training step: sampled pairs; images of which all pairs are compared
DETECTED_FRAMES = 300  # of the video in which faces are detected
VIDEOS, FRAMES = 16, 750  # videos labelled by several processes that share the GPUs, and frames of each
PROCESSES = (1, 4, 8)
IMAGES_PER_PART = 256  # encoded at once in long clips
ENCODE_EVERY = (1, 3)  # auto would encode fewer faces than with trained weights, since random ones see no movement
START, END = "<!-- throughput -->", "<!-- end of throughput -->"


class Row(NamedTuple):
    """A row of the table; `plain` and `here` are the results of the two implementations."""

    name: str
    plain: str
    here: str
    ratio: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*PARTS, "labels"]
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one of {', '.join(names)} (default: all)")
    parser.add_argument("--checkpoint", type=Path, help="labels: best.pt of a calibrated mtclar.py run on the demo set")
    parser.add_argument("--readme", action="store_true", help="write the tables to benchmarks/README.md")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    arguments = parser.parse_args()
    chosen = arguments.parts or (names if arguments.checkpoint else list(PARTS))
    unknown = set(chosen) - set(names)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    if not arguments.checkpoint and ("labels" in chosen or arguments.readme):
        parser.error("the part labels, which --readme includes, needs --checkpoint: a network trained on the demo set")
    if arguments.parts and arguments.readme:
        parser.error("--readme writes the results of all parts; leave out their names")
    backends = ["eager"] + ["compile"] * arguments.compile
    if make_runtime(RuntimeSettings()).device.type == "cpu" and importlib.util.find_spec("openvino"):
        backends.append("openvino")
        backends += ["openvino-int8"] * bool(importlib.util.find_spec("nncf"))
    rows = []
    for name in filter(PARTS.__contains__, chosen):
        print(f"measuring {name} ...", file=sys.stderr)
        rows += PARTS[name](backends)
    texts = [table(rows)] if rows else []
    if "labels" in chosen:
        texts.append(measure_labels(backends, arguments.checkpoint))
    text = "\n\n".join(texts)
    print(f"\n{machine()}\n\n{text}")
    if arguments.readme:
        write_readme(f"{machine()}; {time.strftime('%Y-%m-%d')}.\n\n{text}")


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [Row("", "plain", "here", "ratio"), Row(*["---"] * 4), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def write_readme(text: str) -> None:
    """Replace the measurements in benchmarks/README.md."""
    path = ROOT / "benchmarks" / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    write_text(path, f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}")


# Networks and frames ----------------------------------------------------------------------------------------------


def plain_runtime() -> Runtime:
    runtime = make_runtime(RuntimeSettings(precision="float32", channels_last=False, backend="eager"))
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = True, False  # PyTorch's defaults
    return runtime


def network(runtime: Runtime, width: int = WIDTH) -> MTCLAR:
    """A network with random weights, the same in every call."""
    torch.manual_seed(0)
    return runtime.to_device(MTCLAR(width).eval())


def random_images(count: int, size: int = IMAGE_SIZE) -> Tensor:
    """(count, 3, size, size) uint8."""
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def encoder(
    backend: str, folder: str, width: int = WIDTH, image_size: int = IMAGE_SIZE
) -> tuple[MTCLAR, Runtime, Backend]:
    """Network, runtime and backend; `folder` is for the converted network."""
    runtime = make_runtime(RuntimeSettings(backend=backend))
    model = network(runtime, width)
    sample = FaceSample("random", lambda: random_images(SAMPLE_FACES, image_size))
    return model, runtime, Backends(Path(folder), f"random {width}", runtime).create(backend, model, image_size, sample)


# Encoder ----------------------------------------------------------------------------------------------------------


def encoding_speed(backend: str, folder: str) -> tuple[float, float]:
    """Images per second, and the share of the peak rate of matrix products in the same precision."""
    if backend == "plain":
        runtime = plain_runtime()
        model, images = network(runtime), random_images(PLAIN_BATCH)
        with torch.inference_mode():
            duration = seconds(lambda: model.encode(runtime.images(images)))
    else:
        _, runtime, encode = encoder(backend, folder)
        images = random_images(4 * encode.batch)
        duration = seconds(lambda: encode(images))
    speed = len(images) / duration
    return speed, speed * FLOP / matrix_peak(runtime.device, runtime.precision)


def measure_encoder(backends: list[str]) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (plain, plain_share), _ = measure_alone(encoding_speed, "plain", folder)
        for backend in backends:
            (speed, share), _ = measure_alone(encoding_speed, backend, folder)
            name = f"encoder, {backend}: images a second (share of the matrix peak)"
            cells = f"{plain:.1f} ({plain_share:.0%})", f"{speed:.1f} ({share:.0%})"
            rows.append(Row(name, *cells, times(speed, plain)))
    return rows


def times(here: float, plain: float) -> str:
    """How many times faster."""
    return f"{here / plain:.1f} ×"


# Labelling --------------------------------------------------------------------------------------------------------


def plain_labelling(frames: int, anchors: int) -> float:
    """Frames per second of the plain implementation, with so many anchors per frame."""
    runtime = plain_runtime()
    model, images, anchor_images = network(runtime), random_images(frames), random_images(anchors)

    @torch.inference_mode()
    def label() -> None:
        for batch in images.split(PLAIN_BATCH):
            for anchor in anchor_images:
                model(runtime.images(batch), runtime.images(anchor.expand_as(batch)))

    return frames / seconds(label, 1, warm_up=runtime.device.type != "cpu")


def labelling(
    backend: str, folder: str, frames: int, anchors: list[int], width: int = WIDTH, image_size: int = IMAGE_SIZE
) -> list[float]:
    """Seconds to encode and label a clip of so many frames, for each number of anchors."""
    model, runtime, encode = encoder(backend, folder, width, image_size)
    labeller = Labeller(ClipEncoder(model, runtime))
    images = random_images(min(frames, IMAGES_PER_PART), image_size)
    encode(images[: encode.batch])

    def label(count: int) -> None:
        starts = range(0, frames, IMAGES_PER_PART)
        rows = [torch.arange(start, min(start + IMAGES_PER_PART, frames)) % len(images) for start in starts]
        clip = labeller.encode_clip(torch.cat([encode(images[part]) for part in rows]), np.arange(frames) / 25)
        indices, labels = np.linspace(0, frames - 1, count).astype(int), np.zeros((count, 2))
        embeddings = clip.embeddings[torch.from_numpy(indices)]
        labeller.label(clip, Anchors(embeddings, labels, labels, clip.times[indices], indices, indices), "mean")

    return [seconds(partial(label, count), 1 if frames > 1000 else 3, warm_up=False) for count in anchors]


def measure_labelling(backends: list[str]) -> list[Row]:
    rows, frames = [], 64 if make_runtime(RuntimeSettings()).device.type == "cpu" else 1_024
    plain = {anchors: measure_alone(plain_labelling, PLAIN_BATCH, anchors) for anchors in (1, 10)}
    with tempfile.TemporaryDirectory() as folder:
        for backend in backends:
            (one, ten, most), memory = measure_alone(labelling, backend, folder, frames, [1, 10, 64])
            for anchors, duration in ((1, one), (10, ten)):
                speed, plain_speed = frames / duration, plain[anchors].value
                name = f"labelling, {backend}, {anchors} anchor{'s' * (anchors > 1)} a frame: frames a second"
                rows.append(Row(name, f"{plain_speed:.2f}", f"{speed:.1f}", times(speed, plain_speed)))
            rows.append(Row(f"labelling, {backend}: time of 64 anchors against 1", "", "", f"{most / one:.2f} ×"))
            rows.append(memory_row(f"labelling, {backend}: peak memory", plain[10].megabytes, memory))
    return rows


def memory_row(name: str, plain: float, here: float) -> Row:
    return Row(name, f"{plain:.0f} MB", f"{here:.0f} MB", f"{here / plain:.2f} ×")


# Training ---------------------------------------------------------------------------------------------------------


def training(method: str) -> float:
    """Compared pairs per second in training. The landmark network is frozen, as with published weights.

    Args:
        method: "plain"; "sampled": each pair is of two new images; or "all": all pairs of the images are compared.
    """
    runtime = plain_runtime() if method == "plain" else make_runtime(RuntimeSettings(backend="eager"))
    model = network(runtime).train()
    model.encoder.freeze_landmarks()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], fused=True)
    first, second = torch.arange(PAIRS), torch.arange(PAIRS) + PAIRS
    if method == "all":
        first, second = torch.triu_indices(IMAGES, IMAGES, 1)
    images = random_images(IMAGES if method == "all" else 2 * PAIRS)
    random_targets = torch.rand(3, len(first), device=runtime.device) - 0.5
    targets = PairTargets((random_targets[0] > 0).long(), *random_targets[1:])

    def step() -> None:
        with runtime.autocast():
            if method == "plain":
                a, b = (model.encode(runtime.images(images[rows])) for rows in (first, second))
            else:
                embeddings = model.encode(runtime.images(images))
                a, b = embeddings[first], embeddings[second]
            predicted = model.compare(a, b)
        optimizer.zero_grad()
        sum(pair_losses(predicted, a, b, targets, 0.5, balance=method == "all").values()).backward()
        optimizer.step()

    return len(first) / seconds(step, 2)


def measure_training(_: list[str]) -> list[Row]:
    (plain, plain_memory), rows = measure_alone(training, "plain"), []
    for method in ("sampled", "all"):
        speed, memory = measure_alone(training, method)
        name = f"training, landmark network frozen, {method} pairs: pairs a second"
        rows.append(Row(name, f"{plain:.2f}", f"{speed:.1f}", times(speed, plain)))
    return [*rows, memory_row("training, landmark network frozen, all pairs: peak memory", plain_memory, memory)]


# Scale ------------------------------------------------------------------------------------------------------------


def measure_scale(_: list[str]) -> list[Row]:
    """Time and memory for ten times the frames, with the demo's small network and images."""
    with tempfile.TemporaryDirectory() as folder:
        measured = [
            measure_alone(labelling, "eager", folder, frames, [10], SMALL_WIDTH, SMALL_IMAGE_SIZE)
            for frames in (1_000, 10_000)
        ]
    ((short,), short_memory), ((long,), long_memory) = measured
    name = "narrow network: seconds for 1,000 frames, in a clip of 1,000 and of 10,000"
    memories = f"{short_memory:.0f} MB, {long_memory:.0f} MB"
    return [
        Row(name, "", f"{short:.2f}, {long / 10:.2f}", f"{long / 10 / short:.2f} ×"),
        Row("their peak memory", "", memories, f"{long_memory / short_memory:.2f} ×"),
    ]


# Rows -------------------------------------------------------------------------------------------------------------


def measure_rows(_: list[str]) -> list[Row]:
    """Reading and pairing a table of AffectNet's size."""
    with tempfile.TemporaryDirectory() as folder:
        run("-m", "benchmarks.affectnet_rows", "make", folder)
        output = run("-m", "benchmarks.affectnet_rows", "read", folder).output
    rows, duration, memory, pairs = map(float, output.split())
    name = f"AffectNet, {rows:,.0f} rows: seconds to the table (peak memory)"
    return [Row(name, "", f"{duration:.1f} ({memory:.0f} MB)"), Row("pairs drawn a second", "", f"{pairs:,.0f}")]


# Whole scripts ----------------------------------------------------------------------------------------------------


def make_video(folder: Path, frames: int, scale: int = 1) -> Path:
    """Write a video of 640 × 360 pixels, times `scale`, of a rendered person. Every 200th frame has a label."""
    clips = [sorted(clip.glob("*.png")) for clip in render_demo(folder / "demo", 0, 10, 48, 2, workers=1).glob("*/")]
    images = [cv2.resize(cv2.imread(str(file)), (320, 320)) for file in max(clips, key=len)]
    images += images[::-1]
    framed = [cv2.copyMakeBorder(image, 20, 20, 160, 160, cv2.BORDER_CONSTANT) for image in images]
    framed = [cv2.resize(image, None, fx=scale, fy=scale) for image in framed]
    write_video(folder / "clip.mp4", (framed[frame % len(framed)] for frame in range(frames)))
    labels = [f"{frame},{(-0.3, 0.1)[frame % 400 == 0]},0.2\n" for frame in range(0, frames, 200)]
    (folder / "clip.csv").write_text("frame,valence,arousal\n" + "".join(labels))
    return folder / "clip.mp4"


def save_network(path: Path, width: int = WIDTH, image_size: int = IMAGE_SIZE) -> None:
    """Save a network with random weights as a checkpoint."""
    settings = MtclarTrainingSettings(data={"image_size": image_size}, model={"width": width})
    state = network(plain_runtime(), width).cpu().state_dict()
    save_checkpoint(path, {"kind": "mtclar", "settings": settings.model_dump(mode="json"), "model": state})


def detection(engine: str, folder: str) -> tuple[float, float]:
    """Core-milliseconds and milliseconds per frame of `make_video`, to decode it, find its face and follow it."""
    video = open_video(make_video(Path(folder), DETECTED_FRAMES))
    detector = FaceDetector(make_runtime(RuntimeSettings()).device if engine == "pytorch" else None)
    if engine == "opencv":
        detector.network = OpenCVCenterFace(centerface_file())
    track_faces(video, progress=False, detector=detector)  # loads packages and compiles the network
    processor, started = time.process_time(), time.perf_counter()
    track_faces(video, progress=False, detector=detector)
    per_frame = 1000 / DETECTED_FRAMES
    return (time.process_time() - processor) * per_frame, (time.perf_counter() - started) * per_frame


def decoding(folder: str, scale: int) -> float:
    """Core-milliseconds per frame of `make_video`, to read it once."""
    video = open_video(make_video(Path(folder), DETECTED_FRAMES, scale))
    started = time.process_time()
    frames = sum(1 for _ in video)
    return (time.process_time() - started) * 1000 / frames


def measure_decoding(_: list[str]) -> list[Row]:
    """Reading a video once."""
    with tempfile.TemporaryDirectory() as folder:
        costs = [measure_alone(decoding, folder, scale).value for scale in (1, 3)]
    name = "a video read once, 640 × 360, 1920 × 1080: core-milliseconds a frame"
    return [Row(name, "", ", ".join(f"{cost:.2f}" for cost in costs))]


def measure_detection(_: list[str]) -> list[Row]:
    """Decoding, face detection in every frame, and tracking."""
    engines = ["opencv"] + ["openvino"] * bool(importlib.util.find_spec("openvino"))
    if make_runtime(RuntimeSettings()).device.type == "cuda" and importlib.util.find_spec("onnx"):
        engines.append("pytorch")
    with tempfile.TemporaryDirectory() as folder:
        measured = {engine: measure_alone(detection, engine, folder).value for engine in engines}
    name = "faces found and followed, {}, 640 × 360: core-milliseconds a frame (milliseconds)"
    cells = {engine: f"{cores:.1f} ({duration:.1f})" for engine, (cores, duration) in measured.items()}
    plain = measured["opencv"][0]
    return [
        Row(name.format(engine), "" if engine == "opencv" else cells["opencv"], cells[engine], times(plain, cores))
        for engine, (cores, _) in measured.items()
    ]


def measure_video(backends: list[str]) -> list[Row]:
    """From the video file to labels.csv: start-up, decoding, detection, tracking, encoding, labelling, plots."""
    rows, frames = [], 1_000
    for backend in backends:
        speeds = []
        for step in ENCODE_EVERY:
            with tempfile.TemporaryDirectory() as folder:
                video, checkpoint = make_video(Path(folder), frames), Path(folder) / "best.pt"
                save_network(checkpoint)
                files = ("--video", video, "--checkpoint", checkpoint, "--runs", folder)
                duration = run("fsl_mtclar.py", *files, "--runtime.backend", backend, "--encode_every", step).seconds
            speeds.append(frames / duration)
        steps = ", ".join(map(str, ENCODE_EVERY))
        name = f"own video, {backend}, 640 × 360, --encode_every {steps}: frames a second from file to labels.csv"
        rows.append(Row(name, "", ", ".join(f"{speed:.1f}" for speed in speeds), times(speeds[-1], speeds[0])))
    return rows


def label_video(video: str, checkpoint: str, runs: str) -> tuple[float, float]:
    """Seconds and core-seconds in which `fsl_mtclar.py` labels a video, without the time to start Python."""
    sys.argv = ["fsl_mtclar.py", "--video", video, "--checkpoint", checkpoint, "--runs", runs]
    import fsl_mtclar

    processor, started = time.process_time(), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        fsl_mtclar.main()
    return time.perf_counter() - started, time.process_time() - processor


def measure_length(_: list[str]) -> list[Row]:
    """A video of ten minutes against one of a minute, with the demo's small network and images."""
    measured, lengths = [], (1_500, 15_000)
    with tempfile.TemporaryDirectory() as folder:
        save_network(checkpoint := Path(folder) / "best.pt", SMALL_WIDTH, SMALL_IMAGE_SIZE)
        for frames in lengths:
            (part := Path(folder) / str(frames)).mkdir()
            video = make_video(part, frames)
            measured.append(measure_alone(label_video, str(video), str(checkpoint), folder))
    (minute, minute_memory), (ten_minutes, long_memory) = measured
    name = "narrow network, own video: {} a frame, in a video of a minute and of ten minutes"
    rows = []
    for unit, short, long in zip(("milliseconds", "core-milliseconds"), minute, ten_minutes, strict=True):
        short, long = 1000 * short / lengths[0], 1000 * long / lengths[1]
        rows.append(Row(name.format(unit), "", f"{short:.2f}, {long:.2f}", f"{long / short:.2f} ×"))
    memories = f"{minute_memory:.0f} MB, {long_memory:.0f} MB"
    return [*rows, Row("their peak memory", "", memories, f"{long_memory / minute_memory:.2f} ×")]


def measure_processes(_: list[str]) -> list[Row]:
    """A folder of videos, labelled by several processes that share the GPUs."""
    if make_runtime(RuntimeSettings()).device.type == "cpu":
        return []
    with tempfile.TemporaryDirectory() as folder:
        video = make_video(Path(folder), FRAMES)
        (videos := Path(folder) / "videos").mkdir()
        for number, suffix in itertools.product(range(VIDEOS), (".mp4", ".csv")):
            shutil.copy(video.with_suffix(suffix), videos / f"{number}{suffix}")
        speeds = [VIDEOS * FRAMES / label_by_processes(videos, processes) for processes in PROCESSES]
    name = (
        f"{VIDEOS} videos of {FRAMES:,} frames, eager, --encode_every 3, by {', '.join(map(str, PROCESSES))} processes"
    )
    cells = ", ".join(f"{speed:.0f}" for speed in speeds), times(speeds[-1], speeds[0])
    return [Row(f"{name}: frames a second from files to labels.csv", "", *cells)]


def label_by_processes(videos: Path, processes: int) -> float:
    """Seconds in which so many processes label the videos, start-up included."""
    with tempfile.TemporaryDirectory() as folder:
        save_network(checkpoint := Path(folder) / "best.pt")
        launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}")
        files = ("--video", videos, "--checkpoint", checkpoint, "--runs", folder)
        threads = max(1, (os.cpu_count() or 1) // processes)
        command = (*launcher, "fsl_mtclar.py", *files, "--runtime.backend", "eager", "--encode_every", 3)
        return run(*command, threads=threads).seconds


def measure_labels(backends: list[str], checkpoint: Path) -> str:
    """Speed and errors of labels on the same film, as a Markdown table.

    Args:
        backends: those that can be used.
        checkpoint: best.pt of a calibrated mtclar.py run on the demo set.
    """
    from benchmarks.video_labels import measure_film  # here, since the other parts must not load what it needs

    compared = [backend for backend in backends if backend.startswith("openvino")] or ["eager"]
    with tempfile.TemporaryDirectory() as folder:
        save_network(published := Path(folder) / "best.pt")
        measured = measure_film(compared, checkpoint, published, Path(folder))
    lines = [measured.columns, ["---"] * len(measured.columns), *measured.fillna("").to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


class Finished(NamedTuple):
    """How long a command took, and its standard output."""

    seconds: float
    output: str


def run(
    *command: object, root: Path = ROOT, python: str | Path = sys.executable, threads: int | None = None
) -> Finished:
    """Run a script or module of the project, or of another checkout of it with its own interpreter.

    Args:
        command: the script or module with its arguments.
        root: the checkout.
        python: the interpreter.
        threads: value of OMP_NUM_THREADS; None: as in this process.
    """
    variables = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    started = time.perf_counter()
    done = subprocess.run(
        [str(python), *map(str, command)], cwd=root, check=True, capture_output=True, text=True, env=variables
    )
    return Finished(time.perf_counter() - started, done.stdout)


def measure_start(_: list[str]) -> list[Row]:
    scripts = [path.name for path in sorted(ROOT.glob("*mtclar*.py"))]
    durations = [min(run(script, "--help").seconds for _ in range(3)) for script in scripts]
    return [Row(f"seconds of --help: {', '.join(scripts)}", "", ", ".join(f"{one:.2f}" for one in durations))]


PARTS: dict[str, Callable[[list[str]], list[Row]]] = {
    "encoder": measure_encoder,
    "labelling": measure_labelling,
    "training": measure_training,
    "scale": measure_scale,
    "rows": measure_rows,
    "decoding": measure_decoding,
    "detection": measure_detection,
    "video": measure_video,
    "processes": measure_processes,
    "length": measure_length,
    "start": measure_start,
}


if __name__ == "__main__":
    main()
