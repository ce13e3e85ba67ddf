"""Suggests which frames of the user's own videos to label next."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from datasets.annotations.labels import read_labels
from datasets.columns import AXES, BOX
from datasets.images import shrink_to_width
from datasets.video.jobs import VideoJob
from datasets.video.reading import Video
from utils.base.errors import DataError
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.labelling.build_labeller import labeller_for_videos
from utils.labelling.calibration.file import calibration_input
from utils.labelling.sources import EvidenceSources
from utils.labelling.types import EncodedClip
from utils.plots import frame_sheet
from utils.videos.face_video import FaceVideo
from utils.videos.job_runner import VideoJobRunner
from utils.videos.records import VideoRecord
from utils.videos.support import (
    ResolvedLabels,
    adapt_to_videos,
    anchors_for_track,
    encode_tracks,
    estimate_errors,
    reader_of_sources,
    resolve_labels,
)

SHEET_WIDTH = 480  # width in pixels of a frame on the contact sheet
BOX_COLOUR = (255, 190, 60)


class SuggestionRunner(VideoJobRunner):
    """Suggests frames of a video to label; writes a CSV to fill in and a contact sheet of the frames.

    Attributes:
        tables: of each video, a row per suggestion.
    """

    def __init__(self, sources: EvidenceSources, settings: LabelSettings, runtime: Runtime):
        labeller = labeller_for_videos(sources, runtime)
        super().__init__(reader_of_sources(sources, labeller, settings, runtime), settings, sources.inputs)
        self.label_settings = settings
        self.count, self.tier = settings.suggest, settings.tier
        self.support = settings.support_set
        self.sources, self.labeller = sources, labeller
        self.inputs.append(calibration_input(sources.only_checkpoint, self.labeller.calibration))
        self.tables: list[pd.DataFrame] = []

    def prepare(self, jobs: list[VideoJob]) -> None:
        """Fit the sources of evidence that are not calibrated to all videos."""
        names = self.sources.names
        self.labeller = adapt_to_videos(self.labeller, self.reader, jobs, names, self.label_settings)

    def process_video(self, face_video: FaceVideo, labels: Path | None) -> VideoRecord:
        """Suggest frames of one video, given the labels in the file, if there is one."""
        known = read_labels(labels, face_video.timeline, self.tier) if labels else None
        suggestions = self._suggest(face_video, known)
        if suggestions.empty:
            raise DataError("every frame that shows the face has a label; there is nothing left to suggest")
        name = face_video.video.name
        self.tables.append(suggestions.assign(video=name))
        run = self.open_run_folder()
        run.save_table(f"{name}_to_label.csv", label_template(suggestions, known))
        run.save_figure(f"{name}_to_label.png", contact_sheet(face_video, suggestions))
        return VideoRecord()

    def summary(self) -> str:
        """The suggested frames of all videos, and what to do with them."""
        return (
            f"frames whose labels are expected to help most\n\n{self.suggestion_table(pd.concat(self.tables))}\n\n"
            "Fill in the labels in *_to_label.csv and pass the file as --labels.\n"
        )

    def suggestion_table(self, suggestions: pd.DataFrame) -> str:
        """The rows of suggestions, as in `tables`, as text."""
        columns = ["video", "track", "order", "frame", "time", "expected error", "error with label"]
        return suggestions[columns].to_string(index=False, float_format="{:.3f}".format)

    def resolve(
        self, face_video: FaceVideo, labels: pd.DataFrame | None
    ) -> tuple[dict[int, EncodedClip], ResolvedLabels | None, float]:
        """The encoded tracks by number, the labels so far, and the standard deviation of a further label."""
        clips, error = encode_tracks(self.labeller, face_video), self.support.known_error
        resolved = None if labels is None else resolve_labels(labels, face_video, error)
        if resolved and self.support.annotator_error == "auto":
            resolved, errors = estimate_errors(resolved, face_video, clips, self.labeller.calibration)
            error = max(errors.values(), default=error)
        return clips, resolved, error

    def _suggest(self, face_video: FaceVideo, labels: pd.DataFrame | None) -> pd.DataFrame:
        """One row per suggestion: track, frame, time, face box, order, expected error, error with label."""
        clips, resolved, error = self.resolve(face_video, labels)
        tables = []
        for track in face_video.tracks:
            clip = clips[track.number]
            anchors = resolved and anchors_for_track(track, face_video, resolved.means)
            suggestions = self.labeller.suggest_set(clip, anchors, self.count, (error, error))
            indices = [suggestion.frame_index for suggestion in suggestions]
            rows = track.faces.iloc[indices][["track", "frame", "time", *BOX]]
            scores = {
                "order": np.arange(1, len(suggestions) + 1),
                "expected error": [suggestion.error_before for suggestion in suggestions],
                "error with label": [suggestion.error_after for suggestion in suggestions],
            }
            tables.append(rows.assign(**scores))
        return pd.concat(tables, ignore_index=True)


def label_template(suggestions: pd.DataFrame, labels: pd.DataFrame | None) -> pd.DataFrame:
    """The labels so far, and a row to fill in for each suggestion, in the columns that `read_labels` reads."""
    return merged_labels(suggestions[["frame", "track"]].assign(valence=np.nan, arousal=np.nan), labels)


def merged_labels(rows: pd.DataFrame, labels: pd.DataFrame | None) -> pd.DataFrame:
    """The labels so far and further rows, in the columns that `read_labels` reads.

    Args:
        rows: frame, track, valence and arousal. They get the annotator of `labels`, if it is a single one.
        labels: the labels so far, as `read_labels` returns them.
    """
    if labels is not None:
        annotators = labels["annotator"].unique()
        rows = rows.assign(annotator=annotators[0] if len(annotators) == 1 else "")
        known = labels[["frame", "track", *AXES, "annotator"]].round(dict.fromkeys(AXES, 4))
        rows = pd.concat([known, rows]) if len(rows) else known
    return rows.sort_values("frame", kind="stable", ignore_index=True)


def contact_sheet(face_video: FaceVideo, suggestions: pd.DataFrame) -> Figure:
    """A figure of the suggested frames, in the order of the suggestions, with the face box drawn in."""
    pictures = read_frames(face_video.video, set(suggestions["frame"]))
    scale = min(1.0, SHEET_WIDTH / face_video.video.size[0])
    several_tracks = suggestions["track"].nunique() > 1
    return frame_sheet(
        [
            (
                _draw_box(pictures[row.frame], row, scale),
                f"{row.order}. frame {row.frame}, {row.time:.2f} s" + f", track {row.track}" * several_tracks,
            )
            for row in suggestions.itertuples()
        ]
    )


def read_frames(video: Video, frames: set[int]) -> dict[int, np.ndarray]:
    """Read frames of a video in one pass: frame number → image (H, W, 3) uint8 RGB, at most SHEET_WIDTH wide."""
    images, last = {}, max(frames)
    for frame, _, image in video:
        if frame in frames:
            images[frame] = shrink_to_width(image, SHEET_WIDTH)
        if frame >= last:
            break
    return images


def _draw_box(image: np.ndarray, row: NamedTuple, scale: float) -> np.ndarray:
    """A copy of the image with the face box of the row, scaled to the image."""
    left, top, right, bottom = (int(round(getattr(row, edge) * scale)) for edge in BOX)
    return cv2.rectangle(image.copy(), (left, top), (right, bottom), BOX_COLOUR, 2)
