"""The check and Finish of the page, without a browser: all annotators, joined tracks, and disks that are full."""

from types import SimpleNamespace

import pytest

pytest.importorskip("nicegui")

from utils.annotate.check import Check
from utils.annotate.check_page import CheckPage
from utils.base.errors import StorageError
from utils.runs.run_folder import RunFolder
from utils.videos.check_files import FORMAT, CheckDraw, CheckedFrame


@pytest.fixture
def check(tmp_path) -> Check:
    """A check of two frames, both of them labelled."""
    position = {"video": "a", "track": 0, "time": 0.0, "estimate": (0.1, 0.2), "draws": 1, "weight": 1.0}
    frames = [CheckedFrame(frame=frame, **position) for frame in (3, 4)]
    draw = CheckDraw(format=FORMAT, inputs=[], population=9, expected=(0.1, 0.1), frames=frames)
    draw.template().to_csv(tmp_path / "check_to_label.csv", index=False)
    check = Check(tmp_path / "check_to_label.csv", draw, [None, None])
    for index in (0, 1):
        check.label(index, 0.5, 0.5)
    return check


def test_a_bound_that_cannot_be_written_is_reported(check, monkeypatch):
    def fail(folder, name, table):
        raise StorageError("the disk is full")

    told = []
    tab = SimpleNamespace(index=1, refresh=lambda check: None, _answer=lambda action, *answer: told.append(answer))
    tab._move = lambda *arguments: CheckPage._move(tab, *arguments)
    monkeypatch.setattr(RunFolder, "save_table", fail)
    monkeypatch.setattr(CheckPage, "check", check)
    CheckPage._receive(tab, SimpleNamespace(args={"name": "next_unlabelled"}))
    assert told == [(False, "Not saved: the disk is full")]
