"""The annotation page for everyone: axe-core, keyboard, zoom, reduced motion, and the first visit."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("nicegui")
pytest.importorskip("playwright")

from clips import render_clip
from page_driver import BROWSER, ROOT, SIZE, Tab, serving

from datasets.demo.traces import label_trace

pytestmark = pytest.mark.skipif(not BROWSER.exists(), reason=f"no {BROWSER}")

AXE = Path(os.environ.get("AXE_CORE", ROOT / "node_modules/axe-core/axe.min.js"))
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: npm install --no-save axe-core")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "videos"
    folder.mkdir()
    for seed, name in ((1, "one"), (2, "two")):
        render_clip(folder / f"{name}.mp4", label_trace(np.random.default_rng(seed), 40))
    return folder


@pytest.fixture(scope="module")
def server(videos, demo_run, tmp_path_factory):
    network = shutil.copy(demo_run[0] / "best.pt", tmp_path_factory.mktemp("network"))
    runs = videos.parent / "runs"
    with serving(videos, network, "--annotator", "Ada", "--runs", runs, "--runtime.device", "cpu") as process:
        assert process.url, process.printed
        yield process


def violations(page) -> list[str]:
    """What axe-core finds in the view: rule and element."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]


@contextmanager
def new_context(browser_context):
    """A context of a browser that has never visited the page."""
    context = browser_context.browser.new_context(viewport=SIZE)
    yield context
    context.close()


@needs_axe
def test_axe_finds_no_violation_in_any_view(server, browser_context):
    tab = Tab(browser_context, server.url)
    tab.until("annotate.player.ready")
    found = {}
    for shade in ("light", "dark"):
        tab.page.emulate_media(color_scheme=shade)
        tab.page.wait_for_timeout(300)
        found[shade, "start"] = violations(tab.page)
        tab.next()
        tab.label(0.5, 0.25)
        found[shade, "labelled"] = violations(tab.page)
        tab.press("r")
        tab.until("annotate.rating.waiting")
        found[shade, "waiting to rate"] = violations(tab.page)
        tab.move_in_plane(0.2, 0.2)
        tab.until("annotate.rating.recording")
        found[shade, "rating"] = violations(tab.page)
        tab.until("!annotate.rating.recording && annotate.pending.size === 0")
        found[shade, "rated"] = violations(tab.page)
        assert tab.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for name, opened in (("help", lambda: tab.press("?")), ("list", tab.page.get_by_label("Choose a video").click)):
            opened()
            tab.page.wait_for_selector(".q-dialog .heading")
            tab.page.wait_for_timeout(400)  # axe-core measures the contrast of what fades in
            found[shade, name] = violations(tab.page)
            tab.close_dialog()
    problems = [f"{view}: {rule}" for view, rules in found.items() for rule in rules]
    assert not problems, "\n".join(problems)
    tab.page.close()


@needs_axe
def test_axe_finds_no_violation_in_the_views_of_a_check(server, videos, browser_context):
    (videos / "one_labels_Ada.csv").write_text("frame,valence,arousal,annotator\n3,0.5,0.5,Ada\n")
    page = Tab(browser_context, server.url).page
    page.keyboard.press("k")
    found = {}

    def inspect(view: str) -> None:
        for shade in ("light", "dark"):
            page.emulate_media(color_scheme=shade)
            page.wait_for_timeout(400)
            found[view, shade] = violations(page)

    page.wait_for_selector(".check-text")
    inspect("drawing")
    page.get_by_label("Number of frames").fill("20")
    page.get_by_role("button", name="Draw").click()
    page.wait_for_function("window.annotate.shownFrame !== null")
    inspect("frame")
    page.keyboard.press("?")
    page.wait_for_selector(".q-dialog .heading")
    inspect("help")
    page.keyboard.press("Escape")
    page.wait_for_selector(".q-dialog", state="detached")
    path = next(videos.parent.rglob("check_to_label.csv"))
    drawn = pd.read_csv(path)
    for number in range(len(drawn)):
        page.wait_for_function(f"annotate.shownFrame === {number + 1}")
        page.keyboard.press("d")
        page.wait_for_function(f"annotate.answerCount === {number + 1}")
        page.keyboard.press("n")
    page.wait_for_selector(".bounds")
    inspect("bound")
    problems = [f"{view}: {rule}" for view, rules in found.items() for rule in rules]
    assert not problems, "\n".join(problems)
    page.close()


def test_the_first_visit_shows_three_steps_once(server, browser_context):
    with new_context(browser_context) as context:
        tab = Tab(context, server.url)
        assert tab.page.locator(".steps li").count() == 3
        if AXE.is_file():
            tab.page.wait_for_timeout(400)
            assert violations(tab.page) == []
        tab.close_dialog()
        tab.page.reload()
        tab.ready()
        tab.page.wait_for_timeout(300)
        assert tab.page.locator(".steps").count() == 0


def test_every_control_is_reached_by_tab_and_has_a_name(server, browser_context):
    tab = Tab(browser_context, server.url)
    tab.until("annotate.player.ready")
    names = []
    for _ in range(60):
        tab.press("Tab")
        name = tab.page.evaluate(
            "(() => { const e = document.activeElement; return e === document.body ? null :"
            " (e.getAttribute('aria-label') || e.innerText || e.closest('[aria-label]')?.ariaLabel || '') })()"
        )
        if name is None or (names and name == names[0]):
            break
        names.append(name)
    assert all(names), names
    wanted = ("choose a video", "Help (?)", "Play", "Speed", "Rate", "Moment in the video", "Plane of valence")
    for part in wanted:
        assert any(name.strip().startswith(part) or part in name for name in names), (part, names)
    tab.page.close()


@pytest.mark.parametrize("width, height", [(640, 360), (1280, 720), (2560, 1440)])
def test_everything_can_be_reached_at_every_size(server, browser_context, width, height):
    """640 x 360 CSS pixels are 1280 x 720 at a zoom of 200 %."""
    tab = Tab(browser_context, server.url)
    tab.page.set_viewport_size({"width": width, "height": height})
    for selector in (".plane", ".next", ".finish", ".rating button", ".picture img", ".traces-scrubber"):
        element = tab.page.locator(selector).first
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1, (selector, box)
        assert box["y"] >= -1 and box["y"] + min(box["height"], 30) <= height + 1, (selector, box)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.page.close()


def test_nothing_moves_for_those_who_prefer_less_motion(server, browser_context):
    tab = Tab(browser_context, server.url)
    tab.page.emulate_media(reduced_motion="reduce")
    moving = "[...document.querySelectorAll('*')].some((e) => parseFloat(getComputedStyle(e).transitionDuration) > 0)"
    assert not tab.page.evaluate(moving)
    tab.page.wait_for_function("document.getAnimations().length === 0")
    tab.page.close()
