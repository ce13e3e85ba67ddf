"""Contamination check: which people each part of the protocol has seen, and that none of them is tested."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.protocol.plan import FoldRuns
from datasets.splits import Splits, split_by_subject
from utils.base.errors import DataError
from utils.base.text import listed, plain_text
from utils.config.manifest import read_manifest
from utils.config.yaml_files import read_run_settings
from utils.labelling.dataset_calibration.calibrate_clips import clips_to_calibrate_on
from utils.labelling.dataset_calibration.read_or_fit import split_name


class Exposure(NamedTuple):
    """The people that a part of the protocol has seen.

    Attributes:
        part: what was trained, chosen or fitted.
        source: the data that it saw.
        people: names of the people; None: people of other data, who are not named or cannot be compared.
    """

    part: str
    source: str
    people: frozenset[str] | None


def check_people(folds: list[FoldRuns], frames: pd.DataFrame, root: Path) -> pd.DataFrame:
    """List which people each part has seen, from the settings and files of the run folders.

    Args:
        folds: the runs of every fold.
        frames: frame table of the whole data set.
        root: folder of the data set.

    Returns:
        A row per fold and part: fold, part, source, people seen (missing: unknown), tested people, and how many of
        these were seen.

    Raises:
        DataError: a part has seen a person that is tested.
    """
    rows = []
    for runs in folds:
        tested = tested_people(runs, frames)
        for exposure in exposures(runs, frames, root):
            seen = tested & (exposure.people or frozenset())
            if seen:
                raise DataError(
                    f"fold {runs.fold}: {exposure.part} has seen {len(seen)} of {len(tested)} tested people "
                    f"({listed(sorted(seen))}); delete the run folders of this fold and run the protocol again"
                )
            count = pd.NA if exposure.people is None else len(exposure.people)
            row = {"fold": runs.fold, "part": exposure.part, "source": exposure.source, "people seen": count}
            rows.append(row | {"people tested": len(tested), "in both": len(seen)})
    return pd.DataFrame(rows).astype({"people seen": "Int64"})


def tested_people(runs: FoldRuns, frames: pd.DataFrame) -> frozenset[str]:
    """The people of all clips that the runs of a fold have labelled or predicted."""
    files = [run / "labels.csv" for run in (*runs.labelled.values(), *runs.crossed.values())]
    files += [run / "predictions.csv" for run in runs.heads.values()]
    if runs.zero_shot:
        files.append(runs.zero_shot / "labels.csv")
    clips = {clip for file in files for clip in read_clips(file)["clip"]}
    person_of = frames.drop_duplicates("clip").set_index("clip")["subject"]
    return frozenset(person_of[sorted(clips)])


def read_clips(file: Path) -> pd.DataFrame:
    """Read a table of a run folder; names of clips stay text."""
    table = pd.read_csv(file, dtype={"clip": str})
    return table.assign(clip=table["clip"].map(plain_text))


def exposures(runs: FoldRuns, frames: pd.DataFrame, root: Path) -> list[Exposure]:
    """What each part of a fold has seen, by the settings in its own run folder."""
    found = []
    for network in _networks([*runs.labelled.values(), *runs.heads.values()]):
        found += _of_training("encoder and comparison heads", network, frames, root)
        found.append(_of_calibration("calibration", network, runs.network, frames))
    found += [
        Exposure("anchors from the training set", found[0].source, found[0].people)
        for support in runs.labelled
        if support.strategy == "train_bins"
    ]
    for task, run in runs.heads.items():
        found += _of_training(f"head for {task}", run, frames, root)
    initial = read_run_settings(runs.network).get("model", {}).get("emonet")
    if initial or runs.zero_shot:
        found.append(Exposure("published EmoNet", f"AffectNet, by its authors ({initial or 'zero-shot only'})", None))
    for network in _networks(list(runs.crossed.values())):
        found.append(Exposure("network of the other data set", "its own training set", None))
        found.append(_of_calibration("calibration of this network", network, runs.network, frames))
    return found


def _networks(runs: list[Path]) -> list[Path]:
    """The folders of the networks that runs have used, by their own settings."""
    return sorted({Path(str(_settings(run)["checkpoint"])).parent for run in runs})


def _settings(run: Path) -> dict[str, Any]:
    """The settings of a run, in its manifest if it has labelled."""
    manifest = run / "manifest.json"
    return read_manifest(manifest).settings if manifest.exists() else read_run_settings(run)


def _of_training(part: str, run: Path, frames: pd.DataFrame, root: Path) -> list[Exposure]:
    """What training and the choice of the best epoch of a run saw."""
    settings = read_run_settings(run)
    source = f"{settings['dataset']}, fold {settings['data']['fold']}"
    if Path(settings["data"]["root"]).resolve() != root.resolve():
        return [Exposure(part, source, None), Exposure(f"best epoch of {part}", source, None)]
    splits = _splits(settings, frames)
    return [
        Exposure(part, f"{source}, training", frozenset(splits.train["subject"])),
        Exposure(f"best epoch of {part}", f"{source}, validation", frozenset(splits.validation["subject"])),
    ]


def _of_calibration(part: str, folder: Path, run: Path, frames: pd.DataFrame) -> Exposure:
    """What the calibration beside a checkpoint saw; everybody, if it was fitted on another split than that of a run.

    Args:
        part: name of the part.
        folder: folder of the checkpoint.
        run: run whose split the calibration must have been fitted on.
        frames: frame table of the whole data set.
    """
    file = folder / "calibration.json"
    if not file.exists():
        return Exposure(part, "default parameters", frozenset())
    source, settings = json.loads(file.read_text(encoding="utf-8"))["source"], read_run_settings(run)
    data = settings["data"]
    if source != split_name(settings["dataset"], Path(data["root"]), data["fold"], settings["seed"]):
        return Exposure(part, source, frozenset(frames["subject"]))
    clips = clips_to_calibrate_on(_splits(settings, frames).validation)
    return Exposure(part, f"{settings['dataset']}, fold {data['fold']}, validation", frozenset(clips["subject"]))


def _splits(settings: dict[str, Any], frames: pd.DataFrame) -> Splits:
    """The splits of a run, by its settings."""
    data = settings["data"]
    share = data["validation_share"]
    return split_by_subject(frames, int(data["fold"]), validation_share=share, seed=settings["seed"])
