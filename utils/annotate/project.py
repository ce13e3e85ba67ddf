"""The videos of the page: prepared at the start, listed by expected error, and labelled together by Finish."""

import contextlib
import logging
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.annotations.labels import read_labels
from datasets.people import FILE_NAME
from datasets.video.jobs import VideoJob, find_jobs
from datasets.video.random_access import VideoFrames
from utils.annotate.archive import Archive
from utils.annotate.label_file import COLUMNS, LabelFile, files_of_all_annotators, label_path
from utils.annotate.people import TrackPeople
from utils.annotate.playback import Playback
from utils.annotate.rating_file import RatingFile, rating_path
from utils.annotate.session import Session
from utils.annotate.shared_estimates import SharedEstimates
from utils.base.errors import DataError
from utils.base.files import write_text
from utils.base.text import safe_text
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.labelling.anchors import FUSED
from utils.labelling.build_labeller import labeller_for_videos
from utils.labelling.raters.ratings import RatingSource, load_ratings
from utils.labelling.sources import EvidenceSources
from utils.runs.run_folder import csv_text
from utils.videos.image_similarity import ImageSimilarity
from utils.videos.label_video import LabellingRunner
from utils.videos.support import reader_of_sources, resolve_labels

log = logging.getLogger(__name__)


class ProjectVideo(NamedTuple):
    """A video of the project.

    Attributes:
        path: the video.
        session: its labels; None: it cannot be labelled, because of `problem`.
        frames: its frames, to be shown; None as for `session`.
        playback: what the browser plays; None as for `session`.
        problem: why the video cannot be labelled.
    """

    path: Path
    session: Session | None = None
    frames: VideoFrames | None = None
    playback: Playback | None = None
    problem: str = ""


class Project:
    """The videos that `--annotate` names, with their labels by one annotator.

    Attributes:
        settings: the settings of the script.
        videos: the videos, in the order of their names.
        people: who is shown in their tracks.
        archive: suggests the next frame to label in all of them.
    """

    def __init__(self, sources: EvidenceSources, settings: LabelSettings, runtime: Runtime):
        """Find and encode all faces, or read them from the cache; progress is shown on the terminal.

        One of several videos that cannot be labelled is listed with its problem.

        Raises:
            DataError: none of the videos can be labelled.
        """
        assert settings.annotate is not None, "the page is opened by the setting annotate"
        jobs = find_jobs(settings.annotate, None, labels_required=False)
        sources = sources._replace(raters=without_page_ratings(sources.raters, settings))
        self.sources, self.settings, self.runtime = sources, settings, runtime
        self.labeller = labeller_for_videos(sources, runtime)
        self.reader = reader_of_sources(sources, self.labeller, settings, runtime)
        if len(jobs) > 1 and settings.labels and not settings.labels.is_dir():
            raise DataError(f"{settings.labels}: {len(jobs)} videos need a label file each; name an existing folder")
        self.videos: list[ProjectVideo] = []
        for number, job in enumerate(jobs, 1):
            log.info("%s: preparing (%d of %d)", job.video, number, len(jobs))
            self.videos.append(self._prepare(job.video))
        if not any(video.session for video in self.videos):
            raise DataError("\n".join(video.problem for video in self.videos))
        self.people = self._read_people()
        sessions = {video.path: video.session for video in self.videos if video.session}
        shared = SharedEstimates(self.people, sessions)
        for session in sessions.values():
            session.shared_posteriors = partial(shared.posteriors, session)
        self.archive = Archive([video.session for video in self.videos], shared)

    def by_expected_error(self) -> list[int]:
        """Indices of the videos, the largest expected error first; those that cannot be labelled are last."""
        errors = [video.session.expected_error if video.session else -1.0 for video in self.videos]
        return sorted(range(len(self.videos)), key=lambda index: -errors[index])

    def finish(self) -> tuple[Path, str]:
        """Label every video that has labels or a rating, by any annotator, as fsl_mtclar.py does.

        Returns:
            The run folder, and the problems of videos that failed, or an empty string.

        Raises:
            DataError: nothing was written.
        """
        sources, settings = self.with_ratings()
        rated = {path for rater in sources.raters for path in rater.videos}
        with tempfile.TemporaryDirectory() as folder:
            jobs = [job for job in self.jobs(Path(folder)) if job.labels or job.video in rated]
            jobs, settings = self.with_people(jobs, settings, Path(folder))
            runner = LabellingRunner(sources, settings, self.runtime)
            problem = run_jobs(runner, jobs)
        if not runner.run_folder:
            raise DataError(problem or "there are no labels and no ratings yet")
        return runner.run_folder.path, problem

    def jobs(self, folder: Path) -> list[VideoJob]:
        """All videos, each with the file of its labels by all annotators, joined into one file in `folder`."""
        jobs = []
        for video in self.videos:
            files = files_of_all_annotators(video.session.file.path, video.path) if video.session else []
            labels = join_labels(files, video.session, folder) if video.session and files else None
            jobs.append(VideoJob(video.path, labels))
        return jobs

    def close(self) -> None:
        """Stop what is still being prepared."""
        for video in self.videos:
            if video.playback:
                video.playback.close()

    def with_ratings(self) -> tuple[EvidenceSources, LabelSettings]:
        """The sources and settings with the ratings that were made on the page, by all annotators."""
        files = list(self.settings.ratings)
        for video in self.videos:
            if video.session:
                files += files_of_all_annotators(video.session.rating_file.path, video.path, "rating")
        files = [path for index, path in enumerate(files) if path.resolve() not in map(Path.resolve, files[:index])]
        settings = self.settings.model_copy(update={"ratings": files})
        return self.sources._replace(raters=load_ratings(settings)), settings

    def _read_people(self) -> TrackPeople:
        """Who is shown, from people.csv in the folder of the labels. Raises DataError."""
        paths = [video.path for video in self.videos]
        face_videos = [video.session.face_video for video in self.videos if video.session]
        image_similarity = ImageSimilarity()
        for face_video in face_videos:
            image_similarity.add(self.reader, face_video)
        folder = label_path(paths[0], self.settings.labels, self.settings.annotator).parent
        return TrackPeople(folder / FILE_NAME, face_videos, paths, image_similarity)

    def with_people(
        self, jobs: list[VideoJob], settings: LabelSettings, folder: Path
    ) -> tuple[list[VideoJob], LabelSettings]:
        """Add what labels of people who are shown in several tracks need.

        Args:
            jobs: videos and their labels.
            settings: the settings of the script.
            folder: where people.csv is written.

        Returns:
            The jobs, and one for each other video that shows a labelled person; the settings with people.csv. Without
            people in several tracks, both as they were.
        """
        people = self.people
        if not people.has_joined_tracks or settings.support_set.rule != FUSED:
            return jobs, settings
        labelled = self._labelled_people(jobs)
        used = {job.video for job in jobs}
        jobs = jobs + [
            VideoJob(video.path, None)
            for video in self.videos
            if video.session and video.path not in used
            if any(people.names[video.path, track] in labelled for track in video.session.tracks)
        ]
        file = folder / FILE_NAME
        write_text(file, csv_text(people.table([job.video for job in jobs])))
        return jobs, settings.model_copy(update={"people": file})

    def _labelled_people(self, jobs: list[VideoJob]) -> set[str]:
        """Names of the people whom the jobs have labels of."""
        labels = {job.video: job.labels for job in jobs}
        people = set()
        for video in self.videos:
            session, file = video.session, labels.get(video.path)
            if session and file:
                with contextlib.suppress(DataError):  # The runner reports labels that cannot be used.
                    resolved = resolve_labels(read_labels(file, session.timeline), session.face_video)
                    people |= {self.people.names[video.path, int(track)] for track in resolved.labels["track"]}
        return people

    def _prepare(self, path: Path) -> ProjectVideo:
        settings = self.settings
        try:
            face_video = self.reader.read(path)
            csv = label_path(path, settings.labels, settings.annotator)
            file = LabelFile(csv, face_video.timeline, settings.annotator)
            rating_file = RatingFile(_rating_path(path, settings), settings.annotator)
            session = Session(face_video, self.labeller, file, rating_file, settings.support_set.annotator_error)
            session.expected_error  # noqa: B018  # computed here, while the terminal shows the progress
            frames = VideoFrames(face_video.video, face_video.timeline)
            return ProjectVideo(path, session, frames, Playback(face_video.video, self.reader.folder / "proxies"))
        except DataError as error:
            return ProjectVideo(path, problem=str(error))


