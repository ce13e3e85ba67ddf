"""The folder that a run writes: settings, log, TensorBoard events, checkpoints, tables and plots."""

import contextlib
import itertools
import json
import logging
import math
import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pandas as pd
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from utils.base.errors import CheckpointError, StorageError
from utils.base.files import remove_unfinished, write_atomically, write_text
from utils.base.text import safe_text
from utils.compute import ranks
from utils.config.common import ScriptSettings, TrainingScriptSettings
from utils.config.yaml_files import resolved_yaml
from utils.runs.find import find_checkpoints

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

PARQUET_ROWS = 100_000
"""Tables of at least so many rows are also written as Parquet: an hour of one face has 90,000."""


class RunFolder:
    """The folder `<runs>/<script>/<time>_<name>/` of a run, or the subfolder of one of its folds.

    Attributes:
        path: the folder.
        root: folder of the run; differs from `path` in a subfolder.
        last: last.pt, the state of training from which it is resumed; written after and also within epochs.
        best: best.pt, the weights of the epoch with the lowest validation loss.
        log: log.jsonl, one JSON object per epoch.
    """

    def __init__(self, path: Path, root: Path | None = None):
        """Use an existing folder; on rank 0, lock it if it is that of a run (see `_lock`)."""
        self.path, self.root = path, root or path
        self._lock: IO[bytes] | None = None
        self.last, self.best, self.log = path / "last.pt", path / "best.pt", path / "log.jsonl"
        if (path / "settings.yaml").exists():
            self.lock("settings.yaml")

    def lock(self, name: str) -> None:
        """Lock a file of the folder, on rank 0. Raises CheckpointError as `_lock`."""
        self._lock = _lock(self.path / name) if ranks.is_rank_zero() else None

    def unlock(self) -> None:
        """Release the lock, so that this process, too, can resume the run."""
        if self._lock:
            self._lock.close()

    @classmethod
    def open(cls, settings: TrainingScriptSettings, script: str) -> "RunFolder":
        """Return the run folder that `train.resume` names, or a new one.

        Args:
            settings: settings of the run.
            script: name of the script, without `.py`.
        """
        resumed = settings.train.resume
        return cls.resume(resumed) if resumed else cls.create(settings, script)

    @classmethod
    def create(cls, settings: ScriptSettings, script: str) -> "RunFolder":
        """Create a new run folder and write settings.yaml to it."""
        path = cls.new(settings, script).path
        write_text(path / "settings.yaml", resolved_yaml(settings))
        return cls(path)

    @classmethod
    def new(cls, settings: ScriptSettings, script: str) -> "RunFolder":
        """Create a new, empty run folder; if its name is taken, append +2, +3, ..."""
        name = "_".join(filter(None, (time.strftime("%Y-%m-%d_%H-%M-%S"), settings.name or settings.dataset)))
        return cls(_new_folder(settings.runs / script, name))

    @classmethod
    def resume(cls, path: Path) -> "RunFolder":
        """Open the folder of an interrupted run. A run without last.pt starts from the beginning.

        Raises:
            CheckpointError: the folder is not a run folder, or another process is using it.
        """
        if not (path / "settings.yaml").exists():
            raise CheckpointError(
                f"{path}: holds no settings.yaml, so it is not a run folder; name one that holds settings.yaml, or "
                "start a new run without train.resume"
            )
        run = cls(path)
        remove_unfinished(path)
        if not find_checkpoints(path, "last.pt"):
            log.info("%s: holds no last.pt yet, so training starts from the beginning", path)
        return run

    def subfolder(self, name: str) -> "RunFolder":
        """Return a folder inside this one, created if missing, for one of several trainings of a run."""
        path = self.path / name
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError.from_os_error(path, error) from error
        remove_unfinished(path)
        return RunFolder(path, self.root)

    @cached_property
    def events(self) -> SummaryWriter:
        """Writer of the TensorBoard events."""
        return SummaryWriter(str(self.path / "tensorboard"))

    def truncate_log(self, epoch: int) -> None:
        """Remove this epoch and later ones from the log: it may be ahead of the checkpoint of an interrupted run."""
        kept = [line for line in self._log_lines() if _epoch_of(line) < epoch]
        write_text(self.log, "".join(line + "\n" for line in kept))
        with self._event_errors_as_storage_errors():
            self.events = SummaryWriter(str(self.path / "tensorboard"), purge_step=epoch)

    def log_epoch(self, epoch: int, scores: Mapping[str, float], figures: Mapping[str, Figure]) -> None:
        """Add the scores of an epoch to log.jsonl, and scores and figures to TensorBoard.

        Args:
            epoch: number of the epoch, from 0.
            scores: name → value.
            figures: name → figure.
        """
        lines = [*self._log_lines(), json.dumps({"epoch": epoch, **scores})]
        write_text(self.log, "".join(line + "\n" for line in lines))
        with self._event_errors_as_storage_errors():
            for name, value in scores.items():
                self.events.add_scalar(name, value, epoch)
            for name, figure in figures.items():
                self.events.add_figure(name, figure, epoch)
            self.events.flush()

    def close_events(self) -> None:
        """Close the TensorBoard file, if one is open, and end the thread that writes it.

        Each epoch has been written by then. An error here must not replace the one that has ended the training.
        """
        if events := self.__dict__.pop("events", None):
            with contextlib.suppress(StorageError), self._event_errors_as_storage_errors():
                events.close()

    def save_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write a table as CSV and return its path.

        Text cells are made safe for spreadsheets. Numbers have six significant digits, except that the column `time` is
        in microseconds, so that it still tells frames apart after hours. A table of PARQUET_ROWS rows is also written
        as Parquet, with all digits and the text as it is.
        """
        path = self.path / name
        if len(table) >= PARQUET_ROWS:
            write_atomically(path.with_suffix(".parquet"), lambda temporary: table.to_parquet(temporary, index=False))
        text = csv_text(table)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        return path

    def save_figure(self, name: str, figure: Figure) -> Path:
        """Write a figure as PNG and return its path."""
        path = self.path / name
        write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
        return path

    def save_json(self, name: str, content: Any) -> Path:
        """Write a JSON file and return its path."""
        path = self.path / name
        write_text(path, json.dumps(content, indent=2) + "\n")
        return path

    def _log_lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    @contextlib.contextmanager
    def _event_errors_as_storage_errors(self) -> Iterator[None]:
        """Raise StorageError in place of the OSErrors of TensorBoard."""
        try:
            yield
        except OSError as error:
            raise StorageError.from_os_error(self.path / "tensorboard", error) from error


class ReadOnlyRunFolder(RunFolder):
    """The run folder on ranks other than 0: its methods return the same paths as on rank 0, but write nothing."""

    def subfolder(self, name: str) -> "ReadOnlyRunFolder":
        return ReadOnlyRunFolder(self.path / name, self.root)

    def truncate_log(self, epoch: int) -> None:
        pass

    def log_epoch(self, epoch: int, scores: Mapping[str, float], figures: Mapping[str, Figure]) -> None:
        pass

    def save_table(self, name: str, table: pd.DataFrame) -> Path:
        return self.path / name

    def save_figure(self, name: str, figure: Figure) -> Path:
        return self.path / name

    def save_json(self, name: str, content: Any) -> Path:
        return self.path / name


def csv_text(table: pd.DataFrame) -> str:
    """The text of a table's CSV, as `RunFolder.save_table` writes it."""
    if "time" in table:
        table = table.assign(time=table["time"].map(_microseconds, na_action="ignore"))
    texts = table.select_dtypes(["object", "string"])
    safe = table.assign(**{column: texts[column].map(safe_text, na_action="ignore") for column in texts})
    return safe.to_csv(index=False, float_format="%.6g")


