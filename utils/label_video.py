"""The user's own videos, labelled from the frames that a person has labelled."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from datasets.annotations import AXES
from datasets.elan import write_elan
from datasets.frames import DataError
from datasets.labels import read_labels
from datasets.nova import write_nova
from datasets.tracks import BOX
from datasets.video import safe_name
from models.mtclar import MTCLAR
from utils.embed import weights_key
from utils.face_video import FaceVideo, Track, read_face_video
from utils.files import write_whole
from utils.labelling import Anchors, Labels, label_by_time, label_clip, usable_rules
from utils.overlay import write_overlay
from utils.plots import plane_figure, trace_figure
from utils.run_folder import RunFolder
from utils.runtime import Runtime
from utils.settings import LabelSettings
from utils.support_set import BASELINES

LABEL_ENDINGS = ("_labels.csv", ".csv", "_labels.tsv", ".eaf", ".valence.annotation")
VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


class Job(NamedTuple):
    """A video and the file of its support labels."""

    video: Path
    labels: Path


def find_jobs(video: Path, labels: Path | None) -> list[Job]:
    """One video with its labels, or a folder of videos, each with a file of labels of its name beside it.

    The labels of `clip.mp4` are `clip_labels.csv`, `clip.csv` or `clip.eaf`, beside it or in the folder `labels`.
    """
    inside = sorted(video.iterdir()) if video.is_dir() else []
    videos = [path for path in inside if path.suffix.lower() in VIDEO_ENDINGS]
    if not videos:
        labels = labels or _labels_beside(video, video.parent)
        if video.exists() and not labels.is_file():
            raise DataError(f"{labels}: there is no such file of labels; check the path")
        return [Job(video, labels)]
    if labels is not None and not labels.is_dir():
        raise DataError(f"{labels}: {video} holds {len(videos)} videos; name the folder that holds a CSV for each")
    names = [safe_name(path.stem) for path in videos]
    twice = next((path for path, name in zip(videos, names, strict=True) if names.count(name) > 1), None)
    if twice:
        raise DataError(f"{twice}: another video there has the same name, and their outputs would mix; rename one")
    return [Job(path, _labels_beside(path, labels or video)) for path in videos]


def _labels_beside(video: Path, folder: Path) -> Path:
    names = [video.stem + ending for ending in LABEL_ENDINGS]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{video}: no labels; name them by --labels, a CSV with frame or time, valence and arousal in [-1, 1]"
        f" (looked for {', '.join(names)} in {folder})"
    )


class LabelledVideos:
    """Labels one video after the other into one run folder, which is made when the first one is done.

    A video of several that cannot be labelled is reported and passed over; `report` then ends with its error.
    """

    def __init__(self, model: MTCLAR, checkpoint: Path, settings: LabelSettings, runtime: Runtime):
        self.model, self.settings, self.runtime = model, settings, runtime
        self.weights = weights_key(checkpoint, runtime)
        self.cache = checkpoint.parent / "embeddings"
        self.run: RunFolder | None = None
        self.tables: list[pd.DataFrame] = []
        self.errors: list[str] = []
        self.notes: list[str] = []

    def label(self, job: Job) -> None:
        try:
            seen = read_face_video(job.video, self.model, self.weights, self.cache, self.settings, self.runtime)
            labels = read_labels(job.labels, seen.timeline, self.settings.tier)
            tables = label_video(self.model, seen, labels, self.runtime)
            self.run = self.run or RunFolder.create(self.settings, "fsl_mtclar")
            self.tables.append(tables[self.settings.support_set.rule])
            self.run.save_table("labels.csv", pd.concat(self.tables))
            write_video_outputs(self.run, seen, tables, self.settings)
        except DataError as error:
            self.errors.append(str(error))
            return
        if seen.video.truncated:
            self.notes.append(f"{job.video}: {seen.video.truncated.decoded} of {seen.video.truncated.expected} frames "
                              "could be decoded; these are labelled")  # fmt: skip

    def report(self) -> None:
        """The closing table. Raises DataError where a video was passed over."""
        if self.run:
            notes = "".join(f"\n{note}" for note in self.notes)
            print(f"\n{video_table(pd.concat(self.tables))}\n{notes}\nrun folder  {self.run.path}")
        if self.errors:
            raise DataError("\n".join(self.errors))


def write_video_outputs(run: RunFolder, seen: FaceVideo, tables: dict[str, pd.DataFrame], settings) -> None:
    """Plots, exports for ELAN and NOVA, and the overlay, of one video."""
    rule, video = settings.support_set.rule, seen.video
    chosen = tables[rule]
    run.save_figure(f"{video.name}_plane.png", plane_figure(chosen.dropna(subset="track")))
    for track in seen.tracks:
        parts = {method: table[table["track"] == track.number] for method, table in tables.items()}
        run.save_figure(f"{video.name}_track{track.number}.png", trace_figure(video.name, rule, parts))
    write_elan(run.path / f"{video.name}.eaf", chosen, video.path if video.path.is_file() else None)
    write_nova(run.path, video.name, chosen, video.fps)
    if settings.overlay:
        write_whole(run.path / f"{video.name}_overlay.mp4", lambda path: write_overlay(path, video, chosen))


def video_table(labels: pd.DataFrame) -> str:
    """A row a video and track: frames labelled, support frames, mean and range of both axes."""
    rows = []
    for (video, track), part in labels.dropna(subset="track").groupby(["video", "track"]):
        total = labels.loc[labels["video"] == video, "frame"].nunique()
        row = {"video": video, "track": track, "frames": total, "labelled": len(part), "support": part["support"].sum()}
        for axis in AXES:
            row |= {axis: part[axis].mean(), f"{axis} min": part[axis].min(), f"{axis} max": part[axis].max()}
        rows.append(row)
    return pd.DataFrame(rows).to_string(index=False, float_format="{:+.2f}".format)


def label_video(
    model: MTCLAR, seen: FaceVideo, labels: pd.DataFrame, runtime: Runtime
) -> dict[str, pd.DataFrame]:
    """method → table of all frames: a row a frame and labelled track, and a row with empty labels for each frame
    without any. labels: as `read_labels` gives them. Raises DataError for a label on a frame without a face.
    """
    given = place_labels(labels, seen)
    everywhere = _all_anchors(seen, given)
    tables: dict[str, list[pd.DataFrame]] = {}
    for track in seen.tracks:
        times = track.faces["time"].to_numpy()
        anchors = _track_anchors(track, given[given["track"] == track.number]) or everywhere
        for rule in usable_rules(True):
            found = label_clip(model, runtime, track.embeddings, times, anchors, rule)
            tables.setdefault(rule, []).append(_track_table(track, anchors, found))
        for baseline in BASELINES:
            found = label_by_time(times, anchors, baseline)
            tables.setdefault(baseline, []).append(_track_table(track, anchors, found))
    return {method: _with_empty_frames(pd.concat(parts), seen) for method, parts in tables.items()}


def place_labels(labels: pd.DataFrame, seen: FaceVideo) -> pd.DataFrame:
    """One row a labelled (track, frame) of the chosen tracks: track, frame, valence, arousal; annotators averaged."""
    chosen = {track.number for track in seen.tracks}
    rows = []
    for label in labels.itertuples():
        here = set(seen.faces.loc[(seen.faces["frame"] == label.frame) & (seen.faces["track"] >= 0), "track"])
        wanted = (here & chosen) if pd.isna(label.track) else ({int(label.track)} & here)
        if not wanted:
            raise DataError(f"{label.where}: {_why_not(label, here, chosen)}")
        if len(wanted) > 1:
            raise DataError(
                f"{label.where}: frame {label.frame} shows tracks {', '.join(map(str, sorted(wanted)))}; "
                "say in a column `track` whom the label means, or choose one by --track"
            )
        rows += [(number, label.frame, label.valence, label.arousal) for number in wanted & chosen]
    table = pd.DataFrame(rows, columns=["track", "frame", *AXES])
    if table.empty:
        raise DataError("none of the labels is of a chosen track; choose another one by --track")
    return table.groupby(["track", "frame"], as_index=False).mean()


def _why_not(label, here: set[int], chosen: set[int]) -> str:
    if not here:
        return f"frame {label.frame} shows no face; label another frame"
    there = f"frame {label.frame} shows track {', '.join(map(str, sorted(here)))}"
    if pd.isna(label.track):
        others = ", ".join(map(str, sorted(chosen)))
        return f"{there}, but {others} is to be labelled; label another frame, or choose another --track"
    return f"{there}, not {label.track}; correct the column `track`, or label another frame"


def _track_anchors(track: Track, given: pd.DataFrame) -> Anchors | None:
    """The support-set of one track; None where nobody has labelled it."""
    if given.empty:
        return None
    places = np.searchsorted(track.faces["frame"].to_numpy(), given["frame"].to_numpy())
    return Anchors(
        track.embeddings[torch.from_numpy(places)], given[list(AXES)].to_numpy(np.float64),
        track.faces["time"].to_numpy()[places], given["frame"].to_numpy(), places,
    )  # fmt: skip


def _all_anchors(seen: FaceVideo, given: pd.DataFrame) -> Anchors:
    """The support labels of all tracks, for tracks without any: deltas hold between people too."""
    parts = [_track_anchors(track, given[given["track"] == track.number]) for track in seen.tracks]
    parts = [part for part in parts if part is not None]
    times = np.concatenate([part.times for part in parts])
    order = np.argsort(times, kind="stable")
    return Anchors(
        torch.cat([part.embeddings for part in parts])[torch.from_numpy(order)],
        np.concatenate([part.labels for part in parts])[order], times[order],
        np.concatenate([part.frames for part in parts])[order], np.full(len(order), -1),
    )  # fmt: skip


def _track_table(track: Track, anchors: Anchors, labels: Labels) -> pd.DataFrame:
    table = track.faces[["track", "frame", "time"]].assign(**labels.columns(anchors))
    return table.join(track.faces[[*BOX, "score"]])


def _with_empty_frames(table: pd.DataFrame, seen: FaceVideo) -> pd.DataFrame:
    frames = seen.faces.drop_duplicates("frame")[["frame", "time"]]
    empty = frames[~frames["frame"].isin(table["frame"])].assign(support=False)
    whole = pd.concat([table, empty], ignore_index=True).sort_values(["frame", "track"], ignore_index=True)
    whole["track"] = whole["track"].astype("Int64")
    whole.insert(0, "video", seen.video.name)
    return whole

