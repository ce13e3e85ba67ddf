"""How the face of a track looks: its picture, and plain image features by which tracks are compared.

The features are histograms of oriented gradients (HOG) of a few faces of the track. How alike they are says how alike
the pictures are: light, pose and expression change them, too. It proves nothing about who is shown.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from skimage.feature import hog

from datasets.columns import BOX
from datasets.faces import MARGIN, crop_face
from datasets.video.random_access import VideoFrames
from utils.base.errors import DataError

FEATURES_FORMAT = 1  # Raise it whenever the same track would give other faces or features.
FACE_SIZE = 96  # side in pixels of the picture of a face
HOG_SIZE, HOG_CELL, ORIENTATIONS = 64, 8, 8  # side in pixels of the image and of a cell; directions of gradients
SAMPLES = 3  # faces of a track whose features are averaged


class TrackAppearance(NamedTuple):
    """How the face of a track looks.

    Attributes:
        face: (FACE_SIZE, FACE_SIZE, 3) uint8 RGB, the first face of the track; black if it cannot be read.
        features: (F,) mean features, of length 1; all 0 if no face can be read.
    """

    face: np.ndarray
    features: np.ndarray


def image_features(face: np.ndarray) -> np.ndarray:
    """(F,) histograms of oriented gradients of a picture of a face, (H, W, 3) uint8 RGB."""
    grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (HOG_SIZE, HOG_SIZE), interpolation=cv2.INTER_AREA)
    return hog(grey, ORIENTATIONS, (HOG_CELL, HOG_CELL), (2, 2)).astype(np.float32)


def track_appearances(frames: VideoFrames, faces: pd.DataFrame, chosen: Sequence[int]) -> dict[int, TrackAppearance]:
    """Number of each chosen track → how its face looks. A frame that cannot be decoded is left out.

    Args:
        frames: of the video; a few frames of each track are read.
        faces: face tracks of the video, as from `datasets.video.tracks.track_faces`.
        chosen: numbers of the tracks.
    """
    samples = {track: _sampled_faces(faces[faces["track"] == track]) for track in chosen}
    crops: dict[tuple[int, int], np.ndarray] = {}
    # In the order of the frames, so that the decoder moves forward only.
    for row in pd.concat(samples.values()).sort_values("frame").itertuples():
        try:
            image = frames.read(int(row.frame))
        except DataError:
            continue
        box = [getattr(row, edge) for edge in BOX]
        crops[row.track, row.frame] = crop_face(image, box, FACE_SIZE, MARGIN)
    return {
        track: _appearance([crops[track, frame] for frame in rows["frame"] if (track, frame) in crops])
        for track, rows in samples.items()
    }


def _sampled_faces(rows: pd.DataFrame) -> pd.DataFrame:
    """The first face of a track, and others evenly spaced after it."""
    return rows.iloc[np.unique(np.arange(SAMPLES) * len(rows) // SAMPLES)]


def _appearance(crops: list[np.ndarray]) -> TrackAppearance:
    black = np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8)
    features = np.mean([image_features(crop) for crop in crops or [black]], 0)
    length = np.linalg.norm(features)
    return TrackAppearance(crops[0] if crops else black, (features / length if length else features).astype(np.float32))
