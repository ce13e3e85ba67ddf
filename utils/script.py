"""How every script starts and ends."""

import errno
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable

from utils.errors import STORAGE_REMEDIES, StorageError, UserError
from utils.signals import terminate_orderly

GO_ON = "training goes on with --train.resume and its run folder (or latest), labelling with the same command"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def run_script(main: Callable[[], None]) -> None:
    """Runs a script's `main`. An error that is the user's to mend becomes one message and exit code 2.

    SIGINT and SIGTERM end it with the exit code 130 or 143 and a word on how to go on.
    """
    _prepare_output()
    try:
        with terminate_orderly():
            main()
    except UserError as error:
        _fail(error)
    except OSError as error:
        if error.errno not in STORAGE_REMEDIES or error.errno == errno.ENOENT:
            raise
        _fail(StorageError.of(error.filename or "a file", error, "cannot be used"))
    except KeyboardInterrupt as error:
        print(f"interrupted; {getattr(error, 'advice', '') or GO_ON}", file=sys.stderr)
        sys.exit(128 + getattr(error, "number", signal.SIGINT))


class PlainFormatter(logging.Formatter):
    """The message alone, without what could steer a terminal: names come from files of strangers."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def printable(text: str) -> str:
    """Text whose control characters, but for the end of a line, are shown as Python writes them."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def _prepare_output() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show Δ must not end a day's work
    threading.excepthook = _thread_failed


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """TensorBoard's writing thread hands its OSError over to the main thread, which reports it: once is enough."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)


def _fail(error: UserError) -> None:
    print(f"error: {printable(str(error))}", file=sys.stderr)
    sys.exit(2)
