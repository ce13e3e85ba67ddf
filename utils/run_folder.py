"""The folder that a run writes: settings, a JSON line per epoch, TensorBoard events, checkpoints, tables, plots."""

import contextlib
import itertools
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pandas as pd
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from datasets.annotations import safe_text
from utils import ranks
from utils.config import checkpoints_of, resolved_yaml
from utils.errors import CheckpointError, StorageError
from utils.files import remove_unfinished, write_text, write_whole
from utils.settings import ScriptSettings

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)


class RunFolder:
    """`<runs>/<script>/<time>_<name>/`, made new, or an interrupted run's to go on in."""

    def __init__(self, path: Path):
        self.path, self.last, self.best, self.log = (path / name for name in ("", "last.pt", "best.pt", "log.jsonl"))
        self.whole = path  # of the run that this folder is, or is a part of
        settings = path / "settings.yaml"
        self._lock = _lock(settings) if settings.exists() and ranks.is_first() else None

    @classmethod
    def open(cls, settings: ScriptSettings, script: str) -> "RunFolder":
        """The folder of the run named by `train.resume`, or else a new one."""
        resumed = settings.train.resume
        return cls.resume(resumed) if resumed else cls.create(settings, script)

    @classmethod
    def create(cls, settings: ScriptSettings, script: str) -> "RunFolder":
        """A new folder that holds the resolved settings; no other run can have got the same."""
        name = "_".join(filter(None, (time.strftime("%Y-%m-%d_%H-%M-%S"), settings.name or settings.dataset)))
        path = _new_folder(settings.runs / script, name)
        write_text(path / "settings.yaml", resolved_yaml(settings))
        return cls(path)

    @classmethod
    def resume(cls, path: Path) -> "RunFolder":
        """An interrupted run's folder, to go on in; from the start, where it was killed before its first checkpoint."""
        if not (path / "settings.yaml").exists():
            raise CheckpointError(
                f"{path}: holds no settings.yaml, so it is no run to go on with; name the folder of one, or start a "
                "new run without train.resume"
            )
        run = cls(path)
        remove_unfinished(path)
        if not checkpoints_of(path, "last.pt"):
            log.info("%s: holds no last.pt yet; it starts from the beginning", path)
        return run

    def part(self, name: str) -> "RunFolder":
        """A folder in this one, for one of several trainings of this run."""
        path = self.path / name
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError.of(path, error) from error
        remove_unfinished(path)
        part = RunFolder(path)
        part.whole = self.path
        return part

    @cached_property
    def events(self) -> SummaryWriter:
        return SummaryWriter(str(self.path / "tensorboard"))

    def forget_from(self, epoch: int) -> None:
        """Drops log lines from this epoch on: an interrupted run may have written more than its checkpoint holds."""
        kept = [line for line in self._log_lines() if _epoch_of(line) < epoch]
        write_text(self.log, "".join(line + "\n" for line in kept))
        with self._writing_events():
            self.events = SummaryWriter(str(self.path / "tensorboard"), purge_step=epoch)

    def log_epoch(self, epoch: int, scores: Mapping[str, float], figures: Mapping[str, Figure]) -> None:
        """One JSON line, and the same numbers to TensorBoard under their names, with the figures."""
        lines = [*self._log_lines(), json.dumps({"epoch": epoch, **scores})]
        write_text(self.log, "".join(line + "\n" for line in lines))
        with self._writing_events():
            for name, value in scores.items():
                self.events.add_scalar(name, value, epoch)
            for name, figure in figures.items():
                self.events.add_figure(name, figure, epoch)
            self.events.flush()

    def _log_lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    @contextlib.contextmanager
    def _writing_events(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError.of(self.path / "tensorboard", error) from error

    def save_table(self, name: str, table: pd.DataFrame) -> Path:
        path = self.path / name
        texts = table.select_dtypes(["object", "string"])  # names from files of strangers
        safe = table.assign(**{name: texts[name].map(safe_text, na_action="ignore") for name in texts})
        write_whole(path, lambda temporary: safe.to_csv(temporary, index=False, float_format="%.6g"))
        return path

    def save_figure(self, name: str, figure: Figure) -> Path:
        path = self.path / name
        write_whole(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
        return path

    def save_json(self, name: str, content: Any) -> Path:
        path = self.path / name
        write_text(path, json.dumps(content, indent=2) + "\n")
        return path


class SilentRun(RunFolder):
    """The same folder for the ranks that do not write."""

    def part(self, name: str) -> "SilentRun":
        return SilentRun(self.path / name)

    def forget_from(self, epoch: int) -> None:
        pass

    def log_epoch(self, epoch: int, scores: Mapping[str, float], figures: Mapping[str, Figure]) -> None:
        pass

    def save_table(self, name: str, table: pd.DataFrame) -> Path:
        return self.path / name

    def save_figure(self, name: str, figure: Figure) -> Path:
        return self.path / name

    def save_json(self, name: str, content: Any) -> Path:
        return self.path / name


def shared_run(make: Callable[[], RunFolder]) -> RunFolder:
    """The folder that the first rank makes; the others know where it is, and write nothing to it."""
    run = make() if ranks.is_first() else None
    path = ranks.from_first(lambda: run.path)
    return run or SilentRun(path)


def _epoch_of(line: str) -> float:
    try:
        return json.loads(line)["epoch"]
    except (ValueError, LookupError, TypeError):  # not from here, or cut off
        return math.inf


def _new_folder(parent: Path, name: str) -> Path:
    """`<parent>/<name>`, or `<name>-2` and so on where others were quicker."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = parent / (name if number == 1 else f"{name}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
    except OSError as error:
        raise StorageError.of(parent, error) from error


def _lock(file: Path) -> IO[bytes] | None:
    """Keeps a run to one process. The lock ends with the process, however that ends; its workers do not inherit it."""
    if fcntl is None:
        return None
    handle = file.open("r+b")
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        handle.close()
        raise CheckpointError(
            f"{file.parent}: another process is at work on this run; wait for it or end it, or start a new run "
            "without train.resume"
        ) from None
    except OSError:  # a file system without locks
        handle.close()
        return None
    return handle
