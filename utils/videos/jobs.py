"""Which videos to work on, and where their labels lie."""

from pathlib import Path
from typing import NamedTuple

from datasets.frames import DataError
from datasets.video import safe_name

LABEL_ENDINGS = ("_labels.csv", ".csv", "_labels.tsv", ".eaf", ".valence.annotation")
VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


class Job(NamedTuple):
    """A video and the file of its support labels; None where there are none yet."""

    video: Path
    labels: Path | None


def find_jobs(video: Path, labels: Path | None, needed: bool = True) -> list[Job]:
    """One video with its labels, or a folder of videos, each with a file of labels of its name beside it.

    The labels of `clip.mp4` are `clip_labels.csv`, `clip.csv` or `clip.eaf`, beside it or in the folder `labels`.
    needed: refuse a video without.
    """
    inside = sorted(video.iterdir()) if video.is_dir() else []
    videos = [path for path in inside if path.suffix.lower() in VIDEO_ENDINGS]
    if not videos:
        if labels and video.exists() and not labels.is_file():
            raise DataError(f"{labels}: there is no such file of labels; check the path")
        return [Job(video, labels or _labels_beside(video, video.parent, needed))]
    if labels is not None and not labels.is_dir():
        raise DataError(f"{labels}: {video} holds {len(videos)} videos; name the folder that holds a CSV for each")
    names = [safe_name(path.stem) for path in videos]
    twice = next((path for path, name in zip(videos, names, strict=True) if names.count(name) > 1), None)
    if twice:
        raise DataError(f"{twice}: another video there has the same name, and their outputs would mix; rename one")
    return [Job(path, _labels_beside(path, labels or video, needed)) for path in videos]


def _labels_beside(video: Path, folder: Path, needed: bool) -> Path | None:
    names = [video.stem + ending for ending in LABEL_ENDINGS]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    if not needed:
        return None
    raise DataError(
        f"{video}: no labels; name them by --labels, a CSV with frame or time, valence and arousal in [-1, 1]"
        f" (looked for {', '.join(names)} in {folder})"
    )
