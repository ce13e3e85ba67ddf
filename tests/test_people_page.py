"""The view of people on the annotation page: joining tracks, what is on disk, and labels that inform all tracks."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("nicegui")
pytest.importorskip("playwright")

from clips import render_clip
from page_driver import BROWSER, Tab, serving
from test_page_access import needs_axe, violations

from datasets.demo.people import random_person
from datasets.demo.traces import label_trace

pytestmark = pytest.mark.skipif(not BROWSER.exists(), reason=f"no {BROWSER}")

NAMES = ("ada_1", "ada_2", "ben_1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two videos of one rendered person, and one of another."""
    path, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(4)
    drawn = [random_person(rng) for _ in range(3)]
    people = {"ada": drawn[1], "ben": drawn[2]}
    for seed, name in enumerate(NAMES):
        render_clip(path / f"{name}.mp4", label_trace(np.random.default_rng(seed), 30), people[name[:3]])
    return path


@pytest.fixture(scope="module")
def server(folder, demo_run, tmp_path_factory):
    network = shutil.copy(demo_run[0] / "best.pt", tmp_path_factory.mktemp("network"))
    runs = tmp_path_factory.mktemp("runs")
    with serving(folder, network, "--runs", runs, "--runtime.device", "cpu") as process:
        assert process.url, process.printed
        yield process


@pytest.fixture
def tab(browser_context, server):
    opened = Tab(browser_context, server.url)
    yield opened
    assert not opened.errors
    opened.page.close()


def persons(folder: Path) -> list[str]:
    return pd.read_csv(folder / "people.csv").sort_values("video")["person"].tolist()


def error(tab: Tab) -> float:
    return float(tab.text(".error").split()[2])


def undo(tab: Tab) -> None:
    tab.change_people(lambda: tab.press("Control+z"))


def rename(tab: Tab, name: str) -> None:
    tab.press("r")
    tab.page.keyboard.type(name)
    tab.change_people(lambda: tab.press("Enter"))


def test_tracks_are_joined_and_parted_by_a_key(tab, folder):
    tab.open_people()
    tab.go_to_track("ada_2")
    assert tab.page.evaluate("people.candidates.map((candidate) => candidate.person)") == ["ada_1 0", "ben_1 0"]
    assert "proves nothing" in tab.text(".people")
    for image in tab.page.locator(".people img").all():
        assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    tab.change_people(lambda: tab.press("1"))
    assert "Saved to people.csv" in tab.text(".people-status") and persons(folder) == ["ada_1 0", "ada_1 0", "ben_1 0"]
    assert tab.page.evaluate("people.current.label").startswith("ben_1")  # the next track
    undo(tab)
    assert persons(folder) == ["ada_1 0", "ada_2 0", "ben_1 0"]
    tab.change_people(lambda: tab.press("Control+y"))
    assert persons(folder) == ["ada_1 0", "ada_1 0", "ben_1 0"]
    tab.change_people(lambda: tab.press("Meta+z"))
    assert persons(folder) == ["ada_1 0", "ada_2 0", "ben_1 0"]
    tab.change_people(lambda: tab.press("Meta+Shift+z"))
    assert persons(folder) == ["ada_1 0", "ada_1 0", "ben_1 0"]
    rename(tab, "Ada, Ben")
    assert "several people" in tab.text(".people-status") and persons(folder)[0] == "ada_1 0"
    tab.go_to_track("ada_2")
    rename(tab, "Ada")
    assert persons(folder) == ["Ada", "Ada", "ben_1 0"]
    tab.go_to_track("ada_1")
    tab.change_people(lambda: tab.press("n"))
    assert persons(folder) == ["ada_1 0", "Ada", "ben_1 0"]
    for _ in range(3):
        undo(tab)
    assert persons(folder) == ["ada_1 0", "ada_2 0", "ben_1 0"]
    tab.close_people()


def test_a_label_informs_all_tracks_of_its_person_in_all_tabs(tab):
    tab.open_people()
    tab.go_to_track("ada_2")
    tab.change_people(lambda: tab.press("1"))
    tab.close_people()
    tab.choose("ada_1.mp4")
    unlabelled = error(tab)
    other = Tab(tab.page.context, tab.page.url)
    other.choose("ada_2.mp4")
    tab.next()
    tab.label(0.5, 0.5)
    other.until(f"parseFloat(document.querySelector('.error').innerText.split(' ')[2]) < {unlabelled}")
    assert other.text(".error").endswith("0 labels")  # of its own
    other.page.close()
    index = pd.read_csv(tab.finish() / "index.csv").set_index("video")
    assert index["support"].to_dict() == {"ada_1": 1, "ada_2": 0}
    tab.wait_for_answer(lambda: tab.press("Control+z"))
    tab.open_people()
    undo(tab)
    tab.close_people()


def test_a_change_that_cannot_be_saved_is_reverted(tab, folder):
    path = folder / "people.csv"
    text = path.read_text() if path.exists() else None
    tab.open_people()
    path.write_text("video,track,person\nada_1,0,Ada\n")  # as if another program had written it
    tab.change_people(lambda: tab.page.locator(".people-candidate").first.click())
    assert "Not saved" in tab.text(".people-status") and "another program" in tab.text(".people-status")
    assert persons(folder) == ["Ada"] and tab.page.locator(".people-person").count() == 3
    tab.close_people()
    path.unlink()
    if text is not None:
        path.write_text(text)


@needs_axe
def test_axe_finds_no_violation(tab):
    tab.open_people()
    for shade in ("light", "dark"):
        tab.page.emulate_media(color_scheme=shade)
        tab.page.wait_for_timeout(400)
        assert violations(tab.page) == []
    tab.close_people()


def test_every_control_is_reached_by_tab_and_has_a_name(tab):
    tab.open_people()
    names = []
    for _ in range(20):
        tab.press("Tab")
        names.append(tab.page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText"))
    for wanted in ("ada_1.mp4, track 0", "Name of the person", "image similarity 0.", "new person", "Close"):
        assert any(wanted in name for name in names), (wanted, names)
    tab.close_people()
