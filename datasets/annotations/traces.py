"""What is exported of a video, and its predicted labels as one trace per track."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from datasets.annotations.timeline import Timeline
from datasets.columns import AXES
from utils.base.errors import DataError


class VideoExport(NamedTuple):
    """What is exported of one video.

    Attributes:
        name: beginning of the names of the files.
        video: the video file, or the folder of its frames.
        fps: nominal frames per second.
        table: estimated labels, with columns frame, time (seconds), track, valence and arousal (NaN = no label).
        labels: given labels, one row per frame and annotator: track, frame, annotator, valence, arousal; may be empty.
    """

    name: str
    video: Path
    fps: float
    table: pd.DataFrame
    labels: pd.DataFrame


class TrackTrace(NamedTuple):
    """The labels of one track over all N frames of a video.

    Attributes:
        track: number of the track; None if the table has no tracks.
        scores: for each axis (N,) float32 in [-1, 1]; NaN = no label.
        confidence: (N,) float64 in [0, 1]; 0 = no label.
    """

    track: int | None
    scores: dict[str, np.ndarray]
    confidence: np.ndarray

    @property
    def prefix(self) -> str:
        """``track3`` for track 3, "" if the table has no tracks."""
        return "" if self.track is None else f"track{self.track}"


def split_traces(table: pd.DataFrame, confidence: np.ndarray | None = None) -> tuple[Timeline, list[TrackTrace]]:
    """Split a table of labels by track, and extend each track to all frames of the video.

    Args:
        table: columns frame, time (seconds), valence, arousal (NaN = no label), optionally track (missing or negative
            = no face in that frame, which still belongs to the timeline), optionally confidence.
        confidence: (rows,) in [0, 1], instead of the column; 1 if neither is given.

    Returns:
        The timeline of all frames in the table, and a trace for each track.

    Raises:
        DataError: the table is empty, a track has a frame twice, or a confidence is outside [0, 1].
    """
    table = table.reset_index(drop=True)
    if confidence is not None:
        table["confidence"] = np.asarray(confidence, np.float64)
    elif "confidence" not in table:
        table["confidence"] = 1.0
    frames = table.drop_duplicates("frame").sort_values("frame")
    timeline = Timeline(frames["frame"].to_numpy(), frames["time"].to_numpy())
    has_track = table["track"].notna() & (table["track"] >= 0) if "track" in table else pd.Series(False, table.index)
    if not has_track.any():
        return timeline, [_make_trace(None, table, timeline)]
    groups = table[has_track].groupby(table.loc[has_track, "track"].astype(np.int64))
    return timeline, [_make_trace(int(track), rows, timeline) for track, rows in groups]


def _make_trace(track: int | None, rows: pd.DataFrame, timeline: Timeline) -> TrackTrace:
    """Extend the rows of one track to all frames of the timeline."""
    rows = rows.set_index("frame")
    if not rows.index.is_unique:
        frame = rows.index[rows.index.duplicated()][0]
        raise DataError(f"frame {frame} of track {track} is in the table twice; export one video at a time")
    rows = rows.reindex(timeline.frames)
    scores = {axis: rows[axis].to_numpy(np.float32) for axis in AXES}
    labelled = ~np.isnan(scores["valence"]) | ~np.isnan(scores["arousal"])
    confidence = rows["confidence"].to_numpy(np.float64)
    if not ((confidence[labelled] >= 0) & (confidence[labelled] <= 1)).all():
        raise DataError(f"confidence of track {track}: must be a number in [0, 1] for each frame with a label")
    return TrackTrace(track, scores, np.where(labelled, confidence, 0.0))
