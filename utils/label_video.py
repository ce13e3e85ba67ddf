"""The user's own videos, labelled from the frames that a person has labelled."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.annotations import AXES
from datasets.elan import write_elan
from datasets.frames import DataError
from datasets.labels import read_labels
from datasets.nova import write_nova
from datasets.tracks import BOX
from models.mtclar import MTCLAR
from utils.agreement import annotator_agreement
from utils.audit import audit, doubt_columns
from utils.calibration import fusion_for_videos
from utils.embed import EmbeddingCache
from utils.errors import about_file
from utils.face_video import FaceVideo, Track, read_face_video
from utils.files import write_whole
from utils.fusion import Fusion
from utils.labelling import Anchors, Labels, label_by_time, label_clip, see_clip
from utils.overlay import write_overlay
from utils.plots import plane_figure, trace_figure
from utils.run_folder import RunFolder
from utils.runtime import Runtime
from utils.settings import LabelSettings
from utils.support_set import BASELINES
from utils.video_jobs import Job
from utils.video_support import Placed, anchors_of, place_labels


class LabelledVideos:
    """Labels one video after the other into one run folder, which is made when the first one is done.

    A video of several that cannot be labelled is reported and passed over; `report` then ends with its error.
    """

    def __init__(self, model: MTCLAR, checkpoint: Path, settings: LabelSettings, runtime: Runtime):
        self.model, self.settings, self.runtime = model, settings, runtime
        self.cache = EmbeddingCache(checkpoint.parent / "embeddings", checkpoint, runtime)
        self.fusion = fusion_for_videos(checkpoint)
        self.run: RunFolder | None = None
        self.tables: list[pd.DataFrame] = []
        self.doubts: list[pd.DataFrame] = []
        self.agreements: list[pd.DataFrame] = []
        self.errors: list[str] = []
        self.notes: list[str] = []

    def label(self, job: Job) -> None:
        try:
            seen = read_face_video(job.video, self.model, self.cache, self.settings)
            labels = read_labels(job.labels, seen.timeline, self.settings.tier)
            placed = place_labels(labels, seen, self.settings.support_set.annotator_error)
            rule = self.settings.support_set.rule
            found = label_video(self.model, seen, placed, rule, self.fusion, self.runtime)
            self.run = self.run or RunFolder.create(self.settings, "fsl_mtclar")
            self._keep(seen, placed, found)
            write_video_outputs(self.run, seen, found.tables, self.settings)
        except DataError as error:
            self.errors.append(about_file(error, job.video))
            return
        if seen.video.truncated:
            self.notes.append(f"{job.video}: {seen.video.truncated.decoded} of {seen.video.truncated.expected} frames "
                              "could be decoded; these are labelled")  # fmt: skip

    def report(self) -> None:
        """The closing tables. Raises DataError where a video was passed over."""
        if self.run:
            for heading, tables in (
                ("annotators agree so far:", self.agreements),
                ("support labels that the others contradict:", self.doubts),
            ):
                if tables:
                    text = pd.concat(tables).to_string(index=False, float_format="{:.2f}".format)
                    print(f"\n{heading}\n{text}")
            notes = "".join(f"\n{note}" for note in self.notes)
            print(f"\n{video_table(pd.concat(self.tables))}\n{notes}\nrun folder  {self.run.path}")
        if self.errors:
            raise DataError("\n".join(self.errors))

    def _keep(self, seen: FaceVideo, placed: Placed, found: "VideoLabels") -> None:
        self.tables.append(found.tables[self.settings.support_set.rule])
        self.run.save_table("labels.csv", pd.concat(self.tables))
        agreement = annotator_agreement(placed.single)
        for kept, name, table in (
            (self.doubts, "audit.csv", found.doubts),
            (self.agreements, "agreement.csv", agreement.assign(video=seen.video.name)),
        ):
            if len(table):
                kept.append(table)
                self.run.save_table(name, pd.concat(kept))


class VideoLabels(NamedTuple):
    """What was found for one video."""

    tables: dict[str, pd.DataFrame]
    """method → table of all frames: a row a frame and labelled track, and a row with empty labels for each frame
    without any."""
    doubts: pd.DataFrame
    """A row a support label that the others contradict: video, track, and the columns of `audit.doubt_columns`."""


def label_video(
    model: MTCLAR, seen: FaceVideo, placed: Placed, rule: str, fusion: Fusion, runtime: Runtime
) -> VideoLabels:
    """Labels the chosen tracks by this rule and by the baselines, and audits their support-sets."""
    tables: dict[str, list[pd.DataFrame]] = {}
    doubts = []
    for track in seen.tracks:
        clip = see_clip(model, runtime, track.embeddings, track.faces["time"].to_numpy())
        anchors = anchors_of(track, seen, placed.means)
        found = label_clip(model, runtime, clip, anchors, rule, fusion)
        tables.setdefault(rule, []).append(_track_table(track, anchors, found))
        for baseline in BASELINES:
            found = label_by_time(clip.times, anchors, baseline)
            tables.setdefault(baseline, []).append(_track_table(track, anchors, found))
        for doubt in audit(clip, anchors, fusion):
            doubts.append({"video": seen.video.name, "track": track.number} | doubt_columns(doubt, anchors))
    whole = {method: with_empty_frames(pd.concat(parts), seen) for method, parts in tables.items()}
    return VideoLabels(whole, pd.DataFrame(doubts))


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


def _track_table(track: Track, anchors: Anchors, labels: Labels) -> pd.DataFrame:
    table = track.faces[["track", "frame", "time"]].assign(**labels.columns(anchors))
    return table.join(track.faces[[*BOX, "score"]])


def with_empty_frames(table: pd.DataFrame, seen: FaceVideo) -> pd.DataFrame:
    """The table by frame and track, with a row for each frame of the video that it does not hold."""
    frames = seen.faces.drop_duplicates("frame")[["frame", "time"]]
    empty = frames[~frames["frame"].isin(table["frame"])].assign(support=False)
    whole = pd.concat([table, empty], ignore_index=True).sort_values(["frame", "track"], ignore_index=True)
    whole["track"] = whole["track"].astype("Int64")
    whole.insert(0, "video", seen.video.name)
    return whole

