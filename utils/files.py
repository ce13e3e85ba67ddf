"""Files that appear whole or not at all, also on a disk that is full or when the machine stops."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from utils.errors import StorageError

TEMPORARY = ".tmp"  # how the names of unfinished files end; they begin with a dot


def write_whole(path: Path, write: Callable[[Path], None], durable: bool = True) -> None:
    """Lets `write` fill a temporary file beside `path`, then puts it in place of `path`.

    durable: wait until the disk has it, for what could not be made again. Raises StorageError where the file cannot be
    written (full disk, read-only folder …): `path` is then as it was, and the temporary file gone.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(TEMPORARY, f".{path.name[:40]}.", path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        temporary.chmod(0o644)
        if durable:
            _sync(temporary)
        temporary.replace(path)
        if durable and os.name == "posix":  # elsewhere a folder cannot be opened
            _sync(path.parent)
    except OSError as error:
        raise StorageError.of(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """UTF-8, with line ends as given."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def remove_unfinished(folder: Path) -> None:
    """Deletes what `write_whole` had not finished in `folder` when its process was killed; nobody may be writing."""
    for path in folder.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
