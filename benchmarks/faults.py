"""Kills the scripts at random times, continues them, and compares their results with those of undisturbed runs.

    python benchmarks/faults.py                       50 kills over all jobs, in about 15 minutes
    python benchmarks/faults.py --kills 6 --seed 3
    python benchmarks/faults.py --jobs train video

Each kill is a SIGKILL at a time drawn uniformly from the duration of an undisturbed run. The same command is then run
again, and its results are compared byte by byte (of the log, all numbers except the seconds). Meanwhile a watcher reads
every file that appears under its final name, so that a half-written file would be detected. Everything runs on the CPU
in float32. The scripts are forked from a process that has already imported PyTorch, so that most kills hit the work
rather than the imports.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

PRELOAD = [
    "mtclar",
    "fsl_mtclar",
    "mtclar_sl",
    "utils.training.loop",
    "utils.training.pair_training",
    "utils.labelling.report",
    "utils.labelling.dataset",
    "utils.videos.label_video",
    "utils.supervised.folds",
    "utils.supervised.report",
]
PEOPLE, FRAMES, SHORT = 12, 9, 5
NEW_PEOPLE_SEED = 100  # of a demo set of people that the network was not trained on
SAVE_MINUTES = 1e-6  # saves last.pt after every step
POLL_INTERVAL = 0.01  # seconds between two scans of the watcher


class Job(NamedTuple):
    """A command that is killed and run again.

    Attributes:
        script: name of the script, without `.py`.
        argv: function of the folder of shared files (data sets, video, labels) to the command line.
        results: files of the run folder to compare; the first one exists only when the run has finished.
        needs_checkpoint: whether the command needs the trained network, as net/best.pt.
    """

    script: str
    argv: Callable[[Path], list[str]]
    results: tuple[str, ...]
    needs_checkpoint: bool = True


COMMON_ARGUMENTS = ["--runs=runs", "--runtime.precision=float32", "--runtime.device=cpu"]


def data_arguments(shared: Path, data: str = "demo") -> list[str]:
    """Command line that names a demo set among the shared files."""
    return [
        f"--data.root={shared / data}",
        f"--demo.people={PEOPLE}",
        f"--demo.frames={FRAMES}",
        f"--demo.short_frames={SHORT}",
        "--data.cache=cache",
        *COMMON_ARGUMENTS,
    ]


TRAINING_ARGUMENTS = [
    "--model.width=16",
    "--train.epochs=3",
    "--train.batch=8",
    "--train.subjects=4",
    "--train.epoch_size=24",
    "--train.patience=2",
    "--pairs.validation=20",
    "--pairs.test=30",
    "--data.workers=1",
    f"--train.save_minutes={SAVE_MINUTES}",
    "--train.resume=latest",
]

# To test another script, add an entry.
JOBS = {
    "train": Job(
        "mtclar",
        lambda shared: [*data_arguments(shared), *TRAINING_ARGUMENTS],
        ("scores.json", "predictions.csv", "log.jsonl", "best.pt", "last.pt"),
        needs_checkpoint=False,
    ),
    "label": Job(
        "fsl_mtclar",
        lambda shared: ["--checkpoint=net/best.pt", "--data.cache=cache", *COMMON_ARGUMENTS, "--support_set.amount=3"],
        ("scores.csv", "labels.csv"),
    ),
    "heads": Job(
        "mtclar_sl",
        lambda shared: [
            *data_arguments(shared, "new_people"),
            f"--demo.seed={NEW_PEOPLE_SEED}",
            "--data.fold=0",
            "--checkpoint=net/best.pt",
            "--train.epochs=3",
            f"--train.save_minutes={SAVE_MINUTES}",
            "--train.resume=latest",
            "--data.workers=1",
        ],
        ("scores.csv", "predictions.csv", "best.pt", "log.jsonl"),
    ),
    "video": Job(
        "fsl_mtclar",
        lambda shared: [
            "--checkpoint=net/best.pt",
            f"--video={shared / 'clip.mp4'}",
            f"--labels={shared / 'labels.csv'}",
            *COMMON_ARGUMENTS,
        ],
        ("clip.track0.arousal.annotation", "clip.track0.arousal.annotation~", "labels.csv"),
    ),
}


def call(script: str, argv: list[str], folder: Path) -> None:
    """Run a script in `folder`, in the forked process. Its output goes to output.txt."""
    os.chdir(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = [f"{script}.py", *argv]
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)  # for image workers
    import importlib

    import torch

    from utils.runs.script import run_script

    torch.set_num_threads(1)
    run_script(importlib.import_module(script).main)


def run(job: Job, shared: Path, folder: Path, kill_after: float | None = None) -> int | None:
    """Run the command of a job; return its exit code, or None if it was killed after `kill_after` seconds."""
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=call, args=(job.script, job.argv(shared), folder))
    process.start()
    process.join(kill_after)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def results(job: Job, folder: Path) -> dict[str, object]:
    """The results of the newest finished run in the folder, in a form that can be compared."""
    finished = sorted((folder / "runs" / job.script).glob(f"*/{job.results[0]}"))
    return {name: _comparable(finished[-1].with_name(name)) for name in job.results}


def _comparable(path: Path) -> object:
    if path.suffix == ".jsonl":
        return [json.loads(line) | {"seconds": 0} for line in path.read_text().splitlines()]
    if path.name != "last.pt":
        return path.read_bytes()
    import torch

    content = torch.load(path, weights_only=True)
    content["progress"]["seconds"] = 0
    return repr(_plain(content))


def _plain(value: object) -> object:
    """The value with the bytes of each tensor in place of the tensor."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.numpy().tobytes() if hasattr(value, "numpy") else value


