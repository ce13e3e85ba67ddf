"""The check on the annotation page: blind, by keyboard, never lost, and in the files of fsl_mtclar.py --check."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("nicegui")
pytest.importorskip("playwright")

from clips import render_clip
from conftest import label, labels_file, run_script
from page_driver import BROWSER, PAGE_TIMEOUT, listens, serving, wait_for

from datasets.columns import AXES
from datasets.demo.traces import label_trace

pytestmark = pytest.mark.skipif(not BROWSER.exists(), reason=f"no {BROWSER}")

COUNT = 20
LABELS = "frame,valence,arousal\n3,0.5,-0.2\n20,-0.4,0.1\n"


@pytest.fixture
def archive(tmp_path) -> Path:
    """A folder with two clips of 40 frames and their labels, as the script expects them."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for seed, name in ((1, "a"), (2, "b")):
        render_clip(folder / f"{name}.mp4", label_trace(np.random.default_rng(seed), 40))
        labels_file(folder / f"{name}_labels.csv", LABELS)
    return folder


class CheckTab:
    """A tab with the check; `received` holds what the program has sent to it."""

    def __init__(self, context, url: str):
        self.page, self.received = context.new_page(), []
        self.page.set_default_timeout(PAGE_TIMEOUT)
        self.page.on("websocket", self._listen)
        assert url and wait_for(lambda: listens(url)), "the server does not listen"
        self.page.goto(f"{url}check")
        self.page.wait_for_function("window.annotate !== undefined")

    def _listen(self, socket) -> None:
        socket.on("framereceived", lambda payload: self.received.append(str(payload)))

    def ready(self) -> None:
        self.page.wait_for_selector(".plane")
        self.until("document.querySelector('.controls .error').innerText.startsWith(`frame ${annotate.shownFrame} `)")

    def until(self, condition: str) -> None:
        self.page.wait_for_function(condition)

    def progress(self, text: str) -> None:
        """Wait until the page shows this progress, and the frame."""
        self.until(f"document.querySelector('.controls .error').innerText === '{text}'")
        self.ready()

    def change(self, *keys: str) -> None:
        """Press keys that change labels, and wait until they are saved."""
        for key in keys:
            before = self.page.evaluate("annotate.answerCount")
            self.page.keyboard.press(key)
            self.until(f"annotate.answerCount > {before} && annotate.pending.size === 0")

    def draw(self, count: int) -> None:
        """Type a number of frames, whose field has the focus, and draw them."""
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(str(count))
        self.page.keyboard.press("Tab")
        self.page.keyboard.press("Enter")

    def bounds(self) -> pd.DataFrame:
        self.page.wait_for_selector(".bounds")
        rows = [row.locator("td").all_inner_texts() for row in self.page.locator(".bounds tbody tr").all()]
        return pd.DataFrame(rows, columns=["axis", "expected RMSE", "RMSE", "upper bound at 95%"]).set_index("axis")


def given(path: Path) -> pd.DataFrame:
    """The rows of a check that have a label."""
    return pd.read_csv(path).dropna(subset=list(AXES))


def test_a_check_that_the_script_drew_is_labelled_blind_and_gives_the_same_bound(archive, quick, browser_context):
    drawn, _ = label(*quick, "--video", archive, "--check", COUNT)
    path, content = drawn / "check_to_label.csv", json.loads((drawn / "check.json").read_text())
    frames = len(content["frames"])
    table = pd.read_csv(path)
    table.loc[3:, list(AXES)] = 0.1  # The first three frames are left to the page.
    table.to_csv(path, index=False)
    left = frames - 3
    with serving(archive, quick[1], *quick[2:]) as server:
        tab = CheckTab(browser_context, server.url)
        tab.progress(f"frame 1 of {frames} · {left} labelled")
        tab.change("d", "w", "Shift+W")
        assert given(path).loc[0, list(AXES)].tolist() == [0.05, 0.06]
        tab.change("Control+z", "Control+z")
        assert given(path).loc[0, list(AXES)].tolist() == [0.05, 0.0]
        tab.change("Control+z")
        pd.testing.assert_frame_equal(pd.read_csv(path), table)
        tab.change("Control+y")
        tab.page.reload()  # The check goes on where it was.
        tab.progress(f"frame 2 of {frames} · {left + 1} labelled")

        other = CheckTab(browser_context, server.url)
        other.progress(f"frame 2 of {frames} · {left + 1} labelled")
        tab.change("a")
        tab.page.wait_for_selector("text=valence −0.05, arousal +0.00")  # with a true minus sign
        tab.page.keyboard.press("n")
        tab.progress(f"frame 3 of {frames} · {left + 2} labelled")
        tab.change("s", "Delete", "s")
        other.until("document.querySelector('.controls .next').innerText.startsWith('Show the bound')")
        text = "".join(tab.received)
        assert "frame/" in text and tab.page.locator(".plane-interval, .plane-estimate, .traces").count() == 0
        assert not any(f"{value:.6f}"[:8] in text for one in content["frames"] for value in one["estimate"])

        filled = path.read_bytes()
        tab.page.keyboard.press("n")
        shown = tab.bounds()
        other.page.wait_for_selector(".bounds")
        other.page.close()
        tab.page.close()
    result, _ = label(*quick, "--video", archive, "--check", path)
    by_script = pd.read_csv(result / "check.csv").set_index("axis")
    pd.testing.assert_frame_equal(pd.read_csv(drawn / "check.csv").set_index("axis"), by_script)
    assert shown.astype(float).to_numpy() == pytest.approx(by_script.to_numpy(), abs=5.1e-4)
    assert path.read_bytes() == filled


