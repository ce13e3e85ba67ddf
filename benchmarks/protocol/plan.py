"""The steps of the protocol: which script runs with which options."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.protocol.steps import Options, Runner, Step
from utils.labelling.support import SUPPORT_STRATEGIES
from utils.runs.trained import KEYS_TIED_TO_ONE_DATA_SET

STRATEGIES = (*SUPPORT_STRATEGIES, "suggested")
PERSON_STRATEGIES = ("first", "random_k")
"""Strategies of the person-level variants."""
TRAIN_BINS_AMOUNT = 5
SHARED_SECTIONS = ("data", "demo", "runtime", "seed")
"""Settings that all scripts have."""
SECTIONS = {
    "mtclar": (*SHARED_SECTIONS, "model", "pairs", "train"),
    "fsl_mtclar": (*SHARED_SECTIONS, "support_set"),
    "mtclar_sl": (*SHARED_SECTIONS, "sl"),
}
"""Script → the sections of the settings on the command line that it gets. `sl.` is removed from the name."""


class Support(NamedTuple):
    """A way to choose the labelled frames.

    Attributes:
        scope: see `support_set.scope`.
        strategy: see `support_set.strategy`.
        budget: a number of frames, or below 1 the fraction of the frames of a clip.
    """

    scope: str
    strategy: str
    budget: float

    @property
    def name(self) -> str:
        """As part of the name of a run."""
        scope = "" if self.scope == "clip" else f"{self.scope}_"
        return f"{scope}{self.strategy}_{self.budget:g}"

    def options(self) -> Options:
        """The settings of fsl_mtclar.py."""
        amount: Options = {"support_set.amount": f"{self.budget:g}"}
        if self.budget < 1:
            amount = {"support_set.share": f"{self.budget:g}"}
        options: Options = {"support_set.scope": self.scope, "support_set.strategy": self.strategy}
        return options | amount | {"support_set.plots": "0"}


class Protocol(NamedTuple):
    """What is to be run.

    Attributes:
        dataset: data set that is labelled.
        cross: data set that another network is trained on, which labels the same clips; empty: none.
        cross_root: its folder; None: the default.
        emonet: published EmoNet weights; None: networks are trained from scratch, and there is no zero-shot row.
        paper: whether the networks are trained with `--preset paper`.
        folds: numbers of the folds.
        budgets: see `Support.budget`.
        scopes: the person-level variants, besides the scope clip.
        tasks: tasks of mtclar_sl.py.
        score_support: whether frames with a given label are scored.
        options: further settings from the command line.
    """

    dataset: str
    cross: str
    cross_root: Path | None
    emonet: Path | None
    paper: bool
    folds: Sequence[int]
    budgets: Sequence[float]
    scopes: Sequence[str]
    tasks: Sequence[str]
    score_support: bool
    options: Options

    def supports(self) -> list[Support]:
        """All support-sets of the network that was trained on the same data set."""
        within = [Support("clip", strategy, budget) for strategy in STRATEGIES for budget in self.budgets]
        within = [one for one in within if one.strategy != "every_n" or one.budget < 1]
        person = [
            Support(scope, strategy, budget)
            for scope in self.scopes
            for strategy in PERSON_STRATEGIES
            for budget in self.budgets
        ]
        return [*within, Support("clip", "train_bins", TRAIN_BINS_AMOUNT), *person]

    def cross_supports(self) -> list[Support]:
        """The support-sets of the network that was trained on another data set: evenly spaced frames."""
        return [Support("clip", "uniform_k", budget) for budget in self.budgets] if self.cross else []

    def count(self) -> int:
        """Number of steps."""
        labelled = len(self.supports()) + len(self.cross_supports()) + bool(self.emonet)
        return bool(self.cross) + len(self.folds) * (1 + labelled + len(self.tasks))

    def train_step(self, fold: int) -> Step:
        """Training of the Siamese network of a fold."""
        return Step(f"fold{fold}", "mtclar", self._common("mtclar") | {"data.fold": str(fold)})

    def cross_step(self) -> Step:
        """Training of the network for labelling across data sets."""
        tied = [f"data.{name}" for name in KEYS_TIED_TO_ONE_DATA_SET]
        common = {name: value for name, value in self._common("mtclar").items() if name not in tied}
        root: Options = {"data.root": str(self.cross_root)} if self.cross_root else {}
        return Step("cross", "mtclar", common | {"dataset": self.cross} | root)

    def label_step(self, fold: int, support: Support, checkpoint: Path, cross: bool = False) -> Step:
        """Labelling of the test clips of a fold."""
        options = self._common("fsl_mtclar") | {"data.fold": str(fold), "checkpoint": str(checkpoint)}
        scored: Options = {"support_set.score_support": None} if self.score_support else {}
        name = f"{'cross_' if cross else ''}fold{fold}_{support.name}{'_all_scored' if self.score_support else ''}"
        return Step(name, "fsl_mtclar", options | support.options() | scored)

    def zero_shot_step(self, fold: int, checkpoint: Path) -> Step:
        """Labelling with EmoNet's own estimates, scored on all frames."""
        step = self.label_step(fold, Support("clip", "first", 1), checkpoint)
        extra: Options = {"evidence": f"mtclar,{self.emonet}", "support_set.score_support": None}
        return Step(f"fold{fold}_zero_shot", step.script, step.options | extra)

    def head_step(self, fold: int, task: str, checkpoint: Path) -> Step:
        """Training and test of MT-CLAR + SL."""
        options = self._common("mtclar_sl")
        return Step(
            f"fold{fold}_{task}",
            "mtclar_sl",
            options | {"data.fold": str(fold), "task": task, "checkpoint": str(checkpoint)},
        )

    def _common(self, script: str) -> Options:
        """The options that a script gets in every step."""
        options: Options = {"dataset": self.dataset}
        if self.paper and script != "fsl_mtclar":
            options["preset"] = "paper"
        if script == "mtclar" and self.paper:
            options["model.emonet"] = str(self.emonet) if self.emonet else "null"
        own = {name: value for name, value in self.options.items() if name.split(".")[0] in SECTIONS[script]}
        return options | {name.removeprefix("sl."): value for name, value in own.items()}


