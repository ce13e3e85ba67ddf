"""Labelling a video without a browser: labels on disk, undo, and estimates equal to those of fsl_mtclar.py."""

import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from clips import write_video
from killed_sessions import kill_sessions

from datasets.annotations.labels import read_labels
from datasets.annotations.ratings import read_rating
from datasets.annotations.timeline import Timeline
from datasets.columns import BOX
from datasets.video.random_access import VideoFrames
from datasets.video.reading import open_video
from models.mtclar import MTCLAR
from utils.annotate import actions
from utils.annotate.actions import (
    BROWSER_ACTIONS,
    CHANGES,
    CHECK_SHORTCUTS,
    FRAME_CHANGES,
    MOVES,
    SHORTCUTS,
    VIEWS,
    keys_of,
)
from utils.annotate.archive import Archive
from utils.annotate.guarded_file import NotSavedError
from utils.annotate.label_file import COLUMNS, LabelFile, files_of_all_annotators, label_path
from utils.annotate.payload import frame_summary, plane_data, rating_text, shot_changes, trace_data
from utils.annotate.position import Position
from utils.annotate.project import join_labels, without_page_ratings
from utils.annotate.rating_file import RatingFile
from utils.annotate.session import Session
from utils.annotate.thin import MAX_POINTS, thin_trace
from utils.base.errors import DataError
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import RuntimeSettings
from utils.labelling.anchors import FUSED
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.labeller import Labeller
from utils.labelling.raters.ratings import RatedAxis, RatingSource
from utils.videos.face_video import FaceVideo, Track
from utils.videos.label_video import label_video
from utils.videos.support import anchors_in_track, encode_tracks, resolve_labels

FRAMES, CUT, GAP = 120, 80, range(30, 36)


@pytest.fixture(scope="module")
def labeller() -> Labeller:
    torch.manual_seed(0)
    runtime = make_runtime(RuntimeSettings(device="cpu", precision="float32"))
    return Labeller(ClipEncoder(runtime.to_device(MTCLAR(16, "concat").eval()), runtime))


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
        embeddings = torch.from_numpy(rng.normal(size=(len(rows), 256)).astype(np.float32))
        tracks.append(Track(number, rows, embeddings, np.empty((len(rows), 0, 2))))
    return FaceVideo(SimpleNamespace(name="clip", path="clip.mp4"), faces, tracks)


@pytest.fixture
def open_session(video, labeller, tmp_path):
    def open_file(annotator="", error=0.0, name="clip_labels.csv") -> Session:
        file = LabelFile(tmp_path / name, video.timeline, annotator)
        return Session(video, labeller, file, RatingFile(tmp_path / f"rating_of_{name}", annotator), error)

    return open_file


def test_estimates_equal_the_labels_that_the_script_writes(open_session, video, labeller):
    session = open_session(error=0.05)
    for frame, valence, arousal in ((3, 0.4, -0.2), (60, -0.3, 0.6), (79, 0.111, 0.999)):
        session.label(0, frame, valence, arousal)
    labels = read_labels(session.file.path, session.timeline)
    written = label_video(
        labeller, video, encode_tracks(labeller, video), resolve_labels(labels, video, 0.05), FUSED, {}
    )
    assert session.expected_error == pytest.approx(written.expected_error, rel=1e-4)
    table = written.tables[FUSED]
    for track in (0, 1):  # Track 1 has no label of its own and is labelled from those of track 0.
        rows = table[table["track"] == track]
        values = session.estimate(track).values
        np.testing.assert_allclose(values, rows[["valence", "arousal"]].to_numpy(float), atol=1e-5)
        low = np.clip(values - session.estimate(track).half_widths, -1, 1)
        np.testing.assert_allclose(low, rows[["valence_low", "arousal_low"]].to_numpy(float), atol=1e-4)


