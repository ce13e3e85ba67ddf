"""The files of a check: check_to_label.csv, which a person fills in, and check.json beside it, which keeps the draw."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from datasets.annotations.cells import parse_scores, parse_track, parse_whole_number
from datasets.annotations.csv_rows import cells_by_column, csv_rows
from datasets.columns import AXES
from datasets.csv_files import require_columns
from utils.base.errors import DataError
from utils.base.json_files import read_json
from utils.base.text import listed, plain_text, safe_text
from utils.config.manifest import Input
from utils.labelling.check import LEVEL, ErrorBound, bound_error

FORMAT = 1
TEMPLATE_NAME, DRAW_NAME, BOUNDS_NAME = "check_to_label.csv", "check.json", "check.csv"

ASSUMPTIONS = f"""\
The bound holds at {LEVEL:.0%} if the frames were labelled without seeing their estimates, by the person whose labels
the error is measured against. This person's own errors are part of it. It is of the estimates at the time of the draw,
before the labels of the check are used.
"""

FrameKey = tuple[str, int, int]
"""Video, track and frame."""


class CheckLabel(NamedTuple):
    """The label of a drawn frame.

    Attributes:
        valence: in [-1, 1].
        arousal: in [-1, 1].
        annotator: who labelled the frame; empty: the CSV does not say.
    """

    valence: float
    arousal: float
    annotator: str = ""


CheckLabels = dict[FrameKey, CheckLabel]


class CheckedFrame(BaseModel):
    """A drawn frame.

    Attributes:
        video: name of the video.
        track: number of the track.
        frame: number of the frame.
        time: seconds from the start of the video.
        estimate: valence and arousal, as estimated when the frame was drawn.
        draws: how often the frame was drawn.
        weight: weight of each of these draws, as in `FrameDraw`.
    """

    model_config = ConfigDict(extra="forbid")

    video: str
    track: int
    frame: int
    time: float
    estimate: tuple[float, float]
    draws: int
    weight: float

    @property
    def key(self) -> FrameKey:
        """Key of the frame in the archive."""
        return self.video, self.track, self.frame


class CheckDraw(BaseModel):
    """The content of check.json: frames drawn at random from all frames without a given label.

    The estimates are kept here, so that nothing that is labelled later can change them.

    Attributes:
        format: version of the format.
        inputs: what the estimates depend on: network, calibration, videos and labels, with their hashes.
        population: number of frames without a given label in all tracks and videos.
        expected: expected RMSE of valence and arousal over these frames.
        frames: the drawn frames, each once, in the order of videos, tracks and time.
        uncovered: names of the videos of which no frame could be drawn, such as those without labels and ratings.
    """

    model_config = ConfigDict(extra="forbid")

    format: int
    inputs: list[Input]
    population: int
    expected: tuple[float, float]
    frames: list[CheckedFrame]
    uncovered: list[str] = []

    @property
    def not_covered(self) -> str:
        """Name the videos that the bound does not cover, in a sentence; empty: it covers all of them."""
        if not self.uncovered:
            return ""
        return f"The bound does not cover {listed(self.uncovered)}: no frame of these videos could be drawn."

    def template(self, labels: CheckLabels | None = None) -> pd.DataFrame:
        """The table to fill in: video, track, frame, time, valence and arousal.

        Args:
            labels: labels of frames that are labelled already; the cells of the other frames are empty. If a label
                names its annotator, there is a column `annotator`.
        """
        columns, empty = ["video", "track", "frame", "time"], CheckLabel(np.nan, np.nan)
        rows = [(labels or {}).get(frame.key, empty) for frame in self.frames]
        scores = np.array([(label.valence, label.arousal) for label in rows])
        frames = pd.DataFrame([frame.model_dump(include=set(columns)) for frame in self.frames])[columns]
        table = frames.assign(**dict(zip(AXES, scores.T, strict=True)))
        if any(label.annotator for label in rows):
            table["annotator"] = [safe_text(label.annotator) for label in rows]
        return table

    def bounds(self, labels: np.ndarray) -> list[ErrorBound]:
        """The bounds of valence and arousal, from the labels (F, 2) of the drawn frames."""
        draws = [frame.draws for frame in self.frames]
        squares = (np.array([frame.estimate for frame in self.frames]) - labels) ** 2
        weights = np.repeat([frame.weight for frame in self.frames], draws)
        return [bound_error(np.repeat(squares[:, axis], draws), weights) for axis in range(len(AXES))]

    def table_of_bounds(self, labels: np.ndarray) -> pd.DataFrame:
        """One row per axis: expected RMSE, RMSE estimated from the labels (F, 2) of the check, and its upper bound."""
        bounds = self.bounds(labels)
        return pd.DataFrame(
            {
                "axis": AXES,
                "expected RMSE": self.expected,
                "RMSE": [bound.rmse for bound in bounds],
                f"upper bound at {LEVEL:.0%}": [bound.upper for bound in bounds],
            }
        )


def read_draw(path: Path) -> CheckDraw:
    """Read the draw that a filled-in CSV belongs to, from check.json in the same folder.

    Args:
        path: the CSV.

    Raises:
        DataError: the CSV or check.json is missing, or check.json is of another version of the project.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; name the filled-in {TEMPLATE_NAME}, or a number of frames")
    remedy = f"keep {path.name} beside the {DRAW_NAME} that was written with it, or draw a new check"
    draw = read_json(path.parent / DRAW_NAME, CheckDraw, "the draw of a check", remedy, DataError)
    if draw.format != FORMAT:
        raise DataError(
            f"{path.parent / DRAW_NAME}: has format {draw.format}, but this version of MT-CLAR reads format {FORMAT} "
            "only; use the version that wrote it"
        )
    return draw


