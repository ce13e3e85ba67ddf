"""Measures how fast this version labels a video, against another version of this project.

    git worktree add ../base 89ad9f2
    python benchmarks/compare_versions.py --base ../base

Both versions label the same rendered video of 640 × 360 pixels by `fsl_mtclar.py --video`, from the file to labels.csv,
with the same labels and the same weights: the published network (width 256, 256 × 256 pixels) with random weights. Each
run is a process of its own and finds nothing in the caches except the network converted for OpenVINO, as from the
second video on. The versions take turns, so that a change of the machine's load meets both.

The table has a row for each value of `--encode_every`: frames per second, core-milliseconds per frame (processor time,
which depends less on what else is running), and how many times both are better than with the other version. Ratios
are of two runs of one round; the median of the rounds is shown.
"""

import argparse
import importlib.util
import resource
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import yaml

from benchmarks.measure import machine
from benchmarks.throughput import IMAGE_SIZE, WIDTH, make_video, network, plain_runtime, run
from utils.config.mtclar import MtclarTrainingSettings
from utils.runs.checkpoint import save_checkpoint

WARM_UP_FRAMES = 210


class Version(NamedTuple):
    """A checkout of the project, its interpreter, and a folder for its caches and runs."""

    root: Path
    python: Path
    folder: Path


class LabelledVideo(NamedTuple):
    """What a run cost, per frame of the video.

    Attributes:
        seconds: wall-clock seconds.
        core_seconds: processor time of all threads in seconds.
        encoded: share of the faces that were encoded.
    """

    seconds: float
    core_seconds: float
    encoded: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder of a checkout of the other version")
    parser.add_argument("--python", type=Path, help="its interpreter (default: that of .venv there, else this one)")
    parser.add_argument("--frames", type=int, default=1_000, help="length of the video")
    parser.add_argument("--rounds", type=int, default=3, help="how often each version labels the video")
    parser.add_argument("--encode_every", nargs="+", default=["1", "2", "3", "auto"], help="values to measure")
    parser.add_argument(
        "--backend",
        choices=["eager", "openvino", "openvino-int8"],
        help="default: openvino if it is installed; with openvino-int8, the other version uses openvino",
    )
    arguments = parser.parse_args()
    backend = arguments.backend or ("openvino" if importlib.util.find_spec("openvino") else "eager")
    base_root = arguments.base.resolve()
    venv_python = base_root / ".venv" / "bin" / "python"
    base_python = arguments.python or (venv_python if venv_python.exists() else Path(sys.executable))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base = Version(base_root, base_python, folder / "base")
        here = Version(ROOT, Path(sys.executable), folder / "here")
        save_networks(base, here)
        measured = measure_rounds(base, here, folder, arguments, backend)
    print(f"{machine()}; {backend}, {arguments.frames} frames, {arguments.rounds} rounds\n\n{table(measured)}")


def save_networks(base: Version, here: Version) -> None:
    """Save a network with random weights for both versions, with the settings that both know."""
    settings = MtclarTrainingSettings(data={"image_size": IMAGE_SIZE}, model={"width": WIDTH}).model_dump(mode="json")
    known = yaml.safe_load((base.root / "config.yaml").read_text(encoding="utf-8"))
    state = network(plain_runtime()).cpu().state_dict()
    for version in (base, here):
        version.folder.mkdir()
        content = {"kind": "mtclar", "settings": only_known(settings, known), "model": state}
        save_checkpoint(version.folder / "best.pt", content)


def only_known(settings: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The settings whose names are known, section by section."""
    return {
        name: only_known(value, known[name]) if isinstance(value, dict) and isinstance(known[name], dict) else value
        for name, value in settings.items()
        if name in known
    }


def measure_rounds(
    base: Version, here: Version, folder: Path, arguments: argparse.Namespace, backend: str
) -> dict[str, list[LabelledVideo]]:
    """What each run cost, by value of `--encode_every`; the other version is called "base"."""
    of_base = ("--runtime.backend", backend.removesuffix("-int8"))
    of_here = ("--runtime.backend", backend)
    runs: dict[str, tuple[Version, tuple[str, ...]]] = {"base": (base, of_base)}
    runs |= {value: (here, (*of_here, "--encode_every", value)) for value in arguments.encode_every}
    videos = []
    for name, frames in (("warm_up", WARM_UP_FRAMES), ("video", arguments.frames)):
        (folder / name).mkdir()
        videos.append(make_video(folder / name, frames))
    label(base, videos[0], WARM_UP_FRAMES, of_base)
    label(here, videos[0], WARM_UP_FRAMES, of_here)
    measured: dict[str, list[LabelledVideo]] = {name: [] for name in runs}
    for number in range(arguments.rounds):
        for name, (version, options) in runs.items():
            cost = label(version, videos[1], arguments.frames, options)
            measured[name].append(cost)
            print(f"round {number + 1}, {name}: {1 / cost.seconds:.1f} frames/s", file=sys.stderr)
    return measured


def label(version: Version, video: Path, frames: int, options: tuple[str, ...]) -> LabelledVideo:
    """Label a video that is not in the caches. Only the network converted for OpenVINO is kept."""
    cached = version.folder / "embeddings"
    for file in [*cached.glob("*.npz"), *cached.glob("*.int8.*")]:
        file.unlink()
    files = ("--video", video, "--checkpoint", version.folder / "best.pt", "--runs", version.folder)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    duration = run("fsl_mtclar.py", *files, *options, root=version.root, python=version.python).seconds
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    core_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    embeddings = [np.load(file)["embeddings"] for file in cached.glob("*.npz") if ".faces" not in file.suffixes]
    return LabelledVideo(
        duration / frames, core_seconds / frames, float(np.isfinite(np.concatenate(embeddings)).mean())
    )


def table(measured: dict[str, list[LabelledVideo]]) -> str:
    """A Markdown table with a row for each value of `--encode_every`."""
    columns = ["", "faces encoded", "frames/s", "ratio", "core-ms a frame", "ratio"]
    lines = [columns, ["---"] * len(columns)]
    for name, costs in measured.items():
        pairs = list(zip(measured["base"], costs, strict=True))
        seconds, core_seconds = (median(cost[column] for cost in costs) for column in (0, 1))
        ratios = [median(base[column] / here[column] for base, here in pairs) for column in (0, 1)]
        cells = [f"{costs[0].encoded:.0%}", f"{1 / seconds:.1f}", f"{ratios[0]:.2f} ×"]
        label = "base" if name == "base" else f"`--encode_every {name}`"
        lines.append([label, *cells, f"{1000 * core_seconds:.1f}", f"{ratios[1]:.2f} ×"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
