"""Runs the scripts of the protocol. Every step keeps its run folder, and a finished step is not run again."""

import contextlib
import importlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from unittest.mock import patch

from utils.base.errors import DataError, SettingsError
from utils.base.files import write_text
from utils.runs.find import find_runs

DONE_FILES = {"mtclar": "scores.json", "fsl_mtclar": "scores.csv", "mtclar_sl": "scores.csv"}
"""Script → the file that it writes last into its run folder, apart from the calibration."""

Options = dict[str, str | None]
"""Name of a setting → its value; None: a flag without a value."""


class Step(NamedTuple):
    """A call of a script.

    Attributes:
        name: name of the run; no two steps have the same.
        script: name of the script, without `.py`.
        options: its command line.
    """

    name: str
    script: str
    options: Options

    @property
    def argv(self) -> list[str]:
        """The command line as words."""
        pairs = ([f"--{name}", value] for name, value in (self.options | {"name": self.name}).items())
        return [word for pair in pairs for word in pair if word is not None]


class Runner:
    """Runs steps, and remembers in steps.json which run folder each of them wrote.

    A step is run again only if its command line has changed or if its run folder is gone. An interrupted training is
    resumed.

    Attributes:
        folder: folder of all runs (`--runs` of the scripts).
        data: hash of the data set.
        planned: number of steps, for the progress lines.

    Raises:
        SettingsError: the folder holds runs of other data.
    """

    def __init__(self, folder: Path, data: str, planned: int):
        self.folder, self.data, self.planned, self._count = folder, data, planned, 0
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "steps.json"
        content = json.loads(self._file.read_text()) if self._file.exists() else {"data": data, "steps": {}}
        if content["data"] != data:
            raise SettingsError(f"{self._file}: is of other data ({content['data']}); name another folder by --runs")
        self._steps: dict[str, Any] = content["steps"]

    def run(self, step: Step) -> Path:
        """Return the run folder of a step, after running it if necessary."""
        self._count += 1
        entry = {"script": step.script, "argv": step.argv}
        known = self._steps.get(step.name, {})
        if known | entry == known and (self.folder / known["run"] / DONE_FILES[step.script]).exists():
            return self.folder / known["run"]
        started = time.monotonic()
        self._call(step)
        run = next(iter(find_runs(self.folder / step.script, step.name, DONE_FILES[step.script])), None)
        if run is None:
            raise DataError(f"{self.folder}: {step.script}.py has written no run called {step.name}; run it by itself")
        taken = time.monotonic() - started
        written = {"run": str(run.relative_to(self.folder)), "commit": commit(), "seconds": round(taken, 1)}
        self._steps[step.name] = entry | written
        write_text(self._file, json.dumps({"data": self.data, "steps": self._steps}, indent=1) + "\n")
        print(f"[{self._count}/{self.planned}] {step.name}: {run}, {taken:.0f} s", flush=True)
        return run

    def commits(self) -> list[str]:
        """The commits by which the steps were run, sorted."""
        return sorted({step["commit"] for step in self._steps.values()})

    def _call(self, step: Step) -> None:
        """Call the script in this process, so that PyTorch is imported only once. Its output goes to steps.log."""
        argv = [*step.argv, "--runs", str(self.folder)]
        if step.script != "fsl_mtclar":
            argv += ["--train.resume", "latest"]
        with (self.folder / "steps.log").open("a", encoding="utf-8") as log, _output_to(log, step.script == "mtclar"):
            print(f"\n$ python {step.script}.py {' '.join(argv)}", flush=True)
            with patch.object(sys, "argv", [f"{step.script}.py", *argv]):
                importlib.import_module(step.script).main()


@contextlib.contextmanager
def _output_to(file: TextIO, keep_log: bool) -> Iterator[None]:
    """Within the block, standard output and log messages go to a file.

    Args:
        file: open text file.
        keep_log: write log messages to standard error as well.
    """
    root, handler = logging.getLogger(), logging.StreamHandler(file)
    others = root.handlers[:]
    root.handlers = [*others, handler] if keep_log else [handler]
    try:
        with contextlib.redirect_stdout(file):
            yield
    finally:
        root.handlers = others


def commit() -> str:
    """The commit of this repository, followed by -dirty if files have changed since; unknown without git."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
        root = Path(__file__).parents[2]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