def read_check_labels(path: Path, draw: CheckDraw) -> np.ndarray:
    """Read the labels of the drawn frames, (F, 2) valence and arousal, from a filled-in CSV.

    Raises:
        DataError: as `read_given_labels`, or a drawn frame has no label. Labels of only some frames are refused:
            whoever stops early may do so because of what was seen.
    """
    labels = read_given_labels(path, draw)
    missing = [frame for frame in draw.frames if frame.key not in labels]
    if missing:
        first = missing[0]
        raise DataError(
            f"{path}: {len(missing)} of {len(draw.frames)} frames have no label, the first is frame {first.frame} of "
            f"track {first.track} of {first.video!r}; label all of them: a bound from some frames only would not hold"
        )
    return np.array([labels[frame.key][:2] for frame in draw.frames])


def read_given_labels(path: Path, draw: CheckDraw) -> CheckLabels:
    """Read the labels of a CSV that may be filled in only in part.

    Raises:
        DataError: the file cannot be read, or it has a frame that was not drawn, or twice.
    """
    drawn = {frame.key for frame in draw.frames}
    labels: CheckLabels = {}
    seen: set[FrameKey] = set()
    for where, key, scores, annotator in _rows(path):
        video, track, frame = key
        if key not in drawn:
            raise DataError(
                f"{where}: frame {frame} of track {track} of {video!r} was not drawn; {path} belongs to another check "
                f"than {DRAW_NAME} beside it, or the row was changed"
            )
        if key in seen:
            raise DataError(f"{where}: frame {frame} of track {track} of {video!r} occurs twice; delete one row")
        seen.add(key)
        if scores is not None:
            labels[key] = CheckLabel(*scores, annotator)
    return labels


class _Row(NamedTuple):
    """A row of a filled-in CSV.

    Attributes:
        where: file and row, for messages.
        frame: the frame.
        scores: its valence and arousal; None: they are empty.
        annotator: who labelled it; empty: the CSV does not say.
    """

    where: str
    frame: FrameKey
    scores: tuple[float, float] | None
    annotator: str


def _rows(path: Path) -> list[_Row]:
    rows = csv_rows(path)
    names = [name.lower() for name in next(rows, ("", []))[1]]
    require_columns(names, ("video", "track", "frame", *AXES), path)
    parsed = []
    for where, row in rows:
        cells = cells_by_column(names, row, where)
        track, frame = parse_track(cells["track"], where), parse_whole_number(cells["frame"], "frame", where)
        if track is None:
            raise DataError(f"{where}: has no track; restore the row as it was written")
        annotator = plain_text(cells.get("annotator", ""))
        parsed.append(_Row(where, (plain_text(cells["video"]), track, frame), parse_scores(cells, where), annotator))
    return parsed
