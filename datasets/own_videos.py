"""Reader of the user's own labelled videos: a folder of videos and folders of frames, with their labels beside them.

::

    <root>/clip.mp4     <root>/clip_labels.csv          in any format of `datasets.annotations`, of one or more people
    <root>/talk/1.png … <root>/talk_labels_Ada.csv
    <root>/people.csv                                   optional: video, track, person

A clip of the frame table is a face track with at least one label. All of its frames are rows; those that nobody
labelled have neither valence nor arousal. Labels of several annotators are averaged.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from datasets.annotations.duplicates import refuse_duplicates
from datasets.annotations.labels import read_labels
from datasets.annotations.timeline import Timeline
from datasets.columns import AXES
from datasets.frames import FrameBuilder, is_labelled
from datasets.people import FILE_NAME, PersonRow, people_of_tracks, read_people
from datasets.video.cached_tracks import cached_face_tracks, short_hash, tracks_key
from datasets.video.face_images import cached_face_images
from datasets.video.jobs import LabelledVideo, find_labelled_videos
from datasets.video.reading import DEFAULT_FPS, Video, open_video
from datasets.video.tracks import choose_tracks
from utils.base.errors import DataError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

DETECT_EVERY = 3
"""Faces are detected in every n-th frame; boxes in between are interpolated."""

NO_FACE = "labelled frame that shows no face"


class TrackedVideo(NamedTuple):
    """A video and the faces in it.

    Attributes:
        video: the video.
        faces: as from `datasets.video.tracks.track_faces`.
        cache: path of the cached files of this video, without suffix.
    """

    video: Video
    faces: pd.DataFrame
    cache: Path


def read_own_videos(
    root: str | Path,
    cache: Path,
    fps: float = DEFAULT_FPS,
    strict: bool = False,
    device: "torch.device | None" = None,
) -> pd.DataFrame:
    """Read a folder of labelled videos as a frame table with the column ``time``.

    A clip has the name of its video, with ``.track<n>`` appended if several tracks of the video are labelled. The
    subject is the person in people.csv; without that file, every video shows a person of its own.

    Args:
        root: the folder, see above.
        cache: folder in which face tracks and face images are kept, so that each video is searched for faces once.
        fps: frames per second of folders of frames.
        strict: raise an error for labels of frames that show no face; otherwise they are left out and counted.
        device: where to run the face detector, see `datasets.video.detector.FaceDetector`.

    Raises:
        DataError: a video has no labels, labels have no video, or a video, its labels or people.csv are invalid.
        StorageError: the cache cannot be written.
    """
    root = Path(root).expanduser().absolute()
    videos = find_labelled_videos(root, [FILE_NAME])
    people = None
    if (root / FILE_NAME).exists():
        people = read_people(root / FILE_NAME, [video.video for video in videos])
    else:
        logger.warning("%s: no %s, so every video counts as another person", root, FILE_NAME)
    builder = FrameBuilder(root, strict)
    for labelled in tqdm(videos, "reading videos", unit="video", disable=None):
        tracked = _track(labelled.video, cache, fps, device)
        labels = _mean_labels(labelled, tracked, builder)
        if len(labels):
            builder.add(_rows(tracked, labels, None if people is None else people[labelled.video.stem]))
    frames = builder.build()
    logger.info(
        "%s: %d videos, %d labelled clips of %d people; %d of %d frames are labelled",
        root,
        len(videos),
        frames["clip"].nunique(),
        frames["subject"].nunique(),
        is_labelled(frames).sum(),
        len(frames),
    )
    return frames


def _track(path: Path, cache: Path, fps: float, device: "torch.device | None") -> TrackedVideo:
    video = open_video(path, fps)
    cached = cache.absolute() / "videos" / short_hash(tracks_key(path, DETECT_EVERY, fps))
    return TrackedVideo(video, cached_face_tracks(video, cached, DETECT_EVERY, device), cached)


def _mean_labels(labelled: LabelledVideo, tracked: TrackedVideo, builder: FrameBuilder) -> pd.DataFrame:
    """Read the labels of a video: track, frame, valence and arousal, averaged over annotators, one row per face."""
    frames = tracked.faces.drop_duplicates("frame")
    timeline = Timeline(frames["frame"].to_numpy(), frames["time"].to_numpy())
    rows = []
    for file in labelled.labels:
        table = read_labels(file, timeline)
        if file.name.startswith(prefix := f"{labelled.video.stem}_labels_"):
            table["annotator"] = table["annotator"].replace("", file.stem.removeprefix(prefix))
        for label, track in _tracks_of_labels(table, tracked.faces, builder):
            rows.append((track, label.frame, label.annotator, label.valence, label.arousal, label.where))
    labels = pd.DataFrame(rows, columns=["track", "frame", "annotator", *AXES, "where"])
    refuse_duplicates(labels)
    return labels.groupby(["track", "frame"], as_index=False)[list(AXES)].mean()


def _tracks_of_labels(labels: pd.DataFrame, faces: pd.DataFrame, builder: FrameBuilder) -> Iterator[tuple[Any, int]]:
    """Yield each label, a row of `labels`, and the track that it refers to; labels without a face are counted."""
    shown: dict[int, list[int]] = {frame: [] for frame in labels["frame"]}
    known = faces[faces["frame"].isin(shown) & (faces["track"] >= 0)]
    for frame, track in known[["frame", "track"]].itertuples(index=False):
        shown[frame].append(track)
    longest = choose_tracks(faces)[0] if (faces["track"] >= 0).any() else None
    for label in labels.itertuples():
        if shown[label.frame]:
            yield label, _track_of_label(label, shown[label.frame], longest)
        else:
            builder.leave_out(NO_FACE, label.where)


def _track_of_label(label: Any, shown: list[int], longest: int | None) -> int:
    """Find the track that a label refers to.

    Args:
        label: a row of the table of labels.
        shown: the tracks in its frame.
        longest: the longest track of the video, which labels without a track mean if they could mean several.
    """
    tracks = ", ".join(map(str, shown))
    if not pd.isna(label.track):
        if label.track in shown:
            return int(label.track)
        raise DataError(
            f"{label.where}: frame {label.frame} shows track {tracks}, not {label.track}; correct the column `track`, "
            "or label another frame"
        )
    if len(shown) == 1:
        return shown[0]
    if longest in shown:
        return longest
    raise DataError(
        f"{label.where}: frame {label.frame} shows tracks {tracks}; add a column `track` that tells which of them the "
        "label refers to"
    )


def _rows(tracked: TrackedVideo, labels: pd.DataFrame, people: list[PersonRow] | None) -> pd.DataFrame:
    """All rows of the labelled tracks of a video, for a frame table."""
    path, tracks = tracked.video.path, labels["track"].unique().tolist()
    subjects = dict.fromkeys(tracks, path.stem)
    if people is not None:
        subjects = people_of_tracks(people, tracked.faces, tracks, path)
    images = cached_face_images(tracked.video, tracked.faces, tracks, tracked.cache)
    rows = images.merge(labels, how="left", on=["track", "frame"])
    names = {track: f"{path.stem}.track{track}" if len(tracks) > 1 else path.stem for track in tracks}
    return rows.assign(
        clip=rows["track"].map(names), subject=rows["track"].map(subjects), expression=np.full(len(rows), -1)
    )
