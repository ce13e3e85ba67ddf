"""How often the bound of a check holds, in simulated archives; run by `benchmarks/archive.py`.

The clips are those of rendered people, each labelled from several numbers of labels. An archive is drawn from them, and
frames of the archive are drawn and checked as `fsl_mtclar.py --check` does.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.label_quality import EncodedFrames, TestSet, make_labellers, render
from datasets.columns import AXES
from utils.labelling.calibration.calibration import Calibration
from utils.labelling.check import LEVEL, FrameDraw, bound_error, draw_frames
from utils.labelling.types import EncodedClip, LabelObservations

SEED, HARD_SEED = 131, 132  # demo seeds of the people in normal and in harder scenes
ARCHIVES = 1000  # simulated archives of each kind
COMPARED_ARCHIVES, COMPARED_DRAWS = 200, 60  # for the comparison of bounds
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


def measure_check(checkpoint: Path | None, folder: Path, shift: int, draws: list[int]) -> list[pd.DataFrame]:
    """How often the bound of a check holds and its ratio to the real error; then the same of other bounds.

    Args:
        checkpoint: best.pt of a mtclar.py run; None: that of the newest run.
        folder: for demo sets.
        shift: is added to the demo seeds.
        draws: numbers of frames drawn for a check.
    """
    trained, _, settings = make_labellers(checkpoint)
    sets = {False: TestSet("normal", [SEED + shift], 48), True: TestSet("harder", [HARD_SEED + shift], 48, hard=True)}
    clips = {
        hard: [(clip.encoded, clip.labels) for clip in EncodedFrames(trained, render(folder, kind), settings).clips]
        for hard, kind in sets.items()
    }
    rng, pools = np.random.default_rng(0), {}
    for hard, label_std in sorted({(kind.hard, kind.label_std) for kind in KINDS}):
        for misread in (False, True):
            pool = label_clips(trained.calibration, clips[hard], label_std, misread, rng)
            pools[hard, label_std, misread] = pool
    pairs = {kind: (pools[kind.hard, kind.label_std, False], pools[kind.hard, kind.label_std, True]) for kind in KINDS}
    rows = []
    for count in draws:
        ratios = []
        for kind in KINDS:
            ratios.append(check_kind(kind, *pairs[kind], count, rng))
            rows.append({"K": count, "archive": kind.name, "clips": str(kind.clips)} | summarise(ratios[-1]))
        mixed = np.concatenate(ratios)[:: len(KINDS)]
        rows.append({"K": count, "archive": "all kinds, mixed", "clips": ""} | summarise(mixed))
    return [pd.DataFrame(rows), compare_bounds(pairs, rng)]


def label_clips(
    calibration: Calibration,
    clips: list[tuple[EncodedClip, np.ndarray]],
    label_std: float,
    misread: bool,
    rng: np.random.Generator,
) -> list[LabelledClip]:
    """Label each clip from each number of given labels, at evenly spaced frames.

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
    """Check simulated archives of one kind; (ARCHIVES, 2) upper bound of the RMSE divided by the real RMSE.

    Args:
        kind: the kind.
        pool: labelled clips.
        misread: labelled clips whose evidence is that of another clip.
        count: number of frames drawn for a check.
        rng: draws the clips of each archive, and the frames.
    """
    ratios = np.empty((ARCHIVES, len(AXES)))
    for archive in range(ARCHIVES):
        simulated = simulate_archive(kind, pool, misread, rng)
        draw = draw_frames(simulated.variances, count, rng)
        for axis, squares in enumerate(simulated.squared_errors.T):
            upper = bound_error(squares[draw.indices], draw.weights).upper
            ratios[archive, axis] = upper / np.sqrt(squares.mean())
    return ratios


def simulate_archive(
    kind: ArchiveKind, pool: list[LabelledClip], misread: list[LabelledClip], rng: np.random.Generator
) -> LabelledClip:
    """The frames of an archive of clips from the two pools, as one long clip; arguments as of `check_kind`."""
    pools = [misread if rng.random() < kind.misread else pool for _ in range(kind.clips)]
    clips = [choices[rng.integers(len(choices))] for choices in pools]
    return LabelledClip(*(np.concatenate(parts) for parts in zip(*clips, strict=True)))


def summarise(ratios: np.ndarray) -> dict[str, float]:
    """For each axis, in how many archives the bound holds, and the median of its ratio (A, 2) to the real RMSE."""
    holds, medians = (ratios >= 1).sum(0), np.median(ratios, 0)
    scores = {f"{axis} holds": held for axis, held in zip(AXES, holds, strict=True)}
    return scores | {f"{axis} ratio": median for axis, median in zip(AXES, medians, strict=True)}


def compare_bounds(
    pairs: dict[ArchiveKind, tuple[list[LabelledClip], list[LabelledClip]]], rng: np.random.Generator
) -> pd.DataFrame:
    """One row per draw and bound: lowest and highest share of archives where it holds, and median ratio, over kinds.

    Args:
        pairs: the pools of each kind.
        rng: draws archives and frames.
    """
    ratios: dict[tuple[str, str], list[np.ndarray]] = {}
    for kind, pools in pairs.items():
        of_kind: dict[tuple[str, str], list[float]] = {}
        for _ in range(COMPARED_ARCHIVES):
            simulated = simulate_archive(kind, *pools, rng)
            frames = len(simulated.variances)
            equal = FrameDraw(rng.choice(frames, COMPARED_DRAWS, replace=False), np.ones(COMPARED_DRAWS))
            for name, draw in {
                "equal": equal,
                "expected": draw_frames(simulated.variances, COMPARED_DRAWS, rng),
            }.items():
                for squares in simulated.squared_errors.T:
                    for bound, upper in upper_bounds(squares[draw.indices], draw.weights, rng).items():
                        of_kind.setdefault((name, bound), []).append(upper / np.sqrt(squares.mean()))
        for key, values in of_kind.items():
            ratios.setdefault(key, []).append(np.reshape(values, (-1, len(AXES))))
    rows = []
    for (draw_name, bound), of_kinds in ratios.items():
        held = [share for ratio in of_kinds for share in (ratio >= 1).mean(0)]
        medians = [median for ratio in of_kinds for median in np.median(ratio, 0)]
        row = {"draw": draw_name, "bound": bound, "holds from": min(held), "to": max(held)}
        rows.append(row | {"ratio from": min(medians), "to ": max(medians)})
    return pd.DataFrame(rows)


def upper_bounds(squared_errors: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Upper bounds of the RMSE at LEVEL, by name; arguments as of `bound_error`."""
    values = weights * squared_errors
    count, mean, variance = len(values), values.mean(), values.var(ddof=1)
    log = np.log(2 / (1 - LEVEL))
    bootstrap = stats.bootstrap(
        (values,), np.mean, confidence_level=LEVEL, alternative="less", n_resamples=999, rng=rng
    ).confidence_interval.high
    upper = {
        "Student's t": mean + stats.t.ppf(LEVEL, count - 1) * np.sqrt(variance / count),
        "bootstrap (BCa)": bootstrap,
        # Squared errors are at most 4. The largest weight of all frames would make the bound wider still.
        "empirical Bernstein": mean
        + np.sqrt(2 * variance * log / count)
        + 4 * weights.max() * 7 * log / 3 / (count - 1),
    }
    return {name: float(np.sqrt(value)) for name, value in upper.items()} | {
        "scaled chi-square": bound_error(squared_errors, weights).upper
    }
