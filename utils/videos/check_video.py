"""Checks the labels of an archive of videos: draws frames to label, and bounds the error from their labels."""

import hashlib
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from datasets.annotations.labels import read_labels
from datasets.columns import AXES, BOX
from datasets.video.jobs import VideoJob
from utils.base.errors import DataError
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.config.manifest import Input
from utils.labelling.check import FrameDraw, draw_frames
from utils.labelling.sources import EvidenceSources
from utils.runs.manifest import input_changes, path_input
from utils.videos.check_files import (
    ASSUMPTIONS,
    BOUNDS_NAME,
    DRAW_NAME,
    FORMAT,
    TEMPLATE_NAME,
    CheckDraw,
    CheckedFrame,
    read_check_labels,
    read_draw,
)
from utils.videos.face_video import FaceVideo
from utils.videos.label_video import LabellingRunner, estimate_track
from utils.videos.records import VideoRecord
from utils.videos.suggest_video import contact_sheet, merged_labels
from utils.videos.support import anchors_for_track

log = logging.getLogger(__name__)

CHECK = "check"
"""Role of the files of a check among the inputs of a run."""


class EstimatedTrack(NamedTuple):
    """The frames without a given label of one track.

    Attributes:
        video: the video file, or folder of frames.
        number: number of the track.
        rows: (n,) rows of the frames among the faces of the track.
        estimates: (n, 2) estimated labels.
        variances: (n, 2) predictive variances.
    """

    video: Path
    number: int
    rows: np.ndarray
    estimates: np.ndarray
    variances: np.ndarray


class CheckDrawRunner(LabellingRunner):
    """Draws frames of an archive; writes check.json, check_to_label.csv, and contact sheets without estimates."""

    resumable = False

    def __init__(self, sources: EvidenceSources, settings: LabelSettings, runtime: Runtime):
        super().__init__(sources, settings, runtime)
        assert settings.check_count, "fsl_mtclar.py chooses this runner for a number of frames"
        self.count = settings.check_count
        self.estimated: list[EstimatedTrack] = []
        self.draw: CheckDraw

    def process_video(self, face_video: FaceVideo, labels: Path | None) -> VideoRecord:
        """Estimate the labels of all frames without a given label."""
        labellable, shared = self.labellable(face_video, labels)
        resolved, clips = self.labelled_clips(labellable, labels)
        for track in labellable.tracks:
            anchors = anchors_for_track(track, labellable, resolved.means) if len(resolved.means) else None
            estimates = shared.get(track.number) or estimate_track(self.labeller, clips[track.number], anchors)
            rows = np.arange(len(track.faces))
            if anchors is not None:
                rows = np.delete(rows, anchors.in_clip.indices)
            # An archive has millions of frames, so only what the draw needs is kept, in float32.
            kept = (estimates.labels.values[rows].astype(np.float32), estimates.variances.astype(np.float32))
            self.estimated.append(EstimatedTrack(face_video.video.path, track.number, rows.astype(np.int32), *kept))
        return VideoRecord()

    def complete(self) -> None:
        """Draw the frames, from the videos that can be used, and write the files."""
        if not self.estimated:
            return
        variances = np.concatenate([track.variances for track in self.estimated])
        if len(variances) <= self.count:
            raise DataError(
                f"only {len(variances)} frames are without a label; draw fewer than that by --check, or add videos"
            )
        drawn = draw_frames(variances, self.count, _generator(self.inputs))
        frames = self._save_sheets(drawn)
        expected = np.sqrt(variances.mean(0, dtype=np.float64))
        covered = {track.video for track in self.estimated}
        self.draw = CheckDraw(
            format=FORMAT,
            # Without folders, the files are the same wherever the archive lies.
            inputs=[file.model_copy(update={"path": Path(file.path).name}) for file in self.inputs],
            population=len(variances),
            expected=(float(expected[0]), float(expected[1])),
            frames=frames,
            uncovered=[job.video.name for job in self.jobs if job.video not in covered],
        )
        run = self.open_run_folder()
        run.save_json(DRAW_NAME, self.draw.model_dump())
        run.save_table(TEMPLATE_NAME, self.draw.template())

    def summary(self) -> str:
        """How many frames were drawn, and what to do with them."""
        videos = len({frame.video for frame in self.draw.frames})
        return (
            f"{len(self.draw.frames)} frames of {videos} videos drawn at random, from {self.draw.population} frames "
            f"without a label\n\nFill in all rows of {TEMPLATE_NAME} without looking at estimated labels. Then run the "
            f"same command with --check and the path of that file.\n{DRAW_NAME} beside it has the estimates: keep it, "
            "but do not read it before.\n"
        )

    def _save_sheets(self, drawn: FrameDraw) -> list[CheckedFrame]:
        """Write the contact sheet of each video with drawn frames; return these frames."""
        frames: list[CheckedFrame] = []
        for path, rows in self._drawn_rows(drawn).groupby("video", sort=False):
            face_video = self.reader.read(path)
            faces = {track.number: track.faces for track in face_video.tracks}
            table = pd.concat([faces[row.track].iloc[[row.face]] for row in rows.itertuples()])
            table = table[["track", "frame", "time", *BOX]].assign(order=len(frames) + 1 + np.arange(len(table)))
            sheet = contact_sheet(face_video, table)
            self.open_run_folder().save_figure(f"{face_video.video.name}_check.png", sheet)
            for face, row in zip(table.itertuples(), rows.itertuples(), strict=True):
                position = {"video": face_video.video.name, "track": row.track, "frame": face.frame, "time": face.time}
                frame = position | {"estimate": row.estimate, "draws": row.draws, "weight": row.weight}
                frames.append(CheckedFrame.model_validate(frame))
        return frames

    def _drawn_rows(self, drawn: FrameDraw) -> pd.DataFrame:
        """One row per drawn frame: video, track, face (row among its faces), estimate, draws and weight."""
        ends = np.cumsum([len(track.rows) for track in self.estimated])
        indices, first, draws = np.unique(drawn.indices, return_index=True, return_counts=True)
        rows = []
        for index, weight, count in zip(indices, drawn.weights[first], draws, strict=True):
            number = int(np.searchsorted(ends, index, side="right"))
            track, row = self.estimated[number], index - ends[number]  # `row` counts from the end of the track.
            estimate = tuple(track.estimates[row].tolist())
            rows.append((track.video, track.number, track.rows[row], estimate, count, weight))
        return pd.DataFrame(rows, columns=["video", "track", "face", "estimate", "draws", "weight"])


