"""Sessions of labelling and rating in a process that is killed at random; checks what is then on disk."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from utils.annotate.session import Session

CHANGES = 400  # of a session, more than a process makes before it is killed
LONGEST = 0.5  # seconds until a process is killed


class Outcome(NamedTuple):
    """What the killed processes did.

    Attributes:
        acknowledged: changes that were reported as saved.
        interrupted: processes that were killed during a change.
        problems: what was lost or damaged, one text each.
    """

    acknowledged: int
    interrupted: int
    problems: list[str]


def script(seed: int) -> list[Callable[[Session], object]]:
    """Random changes of labels, notes and ratings, undone and redone."""
    rng = random.Random(seed)
    changes: list[Callable[[Session], object]] = []
    for number in range(CHANGES):
        frame, values = rng.randrange(30), (rng.uniform(-1, 1), rng.uniform(-1, 1))
        start = rng.uniform(0, 20)
        samples = [[start + step / 40, *values] for step in range(40)]
        changes.append(
            rng.choice(
                [
                    lambda session, frame=frame, values=values: session.label(0, frame, *values),
                    lambda session, frame=frame, values=values: session.label(0, frame, *values),
                    lambda session, start=start, samples=samples: session.rate(start, samples),
                    lambda session, start=start, samples=samples: session.rate(start, samples, continues=True),
                    lambda session, frame=frame, number=number: (
                        session.labels.get((0, frame)) and session.set_note(0, frame, f"note {number}")
                    ),
                    lambda session, frame=frame: session.delete(0, frame),
                    lambda session: session.undo(),
                    lambda session: session.redo(),
                    lambda session: session.delete_rating(),
                ]
            )
        )
    return changes


def kill_sessions(open_session: Callable[[Path], Session], folder: Path, count: int, seed: int = 0) -> Outcome:
    """Kill `count` processes that label and rate, and compare the files with what they reported as saved.

    Args:
        open_session: opens the session whose files are in a folder.
        folder: an empty folder for the files.
        count: number of processes.
        seed: of the changes and of the moments of the kills.
    """
    rng = random.Random(seed)
    acknowledged, interrupted, problems = 0, 0, []
    files, copy = folder / "files", folder / "copy"
    files.mkdir()
    for number in range(count):
        changes = script(seed + number)
        shutil.copytree(files, copy)
        begun, done = _run_and_kill(open_session, files, changes, rng.uniform(0, LONGEST))
        acknowledged, interrupted = acknowledged + done, interrupted + (begun > done)
        open_session(files)  # reads the files, and deletes unfinished ones
        expected = open_session(copy)
        states = []
        for part in (changes[:done], changes[done:begun]):
            for change in part:
                change(expected)
            states.append(_content(copy))
        if _content(files) not in states:
            problems.append(f"process {number}: killed after {done} changes, but the files hold another state")
        shutil.rmtree(copy)
    return Outcome(acknowledged, interrupted, problems)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _run_and_kill(
    open_session: Callable[[Path], Session], folder: Path, changes: list, seconds: float
) -> tuple[int, int]:
    """Numbers of changes that a process had begun, and had reported as saved, when it was killed."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            session = open_session(folder)
            os.write(writer, b"r")
            for change in changes:
                os.write(writer, b"b")
                change(session)
                os.write(writer, b"d")
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb", buffering=0) as reports:
        assert reports.read(1) == b"r"
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        text = b"".join(iter(lambda: reports.read(4096), b""))
    return text.count(b"b"), text.count(b"d")
