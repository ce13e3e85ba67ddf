"""Readers of NOVA's continuous annotations, as labels of frames and as a rating; ``nova_samples`` has the format."""

import re
from pathlib import Path

import numpy as np

from datasets.annotations.nova_samples import Samples, header_of, read_samples
from datasets.annotations.rating_files import Rating, make_rating
from datasets.annotations.timeline import Label, Timeline
from datasets.columns import AXES
from utils.base.errors import DataError

_TRACK = re.compile(r"(?:^|\.)track(\d{1,9})\.", re.IGNORECASE | re.ASCII)


def read_nova(path: Path, timeline: Timeline, tier: str | None = None) -> list[Label]:
    """Read the labels of a pair of NOVA annotations of valence and arousal.

    A sample labels the frame nearest to its time; if several samples are nearest to the same frame, the nearest of
    them counts. Samples without score or with confidence 0 are skipped.

    Args:
        path: any of the four files.
        timeline: the frames of the video.
        tier: ignored, since NOVA annotations have no tiers.
    """
    path = path.with_name(path.name.removesuffix("~"))
    headers = {axis: header_of(axis, path) for axis in AXES}
    samples = {axis: read_samples(headers[axis], axis) for axis in AXES}
    rate, annotator = _check_rates(samples, path), _annotator(samples)
    track = _TRACK.search(path.name)
    nearest: dict[int, tuple[float, Label]] = {}  # by row of the timeline: distance in seconds, label
    scores = _aligned(samples)
    for index in np.flatnonzero(~np.isnan(scores).all(1)).tolist():
        where = f"{headers['valence']}~ or {headers['arousal'].name}~ line {index + 1}"
        for given, missing in (AXES, AXES[::-1]):
            if np.isnan(scores[index, AXES.index(missing)]):
                raise DataError(f"{where}: {given} has no {missing} beside it; give both, or neither")
        row = timeline.row_of_time(index / rate, where)
        distance = abs(index / rate - timeline.times[row])
        valence, arousal = scores[index].tolist()
        label = Label(int(timeline.frames[row]), valence, arousal, annotator, int(track[1]) if track else None, where)
        if row not in nearest or distance < nearest[row][0]:
            nearest[row] = distance, label
    return [label for _, label in nearest.values()]


def read_nova_rating(path: Path) -> Rating:
    """Read a NOVA annotation, and that of the other axis if there is one, as a rating.

    Args:
        path: any of the files.
    """
    path = path.with_name(path.name.removesuffix("~"))
    headers = {axis: header_of(axis, path) for axis in AXES}
    samples = {axis: read_samples(header, axis) for axis, header in headers.items() if header.is_file()}
    if not samples:
        raise DataError(f"{path}: no such file; check the path of the rating")
    rate = _check_rates(samples, path)
    scores = _aligned(samples)
    times = np.arange(len(scores)) / rate
    values = {axis: scores[:, column].tolist() for column, axis in enumerate(AXES)}
    return make_rating(path, _annotator(samples), times.tolist(), values)


def _check_rates(samples: dict[str, Samples], path: Path) -> float:
    """The rate that both axes have; DataError if they differ."""
    rates = [axis.rate for axis in samples.values()]
    if len(set(rates)) > 1:
        raise DataError(
            f"{path}: valence has {rates[0]:g} samples a second, arousal {rates[1]:g}; export both at one rate"
        )
    return rates[0]


def _annotator(samples: dict[str, Samples]) -> str:
    """Names of the annotators of both axes."""
    return " / ".join(dict.fromkeys(axis.annotator for axis in samples.values() if axis.annotator))


def _aligned(samples: dict[str, Samples]) -> np.ndarray:
    """(S, 2) scores of valence and arousal; NaN where an axis is missing or shorter."""
    scores = np.full((max(len(axis.scores) for axis in samples.values()), len(AXES)), np.nan)
    for column, axis in enumerate(AXES):
        if axis in samples:
            scores[: len(samples[axis].scores), column] = samples[axis].scores
    return scores
