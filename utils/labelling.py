"""Labelling clips through the network: encode once, compare each frame with its anchors, combine."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.annotations import AXES
from models.mtclar import MTCLAR, Comparison
from utils.fused.fusion import Fusion
from utils.fused.smoother import NOBODY, Support
from utils.fused.trace import Trace
from utils.runtime import Runtime
from utils.support_set import AVERAGES, BASELINES, FUSED, NEED_TIME, RULES, Evidence

CHUNK = 16384  # comparisons at once
REFERENCES = 64  # frames of a clip that every other one is compared with
FRAME_RATE = 25.0  # frames a second of a dataset that does not say


class SeenClip(NamedTuple):
    """N frames of a clip, as the network sees them."""

    embeddings: Tensor
    """(N, 256)."""
    times: np.ndarray
    """(N,) seconds, ascending."""
    view: np.ndarray
    """(N, 2): how far each frame's valence and arousal lie above the clip's mean, by the network alone."""


class Anchors(NamedTuple):
    """The labelled frames that a clip is labelled from, ascending in time."""

    embeddings: Tensor
    """(A, 256)."""
    labels: np.ndarray
    """(A, 2) valence and arousal in [-1, 1]."""
    errors: np.ndarray
    """(A, 2) standard deviations of the labels, as far as annotators differ; 0 = exact."""
    times: np.ndarray
    """(A,) seconds; NaN where they are of other videos."""
    frames: np.ndarray
    """(A,) frame numbers."""
    places: np.ndarray
    """(A,) places among the clip's frames; -1 where they are of other people or videos."""

    @property
    def have_time(self) -> bool:
        return bool(np.isfinite(self.times).all())

    @property
    def inside(self) -> bool:
        """Whether they are frames of the clip itself."""
        return bool((self.places >= 0).all())


class Labels(NamedTuple):
    """Labels of a clip's N frames."""

    values: np.ndarray
    """(N, 2) valence and arousal in [-1, 1]; at support frames what the person said, where that is exact."""
    anchor: np.ndarray
    """(N,) the anchor that served; -1 where several did."""
    margins: np.ndarray | None = None
    """(N, 2) half the width of the 90 % interval, before it is cut to [-1, 1]; None: the rule does not know."""
    misread: tuple[str, ...] = ()
    """Axes on which the anchors rather say that the network misreads this face."""

    def columns(self, anchors: Anchors) -> dict[str, np.ndarray]:
        """Columns of an output table: valence, arousal, support (bool), anchor (its frame; missing if several), and
        where the rule knows them the ends of the intervals, valence_low, valence_high and so on.
        """
        support = np.zeros(len(self.values), bool)
        support[anchors.places[anchors.places >= 0]] = True
        frames = np.where(self.anchor < 0, None, anchors.frames[self.anchor])
        columns = {axis: self.values[:, place] for place, axis in enumerate(AXES)}
        columns |= {"support": support, "anchor": pd.array(frames, dtype="Int64")}
        if self.margins is not None:
            for place, axis in enumerate(AXES):
                for name, sign in (("low", -1), ("high", 1)):
                    end = self.values[:, place] + sign * self.margins[:, place]
                    columns[f"{axis}_{name}"] = np.clip(end, -1, 1)
        return columns


def see_clip(model: MTCLAR, runtime: Runtime, embeddings: Tensor, times: np.ndarray) -> SeenClip:
    """embeddings (N, 256) and times (N,) in seconds of a clip's frames."""
    spread = np.linspace(0, len(times) - 1, min(len(times), REFERENCES)).round().astype(int)
    references = embeddings[torch.from_numpy(np.unique(spread))]
    return SeenClip(embeddings, times, mean_difference(model, runtime, embeddings, references))


