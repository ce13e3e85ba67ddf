"""Runs the same processing on several videos: shares the work among ranks, reports what failed, prints a summary."""

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import pandas as pd

from datasets.video.jobs import VideoJob
from utils.base.errors import DataError, message_with_path
from utils.compute import ranks
from utils.config.labelling import LabelSettings
from utils.config.manifest import Input
from utils.config.supervised import PredictSettings
from utils.runs.manifest import check_inputs, finish_run, open_run, path_input
from utils.runs.run_folder import RunFolder
from utils.videos.face_video import FaceVideo, VideoReader


class VideoJobRunner(ABC):
    """Processes videos and writes the results into one run folder, which is created for the first result.

    Attributes:
        reader: reads the videos.
        script: name of the script, under which run folders are created.
        inputs: what the results depend on, for the manifest; `run` adds the videos and their labels.
        run_folder: the run folder; None: no result so far.
        tables: the result tables of the videos processed so far.
    """

    script: ClassVar[str] = "fsl_mtclar"

    def __init__(self, reader: VideoReader, settings: LabelSettings | PredictSettings, inputs: list[Input]):
        """Starts without results.

        Args:
            reader: reads the videos.
            settings: the settings of the script.
            inputs: what the results depend on besides the videos and their labels.
        """
        self.reader, self.settings, self.inputs = reader, settings, inputs
        self.run_folder: RunFolder | None = None
        self.tables: list[pd.DataFrame] = []

    def run(self, jobs: list[VideoJob]) -> None:
        """Processes all videos and prints the summary; a video that cannot be processed is skipped.

        Several ranks share the reading of the videos. Rank 0 then processes all of them from the cache.

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
        errors, notes = [], []
        for job in jobs:
            try:
                face_video = self.reader.read(job.video)
                self.process_video(face_video, job.labels)
            except DataError as error:
                errors.append(message_with_path(error, job.video))
                continue
            if truncated := face_video.video.truncated:
                notes.append(f"{job.video}: {truncated.decoded} of {truncated.expected} frames could be decoded")
        self.complete()
        if self.run_folder:
            print("", self.summary(), *notes, f"run folder  {self.run_folder.path}", sep="\n")
            finish_run(self.settings, self.run_folder, self.reader.back_ends_used)
        if errors:
            raise DataError("\n".join(errors))

    def prepare(self, jobs: list[VideoJob]) -> None:  # noqa: B027  # Most runners need no preparation.
        """Is called once, before the first video is processed, with all videos."""

    def complete(self) -> None:  # noqa: B027  # Most runners write their results video by video.
        """Is called once, after the last video."""

    @abstractmethod
    def process_video(self, face_video: FaceVideo, labels: Path | None) -> None:
        """Processes one video and writes its results.

        Args:
            face_video: the video, its faces and their embeddings.
            labels: file of its support labels.

        Raises:
            DataError: the video or its labels cannot be used.
        """

    @abstractmethod
    def summary(self) -> str:
        """The tables to print after the last video."""

    def open_run_folder(self) -> RunFolder:
        """Returns the run folder, which is created at the first call."""
        self.run_folder = self.run_folder or open_run(self.settings, self.script, self.inputs)
        return self.run_folder

    def _fill_cache(self, jobs: list[VideoJob]) -> None:
        """Reads this rank's share of the videos, if there are several ranks, and waits for the other ranks."""
        if ranks.world_size() > 1:
            for job in jobs[ranks.rank() :: ranks.world_size()]:
                with contextlib.suppress(DataError):  # Rank 0 meets and reports the same error.
                    self.reader.read(job.video)
            ranks.barrier()
