"""The anchors of a clip of a data set: labelled frames of the clip itself, of its person, or of others."""

import numpy as np
import pandas as pd
import torch

from datasets.columns import AXES
from utils.base.errors import DataError
from utils.compute.seeds import BIN_SEED_STREAM, PERSON_SEED_STREAM, SUPPORT_SEED_STREAM
from utils.config.labelling import LabelSettings
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.labeller import Labeller
from utils.labelling.support import SUPPORT_STRATEGIES, sample_valence_bins
from utils.labelling.types import Anchors

VALENCE_BINS = 10  # of the strategy train_bins


def clip_anchors(
    labeller: Labeller,
    clips: list[DatasetClip],
    clip_index: int,
    settings: LabelSettings,
    support_from_csv: pd.DataFrame | None = None,
) -> Anchors:
    """The anchors of a clip, by the scope and the strategy of the settings or from a file.

    Args:
        labeller: chooses the frames of the strategy `suggested`.
        clips: all clips.
        clip_index: index of the clip to label.
        settings: scope, strategy, amount, seed, and the error of a label.
        support_from_csv: the table that `read_support_file` returned; None: the strategy chooses the frames.
    """
    pool_indices = clips_in_scope([clip.person for clip in clips], clip_index, settings)
    pool = [clips[index] for index in pool_indices]
    if support_from_csv is None:
        chosen = _choose_support(labeller, pool, settings, pool_indices[0])
        support = [(indices, clip.labels[indices]) for clip, indices in zip(pool, chosen, strict=True)]
    else:
        support = [_support_of_clip(clip, support_from_csv) for clip in pool]
    parts = [_anchors_at(clip, *labelled, settings) for clip, labelled in zip(pool, support, strict=True)]
    if settings.support_set.scope == "clip":
        return parts[0]
    return _join(
        [part if index == clip_index else _outside(part) for index, part in zip(pool_indices, parts, strict=True)]
    )


def sample_training_anchors(reader: ClipReader, frames: pd.DataFrame, settings: LabelSettings) -> Anchors:
    """Anchors from the training set: `support_set.amount` frames of each of ten bins of valence.

    Their labels count as exact: `support_set.annotator_error` is ignored.
    """
    labels = frames[list(AXES)].to_numpy(np.float64)
    rng = np.random.default_rng([settings.seed, BIN_SEED_STREAM])
    rows = sample_valence_bins(labels, settings.support_set.amount, VALENCE_BINS, rng)
    table = frames.iloc[rows].reset_index(drop=True)
    (embeddings,) = reader.embed([table])
    no_time, not_in_clip = np.full(len(rows), np.nan), np.full(len(rows), -1)
    exact = np.zeros((len(rows), len(AXES)))
    people = table["subject"].nunique()
    return Anchors(embeddings, labels[rows], exact, no_time, table["frame"].to_numpy(), not_in_clip, people)


def clips_in_scope(people: list[str], clip_index: int, settings: LabelSettings) -> list[int]:
    """Indices of the clips whose frames may be anchors of a clip, by `support_set.scope`.

    Args:
        people: the person of each clip.
        clip_index: index of the clip to label.
        settings: scope, and the seed that draws another person if the clip is the only one of its person.

    Raises:
        DataError: scope others, and all clips are of one person who has no other clip.
    """
    person, scope = people[clip_index], settings.support_set.scope
    if scope == "clip":
        return [clip_index]
    same_person = [index for index, other in enumerate(people) if other == person]
    if scope == "person":
        return same_person
    strangers = sorted(set(people) - {person})
    if len(same_person) > 1:
        return [index for index in same_person if index != clip_index]
    if not strangers:
        raise DataError("support_set.scope others needs at least two clips to label; use scope clip or person")
    drawn = np.random.default_rng([settings.seed, PERSON_SEED_STREAM, clip_index]).choice(strangers)
    return [index for index, other in enumerate(people) if other == drawn]


