"""The frame table: one pandas row per frame. Readers make it, splits divide it, samplers draw from it.

A frame table has the columns of ``COLUMNS`` in this order, and those of ``OPTIONAL_COLUMNS`` that its reader gives.
Its rows are sorted by clip, then by frame number.

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
time (optional)              float64  seconds from the start of the video; absent = not known
===========================  =======  =====================================================================
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from datasets.columns import AXES, BOX
from utils.base.errors import DataError
from utils.base.files import sha256_of_file
from utils.base.text import quoted

logger = logging.getLogger(__name__)

PIXEL_ASPECT, TIME = "pixel_aspect", "time"

_TYPES: dict[str, type] = {
    "path": str,
    "clip": str,
    "frame": np.int64,
    "subject": str,
    **dict.fromkeys(AXES, np.float32),
    "expression": np.int64,
    **dict.fromkeys(BOX, np.float32),
}

_OPTIONAL_TYPES: dict[str, type] = {PIXEL_ASPECT: np.float32, TIME: np.float64}

COLUMNS = tuple(_TYPES)
OPTIONAL_COLUMNS = tuple(_OPTIONAL_TYPES)


def frames_sha256(frames: pd.DataFrame) -> str:
    """Return a hash of a frame table and of its images' content, whatever folder the images are in."""
    digest = hashlib.sha256(frames.drop(columns="path").to_csv(index=False).encode())
    for path in frames["path"]:
        digest.update(sha256_of_file(Path(path)).encode())
    return digest.hexdigest()


def frame_table(rows: Any) -> pd.DataFrame:
    """Make a frame table: order the columns, convert their types, sort the rows, and refuse duplicates.

    Args:
        rows: anything that `pandas.DataFrame` accepts, with the columns of ``COLUMNS`` and optionally those of
            ``OPTIONAL_COLUMNS``. Other columns are dropped.

    Raises:
        DataError: a (clip, frame) occurs more than once.
    """
    frames = pd.DataFrame(rows)
    types = _TYPES | {name: kind for name, kind in _OPTIONAL_TYPES.items() if name in frames}
    frames = frames[list(types)].astype(types)
    duplicated = frames.duplicated(["clip", "frame"])
    if duplicated.any():
        first = frames[duplicated].iloc[0]
        raise DataError(
            f"clip {quoted(first['clip'])}, frame {first['frame']} is listed more than once: "
            f"{first['path']}; keep one of its rows"
        )
    return frames.sort_values(["clip", "frame"], kind="stable", ignore_index=True)


def is_labelled(frames: pd.DataFrame) -> np.ndarray:
    """Whether each row (N,) of a frame table has valence and arousal."""
    return frames[list(AXES)].notna().all(axis=1).to_numpy()


@dataclass
class _Omission:
    """Rows left out for one reason: their number, where the first one is, and whether a setting requested it."""

    count: int
    first: str
    requested: bool


class FrameBuilder:
    """Collects the frames that a reader can use, and counts those that it leaves out, by reason.

    ``build`` logs one line per reason: "left out 12 rows: no face (expression code 10), first: training.csv row 3".

    Args:
        source: the dataset's file or folder, named in errors.
        strict: raise DataError if any row is left out, except for rows that a setting requested to leave out.
    """

    def __init__(self, source: Path, strict: bool = False):
        self.source = source
        self.strict = strict
        self._parts: list[pd.DataFrame] = []
        self._omissions: dict[str, _Omission] = {}

    def add(self, rows: Any) -> None:
        """Add rows, given as in ``frame_table``."""
        self._parts.append(pd.DataFrame(rows))

    def leave_out(self, reason: str, first: str, count: int = 1, requested: bool = False) -> None:
        """Count rows that are left out.

        Args:
            reason: why, for the log.
            first: file and row of the first of them.
            count: how many.
            requested: whether a setting requested it, so that ``strict`` permits it.
        """
        self._omissions.setdefault(reason, _Omission(0, first, requested)).count += count

    def keep(
        self,
        rows: pd.DataFrame,
        usable: ArrayLike,
        reason: str,
        describe_row: Callable[[Any], str],
        requested: bool = False,
    ) -> pd.DataFrame:
        """Return the usable rows and count the others as left out.

        Args:
            rows: N rows.
            usable: (N,) bool.
            reason: why the others are left out.
            describe_row: maps an index label of ``rows`` to its file and row, for the log.
            requested: see ``leave_out``.
        """
        mask = np.asarray(usable, bool)
        if mask.all():
            return rows
        self.leave_out(reason, describe_row(rows.index[~mask][0]), int((~mask).sum()), requested)
        return rows[mask]

    def build(self) -> pd.DataFrame:
        """Return the frame table of all rows added, and log what was left out.

        Raises:
            DataError: nothing is left, a frame occurs twice, or (``strict``) rows were left out.
        """
        lines = [self._line(reason, omission) for reason, omission in self._omissions.items()]
        defects = [
            line for line, omission in zip(lines, self._omissions.values(), strict=True) if not omission.requested
        ]
        if self.strict and defects:
            raise DataError(f"{self.source}: {'; '.join(defects)}. Repair these rows, or set strict to false")
        if not sum(map(len, self._parts)):
            why = "; ".join(lines) or "it lists none"
            raise DataError(f"{self.source}: no frame can be used: {why}")
        for line in lines:
            logger.warning(line)
        return frame_table(pd.concat(self._parts))

    @staticmethod
    def _line(reason: str, omission: _Omission) -> str:
        plural = "s" if omission.count != 1 else ""
        return f"left out {omission.count} row{plural}: {reason}, first: {omission.first}"
