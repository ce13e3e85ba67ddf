"""The check and Finish of the page, without a browser: all annotators, joined tracks, full disks; a length as text."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("nicegui")

from clips import face_images, write_video
from conftest import labels_file, run_script

from datasets.columns import AXES
from datasets.demo.traces import label_trace
from utils.annotate.check import Check, draw_check, find_check
from utils.annotate.check_page import CheckPage
from utils.annotate.project import Project
from utils.annotate.video_table import length_text
from utils.base.errors import DataError, StorageError
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.labelling.sources import load_siamese, load_sources
from utils.runs.run_folder import RunFolder
from utils.videos.check_files import FORMAT, CheckDraw, CheckedFrame, CheckLabel


@pytest.fixture
def check(tmp_path) -> Check:
    """A check of two frames, both of them labelled."""
    position = {"video": "a", "track": 0, "time": 0.0, "estimate": (0.1, 0.2), "draws": 1, "weight": 1.0}
    frames = [CheckedFrame(frame=frame, **position) for frame in (3, 4)]
    draw = CheckDraw(format=FORMAT, inputs=[], population=9, expected=(0.1, 0.1), frames=frames)
    draw.template().to_csv(tmp_path / "check_to_label.csv", index=False)
    check = Check(tmp_path / "check_to_label.csv", draw, [None, None])
    for index in (0, 1):
        check.label(index, 0.5, 0.5)
    return check


def test_a_label_that_stays_the_same_is_no_step_to_undo(check):
    check.label(0, -0.5, 0.1)
    assert check.undo() == 0 and check.can_redo
    check.label(0, 0.5, 0.5)
    check.label(1, 0.5, 0.5)
    assert check.can_redo and check.undo() == 1 and check.labels == {0: (0.5, 0.5, "")}
    check.delete(1)
    assert check.redo() == 1 and check.redo() == 0 and check.labels == {0: (-0.5, 0.1, ""), 1: (0.5, 0.5, "")}


def test_a_label_of_a_check_keeps_the_name_of_its_annotator(check):
    assert "annotator" not in pd.read_csv(check.path)
    ann = Check(check.path, check.draw, check.frames, "Ann")
    ann.label(1, -0.3, 0.2)
    assert pd.read_csv(check.path)["annotator"].fillna("").tolist() == ["", "Ann"]
    eve = Check(check.path, check.draw, check.frames, "Eve")
    eve.label(1, 0.1, 0.1)
    eve.undo()
    assert pd.read_csv(check.path)["annotator"].fillna("").tolist() == ["", "Ann"]


@pytest.mark.parametrize(
    "names, annotator, message",
    [
        ([], "Ann", ""),
        (["", ""], "", ""),
        (["", "Ann"], "Ann", ""),
        (["", ""], "Ann", "holds labels that name no annotator; .* start the page without --annotator"),
        (["", "Eve"], "", "holds labels by 'Eve'; draw a check of your own, or choose another --annotator"),
        (["Ann", "Eve"], "Ann", "holds labels by 'Ann', 'Eve'"),
    ],
)
def test_a_check_goes_on_with_the_person_who_began_it(check, monkeypatch, tmp_path, names, annotator, message):
    frames = check.draw.frames[: len(names)]
    labels = {frame.key: CheckLabel(0.5, 0.5, name) for frame, name in zip(frames, names, strict=True)}
    folder = tmp_path / "fsl_mtclar/run"
    folder.mkdir(parents=True)
    check.draw.template(labels).to_csv(folder / "check_to_label.csv", index=False)
    (folder / "check.json").write_text(check.draw.model_dump_json())
    monkeypatch.setattr("utils.annotate.check.find_frames", lambda project, draw: check.frames)
    project = SimpleNamespace(settings=SimpleNamespace(runs=tmp_path, annotator=annotator))
    if message:
        with pytest.raises(DataError, match=message):
            find_check(project)
    else:
        assert find_check(project).path.parent == folder


def test_all_tabs_start_at_the_first_frame_without_a_label(check, monkeypatch):
    check.delete(1)
    tabs = [CheckPage(None) for _ in range(2)]
    monkeypatch.setattr("utils.annotate.check_page.find_check", lambda project: check)
    monkeypatch.setattr(CheckPage, "check", None)
    monkeypatch.setattr(CheckPage, "tabs", set(tabs))
    monkeypatch.setattr(CheckPage, "rebuild", lambda tab: None)
    assert tabs[0]._find_check() == "" and tabs[1].index == 1


def test_a_bound_that_cannot_be_written_is_reported(check, monkeypatch):
    def fail(folder, name, table):
        raise StorageError("the disk is full")

    told = []
    tab = SimpleNamespace(index=1, refresh=lambda check: None, _answer=lambda action, *answer: told.append(answer))
    tab._move = lambda *arguments: CheckPage._move(tab, *arguments)
    monkeypatch.setattr(RunFolder, "save_table", fail)
    monkeypatch.setattr(CheckPage, "check", check)
    CheckPage._receive(tab, SimpleNamespace(args={"name": "next_unlabelled"}))
    assert told == [(False, "Not saved: the disk is full")]


def test_the_length_of_the_videos_fits_its_unit():
    assert [length_text(seconds) for seconds in (1, 2.8, 90, 5400)] == [
        "1 second",
        "3 seconds",
        "1.5 minutes",
        "1.5 hours",
    ]


@pytest.fixture
def videos(tmp_path):
    """Three videos. Ben has labelled the first one; the first two are known to show one person."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        write_video(folder / f"{name}.mp4", face_images(label_trace(np.random.default_rng(seed), 40)), 20)
    labels_file(folder / "a_labels_Ben.csv", "frame,valence,arousal,annotator\n3,0.5,-0.2,Ben\n20,-0.4,0.1,Ben\n")
    (folder / "people.csv").write_text("video,track,person\na,0,Ada\nb,0,Ada\n")
    return folder


