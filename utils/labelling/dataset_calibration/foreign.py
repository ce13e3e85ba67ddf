"""Fits the constant error of evidence that comes from anchors of other people, on validation clips.

If the evidence of a clip is computed from labelled frames of other people, it has a constant error. One part of it
belongs to the person of the clip. The other part belongs to the person of the anchors, and averages out over anchors of
many people. Both standard deviations are estimated by the method of moments: the evidence of each validation clip is
computed from frames of each other validation clip, and compared with the true labels.
"""

import numpy as np
import torch

from utils.labelling.calibration.calibration import DEFAULT_OFFSET, ForeignOffset
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import DatasetClip
from utils.labelling.support import middles_of_parts

ANCHORS_PER_CLIP = 3
CLIPS_TO_FIT_OFFSET = 3
MOST_CLIPS = 30  # The number of comparisons grows with the square of the number of clips.
SMALLEST_STD = 0.05


def fit_foreign_offsets(encoder: ClipEncoder, clips: list[DatasetClip]) -> tuple[ForeignOffset, ForeignOffset]:
    """Fit the offset of evidence from other people's anchors, one entry per axis.

    Args:
        encoder: compares the frames.
        clips: clips of different people that the network was not trained on. With fewer than
            CLIPS_TO_FIT_OFFSET clips of at least ANCHORS_PER_CLIP labelled frames, the default offsets are returned.
    """
    labelled = [clip for clip in clips if len(clip.labelled) >= ANCHORS_PER_CLIP][:MOST_CLIPS]
    if len(labelled) < CLIPS_TO_FIT_OFFSET:
        return DEFAULT_OFFSET, DEFAULT_OFFSET
    errors = _constant_errors(encoder, labelled)
    others = errors.shape[1] - 1  # (clips, clips, 2), NaN on the diagonal
    valence, arousal = (_fit(errors[..., axis], others) for axis in range(2))
    return valence, arousal


def _fit(errors: np.ndarray, others: int) -> ForeignOffset:
    per_person = np.nanmean(np.nanvar(errors, axis=1, ddof=1))
    shared = np.nanmean(np.square(np.nanmean(errors, axis=1))) - per_person / others
    return ForeignOffset(
        max(float(np.sqrt(max(shared, 0))), SMALLEST_STD), max(float(np.sqrt(per_person)), SMALLEST_STD)
    )


def _constant_errors(encoder: ClipEncoder, clips: list[DatasetClip]) -> np.ndarray:
    """(C, C, 2) mean error of the evidence of each clip (row) from anchors of each other clip; NaN on the diagonal."""
    errors = np.full((len(clips), len(clips), 2), np.nan)
    for column, other in enumerate(clips):
        indices = middles_of_parts(other.labelled, ANCHORS_PER_CLIP)
        anchors, level = other.encoded.embeddings[torch.from_numpy(indices)], other.labels[indices].mean(0)
        for row, clip in enumerate(clips):
            if row != column:
                evidence = level + encoder.mean_difference(clip.encoded.embeddings, anchors)
                errors[row, column] = np.nanmean(evidence - clip.labels, axis=0)
    return errors
