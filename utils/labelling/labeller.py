"""Labels clips: a trained network, the runtime it computes on and its calibration, as one object."""

import numpy as np
import torch
from torch import Tensor

from datasets.columns import AXES
from models.mtclar import MTCLAR, Comparison
from utils.compute.runtime import Runtime
from utils.labelling import audit as auditing
from utils.labelling.anchors import ANCHOR_RULES, BASELINES, FUSED, RULES, RULES_THAT_NEED_TIME, AnchorEstimates
from utils.labelling.calibration import DEFAULT_CALIBRATION, Calibration
from utils.labelling.mixture import MixturePosterior
from utils.labelling.suggest import Suggestion, suggest
from utils.labelling.types import Anchors, EncodedClip, Labels, observations_of

COMPARISONS_AT_ONCE = 16384
REFERENCE_FRAMES = 64  # frames of a clip that every frame is compared with to get its evidence


class Labeller:
    """Labels clips of N frames with a trained network.

    Attributes:
        model: the Siamese network, on the runtime's device.
        runtime: device and precision.
        calibration: how far fused labels trust the network.
    """

    def __init__(self, model: MTCLAR, runtime: Runtime, calibration: Calibration = DEFAULT_CALIBRATION):
        self.model, self.runtime, self.calibration = model, runtime, calibration

    def encode_clip(self, embeddings: Tensor, times: np.ndarray) -> EncodedClip:
        """Computes the evidence of a clip from its embeddings (N, 256) and times (N,) in seconds.

        The evidence of a frame is its mean predicted difference from up to 64 evenly spaced frames of the clip.
        """
        indices = np.linspace(0, len(times) - 1, min(len(times), REFERENCE_FRAMES)).round().astype(int)
        references = embeddings[torch.from_numpy(np.unique(indices))]
        return EncodedClip(embeddings, times, self.mean_difference(embeddings, references))

    @torch.inference_mode()
    def mean_difference(self, frames: Tensor, references: Tensor) -> np.ndarray:
        """Mean predicted difference of each frame from the references.

        Both orders of each pair are compared, and the mean is antisymmetric: (Δ(a, b) - Δ(b, a)) / 2.

        Args:
            frames: (N, 256) embeddings.
            references: (R, 256) embeddings.

        Returns:
            (N, 2) differences of valence and arousal, frame minus reference.
        """
        parts = []
        for part in frames.split(max(1, COMPARISONS_AT_ONCE * REFERENCE_FRAMES // len(references))):
            with self.runtime.autocast():
                forward = self.model.deltas_all(part, references)
                backward = self.model.deltas_all(references, part)
            pairs = zip(forward, backward, strict=True)
            means = [(there.float().mean(1) - back.float().mean(0)) / 2 for there, back in pairs]
            parts.append(torch.stack(means, 1).cpu())
        return torch.cat(parts).numpy().astype(np.float64)

    def posteriors(self, clip: EncodedClip, anchors: Anchors | None) -> list[MixturePosterior]:
        """The posteriors of valence and arousal at all frames of a clip.

        Args:
            clip: the encoded clip.
            anchors: frames of the clip itself, whose labels are observed; or frames of other people or videos: the
                evidence is then their mean label plus the mean predicted difference from them; or None, if nothing is
                labelled yet.
        """
        if anchors is None or anchors.from_clip:
            return self.calibration.posteriors(clip.times, clip.evidence, observations_of(anchors))
        evidence = anchors.labels.mean(0) + self.mean_difference(clip.embeddings, anchors.embeddings)
        return self.calibration.posteriors(clip.times, evidence, observations_of(None))

    def fused_labels(self, posteriors: list[MixturePosterior], anchors: Anchors | None) -> Labels:
        """Labels from the posteriors of a clip: their means, with 90 % intervals.

        Exact labels of the clip's own anchors are kept. anchors: as given to `posteriors`.
        """
        values = np.clip(np.stack([posterior.mean for posterior in posteriors], 1), -1, 1)
        half_widths = self.calibration.half_widths(posteriors)
        anchor = np.full(len(values), -1)
        if anchors is not None and anchors.from_clip:
            exact = anchors.errors == 0
            half_widths[anchors.indices] = np.where(exact, 0, half_widths[anchors.indices])
            values[anchors.indices] = np.where(exact, anchors.labels, values[anchors.indices])
            anchor[anchors.indices] = np.arange(len(anchors.indices))
        misread = tuple(axis for axis, posterior in zip(AXES, posteriors, strict=True) if posterior.misread)
        return Labels(values, anchor, half_widths, misread)

    def label(self, clip: EncodedClip, anchors: Anchors, rule: str) -> Labels:
        """Labels a clip by one of `anchors.RULES`."""
        if rule == FUSED:
            return self.fused_labels(self.posteriors(clip, anchors), anchors)
        select, combine = ANCHOR_RULES[rule]
        selected = select(clip.times, anchors.times)
        values = np.empty((len(clip.times), len(AXES)))
        step = max(1, COMPARISONS_AT_ONCE // selected.shape[1])
        for start in range(0, len(values), step):
            part = slice(start, start + step)
            values[part] = np.clip(combine(self._estimates(clip, part, anchors, selected[part])), -1, 1)
        anchor = selected[:, 0].copy() if selected.shape[1] == 1 else np.full(len(values), -1)
        return _keep_support_labels(Labels(values, anchor), anchors)

    def label_by_all_methods(self, clip: EncodedClip, anchors: Anchors) -> dict[str, Labels]:
        """Labels a clip by every rule that its anchors allow, and by every baseline: method → labels."""
        rules = [rule for rule in RULES if anchors.have_time or rule not in RULES_THAT_NEED_TIME]
        by_rule = {rule: self.label(clip, anchors, rule) for rule in rules}
        return by_rule | {baseline: label_by_baseline(clip.times, anchors, baseline) for baseline in BASELINES}

    def suggest(
        self,
        clip: EncodedClip,
        anchors: Anchors | None,
        count: int,
        label_errors: tuple[float, float] = (0.0, 0.0),
    ) -> list[Suggestion]:
        """Suggests frames to label next, given the labels so far; see `utils.labelling.suggest`."""
        return suggest(self.posteriors(clip, anchors), count, label_errors)

    def audit(self, clip: EncodedClip, anchors: Anchors) -> list[auditing.Contradiction]:
        """Finds labels of the clip's anchors that the other labels contradict; see `utils.labelling.audit`."""
        return auditing.audit(clip, anchors, self.calibration)

    def _estimates(self, clip: EncodedClip, part: slice, anchors: Anchors, selected: np.ndarray) -> AnchorEstimates:
        """Estimates for the frames of `part` from their anchors, with indices `selected` (n, K)."""
        compared = self._compare(clip.embeddings[part], anchors.embeddings, selected)
        deltas = torch.stack((compared.delta_valence, compared.delta_arousal), -1).float().cpu().numpy()
        similarity = compared.similarity.float().softmax(-1)[..., 1].cpu().numpy()
        duration_per_anchor = max(clip.times[-1] - clip.times[0], 1e-9) / len(anchors.times)
        time_distance = np.abs(clip.times[part, None] - anchors.times[selected]) / duration_per_anchor
        return AnchorEstimates(anchors.labels[selected] + deltas, similarity, time_distance)

    @torch.inference_mode()
    def _compare(self, frames: Tensor, anchors: Tensor, selected: np.ndarray) -> Comparison:
        """Compares frames (n, 256) with the anchors (A, 256) that serve each, by index (n, K); outputs (n, K)."""
        with self.runtime.autocast():
            if selected.shape[1] == len(anchors):
                return self.model.compare_all(frames, anchors)
            pairs = self.model.compare(
                frames.repeat_interleave(selected.shape[1], 0), anchors[torch.from_numpy(selected.ravel())]
            )
        return Comparison(*(output.unflatten(0, selected.shape) for output in pairs))


def label_by_baseline(times: np.ndarray, anchors: Anchors, baseline: str) -> Labels:
    """Labels a clip by one of `anchors.BASELINES`, which use time alone.

    Anchors without a time on the clip's clock give their mean label to all frames.
    """
    if anchors.have_time:
        values = BASELINES[baseline](times, anchors.times, anchors.labels)
    else:
        values = np.broadcast_to(anchors.labels.mean(0), (len(times), len(AXES))).copy()
    return _keep_support_labels(Labels(values, np.full(len(times), -1)), anchors)


def _keep_support_labels(labels: Labels, anchors: Anchors) -> Labels:
    """Puts the labels that a person gave in place of the computed ones."""
    own = anchors.indices >= 0
    labels.values[anchors.indices[own]] = anchors.labels[own]
    labels.anchor[anchors.indices[own]] = np.flatnonzero(own)
    return labels
