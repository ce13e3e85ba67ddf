"""What all work on a user's own videos has in common: one after the other, a bad one among them, the report."""

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path

import pandas as pd
from torch import nn

from datasets.frames import DataError
from utils import ranks
from utils.embed import EmbeddingCache
from utils.errors import about_file
from utils.run_folder import RunFolder
from utils.runtime import Runtime
from utils.videos.face_video import FaceVideo, read_face_video
from utils.videos.jobs import Job


class VideoWork(ABC):
    """Works on videos into one run folder, which is made when the first one is done."""

    script = "fsl_mtclar"

    def __init__(self, model: nn.Module, checkpoint: Path, settings, runtime: Runtime):
        self.model, self.settings, self.runtime = model, settings, runtime
        self.cache = EmbeddingCache(checkpoint.parent / "embeddings", checkpoint, runtime)
        self.run: RunFolder | None = None
        self.tables: list[pd.DataFrame] = []

    def work(self, jobs: list[Job]) -> None:
        """All of them; the closing tables are printed last. A video that cannot be used is passed over.

        Several ranks share the reading of the videos; the first one goes on alone, from what they left in the cache.
        Raises DataError, at the end, where a video was passed over.
        """
        self._read_together(jobs)
        if not ranks.is_first():
            return
        errors, notes = [], []
        for job in jobs:
            try:
                seen = self._read(job)
                self.work_on(seen, job.labels)
            except DataError as error:
                errors.append(about_file(error, job.video))
                continue
            if cut := seen.video.truncated:
                notes.append(f"{job.video}: {cut.decoded} of {cut.expected} frames could be decoded")
        if self.run:
            print("", self.closing_tables(), *notes, f"run folder  {self.run.path}", sep="\n")
        if errors:
            raise DataError("\n".join(errors))

    @abstractmethod
    def work_on(self, seen: FaceVideo, labels: Path | None) -> None:
        """One video, with the file of its labels. Raises DataError where it cannot be used."""

    @abstractmethod
    def closing_tables(self) -> str: ...

    def run_folder(self) -> RunFolder:
        self.run = self.run or RunFolder.create(self.settings, self.script)
        return self.run

    def _read(self, job: Job) -> FaceVideo:
        return read_face_video(job.video, self.model, self.cache, self.settings)

    def _read_together(self, jobs: list[Job]) -> None:
        if ranks.count() > 1:
            for job in jobs[ranks.rank() :: ranks.count()]:
                with contextlib.suppress(DataError):  # the first rank's to report
                    self._read(job)
            ranks.wait()
