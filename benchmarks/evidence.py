"""Measures fused labels by other evidence than MT-CLAR's, on rendered people that nothing was fitted to.

    python benchmarks/evidence.py --checkpoint runs/mtclar/<run>/best.pt --head runs/mtclar_sl/<run>/fold_0/best.pt

The sources are the estimates of a supervised head, distorted in several ways, alone and together with MT-CLAR. A source
is fitted on the validation clips of the training run; or on the given labels of all clips; or on those of each clip
alone, as for a single video. Prints RMSE of valence and arousal on the frames without a label, as such and relative to
linear interpolation, and coverage of the 90 % intervals.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd

from benchmarks.label_quality import TestSet, render
from datasets.annotations.estimates import without_frozen
from datasets.columns import AXES
from utils.compute.data import read_splits
from utils.compute.runtime import make_runtime
from utils.config.labelling import MTCLAR_EVIDENCE, LabelSettings
from utils.config.layers import merge_layers
from utils.labelling.anchors import linear
from utils.labelling.calibration.adaptation import PRIOR_SOURCE
from utils.labelling.calibration.calibration import DEFAULT_PARAMETERS, AxisCalibration, Calibration
from utils.labelling.calibration.fit_problems import CalibrationClip
from utils.labelling.calibration.fitting import fit_calibration
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.dataset_calibration.calibrate_clips import clips_to_calibrate_on
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.process import GPParameters
from utils.labelling.sources import load_siamese, load_sources
from utils.labelling.suggestion.suggest import expected_error
from utils.labelling.support import every_n, uniform_k
from utils.labelling.types import Anchors
from utils.runs.trained import label_settings

SUPPORT = (("every 20th", every_n, 20), ("3 even", uniform_k, 3), ("5 even", uniform_k, 5), ("every 10th", every_n, 10))
GAIN, BIAS = 0.5, 0.4  # of distorted estimates
MTCLAR, HEAD = 0, 1  # columns of the evidence of a clip

Evidence = list[np.ndarray]
"""The evidence (N, E, 2) of each clip."""


def head(evidence: Evidence) -> Evidence:
    return [one[:, [HEAD]] for one in evidence]


def mtclar(evidence: Evidence) -> Evidence:
    return [one[:, [MTCLAR]] for one in evidence]


def both(evidence: Evidence) -> Evidence:
    return evidence


def distorted(evidence: Evidence) -> Evidence:
    return [GAIN * one + BIAS for one in head(evidence)]


def of_another_clip(evidence: Evidence) -> Evidence:
    of_head = head(evidence)
    return of_head[1:] + of_head[:1]


def with_another_clip(evidence: Evidence) -> Evidence:
    return [np.concatenate(pair, 1) for pair in zip(mtclar(evidence), of_another_clip(evidence), strict=True)]


def frozen(evidence: Evidence) -> Evidence:
    """Estimates that stay the same for the middle third of each clip."""
    changed = []
    for one in head(evidence):
        values, third = one[:, 0].copy(), len(one) // 3
        values[third : 2 * third] = values[third]
        changed.append(without_frozen(values, np.arange(len(values)) / 25)[:, None])
    return changed


class Variant(NamedTuple):
    """One kind of evidence.

    Attributes:
        name: name in the table.
        change: function of the evidence of all clips by MT-CLAR and by the head.
        relative: for each resulting source, whether it is relative to the clip.
        fitted_on: "validation", "all clips" or "each clip".
    """

    name: str
    change: Callable[[Evidence], Evidence]
    relative: tuple[bool, ...]
    fitted_on: str


VARIANTS = (
    Variant("MT-CLAR", mtclar, (True,), "validation"),
    Variant("head", head, (False,), "validation"),
    Variant("MT-CLAR and head", both, (True, False), "validation"),
    Variant("head, frozen for a third", frozen, (False,), "validation"),
    *(
        Variant(name, change, relative, fitted_on)
        for fitted_on in ("all clips", "each clip")
        for name, change, relative in (
            ("head", head, (False,)),
            (f"head, gain {GAIN}, offset {BIAS}", distorted, (False,)),
            ("head of another clip", of_another_clip, (False,)),
            ("head, frozen for a third", frozen, (False,)),
            ("MT-CLAR and head", both, (True, False)),
            ("MT-CLAR and head of another clip", with_another_clip, (True, False)),
        )
    ),
)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("--head", type=Path, required=True, help="best.pt of a mtclar_sl.py run with this encoder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[111, 112], help="demo seeds of the normal set")
    parser.add_argument("--hard_seeds", type=int, nargs="+", default=[113, 114], help="of the set of harder scenes")
    parser.add_argument("--folder", type=Path, default=Path("data/label_quality"), help="for demo sets")
    arguments = parser.parse_args()
    reader, validation = make_reader(arguments.checkpoint, arguments.head)
    rows = []
    for kind in (TestSet("normal", arguments.seeds), TestSet("harder", arguments.hard_seeds, hard=True)):
        clips = reader.read(render(arguments.folder, kind))
        for variant in VARIANTS:
            rows += [{"set": kind.name} | row for row in score(reader.encoder, variant, clips, validation)]
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))


def make_reader(checkpoint: Path, head_checkpoint: Path) -> tuple[ClipReader, list[DatasetClip]]:
    """A reader of clips with the evidence of MT-CLAR and of the head, and the validation clips of the training run."""
    evidence = [MTCLAR_EVIDENCE, str(head_checkpoint)]
    layers = [("defaults", {}), ("command line", {"checkpoint": checkpoint, "evidence": evidence})]
    siamese = load_siamese(checkpoint)
    settings = label_settings(layers, checkpoint, siamese.settings)
    runtime = make_runtime(merge_layers(LabelSettings, layers).runtime)
    sources = load_sources(siamese, settings, runtime)
    reader = ClipReader.of_sources(sources, runtime, settings)
    return reader, reader.read(clips_to_calibrate_on(read_splits(settings).validation))


def score(
    encoder: ClipEncoder, variant: Variant, clips: list[DatasetClip], validation: list[DatasetClip]
) -> list[dict[str, object]]:
    """One row per support-set."""
    changed, rows = with_evidence(clips, variant), []
    uncalibrated = () if variant.fitted_on == "validation" else (len(variant.relative) - 1,)
    calibration = calibrate(variant, with_evidence(validation, variant))
    fitted = Labeller(encoder, calibration, uncalibrated)
    for name, strategy, amount in SUPPORT:
        anchors = []
        for clip in changed:
            indices = strategy(np.empty((len(clip.frames), 1)), amount, np.random.default_rng(0))
            anchors.append(clip.anchors(indices, clip.labels[indices]))
        pairs = [(clip.encoded, own) for clip, own in zip(changed, anchors, strict=True)]
        if variant.fitted_on == "each clip":
            labellers = [fitted.adapt([pair]) for pair in pairs]
        else:
            labellers = [fitted.adapt(pairs)] * len(pairs)
        row: dict[str, object] = {"evidence": variant.name, "fitted on": variant.fitted_on, "labels": name}
        rows.append(row | score_clips(changed, anchors, labellers))
    return rows


def with_evidence(clips: list[DatasetClip], variant: Variant) -> list[DatasetClip]:
    """The clips with the evidence of the variant."""
    changed = variant.change([clip.encoded.evidence for clip in clips])
    return [
        clip._replace(encoded=clip.encoded._replace(evidence=one)) for clip, one in zip(clips, changed, strict=True)
    ]


def calibrate(variant: Variant, validation: list[DatasetClip]) -> Calibration:
    """The calibration of the variant; its last source is left uncalibrated unless it is fitted on validation clips."""
    clips = [CalibrationClip(clip.encoded.times, clip.encoded.evidence, clip.labels) for clip in validation]
    if variant.fitted_on == "validation":
        return fit_calibration(clips, variant.relative)
    if len(variant.relative) == 1:
        axis = AxisCalibration(GPParameters(DEFAULT_PARAMETERS.process, (PRIOR_SOURCE,)))
        return Calibration(axis, axis)
    alone = fit_calibration([clip._replace(evidence=clip.evidence[:, :1]) for clip in clips])
    valence, arousal = (
        axis._replace(with_evidence=axis.with_evidence._replace(sources=(*axis.with_evidence.sources, PRIOR_SOURCE)))
        for axis in alone.axes
    )
    return alone._replace(valence=valence, arousal=arousal)


def score_clips(clips: list[DatasetClip], anchors: list[Anchors], labellers: list[Labeller]) -> dict[str, float]:
    """RMSE per axis, also relative to linear interpolation; coverage; expected divided by real RMSE of both axes."""
    errors, of_line, inside, expected = [], [], [], []
    for clip, own, labeller in zip(clips, anchors, labellers, strict=True):
        posteriors = labeller.posteriors(clip.encoded, own)
        labels = labeller.fused_labels(posteriors, own)
        unlabelled = np.delete(np.arange(len(clip.frames)), own.indices)
        deviations = (labels.values - clip.labels)[unlabelled]
        errors.append(deviations**2)
        of_line.append((linear(clip.encoded.times, own.times, own.labels) - clip.labels)[unlabelled] ** 2)
        assert labels.half_widths is not None
        inside.append(np.abs(deviations) <= labels.half_widths[unlabelled])
        expected.append(expected_error(posteriors) ** 2)
    squares, line = (np.concatenate(parts).mean(0) for parts in (errors, of_line))
    coverage = np.concatenate(inside).mean(0)
    row = {f"{axis} RMSE": float(np.sqrt(square)) for axis, square in zip(AXES, squares, strict=True)}
    row |= {f"{axis} / line": float(np.sqrt(a / b)) for axis, a, b in zip(AXES, squares, line, strict=True)}
    row |= {f"{axis} coverage": float(share) for axis, share in zip(AXES, coverage, strict=True)}
    return row | {"expected / real": float(np.sqrt(np.mean(expected) / squares.mean()))}


if __name__ == "__main__":
    main()
