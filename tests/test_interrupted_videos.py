"""Runs over several videos that were interrupted and go on."""

import json
import shutil
import subprocess
import sys

import pytest
from conftest import label, labels_file

from utils.config.labelling import LabelSettings
from utils.config.manifest import Input, read_manifest
from utils.runs.manifest import interrupted_run
from utils.videos import label_video


class Killed(BaseException):
    """Ends a run in the middle of a video."""


def test_an_interrupted_folder_goes_on_after_its_last_video(quick, clip, tmp_path, monkeypatch):
    videos = tmp_path / "videos"
    videos.mkdir()
    rows = [f"{frame},{0.9 if frame == 20 else 0.1},0.1" for frame in range(2, 32, 3)]
    for name in ("a", "b", "c"):
        shutil.copy(clip, videos / f"{name}.mp4")
        labels_file(videos / f"{name}_labels.csv", "frame,valence,arousal\n" + "\n".join(rows))
    command = [*quick, "--video", videos, "--exports", "nova"]
    whole, printed = label(*command)
    processed = []
    write_outputs = label_video.write_affect_outputs

    def killed_at(name):
        def write(run, face_video, *arguments):
            processed.append(face_video.video.name)
            if face_video.video.name == name:
                raise Killed  # labels/<name>.csv is written, the rest is not
            write_outputs(run, face_video, *arguments)

        return write

    monkeypatch.setattr(label_video, "write_affect_outputs", killed_at("b"))
    with pytest.raises(Killed):
        label(*command)
    interrupted = max(whole.parent.iterdir())
    with (interrupted / "finished_videos.jsonl").open("a") as file:
        file.write('{"video": "b.mp4", "ind')  # a part of a line
    monkeypatch.setattr(label_video, "write_affect_outputs", killed_at(""))
    processed.clear()
    resumed, printed_again = label(*command)
    assert resumed == interrupted != whole and processed == ["b", "c"]
    assert printed_again.replace(str(resumed), str(whole)) == printed
    outputs = [read_manifest(folder / "manifest.json").outputs for folder in (whole, resumed)]
    assert outputs[0] == outputs[1] and {"audit.csv", "index.csv", "labels/c.csv"} <= set(outputs[0])
    assert label(*command)[0] not in (whole, resumed)  # A finished run is not continued.


def test_a_run_in_progress_and_other_settings_are_not_continued(quick, clip, tmp_path, monkeypatch):
    labels = labels_file(tmp_path / "labels.csv")
    command = [*quick, "--video", clip, "--labels", labels, "--name", "unfinished"]
    first, _ = label(*command)
    content = json.loads((first / "manifest.json").read_text())
    (first / "manifest.json").write_text(json.dumps(content | {"outputs": {}}))
    settings = LabelSettings.model_validate(content["settings"])
    inputs = [Input(**one) for one in content["inputs"]]
    other_settings = settings.model_copy(update={"detect_every": 7})
    assert interrupted_run(other_settings, "fsl_mtclar", inputs) is None
    assert interrupted_run(settings, "fsl_mtclar", inputs[1:]) is None
    lock = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", lock, str(first / "manifest.json")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        assert interrupted_run(settings, "fsl_mtclar", inputs) is None
        other.communicate(b"\n")
    assert interrupted_run(settings, "fsl_mtclar", inputs).path == first
