"""Following each face through a video.

`track_faces` reads a video once and returns a table; `choose_tracks` selects people from it. Boxes are landmark boxes
(see `datasets.faces`).

=========================  ====================================================================================
column                     meaning
=========================  ====================================================================================
frame, time                number of the frame; seconds
track                      one number for each person and shot: 0, 1, 2 … in order of appearance; -1 = no face
left, top, right, bottom   landmark box in pixels, smoothed over time; NaN = no face
score                      of the detector, in (0, 1); NaN = no face, or the box is interpolated
=========================  ====================================================================================
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tqdm import tqdm

from datasets.columns import BOX
from datasets.faces import box_from_detection
from datasets.video.detector import MIN_SCORE, Detector, FaceDetector
from datasets.video.reading import Video
from datasets.video.shots import CutDetector
from utils.base.errors import DataError
from utils.base.threads import prefetch

COLUMNS = ["frame", "time", "track", *BOX, "score"]

PREFETCHED_FRAMES = 8
"""Decoded frames that may wait for the detector."""

IMAGES_PER_BATCH = 8
"""Images in which faces are detected together."""

MIN_TRACK_SCORE = 0.5
"""Score that a track must reach at least once."""

MIN_OVERLAP = 0.2
"""Lowest intersection over union of a track's predicted box and the face that continues it."""

LOST_SECONDS = 2.0
"""A face that reappears at the same position within this time continues its track."""

GAP_SECONDS = 0.25
"""Longest gap between detections that interpolation fills."""

SMOOTH_SECONDS = 0.4
"""Window of the smoothing filter, which is quadratic: slower movements pass unchanged."""

# Columns of the arrays (K, 7) that hold the faces of tracks: row of the frame, label of the track, box, score.
ROW, LABEL, EDGES, SCORE = 0, 1, slice(2, 6), 6


@dataclass
class _FoundFaces:
    """The frames of a video, and the faces in those that were searched.

    Attributes:
        frames: number of each frame.
        times: seconds of each frame.
        shots: for each shot, the faces (N, 5) by row of the frame.
    """

    frames: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    shots: list[dict[int, np.ndarray]] = field(default_factory=lambda: [{}])


def track_faces(video: Video, every: int = 1, progress: bool = True, detector: Detector | None = None) -> pd.DataFrame:
    """Find the faces in a video and follow each of them.

    Args:
        video: read once, to its end.
        every: detect in every n-th frame, and in the first and the last frame of each shot; boxes between detections
            are interpolated.
        progress: show a progress bar, if the output is a terminal.
        detector: finds the faces; None = `FaceDetector()`.

    Returns:
        The table described above, sorted by frame and track: one row per frame and face, and one row for each frame
        without faces.

    Raises:
        DataError: `every` is below 1, a package is missing, or the video cannot be read.
    """
    if every < 1:
        raise DataError(f"every = {every}: give 1 to detect faces in each frame, n for each n-th")
    detections = _detect(video, detector or FaceDetector(), every, progress)
    tracks = []
    for shot in detections.shots:
        faces = _link(shot, video.fps / every)
        tracks += [_smooth(faces[faces[:, LABEL] == label], every, video.fps) for label in np.unique(faces[:, LABEL])]
    return _make_table(detections, tracks)


def _detect(video: Video, detector: Detector, every: int, progress: bool) -> _FoundFaces:
    """Read the video and detect faces in every n-th frame, and in the first and the last frame of each shot."""
    found = _FoundFaces()
    searched = _searched_images(video, every, progress, found)
    while batch := list(itertools.islice(searched, IMAGES_PER_BATCH)):
        faces = detector.detect([image for _, _, image in batch])
        for (shot, row, _), faces_of_image in zip(batch, faces, strict=True):
            shot[row] = faces_of_image
    return found


