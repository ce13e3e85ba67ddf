"""The dialogs of the page: help, the first visit, and the result of Finish."""

from pathlib import Path

from nicegui import ui

from utils.annotate.actions import SHORTCUTS, Shortcut
from utils.annotate.elements import close_button

EXPLANATIONS = (
    "The band and the ellipse contain the true label nine times out of ten, as measured on the network's validation "
    "clips.",
    "The expected error is the expected root mean square error of the estimates over all frames. Next shows what it "
    "would be with one more label, at the most useful frame.",
    "Misread: the labels show that the network does not recognise this axis in this face. Between labels, the estimate "
    "then depends on time rather than on the face, so more labels are needed.",
    "A label that the other labels contradict is not necessarily wrong: look at the frame again.",
)


def help_dialog(shortcuts: tuple[Shortcut, ...] = SHORTCUTS, explanations: tuple[str, ...] = EXPLANATIONS) -> ui.dialog:
    """A dialog with the keys and explanations of what the page shows."""
    with ui.dialog().props('aria-label="Help"') as dialog, ui.card().classes("help"):
        ui.label("Keys").classes("heading")
        with ui.element("div").classes("keys"):
            for shortcut in shortcuts:
                ui.label(shortcut.shown).classes("key")
                ui.label(shortcut.meaning)
        for text in explanations:
            ui.label(text).classes("secondary")
        close_button(dialog)
    return dialog


STEPS = (
    ("Label", "Click in the plane where the face in the picture belongs: negative or positive, calm or excited."),
    ("Next", "Press N: the page shows the frame whose label is expected to help most. Click again."),
    ("Stop", "Stop when the expected error is small enough for you. Finish writes the labels of all frames."),
)


def welcome_dialog() -> ui.dialog:
    """What to do on the page, in three steps."""
    with ui.dialog().props('aria-label="Three steps"') as dialog, ui.card().classes("help"):
        ui.label("Label a video in three steps").classes("heading")
        with ui.element("ol").classes("steps"):
            for name, text in STEPS:
                with ui.element("li"):
                    ui.label(name).classes("key")
                    ui.label(text)
        ui.label("You can also rate while the video plays (R). ? lists all keys.").classes("secondary")
        close_button(dialog, "Start")
    return dialog


def open_result(folder: Path | None, problem: str) -> None:
    """Open a dialog that names the run folder and what went wrong.

    Args:
        folder: the run folder; None: nothing was written.
        problem: what went wrong, if anything.
    """
    with ui.dialog().props('aria-label="Result"') as dialog, ui.card():
        ui.label("Finished" if folder else "Nothing was written").classes("heading")
        if folder:
            ui.label(f"All outputs are in {folder.absolute()}").classes("finished")
        if problem:
            ui.label(problem).classes("list-problem")
        ui.label("You can continue labelling and finish again.").classes("secondary")
        close_button(dialog)
    dialog.open()
