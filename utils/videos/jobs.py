"""Pairs videos with the files of their labels."""

from pathlib import Path
from typing import NamedTuple

from datasets.annotations.formats import LABEL_ENDINGS
from utils.base.errors import DataError
from utils.base.text import safe_name

VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


class VideoJob(NamedTuple):
    """A video and the file of its support labels.

    Attributes:
        video: a video file or a folder of frames.
        labels: a file that `read_labels` reads; None: no label yet.
    """

    video: Path
    labels: Path | None


def find_jobs(video: Path, labels: Path | None, labels_required: bool = True) -> list[VideoJob]:
    """Lists the videos at a path, each with the file of its labels.

    The labels of `clip.mp4` are `clip_labels.csv`, `clip.csv` or `clip.eaf`, for example.

    Args:
        video: a video file, a folder of frames, or a folder of video files.
        labels: the label file of a single video, or the folder that holds those of several; None: beside the videos.
        labels_required: whether a video without labels is an error.

    Raises:
        DataError: a label file is missing, or two videos of the folder have the same name.
    """
    entries = sorted(video.iterdir()) if video.is_dir() else []
    videos = [path for path in entries if path.suffix.lower() in VIDEO_ENDINGS]
    if not videos:
        if labels and video.exists() and not labels.is_file():
            raise DataError(f"{labels}: there is no such label file; check the path")
        return [VideoJob(video, labels or _find_labels(video, video.parent, labels_required))]
    if labels is not None and not labels.is_dir():
        raise DataError(
            f"{labels}: {video} holds {len(videos)} videos; name the folder that holds a label file for each of them"
        )
    names = [safe_name(path.stem) for path in videos]
    duplicate = next((path for path, name in zip(videos, names, strict=True) if names.count(name) > 1), None)
    if duplicate:
        raise DataError(
            f"{duplicate}: another video in this folder has the same name, so their outputs would overwrite each "
            "other; rename one of them"
        )
    return [VideoJob(path, _find_labels(path, labels or video, labels_required)) for path in videos]


def _find_labels(video: Path, folder: Path, required: bool) -> Path | None:
    """The label file of the video in this folder."""
    names = [video.stem + ending for ending in LABEL_ENDINGS]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    if not required:
        return None
    raise DataError(
        f"{video}: no labels; name them by --labels, a CSV with frame or time, valence and arousal in [-1, 1]"
        f" (looked for {', '.join(names)} in {folder})"
    )
