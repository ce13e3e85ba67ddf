"""The parts of the page that are drawn in the browser, and buttons whose acts go through hub.js."""

from nicegui import ui


class Hub(ui.element, component="hub.js"):
    """Keys, status, and the way to the program."""


class Picture(ui.element, component="picture.js"):
    """The frame with the face box."""


class Plane(ui.element, component="plane.js"):
    """Valence and arousal of the frame."""


class Traces(ui.element, component="traces.js"):
    """Both axes over time."""


def act_button(icon: str, meaning: str, act: str) -> ui.button:
    """A round button with an icon."""
    button = ui.button(icon=icon, color=None).on("click", js_handler=act_handler(act))
    return button.props(f'flat round dense aria-label="{meaning}"').tooltip(meaning)


def act_handler(act: str) -> str:
    """Hub.js knows whether there is a connection."""
    return f"() => annotate.act('{act}')"


def counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
