"""Kill the scripts at random moments, go on, and compare with runs that nobody has disturbed.

    python benchmarks/faults.py                       50 kills over all jobs, some minutes
    python benchmarks/faults.py --kills 6 --seed 3
    python benchmarks/faults.py --jobs train video

Each kill is a SIGKILL at a moment drawn uniformly from the length of an undisturbed run; then the same command is
given again, and what it ends with is compared byte by byte (of the log all numbers but the seconds). Meanwhile a
watcher reads every file that appears under its final name, so that a half-written one would be seen. On the CPU, in
float32. The scripts run as forks of a process that has imported PyTorch already, so that kills meet work.
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

PRELOAD = ["mtclar", "fsl_mtclar", "mtclar_sl", "utils.engine", "utils.pair_training", "utils.report",
           "utils.label_dataset", "utils.videos.label_video", "utils.supervised.folds",
           "utils.supervised.report"]  # fmt: skip
PEOPLE, FRAMES, SHORT = 12, 9, 5
STRANGERS = 100  # seed of people whom the network does not know
SAVE_MINUTES = 1e-6  # after every step
PAUSE = 0.01  # seconds between two looks of the watcher


class Job(NamedTuple):
    """A command, given again after a kill. `shared` holds what was made once: data, video, checkpoint."""

    script: str
    argv: Callable[[Path], list[str]]
    results: tuple[str, ...]
    """Files of the finished run folder to compare; the first of them marks it as finished."""
    needs_checkpoint: bool = True


def data_settings(shared: Path, data: str = "demo") -> list[str]:
    return [f"--data.root={shared / data}", f"--demo.people={PEOPLE}", f"--demo.frames={FRAMES}",
            f"--demo.short_frames={SHORT}", "--data.cache=cache", *COMPUTING]  # fmt: skip


COMPUTING = ["--runs=runs", "--runtime.precision=float32", "--runtime.device=cpu"]
TINY = ["--model.width=16", "--train.epochs=3", "--train.batch=8", "--train.subjects=4", "--train.epoch_size=24",
        "--train.patience=2", "--pairs.validation=20", "--pairs.test=30", "--data.workers=1",
        f"--train.save_minutes={SAVE_MINUTES}", "--train.resume=latest"]  # fmt: skip

JOBS = {
    "train": Job("mtclar", lambda shared: [*data_settings(shared), *TINY],
                 ("scores.json", "predictions.csv", "log.jsonl", "best.pt", "last.pt"), needs_checkpoint=False),
    "label": Job("fsl_mtclar", lambda shared: ["--checkpoint=net/best.pt", "--data.cache=cache", *COMPUTING,
                                               "--support_set.amount=3"], ("scores.csv", "labels.csv")),
    "heads": Job("mtclar_sl", lambda shared: [*data_settings(shared, "strangers"), f"--demo.seed={STRANGERS}",
                                              "--data.fold=0", "--checkpoint=net/best.pt", "--train.epochs=3",
                                              f"--train.save_minutes={SAVE_MINUTES}", "--train.resume=latest",
                                              "--data.workers=1"],
                 ("scores.csv", "predictions.csv", "best.pt", "log.jsonl")),
    "video": Job("fsl_mtclar", lambda shared: ["--checkpoint=net/best.pt", f"--video={shared / 'clip.mp4'}",
                                               f"--labels={shared / 'labels.csv'}", *COMPUTING],
                 ("clip.track0.arousal.annotation", "clip.track0.arousal.annotation~", "labels.csv")),
}  # fmt: skip
"""A new script is one more entry."""


def call(script: str, argv: list[str], folder: Path) -> None:
    """In the child: what the command line would do, in `folder`, its output in output.txt."""
    os.chdir(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = [f"{script}.py", *argv]
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)  # of image workers
    import importlib

    import torch

    from utils.script import run_script

    torch.set_num_threads(1)
    run_script(importlib.import_module(script).main)


def run(job: Job, shared: Path, folder: Path, kill_after: float | None = None) -> int | None:
    """The exit code of the job's command; None if it was killed."""
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
    """What the newest finished run of the folder says, comparably."""
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
    """Tensors as their bytes, within dicts and lists."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.numpy().tobytes() if hasattr(value, "numpy") else value


class Watcher(threading.Thread):
    """Reads each file under its final name as soon as it is there or has changed."""

    def __init__(self, folder: Path):
        super().__init__(daemon=True)
        self.folder, self.seen, self.reads, self.broken = folder, {}, 0, []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(PAUSE):
            for path in [Path(base, name) for base, _, names in os.walk(self.folder) for name in names]:
                if not path.name.startswith(".") and path.suffix in READERS:
                    self._look(path)

    def _look(self, path: Path) -> None:
        try:
            state = path.stat()
            mark = state.st_mtime_ns, state.st_size, state.st_ino
            if self.seen.get(path) != mark:
                READERS[path.suffix](path)
                self.seen[path], self.reads = mark, self.reads + 1
        except FileNotFoundError:
            pass  # gone again
        except Exception as error:  # whatever a reader says of a broken file
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
        raise ValueError("the last line has no end")
    pd.read_csv(path)


def read_lines(path: Path) -> None:
    for line in path.read_text().splitlines():
        json.loads(line)


def read_image(path: Path) -> None:
    if not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
        raise ValueError("the image has no end")


def read_settings(path: Path) -> None:
    import yaml

    if "runtime" not in yaml.safe_load(path.read_text()):  # the last section
        raise ValueError("the settings have no end")


def read_xml(path: Path) -> None:
    from defusedxml.ElementTree import parse

    parse(path)


READERS = {".pt": read_checkpoint, ".npz": read_arrays, ".npy": read_arrays, ".csv": read_table, ".jsonl": read_lines,
           ".json": lambda path: json.loads(path.read_text()), ".png": read_image, ".yaml": read_settings,
           ".eaf": read_xml, ".annotation": read_xml}  # fmt: skip


def prepare(shared: Path) -> None:
    """The demo set, a checkpoint, and a video with labels."""
    import numpy as np
    from clips import face_images, write_video

    from datasets.demo import label_trace, render_demo

    for name, number in (("demo", 0), ("strangers", STRANGERS)):
        render_demo(shared / name, number, PEOPLE, FRAMES, SHORT)
    write_video(shared / "clip.mp4", face_images(label_trace(np.random.default_rng(1), 40)), 20)
    (shared / "labels.csv").write_text("frame,valence,arousal\n3,0.5,-0.2\n20,-0.4,0.1\n")


def fresh(folder: Path, job: Job, checkpoint: Path) -> Path:
    folder.mkdir()
    if job.needs_checkpoint:
        (folder / "net").mkdir()
        shutil.copy(checkpoint, folder / "net" / ".best.pt")
        (folder / "net" / ".best.pt").rename(folder / "net" / "best.pt")  # the watcher looks at this folder, too
    return folder


def must(code: int | None, folder: Path) -> None:
    if code:
        raise SystemExit(f"{folder}: ended with {code}\n{(folder / 'output.txt').read_text()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    arguments = parser.parse_args()
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        failed = trials(Path(place), arguments, random.Random(arguments.seed))
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    sys.exit(bool(failed))


def trials(place: Path, arguments: argparse.Namespace, chance: random.Random) -> int:
    prepare(place)
    checkpoint, whole, lengths = place / "whole-train" / "best.pt", {}, {}
    watcher = Watcher(place)
    for name in dict.fromkeys(["train", *arguments.jobs]):  # the others label with what it has trained
        folder, started = fresh(place / f"whole-{name}", JOBS[name], checkpoint), time.monotonic()
        must(run(JOBS[name], place, folder), folder)
        lengths[name], whole[name] = time.monotonic() - started, results(JOBS[name], folder)
        if name == "train":
            shutil.copy(next(folder.glob("runs/mtclar/*/best.pt")), checkpoint)
    watcher.start()
    tally = {name: [0, 0, 0] for name in arguments.jobs}  # kills, identical, ended before the kill
    while sum(kills for kills, _, _ in tally.values()) < arguments.kills:
        name = arguments.jobs[sum(map(sum, tally.values())) % len(arguments.jobs)]
        folder = fresh(place / "trial", JOBS[name], checkpoint)
        moment = chance.uniform(0, lengths[name])
        if run(JOBS[name], place, folder, moment) is not None:
            tally[name][2] += 1
        else:
            must(run(JOBS[name], place, folder), folder)
            same = results(JOBS[name], folder) == whole[name]
            tally[name][0] += 1
            tally[name][1] += same
            print(f"{name:8} killed after {moment:5.2f} s: {'identical' if same else 'DIFFERS'}", flush=True)
        shutil.rmtree(folder)
    watcher.stopped.set()
    watcher.join()
    return report(tally, watcher)


def report(tally: dict[str, list[int]], watcher: Watcher) -> int:
    print(f"\n{'job':8} {'kills':>6} {'identical':>10}")
    for name, (kills, same, _) in tally.items():
        print(f"{name:8} {kills:6} {same:10}")
    kills, same = (sum(column) for column in list(zip(*tally.values(), strict=True))[:2])
    print(f"\n{same} of {kills} killed runs continued to identical results")
    print(f"{len(watcher.broken)} half-written files among {watcher.reads} that the watcher has read")
    print(*watcher.broken[:20], sep="\n")
    return kills - same + len(watcher.broken)


if __name__ == "__main__":
    main()