class CheckRunner(LabellingRunner):
    """Bounds the error of the labels of an archive from a filled-in check_to_label.csv; writes check.csv.

    Also writes <video>_labels.csv for each video that has any, with its labels and those of the check.
    """

    resumable = False

    def __init__(self, sources: EvidenceSources, settings: LabelSettings, runtime: Runtime):
        super().__init__(sources, settings, runtime)
        assert settings.check, "fsl_mtclar.py chooses this runner for a file"
        self.path = Path(settings.check)
        self.draw = read_draw(self.path)
        self.check_labels = read_check_labels(self.path, self.draw)
        self.inputs += [path_input(CHECK, self.path), path_input(CHECK, self.path.parent / DRAW_NAME)]

    def prepare(self, jobs: list[VideoJob]) -> None:
        """Check that the draw is of these videos, labels and networks."""
        now = [file for file in self.inputs if file.role != CHECK]
        if changes := input_changes(self.draw.inputs, now):
            raise DataError(
                f"{self.path}: was drawn for other labels, videos or networks ({changes}); name those that "
                "it was drawn for, or draw a new check"
            )

    def process_video(self, face_video: FaceVideo, labels: Path | None) -> VideoRecord:
        """Write the labels of a video together with those of the check."""
        known = read_labels(labels, face_video.timeline, self.label_settings.tier) if labels else None
        rows = [
            {"frame": frame.frame, "track": frame.track} | dict(zip(AXES, label, strict=True))
            for frame, label in zip(self.draw.frames, self.check_labels, strict=True)
            if frame.video == face_video.video.name
        ]
        table = merged_labels(pd.DataFrame(rows, columns=["frame", "track", *AXES]), known)
        if len(table):  # A video without labels may have no drawn frame either.
            self.open_run_folder().save_table(f"{face_video.video.path.stem}_labels.csv", table)
        return VideoRecord()

    def complete(self) -> None:
        """Write the table of bounds, and name the videos that it does not cover."""
        if self.run_folder:
            self.run_folder.save_table(BOUNDS_NAME, self.draw.table_of_bounds(self.check_labels))
            if not_covered := self.draw.not_covered:
                log.warning("%s", not_covered)

    def summary(self) -> str:
        """The bounds, what they assume, and what to do next."""
        table = self.draw.table_of_bounds(self.check_labels)
        return (
            f"error over {self.draw.population} frames without a label, from {len(self.draw.frames)} frames drawn at "
            f"random\n\n{table.to_string(index=False, float_format='{:.3f}'.format)}\n\n{ASSUMPTIONS}\n"
            "*_labels.csv hold all labels, those of the check included: pass them as --labels. For a bound of the new "
            "estimates, draw a new check.\n"
        )


def _generator(inputs: list[Input]) -> np.random.Generator:
    """Draw the frames. Its seed is the inputs' hash, so that nobody can draw again until the frames are favourable."""
    text = "".join(f"{file.role} {file.sha256}\n" for file in inputs)
    return np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest(), 16))
