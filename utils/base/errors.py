"""Errors that the user can fix: each message names what is wrong, where, and the remedy."""

import difflib
import errno

STORAGE_REMEDIES = {
    errno.ENOSPC: "free some disk space, or choose a folder on another disk",
    errno.EDQUOT: "your disk quota is used up: delete files, or choose a folder on another disk",
    errno.EROFS: "the disk is read-only: choose a folder on another disk",
    errno.EACCES: "permission denied: choose another folder, or change its permissions",
    errno.EPERM: "permission denied: choose another folder, or change its permissions",
    errno.ENOTDIR: "a part of this path is a file: choose another folder",
    errno.ENOENT: "the folder does not exist any more: restore it, or choose another one",
}
"""errno → what the user can do about it."""


class UserError(ValueError):
    """An error outside the program. Scripts print its message and exit with code 2."""


class SettingsError(UserError):
    """A setting that does not exist, or a value that is not valid for it."""


class DataError(UserError):
    """Input that cannot be used. The message names the file, the row or key, and the remedy."""


class CheckpointError(UserError):
    """A file of weights that cannot be read, or that belongs to another network."""


class TrainingError(UserError):
    """Training cannot continue, for example because the loss is not finite."""


class StorageError(UserError):
    """A file that cannot be written, for example because the disk is full or the folder is read-only."""

    @classmethod
    def from_os_error(cls, path: object, error: OSError, problem: str = "cannot be written") -> "StorageError":
        """Create the error with the remedy for an OSError.

        Args:
            path: file or folder that could not be used; named first in the message.
            error: what the operating system reported.
            problem: what could not be done, as a predicate to `path`.
        """
        remedy = STORAGE_REMEDIES.get(error.errno or 0, "check the folder and its disk")
        return cls(f"{path}: {problem} ({error.strerror or error}); {remedy}; existing files are unchanged")


def message_with_path(error: UserError, path: object) -> str:
    """Return the error's message, preceded by the path unless the message already contains it."""
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def did_you_mean(name: str, valid: list[str]) -> str:
    """Return `; did you mean X?` for the most similar valid name, or an empty string if none is similar."""
    found = difflib.get_close_matches(name, valid, 1, 0.5)
    return f"; did you mean {found[0]}?" if found else ""
