"""Exported networks: `mtclar.py --export`, `MTCLAR.from_pretrained`, and exported folders as --checkpoint."""

import json
import re
import shutil
import socket
from pathlib import Path
from typing import get_args

import pytest
import torch
from conftest import finished, label, labels_file, run_script

from models.mtclar import MTCLAR
from models.pretrained import read_weights, write_weights
from utils.base.errors import CheckpointError
from utils.config.command_line import as_command
from utils.config.common import Dataset
from utils.config.mtclar import MtclarTrainingSettings
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION
from utils.labelling.calibration.file import FORMAT, read_calibration, save_calibration
from utils.runs.checkpoint import load_mtclar
from utils.runs.resume import load_settings
from utils.runs.trainings import describe_trainings
from utils.training.export import _without_folders
from utils.training.model_card import DATA_SETS, LABEL_SCALES, model_card


@pytest.fixture(scope="module")
def exported(demo_run, tmp_path_factory) -> tuple[Path, Path]:
    """A copy of a run with a calibration, and the exported folder, which lies elsewhere."""
    run = tmp_path_factory.mktemp("export") / "run"
    shutil.copytree(demo_run[0], run)
    save_calibration(run / "best.pt", DEFAULT_CALIBRATION._replace(clips=7, fitted_on="demo"))
    result = run_script("mtclar.py", "--export", str(run))
    assert result.returncode == 0, result.stderr
    folder = Path(re.search(r"exported to (.+)", result.stdout)[1])
    assert folder == run / "export"
    return run, folder.rename(run.parent / "shared")


