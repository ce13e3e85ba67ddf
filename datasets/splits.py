"""Splits into training, validation and test set, with every subject in only one of them."""

import hashlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from utils.base.errors import DataError


class Splits(NamedTuple):
    """Three frame tables without a common subject."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame


def describe_splits(splits: Splits) -> dict[str, Any]:
    """Describe a split by numbers and a hash, without the names of people.

    Returns:
        images and people: part → number; people is None if the data set does not name them. sha256: hash of the clip,
        frame and subject of each row of each part.
    """
    digest = hashlib.sha256()
    for name, frames in zip(splits._fields, splits, strict=True):
        digest.update(f"{name}\n{frames[['clip', 'frame', 'subject']].to_csv(index=False)}".encode())
    counts = {name: frames["subject"].nunique() for name, frames in zip(splits._fields, splits, strict=True)}
    images = {name: len(frames) for name, frames in zip(splits._fields, splits, strict=True)}
    return {"images": images, "people": counts if counts != images else None, "sha256": digest.hexdigest()}


def split_by_subject(
    frames: pd.DataFrame, fold: int, folds: int = 5, validation_share: float = 0.15, seed: int = 0
) -> Splits:
    """Make a cross-validation split in which every subject is in only one part.

    scikit-learn's GroupKFold divides the shuffled subjects into ``folds`` test sets of equally many subjects
    (± 1); GroupShuffleSplit then draws the validation subjects from those outside the test set.

    Args:
        frames: frame table.
        fold: index of the fold that is the test set, 0 … folds - 1.
        folds: number of folds, at least 2.
        validation_share: share of the remaining subjects that validate, in (0, 1).
        seed: the same seed gives the same folds, whatever the order of the rows.

    Raises:
        DataError: an argument is out of range, or there are too few subjects.
    """
    from sklearn.model_selection import GroupKFold, GroupShuffleSplit  # takes seconds to import, and only this needs it

    _check_split(frames["subject"].nunique(), fold, folds, validation_share)
    subjects = frames["subject"].to_numpy(str)
    outer = GroupKFold(folds, shuffle=True, random_state=seed)
    rest, test = list(outer.split(subjects, groups=subjects))[fold]
    inner = GroupShuffleSplit(1, test_size=validation_share, random_state=seed)
    train, validation = next(inner.split(rest, groups=subjects[rest]))
    rows = rest[train], rest[validation], test
    return Splits(*(frames.iloc[np.sort(part)].reset_index(drop=True) for part in rows))


def _check_split(subjects: int, fold: int, folds: int, validation_share: float) -> None:
    """Raise DataError unless every part of the split gets a subject."""
    if folds < 2:
        raise DataError(f"folds = {folds}: cross-validation needs at least 2")
    if not 0 <= fold < folds:
        raise DataError(f"fold = {fold} is out of range: choose 0 to {folds - 1}")
    if not 0 < validation_share < 1:
        raise DataError(f"validation_share = {validation_share}: must lie between 0 and 1, both excluded")
    rest = subjects - -(-subjects // folds)
    if subjects < folds or rest < 2:
        raise DataError(
            f"{subjects} subjects are too few for {folds} folds with separate training and "
            "validation subjects: lower folds, or add clips of other people"
        )
    if np.ceil(validation_share * rest) >= rest:
        raise DataError(f"validation_share = {validation_share} leaves none of {rest} subjects to train on: lower it")
