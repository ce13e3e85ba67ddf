"""Chooses which faces of a track are encoded: more of them where the evidence moves.

The Gaussian process of fused labels needs no evidence at a frame, so not every face has to be encoded. How much the
expected error rises depends on the faces that are encoded and on the activity of the evidence, but not on the values of
the labels. It can therefore be computed before anything is labelled, from the evidence of a few faces.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from utils.labelling.calibration.calibration import Calibration
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.types import EncodedClip, LabelObservations

STEPS = (12, 6, 4, 3, 2, 1)  # The steps from which a plan chooses, if they divide the step of the first pass.
FIRST_PASS_SECONDS = 0.26  # longest time between two encoded faces of the first pass
SEGMENT_FACES = 120  # faces for which a step is chosen; a multiple of every step
SECONDS_PER_LABEL = 1.0  # The expected error is computed for a clip with labels so far apart.
# Largest rise of the computed error. The evidence of few faces looks smoother than it is, so that the computed rise is
# about twice the real one: see `benchmarks/encode_every.py`.
LARGEST_RISE = 0.05


def every_nth(count: int, step: int) -> np.ndarray:
    """(count,) True for every `step`-th face from the first on, and for the last one."""
    chosen = np.arange(count) % step == 0
    chosen[-1] = True
    return chosen


@dataclass(frozen=True)
class EncodingPlan:
    """Which faces of a track are encoded.

    Attributes:
        step: every `step`-th face is encoded, if `labeller` is None.
        labeller: encodes the faces of a first pass, from which a step is chosen for each segment of the track.
        networks: for each source of evidence of the labeller, whether it is a network, which encodes the faces.
    """

    step: int = 1
    labeller: Labeller | None = None
    networks: tuple[bool, ...] = ()

    def first_pass(self, faces: int, fps: float) -> np.ndarray:
        """(faces,) the faces of a track that are encoded first.

        Args:
            faces: number of faces of the track.
            fps: frames per second of the video.
        """
        return every_nth(faces, self._first_step(fps))

    def second_pass(self, embeddings: Tensor, times: np.ndarray, estimates: np.ndarray, fps: float) -> np.ndarray:
        """(N,) all faces of a track that are to be encoded, those of the first pass among them.

        Args:
            embeddings: (N, 256) of the first pass, NaN = not encoded; (N, 0) without the Siamese network.
            times: (N,) seconds, ascending.
            estimates: (N, E, 2) evidence of the estimators after the first pass.
            fps: frames per second of the video.
        """
        step = self._first_step(fps)
        if self.labeller is None or step == 1:
            return every_nth(len(times), step)
        clip = self.labeller.encode_clip(embeddings, times, estimates)
        return plan_encoding(clip, self.labeller.calibration, self.networks, step)

    def _first_step(self, fps: float) -> int:
        if self.labeller is None:
            return self.step
        return next(step for step in STEPS if step == 1 or step / fps <= FIRST_PASS_SECONDS)


def plan_encoding(
    clip: EncodedClip, calibration: Calibration, networks: tuple[bool, ...], first_step: int
) -> np.ndarray:
    """(N,) the faces to encode: in each segment, the largest step whose error rises by at most LARGEST_RISE.

    The error of a step is compared with that of encoding every face.

    Args:
        clip: N faces, every `first_step`-th of them encoded.
        calibration: parameters of E sources of evidence.
        networks: (E,) whether the source is a network.
        first_step: largest step.
    """
    count = len(clip.times)
    steps = [step for step in STEPS if first_step % step == 0]
    plans = np.stack([every_nth(count, step) for step in steps])
    segments = np.minimum(np.arange(count) // SEGMENT_FACES, max(count // SEGMENT_FACES - 1, 0))
    errors = np.stack(
        [
            np.sqrt(np.bincount(segments, _expected_variances(clip.times, evidence, calibration)))
            for evidence in (_evidence_of_plan(clip, plan, networks) for plan in plans)
        ]
    )
    chosen = (errors <= (1 + LARGEST_RISE) * errors[-1]).argmax(0)
    return plans[chosen[segments], np.arange(count)]


def _evidence_of_plan(clip: EncodedClip, plan: np.ndarray, networks: tuple[bool, ...]) -> np.ndarray:
    """(N, E, 2) the evidence, interpolated at all faces of a plan (N,) that are not encoded yet; NaN = no value."""
    evidence = clip.evidence.copy()
    for source in np.flatnonzero(networks):
        for axis in range(evidence.shape[2]):
            values = evidence[:, source, axis]
            known = np.isfinite(values)
            interpolated = np.interp(clip.times, clip.times[known], values[known])
            evidence[:, source, axis] = np.where(plan, interpolated, np.nan)
    return evidence


def _expected_variances(times: np.ndarray, evidence: np.ndarray, calibration: Calibration) -> np.ndarray:
    """(N,) predictive variances, summed over both axes, for exact labels SECONDS_PER_LABEL apart."""
    wanted = np.arange(times[0], times[-1], SECONDS_PER_LABEL)
    labelled = np.unique(np.searchsorted(times, wanted))
    labels = LabelObservations(labelled, np.zeros(len(labelled)), np.zeros(len(labelled)))
    total = np.zeros(len(times))
    for column, axis in enumerate(calibration.axes):
        posterior = GPPosterior(axis.with_evidence, times, evidence[..., column], labels)
        total += posterior.variance + axis.with_evidence.process.nugget**2
    return total
