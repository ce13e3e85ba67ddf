"""Films on the annotation page: shots of two people are joined and labelled; picture and sound play; real clips."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("nicegui")
pytest.importorskip("playwright")

from clips import add_sound, face_images, write_video
from page_driver import BROWSER, ROOT, Tab, serving

from datasets.columns import AXES
from datasets.demo.people import random_person
from datasets.demo.traces import label_trace

pytestmark = pytest.mark.skipif(not BROWSER.exists(), reason=f"no {BROWSER}")

REAL = ROOT.parent / "shared" / "data" / "videos"
ON_CPU = ("--runtime.precision", "float32", "--runtime.device", "cpu")
SHOWN = ("Ada", "Ben", "Ada", "Ben", "Ada", "Ben")  # in each shot
SHOT = 24  # frames
TONE = 0.2 * np.sin(2 * np.pi * 440 * np.arange(6 * 48_000) / 48_000)


@pytest.fixture(scope="module")
def checkpoint(demo_run, tmp_path_factory) -> Path:
    return Path(shutil.copy(demo_run[0] / "best.pt", tmp_path_factory.mktemp("network")))


@pytest.fixture(scope="module")
def traces() -> np.ndarray:
    """(shots, SHOT, 2) valence and arousal of the film."""
    rng = np.random.default_rng(5)
    return np.stack([label_trace(rng, SHOT) for _ in SHOWN])


@pytest.fixture(scope="module")
def film(traces, tmp_path_factory) -> Path:
    """An edited film of two rendered people, with a tone. Browsers do not play its MPEG-4 picture."""
    rng, folder = np.random.default_rng(8), tmp_path_factory.mktemp("film")
    people = {name: random_person(rng) for name in ("Ada", "Ben")}
    images = (
        np.roll(image, 100 * (-1) ** shot, axis=1)
        for shot, name in enumerate(SHOWN)
        for image in face_images(traces[shot], people[name], side=240, aspect=16 / 9)
    )
    silent = write_video(folder / "silent.mp4", images)
    return add_sound(silent, folder / "film.mp4", TONE)


def play(tab: Tab) -> None:
    """Play until a second has passed, and pause; the sound is decoded, too."""
    tab.until("annotate.player.ready")
    tab.press("Home")
    tab.wait_for_frame(0)
    tab.press(" ")
    tab.until("annotate.player.mode === 'play' && annotate.player.video().currentTime > 1")
    heard = "(video => video.mozHasAudio ?? video.webkitAudioDecodedByteCount > 0)(annotate.player.video())"
    assert tab.page.evaluate(heard) and not tab.page.evaluate("annotate.player.muted")
    tab.press(" ")
    tab.until("annotate.player.mode === null && annotate.shownFrame > 20")


def next_anywhere(tab: Tab) -> int:
    """Go to the most useful frame of all tracks and return its number."""
    before = tab.frame()
    tab.press("Shift+N")
    tab.until(f"annotate.requestedFrame !== {before} && annotate.shownFrame === annotate.requestedFrame")
    return tab.frame()


def test_the_shots_of_a_film_are_joined_by_person_and_labelled(film, traces, checkpoint, browser_context, tmp_path):
    arguments = (film, checkpoint, "--labels", tmp_path, "--runs", tmp_path / "runs", "--track", "all", *ON_CPU)
    with serving(*arguments) as server:
        tab = Tab(browser_context, server.url)
        play(tab)
        tab.open_people()
        for shot, name in enumerate(SHOWN):
            first = SHOWN.index(name)
            tab.go_to_track(f"film.mp4, track {shot}")
            if shot == first:
                tab.press("r")
                tab.page.keyboard.type(name)
                tab.change_people(lambda: tab.press("Enter"))
            else:
                people = tab.page.evaluate("people.candidates.map((candidate) => candidate.person)")
                key = str(people.index(name) + 1)
                tab.change_people(lambda key=key: tab.press(key))
        tab.close_people()
        assert pd.read_csv(tmp_path / "people.csv")["person"].tolist() == list(SHOWN)
        labelled = []
        for _ in range(4):
            frame = next_anywhere(tab)
            tab.label(*traces.reshape(-1, 2)[frame])
            labelled.append(frame)
        run = tab.finish()
        assert not tab.errors
        tab.page.close()
    given = pd.read_csv(tmp_path / "film_labels.csv").sort_values("frame")
    assert given["frame"].tolist() == sorted(labelled)
    assert given["track"].tolist() == (given["frame"] // SHOT).tolist()
    assert given[list(AXES)].to_numpy() == pytest.approx(traces.reshape(-1, 2)[given["frame"]], abs=0.02)
    table, people = pd.read_csv(run / "labels.csv"), pd.read_csv(run / "people.csv")
    assert people["person"].tolist() == list(SHOWN)
    assert table[list(AXES)].notna().all(axis=None) and set(table["track"]) == set(range(len(SHOWN)))
    assert table.loc[table["support"], "frame"].tolist() == sorted(labelled)


@pytest.mark.parametrize("name", ["single_face.mp4", "face_noface.mov"])
def test_a_real_clip_is_played_with_sound_and_labelled(name, checkpoint, browser_context, tmp_path):
    if not (REAL / name).exists():
        pytest.skip(f"{name} is not available")
    video = add_sound(REAL / name, tmp_path / name, TONE)
    with serving(video, checkpoint, "--runs", tmp_path / "runs", "--detect_every", "6", *ON_CPU) as server:
        tab = Tab(browser_context, server.url)
        play(tab)
        labelled = []
        for scores in ((0.4, 0.2), (-0.3, 0.1)):
            labelled.append(tab.next())
            tab.label(*scores)
        table = pd.read_csv(tab.finish() / "labels.csv")
        assert not tab.errors
        tab.page.close()
    assert table.loc[table["support"] == True, "frame"].tolist() == sorted(labelled)  # noqa: E712  # NaN without a face
    faces = table["track"].notna()
    assert table.loc[faces, list(AXES)].notna().all(axis=None) and faces.any()
    assert faces.all() == (name == "single_face.mp4")  # In the other clip, nobody is shown for a while.
