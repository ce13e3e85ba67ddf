"""The actions of an annotator, and the keys that trigger them.

An action is a dictionary with its name and details, such as {"name": "step", "frames": -1}. The browser sends it to the
program (hub.js), where `Position` performs it. These are the only lists of keys: the help dialogs show them, and
hub.js gets them as a property.
"""

from typing import Any, NamedTuple

Action = dict[str, Any]

CHANGES = ("label", "drag", "nudge", "accept", "delete", "undo", "redo", "note", "rate", "delete_rating")
"""Names of the actions that change labels or the rating; each is answered once the change is on disk, or has failed."""
MOVES = ("goto", "step", "next_suggestion", "next_label", "next_contradiction", "next_unlabelled")
"""Names of the actions that show another frame."""
FRAME_CHANGES = ("label", "nudge", "accept", "delete")
"""Names of the changes to the frame on screen, which must stand still."""
VIEWS = ("check", "people")
"""Names of the actions that show another view."""
BROWSER_ACTIONS = ("focus_note", "play", "look", "mute", "slower", "faster", "record")
"""Names of the actions that the browser performs itself."""


class Shortcut(NamedTuple):
    """A line of the help dialog, and the keys that it describes.

    Attributes:
        shown: the keys, as the help dialog shows them.
        meaning: what they do.
        actions: key → action; keys are named as in JavaScript's `KeyboardEvent.key`, after Ctrl+ (or Cmd) and Shift+.
    """

    shown: str
    meaning: str
    actions: dict[str, Action]


def _nudge(axis: int, by: float) -> Action:
    return {"name": "nudge", "axis": axis, "by": by}


NUDGES: dict[str, Action] = {
    "a": _nudge(0, -0.05),
    "d": _nudge(0, 0.05),
    "s": _nudge(1, -0.05),
    "w": _nudge(1, 0.05),
    "Shift+A": _nudge(0, -0.01),
    "Shift+D": _nudge(0, 0.01),
    "Shift+S": _nudge(1, -0.01),
    "Shift+W": _nudge(1, 0.01),
}
UNDO = Shortcut(
    "Ctrl+Z Ctrl+Y",
    "undo, redo",
    # While Cmd is held, browsers on a Mac name the key z, with and without Shift.
    {"Ctrl+z": {"name": "undo"}, **dict.fromkeys(("Ctrl+y", "Ctrl+Shift+Z", "Ctrl+Shift+z"), {"name": "redo"})},
)
DELETE = Shortcut("Delete", "delete the label", {"Delete": {"name": "delete"}, "Backspace": {"name": "delete"}})
CLICK = Shortcut("click in the plane", "label the frame", {})
HELP = Shortcut("?", "show this help", {"?": {"name": "help"}})

SHORTCUTS = (
    CLICK,
    Shortcut(
        "A D · S W",
        "lower or raise valence · arousal by 0.05, from the label or else the estimate; with Shift by 0.01",
        NUDGES,
    ),
    Shortcut("Enter", "accept the estimate as the label", {"Enter": {"name": "accept"}}),
    Shortcut("N", "go to the frame whose label is expected to help most", {"n": {"name": "next_suggestion"}}),
    Shortcut(
        "Shift+N",
        "go to the frame of all videos whose label is expected to help most",
        {"Shift+N": {"name": "next_anywhere"}},
    ),
    Shortcut(
        "← →",
        "previous or next frame; with Shift one second back or forward",
        {
            "ArrowLeft": {"name": "step", "frames": -1},
            "ArrowRight": {"name": "step", "frames": 1},
            "Shift+ArrowLeft": {"name": "step", "seconds": -1},
            "Shift+ArrowRight": {"name": "step", "seconds": 1},
        },
    ),
    Shortcut(
        "Home End",
        "first or last frame",
        {"Home": {"name": "step", "frames": -(10**9)}, "End": {"name": "step", "frames": 10**9}},
    ),
    Shortcut(
        "[ ]", "previous or next label", {"[": {"name": "next_label", "by": -1}, "]": {"name": "next_label", "by": 1}}
    ),
    Shortcut("C", "next label that the other labels contradict", {"c": {"name": "next_contradiction"}}),
    Shortcut("T", "write a note on the label; Enter or Esc leaves the field", {"t": {"name": "focus_note"}}),
    DELETE,
    UNDO,
    Shortcut("Space", "play or pause", {" ": {"name": "play"}}),
    Shortcut("L", "look: play the two seconds around the frame, and come back to it", {"l": {"name": "look"}}),
    Shortcut(
        "< > · M",
        "slower or faster · sound off or on",
        {"<": {"name": "slower"}, ">": {"name": "faster"}, "m": {"name": "mute"}},
    ),
    Shortcut(
        "R",
        "rate while the video plays: keep the pointer in the plane at what the face shows, or move the point by "
        "A D S W; R or Esc ends the rating. On clips of a minute, a rating and then ten labels gave smaller errors "
        "than labels alone in the same time; a rating and then five labels were as good as 17 labels. A rating alone "
        "was worse than ten labels",
        {"r": {"name": "record"}},
    ),
    Shortcut("drag a point", "change a label on one axis", {}),
    Shortcut("K", "check: measure the error on frames drawn at random", {"k": {"name": "check"}}),
    Shortcut("P", "people: which tracks show the same person", {"p": {"name": "people"}}),
    HELP,
)

CHECK_SHORTCUTS = (
    CLICK,
    Shortcut(
        "A D · S W", "lower or raise valence · arousal by 0.05, from the label or else 0; with Shift by 0.01", NUDGES
    ),
    Shortcut(
        "N",
        "go to the next frame without a label; after the last one, show the bound",
        {"n": {"name": "next_unlabelled"}},
    ),
    Shortcut(
        "← →",
        "previous or next frame of the check",
        {"ArrowLeft": {"name": "step", "frames": -1}, "ArrowRight": {"name": "step", "frames": 1}},
    ),
    DELETE,
    UNDO,
    HELP,
)
"""Shortcuts of a check (check_page.py)."""

PEOPLE_SHORTCUTS = (
    Shortcut(
        "1 … 9", "the track shows this person", {str(n): {"name": "join", "candidate": n - 1} for n in range(1, 10)}
    ),
    Shortcut("N", "new person", {"n": {"name": "new"}}),
    Shortcut("R", "rename", {"r": {"name": "focus_name"}}),
    Shortcut("↑", "previous track", {"ArrowUp": {"name": "move", "by": -1}}),
    Shortcut("↓", "next track", {"ArrowDown": {"name": "move", "by": 1}}),
    Shortcut("Ctrl+Z", "undo", {"Ctrl+z": {"name": "undo"}}),
    Shortcut("Ctrl+Y", "redo", {"Ctrl+y": {"name": "redo"}, "Ctrl+Shift+z": {"name": "redo"}}),
)
"""Shortcuts of the view of people (people.js)."""


def keys_of(shortcuts: tuple[Shortcut, ...]) -> dict[str, Action]:
    """Key → action."""
    return {key: action for shortcut in shortcuts for key, action in shortcut.actions.items()}
