"""Who is shown in the tracks of the page's videos: people.csv, undo, and labels that inform all tracks of a person."""

import asyncio
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from datasets.columns import BOX
from models.mtclar import MTCLAR
from utils.annotate.archive import Archive
from utils.annotate.guarded_file import NotSavedError
from utils.annotate.label_file import LabelFile
from utils.annotate.people import TrackPeople
from utils.annotate.rating_file import RatingFile
from utils.annotate.session import Session
from utils.annotate.shared_estimates import SharedEstimates
from utils.base.errors import DataError
from utils.compute.runtime import make_runtime
from utils.config.sections import RuntimeSettings
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.labeller import Labeller
from utils.videos.face_video import FaceVideo, Track
from utils.videos.image_similarity import ImageSimilarity

FRAMES = 40


@pytest.fixture(scope="module")
def labeller() -> Labeller:
    torch.manual_seed(0)
    runtime = make_runtime(RuntimeSettings(device="cpu", precision="float32"))
    return Labeller(ClipEncoder(runtime.to_device(MTCLAR(16, "concat").eval()), runtime))


@pytest.fixture
def videos(tmp_path) -> list[FaceVideo]:
    """Three videos with two tracks each, one after the other, which share a frame in the last video."""
    rng, face_videos = np.random.default_rng(0), []
    for name in "abc":
        frames = np.arange(FRAMES)
        faces = pd.DataFrame({"frame": frames, "time": frames / 25, "track": frames // (FRAMES // 2)})
        if name == "c":
            faces.loc[FRAMES // 2, ["frame", "time"]] = faces.loc[FRAMES // 2 - 1, ["frame", "time"]]
        faces = faces.assign(**dict.fromkeys(BOX, 1.0), score=0.9)
        tracks = []
        for number in (0, 1):
            rows = faces[faces["track"] == number].reset_index(drop=True)
            embeddings = torch.from_numpy(rng.normal(size=(len(rows), 256)).astype(np.float32))
            tracks.append(Track(number, rows, embeddings, np.empty((len(rows), 0, 2))))
        face_videos.append(FaceVideo(SimpleNamespace(name=name, path=tmp_path / f"{name}.mp4"), faces, tracks))
    return face_videos


@pytest.fixture
def image_similarity(videos) -> ImageSimilarity:
    image_similarity = ImageSimilarity()
    for index, video in enumerate(videos):
        for number in (0, 1):
            key = video.video.path, number
            image_similarity.faces[key] = np.zeros((4, 4, 3), np.uint8)
            image_similarity._features[key] = np.array([np.cos(index), np.sin(index)], np.float32)
            image_similarity._simultaneous[key] = {(key[0], 1 - number)} if index == 2 else set()
    return image_similarity


@pytest.fixture
def open_people(videos, image_similarity, tmp_path):
    paths = [video.video.path for video in videos]
    return lambda: TrackPeople(tmp_path / "people.csv", videos, [*paths, tmp_path / "d.mp4"], image_similarity)


@pytest.fixture
def sessions(videos, labeller, tmp_path) -> list[Session]:
    sessions = []
    for video in videos:
        file = LabelFile(tmp_path / f"{video.video.name}_labels.csv", video.timeline, "")
        rating_file = RatingFile(tmp_path / f"{video.video.name}_rating.csv", "")
        sessions.append(Session(video, labeller, file, rating_file))
    return sessions


def share(people: TrackPeople, sessions: list[Session]) -> SharedEstimates:
    shared = SharedEstimates(people, {session.face_video.video.path: session for session in sessions})
    for session in sessions:
        session.shared_posteriors = partial(shared.posteriors, session)
    return shared


def key(videos, index: int, track: int) -> tuple[Path, int]:
    return videos[index].video.path, track


def test_changes_are_on_disk_undone_and_redone(open_people, videos):
    people = open_people()
    assert set(people.names.values()) == {"a 0", "a 1", "b 0", "b 1", "c 0", "c 1"} and not people.path.exists()
    people.join(key(videos, 1, 0), "a 0")
    people.rename(key(videos, 0, 0), " Ada  L. ")
    people.join(key(videos, 2, 1), "Ada L.")
    people.make_new(key(videos, 0, 0))
    assert open_people().names == people.names
    assert people.names[key(videos, 0, 0)] == "a 0" and people.tracks_of("Ada L.") == [
        key(videos, 1, 0),
        key(videos, 2, 1),
    ]
    states = [people.names]
    while (track := people.undo()) is not None:
        states.append(people.names)
        assert open_people().names == people.names
    assert len(states) == 5 and track is None and not people.has_joined_tracks
    while people.redo():
        pass
    assert people.names == states[0] == open_people().names


def test_a_new_person_gets_a_name_that_is_free(open_people, videos):
    people = open_people()
    people.join(key(videos, 1, 0), "a 0")
    people.make_new(key(videos, 0, 0))  # "a 0" is now the name of the person in the other track
    assert people.names[key(videos, 0, 0)] == "a 0 (2)"
    before = people.names
    people.make_new(key(videos, 0, 0))  # already alone
    assert people.names is before


@pytest.mark.parametrize(
    "name, message",
    [("", "names no person"), ("Ada, Ben", "several people"), ("=1", "begin with"), ("x" * 61, "60"), ("b 1", "join")],
)
def test_impossible_names_change_nothing(open_people, videos, name, message):
    people = open_people()
    with pytest.raises(DataError, match=message):
        people.rename(key(videos, 0, 0), name)
    assert not people.path.exists() and people.names[key(videos, 0, 0)] == "a 0"


def test_tracks_of_one_frame_are_never_joined(open_people, videos):
    people = open_people()
    with pytest.raises(DataError, match="same frame"):
        people.join(key(videos, 2, 1), "c 0")
    with pytest.raises(DataError, match="no person 'Zoe'"):
        people.join(key(videos, 2, 1), "Zoe")
    assert "c 0" not in [candidate.person for candidate in people.candidates(key(videos, 2, 1), 9)]
    assert not people.path.exists()


def test_other_rows_of_the_file_are_kept(open_people, videos, tmp_path):
    (tmp_path / "people.csv").write_text("video,track,person\nb,,Ben\nd,0,Dan\na.mp4,0,Ada\n")
    (tmp_path / "d.mp4").touch()
    people = open_people()
    assert [people.names[key(videos, 1, track)] for track in (0, 1)] == ["Ben", "Ben"]
    people.join(key(videos, 0, 1), "Ada")
    table = pd.read_csv(people.path).fillna("")
    assert ["d", 0, "Dan"] in table[["video", "track", "person"]].to_numpy().tolist() and len(table) == 7
    people.path.write_text(people.path.read_text() + "\n")
    with pytest.raises(NotSavedError, match="another program"):
        people.undo()
    assert people.names[key(videos, 0, 1)] == "Ada"


def test_rows_of_videos_that_the_page_does_not_show_are_kept(videos, image_similarity, tmp_path):
    (tmp_path / "people.csv").write_text("video,track,person\na,0,Ada\nz.mp4,,Zoe\n")
    people = TrackPeople(tmp_path / "people.csv", videos[:1], [videos[0].video.path], image_similarity)
    people.join(key(videos, 0, 1), "Ada")
    rows = pd.read_csv(people.path, dtype=str).fillna("")[["video", "track", "person"]].to_numpy().tolist()
    assert rows == [["a", "0", "Ada"], ["a", "1", "Ada"], ["z.mp4", "", "Zoe"]]


def test_a_person_is_renamed_in_rows_that_the_page_does_not_show(videos, image_similarity, tmp_path):
    text = "video,track,person\na,0,Ada\nz,0,Ada\nz,1,Zoe\n"
    (tmp_path / "people.csv").write_text(text)
    people = TrackPeople(tmp_path / "people.csv", videos[:1], [videos[0].video.path], image_similarity)

    def others() -> list[str]:
        return pd.read_csv(people.path).query("video == 'z'")["person"].tolist()

    with pytest.raises(DataError, match="not shown here 'Zoe'"):
        people.rename(key(videos, 0, 0), "Zoe")
    people.rename(key(videos, 0, 0), "Ann")
    assert people.tracks_of("Ann") == [key(videos, 0, 0)] and others() == ["Ann", "Zoe"]
    people.undo()
    assert people.tracks_of("Ada") == [key(videos, 0, 0)] and others() == ["Ada", "Zoe"]
    people.redo()
    people.make_new(key(videos, 0, 0))  # Ann is shown in z, too.
    assert people.names[key(videos, 0, 0)] == "a 0" and others() == ["Ann", "Zoe"]


def test_default_names_differ_from_each_other_and_from_those_in_the_file(videos, image_similarity, tmp_path):
    for video, name in zip(videos[:2], ("tom-and-jerry", "tom-&-jerry"), strict=True):
        video.video.name = name
    (tmp_path / "people.csv").write_text("video,track,person\nd,0,c 0\nd,1,c 0 (2)\n")
    people = TrackPeople(tmp_path / "people.csv", videos, [video.video.path for video in videos], image_similarity)
    assert not people.has_joined_tracks and people.names[key(videos, 2, 0)] == "c 0 (3)"


def test_names_that_spreadsheets_would_run_are_written_as_text(open_people, videos):
    file = open_people().path
    file.write_text("video,track,person\na,0,'=Ada\nb,0,-Ben\n")
    people = open_people()
    assert people.tracks_of("=Ada") == [key(videos, 0, 0)] and people.tracks_of("-Ben") == [key(videos, 1, 0)]
    people.join(key(videos, 0, 1), "=Ada")
    assert file.read_text().count("'=Ada") == 2 and "'-Ben" in file.read_text()
    assert open_people().names == people.names


def test_labels_of_a_person_inform_all_tracks_as_in_the_script(open_people, videos, sessions, labeller):
    people = open_people()
    shared = share(people, sessions)
    assert shared.posteriors(sessions[1], 0) is None
    people.join(key(videos, 1, 0), "a 0")
    alone = sessions[1].estimate(0)
    sessions[0].label(0, 5, 0.6, -0.4)
    sessions[0].label(0, 15, -0.2, 0.3)
    estimate = sessions[1].estimate(0)
    assert estimate is not alone and estimate.expected_error < alone.expected_error
    assert sessions[1].estimate(0) is estimate
    clips = labeller.encoder.relative_to_person([sessions[index].tracks[0].clip for index in (0, 1)])
    posteriors = labeller.person_posteriors(clips, [sessions[0].anchors_in(0), None])
    for index in (0, 1):
        expected = labeller.fused_labels(posteriors[index], sessions[index].anchors_in(0))
        np.testing.assert_allclose(sessions[index].estimate(0).values, expected.values, atol=1e-5)
        np.testing.assert_allclose(sessions[index].estimate(0).half_widths, expected.half_widths, atol=1e-5)
    sessions[0].undo()
    changed = sessions[1].estimate(0)
    assert changed is not estimate
    people.undo()
    np.testing.assert_allclose(sessions[1].estimate(0).values, alone.values)


def test_the_next_frame_of_all_videos_follows_the_people(open_people, videos, sessions):
    people = open_people()
    archive = Archive(sessions, share(people, sessions))
    first = archive.next()
    assert first is not None and len(archive._known) == 6
    for index in (1, 2):
        people.join(key(videos, index, 0), "a 0")
    sessions[0].label(0, 5, 0.6, -0.4)
    assert archive.next() is not None
    assert sorted(map(len, archive._known)) == [1, 1, 1, 3]
    people.undo()
    assert archive.next() is not None and sorted(map(len, archive._known)) == [1, 1, 1, 1, 2]


def test_people_who_change_while_the_videos_are_compared_are_read_again(open_people, videos, sessions, monkeypatch):
    people = open_people()
    archive = Archive(sessions, shared := share(people, sessions))
    for index in (1, 2):
        people.join(key(videos, index, 0), "a 0")
    sessions[0].label(0, 5, 0.6, -0.4)
    offsets, changes = shared.offsets, [people.undo, people.undo, people.redo]

    def offsets_and_change(*arguments):
        if changes:
            changes.pop(0)()
        return offsets(*arguments)

    monkeypatch.setattr(shared, "offsets", offsets_and_change)
    assert archive.next() == Archive(sessions, shared).next() and not changes
    assert sorted(map(len, archive._known)) == [1, 1, 1, 1, 2]


def test_a_comparison_that_failed_is_made_again(open_people, videos, sessions, monkeypatch):
    archive = Archive(sessions, share(open_people(), sessions))
    expected = archive.next()
    sessions[0].label(0, 5, 0.6, -0.4)
    with monkeypatch.context() as patch:
        patch.setattr(archive._suggester, "update", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            archive.next()
    sessions[0].undo()
    assert archive.next() == expected


def test_a_rated_video_shares_labels_with_none_of_the_others(open_people, videos, sessions):
    people = open_people()
    shared = share(people, sessions)
    people.join(key(videos, 0, 1), "a 0")
    people.join(key(videos, 1, 0), "a 0")
    assert len(shared.group_of(key(videos, 0, 0), people.state)) == 3
    sessions[0].rate(0.0, [[second / 10, 0.1, 0.2] for second in range(10)])
    sessions[0].use_rating()
    sessions[0].label(0, 5, 0.6, -0.4)
    assert shared.group_of(key(videos, 0, 0), people.state) == [key(videos, 0, 0), key(videos, 0, 1)]
    assert shared.posteriors(sessions[1], 0) is None and shared.posteriors(sessions[0], 1) is not None
    assert np.isfinite(sessions[0].estimate(1).values).all()


def test_the_page_tells_that_a_comparison_failed():
    pytest.importorskip("nicegui")
    from utils.annotate.page import Page

    told = []
    tab = SimpleNamespace(
        hub=SimpleNamespace(run_method=lambda *arguments: told.append(arguments)),
        project=SimpleNamespace(archive=SimpleNamespace(next=lambda: 1 / 0)),
    )
    asyncio.run(Page._go_anywhere(tab))
    assert [kind for _, kind, _ in told] == ["idle", "failed"] and "division by zero" in told[-1][-1]


@pytest.mark.parametrize("moves, text", [(False, ["about 3 more"]), (True, [])])
def test_the_plan_of_a_track_is_not_shown_on_another(moves, text):
    pytest.importorskip("nicegui")
    from utils.annotate.page import Page

    def plan(target):
        tab.position.track = int(moves)
        return 3

    told, estimates = [], [SimpleNamespace(labels_needed=plan), SimpleNamespace()]
    tab = SimpleNamespace(
        session=SimpleNamespace(estimate=estimates.__getitem__),
        position=SimpleNamespace(track=0),
        target=0.1,
        plan=SimpleNamespace(set_text=told.append),
        _estimated=estimates[0],
        _planned=(None, 0.0),
    )
    asyncio.run(Page._update_plan(tab))
    assert told == text and (tab._planned[0] is None) == moves