def run_jobs(runner: LabellingRunner, jobs: list[VideoJob]) -> str:
    """Run jobs; return the problems of the videos that failed, or an empty string."""
    try:
        runner.run(jobs)
    except DataError as error:
        return str(error)
    return ""


def without_page_ratings(raters: tuple[RatingSource, ...], settings: LabelSettings) -> tuple[RatingSource, ...]:
    """The raters without the files that the page itself reads and writes, which would count twice."""
    page_files = {video: _rating_path(video, settings).resolve() for rater in raters for video in rater.videos}
    return tuple(
        replace(
            rater,
            videos={
                video: {axis: rating for axis, rating in axes.items() if rating.path.resolve() != page_files[video]}
                for video, axes in rater.videos.items()
            },
        )
        for rater in raters
    )


def _rating_path(video: Path, settings: LabelSettings) -> Path:
    return rating_path(video, label_path(video, settings.labels, settings.annotator).parent, settings.annotator)


def join_labels(files: list[Path], session: Session, folder: Path) -> Path:
    """Join the labels of a video by several annotators.

    Args:
        files: label files of the video.
        session: the video.
        folder: where to write the joined file.

    Returns:
        The only file, or a new one with the labels of all files, each with the name of its annotator.
    """
    if len(files) == 1:
        return files[0]
    tables = []
    for path in files:
        labels = read_labels(path, session.timeline)
        tables.append(labels.assign(annotator=labels["annotator"].where(labels["annotator"] != "", path.stem)))
    joined = pd.concat(tables)
    joined["annotator"] = joined["annotator"].map(safe_text)
    path = folder / f"{session.face_video.video.name}_labels.csv"
    columns = [name for name in COLUMNS if name in joined and name != "note"]
    write_text(path, joined[columns].to_csv(index=False))
    return path
