"""Fixtures: a tiny demo set, rendered once per session, and arguments with which a script runs on it in seconds."""

import importlib
import io
import logging
import os
import re
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

# The tests run in one process per core, and PyTorch with several threads hangs in processes that a test forks.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from clips import face_images, write_video
from page_driver import browsing

import utils.runs.script
from datasets.demo.dataset import render_demo
from datasets.demo.traces import label_trace
from utils.config.mtclar import MtclarTrainingSettings
from utils.runs.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
PEOPLE, FRAMES, SHORT = 12, 9, 5


@pytest.fixture(scope="session")
def tiny_demo(tmp_path_factory) -> Path:
    return render_demo(
        tmp_path_factory.mktemp("data") / "demo", people=PEOPLE, frames=FRAMES, short_frames=SHORT, workers=1
    )


@pytest.fixture(scope="session")
def tiny_arguments(tiny_demo) -> list[str]:
    """Command line of a mtclar.py run that takes seconds: width 16, two epochs of two steps."""
    return [
        "--data.root",
        str(tiny_demo),
        "--demo.people",
        str(PEOPLE),
        "--demo.frames",
        str(FRAMES),
        "--demo.short_frames",
        str(SHORT),
        "--model.width",
        "16",
        "--train.epochs",
        "2",
        "--train.batch",
        "8",
        "--train.subjects",
        "4",
        "--train.epoch_size",
        "16",
        "--pairs.validation",
        "20",
        "--pairs.test",
        "30",
        "--data.workers",
        "0",
        "--runtime.precision",
        "float32",
        "--runtime.device",
        "cpu",
        "--data.cache",
        str(tiny_demo.parent / "cache"),
    ]


@pytest.fixture
def tiny_settings(tiny_arguments, tmp_path) -> MtclarTrainingSettings:
    from utils.runs.resume import load_settings

    return load_settings(
        MtclarTrainingSettings, "mtclar", "config.yaml", "", [*tiny_arguments, "--runs", str(tmp_path / "runs")]
    )


class ScriptResult(NamedTuple):
    """Exit code and output of a script."""

    returncode: int
    stdout: str
    stderr: str


def run_script(script: str, *argv: str) -> ScriptResult:
    """Run a script with a command line, in this process so that PyTorch is imported only once."""
    main = importlib.import_module(script.removesuffix(".py")).main
    out, err = io.StringIO(), io.StringIO()
    handler, root = logging.StreamHandler(err), logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    code = 0
    try:
        with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", [script, *argv]):
            utils.runs.script.run_script(main)
    except SystemExit as exit_request:
        code = exit_request.code
    finally:
        root.removeHandler(handler)
    return ScriptResult(code, out.getvalue(), err.getvalue())


def finished(script: str, *argv: str) -> tuple[Path, str]:
    """Run a script, which must succeed, and return its run folder and its standard output."""
    result = run_script(script, *argv)
    assert result.returncode == 0, result.stderr
    return Path(re.search(r"run folder +(.+)", result.stdout)[1]), result.stdout


@pytest.fixture(scope="session")
def demo_run(tiny_arguments, tmp_path_factory) -> tuple[Path, str]:
    """Run folder and standard output of a mtclar.py run on the tiny demo set."""
    return finished("mtclar.py", *tiny_arguments, "--runs", str(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="session")
def sl_demo(tmp_path_factory) -> Path:
    """A demo set of other people than `tiny_demo`."""
    return render_demo(tmp_path_factory.mktemp("data") / "demo_sl", 100, PEOPLE, FRAMES, SHORT, workers=1)


@pytest.fixture(scope="session")
def sl_arguments(sl_demo, demo_run, tmp_path_factory) -> list[str]:
    """Command line of a mtclar_sl.py run that takes a second. The encoder's folder holds nothing else."""
    encoder = tmp_path_factory.mktemp("encoder") / "best.pt"
    shutil.copy(demo_run[0] / "best.pt", encoder)
    return [
        "--data.root",
        str(sl_demo),
        "--demo.people",
        str(PEOPLE),
        "--demo.frames",
        str(FRAMES),
        "--demo.short_frames",
        str(SHORT),
        "--checkpoint",
        str(encoder),
        "--train.epochs",
        "2",
        "--train.batch",
        "16",
        "--data.workers",
        "0",
        "--runtime.precision",
        "float32",
        "--runtime.device",
        "cpu",
        "--data.cache",
        str(sl_demo.parent / "cache"),
    ]


def resume(run: RunFolder) -> RunFolder:
    """Open the folder of an interrupted run as another process would, after the end of this one."""
    run.unlock()
    return RunFolder.resume(run.path)


def label(*argv) -> tuple[Path, str]:
    """Run fsl_mtclar.py, which must succeed; return its run folder and its standard output."""
    return finished("fsl_mtclar.py", *map(str, argv))


def labels_file(path: Path, rows: str = "frame,valence,arousal\n3,0.5,-0.2\n20,-0.4,0.1\n40,0.1,0.6\n") -> Path:
    path.write_text(rows)
    return path


@pytest.fixture(scope="module")
def quick(demo_run, tmp_path_factory):
    """Command line that labels with the tiny network, and writes to a folder of its own."""
    checkpoint = shutil.copy(demo_run[0] / "best.pt", tmp_path_factory.mktemp("network"))
    return [
        "--checkpoint",
        checkpoint,
        "--runs",
        tmp_path_factory.mktemp("labels"),
        "--runtime.precision",
        "float32",
        "--runtime.device",
        "cpu",
    ]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """An MP4 of 60 frames at 20 frames per second: a rendered face in the first 48, then none."""
    images = face_images(label_trace(np.random.default_rng(1), 60), gap=range(48, 60))
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", images, 20)


@pytest.fixture(scope="module")
def browser_context():
    """A browser that has visited the annotation page before."""
    with browsing() as context:
        yield context


@pytest.fixture(autouse=True)
def fixed_torch_seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def project_as_working_folder(monkeypatch):
    """Scripts find their default settings files in the working folder."""
    monkeypatch.chdir(ROOT)
