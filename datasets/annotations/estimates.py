"""Per-frame estimates of valence and arousal by another tool, as evidence for the labels of a clip or video.

::

    estimates = read_estimates(Path("estimates.csv"))
    values = estimates.of_track("clip.mp4", track=0, frames=np.arange(250), times=np.arange(250) / 25)
    values = without_frozen(values, np.arange(250) / 25)
"""

import logging
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.annotations.estimates_csv import MISSING, read_table
from datasets.annotations.timeline import TIME_TOLERANCE, Timeline
from datasets.columns import AXES
from utils.base.errors import DataError
from utils.base.text import listed, quoted, safe_name

logger = logging.getLogger(__name__)

_EXTENSION = re.compile(r"[.][A-Za-z][A-Za-z0-9]{1,3}$")

FROZEN_SECONDS = 0.4
FROZEN_FRAMES = 6

MAX_ROW_INTERVAL = 3.0
"""Seconds between rows from which on the times are taken for a mistake, such as milliseconds."""

SPARSER = 1.1
"""Rows whose interval exceeds that of the frames by this factor are interpolated; smaller differences are rounding."""

LONGEST_GAP = 1.5
"""Longest gap that is interpolated, in intervals between rows."""


class Estimates:
    """Per-frame estimates of valence and arousal by another tool, read from a CSV.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, table: pd.DataFrame):
        """Index the estimates by video.

        Args:
            path: the file.
            table: as `read_table` returns it.
        """
        self.path = path
        self._table = table
        self._position = "frame" if "frame" in table else "time"
        self._single_video: str | None = None  # the only one that a file without a column for videos was used for
        self._rows_of_video = table.groupby("video", sort=False).indices if "video" in table else {}
        self._videos_by_name: dict[tuple[str, str], list[str]] = defaultdict(list)
        for video in map(str, self._rows_of_video):
            file = _without_folder(video)
            stem = _EXTENSION.sub("", file)
            for key in {("file", file), ("stem", stem), ("safe", safe_name(file)), ("safe", safe_name(stem))}:
                self._videos_by_name[key].append(video)

    @property
    def names_videos(self) -> bool:
        """Whether the file has a column for the video or clip."""
        return bool(self._rows_of_video)

    def of_clip(self, clip: str, frames: np.ndarray) -> np.ndarray:
        """Return the estimates of the frames of a clip of a data set.

        Args:
            clip: name of the clip.
            frames: (N,) frame numbers in the data set.

        Returns:
            (N, 2) float64, valence and arousal; NaN = none.

        Raises:
            DataError: the file has times only, no row for the clip, or two rows for a frame.
        """
        if self._position != "frame":
            raise DataError(f"{self.path}: gives times, but the clips of a data set have none; add a column 'frame'")
        rows = self._rows(clip, "clip")
        return _at_frames(frames, *self._sorted(rows, f"clip {quoted(clip)}", "delete the rows of other faces"))

    def of_track(self, video: str, track: int, frames: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return the estimates of a face track of a video.

        A file with times gives each frame the nearest row within half of the interval between frames. Rows that are
        sparser than the frames are interpolated linearly.

        Args:
            video: file name of the video, with or without extension.
            track: number of the face track.
            frames: (N,) frame numbers, increasing.
            times: (N,) seconds at which the frames are shown.

        Returns:
            (N, 2) float64, valence and arousal; NaN = none.

        Raises:
            DataError: the file has no row for the video, two rows for a frame or time of the track, faces that are not
                numbered, or times that cannot be seconds.
        """
        rows_of_video = self._rows(video, "video")
        rows = self._rows_of_track(rows_of_video, track, video)
        remedy = "add a column 'track' with the numbers of this program's face tracks" if "track" not in rows else ""
        positions, values = self._sorted(rows, f"video {quoted(video)}", remedy or "delete one of them")
        if self._position == "frame":
            estimates = _at_frames(frames, positions, values)
        else:
            interval = self._row_interval(rows_of_video["time"], video)
            estimates = _at_times(Timeline(frames, times), positions, values, interval)
        if np.isnan(estimates).all():
            logger.warning("%s: no estimate for track %d of video %s", self.path, track, quoted(video))
        return estimates

    def _rows(self, name: str, kind: str) -> pd.DataFrame:
        """Rows of a clip or video; all rows if the file has no column for it."""
        if not self._rows_of_video:
            if self._single_video not in (None, name):
                raise DataError(
                    f"{self.path}: has no column {kind!r}, so that it can belong to one {kind} only, not to "
                    f"{listed([str(self._single_video), name])}; add the column"
                )
            self._single_video = name
            return self._table
        file = _without_folder(name)
        keys = [("file", file), ("stem", file), ("file", _EXTENSION.sub("", file)), ("safe", safe_name(file))]
        videos = next((self._videos_by_name[key] for key in keys if key in self._videos_by_name), [])
        if not videos:
            present = listed([str(video) for video in self._rows_of_video])
            raise DataError(f"{self.path}: has no row for {kind} {quoted(name)}, only for {present}; add it, or rename")
        if len(videos) > 1:
            raise DataError(f"{self.path}: {listed(videos)} may all mean {kind} {quoted(name)}; delete or rename some")
        return self._table.iloc[self._rows_of_video[videos[0]]]

    def _rows_of_track(self, rows: pd.DataFrame, track: int, video: str) -> pd.DataFrame:
        """Rows of a face track; all rows if they are of one face only."""
        if "track" not in rows:
            return rows
        named = ~rows["track"].str.lower().isin(MISSING)
        faces = rows.loc[named, "track"].drop_duplicates()
        if len(faces) <= 1:
            return rows
        remedy = (
            "write the numbers of this program's face tracks (column track of labels.csv), keep the rows of one face, "
            "whose name is then ignored, or delete the column if they are all one face"
        )
        numbers = pd.to_numeric(faces, errors="coerce")
        if (numbers % 1 != 0).any():
            raise DataError(
                f"{self.path}: the faces of video {quoted(video)} are {listed(list(faces))}, not numbers; {remedy}"
            )
        unnamed = rows.loc[~named & rows[[*AXES]].notna().any(axis=1), "row"]
        if len(unnamed):
            raise DataError(f"{self.path} row {unnamed.iloc[0]}: does not say which face it belongs to; {remedy}")
        return rows[rows["track"].isin(faces[numbers == track])]

    def _sorted(self, rows: pd.DataFrame, whose: str, remedy: str) -> tuple[np.ndarray, np.ndarray]:
        """Positions (M,), increasing, and values (M, 2) of the rows that have an estimate."""
        rows = rows[rows[[*AXES]].notna().any(axis=1)].sort_values(self._position, kind="stable")
        positions = rows[self._position].to_numpy()
        for index in np.flatnonzero(np.diff(positions) == 0)[:1]:
            first, second = rows["row"].iloc[index : index + 2]
            raise DataError(
                f"{self.path} rows {first} and {second}: {self._position} {positions[index]:.10g} of {whose} occurs "
                f"twice; {remedy}"
            )
        return positions, rows[[*AXES]].to_numpy(np.float64)

    def _row_interval(self, times: pd.Series, video: str) -> float:
        """Median interval in seconds between the rows of a video, whatever their face; 0 if there is one row."""
        distinct = np.unique(times.dropna().to_numpy())
        interval = float(np.median(np.diff(distinct))) if len(distinct) > 1 else 0.0
        if interval > MAX_ROW_INTERVAL:
            raise DataError(
                f"{self.path}: the rows of video {quoted(video)} are {interval:g} s apart; if the times are "
                "milliseconds, name the column time_ms"
            )
        return interval


