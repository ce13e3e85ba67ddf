"""Shows the progress of a run over many videos: on a terminal as a bar, elsewhere as lines of the log."""

import logging
import sys
import time
from datetime import timedelta

from tqdm import tqdm

log = logging.getLogger(__name__)

LOG_SECONDS = 60.0
"""Shortest time between two lines of the log."""


class Progress:
    """How many videos are done, how many hours of film they hold, and the time left."""

    def __init__(self, videos: int, done: int):
        """Start the clock.

        Args:
            videos: number of videos of the run.
            done: number of videos that an interrupted run has done before.
        """
        self._videos, self._done_before = videos, done
        self._started = self._logged = time.monotonic()
        on_terminal = sys.stderr.isatty() and videos > 1
        self._bar = tqdm(total=videos, initial=done, unit="video", disable=not on_terminal)

    def show(self, done: int, seconds: float) -> None:
        """Show the progress after a video.

        Args:
            done: number of videos done, those of an interrupted run included.
            seconds: their length.
        """
        hours = f"{seconds / 3600:.1f} h of film"
        self._bar.set_postfix_str(hours)
        self._bar.update(1)
        now = time.monotonic()
        if self._bar.disable and done < self._videos and now - self._logged >= LOG_SECONDS:
            self._logged = now
            left = (now - self._started) / max(done - self._done_before, 1) * (self._videos - done)
            log.info("%d of %d videos, %s, %s left", done, self._videos, hours, timedelta(seconds=round(left)))

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