def test_an_exported_folder_holds_weights_settings_and_a_card(exported):
    run, folder = exported
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    content = torch.load(run / "best.pt", weights_only=True)
    weights, metadata = read_weights(folder / "model.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in content["model"].items())
    assert metadata["settings"]["train"] == content["settings"]["train"] and metadata["calibration"]["clips"] == 7
    splits, scores = (json.loads((run / name).read_text()) for name in ("splits.json", "scores.json"))
    assert metadata["split_sha256"] == splits["sha256"] and metadata["label_scale"]["maximum"] == 1
    card = (folder / "README.md").read_text()
    assert splits["sha256"] in card and f"| train | {splits['images']['train']} | {splits['people']['train']} |" in card
    assert f"{scores['delta_valence_CCC']:.3f}" in card and "calibrated on 7 validation clips" in card
    first = (folder / "model.safetensors").read_bytes()
    run_script("mtclar.py", "--export", str(run))
    assert (run / "export" / "model.safetensors").read_bytes() == first


def test_an_exported_folder_names_no_folder_of_this_machine(exported, tiny_demo):
    run, folder = exported
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    assert str(tiny_demo).encode() in (run / "best.pt").read_bytes() and str(tiny_demo.parent).encode() not in written
    data = read_weights(folder / "model.safetensors")[1]["settings"]["data"]
    assert not {"root", "cache"} & set(data) and data["image_size"] == 64


def test_an_exported_network_knows_the_folder_of_its_data(exported, tiny_demo, tmp_path):
    link = tmp_path / tiny_demo.name
    link.symlink_to(tiny_demo, target_is_directory=True)
    for root in (tiny_demo, link):
        argv = ["--dataset", "afewva", "--data.root", str(root), "--data.fold", "1"]
        done = run_script("fsl_mtclar.py", "--checkpoint", str(exported[1]), *argv)
        assert done.returncode == 2 and "data.fold is 0 in" in done.stderr


def test_paths_of_other_systems_are_left_out_of_exports():
    values = {"root": r"C:\Users\anna\videos", "init": r"C:\runs\best.pt", "name": "anna", "runs": "runs"}
    assert _without_folders(values) == {"init": "best.pt", "name": "anna", "runs": "runs"}


def test_from_pretrained_gives_the_network_of_the_run(exported):
    run, folder = exported
    images = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        a, b = (
            model(images, images.flip(0)) for model in (MTCLAR.from_pretrained(folder), load_mtclar(run / "best.pt")[0])
        )
    assert all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


def test_an_exported_network_gives_the_same_labels_without_network_access(
    exported, clip, tiny_demo, tmp_path, monkeypatch
):
    def refuse(*_):
        raise AssertionError("network access")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    run, folder = exported
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    argv = ["--video", clip, "--labels", labels_file(tmp_path / "labels.csv"), "--runs", tmp_path / "runs"]
    one, _ = label(*argv, "--checkpoint", run / "best.pt")
    other, _ = label(*argv, "--checkpoint", folder)
    assert (one / "labels.csv").read_bytes() == (other / "labels.csv").read_bytes()
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before  # embeddings are kept elsewhere
    one, _ = label("--runs", tmp_path / "runs", "--checkpoint", run / "best.pt")
    data = ["--data.root", tiny_demo, "--data.cache", tiny_demo.parent / "cache"]
    other, _ = label("--runs", tmp_path / "runs", "--checkpoint", folder, *data)
    assert (one / "labels.csv").read_bytes() == (other / "labels.csv").read_bytes()
    assert read_calibration(folder / "model.safetensors") == read_calibration(run / "best.pt")


def test_heads_are_trained_on_an_exported_encoder(exported, sl_arguments, tmp_path):
    folder = exported[1]
    argv = ["--checkpoint", str(folder), "--data.fold", "0", "--runs", str(tmp_path / "runs")]
    run, _ = finished("mtclar_sl.py", *sl_arguments, *argv)
    refused = run_script("mtclar_sl.py", "--predict", "x.mp4", "--checkpoint", str(folder), *argv[-2:])
    assert refused.returncode == 2 and "is a checkpoint of mtclar.py, not of mtclar_sl.py" in refused.stderr
    assert (run / "best.pt").exists() and not (folder / "embeddings").exists()


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("config.json", b"{", r"config.json: is not valid JSON .*; restore"),
        ("config.json", b"[" * 10**5, r"config.json: is not valid JSON .*; restore"),
        ("config.json", b"[]", r"config.json: must be an object; restore"),
        ("config.json", b'{"width": 16}', r"config.json and weights do not fit .*fusion.*; export again"),
        ("config.json", b'{"width": 16, "fusion": "cat", "dropout": 0}', r"do not fit .fusion must be .*, not 'cat'"),
        ("config.json", b'{"width": 1e9, "fusion": "concat", "dropout": 0}', r"do not fit"),
        ("config.json", b'{"width": 1048576, "fusion": "concat", "dropout": 0}', r"do not fit"),
        ("config.json", None, r"config.json: cannot be read .*; name a folder that mtclar.py --export wrote"),
        ("model.safetensors", b"\xff" * 64, r"model.safetensors: is no safetensors file"),
        ("model.safetensors", None, r"model.safetensors: there is no such file"),
    ],
)
def test_invalid_exported_folders_are_refused(exported, tmp_path, name, content, message):
    folder = shutil.copytree(exported[1], tmp_path / "broken")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        MTCLAR.from_pretrained(folder)
    if name == "model.safetensors":
        done = run_script("fsl_mtclar.py", "--checkpoint", str(folder), "--runs", str(tmp_path))
        assert done.returncode == 2 and str(folder) in done.stderr


def test_safetensors_files_of_other_programs_are_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="was not exported by MT-CLAR; name a folder"):
        load_mtclar(path)
    write_weights(path, {"a": torch.zeros(1)}, {"kind": "mtclar"})
    with pytest.raises(CheckpointError, match="lacks the settings or weights of a run"):
        load_mtclar(path)
    write_weights(path, {"a": torch.zeros(1)}, {"kind": "mtclar", "calibration": {"format": FORMAT}})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: the calibration cannot be used .*export it again"):
        read_calibration(path)


