"""The file of support frames that `support_set.csv` names, and the clips of a data set that are labelled."""

import logging
from pathlib import Path

import pandas as pd

from datasets.columns import AXES
from datasets.csv_files import read_small_csv, require_columns
from datasets.splits import Splits
from utils.base.errors import DataError, did_you_mean
from utils.base.text import listed, quoted
from utils.config.sections import SupportSettings

log = logging.getLogger(__name__)


def read_support_file(path: Path) -> pd.DataFrame:
    """Read a file of support frames: clip, frame, and valence and arousal (NaN where the file gives none).

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


def select_clips(splits: Splits, settings: SupportSettings, support_from_csv: pd.DataFrame | None) -> pd.DataFrame:
    """The frames of test clips with at least `min_frames` frames that, with the strategy `csv`, occur in the file.

    Raises:
        DataError: the file names a clip that the data set does not have, or no clip is left.
    """
    frames = splits.test
    kept = frames[frames.groupby("clip")["frame"].transform("size") >= settings.min_frames]
    if support_from_csv is not None:
        _check_clips(support_from_csv["clip"], splits, settings.csv)
        kept = kept[kept["clip"].isin(support_from_csv["clip"])]
    if kept.empty:
        count = frames["clip"].nunique()
        raise DataError(f"none of {count} clips is left to label; check support_set.min_frames and support_set.csv")
    return kept.reset_index(drop=True)


def _check_clips(clips: pd.Series, splits: Splits, path: Path | None) -> None:
    """Refuse clips that the data set does not have, and warn of those outside the test set, which are not labelled.

    A file may serve all folds of a data set, so it may name clips outside the test set.

    Args:
        clips: the column `clip` of the file.
        splits: frame tables of the data set.
        path: the file, for messages.
    """
    known = {clip for frames in splits for clip in frames["clip"].unique()}
    unknown = ~clips.isin(known)
    if unknown.any():
        row = unknown.idxmax()
        near = did_you_mean(clips[row], sorted(known))
        raise DataError(
            f"{path} row {row + 2}: the data set has no usable clip {quoted(clips[row])}{near}; correct the row, "
            "or see in the log what was left out"
        )
    elsewhere = sorted(set(clips) - set(splits.test["clip"]))
    if elsewhere:
        log.warning("%s: these clips are not in the test set, so they are not labelled: %s", path, listed(elsewhere))
