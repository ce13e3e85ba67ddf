"""Drives the annotation page like a person: starts fsl_mtclar.py --annotate and labels in a real browser.

Used by the tests, the benchmark and the figure of the README.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
BROWSER = Path(os.environ.get("PAGE_BROWSER", "/usr/bin/chromium"))  # Chromium or Firefox
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZE = {"width": 1280, "height": 720}
EXIT_TIMEOUT = 120  # seconds
PAGE_TIMEOUT = 60_000  # milliseconds; the page reacts at once, unless the computer is busy


class Server:
    """fsl_mtclar.py --annotate in a process of its own.

    Attributes:
        printed: what it has printed.
        url: the address of the page; None: the process ended before it served the page.
    """

    def __init__(self, video: Path, checkpoint: Path, *argv, script: str = "fsl_mtclar.py"):
        command = [sys.executable, script, "--annotate", video, "--checkpoint", checkpoint, *argv]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NICEGUI"))}
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.printed, self.url = "", None
        for line in self.process.stdout:
            self.printed += line
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                break

    def wait(self) -> int:
        """Wait until the process ends; return its exit status."""
        self.printed += self.process.stdout.read()
        return self.process.wait(EXIT_TIMEOUT)

    def freeze(self) -> None:
        """Suspend the process, so that it accepts connections but does not answer."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Wake the process again."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop the process as Ctrl+C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process.stdout.close()


@contextmanager
def serving(video: Path, checkpoint: Path, *argv, script: str = "fsl_mtclar.py"):
    server = Server(video, checkpoint, *argv, script=script)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def browsing(**options):
    """A browser context of the headless BROWSER, 1280 x 720 pixels, that has visited the page before."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        if "firefox" in BROWSER.name:
            browser = play.firefox.launch(executable_path=str(BROWSER), channel="moz-firefox")
        else:
            browser = play.chromium.launch(executable_path=str(BROWSER), args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport=SIZE, **options)
        context.add_init_script("document.cookie = 'annotate_visited=1; path=/; SameSite=Strict'")
        yield context
        browser.close()


class Tab:
    """A browser tab with the page, and what a person does there.

    Attributes:
        requests: addresses of all requests of the page.
        errors: JavaScript errors.
    """

    def __init__(self, context, url: str):
        self.page, self.requests, self.errors = context.new_page(), [], []
        self.page.set_default_timeout(PAGE_TIMEOUT)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda websocket: self.requests.append(websocket.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.open(url)

    def open(self, url: str) -> None:
        assert url, "the server has not started"
        assert wait_for(lambda: listens(url)), "the server does not listen"
        self.page.goto(url)
        self.ready()

    def ready(self) -> None:
        """Wait until the frame that was requested last is on screen."""
        self.page.wait_for_selector(".traces-line", state="attached")  # A level line has no height.
        self.until("annotate.shownFrame !== null && annotate.shownFrame === annotate.requestedFrame")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        self.page.wait_for_function(condition, timeout=PAGE_TIMEOUT)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def wait_for_answer(self, change: Callable[[], object]) -> None:
        """Perform a change of labels and wait until the page shows that it was saved, or was not."""
        before = self.page.evaluate("annotate.answerCount")
        change()
        self.until(f"annotate.answerCount > {before} && annotate.pending.size === 0")

    def click_plane(self, valence: float, arousal: float) -> None:
        self.page.mouse.click(*self.pixel_of(valence, arousal))

    def move_in_plane(self, valence: float, arousal: float) -> None:
        self.page.mouse.move(*self.pixel_of(valence, arousal))

    def pixel_of(self, valence: float, arousal: float) -> tuple[float, float]:
        """Where a pair of valence and arousal is in the window."""
        box = self.page.locator(".plane-field").bounding_box()
        return box["x"] + box["width"] * (1 + valence) / 2, box["y"] + box["height"] * (1 - arousal) / 2

    def label(self, valence: float, arousal: float) -> None:
        self.wait_for_answer(lambda: self.click_plane(valence, arousal))

    def next(self) -> int:
        """Go to the suggested frame and return its number."""
        suggested = int(re.search(r"frame (\d+)", self.text(".next"))[1])
        self.press("n")
        self.wait_for_frame(suggested)
        return suggested

    def wait_for_frame(self, frame: int) -> None:
        self.until(f"annotate.shownFrame === {frame}")

    def frame(self) -> int:
        return self.page.evaluate("annotate.shownFrame")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def choose(self, video: str) -> None:
        """Open a video from the table of videos."""
        self.page.get_by_label("Choose a video").click()
        self.page.get_by_role("button", name=video).click()
        self.page.wait_for_selector(".q-dialog", state="detached")
        self.ready()

    def close_dialog(self) -> None:
        self.press("Escape")
        self.page.wait_for_selector(".q-dialog", state="detached")

    def finish(self) -> Path:
        """Finish, close the dialog that tells so, and return the run folder."""
        self.page.get_by_role("button", name="Finish").click()
        folder = Path(self.text(".finished").removeprefix("All outputs are in "))
        self.close_dialog()
        return folder

    def open_people(self) -> None:
        self.press("p")
        self.until("window.people?.current")

    def change_people(self, change: Callable[[], object]) -> None:
        """Perform an action of the view of people, and wait for the answer."""
        before = self.page.evaluate("people.answers")
        change()
        self.until(f"people.answers > {before}")

    def go_to_track(self, name: str) -> None:
        """Go to a track in the view of people; its name may be shortened at the end."""
        self.change_people(lambda: self.page.locator(f".people-face[aria-label^='{name}']").first.click())
        self.until(f"people.current.label.startsWith('{name}')")

    def close_people(self) -> None:
        """Close the view of people, and wait until the labels are worked out."""
        self.press("Escape")
        self.page.wait_for_selector(".people", state="detached")
        self.page.wait_for_selector(".q-notification", state="detached")

    def labelled_frames(self) -> list[int]:
        """Numbers of the frames with a label on the traces."""
        labels = self.page.locator(".traces-label.axis-0")
        return [int(label.get_attribute("data-frame")) for label in labels.all()]

    def drag_label(self, frame: int, axis: int, pixels: int) -> None:
        """Drag a label on the traces down."""
        box = self.page.locator(f".traces-label.axis-{axis}[data-frame='{frame}']").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x, y + pixels / 2)
        self.page.mouse.move(x, y + pixels)
        self.page.mouse.up()


def listens(url: str) -> bool:
    """Whether the server accepts connections; it prints the address a moment before."""
    address = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((address.hostname, address.port), 1):
        return True
    return False


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether the condition becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
