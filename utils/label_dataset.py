"""The paper's experiment: label every clip of the test set from a support-set of its own labels, by every method."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from datasets.annotations import AXES
from datasets.frames import DataError, Splits, read_small_csv, require_columns
from models.mtclar import MTCLAR
from utils.data import CropReader
from utils.embed import EmbeddingCache, embed_clips
from utils.fused.audit import audit, doubt_columns
from utils.fused.fusion import Fusion
from utils.fused.suggest import suggest
from utils.labelling import FRAME_RATE, Anchors, Labels, SeenClip, fuse_unlabelled, label_by_all, see_clip
from utils.runtime import Runtime
from utils.settings import LabelSettings, SupportSettings
from utils.support_set import SUPPORT, label_bins
from utils.zero_shot import load_estimator, zero_shot

BINS = 10
SUPPORT_CHANCE, BIN_CHANCE = 11, 12  # streams of chance


class DatasetClip(NamedTuple):
    """A clip of a dataset: its rows of the frame table, and what the network sees of them."""

    name: str
    frames: pd.DataFrame
    seen: SeenClip


def label_dataset(
    model: MTCLAR, splits: Splits, crops: CropReader, cache: EmbeddingCache, fusion: Fusion, settings: LabelSettings,
    runtime: Runtime,
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """method → table of all frames of the test set: clip, frame, the label, whether it was support, and the truth;
    and a row a support label that the others of its clip contradict.
    """
    estimator = load_estimator(settings.zero_shot, settings) if settings.zero_shot else None
    named = read_support(settings.support_set.csv) if settings.support_set.csv else None
    test = chosen_clips(splits.test, settings.support_set, named)
    shared = None
    if settings.support_set.strategy == "train_bins":
        shared = training_anchors(model, splits.train, crops, cache, settings, runtime)
    tables: dict[str, list[pd.DataFrame]] = {}
    doubts: list[dict] = []
    for number, clip in enumerate(read_clips(model, test, crops, cache, settings, runtime)):
        anchors = shared or clip_anchors(clip, number, settings, named, fusion)
        for method, labels in label_by_all(model, runtime, clip.seen, anchors, fusion).items():
            tables.setdefault(method, []).append(clip_table(clip, anchors, labels))
        found = audit(clip.seen, anchors, fusion)
        doubts += [{"clip": clip.name} | doubt_columns(doubt, anchors) for doubt in found]
    whole = {method: pd.concat(parts, ignore_index=True) for method, parts in tables.items()}
    if estimator:
        estimates = zero_shot(estimator, test, settings, runtime)
        whole[estimator.name] = whole["linear"].assign(valence=estimates[:, 0], arousal=estimates[:, 1])
    return whole, pd.DataFrame(doubts)


def chosen_clips(frames: pd.DataFrame, settings: SupportSettings, named: pd.DataFrame | None) -> pd.DataFrame:
    """The frames of the clips to label: long enough and, where a file names the support, named in it."""
    kept = frames[frames.groupby("clip")["frame"].transform("size") >= settings.min_frames]
    if named is not None:
        kept = kept[kept["clip"].isin(named["clip"])]
    if kept.empty:
        count = frames["clip"].nunique()
        raise DataError(f"none of {count} clips is left to label; check support_set.min_frames and support_set.csv")
    return kept.reset_index(drop=True)


def read_support(path: Path) -> pd.DataFrame:
    """The support frames that a file names: clip, frame, and valence and arousal (NaN where it does not give them)."""
    table = read_small_csv(path, "clip, frame, and valence, arousal")
    require_columns(table.columns, ("clip", "frame"), path)
    for name in ("frame", *AXES):
        given = table[name].str.strip() if name in table else pd.Series("", table.index)
        table[name] = pd.to_numeric(given, errors="coerce")
        wrong = table[name].isna() & (given != "") | (table[name].abs() > 1 if name in AXES else table[name].isna())
        if wrong.any():
            row, wanted = wrong.idxmax(), "a number in [-1, 1]" if name in AXES else "a frame number"
            raise DataError(f"{path} row {row + 2}: {name} is {given[row]}; give {wanted}")
    if table.duplicated(["clip", "frame"]).any():
        row = table.duplicated(["clip", "frame"]).idxmax()
        raise DataError(f"{path} row {row + 2}: the clip's frame is named twice; delete one")
    return table


def read_clips(
    model, frames: pd.DataFrame, crops, cache, settings: LabelSettings, runtime: Runtime
) -> list[DatasetClip]:
    """The clips of a frame table, each encoded once."""
    if not frames["clip"].duplicated().any():
        raise DataError("the dataset holds single images, no clips; label the demo set, AFEW-VA or your own video")
    parts = [(name, part.reset_index(drop=True)) for name, part in frames.groupby("clip", sort=False)]
    found = embed_clips(model, [crops(part) for _, part in parts], cache, runtime, settings.data.workers)
    return [
        DatasetClip(name, part, see_clip(model, runtime, embeddings, part["frame"].to_numpy() / FRAME_RATE))
        for (name, part), embeddings in zip(parts, found, strict=True)
    ]


def clip_anchors(
    clip: DatasetClip, number: int, settings: LabelSettings, named: pd.DataFrame | None, fusion: Fusion
) -> Anchors:
    """The support-set by the settings' strategy, or as `named`; `number` keeps the clip's chance its own."""
    labels = clip.frames[list(AXES)].to_numpy(np.float64)
    if named is not None:
        places, labels = named_support(clip, labels, named)
    else:
        places = choose_support(clip, number, settings, fusion)
        labels = labels[places]
    return anchors_at(clip, places, labels, settings.support_set.annotator_error)


def anchors_at(clip: DatasetClip, places: np.ndarray, labels: np.ndarray, error: float = 0.0) -> Anchors:
    """places (A,) among the clip's frames, ascending, and their labels (A, 2) with the standard deviation `error`."""
    numbers, times = clip.frames["frame"].to_numpy()[places], clip.seen.times[places]
    errors = np.full_like(labels, error)
    return Anchors(clip.seen.embeddings[torch.from_numpy(places)], labels, errors, times, numbers, places)