def _searched_images(
    video: Video, every: int, progress: bool, found: _FoundFaces
) -> Iterator[tuple[dict[int, np.ndarray], int, np.ndarray]]:
    """Read the video, add its frames and shots to `found`, and yield the images to search for faces.

    One image is held back, since only the next one shows if its shot ends there.

    Yields:
        The shot, which is to take up the faces; the row of the frame; its image.
    """
    cuts, start, skipped = CutDetector(), 0, None
    disable = None if progress else True  # None shows the bar only on a terminal
    images = prefetch(iter(video), PREFETCHED_FRAMES)
    bar = tqdm(images, f"{video.name}: detecting faces", video.expected_frames, unit="frame", disable=disable)
    for row, (frame, time, image) in enumerate(bar):
        found.frames.append(frame)
        found.times.append(time)
        if cuts.is_cut(image):
            if skipped is not None:
                yield found.shots[-1], row - 1, skipped
            found.shots.append({})
            start = row
        is_due = (row - start) % every == 0
        if is_due:
            yield found.shots[-1], row, image
        skipped = None if is_due else image
    if skipped is not None:
        yield found.shots[-1], len(found.frames) - 1, skipped


def _link(shot: dict[int, np.ndarray], rate: float) -> np.ndarray:
    """Label the faces of a shot by track, and drop those on no track or on one that never reaches MIN_TRACK_SCORE.

    Args:
        shot: faces (N, 5) by row of the frame.
        rate: searched frames per second.

    Returns:
        (K, 7) faces: row, label, box, score.
    """
    labels = _track_labels(list(shot.values()), rate)
    faces = [
        np.column_stack([np.full(len(frame_faces), row), frame_labels, frame_faces])
        for (row, frame_faces), frame_labels in zip(shot.items(), labels, strict=True)
    ]
    found = np.concatenate([*faces, np.empty((0, 7))])
    certain = np.unique(found[found[:, SCORE] >= MIN_TRACK_SCORE, LABEL])
    return found[(found[:, LABEL] >= 0) & np.isin(found[:, LABEL], certain)]


def _track_labels(faces: list[np.ndarray], rate: float) -> list[np.ndarray]:
    """Track the faces of a shot with OC-SORT (Cao et al., 2023).

    OC-SORT also compares faces with where a person was last seen, so that somebody who looks away for a second keeps
    the track although the predicted motion is off. It labels a track from its second face on; the first is added here.

    Args:
        faces: (N, 5) for each searched frame, in order.
        rate: such frames per second.

    Returns:
        For each frame (N,), the labels of its faces; -1 = on no track.
    """
    if len(faces) == 1:
        return [np.arange(len(faces[0]))]
    update, labels, highest = _tracker(rate), [], -1
    for index, frame_faces in enumerate(faces):
        labels.append(update(frame_faces))
        for new in np.flatnonzero(labels[-1] > highest) if index else ():
            _label_first_face(labels[-1][new], frame_faces[new], faces[index - 1], labels[-2])
        highest = max(highest, *labels[-1], -1)
    return labels


