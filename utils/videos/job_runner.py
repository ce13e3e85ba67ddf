"""Runs the same processing on several videos: shares the work among ranks, reports what failed, prints a summary."""

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import pandas as pd

from datasets.video.jobs import VideoJob
from models.emonet import EncodingNetwork
from utils.base.errors import DataError, message_with_path
from utils.compute import ranks
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.config.supervised import PredictSettings
from utils.runs.run_folder import RunFolder
from utils.videos.face_video import FaceVideo, read_face_video


class VideoJobRunner(ABC):
    """Processes videos and writes the results into one run folder, which is created for the first result.

    Attributes:
        script: name of the script, under which run folders are created.
        run_folder: the run folder; None: no result so far.
        tables: the result tables of the videos processed so far.
    """

    script: ClassVar[str] = "fsl_mtclar"

    def __init__(
        self, model: EncodingNetwork, checkpoint: Path, settings: LabelSettings | PredictSettings, runtime: Runtime
    ):
        """Prepares the cache of face tracks and embeddings, which is kept beside the checkpoint."""
        self.model, self.settings = model, settings
        self.cache = EmbeddingCache(checkpoint.parent / "embeddings", checkpoint, runtime)
        self.run_folder: RunFolder | None = None
        self.tables: list[pd.DataFrame] = []

    def run(self, jobs: list[VideoJob]) -> None:
        """Processes all videos and prints the summary; a video that cannot be processed is skipped.

        Several ranks share the reading of the videos. Rank 0 then processes all of them from the cache.

        Raises:
            DataError: at the end, if a video was skipped; the message names each of them and its problem.
        """
        self._fill_cache(jobs)
        if not ranks.is_rank_zero():
            return
        errors, notes = [], []
        for job in jobs:
            try:
                face_video = self._read(job)
                self.process_video(face_video, job.labels)
            except DataError as error:
                errors.append(message_with_path(error, job.video))
                continue
            if truncated := face_video.video.truncated:
                notes.append(f"{job.video}: {truncated.decoded} of {truncated.expected} frames could be decoded")
        if self.run_folder:
            print("", self.summary(), *notes, f"run folder  {self.run_folder.path}", sep="\n")
        if errors:
            raise DataError("\n".join(errors))

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
        self.run_folder = self.run_folder or RunFolder.create(self.settings, self.script)
        return self.run_folder

    def _read(self, job: VideoJob) -> FaceVideo:
        return read_face_video(job.video, self.model, self.cache, self.settings)

    def _fill_cache(self, jobs: list[VideoJob]) -> None:
        """Reads this rank's share of the videos, if there are several ranks, and waits for the other ranks."""
        if ranks.world_size() > 1:
            for job in jobs[ranks.rank() :: ranks.world_size()]:
                with contextlib.suppress(DataError):  # Rank 0 meets and reports the same error.
                    self._read(job)
            ranks.barrier()
