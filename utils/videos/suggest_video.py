"""Which frames of a user's own videos to label next."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from datasets.annotations import AXES
from datasets.frames import DataError
from datasets.labels import read_labels
from datasets.tracks import BOX
from datasets.video import Video
from models.mtclar import MTCLAR
from utils.fused.calibration import fusion_for_videos
from utils.fused.suggest import suggest
from utils.labelling import fuse, fuse_unlabelled, see_clip
from utils.plots import frame_sheet
from utils.runtime import Runtime
from utils.settings import LabelSettings
from utils.videos.face_video import FaceVideo
from utils.videos.support import anchors_of, place_labels
from utils.videos.work import VideoWork

SHEET_WIDTH = 480  # pixels of a frame on the contact sheet


class SuggestedFrames(VideoWork):
    """Names frames of videos; the run folder gets a CSV to fill in and a picture of each."""

    def __init__(self, model: MTCLAR, checkpoint: Path, settings: LabelSettings, runtime: Runtime):
        super().__init__(model, checkpoint, settings, runtime)
        self.fusion = fusion_for_videos(checkpoint)

    def work_on(self, seen: FaceVideo, labels: Path | None) -> None:
        given = read_labels(labels, seen.timeline, self.settings.tier) if labels else None
        found = self._suggestions(seen, given)
        if found.empty:
            raise DataError("every frame that shows the face has a label; there is nothing left to suggest")
        self.tables.append(found.assign(video=seen.video.name))
        run = self.run_folder()
        run.save_table(f"{seen.video.name}_to_label.csv", template(found, given))
        run.save_figure(f"{seen.video.name}_to_label.png", contact_sheet(seen, found))

    def closing_tables(self) -> str:
        table = pd.concat(self.tables)[["video", "track", "order", "frame", "time", "before", "after"]]
        table = table.rename(columns={"before": "expected error", "after": "with its label"})
        text = table.to_string(index=False, float_format="{:.3f}".format)
        return f"frames whose labels would help most\n\n{text}\n\nto fill in and give as --labels: *_to_label.csv\n"

    def _suggestions(self, seen: FaceVideo, labels: pd.DataFrame | None) -> pd.DataFrame:
        """A row a suggestion: track, order, frame, time, before, after, and the face box."""
        settings = self.settings.support_set
        placed = None if labels is None else place_labels(labels, seen, settings.annotator_error)
        parts = []
        for track in seen.tracks:
            clip = see_clip(self.model, self.runtime, track.embeddings, track.faces["time"].to_numpy())
            if placed is None:
                posteriors = fuse_unlabelled(clip, self.fusion)
            else:
                anchors = anchors_of(track, seen, placed.means)
                posteriors = fuse(self.model, self.runtime, clip, anchors, self.fusion)
            found = suggest(posteriors, self.settings.suggest, (settings.annotator_error,) * 2)
            rows = track.faces.iloc[[one.place for one in found]][["track", "frame", "time", *BOX]]
            scores = {name: [getattr(one, name) for one in found] for name in ("before", "after")}
            parts.append(rows.assign(order=np.arange(1, len(found) + 1), **scores))
        return pd.concat(parts, ignore_index=True)


def template(found: pd.DataFrame, labels: pd.DataFrame | None) -> pd.DataFrame:
    """The labels so far, and a row to fill in for each suggestion: what `read_labels` reads."""
    table = found[["frame", "track"]].assign(valence=np.nan, arousal=np.nan)
    if labels is not None:
        names = labels["annotator"].unique()
        table["annotator"] = names[0] if len(names) == 1 else ""
        said = labels[["frame", "track", *AXES, "annotator"]].round(dict.fromkeys(AXES, 4))
        table = pd.concat([said, table])
    return table.sort_values("frame", kind="stable", ignore_index=True)


def contact_sheet(seen: FaceVideo, found: pd.DataFrame):
    """The suggested frames in order of use, with the face box."""
    pictures = read_frames(seen.video, set(found["frame"]))
    scale = min(1.0, SHEET_WIDTH / seen.video.size[0])
    several = found["track"].nunique() > 1
    return frame_sheet([
        (
            _boxed(pictures[row.frame], row, scale),
            f"{row.order}. frame {row.frame}, {row.time:.2f} s" + f", track {row.track}" * several,
        )
        for row in found.itertuples()
    ])  # fmt: skip


def read_frames(video: Video, wanted: set[int]) -> dict[int, np.ndarray]:
    """Frame number → picture (H, W, 3) uint8 RGB, made smaller; one pass over the video."""
    found, last = {}, max(wanted)
    for frame, _, image in video:
        if frame in wanted:
            scale = min(1.0, SHEET_WIDTH / image.shape[1])
            found[frame] = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if frame >= last:
            break
    return found


def _boxed(image: np.ndarray, row, scale: float) -> np.ndarray:
    left, top, right, bottom = (int(round(getattr(row, edge) * scale)) for edge in BOX)
    return cv2.rectangle(image.copy(), (left, top), (right, bottom), (255, 190, 60), 2)
