"""The errors that are the user's to mend: each message names what is wrong, where, and the remedy."""

import difflib


class UserError(ValueError):
    """Something outside the program is wrong. Scripts print the message and exit with code 2."""


class SettingsError(UserError):
    """A setting that does not exist, or a value that it cannot take."""


class CheckpointError(UserError):
    """A file of weights that cannot be read, or that belongs to another network."""


class TrainingError(UserError):
    """Training cannot go on: a loss that is not finite, say."""


def about_file(error: UserError, path) -> str:
    """The error's message, with the path before it where it does not name it."""
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def nearest(name: str, valid: list[str]) -> str:
    """`; did you mean X?`, or an empty string where nothing is near."""
    found = difflib.get_close_matches(name, valid, 1, 0.5)
    return f"; did you mean {found[0]}?" if found else ""
