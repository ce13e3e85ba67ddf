"""Old continuous ratings as evidence, simulated on one-minute clips of people that the network was not trained on.

    python benchmarks/ratings.py --checkpoint runs/mtclar/<run>/best.pt

Each clip is rated eight times. A rating is the true label, late by 0.5 to 4 s, with a gain of 0.6 to 1.4, a bias of
-0.2 to 0.2, and an error that is an Ornstein-Uhlenbeck process of standard deviation 0.15 and time scale 5 s. The
tables have the error of the estimated lag, and the errors of fused labels on the frames without a given label:

- alone: every rating is fitted on its clip alone, as if each were by another rater;
- over all clips: eight raters rated all clips, each with the same lag, gain and bias;
- consensus: three raters without any label, beside the plain mean of their ratings.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np
import pandas as pd
from own_data import refuse_known_seeds

from datasets.afewva import read_afewva
from datasets.columns import AXES
from datasets.demo.dataset import render_demo
from utils.compute.data import CropReader
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import DataSettings
from utils.labelling.build_labeller import labeller_for_videos
from utils.labelling.clip_rating import ClipRating
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.labeller import Labeller
from utils.labelling.raters.ratings import RatingSource
from utils.labelling.sources import EvidenceSources, SiameseSource
from utils.labelling.support import uniform_k
from utils.labelling.types import Anchors, EncodedClip
from utils.runs.checkpoint import load_mtclar

PEOPLE, FRAMES, RATINGS, LABELS = 10, 1500, 8, 10
LAGS, GAINS, BIASES = (0.5, 4.0), (0.6, 1.4), (-0.2, 0.2)
OU_STD, OU_SECONDS = 0.15, 5.0
CONSENSUS = 3  # raters of a clip
CLOSE = 0.2  # seconds; a lag that is estimated this well counts as found


class SimulatedRater(NamedTuple):
    """A rater: lag in seconds, gain and bias."""

    lag: float
    gain: float
    bias: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "SimulatedRater":
        return cls(*(float(rng.uniform(*limits)) for limits in (LAGS, GAINS, BIASES)))

    def rate(self, times: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> ClipRating:
        """The rating of a clip with these times (N,) and true labels (N, 2)."""
        traces = []
        for of_axis in labels.T:
            decay = np.exp(-np.diff(times) / OU_SECONDS)
            error = rng.normal(0, OU_STD, len(times))
            for step, share in enumerate(decay, 1):
                error[step] = share * error[step - 1] + np.sqrt(1 - share**2) * error[step]
            values = self.gain * np.interp(times - self.lag, times, of_axis) + self.bias + error
            traces.append((times, np.clip(values, -1, 1)))
        return ClipRating(traces)


Rated = tuple[DatasetClip, tuple[ClipRating | None, ...]]
"""A clip, and its ratings by all raters."""


def main() -> None:
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[311, 312], help="demo seeds of the people")
    parser.add_argument("--folder", type=Path, default=Path("data/ratings"), help="for rendered clips and caches")
    arguments = parser.parse_args()
    refuse_known_seeds(arguments.checkpoint, arguments.seeds)
    for name, checkpoint in (("network", arguments.checkpoint), ("no network", None)):
        clips = [clip for seed in arguments.seeds for clip in read_clips(checkpoint, arguments.folder, seed)]
        print(f"{name}, {len(clips)} clips, {RATINGS} ratings each\n")
        for title, experiment in (("alone", alone), ("over all clips", over_all_clips), ("consensus", consensus)):
            print(f"{title}\n{experiment(checkpoint, clips).to_string(float_format='{:.3f}'.format)}\n", flush=True)


def read_clips(checkpoint: Path | None, folder: Path, seed: int) -> list[DatasetClip]:
    """Render the clips of a demo seed, and encode them if there is a network."""
    frames = read_afewva(render_demo(folder / f"demo_{seed}", seed, PEOPLE, FRAMES, FRAMES))
    labeller, settings = make_labeller(checkpoint, 0), LabelSettings()
    if checkpoint:
        image_size = load_mtclar(checkpoint)[1]["data"]["image_size"]
        settings = LabelSettings(data=DataSettings(cache=folder / "cache", image_size=image_size))
    cache = EmbeddingCache(folder / "embeddings", checkpoint, labeller.encoder.runtime) if checkpoint else None
    return ClipReader(labeller.encoder, CropReader(settings), cache, settings.data.workers).read(frames)


def make_labeller(checkpoint: Path | None, raters: int) -> Labeller:
    """A labeller with a network, or without one, and raters that are not fitted."""
    runtime = make_runtime(LabelSettings().runtime)
    siamese = SiameseSource(runtime.to_device(load_mtclar(checkpoint)[0]), checkpoint) if checkpoint else None
    rating_sources = tuple(RatingSource(f"rater {number}", {}) for number in range(raters))
    return labeller_for_videos(EvidenceSources(siamese, raters=rating_sources), runtime)


def alone(checkpoint: Path | None, clips: list[DatasetClip]) -> pd.DataFrame:
    """Errors with each rating fitted on its clip alone."""
    rng, table = np.random.default_rng(0), _Table()
    unrated, single = make_labeller(checkpoint, 0), make_labeller(checkpoint, 1)
    for clip in clips:
        table.add("labels", [rmse(unrated, (clip, ()), LABELS)] * RATINGS)
        for _ in range(RATINGS):
            rater = SimulatedRater.draw(rng)
            rated = clip, (rater.rate(clip.encoded.times, clip.labels, rng),)
            for name, labels in (("rating", 0), ("rating and labels", LABELS)):
                fitted = adapted(single, [rated], labels)
                table.add(name, [rmse(fitted, rated, labels)], [fitted.rater_lags[0].lag - rater.lag])
    return table.summary()


def over_all_clips(checkpoint: Path | None, clips: list[DatasetClip]) -> pd.DataFrame:
    """Errors with each rater fitted on all clips."""
    rng, table = np.random.default_rng(1), _Table()
    unrated, single = make_labeller(checkpoint, 0), make_labeller(checkpoint, 1)
    table.add("labels", [rmse(unrated, (clip, ()), LABELS) for clip in clips] * RATINGS)
    for _ in range(RATINGS):
        rater = SimulatedRater.draw(rng)
        rated = [(clip, (rater.rate(clip.encoded.times, clip.labels, rng),)) for clip in clips]
        for name, labels in (("rating", 0), ("rating and labels", LABELS)):
            fitted = adapted(single, rated, labels)
            table.add(name, [rmse(fitted, one, labels) for one in rated], [fitted.rater_lags[0].lag - rater.lag])
    return table.summary()


def consensus(checkpoint: Path | None, clips: list[DatasetClip]) -> pd.DataFrame:
    """Errors of several raters without labels, fitted on one clip or on all, and of their plain mean."""
    rng, table = np.random.default_rng(2), _Table()
    labeller = make_labeller(checkpoint, CONSENSUS)
    raters = [SimulatedRater.draw(rng) for _ in range(CONSENSUS)]
    rated = []
    for clip in clips:
        times = clip.encoded.times
        of_clip = tuple(rater.rate(times, clip.labels, rng) for rater in raters)
        rated.append((clip, of_clip))
        others = [SimulatedRater.draw(rng) for _ in range(CONSENSUS)]
        alone = clip, tuple(rater.rate(times, clip.labels, rng) for rater in others)
        for name, one in (("of one clip", alone), ("of all clips", rated[-1])):
            plain = np.mean([rating.at(times) for rating in one[1] if rating], 0)
            table.add(f"plain mean, raters {name}", [float(np.sqrt(np.mean((plain - clip.labels) ** 2)))])
        table.add("fused, raters of one clip", [rmse(adapted(labeller, [alone], 0), alone, 0)])
    fitted = adapted(labeller, rated, 0)
    table.add("fused, raters of all clips", [rmse(fitted, one, 0) for one in rated])
    return table.summary()


def adapted(labeller: Labeller, rated: Sequence[Rated], labels: int) -> Labeller:
    """The labeller, fitted to rated clips with this number of labels each."""
    return labeller.adapt([(_encoded(labeller, one), _anchors(one[0], labels)) for one in rated])


def rmse(labeller: Labeller, rated: Rated, labels: int) -> float:
    """RMSE of fused labels over both axes, on the frames of a clip without a given label."""
    clip, anchors = rated[0], _anchors(rated[0], labels)
    posteriors = labeller.posteriors(_encoded(labeller, rated), anchors)
    errors = labeller.fused_labels(posteriors, anchors).values - clip.labels
    unlabelled = np.setdiff1d(np.arange(len(errors)), [] if anchors is None else anchors.indices)
    return float(np.sqrt(np.mean(errors[unlabelled] ** 2)))


def _encoded(labeller: Labeller, rated: Rated) -> EncodedClip:
    clip, ratings = rated
    missing = np.full((len(clip.frames), len(ratings), len(AXES)), np.nan)
    evidence = np.concatenate((clip.encoded.evidence, missing), 1)
    return labeller.shifted(clip.encoded._replace(evidence=evidence, ratings=ratings))


def _anchors(clip: DatasetClip, labels: int) -> Anchors | None:
    if not labels:
        return None
    indices = uniform_k(clip.labels, labels, np.random.default_rng(0))
    return clip.anchors(indices, clip.labels[indices])


class _Table:
    """Collects errors of labels and of lags by condition."""

    def __init__(self) -> None:
        self.errors: dict[str, list[float]] = {}
        self.lags: dict[str, list[float]] = {}

    def add(self, name: str, errors: Sequence[float], lags: Sequence[float] = ()) -> None:
        self.errors.setdefault(name, []).extend(errors)
        self.lags.setdefault(name, []).extend(lags)

    def summary(self) -> pd.DataFrame:
        """One row per condition: RMSE over all clips, share of lags within CLOSE, median error of the lag in s."""
        rows = {}
        for name, errors in self.errors.items():
            rows[name] = {"RMSE": float(np.sqrt(np.mean(np.square(errors))))}
            if self.lags[name]:
                off = np.abs(self.lags[name])
                rows[name] |= {f"lag within {CLOSE} s": float((off <= CLOSE).mean()), "median": float(np.median(off))}
        return pd.DataFrame(rows).T


if __name__ == "__main__":
    main()
