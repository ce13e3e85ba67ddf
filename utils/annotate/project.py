"""All videos of a session of labelling: prepared once, listed worst first, finished together."""

import logging
import tempfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.annotations import safe_text
from datasets.frames import DataError
from datasets.labels import read_labels
from datasets.video_frames import VideoFrames
from models.mtclar import MTCLAR
from utils.annotate.label_file import COLUMNS, LabelFile, all_annotators, label_path
from utils.annotate.session import Network, Session
from utils.embed import EmbeddingCache
from utils.files import write_text
from utils.fused.calibration import fusion_for_videos
from utils.labelling import see_clip
from utils.runtime import Runtime
from utils.settings import LabelSettings
from utils.videos.face_video import read_face_video
from utils.videos.jobs import Job, find_jobs
from utils.videos.label_video import LabelledVideos

log = logging.getLogger(__name__)


class Item(NamedTuple):
    """A video of the list."""

    path: Path
    session: Session | None
    """None: it cannot be labelled, as `problem` says."""
    frames: VideoFrames | None
    problem: str = ""


class Project:
    """The videos that `--annotate` names, with their labels by one annotator."""

    def __init__(self, model: MTCLAR, checkpoint: Path, settings: LabelSettings, runtime: Runtime):
        """Finds and encodes all faces, with progress on the terminal; what was done before comes from the cache.

        A video of several that cannot be labelled stays in the list with its problem. Raises DataError where none can.
        """
        self.model, self.checkpoint, self.settings, self.runtime = model, checkpoint, settings, runtime
        self.network = Network(model, runtime, fusion_for_videos(checkpoint))
        self.cache = EmbeddingCache(checkpoint.parent / "embeddings", checkpoint, runtime)
        jobs = find_jobs(settings.annotate, None, needed=False)
        if len(jobs) > 1 and settings.labels and not settings.labels.is_dir():
            raise DataError(f"{settings.labels}: {len(jobs)} videos need a file each; name an existing folder")
        self.items: list[Item] = []
        for number, job in enumerate(jobs, 1):
            log.info("%s: preparing (%d of %d)", job.video, number, len(jobs))
            self.items.append(self._prepare(job.video))
        if not any(item.session for item in self.items):
            raise DataError("\n".join(item.problem for item in self.items))

    def worst_first(self) -> list[int]:
        """Numbers of the items, by expected error; last those that cannot be labelled."""
        errors = [item.session.error if item.session else -1.0 for item in self.items]
        return sorted(range(len(self.items)), key=lambda number: -errors[number])

    def finish(self) -> tuple[Path, str]:
        """Labels every video with labels, as fsl_mtclar.py does, by those of all annotators of it.

        Returns the run folder, and what went wrong with some of the videos. Raises DataError where nothing was made.
        """
        videos, problem = LabelledVideos(self.model, self.checkpoint, self.settings, self.runtime), ""
        with tempfile.TemporaryDirectory() as folder:
            sessions = [(item.path, item.session) for item in self.items if item.session]
            files = {path: all_annotators(session.file.path, path) for path, session in sessions}
            jobs = [
                Job(path, joined_labels(files[path], session, Path(folder)))
                for path, session in sessions
                if files[path]
            ]
            try:
                videos.work(jobs)
            except DataError as error:
                problem = str(error)
        if not videos.run:
            raise DataError(problem or "nothing is labelled yet")
        return videos.run.path, problem

    def _prepare(self, path: Path) -> Item:
        try:
            video = read_face_video(path, self.model, self.cache, self.settings)
            clips = [
                see_clip(self.model, self.runtime, track.embeddings, track.faces["time"].to_numpy())
                for track in video.tracks
            ]
            place = label_path(path, self.settings.labels, self.settings.annotator)
            file = LabelFile(place, video.timeline, self.settings.annotator)
            session = Session(video, clips, self.network, file, self.settings.support_set.annotator_error)
            return Item(path, session, VideoFrames(video.video, video.timeline))
        except DataError as error:
            return Item(path, None, None, str(error))


def joined_labels(files: list[Path], session: Session, folder: Path) -> Path:
    """The one file, or one in `folder` with the labels of all files, each annotator by name."""
    if len(files) == 1:
        return files[0]
    tables = []
    for path in files:
        labels = read_labels(path, session.timeline)
        tables.append(labels.assign(annotator=labels["annotator"].where(labels["annotator"] != "", path.stem)))
    joined = pd.concat(tables)
    joined["annotator"] = joined["annotator"].map(safe_text)
    path = folder / f"{session.video.video.name}_labels.csv"
    write_text(path, joined[[name for name in COLUMNS if name in joined]].drop(columns="note").to_csv(index=False))
    return path