@pytest.mark.parametrize("amplitude, misread", [(1.0, ["valence"]), (0.02, [])])
def test_a_misread_face_is_reported(open_session, video, labeller, caplog, amplitude, misread):
    session = open_session()
    for frame, valence in ((2, 0.7), (12, 0.1), (22, -0.6), (45, 0.8), (55, -0.2), (65, -0.9), (75, 0.5)):
        session.label(0, frame, amplitude * valence, 0.1)
    assert list(session.estimate(0).misread) == misread
    labels = read_labels(session.file.path, session.timeline)
    label_video(labeller, video, encode_tracks(labeller, video), resolve_labels(labels, video, 0.0), FUSED, {})
    warnings = [record.getMessage() for record in caplog.records if "misreads" in record.getMessage()]
    assert len(warnings) == len(misread)
    assert all("clip, track 0" in text and "valence in" in text for text in warnings)


def test_labels_are_on_disk_and_are_read_again(open_session):
    session = open_session("Ada")
    session.label(0, 10, 0.256, -2.0)
    session.label(1, 100, -0.0, 0.5)
    session.set_note(0, 10, '=1+1\n\' or "this", Ünal')
    table = pd.read_csv(session.file.path)
    assert tuple(table.columns) == COLUMNS and table["frame"].tolist() == [10, 100]
    assert table.loc[0, ["valence", "arousal", "annotator"]].tolist() == [0.26, -1.0, "Ada"]
    assert table.loc[0, "note"].startswith("'=") and table.loc[1, "valence"] == 0
    again = open_session("Ada")
    assert again.labels == session.labels and again.labels[0, 10].note == '=1+1 \' or "this", Ünal'
    again.delete(0, 10)
    again.delete(1, 100)
    assert not session.file.path.exists() and open_session("Ada").labels == {}


def test_every_change_can_be_undone_and_redone(open_session):
    session = open_session()
    states = [session.labels]
    for change in (
        lambda: session.label(0, 5, 0.1, 0.2),
        lambda: session.label(0, 5, 0.3, 0.2),
        lambda: session.set_note(0, 5, "sure"),
        lambda: session.label(1, 90, 0.0, 0.0),
        lambda: session.delete(0, 5),
    ):
        change()
        states.append(session.labels)
    session.delete(0, 5)  # changes nothing, so there is nothing to undo
    for before in states[-2::-1]:
        assert session.undo() is not None
        assert session.labels == before == open_session().labels
    assert session.undo() is None and not session.can_undo
    for after in states[1:]:
        session.redo()
        assert session.labels == after
    assert session.redo() is None
    session.undo()
    session.label(0, 7, 0.0, 0.0)
    assert not session.can_redo


@pytest.fixture
def position(open_session) -> Position:
    session = open_session()
    for frame in (10, 20):
        session.label(0, frame, 0.2, -0.2)
    return Position(SimpleNamespace(videos=[SimpleNamespace(session=session)], by_expected_error=lambda: [0]))


def test_moves(position):
    def move(name: str, **details) -> int:
        position.move({"name": name, **details})
        return position.frame

    assert position.frame == 0
    assert move("step", frames=3) == 3 and move("step", seconds=1) == 28 and move("step", frames=-1000) == 0
    assert move("goto", time=0.99) == 25 and move("goto", row=70) == 70 and move("goto", frame=20) == 20
    assert move("next_label") == 10 and move("next_label") == 20  # After the last label comes the first one.
    assert move("next_label", by=-1) == 10
    suggestion = position.session.estimate(0).suggestion
    suggested = position.session.tracks[0].frames[suggestion.frame_index]
    assert move("next_suggestion") == suggested == move("next_suggestion")
    assert move("next_contradiction") == position.frame  # There is no contradiction.


KEYS = keys_of(SHORTCUTS)
PAGE_ACTIONS = ("playing", "unplayable", "help", "welcome", "next_anywhere", *VIEWS)  # the other actions of the program


@pytest.mark.parametrize("shortcuts", [SHORTCUTS, CHECK_SHORTCUTS])
def test_every_key_has_an_action_and_stands_in_the_help(shortcuts):
    keys = keys_of(shortcuts)
    assert len(keys) == sum(len(shortcut.actions) for shortcut in shortcuts)  # No key has two actions.
    assert {action["name"] for action in keys.values()} <= {*CHANGES, *MOVES, *PAGE_ACTIONS, *BROWSER_ACTIONS}
    assert all(shortcut.shown and shortcut.meaning for shortcut in shortcuts)


