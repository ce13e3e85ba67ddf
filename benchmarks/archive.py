"""Measures the work on an archive of many videos.

    python benchmarks/archive.py --checkpoint runs/mtclar/<run>/best.pt

- check: 1,000 simulated archives of each kind are checked by drawn frames (`fsl_mtclar.py --check`). The table has how
  often the upper bound of the RMSE holds, and the ratio of the bound to the real RMSE.

Needs a network trained on the demo set. It is not trained on the people rendered here.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd

from benchmarks.label_quality import EncodedFrames, TestSet, make_labellers, render
from datasets.columns import AXES
from utils.labelling.calibration import Calibration
from utils.labelling.check import bound_error, draw_frames
from utils.labelling.types import EncodedClip, LabelObservations

ARCHIVES = 1000  # simulated archives of each kind
LABELS = (1, 3, 6)  # given labels of a clip


class ArchiveKind(NamedTuple):
    """A kind of simulated archive.

    Attributes:
        name: name in the table.
        clips: number of clips.
        hard: whether the scenes are harder.
        label_std: standard deviation of the annotator's labels.
        misread: share of clips whose evidence is that of another clip.
    """

    name: str
    clips: int = 40
    hard: bool = False
    label_std: float = 0.0
    misread: float = 0.0


KINDS = (
    ArchiveKind("normal"),
    ArchiveKind("normal", clips=150),
    ArchiveKind("harder scenes", hard=True),
    ArchiveKind("harder scenes", clips=150, hard=True),
    ArchiveKind("noisy labels", label_std=0.1),
    ArchiveKind("3 % misread", misread=0.03),
    ArchiveKind("3 % misread", clips=150, misread=0.03),
    ArchiveKind("10 % misread", misread=0.1),
    ArchiveKind("10 % misread", clips=150, misread=0.1),
    ArchiveKind("30 % misread", misread=0.3),
    ArchiveKind("30 % misread", clips=150, misread=0.3),
    ArchiveKind("all misread", misread=1.0),
    ArchiveKind("harder scenes, noisy labels, 20 % misread", hard=True, label_std=0.1, misread=0.2),
)


class LabelledClip(NamedTuple):
    """The frames without a given label of one labelled clip.

    Attributes:
        squared_errors: (n, 2) squared difference of the estimated label from the annotator's.
        variances: (n, 2) predictive variances.
    """

    squared_errors: np.ndarray
    variances: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="best.pt of a mtclar.py run on the demo set (default: newest)")
    parser.add_argument("--seeds", type=int, nargs=2, default=[131, 132], help="demo seeds: normal and harder scenes")
    parser.add_argument("--folder", type=Path, default=Path("data/archive"), help="for demo sets")
    parser.add_argument("--draws", type=int, nargs="+", default=[20, 60, 200], help="numbers of frames of a check")
    arguments = parser.parse_args()
    check_archives(arguments.checkpoint, arguments.folder, *arguments.seeds, arguments.draws)


def check_archives(checkpoint: Path | None, folder: Path, seed: int, hard_seed: int, draws: list[int]) -> None:
    """Prints how often the bound of a check holds, and its ratio to the real error.

    Args:
        checkpoint: best.pt of a mtclar.py run; None: that of the newest run.
        folder: for demo sets.
        seed: demo seed of the people in normal scenes.
        hard_seed: demo seed of the people in harder scenes.
        draws: numbers of frames drawn for a check.
    """
    trained, _, settings = make_labellers(checkpoint)
    sets = {False: TestSet("normal", [seed], 48), True: TestSet("harder", [hard_seed], 48, hard=True)}
    clips = {
        hard: [(clip.encoded, clip.labels) for clip in EncodedFrames(trained, render(folder, kind), settings).clips]
        for hard, kind in sets.items()
    }
    rng, pools = np.random.default_rng(0), {}
    for hard, label_std in sorted({(kind.hard, kind.label_std) for kind in KINDS}):
        for misread in (False, True):
            pool = label_clips(trained.calibration, clips[hard], label_std, misread, rng)
            pools[hard, label_std, misread] = pool
    rows = []
    for count in draws:
        ratios = []
        for kind in KINDS:
            pair = [pools[kind.hard, kind.label_std, misread] for misread in (False, True)]
            ratios.append(check_kind(kind, *pair, count, rng))
            rows.append({"K": count, "archive": kind.name, "clips": str(kind.clips)} | summarise(ratios[-1]))
        mixed = np.concatenate(ratios)[:: len(KINDS)]
        rows.append({"K": count, "archive": "all kinds, mixed", "clips": ""} | summarise(mixed))
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))


def label_clips(
    calibration: Calibration,
    clips: list[tuple[EncodedClip, np.ndarray]],
    label_std: float,
    misread: bool,
    rng: np.random.Generator,
) -> list[LabelledClip]:
    """Labels each clip from each number of given labels, at evenly spaced frames.

    Args:
        calibration: of the network.
        clips: encoded clips with their true labels (N, 2).
        label_std: standard deviation of the annotator's labels.
        misread: whether each clip gets the evidence of another clip.
        rng: draws the annotator's errors, the first labelled frame and the other clip.
    """
    labelled = []
    for number, (clip, labels) in enumerate(clips):
        evidence = clips[(number + rng.integers(1, len(clips))) % len(clips)][0].evidence if misread else clip.evidence
        given = np.clip(labels + label_std * rng.normal(size=labels.shape), -1, 1)
        for amount in LABELS:
            indices = ((np.arange(amount) + rng.random()) * len(labels) / amount).astype(int)
            errors = np.full(amount, label_std)
            observed = [LabelObservations(indices, given[indices, axis], errors) for axis in range(len(AXES))]
            posteriors = calibration.posteriors(clip.times, evidence, observed)
            means = np.clip(np.stack([posterior.mean for posterior in posteriors], 1), -1, 1)
            variances = np.stack([posterior.predictive_variance for posterior in posteriors], 1)
            unlabelled = np.delete(np.arange(len(labels)), indices)
            labelled.append(LabelledClip(((means - given) ** 2)[unlabelled], variances[unlabelled]))
    return labelled


def check_kind(
    kind: ArchiveKind, pool: list[LabelledClip], misread: list[LabelledClip], count: int, rng: np.random.Generator
) -> np.ndarray:
    """Checks simulated archives of one kind; (ARCHIVES, 2) upper bound of the RMSE divided by the real RMSE.

    Args:
        kind: the kind.
        pool: labelled clips.
        misread: labelled clips whose evidence is that of another clip.
        count: number of frames drawn for a check.
        rng: draws the clips of each archive, and the frames.
    """
    ratios = np.empty((ARCHIVES, len(AXES)))
    for archive in range(ARCHIVES):
        pools = [misread if rng.random() < kind.misread else pool for _ in range(kind.clips)]
        clips = [one[rng.integers(len(one))] for one in pools]
        squares = np.concatenate([clip.squared_errors for clip in clips])
        draw = draw_frames(np.concatenate([clip.variances for clip in clips]), count, rng)
        for axis in range(len(AXES)):
            upper = bound_error(squares[draw.indices, axis], draw.weights).upper
            ratios[archive, axis] = upper / np.sqrt(squares[:, axis].mean())
    return ratios


def summarise(ratios: np.ndarray) -> dict[str, float]:
    """For each axis, in how many archives the bound holds, and the median of its ratio (A, 2) to the real RMSE."""
    holds, medians = (ratios >= 1).sum(0), np.median(ratios, 0)
    scores = {f"{axis} holds": held for axis, held in zip(AXES, holds, strict=True)}
    return scores | {f"{axis} ratio": median for axis, median in zip(AXES, medians, strict=True)}


if __name__ == "__main__":
    main()
