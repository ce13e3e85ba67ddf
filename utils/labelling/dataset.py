"""The paper's experiment: labels each test clip by every rule and baseline, usually from a few of its true labels.

With the strategy `train_bins`, the clips are labelled from frames of the training set instead.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from datasets.columns import AXES, BOX, PREDICTED
from datasets.csv_files import read_small_csv, require_columns
from datasets.frames import frames_sha256
from datasets.splits import Splits
from utils.base.errors import DataError
from utils.base.text import quoted
from utils.config.labelling import MTCLAR_EVIDENCE, LabelSettings
from utils.config.manifest import Input
from utils.config.sections import SupportSettings
from utils.labelling.audit import contradiction_row
from utils.labelling.calibration.calibration import Calibration
from utils.labelling.calibration.file import calibration_input
from utils.labelling.clip_anchors import clip_anchors
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.label_noise import estimate_label_error
from utils.labelling.labeller import Labeller
from utils.labelling.sources import EvidenceSources
from utils.labelling.support import sample_valence_bins
from utils.labelling.types import Anchors, Labels
from utils.runs.manifest import path_input

log = logging.getLogger(__name__)

VALENCE_BINS = 10
BIN_SEED_STREAM = 12


class DatasetLabels(NamedTuple):
    """The labels of a data set.

    Attributes:
        tables: method → table of all frames of the selected test clips: clip, frame, the columns of `Labels.columns`,
            number of anchors, true labels and face box.
        contradictions: one row per given label that the other given labels of its clip contradict.
        adapted: what was fitted to the given labels, see `Labeller.adapted_content`; empty if nothing was.
    """

    tables: dict[str, pd.DataFrame]
    contradictions: pd.DataFrame
    adapted: dict[str, Any]


def label_dataset(clips: ClipReader, splits: Splits, settings: LabelSettings) -> DatasetLabels:
    """Labels the test clips by every rule and baseline, and audits their given labels.

    The settings can leave out clips; see `select_clips`.

    Args:
        clips: reads the clips; its labeller labels them.
        splits: frame tables of the training and the test set.
        settings: support strategy, amount and so on.
    """
    support_from_csv = read_support(settings.support_set.csv) if settings.support_set.csv else None
    test = select_clips(splits.test, settings.support_set, support_from_csv)
    if settings.support_set.strategy == "train_bins":
        training_anchors = sample_training_anchors(clips, splits.train, settings)
        encoded = clips.read(test)
        labeller, anchors_of_clips = clips.labeller, [training_anchors] * len(encoded)
    else:
        encoded = clips.read(test)
        labeller, anchors_of_clips = _adapt_to_support(clips, encoded, settings, support_from_csv)
    parts: dict[str, list[pd.DataFrame]] = {}
    contradictions: list[dict[str, object]] = []
    for clip, anchors in zip(encoded, anchors_of_clips, strict=True):
        for method, labels in labeller.label_by_all_methods(clip.encoded, anchors).items():
            parts.setdefault(method, []).append(_clip_table(clip, anchors, labels, method))
        found = labeller.audit(clip.encoded, anchors)
        contradictions += [{"clip": clip.name} | contradiction_row(label, anchors) for label in found]
    tables = {method: pd.concat(tables_of_clips, ignore_index=True) for method, tables_of_clips in parts.items()}
    tables |= _estimator_tables(clips, encoded, tables["linear"])
    adapted = {} if labeller is clips.labeller else labeller.adapted_content(_source_names(clips))
    return DatasetLabels(tables, pd.DataFrame(contradictions), adapted)


def _adapt_to_support(
    clips: ClipReader, encoded: list[DatasetClip], settings: LabelSettings, support_from_csv: pd.DataFrame | None
) -> tuple[Labeller, list[Anchors]]:
    """Chooses the anchors of each clip, and adapts the labeller to their labels; returns both."""
    anchors_of_clips = [
        clip_anchors(clips.labeller, encoded, clip_index, settings, support_from_csv)
        for clip_index in range(len(encoded))
    ]
    pairs = zip(encoded, anchors_of_clips, strict=True)
    labeller = clips.labeller.adapt([(clip.encoded, anchors) for clip, anchors in pairs])
    labeller.log_adaptation(
        _source_names(clips), sum(bool((anchors.indices >= 0).any()) for anchors in anchors_of_clips)
    )
    if settings.support_set.annotator_error == "auto":
        anchors_of_clips = with_estimated_errors(labeller, encoded, anchors_of_clips)
    return labeller, anchors_of_clips


def _source_names(clips: ClipReader) -> list[str]:
    return [MTCLAR_EVIDENCE] * bool(clips.labeller.model) + [estimator.name for estimator in clips.estimators]


def _estimator_tables(clips: ClipReader, encoded: list[DatasetClip], baseline: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Name of each estimator → table of its estimates, without any label, as a method to compare with.

    Args:
        clips: has the estimators.
        encoded: the clips.
        baseline: table of a baseline. It has the same frames and true labels, and no intervals, so that only its values
            are replaced.
    """
    tables = {}
    for column, estimator in enumerate(clips.estimators, 1 if clips.labeller.model else 0):
        valence, arousal = np.concatenate([clip.encoded.evidence[:, column] for clip in encoded]).T
        tables[estimator.name] = baseline.assign(valence=valence, arousal=arousal, source=PREDICTED, annotator="")
    return tables