def _choose_support(
    labeller: Labeller, pool: list[DatasetClip], settings: LabelSettings, seed_index: int
) -> list[np.ndarray]:
    """Ascending indices (A,) of the frames to label in each clip of the pool, by the settings' strategy."""
    labelled = [clip.labelled for clip in pool]
    lengths = [len(indices) for indices in labelled]
    strategy, amount = settings.support_set.strategy, settings.support_set.amount_for(sum(lengths))
    if strategy == "suggested":
        if lengths[0] < len(pool[0].frames):
            raise DataError(
                f"clip {pool[0].name}: the strategy suggested may choose any frame, but only {lengths[0]} of "
                f"{len(pool[0].frames)} are labelled; set support_set.strategy to uniform_k"
            )
        suggestions = labeller.suggest_set(pool[0].encoded, None, amount)
        return [np.sort([suggestion.frame_index for suggestion in suggestions])]
    rng = np.random.default_rng([settings.seed, SUPPORT_SEED_STREAM, seed_index])
    embeddings = torch.cat([clip.encoded.embeddings.cpu() for clip in pool]).numpy()[_rows(pool, labelled)]
    chosen = SUPPORT_STRATEGIES[strategy](embeddings, amount, rng)
    starts = np.cumsum(lengths) - lengths
    relative = [chosen - start for start in starts]
    return [
        known[indices[(indices >= 0) & (indices < len(known))]]
        for indices, known in zip(relative, labelled, strict=True)
    ]


def _rows(pool: list[DatasetClip], labelled: list[np.ndarray]) -> np.ndarray:
    """Indices of the labelled frames among all frames of the pool."""
    starts = np.cumsum([0] + [len(clip.frames) for clip in pool[:-1]])
    return np.concatenate([start + indices for start, indices in zip(starts, labelled, strict=True)])


def _anchors_at(clip: DatasetClip, indices: np.ndarray, labels: np.ndarray, settings: LabelSettings) -> Anchors:
    """Anchors at frames of a clip; labels equal to the true ones are by an annotator with the data set's name."""
    true = (labels == clip.labels[indices]).all(1)
    annotators = np.where(true, settings.dataset, "")
    return clip.anchors(indices, labels, settings.support_set.known_error)._replace(annotators=annotators)


def _support_of_clip(clip: DatasetClip, support_from_csv: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Indices (A,) and labels (A, 2) of the support frames of this clip; labels not in the file are the true ones."""
    support = support_from_csv[support_from_csv["clip"] == clip.name].sort_values("frame")
    missing = support[~support["frame"].isin(clip.frames["frame"])]
    if len(missing):
        raise DataError(f"clip {clip.name} has no frame {missing['frame'].iloc[0]:g}; correct support_set.csv")
    indices = np.searchsorted(clip.frames["frame"].to_numpy(), support["frame"].to_numpy())
    given = support[list(AXES)].to_numpy(np.float64)
    labels = np.where(np.isfinite(given), given, clip.labels[indices])
    if not np.isfinite(labels).all():
        frame = support["frame"].iloc[int(np.argmin(np.isfinite(labels).all(1)))]
        raise DataError(f"clip {clip.name}, frame {frame:g} has no label; add valence and arousal to support_set.csv")
    return indices, labels


def _outside(anchors: Anchors) -> Anchors:
    """The anchors of one clip, as anchors of another one."""
    return anchors._replace(indices=np.full(len(anchors.indices), -1))


def _join(parts: list[Anchors]) -> Anchors:
    """The anchors of several clips of one person. They have no time, since the clips have no common clock."""
    annotators = [part.annotators for part in parts if part.annotators is not None]
    return Anchors(
        embeddings=torch.cat([part.embeddings for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        errors=np.concatenate([part.errors for part in parts]),
        times=np.concatenate([np.full_like(part.times, np.nan) for part in parts]),
        frames=np.concatenate([part.frames for part in parts]),
        indices=np.concatenate([part.indices for part in parts]),
        annotators=np.concatenate(annotators) if len(annotators) == len(parts) else None,
    )
