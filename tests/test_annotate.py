"""Labelling a video, without the page: labels on disk, undo, and traces equal to those of fsl_mtclar.py."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from clips import write_video

from datasets.annotations import Timeline
from datasets.frames import DataError
from datasets.labels import read_labels
from datasets.tracks import BOX
from datasets.video import open_video
from datasets.video_frames import VideoFrames
from models.mtclar import MTCLAR
from utils.annotate.label_file import COLUMNS, LabelFile, NotSaved, all_annotators, label_path
from utils.annotate.payload import plane_state, readings, trace_state
from utils.annotate.position import Position
from utils.annotate.project import joined_labels
from utils.annotate.session import Network, Session, shot_changes
from utils.annotate.thin import POINTS, thinned
from utils.fused.fusion import UNFITTED
from utils.labelling import see_clip
from utils.runtime import make_runtime
from utils.settings import RuntimeSettings
from utils.support_set import FUSED
from utils.videos.face_video import FaceVideo, Track
from utils.videos.label_video import label_video
from utils.videos.support import place_labels

FRAMES, CUT, GAP = 120, 80, range(30, 36)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    runtime = make_runtime(RuntimeSettings(device="cpu", precision="float32"))
    return Network(runtime.place(MTCLAR(16, "concat").eval()), runtime, UNFITTED)


@pytest.fixture(scope="module")
def video() -> FaceVideo:
    """Track 0 before the cut, with a gap, and track 1 after it."""
    frames = np.arange(FRAMES)
    track = np.where(np.isin(frames, GAP), -1, np.where(frames < CUT, 0, 1))
    faces = pd.DataFrame({"frame": frames, "time": frames / 25, "track": track})
    faces = faces.assign(**dict.fromkeys(BOX, 1.0), score=0.9)
    rng = np.random.default_rng(0)
    tracks = []
    for number in (0, 1):
        rows = faces[faces["track"] == number].reset_index(drop=True)
        tracks.append(Track(number, rows, torch.from_numpy(rng.normal(size=(len(rows), 256)).astype(np.float32))))
    return FaceVideo(SimpleNamespace(name="clip", path="clip.mp4"), faces, tracks)


@pytest.fixture
def open_session(video, network, tmp_path):
    clips = [see_clip(network.model, network.runtime, one.embeddings, one.faces["time"].to_numpy())
             for one in video.tracks]  # fmt: skip

    def opened(annotator="", error=0.0, name="clip_labels.csv") -> Session:
        return Session(video, clips, network, LabelFile(tmp_path / name, video.timeline, annotator), error)

    return opened


def test_traces_are_those_that_the_script_writes(open_session, video, network):
    session = open_session(error=0.05)
    for frame, valence, arousal in ((3, 0.4, -0.2), (60, -0.3, 0.6), (79, 0.111, 0.999)):
        session.label(0, frame, valence, arousal)
    labels = read_labels(session.file.path, session.timeline)
    found = label_video(network.model, video, place_labels(labels, video, 0.05), FUSED, UNFITTED, network.runtime)
    for track in (0, 1):  # the other one has no label of its own, and is labelled by these
        table = found.tables["fused"][found.tables["fused"]["track"] == track]
        values = session.view(track).labels.values
        np.testing.assert_allclose(values, table[["valence", "arousal"]].to_numpy(float), atol=1e-5)
        low = np.clip(values - session.view(track).labels.margins, -1, 1)
        np.testing.assert_allclose(low, table[["valence_low", "arousal_low"]].to_numpy(float), atol=1e-4)


@pytest.mark.parametrize("swing, misread", [(1.0, ["valence"]), (0.02, [])])
def test_a_misread_face_is_told_in_log_and_view(open_session, video, network, caplog, swing, misread):
    session = open_session()
    for frame, valence in ((2, 0.7), (12, 0.1), (22, -0.6), (45, 0.8), (55, -0.2), (65, -0.9), (75, 0.5)):
        session.label(0, frame, swing * valence, 0.1)
    assert list(session.view(0).labels.misread) == misread
    labels = read_labels(session.file.path, session.timeline)
    label_video(network.model, video, place_labels(labels, video, 0.0), FUSED, UNFITTED, network.runtime)
    told = [record.getMessage() for record in caplog.records if "misreads" in record.getMessage()]
    assert len(told) == len(misread) and all("clip, track 0" in text and "valence in" in text for text in told)


def test_labels_are_on_disk_and_come_back(open_session):
    session = open_session("Ada")
    session.label(0, 10, 0.256, -2.0)
    session.label(1, 100, -0.0, 0.5)
    session.annotate(0, 10, "=1+1\n' or \"this\", Ünal")
    table = pd.read_csv(session.file.path)
    assert tuple(table.columns) == COLUMNS and table["frame"].tolist() == [10, 100]
    assert table.loc[0, ["valence", "arousal", "annotator"]].tolist() == [0.26, -1.0, "Ada"]
    assert table.loc[0, "note"].startswith("'=") and table.loc[1, "valence"] == 0
    again = open_session("Ada")
    assert again.marks == session.marks and again.marks[0, 10].note == "=1+1 ' or \"this\", Ünal"
    again.delete(0, 10)
    again.delete(1, 100)
    assert not session.file.path.exists() and open_session("Ada").marks == {}


def test_undo_and_redo_of_everything(open_session):
    session = open_session()
    states = [session.marks]
    for change in (
        lambda: session.label(0, 5, 0.1, 0.2), lambda: session.label(0, 5, 0.3, 0.2),
        lambda: session.annotate(0, 5, "sure"), lambda: session.label(1, 90, 0.0, 0.0), lambda: session.delete(0, 5),
    ):  # fmt: skip
        change()
        states.append(session.marks)
    session.delete(0, 5)  # changes nothing, so there is nothing to take back
    for before in states[-2::-1]:
        assert session.undo() is not None
        assert session.marks == before == open_session().marks
    assert session.undo() is None and not session.can_undo
    for after in states[1:]:
        session.redo()
        assert session.marks == after
    assert session.redo() is None
    session.undo()
    session.label(0, 7, 0.0, 0.0)
    assert not session.can_redo


@pytest.fixture
def position(open_session) -> Position:
    session = open_session()
    for frame in (10, 20):
        session.label(0, frame, 0.2, -0.2)
    return Position(SimpleNamespace(items=[SimpleNamespace(session=session)], worst_first=lambda: [0]))


def test_moves(position):
    def go(name: str, **act) -> int:
        position.go({"name": name, **act})
        return position.frame

    assert position.frame == 0
    assert go("step", frames=3) == 3 and go("step", seconds=1) == 28 and go("step", frames=-1000) == 0
    assert go("goto", time=0.99) == 25 and go("goto", row=70) == 70 and go("goto", mark=20) == 20
    assert go("mark") == 10 and go("mark") == 20 and go("mark", by=-1) == 10  # beyond the last one is the first
    following = position.session.view(0).next
    assert go("next") == position.session.clips[0].frames[following.place] == go("next")
    assert go("doubt") == position.frame  # there is none


def test_changes_at_a_position(position):
    def mark(frame: int, **act):
        position.change({"shown": frame, "frame": frame, **act})
        return position.session.marks.get((0, frame))

    estimate = position.session.view(0).labels.values[15]
    assert mark(15, name="accept")[:2] == pytest.approx(estimate, abs=0.005)
    assert mark(10, name="nudge", axis=1, by=0.05)[:2] == (0.2, -0.15)
    assert mark(10, name="move", axis=0, value=0.9)[:2] == (0.9, -0.15)
    assert mark(10, name="note", text="sure").note == "sure"
    assert mark(20, name="delete") is None
    position.change({"name": "undo"})
    assert (position.track, position.frame) == (0, 20) and (0, 20) in position.session.marks
    for act in ({"name": "label", "valence": 0, "arousal": 0}, {"name": "accept", "shown": GAP[0]}):
        with pytest.raises(DataError, match="no frame is on screen|shows no face"):
            position.change(act)


def test_what_cannot_be_labelled_changes_nothing(open_session):
    session = open_session()
    for track, frame, valence in ((0, GAP[0], 0.0), (0, 100, 0.0), (3, 10, 0.0), (0, 10, float("nan"))):
        with pytest.raises(DataError, match="no face|two numbers"):
            session.label(track, frame, valence, 0.0)
    with pytest.raises(DataError, match="label the frame first"):
        session.annotate(0, 10, "why")
    assert not session.marks and not session.can_undo and not session.file.path.exists()


def test_a_label_that_cannot_be_written_is_taken_back(open_session, monkeypatch):
    session = open_session()
    session.label(0, 4, 0.1, 0.2)
    session.label(0, 5, 0.1, 0.2)
    marks, text = session.marks, session.file.path.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for change in (lambda: session.label(0, 6, 0.1, 0.2), session.undo):
            with pytest.raises(NotSaved, match="clip_labels.csv: cannot be written .No space left"):
                change()
    assert session.marks == marks == open_session().marks and session.file.path.read_text() == text
    assert session.can_undo and not session.can_redo
    other = open_session()
    other.label(1, 99, 0.5, 0.5)
    with pytest.raises(NotSaved, match="changed by another program"):
        session.label(0, 6, 0.1, 0.2)
    assert set(open_session().marks) == {(0, 4), (0, 5), (1, 99)}


def test_labels_of_others_are_never_overwritten(open_session, tmp_path):
    open_session("Ada", name="labels.csv").label(0, 5, 0.1, 0.2)
    with pytest.raises(DataError, match="labels by 'Ada'.*file of their own"):
        open_session("Ben", name="labels.csv")
    assert open_session(name="labels.csv").file.annotator == "Ada"
    foreign = tmp_path / "clip_labels.csv"
    foreign.write_text("time;valence;arousal;mood\n0.2;0.123456;0.5;fine\n")
    session = open_session()
    session.label(0, 9, 0.1, 0.2)
    assert "mood" in (tmp_path / "clip_labels.csv.original").read_text()
    assert pd.read_csv(foreign)["valence"].tolist() == [0.123456, 0.1]


def test_labels_of_tracks_that_are_not_chosen_stay_in_the_file(open_session, video, network, tmp_path):
    session = open_session()
    session.label(0, 5, 0.1, 0.2)
    session.label(1, 90, 0.3, 0.4)
    session.annotate(1, 90, "other")
    first = video._replace(tracks=video.tracks[:1])
    clips = [session.clips[0].seen]
    alone = Session(first, clips, network, LabelFile(session.file.path, video.timeline, ""))
    assert set(alone.marks) == {(0, 5)}
    alone.label(0, 6, 0.5, 0.5)
    assert open_session().marks == {**session.marks, **alone.marks}
    assert open_session().marks[1, 90].note == "other"


def test_each_annotator_has_a_file_and_all_are_joined(open_session, tmp_path):
    video = tmp_path / "clip.mp4"
    assert label_path(video, None, "") == tmp_path / "clip_labels.csv"
    assert label_path(video, tmp_path / "mine.csv", "Ada") == tmp_path / "mine.csv"
    with pytest.raises(DataError, match="mine.eaf: the page keeps labels in a CSV"):
        label_path(video, tmp_path / "mine.eaf", "Ada")
    paths = {name: label_path(video, tmp_path, name) for name in ("Ada", "Ben B.")}
    assert paths["Ben B."].name == "clip_labels_Ben_B.csv"
    for name, path in paths.items():
        session = open_session(name, name=path.name)
        session.label(0, 5, 0.1, len(name) / 10)
    shutil.copy(paths["Ada"], tmp_path / "clip2_labels_Ada.csv")  # of another video
    files = all_annotators(paths["Ada"], video)
    assert files == sorted(paths.values())
    (tmp_path / "joined").mkdir()
    joined = read_labels(joined_labels(files, session, tmp_path / "joined"), session.timeline)
    assert joined["annotator"].tolist() == ["Ada", "Ben B."] and joined["arousal"].tolist() == pytest.approx([0.3, 0.6])


def test_view_plans_and_contradictions(open_session):
    session = open_session()
    before = session.error
    frames = session.clips[0].frames[4::8]
    for frame in frames:
        session.label(0, int(frame), 0.1, 0.1)
    view = session.view(0)
    assert session.error < before and not view.doubts
    assert view.needed(1.0) == 0 and view.needed(0.0) is None
    assert view.needed(view.ahead[4].after) == 5
    wrong = int(frames[4])
    session.label(0, wrong, -1.0, 0.1)
    assert [(doubt.anchor, doubt.axis) for doubt in session.view(0).doubts if doubt.label == -1] == [(4, "valence")]
    marks = {mark["frame"]: mark for mark in trace_state(session, 0)["marks"]}
    assert marks[wrong]["expected"][0] > -0.5 and marks[wrong]["expected"][1] is None
    assert "others expect" in readings(session, 0, wrong)
    assert plane_state(session, 0, wrong)["label"] == [-1.0, 0.1]
    assert plane_state(session, 0, GAP[0])["estimate"] is None and "no face" in readings(session, 0, GAP[0])


def test_gaps_and_cuts_are_told(open_session, video):
    assert shot_changes(video).tolist() == [CUT / 25]
    state = trace_state(open_session(), 0)
    assert state["gaps"] == [[GAP[0] / 25, 36 / 25], [CUT / 25, (FRAMES - 1) / 25]] and state["cuts"] == [CUT / 25]
    assert [x for x in state["axes"][0]["x"] if x is None] == [None, None]


@pytest.mark.parametrize("frames", [1, POINTS // 2, 10_007])
def test_thinned_traces_keep_their_peaks(frames):
    times = np.arange(frames) / 25
    mid = np.random.default_rng(0).uniform(-0.5, 0.5, frames)
    mid[frames // 3] = 0.97
    breaks = np.array([frames // 2]) if frames > 1 else np.empty(0, int)
    found = thinned(times, breaks, mid, np.full(frames, 0.2))
    drawn = [value for value in found["mid"] if value is not None]
    assert max(drawn) == 0.97 and len(drawn) <= POINTS + 4
    assert len({len(column) for column in found.values()}) == 1
    known = np.array([x for x in found["x"] if x is not None])
    assert (np.diff(known) >= 0).all() and max(value for value in found["high"] if value is not None) == 1


def test_any_frame_is_the_one_that_reading_from_the_start_gives(tmp_path):
    images = (np.full((48, 64, 3), 20 + frame, np.uint8) for frame in range(130))
    video = open_video(write_video(tmp_path / "clip.mp4", images))
    whole = {frame: (time, image) for frame, time, image in video}
    timeline = Timeline(np.array(list(whole)), np.array([time for time, _ in whole.values()]))
    frames = VideoFrames(video, timeline)
    for frame in (0, 1, 2, 40, 129, 3, 77, 76, 128):
        np.testing.assert_array_equal(frames.read(frame), whole[frame][1])
    with pytest.raises(DataError, match="beyond the end"):
        frames.read(130)
    shifted = Timeline(timeline.frames, timeline.times + 1)  # stamps that seeking does not give
    np.testing.assert_array_equal(VideoFrames(video, shifted).read(100), whole[100][1])
