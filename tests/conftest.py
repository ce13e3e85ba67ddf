"""A tiny demo set, rendered once, and settings under which a script runs on it in seconds."""

import importlib
import io
import logging
import re
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest
import torch

import utils.script
from datasets.demo import render_demo
from utils.settings import Settings

ROOT = Path(__file__).parents[1]
PEOPLE, FRAMES, SHORT = 12, 9, 5


@pytest.fixture(scope="session")
def tiny_demo(tmp_path_factory) -> Path:
    return render_demo(tmp_path_factory.mktemp("data") / "demo", people=PEOPLE, frames=FRAMES, short_frames=SHORT,
                       workers=1)  # fmt: skip


@pytest.fixture(scope="session")
def tiny_arguments(tiny_demo) -> list[str]:
    """Command line of a run of seconds: width 16, two epochs of two steps."""
    return [
        "--data.root", str(tiny_demo), "--demo.people", str(PEOPLE), "--demo.frames", str(FRAMES),
        "--demo.short_frames", str(SHORT),
        "--model.width", "16", "--train.epochs", "2", "--train.batch", "8", "--train.subjects", "4",
        "--train.epoch_size", "16", "--pairs.validation", "20", "--pairs.test", "30", "--data.workers", "0",
        "--runtime.precision", "float32", "--runtime.device", "cpu", "--data.cache", str(tiny_demo.parent / "cache"),
    ]  # fmt: skip


@pytest.fixture
def tiny_settings(tiny_arguments, tmp_path) -> Settings:
    from utils.config import load_settings

    return load_settings(Settings, "mtclar", "config.yaml", "", [*tiny_arguments, "--runs", str(tmp_path / "runs")])


class Done(NamedTuple):
    """How a script ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run_script(script: str, *argv: str) -> Done:
    """Calls a script's main as the command line would, in this process: PyTorch is imported only once."""
    main = importlib.import_module(script.removesuffix(".py")).main
    out, err = io.StringIO(), io.StringIO()
    handler, root = logging.StreamHandler(err), logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    code = 0
    try:
        with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", [script, *argv]):
            utils.script.run_script(main)
    except SystemExit as end:
        code = end.code
    finally:
        root.removeHandler(handler)
    return Done(code, out.getvalue(), err.getvalue())


def finished(script: str, *argv: str) -> tuple[Path, str]:
    """The run folder and the printed report of a script that must succeed."""
    done = run_script(script, *argv)
    assert done.returncode == 0, done.stderr
    return Path(re.search(r"run folder +(.+)", done.stdout)[1]), done.stdout


@pytest.fixture(scope="session")
def demo_run(tiny_arguments, tmp_path_factory):
    return finished("mtclar.py", *tiny_arguments, "--runs", str(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="session")
def sl_demo(tmp_path_factory) -> Path:
    """Other people than those of `tiny_demo`."""
    return render_demo(tmp_path_factory.mktemp("data") / "demo_sl", 100, PEOPLE, FRAMES, SHORT, workers=1)


@pytest.fixture(scope="session")
def sl_arguments(sl_demo, demo_run, tmp_path_factory) -> list[str]:
    """Command line of a run of mtclar_sl.py of a second; the encoder lies alone in a folder."""
    encoder = tmp_path_factory.mktemp("encoder") / "best.pt"
    shutil.copy(demo_run[0] / "best.pt", encoder)
    return [
        "--data.root", str(sl_demo), "--demo.people", str(PEOPLE), "--demo.frames", str(FRAMES),
        "--demo.short_frames", str(SHORT), "--checkpoint", str(encoder),
        "--train.epochs", "2", "--train.batch", "16", "--data.workers", "0", "--runtime.precision", "float32",
        "--runtime.device", "cpu", "--data.cache", str(sl_demo.parent / "cache"),
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def same_chance():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    """Scripts are called from the project's folder."""
    monkeypatch.chdir(ROOT)