def test_keys_of_the_page():
    assert set(FRAME_CHANGES) < set(CHANGES)
    wanted = {"ArrowLeft": "step", "n": "next_suggestion", " ": "play", "Ctrl+z": "undo", "t": "focus_note"}
    wanted |= dict.fromkeys(("Ctrl+y", "Ctrl+Shift+Z", "Ctrl+Shift+z"), "redo")
    assert {key: KEYS[key]["name"] for key in wanted} == wanted


def test_every_action_that_the_page_sends_is_known():
    folder = Path(actions.__file__).parent
    files = (*folder.glob("*.js"), *folder.glob("*page.py"), folder / "elements.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    sent = re.findall(r"""(?:send|action_handler)\(["'](\w+)|action_button\("[^"]*", "[^"]*", "(\w+)""", text)
    names = {name for pair in sent for name in pair if name}
    assert {"label", "drag", "note", "goto", "undo", "next_suggestion"} <= names
    assert names <= {*CHANGES, *MOVES, *PAGE_ACTIONS}
    for name in BROWSER_ACTIONS:  # hub.js performs one of them, and calls the methods of other components for the rest.
        assert f'"{name}"' in text or re.search(rf"^    {name}\(", text, re.MULTILINE), name


def test_every_key_that_moves_or_changes_is_performed(position):
    for action in KEYS.values():
        perform = {**dict.fromkeys(CHANGES, position.change), **dict.fromkeys(MOVES, position.move)}.get(action["name"])
        if perform:
            perform({"shown": 10, "requested": 10, **action})


def test_changes_at_a_position(position):
    def change(frame: int, **action):
        position.change({"shown": frame, "requested": frame, "frame": frame, **action})
        return position.session.labels.get((0, frame))

    estimate = position.session.estimate(0).values[15]
    assert change(15, name="accept")[:2] == pytest.approx(estimate, abs=0.005)
    assert change(10, name="nudge", axis=1, by=0.05)[:2] == (0.2, -0.15)
    assert change(10, name="drag", axis=0, value=0.9)[:2] == (0.9, -0.15)
    assert change(10, name="note", text="sure").note == "sure"
    assert change(20, name="delete") is None
    position.change({"name": "undo"})
    assert (position.track, position.frame) == (0, 20) and (0, 20) in position.session.labels
    for action in ({"name": "label", "valence": 0, "arousal": 0}, {"name": "accept", "shown": GAP[0]}):
        with pytest.raises(DataError, match="no frame is on screen|does not show the face"):
            position.change(action)


def samples(start: float, end: float, value: float = 0.3) -> list[list[float]]:
    return [[round(time, 4), value, np.sin(time)] for time in np.arange(start, end, 0.04)]


def test_a_rating_is_on_disk_and_is_redone_deleted_and_undone(open_session):
    session = open_session("Ada")
    session.rate(0.0, samples(0, 2))
    session.rate(2.0, samples(2, 4), continues=True)
    assert len(session.rating) == 100 and session.rating_file.path.exists()
    np.testing.assert_allclose(open_session("Ada").rating, session.rating)
    rating = read_rating(session.rating_file.path)
    assert rating.rater == "Ada" and rating.times[-1] == pytest.approx(3.96)
    session.rate(1.0, samples(1.01, 1.5, -0.8))
    redone = session.rating[(session.rating[:, 0] >= 1) & (session.rating[:, 0] < 1.48)]
    assert (redone[:, 1] == -0.8).all() and len(redone) == 12 and (np.diff(session.rating[:, 0]) > 0).all()
    session.label(0, 5, 0.1, 0.2)
    assert session.last_saved == session.file.path
    session.delete_rating()
    assert not session.rating_file.path.exists() and not len(session.rating)
    assert session.undo() is None and len(open_session("Ada").rating) == len(session.rating) > 90
    assert session.last_saved == session.rating_file.path
    assert session.undo() == (0, 5) and session.last_saved == session.file.path
    session.undo()
    session.undo()  # Both parts of the first rating are one change.
    assert not len(session.rating) and not session.can_undo
    for _ in range(4):
        session.redo()
    assert not len(session.rating) and session.labels


def test_a_rating_that_cannot_be_saved_or_used_changes_nothing(open_session, monkeypatch, video, labeller):
    session = open_session()
    session.rate(0.0, samples(0, 1))
    before = session.rating
    session.rating_file.path.write_text("time,valence\n0,0\n")
    for change in (lambda: session.rate(1.0, samples(1, 2)), session.delete_rating, session.undo):
        with pytest.raises(NotSavedError, match="changed by another program"):
            change()
    assert session.rating is before and session.can_undo
    with pytest.raises(DataError, match="needs numbers"):
        session.rate(1.0, [[1.0, float("nan"), 0.0]])
    with pytest.raises(DataError, match="rating of 'rating_of_clip_labels'.*file of their own"):
        open_session("Ada")
    both = video._replace(tracks=[video.tracks[0], video.tracks[0]._replace(number=2)])
    file = LabelFile(session.file.path, video.timeline, "")
    session.rating_file.path.unlink()
    with pytest.raises(DataError, match="tracks 0 and 2 are shown at the same time"):
        Session(both, labeller, file, RatingFile(session.rating_file.path, "")).rate(0.0, samples(0, 1))


def test_a_rating_is_evidence_as_in_the_script(open_session, video, labeller):
    session = open_session(error=0.05)
    for frame, valence, arousal in ((3, 0.4, -0.2), (60, -0.3, 0.6), (75, 0.1, 0.9), (79, 0.2, 0.8), (90, 0.0, 0.5)):
        session.label(0 if frame < CUT else 1, frame, valence, arousal)
    unrated = session.estimate(0).values
    session.rate(0.0, samples(0, 4.8))
    assert session.estimate(0).values is not None and trace_data(session, 0)["rating"][0]["y"][0] == 0.3
    session.use_rating()
    rated = session.estimate(0).values
    assert np.abs(rated - unrated).max() > 0.01 and rating_text(session) == "rated 0:00 to 0:04"

    rater = RatingSource("Ada", {Path("clip.mp4"): rated_axes(session.rating)})
    with_rating = video._replace(
        tracks=[one._replace(ratings=(rater.of_video(Path("clip.mp4"), [one.times]),)) for one in video.tracks]
    )
    resolved = resolve_labels(read_labels(session.file.path, session.timeline), with_rating, 0.05)
    script = labeller.with_rater()
    pairs = [
        (script.encode_clip(one.embeddings, one.times, one.evidence, one.ratings), anchors_in_track(one, means))
        for means in [resolved.means.assign(valence_error=0.0, arousal_error=0.0)]
        for one in with_rating.tracks
    ]
    script = script.adapt(pairs)
    table = label_video(script, with_rating, encode_tracks(script, with_rating), resolved, FUSED, {}).tables[FUSED]
    rows = table[table["track"] == 0]
    np.testing.assert_allclose(rated, rows[["valence", "arousal"]].to_numpy(float), atol=1e-5)
    session.delete_rating()
    np.testing.assert_allclose(session.estimate(0).values, unrated)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_nothing_is_lost_when_the_program_is_killed(video, labeller, tmp_path):
    def open_in(folder: Path) -> Session:
        file = LabelFile(folder / "clip_labels.csv", video.timeline, "Ada")
        return Session(video, labeller, file, RatingFile(folder / "clip_rating.csv", "Ada"))

    outcome = kill_sessions(open_in, tmp_path, 5)
    assert outcome.problems == [] and outcome.acknowledged > 20


def test_the_next_frame_of_all_videos_is_where_labels_are_missing(open_session):
    sessions = [open_session(name="a.csv"), None, open_session(name="b.csv")]
    archive = Archive(sessions)
    visited = []
    for _ in range(4):
        target = archive.next()
        visited.append((target.video_index, target.track))
        sessions[target.video_index].label(target.track, target.frame, 0.1, 0.1)
    assert sorted(set(visited)) == [(0, 0), (2, 0)] or len(set(visited)) > 2
    for frame in range(0, 30, 2):
        sessions[0].label(0, frame, 0.1, 0.1)
    assert archive.next().video_index == 2


def rated_axes(rating: np.ndarray) -> dict[int, RatedAxis]:
    return {axis: RatedAxis(Path("clip.csv"), rating[:, 0], rating[:, axis + 1]) for axis in (0, 1)}


def test_the_page_counts_its_own_rating_once(tmp_path):
    video, own = tmp_path / "clip.mp4", tmp_path / "clip_rating.csv"
    axes = rated_axes(np.zeros((2, 3)))
    raters = tuple(
        RatingSource(name, {video: {0: axes[0]._replace(path=path)}})
        for name, path in (("own", own), ("other", tmp_path / "clip_ben.csv"))
    )
    kept = without_page_ratings(raters, LabelSettings(annotate=video))
    assert [list(rater.videos[video]) for rater in kept] == [[], [0]]
    # The same file by another path.
    other_way = tmp_path / "folder" / ".." / "clip_rating.csv"
    raters = (RatingSource("own", {video: {0: axes[0]._replace(path=other_way)}}),)
    assert not without_page_ratings(raters, LabelSettings(annotate=video))[0].videos[video]


def test_an_impossible_label_changes_nothing(open_session):
    session = open_session()
    for track, frame, valence in ((0, GAP[0], 0.0), (0, 100, 0.0), (3, 10, 0.0), (0, 10, float("nan"))):
        with pytest.raises(DataError, match="does not show the face|two numbers"):
            session.label(track, frame, valence, 0.0)
    with pytest.raises(DataError, match="label the frame first"):
        session.set_note(0, 10, "why")
    assert not session.labels and not session.can_undo and not session.file.path.exists()


def test_a_label_that_cannot_be_saved_is_reverted(open_session, monkeypatch):
    session = open_session()
    session.label(0, 4, 0.1, 0.2)
    session.label(0, 5, 0.1, 0.2)
    labels, text = session.labels, session.file.path.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for change in (lambda: session.label(0, 6, 0.1, 0.2), session.undo):
            with pytest.raises(NotSavedError, match="clip_labels.csv: cannot be written .No space left"):
                change()
    assert session.labels == labels == open_session().labels and session.file.path.read_text() == text
    assert session.can_undo and not session.can_redo
    other = open_session()
    other.label(1, 99, 0.5, 0.5)
    with pytest.raises(NotSavedError, match="changed by another program"):
        session.label(0, 6, 0.1, 0.2)
    assert set(open_session().labels) == {(0, 4), (0, 5), (1, 99)}


def test_labels_of_other_annotators_are_never_overwritten(open_session, tmp_path):
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


def test_labels_of_tracks_that_are_not_chosen_are_kept_in_the_file(open_session, video, labeller):
    session = open_session()
    session.label(0, 5, 0.1, 0.2)
    session.label(1, 90, 0.3, 0.4)
    session.set_note(1, 90, "other")
    first_track = video._replace(tracks=video.tracks[:1])
    file = LabelFile(session.file.path, video.timeline, "")
    other = Session(first_track, labeller, file, session.rating_file)
    assert set(other.labels) == {(0, 5)}
    other.label(0, 6, 0.5, 0.5)
    assert open_session().labels == {**session.labels, **other.labels}
    assert open_session().labels[1, 90].note == "other"


def test_each_annotator_has_a_file_and_the_files_are_joined(open_session, tmp_path):
    video = tmp_path / "clip.mp4"
    assert label_path(video, None, "") == tmp_path / "clip_labels.csv"
    assert label_path(video, tmp_path / "mine.csv", "Ada") == tmp_path / "mine.csv"
    with pytest.raises(DataError, match="mine.eaf: the page saves labels in a CSV"):
        label_path(video, tmp_path / "mine.eaf", "Ada")
    paths = {name: label_path(video, tmp_path, name) for name in ("Ada", "Ben B.")}
    assert paths["Ben B."].name == "clip_labels_Ben_B.csv"
    for name, path in paths.items():
        session = open_session(name, name=path.name)
        session.label(0, 5, 0.1, len(name) / 10)
    shutil.copy(paths["Ada"], tmp_path / "clip2_labels_Ada.csv")  # of another video
    files = files_of_all_annotators(paths["Ada"], video)
    assert files == sorted(paths.values())
    (tmp_path / "joined").mkdir()
    joined = read_labels(join_labels(files, session, tmp_path / "joined"), session.timeline)
    assert joined["annotator"].tolist() == ["Ada", "Ben B."] and joined["arousal"].tolist() == pytest.approx([0.3, 0.6])


def test_the_error_after_a_suggested_label_is_shown_once_it_is_given(open_session):
    session = open_session()
    suggestion = session.estimate(0).suggestion
    frame, scores = session.tracks[0].frames[suggestion.frame_index], session.estimate(0).values[suggestion.frame_index]
    session.label(0, int(frame), *scores)
    assert session.estimate(0).expected_error == pytest.approx(suggestion.error_after, rel=1e-3)
    for frame in session.tracks[1].frames:
        session.label(1, int(frame), 0.1, 0.1)
    assert session.expected_error == pytest.approx(session.estimate(0).expected_error)


def test_suggestions_plans_and_contradictions(open_session):
    session = open_session()
    before = session.expected_error
    frames = session.tracks[0].frames[4::8]
    for frame in frames:
        session.label(0, int(frame), 0.1, 0.1)
    estimate = session.estimate(0)
    assert session.expected_error < before and not estimate.contradictions
    assert estimate.labels_needed(1.0) == 0 and estimate.labels_needed(0.0) is None
    assert estimate.labels_needed(estimate.plan[4].error_after) == 5
    wrong = int(frames[4])
    session.label(0, wrong, -1.0, 0.1)
    contradictions = session.estimate(0).contradictions
    assert [(one.anchor_index, one.axis) for one in contradictions if one.label == -1] == [(4, "valence")]
    labels = {label["frame"]: label for label in trace_data(session, 0)["labels"]}
    assert labels[wrong]["expected"][0] > -0.5 and labels[wrong]["expected"][1] is None
    assert "<td>−1.00</td>" in frame_summary(session, 0, wrong)  # with a true minus sign
    assert "other labels predict" in frame_summary(session, 0, wrong)
    assert plane_data(session, 0, wrong)["label"] == [-1.0, 0.1]
    assert plane_data(session, 0, GAP[0])["estimate"] is None and "no face" in frame_summary(session, 0, GAP[0])


def test_gaps_and_shot_changes(open_session, video):
    assert shot_changes(video).tolist() == [CUT / 25]
    data = trace_data(open_session(), 0)
    assert data["gaps"] == [[GAP[0] / 25, 36 / 25], [CUT / 25, (FRAMES - 1) / 25]] and data["cuts"] == [CUT / 25]
    assert [x for x in data["axes"][0]["x"] if x is None] == [None, None]


@pytest.mark.parametrize("frames", [1, MAX_POINTS // 2, 10_007])
def test_thin_traces_keep_their_peaks(frames):
    times = np.arange(frames) / 25
    mid = np.random.default_rng(0).uniform(-0.5, 0.5, frames)
    mid[frames // 3] = 0.97
    breaks = np.array([frames // 2]) if frames > 1 else np.empty(0, int)
    thinned = thin_trace(times, breaks, mid, np.full(frames, 0.2))
    drawn = [value for value in thinned["mid"] if value is not None]
    assert max(drawn) == 0.97 and len(drawn) <= MAX_POINTS + 4
    assert len({len(column) for column in thinned.values()}) == 1
    known = np.array([x for x in thinned["x"] if x is not None])
    assert (np.diff(known) >= 0).all() and max(value for value in thinned["high"] if value is not None) == 1


def test_random_access_gives_the_frames_of_sequential_reading(tmp_path):
    images = (np.full((48, 64, 3), 20 + frame, np.uint8) for frame in range(130))
    video = open_video(write_video(tmp_path / "clip.mp4", images))
    sequential = {frame: (time, image) for frame, time, image in video}
    timeline = Timeline(np.array(list(sequential)), np.array([time for time, _ in sequential.values()]))
    frames = VideoFrames(video, timeline)
    for frame in (0, 1, 2, 40, 129, 3, 77, 76, 128):
        np.testing.assert_array_equal(frames.read(frame), sequential[frame][1])
    with pytest.raises(DataError, match="beyond the end"):
        frames.read(130)
    shifted = Timeline(timeline.frames, timeline.times + 1)  # time stamps that seeking does not give
    np.testing.assert_array_equal(VideoFrames(video, shifted).read(100), sequential[100][1])
