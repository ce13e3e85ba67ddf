"""The paper's experiment: labels each test clip by every rule and baseline, usually from a few of its true labels.

With the strategy `train_bins`, the clips are labelled from frames of the training set instead.
"""

import logging
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from datasets.columns import BOX, PREDICTED
from datasets.frames import frames_sha256
from datasets.splits import Splits
from utils.config.labelling import LabelSettings
from utils.config.manifest import Input
from utils.labelling.adaptation_report import adapted_content, log_adaptation
from utils.labelling.anchors import FUSED
from utils.labelling.audit import contradiction_row
from utils.labelling.calibration.calibration import Calibration
from utils.labelling.calibration.file import calibration_input
from utils.labelling.clip_anchors import clip_anchors, sample_training_anchors
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.label_noise import estimate_label_error
from utils.labelling.labeller import Labeller
from utils.labelling.sources import EvidenceSources
from utils.labelling.support_file import read_support_file, select_clips
from utils.labelling.types import Anchors, Labels
from utils.runs.manifest import path_input

log = logging.getLogger(__name__)


class DatasetLabels(NamedTuple):
    """The labels of a data set.

    Attributes:
        tables: method → table of all frames of the selected test clips: clip, frame, the columns of `Labels.columns`,
            number of anchors, true labels and face box.
        contradictions: one row per given label that the other given labels of its clip contradict.
        adapted: what was fitted to the given labels, see `adapted_content`; empty if nothing was.
    """

    tables: dict[str, pd.DataFrame]
    contradictions: pd.DataFrame
    adapted: dict[str, Any]


def label_dataset(
    reader: ClipReader, labeller: Labeller, splits: Splits, settings: LabelSettings, source_names: list[str]
) -> DatasetLabels:
    """Label the test clips by every rule and baseline, and audit their given labels.

    The settings can leave out clips; see `select_clips`.

    Args:
        reader: reads the clips.
        labeller: labels them; from `labeller_for_dataset`.
        splits: frame tables of the training and the test set.
        settings: support strategy, amount and so on.
        source_names: names of all sources, see `EvidenceSources.names`.
    """
    support_from_csv = read_support_file(settings.support_set.csv) if settings.support_set.csv else None
    clips = reader.read(select_clips(splits.test, settings.support_set, support_from_csv))
    if settings.support_set.strategy == "train_bins":
        anchors_of_clips = [sample_training_anchors(reader, splits.train, settings)] * len(clips)
        adapted: dict[str, Any] = {}
    else:
        anchors_of_clips = [
            clip_anchors(labeller, clips, clip_index, settings, support_from_csv) for clip_index in range(len(clips))
        ]
        labeller = _adapt(labeller, clips, anchors_of_clips, source_names)
        adapted = adapted_content(labeller, source_names)
        if settings.support_set.annotator_error == "auto":
            anchors_of_clips = with_estimated_errors(labeller, clips, anchors_of_clips)
    shared = _shared_labels(labeller, clips, anchors_of_clips) if settings.support_set.share_people else {}
    tables = _label_by_all_methods(labeller, clips, anchors_of_clips, shared)
    # The table of any baseline will do: it has the frames and true labels, but no intervals.
    tables |= _estimator_tables(reader, clips, template=tables["linear"])
    return DatasetLabels(tables, _contradictions(labeller, clips, anchors_of_clips), adapted)


def _adapt(labeller: Labeller, clips: list[DatasetClip], anchors_of_clips: list[Anchors], names: list[str]) -> Labeller:
    """Fit the uncalibrated sources to the given labels of all clips; `names` are those of all sources."""
    pairs = [(clip.encoded, anchors) for clip, anchors in zip(clips, anchors_of_clips, strict=True)]
    adapted = labeller.adapt(pairs)
    labelled_clips = sum(len(anchors.in_clip.indices) > 0 for anchors in anchors_of_clips)
    log_adaptation(adapted, names, labelled_clips)
    return adapted


def _label_by_all_methods(
    labeller: Labeller, clips: list[DatasetClip], anchors_of_clips: list[Anchors], shared: dict[str, Labels]
) -> dict[str, pd.DataFrame]:
    """Method → table of the labels of all clips; `shared` replaces the fused labels of the clips that it names."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for clip, anchors in zip(clips, anchors_of_clips, strict=True):
        methods = labeller.label_by_all_methods(clip.encoded, anchors)
        if clip.name in shared:
            methods[FUSED] = shared[clip.name]
        for method, labels in methods.items():
            parts.setdefault(method, []).append(_clip_table(clip, anchors, labels, method))
    return {method: pd.concat(tables_of_clips, ignore_index=True) for method, tables_of_clips in parts.items()}


def _shared_labels(labeller: Labeller, clips: list[DatasetClip], anchors_of_clips: list[Anchors]) -> dict[str, Labels]:
    """Name of a clip → its fused labels, for all clips of people with several clips, who share their labels."""
    by_person: dict[str, list[tuple[DatasetClip, Anchors]]] = {}
    for clip, anchors in zip(clips, anchors_of_clips, strict=True):
        by_person.setdefault(clip.person, []).append((clip, anchors))
    shared = {}
    several = [pairs for pairs in by_person.values() if len(pairs) > 1]
    for pairs in several:
        encoded = labeller.encoder.relative_to_person([clip.encoded for clip, _ in pairs])
        posteriors = labeller.person_posteriors(encoded, [anchors for _, anchors in pairs])
        for (clip, anchors), posteriors_of_clip in zip(pairs, posteriors, strict=True):
            shared[clip.name] = labeller.fused_labels(posteriors_of_clip, anchors)
    text = "%d of %d people have several clips, %d in all, which share the labels of the person"
    log.info(text, len(several), len(by_person), len(shared))
    return shared


def _contradictions(labeller: Labeller, clips: list[DatasetClip], anchors_of_clips: list[Anchors]) -> pd.DataFrame:
    """One row per given label that the other given labels of its clip contradict."""
    rows: list[dict[str, object]] = []
    for clip, anchors in zip(clips, anchors_of_clips, strict=True):
        found = labeller.audit(clip.encoded, anchors)
        rows += [{"clip": clip.name} | contradiction_row(label, anchors) for label in found]
    return pd.DataFrame(rows)


def _estimator_tables(reader: ClipReader, clips: list[DatasetClip], template: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Name of each estimator → table of its estimates, without any label, as a method to compare with.

    Args:
        reader: has the estimators.
        clips: the encoded clips.
        template: table with the same frames and true labels, and without intervals, whose values are replaced.
    """
    tables = {}
    for column, estimator in enumerate(reader.estimators, 1 if reader.encoder.model else 0):
        valence, arousal = np.concatenate([clip.encoded.evidence[:, column] for clip in clips]).T
        tables[estimator.name] = template.assign(valence=valence, arousal=arousal, source=PREDICTED, annotator="")
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
        calibration_input(sources.only_checkpoint, calibration),
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


def _clip_table(clip: DatasetClip, anchors: Anchors, labels: Labels, method: str) -> pd.DataFrame:
    frames = clip.frames
    table = frames[["clip", "frame"]].assign(**labels.columns(anchors, method), anchors=len(anchors.labels))
    table = table.assign(valence_true=frames["valence"], arousal_true=frames["arousal"])
    return table.join(frames[BOX])
