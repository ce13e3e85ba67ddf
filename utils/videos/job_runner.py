"""Runs the same processing on several videos: shares the work among ranks, reports what failed, prints a summary."""

import contextlib
import logging
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from datasets.video.jobs import VideoJob
from utils.base.errors import DataError, message_with_path
from utils.compute import ranks
from utils.config.labelling import LabelSettings
from utils.config.manifest import Input
from utils.config.supervised import SLSettings
from utils.runs.manifest import LABELS_FOLDER, check_inputs, finish_run, interrupted_run, open_run, path_input
from utils.runs.run_folder import RunFolder
from utils.videos.face_video import FaceVideo, VideoReader
from utils.videos.progress import Progress
from utils.videos.records import FILE_NAME, INDEX_NAME, VideoRecord, VideoRecords

log = logging.getLogger(__name__)


class VideoJobRunner(ABC):
    """Processes videos and writes the results into one run folder, which is created for the first result.

    Attributes:
        reader: reads the videos.
        script: name of the script, under which run folders are created.
        resumable: whether an interrupted run continues after its last video.
        inputs: what the results depend on, for the manifest; `run` adds the videos and their labels.
        run_folder: the run folder; None: no result so far.
        records: of the videos processed so far.
    """

    script: ClassVar[str] = "fsl_mtclar"
    resumable: ClassVar[bool] = False

    def __init__(self, reader: VideoReader, settings: LabelSettings | SLSettings, inputs: list[Input]):
        """Start without results.

        Args:
            reader: reads the videos.
            settings: the settings of the script.
            inputs: what the results depend on besides the videos and their labels.
        """
        self.reader, self.settings, self.inputs = reader, settings, inputs
        self.run_folder: RunFolder | None = None
        self.records = VideoRecords(None)
        self._several_videos = False

    def run(self, jobs: list[VideoJob]) -> None:
        """Process all videos and print the summary; a video that cannot be processed is skipped.

        Several ranks share the reading of the videos. Rank 0 then processes all of them from the cache. If the same run
        was interrupted, it goes on in the same run folder, after the last video that it finished.

        Raises:
            DataError: at the end, if a video was skipped; the message names each of them and its problem. If the run
                repeats another one: an input has changed, or the results differ.
        """
        for job in jobs:
            self.inputs.append(path_input("video", job.video))
            self.inputs += [path_input("labels", job.labels)] if job.labels else []
        check_inputs(self.settings, self.inputs)
        self._fill_cache(jobs)
        if not ranks.is_rank_zero():
            return
        self.prepare(jobs)
        self._several_videos = len(jobs) > 1
        if self.resumable:
            self._resume()
        errors = self._process(jobs)
        try:
            self.complete()
        except DataError as error:
            raise DataError("\n".join([*errors, str(error)])) from None
        if self.run_folder and len(self.records):
            print("", self.summary(), *self.records.notes, f"run folder  {self.run_folder.path}", sep="\n")
            if self.records.path:
                self.records.path.unlink(missing_ok=True)
            finish_run(self.settings, self.run_folder, self.reader.backends_used)
        if errors:
            raise DataError("\n".join(errors))

    def prepare(self, jobs: list[VideoJob]) -> None:  # noqa: B027  # Most runners need no preparation.
        """Is called once, before the first video is processed, with all videos."""

    def complete(self) -> None:
        """Is called once, after the last video. Writes the tables of all videos."""
        if self.run_folder:
            tables = self.records.tables
            if not self._several_videos:
                tables.pop(INDEX_NAME, None)
            for name, table in tables.items():
                self.run_folder.save_table(name, table)

    @abstractmethod
    def process_video(self, face_video: FaceVideo, labels: Path | None) -> VideoRecord:
        """Process one video and write its results.

        Args:
            face_video: the video, its faces and their embeddings.
            labels: file of its support labels.

        Returns:
            What the run keeps of the video. A run that is not resumable may return an empty record.

        Raises:
            DataError: the video or its labels cannot be used.
        """

    @abstractmethod
    def summary(self) -> str:
        """The tables to print after the last video."""

    def open_run_folder(self) -> RunFolder:
        """Return the run folder, which is created at the first call."""
        self.run_folder = self.run_folder or open_run(self.settings, self.script, self.inputs)
        return self.run_folder

    def save_labels(self, face_video: FaceVideo, table: pd.DataFrame) -> dict[str, object]:
        """Write the table of a video: labels.csv, or labels/<video>.csv if the run has several videos.

        Returns:
            The row of the video in index.csv, to which the runner may add columns.
        """
        name, timeline = face_video.video.name, face_video.timeline
        self.open_run_folder()
        path = self._labels_folder.save_table(f"{name}.csv" if self._several_videos else "labels.csv", table)
        return {
            "video": name,
            "file": path.relative_to(self.open_run_folder().path).as_posix(),
            "frames": len(timeline.frames),
            "seconds": round(float(timeline.times[-1] - timeline.times[0] + timeline.step), 3),
            "tracks": len(face_video.tracks),
            "labelled": int(table["track"].notna().sum()),
        }

    @cached_property
    def _labels_folder(self) -> RunFolder:
        """The folder of the tables of videos."""
        run = self.open_run_folder()
        return run.subfolder(LABELS_FOLDER) if self._several_videos else run

    def _resume(self) -> None:
        """Open the run folder of the same run if it was interrupted, and read which videos it has finished."""
        self.run_folder = interrupted_run(self.settings, self.script, self.inputs)
        if self.run_folder:
            self.records = VideoRecords(self.run_folder.path / FILE_NAME)
            log.info("%s: continuing this run; videos done: %d", self.run_folder.path, len(self.records))

    def _process(self, jobs: list[VideoJob]) -> list[str]:
        """Process the videos that are not finished; return the problems of those that cannot be processed."""
        errors = []
        progress = Progress(len(jobs), len(self.records))
        for job in jobs:
            if job.video in self.records:
                continue
            try:
                face_video = self.reader.read(job.video)
                record = self.process_video(face_video, job.labels)
            except DataError as error:
                errors.append(message_with_path(error, job.video))
                continue
            if truncated := face_video.video.truncated:
                note = f"{job.video}: {truncated.decoded} of {truncated.expected} frames could be decoded"
                record = record._replace(note=note)
            if self.resumable and not self.records.path:
                self.records.path = self.open_run_folder().path / FILE_NAME
            self.records.add(job.video, record)
            progress.show(len(self.records) + len(errors), self.records.seconds)
        progress.close()
        return errors

    def _fill_cache(self, jobs: list[VideoJob]) -> None:
        """Read this rank's share of the videos, if there are several ranks, and wait for the other ranks."""
        if ranks.world_size() > 1:
            for job in jobs[ranks.rank() :: ranks.world_size()]:
                with contextlib.suppress(DataError):  # Rank 0 meets and reports the same error.
                    self.reader.read(job.video)
            ranks.barrier()
