"""The view of people on the annotation page: joining tracks, what is on disk, and labels that inform all tracks."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("nicegui")
pytest.importorskip("playwright")

from clips import render_clip
from page_driver import CHROMIUM, Tab, serving
from test_page_access import needs_axe, violations

from datasets.demo.people import random_person
from datasets.demo.traces import label_trace

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no system Chromium")

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
def tab(browser_context, server, folder):
    opened = Tab(browser_context, server.url)
    yield opened
    assert not opened.errors
    opened.page.close()
    (folder / "people.csv").unlink(missing_ok=True)


def open_people(tab: Tab) -> None:
    tab.press("p")
    tab.until("window.people?.current")


def act(tab: Tab, change) -> None:
    """Performs an action of the view, and waits for the answer."""
    before = tab.page.evaluate("people.answers")
    change()
    tab.until(f"people.answers > {before}")


def go_to(tab: Tab, name: str) -> None:
    act(tab, lambda: tab.page.locator(f".people-face[aria-label^='{name}']").click())
    tab.until(f"people.current.label.startsWith('{name}')")


def persons(folder: Path) -> list[str]:
    return pd.read_csv(folder / "people.csv").sort_values("video")["person"].tolist()


def close(tab: Tab) -> None:
    tab.press("Escape")
    tab.page.wait_for_selector(".people", state="detached")
    tab.page.wait_for_selector(".q-notification", state="detached")


def error(tab: Tab) -> float:
    return float(tab.text(".error").split()[2])


def test_tracks_are_joined_by_a_key_and_labels_inform_all_of_them(tab, folder):
    open_people(tab)
    assert not (folder / "people.csv").exists()
    go_to(tab, "ada_2")
    assert tab.page.evaluate("people.candidates.map((candidate) => candidate.person)") == ["ada_1 0", "ben_1 0"]
    assert "proves nothing" in tab.text(".people")
    for image in tab.page.locator(".people img").all():
        assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    act(tab, lambda: tab.press("1"))
    assert "Saved to people.csv" in tab.text(".people-status") and persons(folder) == ["ada_1 0", "ada_1 0", "ben_1 0"]
    assert tab.page.evaluate("people.current.label").startswith("ben_1")  # the next track
    act(tab, lambda: tab.press("Control+z"))
    assert persons(folder) == ["ada_1 0", "ada_2 0", "ben_1 0"]
    act(tab, lambda: tab.press("Control+y"))
    assert persons(folder) == ["ada_1 0", "ada_1 0", "ben_1 0"]
    tab.press("r")
    tab.page.keyboard.type("Ada, Ben")
    act(tab, lambda: tab.press("Enter"))
    assert "several people" in tab.text(".people-status") and persons(folder)[0] == "ada_1 0"
    tab.press("r")
    tab.page.keyboard.type("Ada")
    act(tab, lambda: tab.press("Enter"))
    assert persons(folder) == ["Ada", "Ada", "ben_1 0"]
    close(tab)

    tab.page.get_by_label("Choose a video").click()
    tab.page.get_by_role("button", name="ada_1.mp4").click()
    tab.page.wait_for_selector(".q-dialog", state="detached")
    tab.ready()
    unlabelled = error(tab)
    other = Tab(tab.page.context, tab.page.url)
    other.page.get_by_label("Choose a video").click()
    other.page.get_by_role("button", name="ada_2.mp4").click()
    other.page.wait_for_selector(".q-dialog", state="detached")
    other.ready()
    tab.next()
    tab.label(0.5, 0.5)
    other.until(f"parseFloat(document.querySelector('.error').innerText.split(' ')[2]) < {unlabelled}")
    assert other.text(".error").endswith("0 labels")  # of its own
    tab.page.get_by_role("button", name="Finish").click()
    run = Path(tab.text(".finished").removeprefix("All outputs are in "))
    index = pd.read_csv(run / "index.csv").set_index("video")
    assert index["support"].to_dict() == {"ada_1": 1, "ada_2": 0}
    tab.press("Escape")
    tab.page.wait_for_selector(".q-dialog", state="detached")
    tab.wait_for_answer(lambda: tab.press("Control+z"))
    other.page.close()

    open_people(tab)
    go_to(tab, "ada_1")
    act(tab, lambda: tab.press("n"))
    assert persons(folder) == ["ada_1 0", "Ada", "ben_1 0"]
    for _ in range(3):
        act(tab, lambda: tab.press("Control+z"))
    assert persons(folder) == ["ada_1 0", "ada_2 0", "ben_1 0"]
    close(tab)


def test_a_change_that_cannot_be_saved_is_reverted(tab, folder):
    open_people(tab)
    (folder / "people.csv").write_text("video,track,person\nada_1,0,Ada\n")  # as if another program had written it
    act(tab, lambda: tab.page.locator(".people-candidate").first.click())
    assert "Not saved" in tab.text(".people-status") and "another program" in tab.text(".people-status")
    assert persons(folder) == ["Ada"] and tab.page.locator(".people-person").count() == 3
    (folder / "people.csv").unlink()
    close(tab)


@needs_axe
def test_axe_finds_no_violation(tab):
    open_people(tab)
    for shade in ("light", "dark"):
        tab.page.emulate_media(color_scheme=shade)
        tab.page.wait_for_timeout(400)
        assert violations(tab.page) == []
    close(tab)


def test_every_control_is_reached_by_tab_and_has_a_name(tab):
    open_people(tab)
    names = []
    for _ in range(20):
        tab.press("Tab")
        names.append(tab.page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText"))
    for wanted in ("ada_1.mp4, track 0", "Name of the person", "image similarity 0.", "new person", "Close"):
        assert any(wanted in name for name in names), (wanted, names)
    close(tab)
