"""A person at the page: starts fsl_mtclar.py --annotate, and labels in a real browser. For tests, benchmark, README."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
SIZE = {"width": 1280, "height": 720}
PATIENCE = 120  # seconds to prepare a video
WAIT = 60_000  # milliseconds for what the page should do at once, on a machine that is busy


class Server:
    """fsl_mtclar.py --annotate in a process of its own."""

    def __init__(self, video: Path, checkpoint: Path, *argv):
        command = [sys.executable, "fsl_mtclar.py", "--annotate", video, "--checkpoint", checkpoint, *argv]
        quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NICEGUI"))}
        self.process = subprocess.Popen(
            [str(part) for part in command], cwd=ROOT, env=quiet, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.printed, self.url = "", None
        for line in self.process.stdout:
            self.printed += line
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                break

    def wait(self) -> int:
        self.printed += self.process.stdout.read()
        return self.process.wait(PATIENCE)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process.stdout.close()


@contextmanager
def serving(video: Path, checkpoint: Path, *argv):
    server = Server(video, checkpoint, *argv)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def browsing(**options):
    """A context of headless Chromium at 1280 x 720."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser.new_context(viewport=SIZE, **options)
        browser.close()


class Tab:
    """A tab with the page, and what a person does there."""

    def __init__(self, context, url: str):
        self.page, self.requests, self.errors = context.new_page(), [], []
        self.page.set_default_timeout(WAIT)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.open(url)

    def open(self, url: str) -> None:
        assert url, "the server has not started"
        assert wait_for(lambda: listens(url)), "the server does not listen"
        self.page.goto(url)
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_selector(".traces-line")
        self.until("annotate.shown !== null && annotate.shown === annotate.asked")

    def until(self, condition: str) -> None:
        self.page.wait_for_function(condition, timeout=WAIT)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def saves(self, act) -> None:
        """Does `act`, and waits until the page says that it is on disk."""
        before = self.page.evaluate("annotate.answered ?? 0")
        act()
        self.until(f"(annotate.answered ?? 0) > {before} && annotate.pending.size === 0")

    def click_plane(self, valence: float, arousal: float) -> None:
        box = self.page.locator(".plane-field").bounding_box()
        self.page.mouse.click(box["x"] + box["width"] * (1 + valence) / 2, box["y"] + box["height"] * (1 - arousal) / 2)

    def label(self, valence: float, arousal: float) -> None:
        self.saves(lambda: self.click_plane(valence, arousal))

    def next(self) -> int:
        """Goes to the suggested frame, and returns it."""
        wanted = int(re.search(r"frame (\d+)", self.text(".next"))[1])
        self.press("n")
        self.at(wanted)
        return wanted

    def at(self, frame: int) -> None:
        self.until(f"annotate.shown === {frame}")

    def frame(self) -> int:
        return self.page.evaluate("annotate.shown")

    def text(self, where: str) -> str:
        return self.page.inner_text(where)

    def marks(self) -> list[int]:
        """Frames with a label on the traces."""
        marks = self.page.locator(".traces-mark.axis-0")
        return [int(mark.get_attribute("data-frame")) for mark in marks.all()]

    def drag_mark(self, frame: int, axis: int, pixels: int) -> None:
        box = self.page.locator(f".traces-mark.axis-{axis}[data-frame='{frame}']").bounding_box()
        across, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(across, down)
        self.page.mouse.down()
        self.page.mouse.move(across, down + pixels / 2)
        self.page.mouse.move(across, down + pixels)
        self.page.mouse.up()


def listens(url: str) -> bool:
    """Whether somebody answers at the address: it is printed a moment before."""
    place = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((place.hostname, place.port), 1):
        return True
    return False


def wait_for(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
