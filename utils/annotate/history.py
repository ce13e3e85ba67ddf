"""Changes that can be undone and redone, of whatever the page writes to disk."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

Target = TypeVar("Target")
State = TypeVar("State")


class Change(NamedTuple, Generic[Target, State]):
    """A change: what was changed, and its state before and after."""

    target: Target
    before: State
    after: State


class History(Generic[Target, State]):
    """The changes so far. If a state cannot be written, the history stays as it was."""

    def __init__(self, write: Callable[[Target, State], None]):
        """Start without any change.

        Args:
            write: called with a target and its new state; saves the state on disk and in memory. If it raises an
                error, it must have changed nothing.
        """
        self._write = write
        self._done: list[Change[Target, State]] = []
        self._undone: list[Change[Target, State]] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self._undone)

    def change(self, target: Target, before: State, after: State, continues: bool = False) -> None:
        """Make a change; what had been undone can no longer be redone.

        Args:
            target: what is changed.
            before: its state now.
            after: its new state.
            continues: undo this change and the last one together, if both have the same target.
        """
        self._write(target, after)
        if continues and self._done and self._done[-1].target == target:
            before = self._done.pop().before
        self._done.append(Change(target, before, after))
        self._undone.clear()

    def undo(self) -> Change[Target, State] | None:
        """Undo the last change and return it; None: there is none."""
        if not self._done:
            return None
        change = self._done[-1]
        self._write(change.target, change.before)
        self._undone.append(self._done.pop())
        return change

    def redo(self) -> Change[Target, State] | None:
        """Make the change again that was undone last, and return it; None: there is none."""
        if not self._undone:
            return None
        change = self._undone[-1]
        self._write(change.target, change.after)
        self._done.append(self._undone.pop())
        return change