class Watcher(threading.Thread):
    """Reads each file under its final name as soon as it appears or changes.

    Attributes:
        reads: number of files that were read.
        broken: messages about files that could not be read.
        stopped: set it to stop the thread.
    """

    def __init__(self, folder: Path):
        super().__init__(daemon=True)
        self.folder, self.reads, self.stopped = folder, 0, threading.Event()
        self.broken: list[str] = []
        self._states: dict[Path, tuple[int, int, int]] = {}

    def run(self) -> None:
        while not self.stopped.wait(POLL_INTERVAL):
            for path in [Path(base, name) for base, _, names in os.walk(self.folder) for name in names]:
                if not path.name.startswith(".") and path.suffix in READERS:
                    self._read(path)

    def _read(self, path: Path) -> None:
        """Read a file that has changed."""
        try:
            status = path.stat()
            state = status.st_mtime_ns, status.st_size, status.st_ino
            if self._states.get(path) != state:
                READERS[path.suffix](path)
                self._states[path], self.reads = state, self.reads + 1
        except FileNotFoundError:
            pass  # It has been deleted or renamed in the meantime.
        except Exception as error:  # Readers raise errors of many kinds for a half-written file.
            self.broken.append(f"{path}: {error!r}")


def read_checkpoint(path: Path) -> None:
    import torch

    torch.load(path, weights_only=True)


def read_arrays(path: Path) -> None:
    import numpy as np

    content = np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        for name in content:
            content[name]


def read_table(path: Path) -> None:
    import pandas as pd

    text = path.read_text()
    if not text.endswith("\n"):
        raise ValueError("the last line is incomplete")
    pd.read_csv(path)


def read_lines(path: Path) -> None:
    for line in path.read_text().splitlines():
        json.loads(line)


def read_image(path: Path) -> None:
    if not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
        raise ValueError("the image is incomplete")


def read_settings(path: Path) -> None:
    import yaml

    if "runtime" not in yaml.safe_load(path.read_text()):  # the last section of the file
        raise ValueError("the settings are incomplete")


def read_xml(path: Path) -> None:
    from defusedxml.ElementTree import parse

    parse(path)


READERS = {
    ".pt": read_checkpoint,
    ".npz": read_arrays,
    ".npy": read_arrays,
    ".csv": read_table,
    ".jsonl": read_lines,
    ".json": lambda path: json.loads(path.read_text()),
    ".png": read_image,
    ".yaml": read_settings,
    ".eaf": read_xml,
    ".annotation": read_xml,
}


