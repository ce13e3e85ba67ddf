"""The folder that a run writes: settings, a JSON line per epoch, TensorBoard events, checkpoints, tables, plots."""

import json
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from datasets.annotations import safe_text
from utils.config import checkpoints_of, resolved_yaml
from utils.errors import CheckpointError
from utils.files import write_text, write_whole
from utils.settings import ScriptSettings


class RunFolder:
    """`<runs>/<script>/<time>_<name>/`, made new, or an interrupted run's to go on in."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def open(cls, settings: ScriptSettings, script: str) -> "RunFolder":
        """The folder of the run named by `train.resume`, or else a new one."""
        resumed = settings.train.resume
        return cls.resume(resumed) if resumed else cls.create(settings, script)

    @classmethod
    def create(cls, settings: ScriptSettings, script: str) -> "RunFolder":
        """A new folder that holds the resolved settings; no other run can have got the same."""
        parent = settings.runs / script
        parent.mkdir(parents=True, exist_ok=True)
        name = "_".join(filter(None, (time.strftime("%Y-%m-%d_%H-%M-%S"), settings.name or settings.dataset)))
        for number in range(1, 1000):
            path = parent / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
                break
            except FileExistsError:
                continue
        run = cls(path)
        write_text(path / "settings.yaml", resolved_yaml(settings))
        return run

    @classmethod
    def resume(cls, path: Path) -> "RunFolder":
        if not checkpoints_of(path, "last.pt"):
            raise CheckpointError(
                f"{path}: holds no last.pt, so there is nothing to go on with; name the run folder of a run that "
                "finished at least one epoch, or start a new run without train.resume"
            )
        return cls(path)

    def part(self, name: str) -> "RunFolder":
        """A folder in this one, for one of several trainings."""
        part = RunFolder(self.path / name)
        part.path.mkdir(exist_ok=True)
        if not checkpoints_of(part.path, "last.pt"):
            part.forget_from(0)  # it may have been interrupted between the first log line and the first checkpoint
        return part

    @cached_property
    def events(self) -> SummaryWriter:
        return SummaryWriter(str(self.path / "tensorboard"))

    def forget_from(self, epoch: int) -> None:
        """Drops log lines from this epoch on: an interrupted run may have written more than its checkpoint holds."""
        log = self.path / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["epoch"] < epoch]
        write_text(log, "".join(line + "\n" for line in kept))
        self.events = SummaryWriter(str(self.path / "tensorboard"), purge_step=epoch)

    def log_epoch(self, epoch: int, scores: Mapping[str, float], figures: Mapping[str, Figure]) -> None:
        """One JSON line, and the same numbers to TensorBoard under their names, with the figures."""
        with (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": epoch, **scores}) + "\n")
        for name, value in scores.items():
            self.events.add_scalar(name, value, epoch)
        for name, figure in figures.items():
            self.events.add_figure(name, figure, epoch)
        self.events.flush()

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
