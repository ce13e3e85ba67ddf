"""The annotation page in a browser: what a person does, and what is then on disk."""

import http.client
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("nicegui")
pytest.importorskip("playwright")

from clips import render_clip
from page_driver import BROWSER, Tab, serving, wait_for

from datasets.demo.traces import label_trace

pytestmark = pytest.mark.skipif(not BROWSER.exists(), reason=f"no {BROWSER}")

FRAMES, GAP = 50, range(40, 50)
ON_CPU = ("--runtime.precision", "float32", "--runtime.device", "cpu")


@pytest.fixture(scope="module")
def checkpoint(demo_run, tmp_path_factory) -> Path:
    return Path(shutil.copy(demo_run[0] / "best.pt", tmp_path_factory.mktemp("network")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    trace = label_trace(np.random.default_rng(1), FRAMES)
    return render_clip(tmp_path_factory.mktemp("video") / "clip.mp4", trace, gap=GAP)


@pytest.fixture(scope="module")
def server(clip, checkpoint, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    with serving(clip, checkpoint, "--annotator", "Ada L.", "--runs", runs, *ON_CPU) as process:
        assert process.url, process.printed
        yield process


@pytest.fixture
def tab(browser_context, server):
    opened = Tab(browser_context, server.url)
    yield opened
    assert not opened.errors
    opened.page.close()


@pytest.fixture(scope="module")
def file(clip) -> Path:
    return clip.with_name("clip_labels_Ada_L.csv")


def labels(file: Path) -> pd.DataFrame:
    return pd.read_csv(file).set_index("frame") if file.exists() else pd.DataFrame()


def delete_labels(tab: Tab, frames: list[int]) -> None:
    """Delete all labels, the last one first, in a tab that shows the first one."""
    for frame in sorted(frames, reverse=True):
        tab.press("[")
        tab.wait_for_frame(frame)
        tab.wait_for_answer(lambda: tab.press("Delete"))


def test_from_the_first_click_to_the_outputs(tab, file, server):
    first = tab.next()
    assert tab.text(".error").endswith("0 labels")
    tab.label(0.5, -0.25)
    on_disk = labels(file)
    assert on_disk.index.tolist() == [first] and on_disk.loc[first, "annotator"] == "Ada L."
    assert on_disk.loc[first, ["valence", "arousal"]].tolist() == pytest.approx([0.5, -0.25], abs=0.02)
    assert "Saved to clip_labels_Ada_L.csv" in tab.text(".status") and tab.labelled_frames() == [first]

    second = tab.next()
    tab.wait_for_answer(lambda: tab.press("Enter"))  # accepts the estimate as the label
    before = labels(file).loc[second, "valence"]
    tab.wait_for_answer(lambda: tab.press("d"))
    assert labels(file).loc[second, "valence"] == pytest.approx(min(before + 0.05, 1), abs=1e-3)
    tab.wait_for_answer(lambda: tab.press("Shift+S"))

    tab.wait_for_answer(lambda: tab.drag_label(first, 1, 20))
    assert labels(file).loc[first, "arousal"] < -0.35
    assert labels(file).loc[first, "valence"] == on_disk.loc[first, "valence"]
    tab.wait_for_answer(lambda: tab.press("Control+z"))
    assert labels(file).loc[first, "arousal"] == on_disk.loc[first, "arousal"]
    tab.wait_for_answer(lambda: tab.press("Control+y"))
    assert labels(file).loc[first, "arousal"] < -0.35

    tab.wait_for_frame(first)
    tab.press("t")
    tab.page.keyboard.type("=looks <b>away</b>")
    tab.wait_for_answer(lambda: tab.press("Enter"))
    assert labels(file).loc[first, "note"] == "'=looks <b>away</b>"

    tab.page.reload()
    tab.ready()
    assert tab.labelled_frames() == sorted([first, second])
    tab.press("]")
    tab.wait_for_frame(min(first, second))

    folder = tab.finish()
    table = pd.read_csv(folder / "labels.csv")
    assert {"labels.csv", "clip.eaf", "clip_plane.png"} <= {path.name for path in folder.iterdir()}
    assert table.loc[table["support"], "frame"].tolist() == sorted([first, second])
    delete_labels(tab, [first, second])
    assert not file.exists()
    assert all(url.startswith((server.url, server.url.replace("http", "ws"), "data:")) for url in tab.requests)


def test_keys_and_clicks_show_other_frames_and_a_frame_without_a_face_takes_no_label(tab, file):
    tab.press("Home")
    tab.wait_for_frame(0)
    tab.press("ArrowRight")
    tab.wait_for_frame(1)
    tab.press("Shift+ArrowRight")
    tab.wait_for_frame(26)
    field = tab.page.locator(".traces-field").first.bounding_box()
    tab.page.mouse.click(field["x"] + field["width"] * 45.2 / (FRAMES - 1), field["y"] + 10)
    tab.wait_for_frame(45)
    assert "No face" in tab.text(".picture-none")
    tab.label(0.1, 0.1)
    assert "Not saved" in tab.text(".status") and not file.exists()
    tab.press("?")
    tab.page.wait_for_selector(".help")
    tab.press("Escape")


def test_sound_and_motion_play_and_look_returns_to_the_frame(tab):
    tab.until("annotate.player.ready")
    assert tab.page.evaluate("annotate.player.video().duration") == pytest.approx(FRAMES / 25, abs=0.05)
    tab.press("Home")
    tab.wait_for_frame(0)
    for _ in range(20):
        tab.press("ArrowRight")
    tab.wait_for_frame(20)
    tab.press("<")
    assert tab.page.evaluate("annotate.player.speed") == 0.75
    tab.press(">")
    tab.press("l")
    tab.until("annotate.player.mode === 'look' && annotate.picture.playing && annotate.player.time > 0.3")
    tab.until("annotate.player.mode === null")
    assert tab.frame() == 20
    tab.press(" ")
    tab.until("annotate.player.mode === 'play' && annotate.player.time > 1")
    tab.press(" ")
    tab.until("annotate.player.mode === null && annotate.shownFrame > 24")
    time = tab.page.evaluate("annotate.player.time")  # the frame on screen is the one that was played last
    assert abs(tab.frame() / 25 - time) <= 1 / 25


def rate(tab, start: int, point, until: str) -> None:
    """Rate from a frame on, pointing at (valence, arousal), until a condition in JavaScript is true."""
    tab.until("annotate.player.ready")
    tab.press("Home")
    for _ in range(start):
        tab.press("ArrowRight")
    tab.wait_for_frame(start)
    tab.press("r")
    tab.until("annotate.rating.waiting")
    tab.move_in_plane(*point)
    tab.until(f"annotate.rating.recording && {until}")


def test_rating_while_it_plays(tab, clip, browser_context, server):
    file = clip.with_name("clip_rating_Ada_L.csv")
    rate(tab, 0, (0.5, -0.5), "annotate.player.now() > 0.8")
    tab.move_in_plane(-0.5, 0.25)
    tab.until("!annotate.rating.recording && annotate.pending.size === 0")  # the video has ended
    assert "Saved to clip_rating_Ada_L.csv" in tab.text(".status")
    rating = pd.read_csv(file)
    assert rating["time"].diff().max() < 0.1 and len(rating) / rating["time"].max() > 20
    assert set(rating["annotator"]) == {"Ada L."} and rating["time"].iloc[-1] > 1.8
    assert rating[["valence", "arousal"]].iloc[0].tolist() == pytest.approx([0.5, -0.5], abs=0.02)
    assert rating[["valence", "arousal"]].iloc[-1].tolist() == pytest.approx([-0.5, 0.25], abs=0.02)
    assert tab.text(".rated").startswith("rated 0:00 to 0:0") and tab.page.locator(".traces-rating").count() == 2

    rate(tab, 20, (0.9, 0.9), "annotate.player.now() > 1.2")
    tab.press("Shift+D")  # moves the point, and labels nothing
    tab.press("Escape")
    tab.until("!annotate.rating.recording && annotate.pending.size === 0")
    redone = pd.read_csv(file)
    is_new = redone["valence"] > 0.8
    assert redone.loc[is_new, "time"].min() == pytest.approx(0.8, abs=0.15) and is_new.any()
    assert redone["time"].is_monotonic_increasing and redone["time"].is_unique and redone["time"].iloc[-1] > 1.8
    assert (
        not redone.loc[is_new, "time"].between(0, 0.79).any() and not clip.with_name("clip_labels_Ada_L.csv").exists()
    )
    tab.wait_for_answer(lambda: tab.press("Control+z"))
    pd.testing.assert_frame_equal(pd.read_csv(file), rating)

    assert pd.read_csv(tab.finish() / "labels.csv")["valence"].notna().any()  # labelled from the rating alone
    tab.wait_for_answer(lambda: tab.page.get_by_label("Delete the rating").click())
    assert not file.exists() and tab.page.locator(".rated").count() == 0


def test_a_lost_connection_loses_nothing_of_a_rating(tab, clip):
    file = clip.with_name("clip_rating_Ada_L.csv")
    rate(tab, 0, (0.5, -0.5), "annotate.player.now() > 0.6")
    last = tab.page.evaluate("""() => {
        window.socket.io.engine.close();  // as if the network failed; the browser connects again by itself
        return [...annotate.rating.unsaved.values()].flatMap((part) => part.samples).at(-1)[0];
    }""")
    assert "No connection" in tab.text(".status")
    tab.until("annotate.rating.unsaved.size === 0 && annotate.pending.size === 0")
    assert "Saved to clip_rating_Ada_L.csv" in tab.text(".status") and last > 0.5
    times = pd.read_csv(file)["time"]
    assert times.iloc[-1] == pytest.approx(last, abs=1e-3) and times.iloc[0] < 0.1 and times.diff().max() < 0.2
    tab.wait_for_answer(lambda: tab.page.get_by_label("Delete the rating").click())
    # Undo names the file that it writes.
    tab.wait_for_answer(lambda: tab.press("Control+z"))
    assert "Saved to clip_rating_Ada_L.csv" in tab.text(".status") and file.exists()
    tab.wait_for_answer(lambda: tab.press("Control+y"))
    assert not file.exists()


def test_another_view_ends_a_rating(tab, clip):
    file = clip.with_name("clip_rating_Ada_L.csv")
    for view in ("check", "people"):
        rate(tab, 0, (0.5, -0.5), "annotate.rating.samples.length > 3")
        assert tab.page.evaluate(f"annotate.makeReady('{view}') && !annotate.rating.recording")
        tab.until("annotate.pending.size === 0")
        assert wait_for(file.exists)
        tab.wait_for_answer(lambda: tab.page.get_by_label("Delete the rating").click())


def test_two_tabs_show_the_same_labels(tab, browser_context, server, file):
    other = Tab(browser_context, server.url)
    frame = tab.next()
    tab.label(-0.5, 0.5)
    other.until("document.querySelectorAll('.traces-label.axis-0').length === 1")
    assert other.labelled_frames() == [frame]
    other.wait_for_answer(lambda: other.press("Control+z"))
    tab.until("document.querySelectorAll('.traces-label').length === 0")
    assert not file.exists()
    other.page.close()


def test_a_program_that_slept_saves_the_label_when_it_wakes(tab, file, server):
    tab.next()
    server.freeze()
    tab.click_plane(0.4, 0.4)
    assert tab.text(".status") == "Saving …" and not file.exists()
    time.sleep(1)
    server.resume()
    tab.until("annotate.kind === 'saved'")
    assert len(labels(file)) == 1
    tab.wait_for_answer(lambda: tab.press("Delete"))
    assert not file.exists()


def test_a_label_that_cannot_be_saved_is_reverted(tab, file):
    tab.next()
    tab.label(0.2, 0.2)
    text = file.read_text()
    file.write_text(text + "\n")  # as if another program had written it
    tab.label(0.9, 0.9)
    assert "Not saved" in tab.text(".status") and "another program" in tab.text(".status")
    assert file.read_text() == text + "\n" and "+0.20" in tab.text(".summary").replace("+0.19", "+0.20")
    file.write_text(text)
    tab.wait_for_answer(lambda: tab.press("Delete"))
    assert not file.exists()


def test_only_requests_with_the_token_and_from_the_page_are_answered(server):
    address = urlsplit(server.url)

    def status(url: str, **headers) -> int:
        connection = http.client.HTTPConnection(address.hostname, address.port)
        connection.request("GET", url, headers=headers)
        return connection.getresponse().status

    path = address.path
    socket = f"{path}_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert status(path) == 200 and status(f"{path}frame/0/3") == 200
    for outside in ("/", "/frame/0/3", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"):
        assert status(outside) == 403
    assert status(f"/{'a' * 32}/") == 403
    assert status(path, Host="evil.example") == status(path, Host=f"evil.example:{address.port}") == 403
    assert status(path, Origin="http://evil.example") == status(path, Origin="null") == 403
    assert status(socket, **upgrade, Origin="http://evil.example") == 403
    assert status("/_nicegui_ws/socket.io/?EIO=4&transport=websocket", **upgrade) == 403
    assert status(f"{path}frame/0/..%2f..%2fclip.mp4") == status(f"{path}frame/0/9999") == 404
    assert status(f"{path}frame/7/0") == 404
    digits = "9" * 5000  # more than Python converts to a number
    for route in (f"frame/0/{digits}", f"frame/{digits}/0", f"face/0/{digits}", f"media/{digits}"):
        assert status(f"{path}{route}") == 404
    assert status(f"{path}media/0") in (200, 404)  # 404 until the copy for the browser is made
    assert status("/media/0") == status(f"{path}media/0", Host="evil.example") == 403
    assert status(f"{path}media/0", Origin="http://evil.example") == 403
    for outside in ("7", "-1", "..%2fclip.mp4", "%2e%2e", "0/../../clip.mp4", "clip.mp4"):
        assert status(f"{path}media/{outside}") == 404


def test_a_folder_lists_the_largest_error_first_and_a_killed_server_is_noticed(
    clip, checkpoint, browser_context, tmp_path
):
    shutil.copy(clip, tmp_path / "one <i>.mp4")
    render_clip(tmp_path / "two.mp4", label_trace(np.random.default_rng(2), 20))
    render_clip(tmp_path / "nobody.mp4", np.zeros((12, 2)), gap=range(12))
    with serving(tmp_path, checkpoint, "--runs", tmp_path / "runs", *ON_CPU) as server:
        tab = Tab(browser_context, server.url)
        tab.page.get_by_label("Choose a video").click()
        rows = tab.page.locator(".q-virtual-scroll__content tr")
        rows.nth(2).wait_for()
        cells = [[cell.inner_text() for cell in rows.nth(row).locator("td").all()] for row in range(3)]
        assert rows.count() == 3 and "no face was found" in cells[2][0] and cells[2][1:] == [""] * 4
        assert {row[0] for row in cells[:2]} == {"one <i>.mp4", "two.mp4"} and float(cells[0][3]) > float(cells[1][3])
        assert sorted(row[1] for row in cells[:2]) == ["0:00:00", "0:00:02"] and cells[0][2] == "0"
        assert "3 videos · 3 seconds · 0 labels" in tab.text(".list .heading")
        tab.page.get_by_role("button", name="Hours").press("Enter")
        tab.page.wait_for_selector("th[aria-sort=descending]:has-text('Hours')")
        assert rows.nth(0).inner_text().startswith("one <i>")
        tab.page.get_by_role("button", name="two.mp4").click()
        tab.page.wait_for_selector(".q-dialog", state="detached")
        tab.ready()
        assert tab.text(".title").split("\n")[0] == "two"
        for _ in range(2):
            tab.press("Shift+N")
            tab.page.wait_for_timeout(300)
            tab.ready()
            tab.label(0.2, 0.2)
        assert len([*tmp_path.glob("*_labels.csv")]) == 2  # Both videos get a label before one gets two.
        for _ in range(2):
            tab.wait_for_answer(lambda: tab.press("Delete"))
            tab.choose("two.mp4")
        server.freeze()
        tab.click_plane(0.3, 0.3)
        assert tab.text(".status") == "Saving …"
        server.kill()
        tab.until("annotate.kind === 'failed'")
        assert "may NOT be saved" in tab.text(".status") and not (tmp_path / "two_labels.csv").exists()
        tab.page.close()


def test_the_page_tells_when_no_frame_of_any_video_is_left(checkpoint, browser_context, tmp_path):
    for name in ("one", "two"):
        render_clip(tmp_path / f"{name}.mp4", label_trace(np.random.default_rng(2), 12))
        rows = "".join(f"{frame},{frame / 12:.2f},0.{frame % 5}\n" for frame in range(12))
        (tmp_path / f"{name}_labels.csv").write_text(f"frame,valence,arousal\n{rows}")
    with serving(tmp_path, checkpoint, "--runs", tmp_path / "runs", *ON_CPU) as server:
        tab = Tab(browser_context, server.url)
        tab.press("Shift+N")
        tab.until("annotate.text === 'Every frame of every video has a label.'")
        tab.page.close()


def test_a_video_without_faces_is_refused_before_the_page_is_served(checkpoint, tmp_path):
    video = render_clip(tmp_path / "nobody.mp4", np.zeros((12, 2)), gap=range(12))
    with serving(video, checkpoint, *ON_CPU) as server:
        assert server.wait() == 2
        assert "no face was found" in server.printed and "Traceback" not in server.printed
        assert wait_for(lambda: server.process.poll() is not None)
