"""The frames of a video and when each is shown, and the label of one frame."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from utils.base.errors import DataError

SINGLE_FRAME_SECONDS = 1 / 25
TIME_TOLERANCE = 1e-6
"""Seconds by which times in a file may be off through rounding."""


@dataclass(frozen=True)
class Timeline:
    """The frames of one video and when each is shown.

    Attributes:
        frames: (N,) int64, frame numbers, increasing.
        times: (N,) float64, seconds at which each frame starts to be shown, not decreasing.

    Raises:
        DataError: no frames, unequal lengths, or not in order.
    """

    frames: np.ndarray
    times: np.ndarray

    def __post_init__(self) -> None:
        frames, times = np.asarray(self.frames, np.int64), np.asarray(self.times, np.float64)
        if frames.ndim != 1 or frames.shape != times.shape or not len(frames):
            raise DataError(f"a timeline needs one time per frame: {frames.shape} frames, {times.shape} times")
        if (np.diff(frames) <= 0).any() or (np.diff(times) < 0).any() or not np.isfinite(times).all():
            raise DataError("the frames of a video must come in order, with times in seconds that do not go back")
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "times", times)

    @classmethod
    def at_rate(cls, count: int, fps: float) -> "Timeline":
        """Make the timeline of frames 0 … count - 1 at a constant rate of ``fps`` frames per second."""
        if not (fps > 0 and math.isfinite(fps)):
            raise DataError(f"{fps} frames per second: the rate must be above 0")
        return cls(np.arange(count), np.arange(count) / fps)

    @cached_property
    def step(self) -> float:
        """Median time in seconds from one frame to the next."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else SINGLE_FRAME_SECONDS

    def nearest(self, times: ArrayLike) -> np.ndarray:
        """Rows (…) of the frames nearest to ``times`` (…) in seconds; the earlier one of two equally near."""
        seconds = np.asarray(times)
        after = np.searchsorted(self.times, seconds).clip(1, max(len(self.times) - 1, 1))
        after = np.minimum(after, len(self.times) - 1)
        before = np.maximum(after - 1, 0)
        return np.where(np.abs(self.times[after] - seconds) < np.abs(self.times[before] - seconds), after, before)

    def row_of_frame(self, frame: int, where: str) -> int:
        """Row of a frame number; DataError, beginning with ``where``, if the video has no such frame."""
        row = int(np.searchsorted(self.frames, frame))
        if row < len(self.frames) and self.frames[row] == frame:
            return row
        if frame < 0:
            raise DataError(f"{where}: frame {frame} is negative; frames count from {self.frames[0]}")
        if frame > self.frames[-1]:
            raise DataError(
                f"{where}: frame {frame} is beyond the end, the last frame is {self.frames[-1]}; correct or delete it"
            )
        raise DataError(
            f"{where}: the video has no frame {frame}, the next one is {self.frames[row]}; correct or delete it"
        )

    def row_of_time(self, time: float, where: str, shown: bool = False) -> int:
        """Row of the frame that belongs to a time.

        Args:
            time: seconds from the start of the video.
            where: the beginning of the error message, such as file and row.
            shown: choose the frame on screen at that time instead of the one whose start is nearest.

        Raises:
            DataError: the time is outside the video.
        """
        if time < 0:
            raise DataError(f"{where}: time {time:g} s is negative; times count from the start of the video")
        if time > self.times[-1] + self.step + TIME_TOLERANCE:
            raise DataError(
                f"{where}: time {time:g} s is beyond the end, the last frame is {self.frames[-1]} at "
                f"{self.times[-1]:.3f} s; correct or delete it"
            )
        return int(self.rows_shown(time)) if shown else int(self.nearest(time))

    def rows_shown(self, times: ArrayLike) -> np.ndarray:
        """Rows (…) of the frames on screen at ``times`` (…) in seconds."""
        seconds = np.asarray(times) + TIME_TOLERANCE
        return np.maximum(np.searchsorted(self.times, seconds, side="right") - 1, 0)


class Label(NamedTuple):
    """A person's label of one frame.

    Attributes:
        frame: frame number.
        valence: in [-1, 1].
        arousal: in [-1, 1].
        annotator: who gave the label; "" = unknown.
        track: number of the face that the label belongs to; None = not given.
        where: file and row that the label comes from, for messages.
        note: the annotator's remark; "" = none.
    """

    frame: int
    valence: float
    arousal: float
    annotator: str
    track: int | None
    where: str
    note: str = ""
