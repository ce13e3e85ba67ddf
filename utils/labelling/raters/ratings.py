"""The raters: people whose continuous ratings of the user's own videos are evidence. Matches files to videos by name.

In a folder of videos, the ratings of `clip.mp4` are all files whose name is `clip` or begins with `clip` and a
character that is neither a letter nor a digit, such as `clip_anna_valence.csv`. A rater may have a file for each axis.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from datasets.annotations.rating_files import name_of_rater
from datasets.annotations.ratings import read_rating
from datasets.columns import AXES
from datasets.video.jobs import find_jobs
from utils.base.errors import DataError
from utils.base.text import listed
from utils.config.labelling import LabelSettings
from utils.config.manifest import Input
from utils.labelling.clip_rating import ClipRating
from utils.runs.manifest import path_input

UNNAMED = "rater"  # the name of a rater whom neither the file nor its name tells


class RatedAxis(NamedTuple):
    """A rating of one axis of a video: its file, times (T,) in seconds, and values (T,), all finite."""

    path: Path
    times: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class RatingSource:
    """A rater.

    Attributes:
        name: name of the rater.
        videos: video → index of an axis → rating.
    """

    name: str
    videos: Mapping[Path, dict[int, RatedAxis]]
    checkpoint: ClassVar[None] = None
    relative: ClassVar[bool] = False

    @property
    def inputs(self) -> list[Input]:
        """The files of the ratings, for the manifest."""
        paths = dict.fromkeys(rating.path for axes in self.videos.values() for rating in axes.values())
        return [path_input("rating", path) for path in paths]

    def of_video(self, video: Path, times: list[np.ndarray]) -> ClipRating | None:
        """The rating of a video; None: this person did not rate it.

        Args:
            video: the video.
            times: the times of each face track, in seconds.

        Raises:
            DataError: the rating has no value while a track is shown.
        """
        axes = self.videos.get(video)
        if not axes:
            return None
        for rating in axes.values():
            start, end = rating.times[0], rating.times[-1]
            if not any(start <= track[-1] and end >= track[0] for track in times):
                raise DataError(
                    f"{rating.path}: rates {start:.1f} to {end:.1f} s, but the face in {video} is shown from "
                    f"{min(track[0] for track in times):.1f} to {max(track[-1] for track in times):.1f} s; check that "
                    "it rates this video, and that its times are seconds from the start of the video"
                )
        nothing = np.empty(0)
        return ClipRating([axes[axis][1:] if axis in axes else (nothing, nothing) for axis in range(len(AXES))])


def load_ratings(settings: LabelSettings) -> tuple[RatingSource, ...]:
    """Read the files that the setting `ratings` names; one source for each rater, in the order of their files.

    Raises:
        DataError: a file cannot be read or belongs to no video, a folder holds no rating of the videos, or a rater
            rated an axis of a video twice.
    """
    folder = settings.video or settings.annotate
    if not settings.ratings or folder is None:
        return ()
    videos = [job.video for job in find_jobs(folder, None, labels_required=False)]
    raters: dict[str, dict[Path, dict[int, RatedAxis]]] = {}
    for entry in settings.ratings:
        for path, video in _files_of_entry(entry, videos):
            rating = read_rating(path)
            axes = raters.setdefault(_name(rating.rater, video), {}).setdefault(video, {})
            for axis, values in enumerate(rating.values.T):
                known = np.isfinite(values)
                if known.any():
                    other = axes.setdefault(axis, RatedAxis(path, rating.times[known], values[known]))
                    if other.path.resolve() != path.resolve():
                        raise DataError(
                            f"{path}: {other.path} is a rating of {AXES[axis]} by the same person; pass one of them, "
                            "or put the names of the raters into the names of the files"
                        )
    return tuple(RatingSource(name, videos_of_rater) for name, videos_of_rater in raters.items())


def _files_of_entry(entry: Path, videos: list[Path]) -> list[tuple[Path, Path]]:
    """The files that an entry of the setting names, each with its video."""
    if not entry.is_dir():
        video = videos[0] if len(videos) == 1 else _video_of(entry, videos)
        if video is None:
            raise DataError(
                f"{entry}: its name begins with that of no video; rename it like {videos[0].stem}_rater{entry.suffix}"
            )
        return [(entry, video)]
    files = [path for path in sorted(entry.iterdir()) if path.is_file() and not path.name.startswith(".")]
    pairs = [(path, video) for path in files if path not in videos and (video := _video_of(path, videos))]
    pairs = [(path, video) for path, video in pairs if not path.name.startswith(f"{video.stem}_labels")]
    if not pairs:
        raise DataError(
            f"{entry}: holds no rating of {listed([video.name for video in videos])}; the name of a rating begins with "
            "that of its video"
        )
    return pairs


def _video_of(path: Path, videos: list[Path]) -> Path | None:
    """The video with the longest name with which the name of a rating begins."""
    named = [
        video
        for video in videos
        if path.name.startswith(video.stem) and not path.name.removeprefix(video.stem)[:1].isalnum()
    ]
    return max(named, key=lambda video: len(video.stem), default=None)


def _name(rater: str, video: Path) -> str:
    """Name of a rater, without that of the video, as in `clip_anna` for clip.mp4."""
    video_name = name_of_rater(Path(f"{video.stem}.csv"))
    if rater == video_name or rater.startswith(f"{video_name}_"):
        rater = rater.removeprefix(video_name).strip("_")
    return rater or UNNAMED
