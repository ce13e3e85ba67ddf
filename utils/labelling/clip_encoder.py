"""Computes the evidence of the Siamese network, predicted differences between frames, and joins that of estimators."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from datasets.columns import AXES
from models.mtclar import MTCLAR, Comparison
from utils.compute.runtime import Runtime
from utils.labelling.anchors import AnchorEstimates
from utils.labelling.support import evenly_spaced
from utils.labelling.types import Anchors, EncodedClip, is_encoded

DIFFERENCES_AT_ONCE = 2**20  # Pairs of frames that are compared at once, to limit memory.
REFERENCE_FRAMES = 64  # frames of a clip with which every frame is compared to get its evidence


class ClipEncoder:
    """Turns the embeddings of a clip into an `EncodedClip`, and compares its frames with anchors.

    Attributes:
        model: the Siamese network, on the runtime's device; None: the evidence is that of other sources alone.
        runtime: device and precision.
    """

    def __init__(self, model: MTCLAR | None, runtime: Runtime):
        self.model, self.runtime = model, runtime

    def encode(self, embeddings: Tensor, times: np.ndarray, estimates: np.ndarray | None = None) -> EncodedClip:
        """Compute the evidence of a clip.

        The evidence of the Siamese network for a frame is its mean predicted difference from up to 64 evenly spaced
        frames of the clip, frame minus reference frame. Frames that are not encoded have no such evidence.

        Args:
            embeddings: (N, 256) embedding of each frame, NaN = not encoded; (N, 0) without the Siamese network.
            times: (N,) seconds, ascending.
            estimates: (N, E, 2) evidence of the estimators; None: there are none.
        """
        evidence = np.empty((len(times), 0, 2)) if estimates is None else estimates
        if self.model is not None:
            difference = self.mean_difference(embeddings, _reference_frames(embeddings))
            evidence = np.concatenate((difference[:, None], evidence), 1)
        return EncodedClip(embeddings, times, evidence)

    def relative_to_person(self, clips: Sequence[EncodedClip]) -> list[EncodedClip]:
        """Tracks of one person with the evidence of the Siamese network relative to the person instead of the clip.

        Every frame is compared with the same up to 64 reference frames, evenly spaced over the frames of all tracks.
        """
        if self.model is None or len(clips) == 1:
            return list(clips)
        references = _reference_frames(torch.cat([clip.embeddings for clip in clips]))
        relative = []
        for clip in clips:
            evidence = clip.evidence.copy()
            evidence[:, 0] = self.mean_difference(clip.embeddings, references)
            relative.append(clip._replace(evidence=evidence))
        return relative

    @torch.inference_mode()
    def mean_difference(self, frames: Tensor, references: Tensor) -> np.ndarray:
        """Mean predicted difference of each frame from the references.

        With Δ(a, b) the network's prediction of the difference a minus b, this is the mean over all references r of
        (Δ(frame, r) - Δ(r, frame)) / 2. It changes its sign when frame and reference are exchanged; Δ need not.

        Args:
            frames: (N, 256) embeddings; NaN = not encoded.
            references: (R, 256) embeddings.

        Returns:
            (N, 2) differences of valence and arousal, frame minus reference; NaN for frames that are not encoded.
        """
        assert self.model, "differences are predicted by the Siamese network"
        parts, encoded = [], np.flatnonzero(is_encoded(frames))
        for part in frames[torch.from_numpy(encoded)].split(max(1, DIFFERENCES_AT_ONCE // len(references))):
            with self.runtime.autocast():
                forward = self.model.deltas_all(part, references)
                backward = self.model.deltas_all(references, part)
            pairs = zip(forward, backward, strict=True)
            means = [(to_frame.float().mean(1) - to_reference.float().mean(0)) / 2 for to_frame, to_reference in pairs]
            parts.append(torch.stack(means, 1).cpu())
        differences = np.full((len(frames), len(AXES)), np.nan)
        differences[encoded] = torch.cat(parts).numpy()
        return differences

    def estimates_from_anchors(
        self, clip: EncodedClip, part: slice, anchors: Anchors, selected: np.ndarray
    ) -> AnchorEstimates:
        """Estimates for the n frames of `part` from the K anchors selected for each, by index (n, K)."""
        compared = self._compare(clip.embeddings[part], anchors.embeddings, selected)
        deltas = torch.stack((compared.delta_valence, compared.delta_arousal), -1).float().cpu().numpy()
        similar_probability = compared.similarity_logits.float().softmax(-1)[..., 1].cpu().numpy()
        duration_per_anchor = max(clip.times[-1] - clip.times[0], 1e-9) / len(anchors.times)
        time_distance = np.abs(clip.times[part, None] - anchors.times[selected]) / duration_per_anchor
        return AnchorEstimates(anchors.labels[selected] + deltas, similar_probability, time_distance)

    @torch.inference_mode()
    def _compare(self, frames: Tensor, anchors: Tensor, selected: np.ndarray) -> Comparison:
        """Compare each of the frames (n, 256) with the K anchors selected for it, by index (n, K) → outputs (n, K).

        If all anchors (A, 256) are selected, every frame is compared with all of them in the order of `anchors`.
        """
        assert self.model, "faces are compared by the Siamese network"
        with self.runtime.autocast():
            if selected.shape[1] == len(anchors):
                return self.model.compare_all(frames, anchors)
            pairs = self.model.compare(
                frames.repeat_interleave(selected.shape[1], 0), anchors[torch.from_numpy(selected.ravel())]
            )
        return Comparison(*(output.unflatten(0, selected.shape) for output in pairs))


def _reference_frames(embeddings: Tensor) -> Tensor:
    """Up to REFERENCE_FRAMES evenly spaced rows of the embeddings (N, 256), among those that are not NaN."""
    encoded = np.flatnonzero(is_encoded(embeddings))
    return embeddings[torch.from_numpy(evenly_spaced(encoded, REFERENCE_FRAMES))]
