"""The errors that are the user's to mend: each message names what is wrong, where, and the remedy."""

import difflib
import errno

STORAGE_REMEDIES = {
    errno.ENOSPC: "make room on its disk, or name a folder on another one",
    errno.EDQUOT: "your quota is used up: delete something, or name a folder on another disk",
    errno.EROFS: "its disk is read-only: name a folder on another one",
    errno.EACCES: "you have no right to it: name another folder, or change its permissions",
    errno.EPERM: "you have no right to it: name another folder, or change its permissions",
    errno.ENOENT: "its folder is gone: restore it, or name another one",
}


class UserError(ValueError):
    """Something outside the program is wrong. Scripts print the message and exit with code 2."""


class SettingsError(UserError):
    """A setting that does not exist, or a value that it cannot take."""


class CheckpointError(UserError):
    """A file of weights that cannot be read, or that belongs to another network."""


class StorageError(UserError):
    """A file that cannot be written: the disk is full, or the folder is not the user's to write in."""

    @classmethod
    def of(cls, path: object, error: OSError, what: str = "cannot be written") -> "StorageError":
        remedy = STORAGE_REMEDIES.get(error.errno, "check the folder and its disk")
        return cls(f"{path}: {what} ({error.strerror or error}); {remedy}; what was there before is intact")


class TrainingError(UserError):
    """Training cannot go on: a loss that is not finite, say."""


def about_file(error: UserError, path) -> str:
    """The error's message, with the path before it where it does not name it."""
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def nearest(name: str, valid: list[str]) -> str:
    """`; did you mean X?`, or an empty string where nothing is near."""
    found = difflib.get_close_matches(name, valid, 1, 0.5)
    return f"; did you mean {found[0]}?" if found else ""
