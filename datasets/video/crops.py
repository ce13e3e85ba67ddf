"""The face crops of tracks, cut out while the video is read a second time."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from datasets.columns import BOX
from datasets.faces import MARGIN, crop_face, crop_size
from datasets.video.reading import Video


def face_crops(
    video: Video, tracks: pd.DataFrame, which_tracks: Sequence[int], image_size: int
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Read a video and crop the faces of some tracks, with the margin of `datasets.faces`.

    Args:
        video: read from its start to the last frame that has one of the faces.
        tracks: as from `datasets.video.tracks.track_faces` on the same video.
        which_tracks: numbers of the tracks, as from `choose_tracks`.
        image_size: side in pixels of the square that the network sees.

    Yields:
        Frame number, track, crop (S, S, 3) uint8 RGB with S = crop_size(image_size); by frame, then track.
    """
    rows = tracks[tracks["track"].isin(which_tracks)].sort_values(["frame", "track"])
    frames, track_numbers = rows["frame"].to_numpy(), rows["track"].to_numpy()
    boxes = rows[BOX].to_numpy(np.float64)
    size = crop_size(image_size)
    for frame, _, image in video:
        first, last = np.searchsorted(frames, [frame, frame + 1])
        for row in range(first, last):
            yield frame, int(track_numbers[row]), crop_face(image, boxes[row], size, MARGIN)
        if last == len(frames):
            break
