"""Reader of per-frame estimates of valence and arousal by another tool.

A CSV has columns valence and arousal, and frame or time; with several faces also track, and with several videos or
clips also video. COLUMN_NAMES lists further names of these columns. Missing rows, empty cells and NaN are frames
without an estimate.
"""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.columns import AXES
from datasets.csv_files import read_small_csv
from utils.base.errors import DataError
from utils.base.text import listed, quoted

log = logging.getLogger(__name__)

COLUMN_NAMES = {
    "valence": ("valence", "v", "val"),
    "arousal": ("arousal", "a", "aro"),
    "frame": ("frame", "frameindex", "frameidx", "frameid", "framenumber", "framenum", "frameno"),
    "time": ("time", "timestamp", "seconds", "sec", "times", "videotime", "mediatime"),
    "milliseconds": ("milliseconds", "ms", "timems", "timestampms", "timemilliseconds"),
    "track": ("track", "face", "faceid", "faceidx", "faceindex", "trackid", "person", "personid"),
    "video": ("video", "videoname", "file", "filename", "clip", "clipid", "clipname", "input", "stimulus"),
}
"""Column → its names, without case, spaces and punctuation."""

FROZEN_SECONDS, FROZEN_FRAMES = 0.4, 6
LONGEST_GAP = 1.5  # row intervals across which estimates are interpolated
LIKERT_MIDDLE, LIKERT_RANGE = 5.0, 4.0  # of a scale from 1 to 9
PERCENT = 100.0
LEAST_PERCENT = 10.0  # A column of this scale has a value beyond it.
_CLOCK = re.compile(r"(\d+):(\d{1,2}):(\d{1,2}(?:\.\d+)?)", re.ASCII)


