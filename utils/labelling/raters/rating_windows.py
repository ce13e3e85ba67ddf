"""Prepares the fit of ratings: cuts clips into windows, and estimates f in each from all other evidence and labels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from datasets.columns import AXES
from utils.labelling.calibration.calibration import Calibration
from utils.labelling.posterior.activity import smoothed_rate
from utils.labelling.types import Anchors, EncodedClip, LabelObservations, observations_of

GRID_STEP = 0.1  # seconds between the frames at which f is estimated, and between the lags that are tried
SAMPLE_STEPS = 3  # A rating is compared with f at every third point of the grid.
LONGEST_LAG = 6.0  # seconds
LAG_MEAN, LAG_STD = 2.5, 1.5  # seconds; prior of the lag
WINDOW_SECONDS = 60.0  # Longer clips are fitted in parts of this length, as if the parts were clips.
MOST_WINDOWS = 12  # parts that are fitted; more would take long and add little
FEWEST_SAMPLES = 10  # A part with fewer samples of the rating says too little.
LAGS = np.arange(round(LONGEST_LAG / GRID_STEP) + 1) * GRID_STEP


class RaterLag(NamedTuple):
    """How late the ratings of one rater are.

    Attributes:
        lag: seconds by which the ratings follow the face.
        lag_std: its standard deviation.
        clips: number of clips, or parts of long clips, from which the ratings were fitted; 0 = not fitted.
    """

    lag: float = LAG_MEAN
    lag_std: float = LAG_STD
    clips: int = 0


def shift_ratings(clip: EncodedClip, raters: tuple[RaterLag, ...]) -> EncodedClip:
    """The clip with evidence of its raters that is shifted by their lags."""
    evidence = clip.evidence.copy()
    first = evidence.shape[1] - len(raters)
    for column, (rating, rater) in enumerate(zip(clip.ratings, raters, strict=True), first):
        evidence[:, column] = np.nan if rating is None else rating.at(clip.times + rater.lag)
    return clip._replace(evidence=evidence)


class Window(NamedTuple):
    """A part of a clip, at GRID_STEP; `observations` are its given labels, one entry per axis."""

    clip: EncodedClip
    observations: list[LabelObservations]


def cut_windows(clip: EncodedClip, anchors: Anchors | None) -> Iterator[Window]:
    """Cut a clip with a rating into parts of WINDOW_SECONDS, evenly spaced if there are more than MOST_WINDOWS."""
    if all(rating is None for rating in clip.ratings):
        return
    if anchors is not None and not anchors.all_in_clip:
        anchors = None
    starts = np.arange(clip.times[0], max(clip.times[-1] - LONGEST_LAG, clip.times[0] + 1e-6), WINDOW_SECONDS)
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), MOST_WINDOWS)).round().astype(int))
    for start in starts[chosen]:
        first, last = np.searchsorted(clip.times, (start - GRID_STEP / 2, start + WINDOW_SECONDS + LONGEST_LAG))
        grid = np.searchsorted(clip.times[first:last], np.arange(clip.times[first], clip.times[last - 1], GRID_STEP))
        frames = np.minimum(grid + first, last - 1)
        following = clip.following_evidence(frames).clip(max=last - 1)
        frames = np.unique(np.where(clip.times[following] - clip.times[frames] < GRID_STEP, following, frames))
        inside = np.empty(0, int)
        if anchors is not None:
            inside = np.flatnonzero((anchors.indices >= first) & (anchors.indices < last))
            frames = np.union1d(frames, anchors.indices[inside])
        part = clip._replace(embeddings=clip.embeddings[:0], times=clip.times[frames], evidence=clip.evidence[frames])
        observations = observations_of(None)
        if anchors is not None:
            indices = np.searchsorted(frames, anchors.indices[inside])
            observations = [
                LabelObservations(indices, anchors.labels[inside, axis], anchors.errors[inside, axis])
                for axis in range(len(AXES))
            ]
        yield Window(part, observations)


class RatedPart(NamedTuple):
    """One axis of a window that a rater rated, at G points in time GRID_STEP apart, and n samples of the rating.

    Attributes:
        mean, covariance: (G,) and (G, G) of f, from the other evidence and the labels.
        points: (n,) index of the point at which the rating was made; f is compared `lag` earlier.
        values: (n,) the rating.
    """

    mean: np.ndarray
    covariance: np.ndarray
    points: np.ndarray
    values: np.ndarray

    @property
    def rate(self) -> float:
        """Root mean square rate of change of the mean of f."""
        times = np.arange(len(self.mean)) * GRID_STEP
        return float(np.sqrt(np.mean(smoothed_rate(times, self.mean) ** 2)))


def rated_parts(
    calibration: Calibration, windows: list[Window], raters: list[RaterLag], number: int, others: list[int]
) -> list[list[RatedPart]]:
    """For each axis, the parts that a rater rated, with the posterior of f from other sources and the labels.

    Args:
        calibration: parameters of all sources.
        windows: of all clips.
        raters: all raters, as known so far.
        number: index of the rater among them.
        others: indices of the other sources that tell f.
    """
    without_rater = calibration.replace_axes(
        axis.replace_sources(axis.with_evidence.sources[index] for index in others) for axis in calibration.axes
    )
    parts: list[list[RatedPart]] = [[] for _ in AXES]
    for window in windows:
        rating, times = window.clip.ratings[number], window.clip.times
        if rating is None:
            continue
        steps = np.arange(int((times[-1] - times[0]) / GRID_STEP) + 1)
        grid = times[0] + steps * GRID_STEP
        points = steps[len(LAGS) - 1 :: SAMPLE_STEPS]
        values = rating.at(grid[points])
        if not (np.isfinite(values).sum(0) >= FEWEST_SAMPLES).any():
            continue
        evidence = shift_ratings(window.clip, tuple(raters)).evidence[:, others]
        nearest = _nearest(times, grid)
        posteriors = without_rater.posteriors(times, evidence, window.observations)
        for axis_parts, posterior, samples in zip(parts, posteriors, values.T, strict=True):
            known = np.isfinite(samples)
            if known.sum() >= FEWEST_SAMPLES:
                frames, back = np.unique(nearest, return_inverse=True)
                covariance = posterior.covariance(frames, frames)[np.ix_(back, back)]
                axis_parts.append(RatedPart(posterior.mean[nearest], covariance, points[known], samples[known]))
    return parts


def _nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(G,) index of the time nearest to each of the wanted ones (G,); times (N,) ascend."""
    following = np.searchsorted(times, wanted).clip(1, len(times) - 1)
    return np.where(wanted - times[following - 1] <= times[following] - wanted, following - 1, following)