def dataset_inputs(
    splits: Splits, sources: EvidenceSources, calibration: Calibration, settings: LabelSettings
) -> list[Input]:
    """What the labels of a data set depend on, for the manifest."""
    frames = splits.test
    if settings.support_set.strategy == "train_bins":
        frames = pd.concat([splits.train, splits.test])
    support = settings.support_set.csv
    return [
        *sources.inputs,
        *([path_input("support", support)] if support else []),
        calibration_input(sources.all[0].checkpoint, calibration),
        Input(role="data set", path=str(settings.data_root), sha256=frames_sha256(frames)),
    ]


def with_estimated_errors(
    labeller: Labeller, clips: list[DatasetClip], anchors_of_clips: list[Anchors]
) -> list[Anchors]:
    """The anchors of each clip, with the error of the given labels estimated by `label_noise`.

    All labels are taken to be by the same annotator.
    """
    pairs = [(clip.encoded, anchors) for clip, anchors in zip(clips, anchors_of_clips, strict=True)]
    error = estimate_label_error(pairs, labeller.calibration)
    if not error:
        return anchors_of_clips
    log.info("support labels: estimated standard deviation %.2f", error)
    return [anchors._replace(errors=np.full_like(anchors.errors, error)) for anchors in anchors_of_clips]


def select_clips(
    frames: pd.DataFrame, settings: SupportSettings, support_from_csv: pd.DataFrame | None
) -> pd.DataFrame:
    """The frames of clips with at least `min_frames` frames that, with the strategy `csv`, occur in the file."""
    kept = frames[frames.groupby("clip")["frame"].transform("size") >= settings.min_frames]
    if support_from_csv is not None:
        kept = kept[kept["clip"].isin(support_from_csv["clip"])]
    if kept.empty:
        count = frames["clip"].nunique()
        raise DataError(f"none of {count} clips is left to label; check support_set.min_frames and support_set.csv")
    return kept.reset_index(drop=True)


def read_support(path: Path) -> pd.DataFrame:
    """Reads a file of support frames: clip, frame, and valence and arousal (NaN where the file gives none).

    Raises:
        DataError: a column is missing, a value is not a number in range, or a frame is listed twice.
    """
    table = read_small_csv(path, "clip, frame, and valence, arousal")
    require_columns(table.columns, ("clip", "frame"), path)
    for name in ("frame", *AXES):
        given = table[name].str.strip() if name in table else pd.Series("", table.index)
        table[name] = pd.to_numeric(given, errors="coerce")
        wrong = table[name].isna() & (given != "") | (table[name].abs() > 1 if name in AXES else table[name].isna())
        if wrong.any():
            row, wanted = wrong.idxmax(), "a number in [-1, 1]" if name in AXES else "a frame number"
            raise DataError(f"{path} row {row + 2}: {name} is {quoted(str(given[row]))}; give {wanted}")
    if table.duplicated(["clip", "frame"]).any():
        row = table.duplicated(["clip", "frame"]).idxmax()
        raise DataError(f"{path} row {row + 2}: this frame of the clip is listed twice; delete one row")
    return table


def sample_training_anchors(clips: ClipReader, frames: pd.DataFrame, settings: LabelSettings) -> Anchors:
    """Anchors from the training set: `support_set.amount` frames of each of ten bins of valence.

    Their labels count as exact: `support_set.annotator_error` is ignored.
    """
    labels = frames[list(AXES)].to_numpy(np.float64)
    rng = np.random.default_rng([settings.seed, BIN_SEED_STREAM])
    rows = sample_valence_bins(labels, settings.support_set.amount, VALENCE_BINS, rng)
    table = frames.iloc[rows].reset_index(drop=True)
    (embeddings,) = clips.embed([table])
    no_time, not_in_clip = np.full(len(rows), np.nan), np.full(len(rows), -1)
    exact = np.zeros((len(rows), len(AXES)))
    people = table["subject"].nunique()
    return Anchors(embeddings, labels[rows], exact, no_time, table["frame"].to_numpy(), not_in_clip, people)


def _clip_table(clip: DatasetClip, anchors: Anchors, labels: Labels, method: str) -> pd.DataFrame:
    frames = clip.frames
    table = frames[["clip", "frame"]].assign(**labels.columns(anchors, method), anchors=len(anchors.labels))
    table = table.assign(valence_true=frames["valence"], arousal_true=frames["arousal"])
    return table.join(frames[BOX])
