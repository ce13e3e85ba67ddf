"""The values that labelling works on: an encoded clip, its anchors, observed labels and the labels that result.

N is the number of frames of a clip, A the number of anchors. Where an array has two columns they are valence and
arousal, both in [-1, 1].
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from datasets.columns import AXES


class EncodedClip(NamedTuple):
    """A clip as the network sees it.

    Attributes:
        embeddings: (N, 256) embedding of each frame.
        times: (N,) seconds, ascending.
        evidence: (N, 2) valence and arousal of each frame relative to the mean of the clip, by the network alone.
    """

    embeddings: Tensor
    times: np.ndarray
    evidence: np.ndarray


class Anchors(NamedTuple):
    """The labelled frames that a clip is labelled from, ascending in time.

    Attributes:
        embeddings: (A, 256) embedding of each anchor.
        labels: (A, 2) valence and arousal that a person gave.
        errors: (A, 2) standard deviations of the labels; 0 = exact.
        times: (A,) seconds; NaN for anchors of other videos.
        frames: (A,) frame numbers.
        indices: (A,) index of each anchor among the clip's N frames; -1 for anchors of other people or videos.
    """

    embeddings: Tensor
    labels: np.ndarray
    errors: np.ndarray
    times: np.ndarray
    frames: np.ndarray
    indices: np.ndarray

    @property
    def have_time(self) -> bool:
        """Whether every anchor has a time on the clip's own clock."""
        return bool(np.isfinite(self.times).all())

    @property
    def from_clip(self) -> bool:
        """Whether all anchors are frames of the clip itself."""
        return bool((self.indices >= 0).all())


class LabelObservations(NamedTuple):
    """The labels that a person gave to A frames of a clip, on one axis.

    Attributes:
        indices: (A,) indices of the frames, ascending.
        labels: (A,) labels.
        errors: (A,) standard deviations of the labels; 0 = exact.
    """

    indices: np.ndarray
    labels: np.ndarray
    errors: np.ndarray


NO_LABELS = LabelObservations(np.empty(0, int), np.empty(0), np.empty(0))


def observations_of(anchors: Anchors | None) -> list[LabelObservations]:
    """The observed labels of a clip's own anchors, one entry per axis; None: no label yet."""
    if anchors is None:
        return [NO_LABELS] * len(AXES)
    return [
        LabelObservations(anchors.indices, anchors.labels[:, axis], anchors.errors[:, axis])
        for axis in range(len(AXES))
    ]


class Labels(NamedTuple):
    """Labels of all N frames of a clip.

    Attributes:
        values: (N, 2) valence and arousal, in [-1, 1]. At the clip's own anchors: the person's labels; of uncertain
            labels (error above 0), the rule `fused` gives the posterior mean instead.
        anchor: (N,) index of the anchor that served the frame; -1 where several did.
        half_widths: (N, 2) half-widths of the 90 % intervals, before clipping to [-1, 1]; None: the anchor rule gives
            no intervals.
        misread: names of the axes on which the anchors contradict the network's evidence for this face.
    """

    values: np.ndarray
    anchor: np.ndarray
    half_widths: np.ndarray | None = None
    misread: tuple[str, ...] = ()

    def columns(self, anchors: Anchors) -> dict[str, object]:
        """The columns of an output table.

        Returns:
            valence and arousal; support (bool); anchor (frame number of the anchor, missing where several served);
            and valence_low, valence_high, arousal_low, arousal_high where the anchor rule gives intervals.
        """
        support = np.zeros(len(self.values), bool)
        support[anchors.indices[anchors.indices >= 0]] = True
        frames = np.where(self.anchor < 0, None, anchors.frames[self.anchor])
        columns: dict[str, object] = {axis: self.values[:, column] for column, axis in enumerate(AXES)}
        columns |= {"support": support, "anchor": pd.array(frames, dtype="Int64")}
        if self.half_widths is not None:
            for column, axis in enumerate(AXES):
                for name, sign in (("low", -1), ("high", 1)):
                    bound = self.values[:, column] + sign * self.half_widths[:, column]
                    columns[f"{axis}_{name}"] = np.clip(bound, -1, 1)
        return columns
