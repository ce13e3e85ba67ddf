"""Measures fused labels by other evidence than MT-CLAR's, on rendered people that nothing was fitted to.

    python benchmarks/evidence.py --checkpoint runs/mtclar/<run>/best.pt --head runs/mtclar_sl/<run>/best.pt

The sources are the estimates of a supervised head, distorted in several ways, alone and together with MT-CLAR. A source
is fitted on the validation clips of the training run; or on the given labels of all clips; or on those of each clip
alone, as for a single video. Prints RMSE of valence and arousal on the frames without a label, as such and relative to
linear interpolation, and coverage of the 90 % intervals. A second table compares kinds of evidence with each other.
Standard errors of ratios, after ±, are those over people.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
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

SEEDS, HARD_SEEDS = list(range(231, 237)), list(range(241, 247))  # of people on whom nothing was fitted
SUPPORT = (("every 20th", every_n, 20), ("3 even", uniform_k, 3), ("5 even", uniform_k, 5), ("every 10th", every_n, 10))
GAIN, BIAS = 0.5, 0.4  # of distorted estimates
MTCLAR, HEAD = 0, 1  # columns of the evidence of a clip

Evidence = list[np.ndarray]
"""The evidence (N, E, 2) of each clip."""


def head(evidence: Evidence) -> Evidence:
    return [values[:, [HEAD]] for values in evidence]


def mtclar(evidence: Evidence) -> Evidence:
    return [values[:, [MTCLAR]] for values in evidence]


def both(evidence: Evidence) -> Evidence:
    return evidence


def distorted(evidence: Evidence) -> Evidence:
    return [GAIN * values + BIAS for values in head(evidence)]


def of_another_clip(evidence: Evidence) -> Evidence:
    of_head = head(evidence)
    return of_head[1:] + of_head[:1]


def with_another_clip(evidence: Evidence) -> Evidence:
    return [np.concatenate(pair, 1) for pair in zip(mtclar(evidence), of_another_clip(evidence), strict=True)]


def frozen(evidence: Evidence) -> Evidence:
    """Estimates that stay the same for the middle third of each clip."""
    changed = []
    for estimates in head(evidence):
        values, third = estimates[:, 0].copy(), len(estimates) // 3
        values[third : 2 * third] = values[third]
        changed.append(without_frozen(values, np.arange(len(values)) / 25)[:, None])
    return changed


class Errors(NamedTuple):
    """Errors of the labels of C clips of equal length, on the frames without a given label.

    Attributes:
        squared: (C, 2) mean squared error of fused labels.
        squared_of_line: (C, 2) mean squared error of linear interpolation.
        covered: (C, 2) share of true labels in the 90 % interval.
        expected: (C,) expected RMSE of both axes.
    """

    squared: np.ndarray
    squared_of_line: np.ndarray
    covered: np.ndarray
    expected: np.ndarray

    def row(self) -> dict[str, float]:
        """RMSE per axis, also relative to the line; coverage; expected RMSE divided by the real one, of both axes."""
        row = dict(zip((f"{axis} RMSE" for axis in AXES), np.sqrt(self.squared.mean(0)).tolist(), strict=True))
        row |= ratios(self.squared, self.squared_of_line, " / line")
        row |= dict(zip((f"{axis} coverage" for axis in AXES), self.covered.mean(0).tolist(), strict=True))
        return row | {"expected / real": float(np.sqrt(np.mean(self.expected**2) / self.squared.mean()))}


def ratios(squared: np.ndarray, squared_of_other: np.ndarray, suffix: str = "") -> dict[str, float]:
    """RMSE relative to another RMSE on the same clips, of each axis and of both, with the standard errors over clips.

    Args:
        squared: (C, 2) mean squared errors of the clips.
        squared_of_other: (C, 2) those that they are divided by.
        suffix: appended to the name of each axis, to name its ratio.
    """
    columns: dict[str, float] = {}
    for name, select in (*((axis, [index]) for index, axis in enumerate(AXES)), ("both", [0, 1])):
        above, below = squared[:, select].sum(1), squared_of_other[:, select].sum(1)
        ratio = np.sqrt(above.sum() / below.sum())
        # The relative change of the ratio is half of that of the ratio of the sums, to which each clip contributes.
        contributions = (above / above.sum() - below / below.sum()) / 2
        columns |= {f"{name}{suffix}": float(ratio), f"{name} ±": float(ratio * np.sqrt(np.sum(contributions**2)))}
    return columns


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


MTCLAR_ALONE, HEAD_ALONE, BOTH = "MT-CLAR", "head", "MT-CLAR and head"
DISTORTED, WITH_ANOTHER_CLIP = f"head, gain {GAIN}, bias {BIAS}", "MT-CLAR and head of another clip"
VARIANTS = (
    Variant(MTCLAR_ALONE, mtclar, (True,), "validation"),
    Variant(HEAD_ALONE, head, (False,), "validation"),
    Variant(BOTH, both, (True, False), "validation"),
    Variant("head, frozen for a third", frozen, (False,), "validation"),
    *(
        Variant(name, change, relative, fitted_on)
        for fitted_on in ("all clips", "each clip")
        for name, change, relative in (
            (HEAD_ALONE, head, (False,)),
            (DISTORTED, distorted, (False,)),
            ("head of another clip", of_another_clip, (False,)),
            ("head, frozen for a third", frozen, (False,)),
            (BOTH, both, (True, False)),
            (WITH_ANOTHER_CLIP, with_another_clip, (True, False)),
        )
    ),
)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("--head", type=Path, required=True, help="best.pt of a mtclar_sl.py run with this encoder")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="demo seeds of the normal set")
    parser.add_argument("--hard_seeds", type=int, nargs="+", default=HARD_SEEDS, help="of the set of harder scenes")
    parser.add_argument("--folder", type=Path, default=Path("data/label_quality"), help="for demo sets")
    arguments = parser.parse_args()
    reader, validation = make_reader(arguments.checkpoint, arguments.head)
    calibrations = calibrate(VARIANTS, validation)
    rows, comparisons = [], []
    for kind in (TestSet("normal", arguments.seeds), TestSet("harder", arguments.hard_seeds, hard=True)):
        clips = reader.read(render(arguments.folder, kind))
        scored = {variant: score(reader.encoder, variant, calibrations[variant], clips) for variant in VARIANTS}
        rows += [{"set": kind.name} | row for variant in VARIANTS for row in table(variant, scored[variant])]
        comparisons += [{"set": kind.name} | row for row in compare(scored)]
    for printed in (rows, comparisons):
        print(pd.DataFrame(printed).to_string(index=False, float_format="{:.3f}".format))


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
    encoder: ClipEncoder, variant: Variant, calibration: Calibration, clips: list[DatasetClip]
) -> dict[str, Errors]:
    """The errors from each support-set, by its name in SUPPORT."""
    changed, errors = with_evidence(clips, variant), {}
    uncalibrated = () if variant.fitted_on == "validation" else (len(variant.relative) - 1,)
    fitted = Labeller(encoder, calibration, uncalibrated)
    for name, strategy, amount in SUPPORT:
        anchors = []
        for clip in changed:
            indices = strategy(np.empty((len(clip.frames), 1)), amount, np.random.default_rng(0))
            anchors.append(clip.anchors(indices, clip.labels[indices]))
        pairs = [(clip.encoded, given) for clip, given in zip(changed, anchors, strict=True)]
        if variant.fitted_on == "each clip":
            labellers = [fitted.adapt([pair]) for pair in pairs]
        else:
            labellers = [fitted.adapt(pairs)] * len(pairs)
        errors[name] = score_clips(changed, anchors, labellers)
    return errors


def table(variant: Variant, errors: dict[str, Errors]) -> list[dict[str, object]]:
    """One row per support-set."""
    about = {"evidence": variant.name, "fitted on": variant.fitted_on}
    return [about | {"labels": labels} | scored.row() for labels, scored in errors.items()]


def compare(scored: dict[Variant, dict[str, Errors]]) -> list[dict[str, object]]:
    """Errors relative to those with the evidence that should be as good; one row per comparison and support-set."""
    by_name = {(variant.name, variant.fitted_on): errors for variant, errors in scored.items()}
    alone, rows = by_name[MTCLAR_ALONE, "validation"], []
    for (name, fitted_on), errors in by_name.items():
        for labels, compared in errors.items():
            good_head = by_name[HEAD_ALONE, fitted_on][labels]
            others = {
                BOTH: ("better alone", lower_error_per_axis(alone[labels], good_head)),
                DISTORTED: ("undistorted", good_head.squared),
                WITH_ANOTHER_CLIP: (MTCLAR_ALONE, alone[labels].squared),
            }
            if name in others:
                other, squared = others[name]
                about = {"evidence": name, "fitted on": fitted_on, "labels": labels, "divided by": other}
                rows.append(about | ratios(compared.squared, squared))
    return rows


def lower_error_per_axis(first: Errors, second: Errors) -> np.ndarray:
    """(C, 2) squared errors by the one with the lower error on each axis."""
    return np.where(first.squared.mean(0) < second.squared.mean(0), first.squared, second.squared)


def with_evidence(clips: list[DatasetClip], variant: Variant) -> list[DatasetClip]:
    """The clips with the evidence of the variant."""
    changed = variant.change([clip.encoded.evidence for clip in clips])
    return [
        clip._replace(encoded=clip.encoded._replace(evidence=values))
        for clip, values in zip(clips, changed, strict=True)
    ]


def calibrate(variants: Sequence[Variant], validation: list[DatasetClip]) -> dict[Variant, Calibration]:
    """The calibrations of variants; their last source is left uncalibrated unless it is fitted on validation clips."""
    axis = AxisCalibration(GPParameters(DEFAULT_PARAMETERS.process, ()))
    others = {(): Calibration(axis, axis)}  # of all sources but the last; key: whether each is relative
    calibrations = {}
    for variant in variants:
        clips = [
            CalibrationClip(clip.encoded.times, clip.encoded.evidence, clip.labels)
            for clip in with_evidence(validation, variant)
        ]
        *first, _ = variant.relative
        if variant.fitted_on == "validation":
            calibrations[variant] = fit_calibration(clips, variant.relative)
            continue
        if tuple(first) not in others:
            alone = [clip._replace(evidence=clip.evidence[:, : len(first)]) for clip in clips]
            others[tuple(first)] = fit_calibration(alone, tuple(first))
        calibrated = others[tuple(first)]
        calibrations[variant] = calibrated.replace_axes(
            axis.replace_sources((*axis.with_evidence.sources, PRIOR_SOURCE)) for axis in calibrated.axes
        )
    return calibrations


def score_clips(clips: list[DatasetClip], anchors: list[Anchors], labellers: list[Labeller]) -> Errors:
    """The errors of fused labels, each clip being labelled from its anchors by its labeller."""
    squared, of_line, covered, expected = [], [], [], []
    for clip, given, labeller in zip(clips, anchors, labellers, strict=True):
        posteriors = labeller.posteriors(clip.encoded, given)
        labels = labeller.fused_labels(posteriors, given)
        unlabelled = np.delete(np.arange(len(clip.frames)), given.indices)
        deviations = (labels.values - clip.labels)[unlabelled]
        interpolated = linear(clip.encoded.times, given.times, given.labels)
        squared.append((deviations**2).mean(0))
        of_line.append(((interpolated - clip.labels)[unlabelled] ** 2).mean(0))
        assert labels.half_widths is not None
        covered.append((np.abs(deviations) <= labels.half_widths[unlabelled]).mean(0))
        expected.append(expected_error(posteriors))
    return Errors(*map(np.array, (squared, of_line, covered, expected)))


if __name__ == "__main__":
    main()
