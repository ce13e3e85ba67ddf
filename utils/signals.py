"""SIGINT (Ctrl-C) and SIGTERM: work that must not be cut in two is finished first, then the program ends."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TWICE = 1.0  # seconds: launchers pass on the Ctrl-C that the terminal has sent already


class Interrupted(KeyboardInterrupt):
    """The user or the system asks the program to end. Scripts say `advice`, if it is set, and exit with 128 + `number`,
    as shells do."""

    advice = ""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def terminate_orderly() -> Iterator[None]:
    """Within, SIGTERM raises Interrupted, as SIGINT raises KeyboardInterrupt: temporary files are removed."""
    with _handler(_interrupt, (signal.SIGTERM,)):
        yield


class HeldSignals:
    """Within `with`, a signal waits until `raise_pending` is called; another one, a second later, does not.

    ::

        with HeldSignals() as held:
            for step in work:
                step()
                held.raise_pending()
    """

    def __init__(self):
        self.pending: int | None = None
        self._since = 0.0
        self._passing = False

    def __enter__(self) -> "HeldSignals":
        self._handlers = _handler(self._receive, SIGNALS)
        self._handlers.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._handlers.__exit__(*error)

    def raise_pending(self) -> None:
        """Raises Interrupted if a signal is waiting."""
        if self.pending:
            raise Interrupted(self.pending)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Within, signals are not held back: for long work that leaves nothing behind."""
        self.raise_pending()
        self._passing = True
        try:
            yield
        finally:
            self._passing = False

    def _receive(self, number: int, _) -> None:
        now = time.monotonic()
        if self._passing or self.pending and now - self._since > TWICE:
            raise Interrupted(number)
        if not self.pending:
            self.pending, self._since = number, now
            os.write(2, b"\nfinishing this step, then saving; once more to stop at once\n")  # no lock, unlike logging


def leave_to_the_parent() -> None:
    """For worker processes: signals often go to the whole group, but only the parent's own SIGTERM ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # Linux: it tells who has sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()  # not os.getppid(): that may be a fork server
    while parent and signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent.pid:
        pass
    os._exit(0)


def _interrupt(number: int, _) -> None:
    raise Interrupted(number)


@contextmanager
def _handler(handler, numbers) -> Iterator[None]:
    """The handler in place of others, which come back; ignored signals (nohup) stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change handlers
        return
    before = {number: signal.getsignal(number) for number in numbers}
    changed = [number for number, old in before.items() if old is not signal.SIG_IGN]
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number])
