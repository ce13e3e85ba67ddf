"""A text file that the page rewrites after each change, and that no other program may change meanwhile."""

import hashlib
from pathlib import Path

from utils.base.errors import StorageError, UserError
from utils.base.files import remove_unfinished, write_text


class NotSavedError(UserError):
    """A label or rating could not be saved."""


class GuardedFile:
    """A text file, written whole or not at all.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path):
        """Delete what a killed process left beside the file."""
        self.path = path
        remove_unfinished(path.parent, path.name)
        self._known_digest = self._digest()

    def write(self, text: str | None) -> None:
        """Replace the file, and wait until it is on the disk; None: delete it.

        Raises:
            NotSavedError: the file cannot be written, or another program changed it; it is left as it was.
        """
        try:
            if self._digest() != self._known_digest:
                raise NotSavedError(
                    f"{self.path.name} was changed by another program; restart this one to continue from that file"
                )
            if text is None:
                self.path.unlink(missing_ok=True)
            else:
                write_text(self.path, text)
            self._known_digest = self._digest()
        except (OSError, StorageError) as error:
            raise NotSavedError(str(error)) from error

    def _digest(self) -> bytes:
        try:
            return hashlib.sha256(self.path.read_bytes()).digest()
        except FileNotFoundError:
            return b""
