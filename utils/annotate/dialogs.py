"""The page's dialogs: the videos, keys and meaning, what Finish has written."""

from collections.abc import Callable
from pathlib import Path

from nicegui import ui

from utils.annotate.elements import counted
from utils.annotate.help import KEYS, MEANING
from utils.annotate.project import Project


def help_dialog() -> ui.dialog:
    """Keys and meaning; opened by its `open`."""
    with ui.dialog() as dialog, ui.card().classes("help"):
        ui.label("Keys").classes("heading")
        with ui.element("div").classes("keys"):
            for keys, meaning in KEYS:
                ui.label(keys).classes("key")
                ui.label(meaning)
        for text in MEANING:
            ui.label(text).classes("quiet")
        _close_button(dialog)
    return dialog


def open_list(project: Project, choose: Callable[[int], None]) -> None:
    """The videos, worst first; `choose` is called with the number of one."""
    with ui.dialog() as dialog, ui.card().classes("list"):
        ui.label("Videos, the least certain first").classes("heading")
        for number in project.worst_first():
            with ui.element("div").classes("list-row"):
                _list_row(project, number, lambda number=number: (dialog.close(), choose(number)))
        _close_button(dialog)
    dialog.open()


def _list_row(project: Project, number: int, chosen: Callable[[], object]) -> None:
    item = project.items[number]
    if item.session is None:
        ui.label(item.path.name)
        ui.label(item.problem).classes("list-problem")
        return
    ui.button(item.path.name, on_click=chosen, color=None).props("flat no-caps dense align=left")
    ui.label(counted(len(item.session.marks), "label"))
    ui.label(f"expected error {item.session.error:.3f}").classes("quiet")


def open_finished(folder: Path | None, problem: str) -> None:
    """Where the outputs are, and what went wrong with some of the videos."""
    with ui.dialog() as dialog, ui.card():
        ui.label("Finished" if folder else "Nothing was written").classes("heading")
        if folder:
            ui.label(f"All outputs are in {folder.absolute()}").classes("finished")
        if problem:
            ui.label(problem).classes("list-problem")
        ui.label("You can go on labelling, and finish again.").classes("quiet")
        _close_button(dialog)
    dialog.open()


def _close_button(dialog: ui.dialog) -> None:
    ui.button("Close", on_click=dialog.close, color=None).props("flat no-caps")
