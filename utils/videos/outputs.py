"""What is written for a video: its table of labels, plots, exports for other programs, the overlay and a summary."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from datasets.annotations.formats import EXPORTS
from datasets.annotations.traces import VideoExport
from datasets.columns import AXES, BOX
from utils.base.files import write_atomically
from utils.config.sections import VideoSettings
from utils.labelling.labeller import Labeller
from utils.plots import plane_figure, trace_figure
from utils.runs.run_folder import RunFolder
from utils.videos.face_video import FaceVideo, Track
from utils.videos.overlay import write_overlay


def track_table(track: Track, labels: pd.DataFrame) -> pd.DataFrame:
    """Table of a track: track, frame and time, the columns of `labels` (N rows), and the face box with its score."""
    faces = track.faces
    return pd.concat([faces[["track", "frame", "time"]], labels, faces[[*BOX, "score"]]], axis=1)


def video_table(track_tables: Iterable[pd.DataFrame], face_video: FaceVideo) -> pd.DataFrame:
    """Join the tables of a video's tracks, sorted by frame and track.

    A frame of the video that shows none of the tracks gets a row with its frame number and time, `support` False, and
    missing values elsewhere.
    """
    table = pd.concat(track_tables)
    frames = face_video.faces.drop_duplicates("frame")[["frame", "time"]]
    empty = frames[~frames["frame"].isin(table["frame"])].assign(support=False)
    table = pd.concat([table, empty], ignore_index=True).sort_values(["frame", "track"], ignore_index=True)
    table["track"] = table["track"].astype("Int64")
    table.insert(0, "video", face_video.video.name)
    return table


def write_affect_outputs(
    run: RunFolder,
    face_video: FaceVideo,
    tables: dict[str, pd.DataFrame],
    method: str,
    labels: pd.DataFrame,
    settings: VideoSettings,
) -> None:
    """Write plots, the exports for other programs, and the overlay of a video.

    Args:
        run: folder to write to.
        face_video: the video.
        tables: method → table of the video with valence and arousal, as `video_table` returns it.
        method: the method whose labels are exported; a plot shows them beside those of the baselines.
        labels: the given labels, as `support.ResolvedLabels.labels`; empty if there are none.
        settings: which exports to write, and whether to write the overlay.
    """
    video, chosen = face_video.video, tables[method]
    run.save_figure(f"{video.name}_plane.png", plane_figure(chosen.dropna(subset="track")))
    for track in face_video.tracks:
        rows = {name: table[table["track"] == track.number] for name, table in tables.items()}
        run.save_figure(f"{video.name}_track{track.number}.png", trace_figure(video.name, method, rows))
    export = VideoExport(video.name, video.path, video.fps, chosen, labels)
    for name in settings.export_names:
        EXPORTS[name](run.path, export)
    if settings.overlay:
        write_atomically(run.path / f"{video.name}_overlay.mp4", lambda path: write_overlay(path, video, chosen))


def track_summaries(table: pd.DataFrame, describe: Callable[[pd.DataFrame], dict[str, object]]) -> list[dict[str, Any]]:
    """One row per track of a video: the number of frames of the video, and a description of the track's labels.

    Args:
        table: of the video, as `video_table` returns it.
        describe: the rows of a track → further columns.
    """
    video, frames = table["video"].iloc[0], table["frame"].nunique()
    return [
        {"video": video, "track": track, "frames": frames, **describe(rows)}
        for track, rows in table.dropna(subset="track").groupby("track")
    ]


def summary_table(summaries: list[dict[str, Any]]) -> str:
    """The rows that `track_summaries` returned for all videos, as text."""
    return pd.DataFrame(summaries).fillna("").to_string(index=False, float_format="{:+.2f}".format)


def rater_table(labeller: Labeller, names: list[str]) -> pd.DataFrame:
    """One row per rater and axis: lag and its standard deviation in seconds, and the parameters of the ratings.

    Args:
        labeller: whose raters are fitted.
        names: of all sources of evidence.
    """
    first = labeller.source_count - len(labeller.rater_lags)
    rows = []
    for index, rater in enumerate(labeller.rater_lags, first):
        for name, axis in zip(AXES, labeller.calibration.axes, strict=True):
            rating = axis.with_evidence.sources[index]
            row = {"rater": names[index], "axis": name, "lag": rater.lag, "lag std": rater.lag_std}
            row |= {"gain": rating.gain, "bias": rating.bias, "offset std": rating.offset}
            rows.append(row | {"error std": float(np.hypot(rating.ou, rating.observation_noise))})
    return pd.DataFrame(rows)


def affect_ranges(labels: pd.DataFrame) -> dict[str, float]:
    """Mean, minimum and maximum of valence and arousal, for `track_summaries`."""
    statistics = labels[list(AXES)].agg(["mean", "min", "max"])
    return {f"{axis} {name}": statistics.loc[name, axis] for axis in AXES for name in statistics.index}
