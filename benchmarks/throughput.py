"""How fast it is on this machine: the plain way against this project's, on the same frames and weights.

    python benchmarks/throughput.py                  every part, in minutes
    python benchmarks/throughput.py labelling scale  some of them
    python benchmarks/throughput.py --readme         also writes the table to benchmarks/README.md
    python benchmarks/throughput.py --compile        torch.compile too, which takes a minute to start

The plain way is float32 in PyTorch's own layout, both faces of every pair through `model(image_1, image_2)`, five
pairs at a time. Networks have the published size (width 256, 256 × 256 pixels) and random weights unless a row says
otherwise. A ratio compares two measurements of one run; each part runs in processes of its own.
"""

import argparse
import importlib.util
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

from benchmarks.measure import alone, machine, matrix_peak, seconds
from datasets.demo import render_demo
from models.mtclar import MTCLAR
from utils.backends import BackEnds
from utils.checkpoint import save_checkpoint
from utils.files import write_text
from utils.labelling import Anchors, label_clip, see_clip
from utils.losses import PairTargets, pair_losses
from utils.runtime import Runtime, make_runtime
from utils.settings import RuntimeSettings, Settings

SIZE, WIDTH, FLOP = 256, 256, 33.87e9  # of the published network; FLOP an image, counted by torch.utils.flop_counter
SMALL_SIZE, SMALL_WIDTH = 64, 64
PLAIN_BATCH = 5
PAIRS, IMAGES = 8, 24  # of a training step: sampled pairs; images that all meet
START, END = "<!-- throughput -->", "<!-- end of throughput -->"