def test_a_check_that_the_page_drew_outlives_it_and_is_read_by_the_script(archive, quick, browser_context, tmp_path):
    (archive / "a_labels.csv").rename(archive / "a_labels_Ada.csv")  # as the page names it
    for file in archive.glob("*_labels*.csv"):
        table = pd.read_csv(file)
        table.assign(annotator="Ada").to_csv(file, index=False)
    (archive / "b_labels.csv").unlink()  # b is left out, since it has no labels
    arguments = (archive, quick[1], "--annotator", "Ada", "--runs", tmp_path / "runs", *quick[4:])
    with serving(*arguments) as server:
        tab = CheckTab(browser_context, server.url)
        tab.page.wait_for_selector("text=Measure the error")
        tab.draw(39)
        tab.page.wait_for_selector("text=only 38 frames are without a label")
        tab.draw(COUNT)
        tab.ready()
        folder = next((tmp_path / "runs/fsl_mtclar").glob("*/check.json")).parent
        path = folder / "check_to_label.csv"
        assert set(pd.read_csv(path)["video"]) == {"a"}
        tab.change("d", "w")
        server.kill()
    table = pd.read_csv(path)
    assert len(given(path)) == 1
    table[list(AXES)] = table[list(AXES)].fillna(0.1)
    table.iloc[:-1].to_csv(path, index=False)

    with serving(*arguments) as server:
        tab = CheckTab(browser_context, server.url)
        tab.progress(f"frame {len(table)} of {len(table)} · {len(table) - 1} labelled")
        tab.page.locator(".plane-field").click(position={"x": 60, "y": 60})
        tab.until("annotate.answerCount === 1 && annotate.pending.size === 0")
        tab.page.keyboard.press("n")
        shown = tab.bounds()
        tab.page.get_by_role("button", name="Add these labels").press("Enter")
        tab.page.wait_for_selector(f"text={len(table)} labels added")
        assert len(pd.read_csv(archive / "a_labels_Ada.csv")) == 2 + len(table)
        tab.page.get_by_role("button", name="Back to labelling").click()
        tab.page.wait_for_selector(".traces-line")
        tab.page.close()
    video = shutil.copytree(archive, tmp_path / "script", ignore=shutil.ignore_patterns("*_labels*"))
    command = [*quick, "--video", video, "--labels", folder, "--check", path]
    done = run_script("fsl_mtclar.py", *map(str, command))
    assert done.returncode == 0 and "The bound does not cover 'b.mp4'" in done.stderr
    by_script = [line.split() for line in done.stdout.splitlines() if line.strip().startswith(AXES)]
    assert [row[1:] for row in by_script] == shown.to_numpy().tolist()


def test_a_damaged_check_is_reported_and_all_tabs_show_one_that_is_found_later(
    archive, quick, browser_context, tmp_path
):
    drawn, _ = label(*quick[:2], "--runs", tmp_path / "runs", *quick[4:], "--video", archive, "--check", COUNT)
    path = drawn / "check_to_label.csv"
    text = path.read_text()
    path.write_text(text.replace("valence", "joy", 1))
    with serving(archive, quick[1], "--runs", tmp_path / "runs", *quick[4:]) as server:
        tab = CheckTab(browser_context, server.url)
        tab.page.wait_for_selector("text=column 'valence' is missing")
        assert tab.page.get_by_role("button", name="Draw").is_visible()
        path.write_text(text)
        other = CheckTab(browser_context, server.url)
        other.ready()
        other.change("d")
        tab.until("document.querySelector('.controls .error')?.innerText.endsWith('1 labelled')")
        other.page.close()
        tab.page.close()
