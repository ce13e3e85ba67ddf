"""The frame table: one pandas row per frame. Readers make it, splits divide it, samplers draw from it.

A frame table has the columns of ``COLUMNS`` in this order, and, where a film's pixels are not square, one
more column ``pixel_aspect``. Its rows are sorted by clip, then by frame number.

===========================  =======  =====================================================================
column                       type     meaning
===========================  =======  =====================================================================
path                         str      absolute path of the image
clip                         str      the clip that the frame belongs to; a still image is a clip of its own
frame                        int64    frame number in the clip
subject                      str      the person shown; splits keep a subject together
valence, arousal             float32  in [-1, 1]; NaN = not labelled
expression                   int64    index into ``EXPRESSIONS``; -1 = none
left, top, right, bottom     float32  landmark box, in pixels of the image as stored (see ``datasets.faces``)
pixel_aspect (optional)      float32  width / height of one pixel as shown; absent or NaN = 1
===========================  =======  =====================================================================
"""

import difflib
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from utils.errors import UserError

logger = logging.getLogger(__name__)

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")

PIXEL_ASPECT = "pixel_aspect"

MAX_COLUMNS = 200
MAX_HEADER = 1 << 16  # bytes

_TYPES = {
    "path": str, "clip": str, "frame": np.int64, "subject": str,
    "valence": np.float32, "arousal": np.float32, "expression": np.int64,
    "left": np.float32, "top": np.float32, "right": np.float32, "bottom": np.float32,
}  # fmt: skip

COLUMNS = tuple(_TYPES)


class DataError(UserError):
    """Input that cannot be used as it is. The message names the file, the row or key, and the remedy."""


def frame_table(rows: Mapping | pd.DataFrame) -> pd.DataFrame:
    """Turn columns into a frame table: column order, types, sorting, no frame twice.

    Args:
        rows: the columns of ``COLUMNS``, optionally ``pixel_aspect``; further columns are dropped.

    Raises:
        DataError: a (clip, frame) occurs more than once.
    """
    frames = pd.DataFrame(rows)
    types = _TYPES | ({PIXEL_ASPECT: np.float32} if PIXEL_ASPECT in frames else {})
    frames = frames[list(types)].astype(types)
    twice = frames.duplicated(["clip", "frame"])
    if twice.any():
        first = frames[twice].iloc[0]
        raise DataError(f"clip {first['clip']!r}, frame {first['frame']} is listed more than once: "
                        f"{first['path']}; keep one of its rows")  # fmt: skip
    return frames.sort_values(["clip", "frame"], kind="stable", ignore_index=True)


def require_columns(present: Iterable[str], required: Iterable[str], file: Path) -> None:
    """Raise DataError unless every required column is there; the message names the nearest one present."""
    present = [str(name) for name in present]
    for name in required:
        if name in present:
            continue
        near = difflib.get_close_matches(name, present, n=1, cutoff=0.6)
        found = f"rename its column {near[0]!r}" if near else f"add it; its columns are {', '.join(present)}"
        raise DataError(f"{file}: column {name!r} is missing: {found}")


def check_header(file: Path) -> None:
    """Raise DataError unless a CSV begins with a header of bounded size: parsers keep a list of the columns."""
    try:
        if not file.is_file():
            raise DataError(f"{file}: cannot be read as CSV (no such file); check the path")
        with file.open("rb") as content:
            line = content.readline(MAX_HEADER + 1)
    except OSError as error:
        raise DataError(f"{file}: cannot be read as CSV ({error.strerror}); restore the file") from error
    if len(line) > MAX_HEADER or max(map(line.count, (b",", b";", b"\t"))) >= MAX_COLUMNS:
        raise DataError(f"{file}: its first line is no header of at most {MAX_COLUMNS} columns; restore the file")


