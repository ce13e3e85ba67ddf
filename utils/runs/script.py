"""Runs the `main` function of a script: log output, error messages and exit codes."""

import errno
import logging
import signal
import sys
import threading
from collections.abc import Callable

from utils.base.errors import STORAGE_REMEDIES, StorageError, UserError
from utils.base.signals import terminate_orderly
from utils.base.text import printable

HOW_TO_RESUME = (
    "resume training with --train.resume and the run folder (or latest); resume labelling with the same command"
)


def run_script(main: Callable[[], None]) -> None:
    """Run the `main` function of a script.

    A UserError is printed as one line, and the exit code is 2. After SIGINT or SIGTERM the script prints how to
    resume, and the exit code is 130 or 143.
    """
    _prepare_output()
    try:
        with terminate_orderly():
            main()
    except UserError as error:
        _exit_with_error(error)
    except OSError as error:
        # A missing file that no UserError explains is a bug, so its traceback is shown.
        if error.errno not in STORAGE_REMEDIES or error.errno == errno.ENOENT:
            raise
        _exit_with_error(StorageError.from_os_error(error.filename or "a file", error, "cannot be used"))
    except KeyboardInterrupt as error:
        print(f"interrupted; {getattr(error, 'advice', '') or HOW_TO_RESUME}", file=sys.stderr)
        sys.exit(128 + getattr(error, "number", signal.SIGINT))


class PlainFormatter(logging.Formatter):
    """Formats a log record as its message, with control characters escaped: file names may contain any."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _prepare_output() -> None:
    """Set up logging to standard error, and output that works in every terminal encoding."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show Δ must not end a long run with a UnicodeEncodeError.
            stream.reconfigure(errors="replace")
    threading.excepthook = _report_thread_error


def _report_thread_error(failure: threading.ExceptHookArgs) -> None:
    """Print the traceback of an error in a thread, except OSError: TensorBoard raises it again in the main thread."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)


def _exit_with_error(error: UserError) -> None:
    print(f"error: {printable(str(error))}", file=sys.stderr)
    sys.exit(2)