class Estimates:
    """Estimates of valence and arousal by another tool.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, table: pd.DataFrame):
        """table: columns video and track (text), frame or time (numbers), valence and arousal (NaN = none)."""
        self.path, self._table = path, table

    def of_clip(self, clip: str, frames: np.ndarray) -> np.ndarray:
        """(N, 2) estimates at the frame numbers (N,) of a clip of a data set; NaN = none.

        Raises:
            DataError: the file has no row for the clip, or gives times in place of frame numbers.
        """
        if "frame" not in self._table:
            raise DataError(
                f"{self.path}: gives times, but the clips of a data set have frame numbers; add column frame"
            )
        return self._at_frames(self._of_video(clip), frames)

    def of_track(self, video: str, track: int, frames: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(N, 2) estimates of a face track of a video; NaN = none.

        Args:
            video: name of the video.
            track: number of the track. It is compared only if the file has rows of several tracks.
            frames: (N,) frame numbers.
            times: (N,) seconds, ascending.

        Raises:
            DataError: the file has no row for the video.
        """
        rows = self._of_video(video)
        if "track" in rows and rows["track"].nunique() > 1:
            rows = rows[rows["track"] == str(track)]
        return self._at_frames(rows, frames) if "frame" in rows else self._at_times(rows, times)

    def _of_video(self, name: str) -> pd.DataFrame:
        if "video" not in self._table:
            return self._table
        names = self._table["video"]
        rows = self._table[(names == name) | (names.str.rpartition("/")[2].str.rpartition(".")[0] == name)]
        if rows.empty:
            found = listed(sorted(set(names)))
            raise DataError(f"{self.path}: no row for {quoted(name)}; its column video has {found}")
        return rows

    def _at_frames(self, rows: pd.DataFrame, frames: np.ndarray) -> np.ndarray:
        duplicate = rows["frame"].duplicated()
        if duplicate.any():
            frame = rows["frame"][duplicate].iloc[0]
            raise DataError(f"{self._where(rows, duplicate)}: a second row for frame {frame:g}; {ONE_ROW}")
        return rows.set_index("frame")[list(AXES)].reindex(frames).to_numpy(np.float64)

    def _at_times(self, rows: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        """Interpolates between rows that are not far apart, and takes the nearest row at both ends."""
        rows = rows.sort_values("time", kind="stable")
        given = rows["time"].to_numpy()
        duplicate = rows["time"].duplicated()
        if duplicate.any():
            raise DataError(f"{self._where(rows, duplicate)}: a second row for {given[duplicate][0]:g} s; {ONE_ROW}")
        interval = float(np.median(np.diff(given))) if len(given) > 1 else np.inf
        after = np.clip(np.searchsorted(given, times), 0, len(given) - 1)
        before = np.maximum(np.where(given[after] > times, after - 1, after), 0)
        inside = (
            (given[before] <= times)
            & (given[after] >= times)
            & (given[after] - given[before] <= LONGEST_GAP * interval)
        )
        nearest = np.where(np.abs(given[before] - times) <= np.abs(given[after] - times), before, after)
        near = np.abs(given[nearest] - times) <= interval / 2
        values = rows[list(AXES)].to_numpy(np.float64)
        share = np.where(after > before, (times - given[before]) / np.maximum(given[after] - given[before], 1e-12), 0)
        between = values[before] + share[:, None] * (values[after] - values[before])
        return np.where(inside[:, None], between, np.where(near[:, None], values[nearest], np.nan))

    def _where(self, rows: pd.DataFrame, wrong: pd.Series) -> str:
        return f"{self.path} row {rows.index[wrong.to_numpy()][0] + 2}"


ONE_ROW = "keep one of them, or add the columns track and video that tell them apart"


def read_estimates(path: Path) -> Estimates:
    """Reads a CSV of estimates.

    Raises:
        DataError: a column is missing, named twice or on an unknown scale, or a cell is not a number.
    """
    raw = read_small_csv(path, "frame or time, valence and arousal")
    if raw.empty:
        raise DataError(f"{path}: has no rows; give frame or time, valence and arousal")
    columns = _columns(path, list(raw))
    table = pd.DataFrame({name: raw[columns[name]].str.strip() for name in ("video", "track") if name in columns})
    if "track" in table:
        table["track"] = table["track"].str.removesuffix(".0")
    for axis in AXES:
        table[axis] = _rescale(path, axis, _numbers(path, raw[columns[axis]], axis))
    if "frame" in columns:
        table["frame"] = _required(path, _numbers(path, raw[columns["frame"]], "frame"), "frame")
    elif "time" in columns:
        table["time"] = _required(path, _seconds(path, raw[columns["time"]]), "time")
    else:
        table["time"] = _required(path, _numbers(path, raw[columns["milliseconds"]], "time"), "time") / 1000
    return Estimates(path, table)


def without_frozen(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Removes estimates of a tool that has stopped: both axes keep exactly the same value.

    Args:
        values: (N, 2) estimates; NaN = none.
        times: (N,) seconds.

    Returns:
        (N, 2) the values, with NaN from the second frame on in runs of equal values that last at least FROZEN_SECONDS
        and FROZEN_FRAMES.
    """
    equal = np.concatenate(([False], (values[1:] == values[:-1]).all(1)))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], equal, [False])).astype(int)))
    cleaned = values.copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start + 1 >= FROZEN_FRAMES and times[end - 1] - times[start - 1] >= FROZEN_SECONDS:
            cleaned[start:end] = np.nan
    return cleaned


def _columns(path: Path, names: list[str]) -> dict[str, str]:
    """Key of COLUMN_NAMES → the column of the file."""
    plain = {name: re.sub(r"[^a-z]", "", name.lower()) for name in names}
    found = {}
    for key, known in COLUMN_NAMES.items():
        matching = [name for name in names if plain[name] in known]
        exact = [name for name in matching if plain[name] == key]
        matching = exact if len(exact) == 1 else matching
        if len(matching) > 1:
            raise DataError(f"{path}: columns {listed(matching)} may all be {key}; rename all but one")
        if matching:
            found[key] = matching[0]
    missing = [axis for axis in AXES if axis not in found]
    if missing or not {"frame", "time", "milliseconds"} & set(found):
        wanted = " and ".join(missing) or "frame or time"
        raise DataError(f"{path}: no column {wanted}; rename one, its columns are {listed(names)}")
    return found


def _numbers(path: Path, cells: pd.Series, name: str) -> pd.Series:
    """Numbers of a column; NaN for empty cells."""
    text = cells.str.strip()
    numbers = pd.to_numeric(text, errors="coerce")
    wrong = (numbers.isna() & ~text.str.lower().isin(("", "nan", "na", "null", "none"))) | np.isinf(numbers)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(f"{path} row {row + 2}: {name} is {quoted(text.iloc[row])}; give a number, or leave it empty")
    return numbers.astype(np.float64)


def _seconds(path: Path, cells: pd.Series) -> pd.Series:
    """Times as numbers of seconds, or as hours:minutes:seconds."""
    clock = cells.str.strip().str.extract(_CLOCK)
    if clock.notna().all(axis=1).all():
        return clock.astype(np.float64) @ np.array([3600.0, 60.0, 1.0])
    return _numbers(path, cells, "time")


def _required(path: Path, numbers: pd.Series, name: str) -> pd.Series:
    wrong = numbers.isna() | (numbers < 0)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(f"{path} row {row + 2}: has no {name}; give one, from 0 on, or delete the row")
    return numbers


def _rescale(path: Path, axis: str, values: pd.Series) -> pd.Series:
    """The values on the scale from -1 to 1."""
    low, high = values.min(), values.max()
    if values.isna().all() or (low >= -1 and high <= 1):
        return values
    if low < -1 and low >= -PERCENT and high <= PERCENT and max(-low, high) > LEAST_PERCENT:
        log.info("%s: %s is from %g to %g, so it is divided by %g", path, axis, low, high, PERCENT)
        return values / PERCENT
    if low >= 1 and high <= LIKERT_MIDDLE + LIKERT_RANGE:
        log.info("%s: %s is from %g to %g, which is taken as a scale from 1 to 9", path, axis, low, high)
        return (values - LIKERT_MIDDLE) / LIKERT_RANGE
    raise DataError(f"{path}: {axis} is from {low:g} to {high:g}, on an unknown scale; rescale it to -1 to 1")