@torch.inference_mode()
def mean_difference(model: MTCLAR, runtime: Runtime, frames: Tensor, others: Tensor) -> np.ndarray:
    """(N, 2): how far each frame lies above the mean of the others, antisymmetric: (Δ(a, b) - Δ(b, a)) / 2."""
    parts = []
    for some in frames.split(max(1, CHUNK * REFERENCES // len(others))):
        with runtime.autocast():
            both_ways = zip(model.deltas_all(some, others), model.deltas_all(others, some), strict=True)
        means = [(there.float().mean(1) - back.float().mean(0)) / 2 for there, back in both_ways]
        parts.append(torch.stack(means, 1).cpu())
    return torch.cat(parts).numpy().astype(np.float64)


def label_clip(
    model: MTCLAR, runtime: Runtime, clip: SeenClip, anchors: Anchors, rule: str, fusion: Fusion
) -> Labels:
    """Labels a clip by one of RULES."""
    if rule == FUSED:
        return fused_labels(fuse(model, runtime, clip, anchors, fusion), anchors, fusion)
    pick, combine = AVERAGES[rule]
    picked = pick(clip.times, anchors.times)
    values = np.empty((len(clip.times), 2))
    step = max(1, CHUNK // picked.shape[1])
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        evidence = _gather(model, runtime, clip, part, anchors, picked[part])
        values[part] = np.clip(combine(evidence), -1, 1)
    anchor = picked[:, 0].copy() if picked.shape[1] == 1 else np.full(len(values), -1)
    return _with_known(Labels(values, anchor), anchors)


def fuse(model: MTCLAR, runtime: Runtime, clip: SeenClip, anchors: Anchors, fusion: Fusion) -> list[Trace]:
    """The clip's traces of valence and of arousal, given all its anchors.

    Anchors of the clip are labels of its trace; what the network sees of them is in the view, as of every frame. Those
    of other people or videos only shift the view: what they say of a frame is right but for the offset and the other
    errors of the evidence.
    """
    if anchors.inside:
        return fusion.posteriors(clip.times, clip.view, supports(anchors))
    view = anchors.labels.mean(0) + mean_difference(model, runtime, clip.embeddings, anchors.embeddings)
    return fuse_unlabelled(clip._replace(view=view), fusion)


def fuse_unlabelled(clip: SeenClip, fusion: Fusion) -> list[Trace]:
    """The clip's traces before anybody has labelled a frame of it."""
    return fusion.posteriors(clip.times, clip.view, [NOBODY] * len(AXES))


def supports(anchors: Anchors) -> list[Support]:
    """A clip's own anchors, an entry an axis."""
    return [Support(anchors.places, anchors.labels[:, axis], anchors.errors[:, axis]) for axis in range(len(AXES))]


def fused_labels(posteriors: list[Trace], anchors: Anchors, fusion: Fusion) -> Labels:
    """The posterior means, and the margins of their 90 % intervals; exact labels stay as they are, without a margin."""
    values = np.clip(np.stack([posterior.mean for posterior in posteriors], 1), -1, 1)
    margins = fusion.margins(posteriors)
    anchor = np.full(len(values), -1)
    if anchors.inside:
        exact = anchors.errors == 0
        margins[anchors.places] = np.where(exact, 0, margins[anchors.places])
        values[anchors.places] = np.where(exact, anchors.labels, values[anchors.places])
        anchor[anchors.places] = np.arange(len(anchors.places))
    misread = tuple(axis for axis, trace in zip(AXES, posteriors, strict=True) if trace.misread)
    return Labels(values, anchor, margins, misread)


def label_by_time(times: np.ndarray, anchors: Anchors, baseline: str) -> Labels:
    """Labels a clip by one of BASELINES, which look at no face; by the mean of anchors from other videos."""
    if anchors.have_time:
        values = BASELINES[baseline](times, anchors.times, anchors.labels)
    else:
        values = np.broadcast_to(anchors.labels.mean(0), (len(times), 2)).copy()
    return _with_known(Labels(values, np.full(len(times), -1)), anchors)


def label_by_all(
    model: MTCLAR, runtime: Runtime, clip: SeenClip, anchors: Anchors, fusion: Fusion
) -> dict[str, Labels]:
    """Labels a clip by every one of RULES that its anchors allow, and by every one of BASELINES: method → labels."""
    rules = [name for name in RULES if anchors.have_time or name not in NEED_TIME]
    found = {rule: label_clip(model, runtime, clip, anchors, rule, fusion) for rule in rules}
    return found | {baseline: label_by_time(clip.times, anchors, baseline) for baseline in BASELINES}


def _gather(model, runtime, clip: SeenClip, part: slice, anchors: Anchors, picked: np.ndarray) -> Evidence:
    compared = _compare(model, runtime, clip.embeddings[part], anchors.embeddings, picked)
    deltas = torch.stack((compared.delta_valence, compared.delta_arousal), -1).float().cpu().numpy()
    similar = compared.similarity.float().softmax(-1)[..., 1].cpu().numpy()
    unit = max(clip.times[-1] - clip.times[0], 1e-9) / len(anchors.times)
    apart = np.abs(clip.times[part, None] - anchors.times[picked]) / unit
    return Evidence(anchors.labels[picked] + deltas, similar, apart)


@torch.inference_mode()
def _compare(model: MTCLAR, runtime: Runtime, frames: Tensor, anchors: Tensor, picked: np.ndarray) -> Comparison:
    """Frames (N, 256) with the anchors that serve each, (N, K) places → Comparison of shape (N, K)."""
    with runtime.autocast():
        if picked.shape[1] == len(anchors):
            return model.compare_all(frames, anchors)
        pairs = model.compare(
            frames.repeat_interleave(picked.shape[1], 0), anchors[torch.from_numpy(picked.ravel())]
        )
    return Comparison(*(output.unflatten(0, picked.shape) for output in pairs))


def _with_known(labels: Labels, anchors: Anchors) -> Labels:
    """What a person has labelled stays as it is."""
    inside = anchors.places >= 0
    labels.values[anchors.places[inside]] = anchors.labels[inside]
    labels.anchor[anchors.places[inside]] = np.flatnonzero(inside)
    return labels