@pytest.fixture
def project(videos, quick, tmp_path) -> Project:
    """The page of another annotator."""
    checkpoint, on_cpu = Path(quick[1]), {"device": "cpu", "precision": "float32"}
    settings = LabelSettings.model_validate(
        {
            "annotate": videos,
            "annotator": "Eve",
            "checkpoint": checkpoint,
            "runs": tmp_path / "runs",
            "runtime": on_cpu,
        }
    )
    runtime = make_runtime(settings.runtime)
    project = Project(load_sources(load_siamese(checkpoint), settings, runtime), settings, runtime)
    yield project
    project.close()


def test_finish_labels_people_whom_another_annotator_has_labelled(project):
    folder, problem = project.finish()
    index = pd.read_csv(folder / "index.csv").set_index("video")
    assert not problem and index["support"].to_dict() == {"a": 2, "b": 0}


def test_a_second_finish_waits_for_the_first_one(project, monkeypatch):
    def run_jobs(runner, jobs):
        with pytest.raises(DataError, match="Finish is already running"):
            project.finish()
        return "a problem"

    monkeypatch.setattr("utils.annotate.project.run_jobs", run_jobs)
    for _ in range(2):
        with pytest.raises(DataError, match="a problem"):
            project.finish()


def test_finish_goes_on_with_the_run_that_a_full_disk_ended(project, monkeypatch):
    monkeypatch.setattr(project, "with_people", lambda jobs, settings, folder: (jobs, settings))

    def fail(*_):
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(StorageError) as failed:
        patch.setattr("utils.videos.job_runner.finish_run", fail)
        project.finish()
    assert failed.tb is not None  # It keeps the run, whose lock must not last.
    folder, _ = project.finish()
    assert [folder] == list(folder.parent.iterdir())


def test_a_check_is_of_the_estimates_that_finish_writes_and_the_script_goes_on_with_it(project, videos, quick):
    check = draw_check(project, 20)
    folder, _ = project.finish()
    tables = {name: pd.read_csv(folder / "labels" / f"{name}.csv").set_index("frame") for name in "ab"}
    assert {frame.video for frame in check.draw.frames} == {"a", "b"}
    for frame in check.draw.frames:
        written = tables[frame.video].loc[frame.frame, ["valence", "arousal"]]
        assert frame.estimate == pytest.approx(written.tolist(), abs=1e-4)
    for index in range(len(check.frames)):
        check.label(index, 0.1, 0.2)
    assert check.draw.uncovered == ["c.mp4"]
    found = find_check(project)
    assert found.path == check.path and found.is_complete
    project.settings = project.settings.model_copy(update={"annotator": "Ben"})
    with pytest.raises(DataError, match="labels by 'Eve'"):
        find_check(project)
    run, scripted = check.path.parent, videos.parent / "scripted"
    scripted.mkdir()
    for name in "abc":
        shutil.copy(videos / f"{name}.mp4", scripted)
    argv = ["--labels", run, "--people", run / "people.csv", "--check", check.path]
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", scripted, *argv]))
    by_script = [line.split() for line in done.stdout.splitlines() if line.strip().startswith(AXES)]
    shown = [[axis, *(f"{value:.3f}" for value in row)] for axis, *row in check.bounds().to_numpy()]
    assert by_script == shown and "The bound does not cover 'c.mp4'" in done.stderr, done.stderr
