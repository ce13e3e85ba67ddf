"""Data types of labelling: an encoded clip, its anchors, given labels and estimated labels.

N is the number of frames of a clip, A the number of anchors. If an array has two columns, they are valence and arousal.
Labels are in [-1, 1]. Evidence, errors and interval half-widths have the same unit, but are not limited to that range.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.columns import AXES, PERSON
from utils.labelling.clip_rating import ClipRating


def is_encoded(embeddings: Tensor) -> np.ndarray:
    """(N,) whether each frame is encoded; the embeddings (N, 256) of the others are NaN."""
    # The first number suffices: all 256 are NaN or none. Embeddings (N, 0), without the network, count as encoded.
    return ~torch.isnan(embeddings[:, :1]).any(1).cpu().numpy()


class EncodedClip(NamedTuple):
    """Embeddings and evidence of a clip.

    Attributes:
        embeddings: (N, 256) embedding of each frame; NaN = not encoded.
        times: (N,) seconds, ascending.
        evidence: (N, E, 2) valence and arousal of each frame by E sources of evidence; NaN = no value. That of the
            Siamese network is relative to the clip; that of other sources is absolute.
        ratings: continuous ratings by the R raters, who are the last R sources; None: this person did not rate the
            clip. Their evidence is the rating, shifted by the rater's lag.
    """

    embeddings: Tensor
    times: np.ndarray
    evidence: np.ndarray
    ratings: tuple[ClipRating | None, ...] = ()

    def following_evidence(self, indices: np.ndarray) -> np.ndarray:
        """For each frame (K,), the next one, itself included, at which as many sources have a value as at any frame.

        Raters do not count. If no such frame follows, it is the frame itself.
        """
        values = np.isfinite(self.evidence[:, : self.evidence.shape[1] - len(self.ratings)]).sum((1, 2))
        known = np.flatnonzero(values == values.max())
        following = np.searchsorted(known, indices)
        return np.where(following < len(known), known[following.clip(max=len(known) - 1)], indices)


class Anchors(NamedTuple):
    """The labelled frames from which a clip is labelled.

    Anchors of the clip itself alone are ascending in time. Together with anchors of other clips, of the training set or
    of other videos, they have no time.

    Attributes:
        embeddings: (A, 256) embedding of each anchor.
        labels: (A, 2) given labels.
        errors: (A, 2) standard deviations of the given labels; 0 = exact.
        times: (A,) seconds; NaN for anchors without a time on the clip's clock.
        frames: (A,) frame numbers.
        indices: (A,) index of each anchor among the clip's N frames; -1 for anchors that are not frames of the clip.
        people: number of people that the anchors show.
        annotators: (A,) who gave each label, "" if that is not known; None: not known of any.
    """

    embeddings: Tensor
    labels: np.ndarray
    errors: np.ndarray
    times: np.ndarray
    frames: np.ndarray
    indices: np.ndarray
    people: int = 1
    annotators: np.ndarray | None = None

    @property
    def all_have_times(self) -> bool:
        """Whether every anchor has a time on the clip's own clock."""
        return bool(np.isfinite(self.times).all())

    @property
    def in_clip(self) -> "Anchors":
        """The anchors that are frames of the clip itself."""
        rows = np.flatnonzero(self.indices >= 0)
        return Anchors(
            self.embeddings[torch.from_numpy(rows)],
            self.labels[rows],
            self.errors[rows],
            self.times[rows],
            self.frames[rows],
            self.indices[rows],
        )

    @property
    def none_in_clip(self) -> bool:
        """Whether there are anchors, none of them a frame of the clip."""
        return len(self.indices) > 0 and bool((self.indices < 0).all())

    @property
    def all_in_clip(self) -> bool:
        """Whether all anchors are frames of the clip itself."""
        return bool((self.indices >= 0).all())


class LabelObservations(NamedTuple):
    """The given labels of A frames of a clip, on one axis.

    Attributes:
        indices: (A,) indices of the frames, ascending.
        labels: (A,) given labels.
        errors: (A,) standard deviations of the given labels; 0 = exact.
    """

    indices: np.ndarray
    labels: np.ndarray
    errors: np.ndarray


NO_LABELS = LabelObservations(np.empty(0, int), np.empty(0), np.empty(0))


def observations_of(anchors: Anchors | None) -> list[LabelObservations]:
    """The given labels of anchors in a clip, one entry per axis; anchors None: nothing is labelled yet."""
    if anchors is None:
        return [NO_LABELS] * len(AXES)
    return [
        LabelObservations(anchors.indices, anchors.labels[:, axis], anchors.errors[:, axis])
        for axis in range(len(AXES))
    ]


class Labels(NamedTuple):
    """Estimated labels of all N frames of a clip.

    Attributes:
        values: (N, 2) valence and arousal, in [-1, 1]. At labelled frames this is the given label, except that `fused`
            returns the posterior mean if the label's error is above 0.
        anchor: (N,) index of the anchor whose estimate the frame got; -1 for an estimate from several anchors or by a
            baseline. A labelled frame of the clip is its own anchor.
        half_widths: (N, 2) half-widths of the 90 % intervals, before the bounds are clipped to [-1, 1]; None: the
            method gives no intervals.
        misread: names of the axes on which the given labels contradict the evidence, see `MixturePosterior.misread`.
    """

    values: np.ndarray
    anchor: np.ndarray
    half_widths: np.ndarray | None = None
    misread: tuple[str, ...] = ()

    def columns(self, anchors: Anchors | None, method: str) -> dict[str, object]:
        """The columns of an output table.

        Args:
            anchors: the anchors of the clip; None: there are no labels.
            method: name of the rule or baseline that estimated the labels.

        Returns:
            valence and arousal; support (bool: is a labelled frame of the clip); anchor (frame number of the anchor,
            missing where `anchor` is -1); source (the origin of the label: PERSON where both values are a person's
            label as given, elsewhere the method); annotator (who labelled the frame, "" elsewhere); and valence_low,
            valence_high, arousal_low, arousal_high if the method gives intervals.
        """
        support = np.zeros(len(self.values), bool)
        origin = np.full(len(self.values), method, object)
        annotator = np.full(len(self.values), "", object)
        frames = np.full(len(self.values), None, object)
        if anchors is not None:
            in_clip = anchors.indices >= 0
            indices = anchors.indices[in_clip]
            support[indices] = True
            given = (self.values[indices] == anchors.labels[in_clip]).all(1)
            origin[indices[given]] = PERSON
            if anchors.annotators is not None:
                annotator[indices] = anchors.annotators[in_clip]
            single = self.anchor >= 0
            frames[single] = anchors.frames[self.anchor[single]]
        columns: dict[str, object] = {axis: self.values[:, column] for column, axis in enumerate(AXES)}
        columns |= {"support": support, "anchor": pd.array(frames, dtype="Int64")}
        columns |= {"source": origin, "annotator": annotator}
        if self.half_widths is not None:
            for column, axis in enumerate(AXES):
                for name, sign in (("low", -1), ("high", 1)):
                    bound = self.values[:, column] + sign * self.half_widths[:, column]
                    columns[f"{axis}_{name}"] = np.clip(bound, -1, 1)
        return columns