def _label_first_face(label: int, face: np.ndarray, previous: np.ndarray, previous_labels: np.ndarray) -> None:
    """Give the label to the unlabelled face of the previous frame that overlaps most, if any does enough."""
    unlabelled = np.flatnonzero(previous_labels < 0)
    overlap = _overlap(face, previous[unlabelled])
    if (overlap >= MIN_OVERLAP).any():
        previous_labels[unlabelled[overlap.argmax()]] = label


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of a box (4+,) with boxes (N, 4+)."""
    sides = np.minimum(box[2:4], boxes[:, 2:4]) - np.maximum(box[:2], boxes[:, :2])
    intersection = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(box[2:4] - box[:2]) + np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1)
    return intersection / (areas - intersection)


def _tracker(rate: float) -> Callable[[np.ndarray], np.ndarray]:
    """Make an OC-SORT tracker: a function from the faces (N, 5) of the next frame to their labels (N,)."""
    try:  # here, since the packages take seconds to import
        from supervision import Detections
        from trackers import OCSORTTracker
    except ImportError as error:
        raise DataError(f"face tracking needs the package trackers: pip install trackers ({error})") from error
    tracker = OCSORTTracker(
        lost_track_buffer=round(30 * LOST_SECONDS),  # counted in frames of a 30 Hz video, whatever the rate
        frame_rate=rate,
        minimum_consecutive_frames=1,
        minimum_iou_threshold=MIN_OVERLAP,
        high_conf_det_threshold=MIN_SCORE,
    )

    def update(faces: np.ndarray) -> np.ndarray:
        order = np.arange(len(faces))
        tracked = tracker.update(Detections(faces[:, :4], confidence=faces[:, 4], data={"order": order}))
        labels = np.full(len(faces), -1)
        if len(tracked):
            labels[tracked.data["order"]] = tracked.tracker_id
        return labels

    return update


def _smooth(faces: np.ndarray, every: int, fps: float) -> np.ndarray:
    """Fill the short gaps of a track and smooth its boxes.

    Args:
        faces: (K, 7) faces of the track, in order.
        every: distance in frames between searched frames.
        fps: frames per second.

    Returns:
        (M, 7) with landmark boxes, one for each row of a frame.
    """
    gap = every + round(GAP_SECONDS * fps)
    window = max(round(SMOOTH_SECONDS * fps), 2 * every) // 2 * 2 + 1
    parts = np.split(faces, np.flatnonzero(np.diff(faces[:, ROW]) > gap) + 1)
    return np.concatenate([_fill_and_smooth(part, window) for part in parts])


def _fill_and_smooth(faces: np.ndarray, window: int) -> np.ndarray:
    """Interpolate between the faces of a part of a track without long gaps, and smooth the boxes."""
    from scipy.ndimage import median_filter  # here, since SciPy takes a second to import
    from scipy.signal import savgol_filter

    known = faces[:, ROW].astype(int)
    filled = np.full((known[-1] - known[0] + 1, 7), np.nan)
    filled[:, ROW], filled[:, LABEL] = np.arange(known[0], known[-1] + 1), faces[0, LABEL]
    filled[known - known[0], SCORE] = faces[:, SCORE]
    boxes = box_from_detection(*faces[:, EDGES].T)
    boxes = np.stack([np.interp(filled[:, ROW], known, edge) for edge in boxes.T], axis=1)
    window = min(window, (len(boxes) - 1) // 2 * 2 + 1)
    if window >= 5:  # a quadratic through three points changes nothing
        boxes = median_filter(boxes, (5, 1), mode="nearest")
        boxes = savgol_filter(boxes, window, polyorder=2, axis=0)
    filled[:, EDGES] = boxes
    return filled


def _make_table(detections: _FoundFaces, tracks: list[np.ndarray]) -> pd.DataFrame:
    """Make the table of `track_faces`; tracks (M, 7) are numbered by appearance, from left to right within a frame."""
    tracks = sorted(tracks, key=lambda faces: (faces[0, ROW], faces[0, EDGES][0]))
    for number, faces in enumerate(tracks):
        faces[:, LABEL] = number
    rows_with_faces = np.concatenate([[], *(faces[:, ROW] for faces in tracks)])
    empty = np.setdiff1d(np.arange(len(detections.frames)), rows_with_faces)
    without_face = np.column_stack([empty, np.full(len(empty), -1), np.full((len(empty), 5), np.nan)])
    rows = np.concatenate([without_face, *tracks])
    rows = rows[np.lexsort((rows[:, LABEL], rows[:, ROW]))]
    frame_rows = rows[:, ROW].astype(int)
    table = pd.DataFrame(rows[:, EDGES], columns=BOX)
    table.insert(0, "frame", np.asarray(detections.frames, np.int64)[frame_rows])
    table.insert(1, "time", np.asarray(detections.times, np.float64)[frame_rows])
    table.insert(2, "track", rows[:, LABEL].astype(np.int64))
    table["score"] = rows[:, SCORE]
    return table


def choose_tracks(tracks: pd.DataFrame, which: str | int = "longest") -> list[int]:
    """Select the tracks to work on.

    Args:
        tracks: as from `track_faces`.
        which: "longest" (most frames, the earlier of two equally long), "all", or the number of a track.

    Returns:
        Numbers of the selected tracks.

    Raises:
        DataError: there is no face at all, or no such track; the message lists the existing ones.
    """
    lengths = tracks.loc[tracks["track"] >= 0, "track"].value_counts(sort=False).sort_index()
    if lengths.empty:
        raise DataError(
            f"no face was found in {tracks['frame'].nunique()} frames; give a video with "
            "a face that is larger, better lit, or turned more to the camera"
        )
    numbers = lengths.index.tolist()
    if which == "all":
        return numbers
    if which == "longest":
        return [int(numbers[lengths.to_numpy().argmax()])]
    if str(which).isdecimal() and int(which) in numbers:
        return [int(which)]
    existing = ", ".join(f"{track} ({length} frames)" for track, length in lengths.items())
    raise DataError(f"track {which!r}: no such track; choose longest, all or one of {existing}")
