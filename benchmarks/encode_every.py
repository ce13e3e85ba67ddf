"""Measures what `--encode_every` costs: errors of fused labels when not every frame of a clip is encoded.

    python benchmarks/encode_every.py --checkpoint runs/mtclar/<run>/best.pt
    python benchmarks/encode_every.py --checkpoint … --seeds 151 --hard_seeds 152 --minute_seeds 153

Renders people that the network was not trained on: 24 with 60 frames per seed of `--seeds`, 24 in harder scenes per
seed of `--hard_seeds`, and 6 with 1,500 frames per seed of `--minute_seeds`. Every frame is encoded once; the
embeddings of frames that `--encode_every` would leave out are then removed. Prints for each set, value of
`encode_every` and distance of the labels, on the frames without a label:

- encoded: share of the frames that are encoded;
- RMSE and coverage of the 90 % intervals, valence / arousal;
- of every frame: RMSE over both axes, relative to that with every frame encoded;
- expected: the expected error, relative to that with every frame encoded.

LARGEST_RISE in utils/labelling/encoding_plan.py was chosen on the seeds 121, 122 and 123.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
import torch

from benchmarks.label_quality import TestSet, render
from benchmarks.own_data import refuse_known_seeds
from datasets.demo.traces import FRAME_RATE
from utils.compute.data import CropReader
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import DataSettings
from utils.labelling.build_labeller import labeller_for_videos
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.encoding_plan import EncodingPlan
from utils.labelling.labeller import Labeller
from utils.labelling.sources import EvidenceSources, SiameseSource
from utils.labelling.suggestion.suggest import expected_error
from utils.labelling.types import EncodedClip, is_encoded
from utils.runs.checkpoint import load_mtclar

STEPS: tuple[int | None, ...] = (1, 2, 3, 5, None)  # values of encode_every; None: auto
LABEL_STEPS = (10, 20, 40)  # a label on every n-th frame


class Errors(NamedTuple):
    """Errors of fused labels on the m frames without a label, for valence and arousal.

    Attributes:
        squared: (m, 2) squared errors.
        covered: (m, 2) whether the 90 % interval holds the true label.
        expected: expected error of the clip, squared.
    """

    squared: np.ndarray
    covered: np.ndarray
    expected: float


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[131], help="demo seeds of the normal set")
    parser.add_argument("--hard_seeds", type=int, nargs="+", default=[132], help="of the set of harder scenes")
    parser.add_argument("--minute_seeds", type=int, nargs="+", default=[133], help="of the set of clips of a minute")
    parser.add_argument("--folder", type=Path, default=Path("data/encode_every"), help="for rendered clips and caches")
    arguments = parser.parse_args()
    refuse_known_seeds(arguments.checkpoint, [*arguments.seeds, *arguments.hard_seeds, *arguments.minute_seeds])
    runtime = make_runtime(LabelSettings().runtime)
    model, trained = load_mtclar(arguments.checkpoint)
    sources = EvidenceSources(SiameseSource(runtime.to_device(model), arguments.checkpoint))
    labeller = labeller_for_videos(sources, runtime)
    settings = LabelSettings(data=DataSettings(cache=None, image_size=trained["data"]["image_size"]))
    cache = EmbeddingCache(arguments.folder / "embeddings", arguments.checkpoint, runtime)
    reader = ClipReader(labeller.encoder, CropReader(settings), cache, settings.data.workers)
    rows = []
    for kind in (
        TestSet("normal", arguments.seeds),
        TestSet("harder", arguments.hard_seeds, hard=True),
        TestSet("minutes", arguments.minute_seeds, 6, 1500),
    ):
        rows += score_set(labeller, kind.name, reader.read(render(arguments.folder, kind)))
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print("\nmean over the sets and distances of the labels")
    means = table.groupby("encode_every", sort=False)[["encoded", "of every frame", "expected"]].mean()
    print(means.to_string(float_format="{:.3f}".format))


def score_set(labeller: Labeller, name: str, clips: list[DatasetClip]) -> list[dict[str, object]]:
    """A row for each value of `encode_every` and each distance of the labels."""
    rows: list[dict[str, object]] = []
    errors_of_every_frame: dict[int, tuple[float, float]] = {}
    for step in STEPS:
        plan = EncodingPlan(step) if step else EncodingPlan(labeller=labeller, networks=(True,))
        sparse = [leave_out(labeller, clip.encoded, plan) for clip in clips]
        encoded = np.concatenate([is_encoded(clip.embeddings) for clip in sparse]).mean()
        for label_step in LABEL_STEPS:
            pairs = zip(clips, sparse, strict=True)
            errors = [fused_errors(labeller, clip, remaining, label_step) for clip, remaining in pairs]
            squared = np.concatenate([clip.squared for clip in errors]).mean(0)
            covered = np.concatenate([clip.covered for clip in errors]).mean(0)
            real, expected = np.sqrt(squared.mean()), np.sqrt(np.mean([clip.expected for clip in errors]))
            every = errors_of_every_frame.setdefault(label_step, (real, expected))
            row = {"set": name, "encode_every": step or "auto", "label every": label_step, "encoded": encoded}
            row |= {"RMSE": both_axes(np.sqrt(squared)), "coverage": both_axes(covered)}
            rows.append(row | {"of every frame": real / every[0], "expected": expected / every[1]})
    return rows


def leave_out(labeller: Labeller, clip: EncodedClip, plan: EncodingPlan) -> EncodedClip:
    """The clip with the embeddings of the frames that a plan encodes."""

    def with_only(chosen: np.ndarray) -> torch.Tensor:
        embeddings = clip.embeddings.clone()
        embeddings[torch.from_numpy(~chosen)] = torch.nan
        return embeddings

    first = with_only(plan.first_pass(len(clip.times), FRAME_RATE))
    no_estimates = np.empty((len(clip.times), 0, 2))
    chosen = plan.second_pass(first, clip.times, no_estimates, FRAME_RATE)
    return labeller.encode_clip(with_only(chosen), clip.times)


def fused_errors(labeller: Labeller, clip: DatasetClip, encoded: EncodedClip, label_step: int) -> Errors:
    """Errors of fused labels, with an exact label on every `label_step`-th frame."""
    indices = np.arange(0, len(clip.frames), label_step)
    anchors = clip.anchors(indices, clip.labels[indices])
    posteriors = labeller.posteriors(encoded, anchors)
    labels = labeller.fused_labels(posteriors, anchors)
    assert labels.half_widths is not None, "fused labels have intervals"
    deviations = np.delete(np.abs(labels.values - clip.labels), indices, 0)
    covered = deviations <= np.delete(labels.half_widths, indices, 0)
    return Errors(deviations**2, covered, expected_error(posteriors) ** 2)


def both_axes(values: np.ndarray) -> str:
    """Two numbers as text, valence / arousal."""
    return "/".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