def read_small_csv(file: Path, wanted: str) -> pd.DataFrame:
    """A CSV of a few columns, its cells as text. Raises DataError, which names the columns `wanted`."""
    check_header(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are longer than the header
            return pd.read_csv(
                file, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig", compression=None
            )
    except (OSError, ValueError, pd.errors.ParserWarning) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{file}: cannot be read as CSV ({error}); give {wanted}") from error


@dataclass
class _LeftOut:
    count: int
    first: str
    asked: bool


class FrameBuilder:
    """Collects the frames that a reader can use, and by reason those that it leaves out.

    ``build`` reports each reason in one log line: "left out 12 rows: no face (expression code 10), first:
    training.csv row 3".

    Args:
        source: the dataset's folder, named in errors.
        strict: any row left out is a DataError instead, except those that a setting asked to leave out.
    """

    def __init__(self, source: Path, strict: bool = False):
        self.source = source
        self.strict = strict
        self._parts: list[pd.DataFrame] = []
        self._left_out: dict[str, _LeftOut] = {}

    def add(self, rows: Mapping | pd.DataFrame) -> None:
        """Take rows (columns as in ``frame_table``)."""
        self._parts.append(pd.DataFrame(rows))

    def leave_out(self, reason: str, first: str, count: int = 1, asked: bool = False) -> None:
        """Count rows left out. ``first``: file and row of the first; ``asked``: a setting asks for it."""
        self._left_out.setdefault(reason, _LeftOut(0, first, asked)).count += count

    def keep(
        self, rows: pd.DataFrame, good, reason: str, name: Callable[..., str], asked: bool = False
    ) -> pd.DataFrame:
        """Rows where ``good`` (N,) is true; the others are left out.

        ``name`` maps an index label of ``rows`` to file and row.
        """
        good = np.asarray(good, bool)
        if good.all():
            return rows
        self.leave_out(reason, name(rows.index[~good][0]), int((~good).sum()), asked)
        return rows[good]

    def build(self) -> pd.DataFrame:
        """The frame table of all rows added.

        Raises:
            DataError: nothing is left, a frame occurs twice, or (``strict``) rows were left out.
        """
        lines = [self._line(reason, rows) for reason, rows in self._left_out.items()]
        defects = [line for line, rows in zip(lines, self._left_out.values(), strict=True) if not rows.asked]
        if self.strict and defects:
            raise DataError(f"{self.source}: {'; '.join(defects)}. Repair these rows, or set strict to false")
        if not sum(map(len, self._parts)):
            why = "; ".join(lines) or "it lists none"
            raise DataError(f"{self.source}: no frame can be used: {why}")
        for line in lines:
            logger.warning(line)
        return frame_table(pd.concat(self._parts))

    @staticmethod
    def _line(reason: str, rows: _LeftOut) -> str:
        return f"left out {rows.count} row{'s' * (rows.count != 1)}: {reason}, first: {rows.first}"


class Splits(NamedTuple):
    """Three frame tables without a common subject."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame


def split_by_subject(
    frames: pd.DataFrame, fold: int, folds: int = 5, validation_share: float = 0.15, seed: int = 0
) -> Splits:
    """Cross-validation split with each subject in one part only.

    scikit-learn's GroupKFold deals the shuffled subjects into ``folds`` test sets of equally many subjects
    (± 1); GroupShuffleSplit then draws the validation subjects from those outside the test set.

    Args:
        frames: frame table.
        fold: which of the folds is the test set, 0 … folds - 1.
        validation_share: share of the remaining subjects that validate, in (0, 1).
        seed: same seed, same folds, whatever the order of the rows.

    Raises:
        DataError: fold, folds or share out of range, or too few subjects.
    """
    from sklearn.model_selection import GroupKFold, GroupShuffleSplit  # slow to import, needed only here

    _check_split(frames["subject"].nunique(), fold, folds, validation_share)
    subjects = frames["subject"].to_numpy(str)
    deal = GroupKFold(folds, shuffle=True, random_state=seed)
    rest, test = list(deal.split(subjects, groups=subjects))[fold]
    draw = GroupShuffleSplit(1, test_size=validation_share, random_state=seed)
    train, validation = next(draw.split(rest, groups=subjects[rest]))
    rows = rest[train], rest[validation], test
    return Splits(*(frames.iloc[np.sort(part)].reset_index(drop=True) for part in rows))


def _check_split(subjects: int, fold: int, folds: int, validation_share: float) -> None:
    if folds < 2:
        raise DataError(f"folds = {folds}: cross-validation needs at least 2")
    if not 0 <= fold < folds:
        raise DataError(f"fold = {fold} is out of range: choose 0 to {folds - 1}")
    if not 0 < validation_share < 1:
        raise DataError(f"validation_share = {validation_share}: must lie between 0 and 1, both excluded")
    rest = subjects - -(-subjects // folds)
    if subjects < folds or rest < 2:
        raise DataError(f"{subjects} subjects are too few for {folds} folds with separate training and "
                        "validation subjects: lower folds, or add clips of other people")  # fmt: skip
    if np.ceil(validation_share * rest) >= rest:
        raise DataError(f"validation_share = {validation_share} leaves none of {rest} subjects to train on: "
                        "lower it")  # fmt: skip
