"""Handling of SIGINT (Ctrl-C) and SIGTERM: finish what must not be cut in two, then end the program."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
REPEAT_SECONDS = 1.0
"""A second signal within this time is taken for a copy of the first: launchers forward a Ctrl-C that the terminal
has sent to the whole process group anyway."""


class Interrupted(KeyboardInterrupt):
    """The user or the system asks the program to end.

    Attributes:
        number: number of the signal. Scripts exit with code 128 + `number`, as shells do.
        advice: how to resume, for the user; empty: scripts print their general advice.
    """

    advice = ""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def terminate_orderly() -> Iterator[None]:
    """Within the block, SIGTERM raises Interrupted, so that `finally` clauses run and temporary files are deleted."""
    with _signal_handler(_raise_interrupted, (signal.SIGTERM,)):
        yield


class DelayedSignals:
    """Within the block, a signal has no effect until `raise_pending` is called. A second signal acts at once.

    ::

        with DelayedSignals() as signals:
            for step in work:
                step()
                signals.raise_pending()

    Attributes:
        pending: number of the signal that has arrived; None: no signal yet.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._received_at = 0.0
        self._immediate = False

    def __enter__(self) -> "DelayedSignals":
        self._handlers = _signal_handler(self._receive, SIGNALS)
        self._handlers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._handlers.__exit__(None, None, None)

    def raise_pending(self) -> None:
        """Raise Interrupted if a signal has arrived."""
        if self.pending:
            raise Interrupted(self.pending)

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Within the block, signals act at once: for long work that may be cut anywhere."""
        self.raise_pending()
        self._immediate = True
        try:
            yield
        finally:
            self._immediate = False

    def _receive(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self._immediate or self.pending and now - self._received_at > REPEAT_SECONDS:
            raise Interrupted(number)
        if not self.pending:
            self.pending, self._received_at = number, now
            # os.write needs no lock, unlike logging, which the interrupted code may be holding.
            os.write(2, b"\nfinishing this step and saving; press Ctrl-C again to stop at once\n")


def ignore_signals_in_worker() -> None:
    """Call in a worker process: only a SIGTERM from the parent process ends it.

    Terminals and job schedulers often send signals to the whole process group; the parent decides when its workers end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # only Linux tells which process sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_exit_on_signal_from_parent, daemon=True).start()


def _exit_on_signal_from_parent() -> None:
    parent = multiprocessing.parent_process()  # not os.getppid(), which may be a fork server
    while parent and signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent.pid:
        pass
    os._exit(0)


def _raise_interrupted(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


@contextmanager
def _signal_handler(
    handler: Callable[[int, FrameType | None], None], numbers: Iterable[signal.Signals]
) -> Iterator[None]:
    """Install a handler and restore the previous ones afterwards. Ignored signals (nohup) stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change signal handlers
        return
    previous = {number: signal.getsignal(number) for number in numbers}
    replaced = [number for number, old in previous.items() if old is not signal.SIG_IGN]
    for number in replaced:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, previous[number])
