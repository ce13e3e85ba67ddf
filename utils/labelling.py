"""Labelling clips through the network: encode once, compare each frame with its anchors, combine, score."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.annotations import AXES
from models.mtclar import MTCLAR
from utils.metrics import SCORES, regression_scores
from utils.runtime import Runtime
from utils.support_set import BASELINES, NEED_TIME, RULES, Evidence

CHUNK = 16384  # comparisons at once


class Anchors(NamedTuple):
    """The labelled frames that a clip is labelled from, ascending in time."""

    embeddings: Tensor
    """(A, 256)."""
    labels: np.ndarray
    """(A, 2) valence and arousal in [-1, 1]."""
    times: np.ndarray
    """(A,) in the clip's unit; NaN where they are of other videos."""
    frames: np.ndarray
    """(A,) frame numbers."""
    places: np.ndarray
    """(A,) places among the clip's frames; -1 where they are of other people or videos."""

    @property
    def have_time(self) -> bool:
        return bool(np.isfinite(self.times).all())


class Labels(NamedTuple):
    """Labels of a clip's N frames."""

    values: np.ndarray
    """(N, 2) valence and arousal in [-1, 1]; at support frames what the person said."""
    anchor: np.ndarray
    """(N,) the anchor that served; -1 where several did."""

    def columns(self, anchors: Anchors) -> dict[str, np.ndarray]:
        """Columns of an output table: valence, arousal, support (bool), anchor (its frame; missing if several)."""
        support = np.zeros(len(self.values), bool)
        support[anchors.places[anchors.places >= 0]] = True
        frames = np.where(self.anchor < 0, None, anchors.frames[self.anchor])
        return {
            "valence": self.values[:, 0], "arousal": self.values[:, 1], "support": support,
            "anchor": pd.array(frames, dtype="Int64"),
        }  # fmt: skip


@torch.inference_mode()
def label_clip(
    model: MTCLAR, runtime: Runtime, embeddings: Tensor, times: np.ndarray, anchors: Anchors, rule: str
) -> Labels:
    """Labels a clip by one of RULES. embeddings (N, 256) and times (N,), ascending, of all its frames."""
    pick, combine = RULES[rule]
    picked = pick(times, anchors.times)
    values = np.empty((len(times), 2))
    unit = max(times[-1] - times[0], 1e-9) / len(anchors.times)
    step = max(1, CHUNK // picked.shape[1])
    for start in range(0, len(times), step):
        part = slice(start, start + step)
        evidence = _gather(model, runtime, embeddings[part], times[part], anchors, picked[part], unit)
        values[part] = np.clip(combine(evidence), -1, 1)
    anchor = picked[:, 0].copy() if picked.shape[1] == 1 else np.full(len(times), -1)
    return _with_known(Labels(values, anchor), anchors)


def label_by_time(times: np.ndarray, anchors: Anchors, baseline: str) -> Labels:
    """Labels a clip by one of BASELINES, which look at no face; by the mean of anchors from other videos."""
    if anchors.have_time:
        values = BASELINES[baseline](times, anchors.times, anchors.labels)
    else:
        values = np.broadcast_to(anchors.labels.mean(0), (len(times), 2)).copy()
    return _with_known(Labels(values, np.full(len(times), -1)), anchors)


def usable_rules(anchors_have_time: bool) -> list[str]:
    return [name for name in RULES if anchors_have_time or name not in NEED_TIME]


def _gather(model, runtime, embeddings: Tensor, times, anchors: Anchors, picked, unit: float) -> Evidence:
    frames, served = picked.shape
    with runtime.autocast():
        compared = model.compare(
            embeddings.repeat_interleave(served, 0), anchors.embeddings[torch.from_numpy(picked.ravel())]
        )
    deltas = torch.stack((compared.delta_valence, compared.delta_arousal), 1).float().cpu().numpy()
    similar = compared.similarity.float().softmax(1)[:, 1].cpu().numpy()
    apart = np.abs(times[:, None] - anchors.times[picked]) / unit
    return Evidence(
        anchors.labels[picked] + deltas.reshape(frames, served, 2), similar.reshape(frames, served), apart
    )


def _with_known(labels: Labels, anchors: Anchors) -> Labels:
    """What a person has labelled stays as it is."""
    inside = anchors.places >= 0
    labels.values[anchors.places[inside]] = anchors.labels[inside]
    labels.anchor[anchors.places[inside]] = np.flatnonzero(inside)
    return labels


def score_methods(labelled: dict[str, pd.DataFrame], score_support: bool) -> pd.DataFrame:
    """A row a method and a way of averaging ("pooled": all frames at once; "clips": mean over clips).

    labelled: method → table with clip, support, valence, arousal, valence_true, arousal_true. Support frames are
    known, so they count only where score_support says so.
    """
    rows = []
    for method, table in labelled.items():
        scored = table if score_support else table[~table["support"]]
        clips = [part for _, part in scored.groupby("clip", sort=False)]
        for average, parts in (("pooled", [scored]), ("clips", clips)):
            row = {"method": method, "average": average, "frames": len(scored)}
            for axis in AXES:
                found = [regression_scores(part[axis], part[f"{axis}_true"]) for part in parts]
                for name in SCORES:
                    row[f"{axis}_{name}"] = np.mean([one[name] for one in found if one] or [np.nan])
            rows.append(row)
    return pd.DataFrame(rows)