class FoldRuns(NamedTuple):
    """The run folders of a fold.

    Attributes:
        fold: its number.
        network: the run of mtclar.py.
        labelled: support-set → run of fsl_mtclar.py.
        crossed: the same, with the network that was trained on another data set.
        zero_shot: the run with EmoNet's own estimates; None: no EmoNet weights.
        heads: task → run of mtclar_sl.py.
    """

    fold: int
    network: Path
    labelled: dict[Support, Path]
    crossed: dict[Support, Path]
    zero_shot: Path | None
    heads: dict[str, Path]


def run_protocol(protocol: Protocol, runner: Runner) -> list[FoldRuns]:
    """Run all steps that have not been run yet."""
    other = runner.run(protocol.cross_step()) / "best.pt" if protocol.cross else None
    return [_run_fold(fold, protocol, runner, other) for fold in protocol.folds]


def _run_fold(fold: int, protocol: Protocol, runner: Runner, other: Path | None) -> FoldRuns:
    network = runner.run(protocol.train_step(fold))
    checkpoint = network / "best.pt"
    labelled = {support: runner.run(protocol.label_step(fold, support, checkpoint)) for support in protocol.supports()}
    crossed = {}
    if other:
        own_copy = _copy_for_fold(other, runner.folder / "cross" / f"fold_{fold}" / "best.pt")
        crossed = {
            support: runner.run(protocol.label_step(fold, support, own_copy, cross=True))
            for support in protocol.cross_supports()
        }
    zero_shot = runner.run(protocol.zero_shot_step(fold, checkpoint)) if protocol.emonet else None
    heads = {task: runner.run(protocol.head_step(fold, task, checkpoint)) for task in protocol.tasks}
    return FoldRuns(fold, network, labelled, crossed, zero_shot, heads)


def _copy_for_fold(checkpoint: Path, copy: Path) -> Path:
    """Link or copy a checkpoint to a folder of its own: its calibration is fitted on people of this fold only."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    if not copy.exists() or copy.stat().st_mtime != checkpoint.stat().st_mtime:
        copy.unlink(missing_ok=True)
        (copy.parent / "calibration.json").unlink(missing_ok=True)
        try:
            os.link(checkpoint, copy)
        except OSError:  # the file system has no links
            shutil.copy2(checkpoint, copy)
    return copy
