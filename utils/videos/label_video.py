"""The user's own videos, labelled from the frames that a person has labelled."""

import logging
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.annotations import AXES
from datasets.elan import write_elan
from datasets.labels import read_labels
from datasets.nova import write_nova
from datasets.tracks import BOX
from models.mtclar import MTCLAR
from utils.files import write_whole
from utils.fused.agreement import annotator_agreement
from utils.fused.audit import audit, doubt_columns
from utils.fused.calibration import fusion_for_videos
from utils.fused.fusion import Fusion
from utils.labelling import Anchors, Labels, label_by_time, label_clip, see_clip
from utils.plots import plane_figure, trace_figure
from utils.run_folder import RunFolder
from utils.runtime import Runtime
from utils.settings import LabelSettings
from utils.support_set import BASELINES
from utils.videos.face_video import FaceVideo, Track
from utils.videos.overlay import write_overlay
from utils.videos.support import Placed, anchors_of, place_labels
from utils.videos.work import VideoWork

log = logging.getLogger(__name__)


class LabelledVideos(VideoWork):
    """Labels videos."""

    def __init__(self, model: MTCLAR, checkpoint: Path, settings: LabelSettings, runtime: Runtime):
        super().__init__(model, checkpoint, settings, runtime)
        self.fusion = fusion_for_videos(checkpoint)
        self.doubts: list[pd.DataFrame] = []
        self.agreements: list[pd.DataFrame] = []

    def work_on(self, seen: FaceVideo, labels: Path) -> None:
        given = read_labels(labels, seen.timeline, self.settings.tier)
        placed = place_labels(given, seen, self.settings.support_set.annotator_error)
        found = label_video(self.model, seen, placed, self.settings.support_set.rule, self.fusion, self.runtime)
        self._keep(seen, placed, found)
        write_video_outputs(self.run_folder(), seen, found.tables, self.settings)

    def closing_tables(self) -> str:
        parts = [
            f"{heading}\n{pd.concat(tables).to_string(index=False, float_format='{:.2f}'.format)}\n"
            for heading, tables in (
                ("annotators agree so far:", self.agreements),
                ("support labels that the others contradict:", self.doubts),
            )
            if tables
        ]
        return "\n".join([*parts, f"{video_table(pd.concat(self.tables))}\n"])

    def _keep(self, seen: FaceVideo, placed: Placed, found: "VideoLabels") -> None:
        run = self.run_folder()
        self.tables.append(found.tables[self.settings.support_set.rule])
        run.save_table("labels.csv", pd.concat(self.tables))
        agreement = annotator_agreement(placed.single)
        for kept, name, table in (
            (self.doubts, "audit.csv", found.doubts),
            (self.agreements, "agreement.csv", agreement.assign(video=seen.video.name)),
        ):
            if len(table):
                kept.append(table)
                run.save_table(name, pd.concat(kept))


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
        if found.misread:
            log.warning("%s, track %d: its labels say that the network misreads %s in this face; between labels the "
                        "estimate follows time rather than the face, so label more frames",
                        seen.video.name, track.number, " and ".join(found.misread))  # fmt: skip
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

