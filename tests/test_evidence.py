"""Evidence besides MT-CLAR's, from end to end: EmoNet and tables for videos; what is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from clips import face_images, write_video
from conftest import finished, label, labels_file, run_script
from published import emonet_state

from datasets.afewva import read_afewva
from datasets.demo.traces import label_trace
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import RuntimeSettings
from utils.labelling.calibration.adaptation import PRIOR_SOURCE
from utils.labelling.calibration.calibration import DEFAULT_PARAMETERS, AxisCalibration, Calibration
from utils.labelling.dataset_calibration import calibrate_clips, read_or_fit
from utils.labelling.posterior.process import GPParameters
from utils.labelling.sources import load_estimators

ROWS = "frame,valence,arousal\n0,0.1,-0.2\n3,-0.4,0.1\n6,0.2,0.3\n9,0.3,0.1\n"


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory):
    """An MP4 of 10 frames with a rendered face."""
    trace = label_trace(np.random.default_rng(1), 10)
    return write_video(tmp_path_factory.mktemp("video") / "short.mp4", face_images(trace), 25)


@pytest.fixture
def argv(short_clip, tmp_path):
    """A command line without any trained network."""
    labels = labels_file(tmp_path / "labels.csv", ROWS)
    runs = ["--runs", tmp_path / "runs", "--data.cache", tmp_path / "cache", "--runtime.device", "cpu"]
    return [str(word) for word in ("--video", short_clip, "--labels", labels, *runs, "--evidence")]


def test_video_is_labelled_by_emonet_alone(argv, tmp_path):
    torch.save(emonet_state(), tmp_path / "emonet_8.pth")
    folder, _ = finished("fsl_mtclar.py", *argv, str(tmp_path / "emonet_8.pth"), "--runtime.precision", "float32")
    table = pd.read_csv(folder / "labels.csv")
    assert table["valence"].notna().all() and (table["valence_low"] <= table["valence_high"]).all()
    assert table.set_index("frame").loc[[0, 3, 6, 9], "valence"].tolist() == [0.1, -0.4, 0.2, 0.3]


def test_video_is_labelled_by_a_table_and_the_log_says_what_was_fitted(argv, tmp_path, caplog):
    caplog.set_level("INFO")
    times = np.arange(10) / 25
    estimates = pd.DataFrame({"time": times, "valence": np.sin(times), "arousal": 0.2 * np.cos(times)})
    estimates.to_csv(tmp_path / "tool.csv", index=False)
    folder, _ = finished("fsl_mtclar.py", *argv, str(tmp_path / "tool.csv"))
    assert pd.read_csv(folder / "labels.csv")["valence"].notna().all()
    assert "evidence tool: not calibrated; it is fitted to the given labels" in caplog.text
    assert "evidence tool: fitted to the labels of 1 clip: valence gain" in caplog.text
    adapted = json.loads((folder / "calibration.json").read_text())
    assert adapted["sources"] == adapted["fitted_to_given_labels"] == ["tool"] and adapted["raters"] == {}
    (fitted,) = adapted["valence"]["parameters"]["evidence"]
    assert f"valence gain {fitted['gain']:.2f}, bias {fitted['bias']:+.2f}" in caplog.text
    assert 0 < adapted["valence"]["time_only_prior"] < 1
    finished("fsl_mtclar.py", *argv, str(tmp_path / "tool.csv"), "--suggest", "2")


def test_calibration_of_several_sources_is_kept_until_one_of_them_changes(quick, tiny_demo, tmp_path, monkeypatch):
    fits = []

    def calibrate_at_once(labeller, clips, relative):
        fits.append(relative)
        return Calibration(
            *[AxisCalibration(GPParameters(DEFAULT_PARAMETERS.process, (PRIOR_SOURCE,) * 2))] * 2, clips=2
        )

    for name, value in (("SHORTEST_CLIP", 5), ("FEWEST_LABELS", 2), ("FEWEST_CLIPS", 1)):
        monkeypatch.setattr(calibrate_clips, name, value)
    monkeypatch.setattr(read_or_fit, "calibrate", calibrate_at_once)
    table = read_afewva(tiny_demo)[["clip", "frame", "valence", "arousal"]]
    table.to_csv(tmp_path / "tool.csv", index=False)
    argv = [*quick, "--evidence", f"mtclar,{tmp_path / 'tool.csv'}", "--support_set.plots", 0]
    manifests = [json.loads((label(*argv)[0] / "manifest.json").read_text()) for _ in range(2)]
    assert fits == [(True, False)]
    assert manifests[0]["inputs"] == manifests[1]["inputs"]
    assert manifests[0]["outputs"]["labels.csv"] == manifests[1]["outputs"]["labels.csv"]
    (kept,) = Path(quick[1]).parent.glob("calibration_*.json")
    assert json.loads(kept.read_text())["sources"] == ["mtclar", "tool"]
    table.assign(arousal=table["arousal"] / 2).to_csv(tmp_path / "tool.csv", index=False)
    label(*argv)
    assert len(fits) == 2


def test_unusable_sources_are_refused(argv, tmp_path, demo_run):
    (tmp_path / "other.csv").write_text("video,frame,valence,arousal\nother,0,0,0\n")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for source, message in (
        (tmp_path / "other.csv", "has no row for video 'short'"),
        (tmp_path / "other.pth", "weights of another network"),
        (tmp_path / "missing.pth", "there is no such file"),
        (tmp_path / "missing.csv", "no such file"),
        (demo_run[0] / "best.pt", "holds MT-CLAR; name it by --checkpoint"),
    ):
        done = run_script("fsl_mtclar.py", *argv, str(source))
        assert done.returncode == 2 and message in done.stderr, done.stderr


def test_estimates_are_not_confused_with_embeddings_of_the_same_weights(tmp_path):
    (tmp_path / "best.pt").write_bytes(b"weights")
    runtime = make_runtime(RuntimeSettings(device="cpu", precision="float32"))
    keys = {
        EmbeddingCache.of_network(tmp_path / "best.pt", tmp_path, runtime, content).weights_key
        for content in ("", "estimates")
    }
    assert len(keys) == 2


def test_sources_have_names_of_their_own(tmp_path):
    paths = [tmp_path / "a" / "tool.csv", tmp_path / "b" / "tool.csv", tmp_path / "fused.csv"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text("clip,frame,valence,arousal\n1,0,0,0\n")
    settings = LabelSettings(evidence=[str(path) for path in paths])
    sources = load_estimators(settings, make_runtime(settings.runtime))
    assert [source.name for source in sources] == ["tool", str(paths[1]), str(paths[2])]
