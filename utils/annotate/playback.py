"""What the browser plays of a video: the file itself, or a copy that is made once, beside the cache of its faces."""

import logging
import threading
from pathlib import Path

from datasets.video.cached_tracks import short_hash, video_key
from datasets.video.proxy import PROXY_FORMAT, plays_in_browsers, write_proxy
from datasets.video.reading import Video
from utils.base.errors import DataError, StorageError

log = logging.getLogger(__name__)


class _ClosedError(Exception):
    """The server stops while a copy is made."""


class Playback:
    """What the browser plays of a video.

    Attributes:
        video: the video.
        file: what the browser plays; None: the copy is not made yet.
        share: share of the copy that is made, in [0, 1].
        problem: why there will be no copy; empty: no problem.
    """

    def __init__(self, video: Video, folder: Path):
        """Find out whether a copy is needed, and made already; `folder` is where copies are."""
        self.video, self.share, self.problem = video, 0.0, ""
        key = short_hash(f"{video_key(video.path)} {video.fps} {PROXY_FORMAT}")
        self._copy = folder / f"{key}.mp4"
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self.file = video.path if plays_in_browsers(video.path) else self._existing_copy

    def start(self) -> None:
        """Make the copy in another thread, if there is nothing to play and the copy is not being made already."""
        if not (self.file or self.problem or self._thread):
            self._thread = threading.Thread(target=self._make_copy)
            self._thread.start()

    def refuse(self) -> None:
        """Note that the browser does not play the file; the copy takes its place."""
        if self.file == self._copy:
            self.problem = "this browser does not play H.264; open the page in another one"
        elif self.file:
            self.file = self._existing_copy

    @property
    def version(self) -> str:
        """Which of the two is played, "copy" or "file", so that the browser's cache does not take one for the other."""
        return "copy" if self.file == self._copy else "file"

    def close(self) -> None:
        """Stop making the copy."""
        self._closed.set()

    @property
    def _existing_copy(self) -> Path | None:
        return self._copy if self._copy.is_file() else None

    def _make_copy(self) -> None:
        log.info("%s: browsers do not play this file, so it is converted once", self.video.path)
        try:
            write_proxy(self.video, self._copy, self._set_share)
            self.file = self._copy
        except _ClosedError:
            log.info("%s: conversion stopped", self.video.path)
        except (DataError, StorageError) as error:
            self.problem = str(error)
            log.warning("%s", error)
        except Exception as error:  # Decoders may raise any exception; the page must not wait for a copy any longer.
            self.problem = f"{self.video.path}: cannot be converted for the browser ({error})"
            log.exception("%s", self.problem)

    def _set_share(self, share: float) -> None:
        if self._closed.is_set():
            raise _ClosedError
        self.share = share