def read_estimates(path: Path) -> Estimates:
    """Read the estimates of a CSV; `estimates_csv` describes its columns.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a cell or scale that cannot be used.
    """
    return Estimates(path, read_table(path))


def without_frozen(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Remove the estimates of an estimator that has stopped.

    It has stopped where both axes keep exactly the same value over FROZEN_FRAMES frames and FROZEN_SECONDS seconds or
    more. The first frame of such a run keeps its estimate.

    Args:
        values: (N, 2) estimates; NaN = none.
        times: (N,) seconds at which the frames are shown.

    Returns:
        (N, 2) a copy of the values, with NaN where the estimator has stopped.
    """
    values = np.array(values, np.float64)
    if not len(values):
        return values
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    changes = np.flatnonzero(~same.all(axis=1)) + 1
    starts, ends = np.concatenate([[0], changes]), np.concatenate([changes, [len(values)]])
    seconds = np.asarray(times)[ends - 1] - np.asarray(times)[starts]
    frozen = (ends - starts >= FROZEN_FRAMES) & (seconds >= FROZEN_SECONDS - TIME_TOLERANCE)
    removed = np.repeat(frozen, ends - starts)
    removed[starts] = False
    values[removed] = np.nan
    return values


def _without_folder(name: str) -> str:
    """Last part of a path of any operating system."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _at_frames(frames: np.ndarray, positions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (N, 2) at the frames (N,), from the values (M, 2) at the positions (M,); NaN = none."""
    result = np.full((len(frames), len(AXES)), np.nan)
    indices = pd.Index(positions).get_indexer(np.asarray(frames, np.float64))
    result[indices >= 0] = values[indices[indices >= 0]]
    return result


def _at_times(timeline: Timeline, positions: np.ndarray, values: np.ndarray, interval: float) -> np.ndarray:
    """Values (N, 2) at the frames of a timeline.

    Args:
        timeline: the N frames.
        positions: (M,) seconds of the rows, increasing.
        values: (M, 2) estimates of the rows; NaN = none.
        interval: usual number of seconds between rows.
    """
    result = np.full((len(timeline.times), len(AXES)), np.nan)
    for axis in range(len(AXES)):
        known = ~np.isnan(values[:, axis])
        if not known.any():
            continue
        seconds, scores = positions[known], values[known, axis]
        nearest = Timeline(np.arange(len(seconds)), seconds).nearest(timeline.times)
        is_near = np.abs(seconds[nearest] - timeline.times) <= timeline.step / 2 + TIME_TOLERANCE
        result[is_near, axis] = scores[nearest[is_near]]
        if interval > SPARSER * timeline.step and len(seconds) > 1:
            after = np.searchsorted(seconds, timeline.times).clip(1, len(seconds) - 1)
            is_between = (timeline.times >= seconds[0]) & (timeline.times <= seconds[-1])
            is_between &= seconds[after] - seconds[after - 1] <= LONGEST_GAP * interval + TIME_TOLERANCE
            result[is_between, axis] = np.interp(timeline.times[is_between], seconds, scores)
    return result