class Row(NamedTuple):
    """A line of the table."""

    what: str
    plain: str
    here: str
    ratio: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--readme", action="store_true", help="write the table to benchmarks/README.md")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; choose of {', '.join(PARTS)}")
    backends = ["eager"] + ["compile"] * arguments.compile
    if make_runtime(RuntimeSettings()).device.type == "cpu" and importlib.util.find_spec("openvino"):
        backends.append("openvino")
    rows = []
    for name in arguments.parts or PARTS:
        print(f"measuring {name} ...", file=sys.stderr)
        rows += PARTS[name](backends)
    text = table(rows)
    print(f"\n{machine()}\n\n{text}")
    if arguments.readme:
        write_readme(f"{machine()}; {time.strftime('%Y-%m-%d')}.\n\n{text}")


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [Row("", "plain", "here", "ratio"), Row(*["---"] * 4), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def write_readme(text: str) -> None:
    path = ROOT / "benchmarks" / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    write_text(path, f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}")


# Networks and frames ----------------------------------------------------------------------------------------------


def plain_runtime() -> Runtime:
    return make_runtime(RuntimeSettings(precision="float32", channels_last=False, backend="eager"))


def network(runtime: Runtime, width: int = WIDTH) -> MTCLAR:
    torch.manual_seed(0)
    return runtime.place(MTCLAR(width).eval())


def faces(count: int, size: int = SIZE) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def encoder(backend: str, folder: str, width: int = WIDTH, size: int = SIZE):
    """Model, runtime and `encode` of a back end; a converted network goes to `folder`."""
    runtime = make_runtime(RuntimeSettings(backend=backend))
    model = network(runtime, width)
    return model, runtime, BackEnds(Path(folder), f"random {width}", runtime).make(backend, model, size)


# Encoder ----------------------------------------------------------------------------------------------------------


def encoding_speed(backend: str, folder: str) -> tuple[float, float]:
    """Images a second, and the share of the matrix peak in that precision."""
    if backend == "plain":
        runtime = plain_runtime()
        model, images = network(runtime), faces(PLAIN_BATCH)
        with torch.inference_mode():
            took = seconds(lambda: model.encode(runtime.images(images)))
    else:
        _, runtime, encode = encoder(backend, folder)
        images = faces(4 * encode.batch)
        took = seconds(lambda: encode(images))
    speed = len(images) / took
    return speed, speed * FLOP / matrix_peak(runtime.device, runtime.precision)


def measure_encoder(backends: list[str]) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (plain, plain_share), _ = alone(encoding_speed, "plain", folder)
        for backend in backends:
            (speed, share), _ = alone(encoding_speed, backend, folder)
            what = f"encoder, {backend}: images a second (share of the matrix peak)"
            before, now = f"{plain:.1f} ({plain_share:.0%})", f"{speed:.1f} ({share:.0%})"
            rows.append(Row(what, before, now, times(speed, plain)))
    return rows


def times(here: float, plain: float) -> str:
    return f"{here / plain:.1f} ×"


# Labelling --------------------------------------------------------------------------------------------------------


def plain_labelling(frames: int, anchors: int) -> float:
    """Frames a second."""
    runtime = plain_runtime()
    model, images, known = network(runtime), faces(frames), faces(anchors)

    @torch.inference_mode()
    def label() -> None:
        for batch in images.split(PLAIN_BATCH):
            for anchor in known:
                model(runtime.images(batch), runtime.images(anchor.expand_as(batch)))

    return frames / seconds(label, 1, warm=False)


def labelling(backend: str, folder: str, frames: int, anchors: list[int], width=WIDTH, size=SIZE) -> list[float]:
    """Seconds of labelling a clip of so many frames from each number of anchors."""
    model, runtime, encode = encoder(backend, folder, width, size)
    images = faces(min(frames, 256), size)
    encode(images[: encode.batch])

    def label(count: int) -> None:
        parts = [encode(images[torch.arange(start, min(start + 256, frames)) % len(images)])
                 for start in range(0, frames, 256)]  # fmt: skip
        clip = see_clip(model, runtime, torch.cat(parts), np.arange(frames) / 25)
        at = np.linspace(0, frames - 1, count).astype(int)
        labels = np.zeros((count, 2))
        known = Anchors(clip.embeddings[torch.from_numpy(at)], labels, labels, clip.times[at], at, at)
        label_clip(model, runtime, clip, known, "mean", None)

    return [seconds(partial(label, count), 1 if frames > 1000 else 3, warm=False) for count in anchors]


def measure_labelling(backends: list[str]) -> list[Row]:
    rows, frames = [], 64
    plain = {anchors: alone(plain_labelling, PLAIN_BATCH, anchors) for anchors in (1, 10)}
    with tempfile.TemporaryDirectory() as folder:
        for backend in backends:
            (one, ten, most), memory = alone(labelling, backend, folder, frames, [1, 10, 64])
            for anchors, took in ((1, one), (10, ten)):
                speed, before = frames / took, plain[anchors].value
                what = f"labelling, {backend}, {anchors} anchor{'s' * (anchors > 1)} a frame: frames a second"
                rows.append(Row(what, f"{before:.2f}", f"{speed:.1f}", times(speed, before)))
            rows.append(Row(f"labelling, {backend}: time of 64 anchors against 1", "", "", f"{most / one:.2f} ×"))
            before = plain[10].megabytes
            rows.append(Row(f"labelling, {backend}: peak memory", f"{before:.0f} MB", f"{memory:.0f} MB",
                            f"{memory / before:.2f} ×"))  # fmt: skip
    return rows


# Training ---------------------------------------------------------------------------------------------------------


def training(way: str) -> float:
    """Comparisons a second, the landmark network frozen as with published weights."""
    runtime = plain_runtime() if way == "plain" else make_runtime(RuntimeSettings(backend="eager"))
    model = network(runtime).train()
    model.encoder.freeze_landmarks()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], fused=True)
    first, second = torch.arange(PAIRS), torch.arange(PAIRS) + PAIRS
    if way == "all":
        first, second = torch.triu_indices(IMAGES, IMAGES, 1)
    images = faces(IMAGES if way == "all" else 2 * PAIRS)
    wanted = torch.rand(3, len(first), device=runtime.device) - 0.5
    targets = PairTargets((wanted[0] > 0).long(), *wanted[1:])

    def step() -> None:
        with runtime.autocast():
            if way == "plain":
                a, b = (model.encode(runtime.images(images[rows])) for rows in (first, second))
            else:
                embeddings = model.encode(runtime.images(images))
                a, b = embeddings[first], embeddings[second]
            predicted = model.compare(a, b)
        optimizer.zero_grad()
        sum(pair_losses(predicted, a, b, targets, 0.5, balance=way == "all").values()).backward()
        optimizer.step()

    return len(first) / seconds(step, 2)


def measure_training(_: list[str]) -> list[Row]:
    (plain, plain_memory), rows = alone(training, "plain"), []
    for way in ("sampled", "all"):
        speed, memory = alone(training, way)
        rows.append(Row(f"training, {way}: pairs a second", f"{plain:.2f}", f"{speed:.1f}", times(speed, plain)))
    rows.append(Row("training, all: peak memory", f"{plain_memory:.0f} MB", f"{memory:.0f} MB",
                    f"{memory / plain_memory:.2f} ×"))  # fmt: skip
    return rows