def prepare(shared: Path) -> None:
    """Make the shared files: two demo sets, and a video with labels."""
    import numpy as np
    from clips import face_images, write_video

    from datasets.demo.dataset import render_demo
    from datasets.demo.traces import label_trace

    for name, number in (("demo", 0), ("new_people", NEW_PEOPLE_SEED)):
        render_demo(shared / name, number, PEOPLE, FRAMES, SHORT)
    write_video(shared / "clip.mp4", face_images(label_trace(np.random.default_rng(1), 40)), 20)
    (shared / "labels.csv").write_text("frame,valence,arousal\n3,0.5,-0.2\n20,-0.4,0.1\n")


def new_folder(folder: Path, job: Job, checkpoint: Path) -> Path:
    """Create the working folder of a job, with the trained network if it needs one."""
    folder.mkdir()
    if job.needs_checkpoint:
        (folder / "net").mkdir()
        shutil.copy(checkpoint, folder / "net" / ".best.pt")
        (folder / "net" / ".best.pt").rename(folder / "net" / "best.pt")  # The watcher reads this folder, too.
    return folder


def finish(job: Job, shared: Path, folder: Path) -> None:
    """Run the command of a job, which must succeed."""
    code = run(job, shared, folder)
    if code:
        raise SystemExit(f"{folder}: exit code {code}\n{(folder / 'output.txt').read_text()}")


class Tally(NamedTuple):
    """Results of the trials of a job: killed runs, those that continued to identical results, and late kills."""

    kills: int = 0
    identical: int = 0
    finished_before_kill: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="number of kills over all jobs (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the random times (default: 0)")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="jobs to kill (default: all)")
    arguments = parser.parse_args()
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        failures = run_trials(Path(folder), arguments)
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    sys.exit(bool(failures))


def run_trials(shared: Path, arguments: argparse.Namespace) -> int:
    """Run all jobs undisturbed, then kill them in turn; return the number of failures."""
    prepare(shared)
    checkpoint = shared / "undisturbed-train" / "best.pt"
    expected, durations = {}, {}
    for name in dict.fromkeys(["train", *arguments.jobs]):  # The other jobs use the network that `train` trains.
        job, folder, started = JOBS[name], shared / f"undisturbed-{name}", time.monotonic()
        finish(job, shared, new_folder(folder, job, checkpoint))
        durations[name], expected[name] = time.monotonic() - started, results(job, folder)
        if name == "train":
            shutil.copy(next(folder.glob("runs/mtclar/*/best.pt")), checkpoint)
    watcher, rng = Watcher(shared), random.Random(arguments.seed)
    watcher.start()
    tallies = {name: Tally() for name in arguments.jobs}
    while sum(tally.kills for tally in tallies.values()) < arguments.kills:
        trials = sum(tally.kills + tally.finished_before_kill for tally in tallies.values())
        name = arguments.jobs[trials % len(arguments.jobs)]
        job, folder = JOBS[name], new_folder(shared / "trial", JOBS[name], checkpoint)
        seconds, tally = rng.uniform(0, durations[name]), tallies[name]
        if run(job, shared, folder, seconds) is not None:
            tallies[name] = tally._replace(finished_before_kill=tally.finished_before_kill + 1)
        else:
            finish(job, shared, folder)
            identical = results(job, folder) == expected[name]
            tallies[name] = tally._replace(kills=tally.kills + 1, identical=tally.identical + identical)
            print(f"{name:8} killed after {seconds:5.2f} s: {'identical' if identical else 'DIFFERENT'}", flush=True)
        shutil.rmtree(folder)
    watcher.stopped.set()
    watcher.join()
    return report(tallies, watcher)


def report(tallies: dict[str, Tally], watcher: Watcher) -> int:
    """Print a summary; return the number of failures."""
    print(f"\n{'job':8} {'kills':>6} {'identical':>10}")
    for name, tally in tallies.items():
        print(f"{name:8} {tally.kills:6} {tally.identical:10}")
    kills, identical = (sum(getattr(tally, name) for tally in tallies.values()) for name in ("kills", "identical"))
    print(f"\n{identical} of {kills} killed runs continued to identical results")
    print(f"{len(watcher.broken)} half-written files among the {watcher.reads} that the watcher read")
    print(*watcher.broken[:20], sep="\n")
    return kills - identical + len(watcher.broken)


if __name__ == "__main__":
    main()