def test_an_unfinished_run_is_not_exported(demo_run, tmp_path):
    shutil.copy(demo_run[0] / "best.pt", tmp_path)
    done = run_script("mtclar.py", "--export", str(tmp_path))
    assert done.returncode == 2 and f"finish the run by --train.resume {tmp_path}" in done.stderr
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("name", ["splits.json", "scores.json"])
@pytest.mark.parametrize("content", ["[" * 10**5, "{}", "[]"])
def test_a_run_with_a_damaged_file_is_not_exported(demo_run, tmp_path, name, content):
    for file in ("best.pt", "splits.json", "scores.json"):
        shutil.copy(demo_run[0] / file, tmp_path)
    (tmp_path / name).write_text(content)
    done = run_script("mtclar.py", "--export", str(tmp_path))
    assert done.returncode == 2 and f"{tmp_path / name}: is not" in done.stderr and "Traceback" not in done.stderr


def test_the_command_of_a_card_gives_the_settings_again(tiny_settings):
    import shlex

    argv = [
        "--data.strict",
        "--no-runtime.channels_last",
        "--data.cache",
        "null",
        "--data.root",
        "a b",
        "--train.lr",
        "0.002",
    ]
    settings = load_settings(MtclarTrainingSettings, "mtclar", "config.yaml", "", argv)
    for one in (settings, tiny_settings.model_copy(update={"runs": Path("runs")})):
        command = shlex.split(as_command(one, "mtclar.py"))
        assert load_settings(MtclarTrainingSettings, "mtclar", "config.yaml", "", command[2:]) == one


@pytest.mark.parametrize(
    "trainings, licence, text",
    [
        ([{}], "mit", "licence of the project"),
        ([{"dataset": "afewva"}], "other", "agreement of its own"),
        ([{"dataset": "videos"}], "other", "the people in the videos have agreed"),
        ([{"dataset": "affectnet", "emonet": "e.pth"}], "cc-by-nc-nd-4.0", "no commercial use.*agreement of its own"),
        ([{"init": "best.pt"}, {"emonet": "e.pth"}], "cc-by-nc-nd-4.0", "trained before, on: demo.*no commercial use"),
        ([{"init": "best.pt"}, {"dataset": "affectnet"}], "other", "before, on: affectnet.*agreement of its own"),
        ([{"init": "siamese.pth"}], "other", "Ask their authors"),
    ],
)
def test_the_card_names_the_licence_of_all_trainings(trainings, licence, text):
    trainings = [{"dataset": "demo", "emonet": None, "init": None, **training} for training in trainings]
    settings = MtclarTrainingSettings(dataset=trainings[0]["dataset"])
    splits = {"images": {"train": 3, "validation": 1, "test": 1}, "people": None, "sha256": "0"}
    card = model_card(settings, splits, {"similarity_accuracy": 0.5}, None, trainings)
    assert f"license: {licence}\n" in card and re.search(text, card, re.DOTALL) and "| train | 3 | unknown |" in card
    assert "does not name the people" in card and "not calibrated" in card


def test_the_card_of_a_fine_tuned_network_names_the_licence_of_its_origin(exported, tmp_path):
    run = shutil.copytree(exported[0], tmp_path / "run")
    content = torch.load(run / "best.pt", weights_only=True)
    earlier = describe_trainings(content["settings"], None)[0] | {"emonet": "emonet_8.pth"}
    content["settings"]["model"]["init"] = "best.pt"
    torch.save(content | {"history": {"people": [], "earlier": [earlier]}}, run / "best.pt")
    assert run_script("mtclar.py", "--export", str(run)).returncode == 0
    assert "license: cc-by-nc-nd-4.0\n" in (run / "export" / "README.md").read_text()


def test_every_data_set_is_described_in_the_card():
    assert set(LABEL_SCALES) == set(DATA_SETS) == set(get_args(Dataset))
