"""Pairs videos with the files of their labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.annotations.formats import FORMATS, LABEL_ENDINGS
from datasets.video.reading import IMAGE_SUFFIXES
from utils.base.errors import DataError
from utils.base.text import listed, safe_name

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
    """List the videos at a path, each with the file of its labels.

    The labels of `clip.mp4` are `clip_labels.csv`, `clip.csv` or `clip.eaf`, for example.

    Args:
        video: a video file, a folder of frames, or a folder of video files.
        labels: the label file of a single video, or the folder that holds those of several; None: beside the videos.
        labels_required: whether a video without labels is an error. If labels names the folder of several videos, one
            of them needs labels.

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
    # In a folder of labels that is named, videos may be without: the program names those that need labels.
    if labels and any(_find_labels(path, labels, required=False) for path in videos):
        labels_required = False
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


class LabelledVideo(NamedTuple):
    """A video and all files of its labels.

    Attributes:
        video: a video file or a folder of frames.
        labels: files that `read_labels` reads, of one or several annotators.
    """

    video: Path
    labels: list[Path]


def find_labelled_videos(folder: Path, other_files: Sequence[str] = ()) -> list[LabelledVideo]:
    """List the videos and folders of frames in a folder, each with the files of its labels beside it.

    The labels of `clip.mp4` are the first of the files that `find_jobs` looks for, and `clip_labels_<annotator>.csv`
    of each annotator.

    Args:
        folder: the folder.
        other_files: names of files in the folder that hold no labels, although their endings are those of labels.

    Raises:
        DataError: there is no video, a video has no labels, labels have no video, or two videos have the same name.
    """
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")] if folder.is_dir() else []
    videos = [path for path in entries if path.suffix.lower() in VIDEO_ENDINGS or _holds_images(path)]
    if not videos:
        raise DataError(f"{folder}: no video found; expected videos or folders of frames there, with their labels")
    stems = [video.stem for video in videos]
    duplicate = next((video for video in videos if stems.count(video.stem) > 1), None)
    if duplicate:
        raise DataError(f"{duplicate}: another video of {folder} has the same name; rename one of them")
    suffixes = tuple(suffix for entry in FORMATS for suffix in entry.suffixes)
    files = [path for path in entries if path.name.lower().endswith(suffixes) and path.name not in other_files]
    orphans = [path.name for path in files if not any(_is_label_file(path, video) for video in videos)]
    if orphans:
        raise DataError(
            f"{folder}: labels without a video of the same name: {listed(orphans)}; add the videos, or rename or "
            "remove these files"
        )
    found = [LabelledVideo(video, _label_files(video, files)) for video in videos]
    without = [video.video.name for video in found if not video.labels]
    if without:
        raise DataError(
            f"{folder}: videos without labels beside them: {listed(without)}; label them, or move them away (the "
            f"labels of clip.mp4 are {', '.join('clip' + ending for ending in LABEL_ENDINGS)})"
        )
    return found


def _holds_images(path: Path) -> bool:
    return path.is_dir() and any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in path.iterdir())


def _is_label_file(path: Path, video: Path) -> bool:
    """Whether the file holds labels of the video, by its name; NOVA keeps each axis in two files of its own."""
    is_nova = path.name.startswith(f"{video.stem}.") and ".annotation" in path.suffix
    return is_nova or path.name in {video.stem + ending for ending in LABEL_ENDINGS} or _is_of_annotator(path, video)


def _is_of_annotator(path: Path, video: Path) -> bool:
    return path.name.startswith(f"{video.stem}_labels_") and path.suffix == ".csv"


def _label_files(video: Path, files: list[Path]) -> list[Path]:
    main = _find_labels(video, video.parent, required=False)
    return [*([main] if main else []), *(path for path in files if _is_of_annotator(path, video))]
