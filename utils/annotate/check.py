"""A check on the page: frames drawn at random are labelled without their estimates, as with fsl_mtclar.py --check."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from utils.annotate.archive import ArchiveFrame
from utils.annotate.guarded_file import GuardedFile
from utils.annotate.history import History
from utils.annotate.project import Project, run_jobs
from utils.annotate.session import DECIMALS
from utils.base.errors import DataError
from utils.base.text import listed
from utils.runs.run_folder import RunFolder, csv_text
from utils.videos.check_files import (
    BOUNDS_NAME,
    DRAW_NAME,
    TEMPLATE_NAME,
    CheckDraw,
    CheckLabel,
    read_draw,
    read_given_labels,
)
from utils.videos.check_video import CheckDrawRunner


class Check:
    """A check of the project's videos, in the files of `fsl_mtclar.py --check`.

    Every change is on disk before a method returns. Otherwise NotSavedError is raised and nothing has changed. The
    labels cannot be changed after the bound has been computed.

    Attributes:
        path: check_to_label.csv; check.json lies beside it, and check.csv as soon as the bound has been computed.
        draw: the content of check.json.
        frames: the F drawn frames in the project's videos.
        annotator: name of the person who labels, or an empty string.
        labels: index of a drawn frame → its label.
    """

    def __init__(self, path: Path, draw: CheckDraw, frames: list[ArchiveFrame], annotator: str = ""):
        """Read the labels that the CSV holds already.

        Args:
            path: the CSV.
            draw: the content of check.json.
            frames: the drawn frames in the project's videos.
            annotator: name of the person who labels, or an empty string; kept beside each label.

        Raises:
            DataError: the CSV cannot be read.
        """
        self.path, self.draw, self.frames, self.annotator = path, draw, frames, annotator
        self._file = GuardedFile(path)
        given = read_given_labels(path, draw)
        self.labels = {index: given[frame.key] for index, frame in enumerate(draw.frames) if frame.key in given}
        self._history = History[int, CheckLabel | None](self._write)

    @property
    def first_unlabelled(self) -> int:
        """Index of the first frame without a label; 0 if all have one."""
        return self.next_unlabelled(-1) or 0

    @property
    def is_complete(self) -> bool:
        """Whether every drawn frame has a label."""
        return len(self.labels) == len(self.frames)

    @property
    def is_finished(self) -> bool:
        """Whether the bound has been computed."""
        return self.path.with_name(BOUNDS_NAME).exists()

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return self._history.can_undo and not self.is_finished

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return self._history.can_redo and not self.is_finished

    def label(self, index: int, valence: float, arousal: float) -> None:
        """Label a drawn frame; values are clipped to [-1, 1] and rounded.

        Raises:
            DataError: a value is not finite, or the bound has been computed.
        """
        if not (np.isfinite(valence) and np.isfinite(arousal)):
            raise DataError("a label needs two numbers")
        # Adding 0.0 turns -0.0 into 0.0.
        scores = [round(min(max(float(value), -1.0), 1.0), DECIMALS) + 0.0 for value in (valence, arousal)]
        self._change(index, CheckLabel(scores[0], scores[1], self.annotator))

    def delete(self, index: int) -> None:
        """Delete the label of a drawn frame. Raises DataError if the bound has been computed."""
        self._change(index, None)

    def undo(self) -> int | None:
        """Undo the last change and return the index of its frame; None: there is none."""
        change = self._history.undo()
        return change.target if change else None

    def redo(self) -> int | None:
        """Repeat the change that was undone last; return as `undo`."""
        change = self._history.redo()
        return change.target if change else None

    def next_unlabelled(self, index: int) -> int | None:
        """The first frame without a label after a frame, or else from the start; None: all have one."""
        order = [*range(index + 1, len(self.frames)), *range(index + 1)]
        return next((candidate for candidate in order if candidate not in self.labels), None)

    def bounds(self) -> pd.DataFrame:
        """The table `CheckDraw.table_of_bounds`; written to check.csv at the first call.

        Raises:
            DataError: a frame has no label: a bound from some frames only would not hold.
        """
        if not self.is_complete:
            raise DataError(f"{len(self.frames) - len(self.labels)} frames have no label yet; label all of them")
        table = self.draw.table_of_bounds(np.array([self.labels[index][:2] for index in range(len(self.frames))]))
        if not self.is_finished:
            RunFolder(self.path.parent).save_table(BOUNDS_NAME, table)
        return table

    def add_labels(self, project: Project) -> int:
        """Add the labels to those of the videos; return how many frames had no label before.

        Raises:
            NotSavedError: a file of labels cannot be written; the videos before it have their labels.
        """
        added = 0
        for index, label in sorted(self.labels.items()):
            video_index, track, frame = self.frames[index]
            session = project.videos[video_index].session
            assert session is not None, "find_frames has found the session"
            if (track, frame) not in session.labels:
                session.label(track, frame, label.valence, label.arousal)
                added += 1
        return added

    def _change(self, index: int, after: CheckLabel | None) -> None:
        before = self.labels.get(index)
        if after != before:
            self._history.change(index, before, after)

    def _write(self, index: int, label: CheckLabel | None) -> None:
        """Set or delete a label on disk, then in memory."""
        if self.is_finished:
            raise DataError("the bound has been shown, so the labels of this check stay; draw another check")
        labels = {**self.labels, index: label} if label else {i: s for i, s in self.labels.items() if i != index}
        table = self.draw.template({self.draw.frames[i].key: s for i, s in labels.items()})
        self._file.write(csv_text(table))
        self.labels = labels


def draw_check(project: Project, count: int) -> Check:
    """Draw frames from all videos that have labels or ratings.

    The run folder also gets the labels of the videos as they are now and, if a person is shown in several tracks,
    people.csv. With them, fsl_mtclar.py can go on.

    Args:
        project: the videos.
        count: number of draws.

    Raises:
        DataError: no video has labels or ratings, or too few frames are without a label.
    """
    sources, settings = project.with_ratings()
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder, "named")
        named.mkdir()
        jobs = []
        for job in project.jobs(Path(folder)):
            labels = job.labels and Path(shutil.copyfile(job.labels, named / f"{job.video.stem}_labels.csv"))
            jobs.append(job._replace(labels=labels))
        jobs, settings = project.with_people(jobs, settings, named)
        runner = CheckDrawRunner(sources, settings.model_copy(update={"check": str(count)}), project.runtime)
        problem = run_jobs(runner, jobs)  # Videos without labels are left out.
        if not runner.run_folder:
            raise DataError(problem)
        shutil.copytree(named, runner.run_folder.path, dirs_exist_ok=True)
    path = runner.run_folder.path / TEMPLATE_NAME
    frames = find_frames(project, runner.draw)
    assert frames is not None, "the draw is of these videos"
    return Check(path, runner.draw, frames, project.settings.annotator)


def find_check(project: Project) -> Check | None:
    """The newest check of the project's videos among the runs that this annotator can go on with; None: there is none.

    Raises:
        DataError: the CSV of a check cannot be read, or all checks with labels are of other annotators.
    """
    refusal = ""
    for path in sorted((project.settings.runs / CheckDrawRunner.script).glob(f"*/{DRAW_NAME}"), reverse=True):
        try:
            draw = read_draw(path.with_name(TEMPLATE_NAME))
        except DataError:  # of another version, or without its CSV
            continue
        frames = find_frames(project, draw)
        if not frames:
            continue
        check = Check(path.with_name(TEMPLATE_NAME), draw, frames, project.settings.annotator)
        problem = _other_annotators(check)
        if not problem:
            return check
        refusal = refusal or problem
    if refusal:
        raise DataError(refusal)
    return None


def _other_annotators(check: Check) -> str:
    """Why this annotator cannot go on with a check: a bound is about the labels of one person; empty: it is possible.

    Labels without a name in the column `annotator` are of whoever labels without --annotator. If other labels of the
    check have a name, all are of that person.
    """
    names = sorted({label.annotator for label in check.labels.values() if label.annotator})
    if not check.labels or names == ([check.annotator] if check.annotator else []):
        return ""
    whose = f"labels by {listed(names)}" if names else "labels that name no annotator"
    remedy = "choose another --annotator" if names else "start the page without --annotator"
    return f"{check.path}: holds {whose}; draw a check of your own, or {remedy} to go on with it"


def find_frames(project: Project, draw: CheckDraw) -> list[ArchiveFrame] | None:
    """The drawn frames in the project's videos; None: the check is of other videos."""
    indices = {
        video.session.face_video.video.name: index for index, video in enumerate(project.videos) if video.session
    }
    frames = []
    for drawn in draw.frames:
        index = indices.get(drawn.video, -1)
        session = project.videos[index].session if index >= 0 else None
        track = session.tracks.get(drawn.track) if session else None
        row = track.index_of(drawn.frame) if track else None
        if session is None or track is None or row is None:
            return None
        if abs(track.clip.times[row] - drawn.time) > session.timeline.step / 2:
            return None
        frames.append(ArchiveFrame(index, drawn.track, drawn.frame))
    return frames
