"""The paper's experiment: label every test clip from a support-set of its own labels, by every method."""

from pathlib import Path

import numpy as np
import pandas as pd

from datasets.columns import AXES, BOX
from datasets.csv_files import read_small_csv, require_columns
from datasets.splits import Splits
from utils.base.errors import DataError
from utils.config.labelling import LabelSettings
from utils.config.sections import SupportSettings
from utils.labelling.audit import contradiction_row
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.labeller import Labeller
from utils.labelling.support import SUPPORT_STRATEGIES, sample_valence_bins
from utils.labelling.types import Anchors, Labels
from utils.labelling.zero_shot import load_estimator, zero_shot

VALENCE_BINS = 10
SUPPORT_SEED_STREAM, BIN_SEED_STREAM = 11, 12


def label_dataset(
    clips: ClipReader, splits: Splits, settings: LabelSettings
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Labels all test clips by every rule and baseline, and audits their support labels.

    Args:
        clips: reads the clips; its labeller labels them.
        splits: frame tables.
        settings: support strategy, number of labels and so on.

    Returns:
        tables: method → table of all frames of the test set: clip, frame, label, support or not, and the truth.
        contradictions: one row per support label that the others of its clip contradict.
    """
    labeller = clips.labeller
    estimator = load_estimator(settings.zero_shot, settings) if settings.zero_shot else None
    named = read_support(settings.support_set.csv) if settings.support_set.csv else None
    test = select_clips(splits.test, settings.support_set, named)
    shared = None
    if settings.support_set.strategy == "train_bins":
        shared = training_anchors(clips, splits.train, settings)
    tables: dict[str, list[pd.DataFrame]] = {}
    contradictions: list[dict[str, object]] = []
    for number, clip in enumerate(clips.read(test)):
        anchors = shared or clip_anchors(labeller, clip, number, settings, named)
        for method, labels in labeller.label_by_all_methods(clip.encoded, anchors).items():
            tables.setdefault(method, []).append(_clip_table(clip, anchors, labels))
        found = labeller.audit(clip.encoded, anchors)
        contradictions += [{"clip": clip.name} | contradiction_row(one, anchors) for one in found]
    by_method = {method: pd.concat(parts, ignore_index=True) for method, parts in tables.items()}
    if estimator:
        estimates = zero_shot(estimator, test, settings, labeller.runtime)
        by_method[estimator.name] = by_method["linear"].assign(valence=estimates[:, 0], arousal=estimates[:, 1])
    return by_method, pd.DataFrame(contradictions)


def select_clips(frames: pd.DataFrame, settings: SupportSettings, named: pd.DataFrame | None) -> pd.DataFrame:
    """The frames of clips that are long enough and, if a file names the support frames, occur in it."""
    kept = frames[frames.groupby("clip")["frame"].transform("size") >= settings.min_frames]
    if named is not None:
        kept = kept[kept["clip"].isin(named["clip"])]
    if kept.empty:
        count = frames["clip"].nunique()
        raise DataError(f"none of {count} clips is left to label; check support_set.min_frames and support_set.csv")
    return kept.reset_index(drop=True)


def read_support(path: Path) -> pd.DataFrame:
    """Reads a file of support frames: clip, frame, and valence and arousal (NaN where the file gives none).

    Raises:
        DataError: a column is missing, a value is not a number in range, or a frame is named twice.
    """
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
        raise DataError(f"{path} row {row + 2}: this frame of the clip is listed twice; delete one row")
    return table


def clip_anchors(
    labeller: Labeller, clip: DatasetClip, number: int, settings: LabelSettings, named: pd.DataFrame | None = None
) -> Anchors:
    """The support-set of a clip, by the settings' strategy or from a file.

    Args:
        labeller: for the strategy `suggested`.
        clip: the clip.
        number: number of the clip, so that each clip has random numbers of its own.
        settings: strategy, amount, seed, and the error of a label.
        named: the support frames that `read_support` read; None: choose by the strategy.
    """
    if named is None:
        indices = choose_support(labeller, clip, number, settings)
        labels = clip.labels[indices]
    else:
        indices, labels = _named_support(clip, named)
    return clip.anchors(indices, labels, settings.support_set.annotator_error)


def choose_support(labeller: Labeller, clip: DatasetClip, number: int, settings: LabelSettings) -> np.ndarray:
    """Ascending indices (A,) of the frames to label, by the settings' strategy; arguments as for `clip_anchors`."""
    strategy, amount = settings.support_set.strategy, settings.support_set.amount
    if strategy == "suggested":
        suggestions = labeller.suggest(clip.encoded, None, amount)
        return np.sort([suggestion.frame_index for suggestion in suggestions])
    rng = np.random.default_rng([settings.seed, SUPPORT_SEED_STREAM, number])
    return SUPPORT_STRATEGIES[strategy](clip.encoded.embeddings.cpu().numpy(), amount, rng)


def _named_support(clip: DatasetClip, support: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Indices (A,) and labels (A, 2) of the support frames that a file names for this clip."""
    named = support[support["clip"] == clip.name].sort_values("frame")
    missing = named[~named["frame"].isin(clip.frames["frame"])]
    if len(missing):
        raise DataError(f"clip {clip.name} has no frame {missing['frame'].iloc[0]:g}; correct support_set.csv")
    indices = np.searchsorted(clip.frames["frame"].to_numpy(), named["frame"].to_numpy())
    given = named[list(AXES)].to_numpy(np.float64)
    return indices, np.where(np.isfinite(given), given, clip.labels[indices])


def training_anchors(clips: ClipReader, frames: pd.DataFrame, settings: LabelSettings) -> Anchors:
    """Anchors from the training set: `support_set.amount` frames of each of ten bins of valence."""
    labels = frames[list(AXES)].to_numpy(np.float64)
    rng = np.random.default_rng([settings.seed, BIN_SEED_STREAM])
    rows = sample_valence_bins(labels, settings.support_set.amount, VALENCE_BINS, rng)
    table = frames.iloc[rows].reset_index(drop=True)
    (embeddings,) = clips.embed([table])
    no_time, not_in_clip = np.full(len(rows), np.nan), np.full(len(rows), -1)
    exact = np.zeros((len(rows), len(AXES)))
    return Anchors(embeddings, labels[rows], exact, no_time, table["frame"].to_numpy(), not_in_clip)


def _clip_table(clip: DatasetClip, anchors: Anchors, labels: Labels) -> pd.DataFrame:
    frames = clip.frames
    table = frames[["clip", "frame"]].assign(**labels.columns(anchors))
    table = table.assign(valence_true=frames["valence"], arousal_true=frames["arousal"])
    return table.join(frames[BOX])