def choose_support(clip: DatasetClip, number: int, settings: LabelSettings, fusion: Fusion) -> np.ndarray:
    """Ascending places (A,) of the frames to label, by the settings' strategy."""
    strategy, amount = settings.support_set.strategy, settings.support_set.amount
    if strategy == "suggested":
        return np.sort([found.place for found in suggest(fuse_unlabelled(clip.seen, fusion), amount)])
    rng = np.random.default_rng([settings.seed, SUPPORT_CHANCE, number])
    return SUPPORT[strategy](clip.seen.embeddings.cpu().numpy(), amount, rng)


def named_support(clip: DatasetClip, labels: np.ndarray, support: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(A,) places and (A, 2) labels of the support frames that a file names for this clip."""
    named = support[support["clip"] == clip.name].sort_values("frame")
    missing = named[~named["frame"].isin(clip.frames["frame"])]
    if len(missing):
        raise DataError(f"clip {clip.name} has no frame {missing['frame'].iloc[0]:g}; correct support_set.csv")
    places = np.searchsorted(clip.frames["frame"].to_numpy(), named["frame"].to_numpy())
    given = named[list(AXES)].to_numpy(np.float64)
    return places, np.where(np.isfinite(given), given, labels[places])


def training_anchors(model, frames: pd.DataFrame, crops, cache, settings: LabelSettings, runtime: Runtime) -> Anchors:
    """Anchors from the training set: ten bins of valence, `amount` frames of each."""
    labels = frames[list(AXES)].to_numpy(np.float64)
    rng = np.random.default_rng([settings.seed, BIN_CHANCE])
    rows = label_bins(labels, settings.support_set.amount, BINS, rng)
    table = frames.iloc[rows].reset_index(drop=True)
    (embeddings,) = embed_clips(model, [crops(table)], cache, runtime, settings.data.workers)
    numbers = table["frame"].to_numpy()
    unknown = np.full(len(rows), np.nan)
    return Anchors(embeddings, labels[rows], np.zeros((len(rows), 2)), unknown, numbers, np.full(len(rows), -1))


def clip_table(clip: DatasetClip, anchors: Anchors, labels: Labels) -> pd.DataFrame:
    frames = clip.frames
    table = frames[["clip", "frame"]].assign(**labels.columns(anchors))
    table = table.assign(valence_true=frames["valence"], arousal_true=frames["arousal"])
    return table.join(frames[["left", "top", "right", "bottom"]])