# Scale ------------------------------------------------------------------------------------------------------------


def measure_scale(_: list[str]) -> list[Row]:
    """Ten times the frames: ten times the time, and hardly more memory (the demo's narrow network, 64 × 64)."""
    with tempfile.TemporaryDirectory() as folder:
        found = {frames: alone(labelling, "eager", folder, frames, [10], SMALL_WIDTH, SMALL_SIZE)
                 for frames in (1_000, 10_000)}  # fmt: skip
    (few,), less = found[1_000]
    (many,), more = found[10_000]
    return [
        Row("narrow network: seconds for 1,000 frames, in a clip of 1,000 and of 10,000", "",
            f"{few:.2f}, {many / 10:.2f}", f"{many / 10 / few:.2f} ×"),
        Row("their peak memory", "", f"{less:.0f} MB, {more:.0f} MB", f"{more / less:.2f} ×"),
    ]  # fmt: skip


# Rows -------------------------------------------------------------------------------------------------------------


def measure_rows(_: list[str]) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        run("-m", "benchmarks.affectnet_rows", "make", folder)
        done = subprocess.run([sys.executable, "-m", "benchmarks.affectnet_rows", "read", folder], cwd=ROOT, check=True,
                              capture_output=True, text=True)  # fmt: skip
    rows, took, memory, pairs = map(float, done.stdout.split())
    return [
        Row(f"AffectNet, {rows:,.0f} rows: seconds to the table (peak memory)", "", f"{took:.1f} ({memory:.0f} MB)"),
        Row("pairs drawn a second", "", f"{pairs:,.0f}"),
    ]


# Whole scripts ----------------------------------------------------------------------------------------------------


def make_video(folder: Path, frames: int) -> Path:
    """A rendered person in a video of 640 × 360."""
    clips = [sorted(clip.glob("*.png")) for clip in render_demo(folder / "demo", 0, 10, 48, 2, workers=1).glob("*/")]
    pictures = [cv2.resize(cv2.imread(str(file)), (320, 320)) for file in max(clips, key=len)]
    pictures += pictures[::-1]
    framed = [cv2.copyMakeBorder(picture, 20, 20, 160, 160, cv2.BORDER_CONSTANT) for picture in pictures]
    write_video(folder / "clip.mp4", (framed[frame % len(framed)] for frame in range(frames)))
    (folder / "clip.csv").write_text("frame,valence,arousal\n0,0.1,0.2\n200,-0.3,0.4\n")
    return folder / "clip.mp4"


def measure_video(backends: list[str]) -> list[Row]:
    """From the file to labels.csv: decoding, detection, tracking, encoding, labelling, plots, and the start-up."""
    rows, frames = [], 1_000
    settings = Settings(data={"image_size": SIZE}, model={"width": WIDTH})
    content = {"kind": "mtclar", "settings": settings.model_dump(mode="json"),
               "model": network(plain_runtime()).cpu().state_dict()}  # fmt: skip
    for backend in backends:
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder) / "best.pt", content)
            took = run("fsl_mtclar.py", "--video", make_video(Path(folder), frames), "--checkpoint",
                       Path(folder) / "best.pt", "--runs", folder, "--runtime.backend", backend)  # fmt: skip
        what = f"own video, {backend}, 640 × 360: frames a second from file to labels.csv, start-up included"
        rows.append(Row(what, "", f"{frames / took:.1f}"))
    return rows


def run(*command) -> float:
    """Seconds of a script of the project."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def measure_start(_: list[str]) -> list[Row]:
    scripts = [path.name for path in sorted(ROOT.glob("*mtclar*.py"))]
    took = [min(run(script, "--help") for _ in range(3)) for script in scripts]
    return [Row(f"seconds of --help: {', '.join(scripts)}", "", ", ".join(f"{one:.2f}" for one in took))]


PARTS: dict[str, Callable[[list[str]], list[Row]]] = {
    "encoder": measure_encoder,
    "labelling": measure_labelling,
    "training": measure_training,
    "scale": measure_scale,
    "rows": measure_rows,
    "video": measure_video,
    "start": measure_start,
}


if __name__ == "__main__":
    main()
