"""Atomic file writing: a file is written completely or not at all, even if the disk is full or the machine stops."""

import glob
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from utils.base.errors import StorageError

TEMPORARY_SUFFIX = ".tmp"
"""Temporary files are named `.<name>.<random><suffix>`."""

NAME_CHARACTERS = 40  # of <name>

UMASK = os.umask(0)  # read at import, since reading it means to change it for a moment, in all threads
os.umask(UMASK)


def write_atomically(path: Path, write: Callable[[Path], object], durable: bool = True) -> None:
    """Write a temporary file in the folder of `path`, then rename it to `path`. A replaced file keeps its permissions.

    Args:
        path: the file to write or replace; its folder must exist.
        write: is called with the path of an empty temporary file, and fills it.
        durable: wait until the data are physically on the disk. False for files that can be made again.

    Raises:
        StorageError: the file cannot be written. `path` is then unchanged, and the temporary file is deleted.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(TEMPORARY_SUFFIX, f".{path.name[:NAME_CHARACTERS]}.", path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        if durable:
            _sync(temporary)
        if os.name == "posix":  # Only now: a file without write permission cannot be synced.
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~UMASK)
        temporary.replace(path)
        if durable and os.name == "posix":  # other systems cannot open a folder
            _sync(path.parent)
    except OSError as error:
        raise StorageError.from_os_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path, check: bool = False) -> None:
    """Create a folder unless it exists; with `check`, try to write a file there. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if check:
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise StorageError.from_os_error(folder, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8 and with the line endings of `text`. Raises StorageError."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def append_line(path: Path, line: str) -> None:
    """Append a line of text to a file, and wait until it is physically on the disk.

    If the machine stops meanwhile, the file may end in a part of the line. Raises StorageError.
    """
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line + "\n")
        _sync(path)
    except OSError as error:
        raise StorageError.from_os_error(path, error) from error


def remove_unfinished(folder: Path, name: str = "") -> None:
    """Delete temporary files that a killed process left in `folder`. No process may be writing there.

    Args:
        folder: the folder.
        name: name of the file that was being written; "" = all files.
    """
    pattern = f".{glob.escape(name[:NAME_CHARACTERS])}.*{TEMPORARY_SUFFIX}" if name else f".*{TEMPORARY_SUFFIX}"
    for path in folder.glob(pattern):
        path.unlink(missing_ok=True)


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 hash of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Wait until a file or folder is physically on the disk."""
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
