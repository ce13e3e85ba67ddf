"""The elements of the page that JavaScript draws, and buttons that send an action through hub.js."""

import json
from pathlib import Path

from nicegui import ui

from utils.annotate.actions import BROWSER_ACTIONS, CHANGES, FRAME_CHANGES, MOVES, SHORTCUTS, VIEWS, Shortcut, keys_of

STYLE = Path(__file__).with_name("page.css")


class Hub(ui.element, component="hub.js"):
    """The status line; it handles the keys and sends all actions to the program."""

    def __init__(self, shortcuts: tuple[Shortcut, ...] = SHORTCUTS):
        """The keys of the page, with their actions."""
        super().__init__()
        keys = keys_of(shortcuts)
        moves = (*MOVES, "next_anywhere")
        self._props.update(keys=keys, changes=CHANGES, frameChanges=FRAME_CHANGES, moves=moves)
        self._props.update(views=VIEWS, local=BROWSER_ACTIONS)


class Player(ui.element, component="player.js"):
    """The buttons that play the video over the picture."""


class RatingControl(ui.element, component="rating.js"):
    """The button that starts and ends a rating, what is rated, and the button that deletes it."""


class Picture(ui.element, component="picture.js"):
    """The current frame with the face box, and the video while it plays."""

    def __init__(self, width: int, height: int):
        """Width and height of the video in pixels."""
        super().__init__()
        self._props.update(width=width, height=height)


class Plane(ui.element, component="plane.js"):
    """Valence and arousal of the current frame."""


class Traces(ui.element, component="traces.js"):
    """Valence and arousal over time."""

    def __init__(self, last_row: int):
        """Row of the last frame in the timeline."""
        super().__init__()
        self._props.update(lastRow=last_row)


def start_page() -> ui.dark_mode:
    """Set the language and the style of a page; return what switches it to dark, light or the system's setting."""
    ui.add_head_html('<script>document.documentElement.lang = "en"</script>')
    ui.add_css(STYLE.read_text(encoding="utf-8"))
    return ui.dark_mode(None)


def brand() -> None:
    """The name of the program, which is the heading of a page."""
    with ui.element("h1").classes("brand"):
        ui.label("MT-CLAR")


def annotator_and_history(annotator: str) -> tuple[ui.button, ui.button]:
    """The name of the annotator, if there is one, and the buttons that undo and redo, which are returned."""
    if annotator:
        ui.label(annotator).classes("annotator").tooltip("Annotator")
    return action_button("undo", "Undo (Ctrl+Z)", "undo"), action_button("redo", "Redo (Ctrl+Y)", "redo")


def action_button(icon: str, tooltip: str, action: str, **detail: int) -> ui.button:
    """A round button with an icon, which sends an action with its details."""
    button = ui.button(icon=icon, color=None).on("click", js_handler=action_handler(action, **detail))
    return button.props(f'flat round dense aria-label="{tooltip}"').tooltip(tooltip)


def close_button(dialog: ui.dialog, text: str = "Close") -> None:
    """A button that closes a dialog."""
    ui.button(text, on_click=dialog.close, color=None).props("flat no-caps")


def action_handler(action: str, **detail: int) -> str:
    """JavaScript that performs an action, or tells the annotator that there is no connection."""
    return f"() => annotate.perform({json.dumps({'name': action, **detail})})"


def count_of(number: int, noun: str) -> str:
    """The number and the noun in the right form: 1 label, 2 labels."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