def shared_run(make: Callable[[], RunFolder]) -> RunFolder:
    """Return the run folder that all ranks share: rank 0 makes it and writes to it, the others know its path only."""
    run = make() if ranks.is_rank_zero() else None
    path = ranks.broadcast_from_rank_zero(lambda: run.path if run else Path())
    return run or ReadOnlyRunFolder(path)


def _epoch_of(line: str) -> float:
    """Return the epoch of a line of log.jsonl; infinity for a damaged line, so that it is removed."""
    try:
        return json.loads(line)["epoch"]
    except (ValueError, LookupError, TypeError):
        return math.inf


def _microseconds(seconds: float) -> str:
    """Seconds with up to six decimals."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _new_folder(parent: Path, name: str) -> Path:
    """Create and return the folder `<parent>/<name>`; if the name is taken, append +2, +3, ...

    Names of runs may end in -2, but hold no +.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = parent / (name if number == 1 else f"{name}+{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
    except OSError as error:
        raise StorageError.from_os_error(parent, error) from error
    return path


_locked_files: weakref.WeakSet[IO[bytes]] = weakref.WeakSet()


def _close_locked_files() -> None:
    """Close the files that a forked process has inherited: otherwise it would keep the locks of its parent."""
    for handle in _locked_files:
        handle.close()


if fcntl is not None:
    os.register_at_fork(after_in_child=_close_locked_files)


def _lock(file: Path) -> IO[bytes] | None:
    """Lock a file, so that nobody else writes to the run, neither another process nor this one a second time.

    The lock ends when the file is closed, at the latest with the process. Worker processes do not inherit it.

    Returns:
        The open file, which must be kept; None if the system has no locks.

    Raises:
        CheckpointError: the file is locked.
    """
    if fcntl is None:
        return None
    handle = file.open("r+b")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # lockf would let this process in again
    except (BlockingIOError, PermissionError):
        handle.close()
        raise CheckpointError(
            f"{file.parent}: this run is in use, by another process or by this one; wait for it or end it, or start a "
            "new run without train.resume"
        ) from None
    except OSError:  # the file system has no locks
        handle.close()
        return None
    _locked_files.add(handle)
    return handle
