"""Serves the annotation page's table of videos alone, with simulated rows.

PYTHONPATH=. python tests/video_table_page.py ROWS PORT
"""

import os
import socket
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
from nicegui import ui
from page_driver import ROOT, listens, wait_for

from utils.annotate.elements import STYLE
from utils.annotate.video_table import build_table


def simulated_rows(count: int) -> list[dict]:
    """Rows as `video_row` returns them."""
    rng = np.random.default_rng(0)
    errors, seconds, done = rng.uniform(0.03, 0.3, count), rng.uniform(20, 7200, count), rng.uniform(0, 1, count)
    labels = rng.integers(0, 40, count)
    return [
        {
            "index": index,
            "name": f"interview_{index:04d}.mp4",
            "problem": "",
            "seconds": round(float(seconds[index]), 1),
            "labels": int(labels[index]),
            "error": float(errors[index]),
            "done": float(done[index]),
        }
        for index in range(count)
    ]


@contextmanager
def serving_table(rows: int):
    """Run this script; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NICEGUI"))}
    environment["PYTHONPATH"] = str(ROOT)
    process = subprocess.Popen([sys.executable, __file__, str(rows), str(port)], env=environment)
    address = f"http://127.0.0.1:{port}/"
    try:
        assert wait_for(lambda: listens(address), 60)
        yield address
    finally:
        process.kill()
        process.wait()


def main() -> None:
    rows = simulated_rows(int(sys.argv[1]))

    @ui.page("/")
    def page() -> None:
        ui.add_css(STYLE.read_text(encoding="utf-8"))
        chosen = ui.label().classes("chosen")

        def open_table() -> None:
            with ui.dialog() as dialog, ui.card().classes("list"):
                build_table(rows, lambda event: chosen.set_text(str(event.args)))
            dialog.open()

        ui.button("open", on_click=open_table).classes("open")

    ui.run(host="127.0.0.1", port=int(sys.argv[2]), reload=False, show=False, show_welcome_message=False)


if __name__ == "__main__":
    main()
