"""Labels clips with a trained network and its calibration."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.columns import AXES
from models.mtclar import MTCLAR, Comparison
from utils.compute.runtime import Runtime
from utils.labelling import audit as auditing
from utils.labelling.anchors import ANCHOR_RULES, BASELINES, FUSED, RULES, RULES_THAT_NEED_TIME, AnchorEstimates
from utils.labelling.calibration.adaptation import fit_sources, labelled_evidence, weigh_explanations
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION, Calibration
from utils.labelling.calibration.file import calibration_content
from utils.labelling.people import person_posteriors
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.raters.rater import PRIOR_RATER, PRIOR_RATING, fit_raters
from utils.labelling.raters.rating_windows import Rater, shift_ratings
from utils.labelling.suggestion.suggest import Suggestion, plan_labels
from utils.labelling.support import evenly_spaced
from utils.labelling.types import Anchors, ClipRating, EncodedClip, Labels, is_encoded, observations_of

log = logging.getLogger(__name__)

# Pairs of frames that are compared at once, to limit memory. `mean_difference` computes no similarities, only two
# numbers per pair, so it compares more pairs at once.
COMPARISONS_AT_ONCE = 16384
DIFFERENCES_AT_ONCE = 64 * COMPARISONS_AT_ONCE
REFERENCE_FRAMES = 64  # frames of a clip with which every frame is compared to get its evidence


class Labeller:
    """Encodes clips, labels them by any rule, suggests frames to label, and audits given labels.

    Attributes:
        model: the Siamese network, on the runtime's device; None: fused labels follow other sources of evidence.
        runtime: device and precision.
        calibration: parameters of the rule `fused` for the sources of evidence.
        uncalibrated: indices of the absolute sources without a calibration, which `adapt` fits to the given labels.
        raters: people whose continuous ratings are the last sources of evidence; they are among `uncalibrated`.
    """

    def __init__(
        self,
        model: MTCLAR | None,
        runtime: Runtime,
        calibration: Calibration = DEFAULT_CALIBRATION,
        uncalibrated: tuple[int, ...] = (),
        raters: tuple[Rater, ...] = (),
    ):
        self.model, self.runtime, self.calibration = model, runtime, calibration
        self.uncalibrated, self.raters = uncalibrated, raters

    def adapt(self, clips: Sequence[tuple[EncodedClip, Anchors | None]]) -> "Labeller":
        """A copy of this labeller whose uncalibrated sources are fitted to the given labels of clips.

        Ratings are also fitted to the other evidence. The copy has other lags of the raters, so the evidence of clips
        that this labeller has encoded is out of date: see `shifted`. Without uncalibrated sources, returns itself.

        Args:
            clips: encoded clips with their anchors; None: no labels. Anchors of other clips are not used.
        """
        if not self.uncalibrated:
            return self
        labelled = []
        for clip, anchors in clips:
            if anchors is not None and len(anchors.in_clip.indices):
                labelled.append(labelled_evidence(clip, anchors.in_clip))
        calibration, raters = fit_sources(self.calibration, self._uncalibrated_estimators, labelled), self.raters
        if raters:
            calibration, raters = fit_raters(calibration, clips, raters)
        if len(self.uncalibrated) == self.source_count or self._uncalibrated_estimators:
            calibration = weigh_explanations(calibration)
        return Labeller(self.model, self.runtime, calibration, self.uncalibrated, raters)

    def with_rater(self) -> "Labeller":
        """A copy of this labeller with a further rater, who is the last source of evidence."""
        axes = [axis.replace_sources((*axis.with_evidence.sources, PRIOR_RATING)) for axis in self.calibration.axes]
        calibration, uncalibrated = self.calibration.replace_axes(axes), (*self.uncalibrated, self.source_count)
        return Labeller(self.model, self.runtime, calibration, uncalibrated, (*self.raters, PRIOR_RATER))

    @property
    def source_count(self) -> int:
        """Number of sources of evidence, raters included."""
        return len(self.calibration.valence.with_evidence.sources)

    @property
    def _uncalibrated_estimators(self) -> list[int]:
        """Indices of the uncalibrated sources that are not raters."""
        return [index for index in self.uncalibrated if index < self.source_count - len(self.raters)]

    def log_adaptation(self, names: list[str], clips: int) -> None:
        """Logs what `adapt` has fitted; `names` are those of all sources, `clips` the number of labelled clips."""
        for index in self._uncalibrated_estimators:
            fitted = [axis.with_evidence.sources[index] for axis in self.calibration.axes]
            texts = [
                f"{axis} gain {source.gain:.2f}, bias {source.bias:+.2f}, "
                f"error {np.hypot(source.ou, source.observation_noise):.2f}"
                for axis, source in zip(AXES, fitted, strict=True)
            ]
            log.info("evidence %s: fitted to the labels of %d clips: %s", names[index], clips, "; ".join(texts))
        for name, rater in zip(names[self.source_count - len(self.raters) :], self.raters, strict=True):
            if rater.clips:
                log.info("rating by %s: %.2f ± %.2f s late, fitted to %d clips", name, *rater)
            else:
                log.warning(
                    "rating by %s: there is nothing to compare it with (no labels, no other evidence, or a few seconds "
                    "of video), so its lag is assumed to be %.1f ± %.1f s and its scale to be right; label some frames",
                    name,
                    rater.lag,
                    rater.lag_std,
                )

    def adapted_content(self, names: list[str]) -> dict[str, Any]:
        """What `adapt` has fitted, as plain values for a JSON file; empty without uncalibrated sources.

        Args:
            names: of all sources, in the order of their parameters.
        """
        if not self.uncalibrated:
            return {}
        raters = dict(zip(names[self.source_count - len(self.raters) :], self.raters, strict=True))
        return {
            "sources": names,
            "fitted_to_given_labels": [names[index] for index in self.uncalibrated],
            "raters": {name: rater._asdict() for name, rater in raters.items()},
        } | calibration_content(self.calibration)

    def encode_clip(
        self,
        embeddings: Tensor,
        times: np.ndarray,
        estimates: np.ndarray | None = None,
        ratings: tuple[ClipRating | None, ...] = (),
    ) -> EncodedClip:
        """Computes the evidence of a clip.

        The evidence of the Siamese network for a frame is its mean predicted difference from up to 64 evenly spaced
        frames of the clip, frame minus reference frame. Frames that are not encoded have no such evidence.

        Args:
            embeddings: (N, 256) embedding of each frame, NaN = not encoded; (N, 0) without the Siamese network.
            times: (N,) seconds, ascending.
            estimates: (N, E, 2) evidence of the estimators; None: there are none.
            ratings: by each of `raters`; None: this person did not rate the clip.
        """
        evidence = np.empty((len(times), 0, 2)) if estimates is None else estimates
        if self.model is not None:
            difference = self.mean_difference(embeddings, _reference_frames(embeddings))
            evidence = np.concatenate((difference[:, None], evidence), 1)
        unrated = np.full((len(times), len(self.raters), 2), np.nan)
        return self.shifted(EncodedClip(embeddings, times, np.concatenate((evidence, unrated), 1), ratings))

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

    def shifted(self, clip: EncodedClip) -> EncodedClip:
        """A clip that was encoded with other lags of the raters, with the lags of this labeller."""
        return shift_ratings(clip, self.raters) if clip.ratings else clip

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

    def posteriors(self, clip: EncodedClip, anchors: Anchors | None) -> list[MixturePosterior]:
        """The posteriors of valence and arousal at all frames of a clip.

        There are three cases:

        - Some anchors are frames of the clip itself: their labels are observed. Other anchors are not used.
        - All anchors are frames of other people or videos: no label is observed. The evidence of the Siamese network is
          absolute: the mean label of the anchors plus the mean predicted difference from them.
        - anchors is None, since nothing is labelled yet: no label is observed.
        """
        if self.model is not None and anchors is not None and anchors.none_in_clip:
            evidence = clip.evidence.copy()
            evidence[:, 0] = anchors.labels.mean(0) + self.mean_difference(clip.embeddings, anchors.embeddings)
            calibration = self.calibration.for_foreign_anchors(anchors.people)
            return calibration.posteriors(clip.times, evidence, observations_of(None))
        anchors_in_clip = None if anchors is None else anchors.in_clip
        return self.calibration.posteriors(clip.times, clip.evidence, observations_of(anchors_in_clip))

    def person_posteriors(
        self, clips: Sequence[EncodedClip], anchors: Sequence[Anchors | None]
    ) -> list[list[MixturePosterior]]:
        """The posteriors of valence and arousal of all tracks of a person, which inform each other.

        Without any label of the person, each track has its `posteriors` alone.

        Args:
            clips: the tracks, as `relative_to_person` returns them.
            anchors: of each track, as for `posteriors`.
        """
        in_clip = [None if track is None else track.in_clip for track in anchors]
        if len(clips) == 1 or not any(track and len(track.indices) for track in in_clip):
            return [self.posteriors(*pair) for pair in zip(clips, anchors, strict=True)]
        models = [self.calibration.models(clip.times, clip.evidence) for clip in clips]
        return person_posteriors(self.calibration, models, [observations_of(track) for track in in_clip])

    def fused_labels(self, posteriors: list[MixturePosterior], anchors: Anchors | None) -> Labels:
        """Estimated labels from the posteriors of a clip: their means, with 90 % intervals.

        Exact labels of anchors in the clip are kept, with intervals of width 0.

        Args:
            posteriors: of valence and arousal, as `posteriors` returns them.
            anchors: the anchors from which these posteriors were computed.
        """
        values = np.clip(np.stack([posterior.mean for posterior in posteriors], 1), -1, 1)
        half_widths = self.calibration.half_widths(posteriors)
        anchor = np.full(len(values), -1)
        if anchors is not None:
            indices, labels, exact = anchors.in_clip.indices, anchors.in_clip.labels, anchors.in_clip.errors == 0
            half_widths[indices] = np.where(exact, 0, half_widths[indices])
            values[indices] = np.where(exact, labels, values[indices])
            anchor[indices] = np.flatnonzero(anchors.indices >= 0)
        misread = tuple(axis for axis, posterior in zip(AXES, posteriors, strict=True) if posterior.misread)
        return Labels(values, anchor, half_widths, misread)

    def label(self, clip: EncodedClip, anchors: Anchors, rule: str) -> Labels:
        """Labels a clip by one of `labelling.anchors.RULES`."""
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
        """Labels a clip by every rule, and by every baseline: method → labels.

        Rules that need times are left out for anchors without times, and all rules but `fused` are left out without the
        Siamese network.
        """
        rules = [rule for rule in RULES if anchors.all_have_times or rule not in RULES_THAT_NEED_TIME]
        rules = rules if self.model else [FUSED]
        by_rule = {rule: self.label(clip, anchors, rule) for rule in rules}
        return by_rule | {baseline: label_by_baseline(clip.times, anchors, baseline) for baseline in BASELINES}

    def suggest(
        self,
        clip: EncodedClip,
        anchors: Anchors | None,
        count: int,
        label_errors: tuple[float, float] = (0.0, 0.0),
    ) -> list[Suggestion]:
        """Chooses `count` frames to label next, given the labels so far; see `labelling.suggest.plan_labels`."""
        return plan_labels(self.posteriors(clip, anchors), count, label_errors)

    def audit(self, clip: EncodedClip, anchors: Anchors) -> list[auditing.Contradiction]:
        """Finds given labels of the clip that its other given labels contradict; see `utils.labelling.audit`."""
        return auditing.audit(clip, anchors, self.calibration)

    def _estimates(self, clip: EncodedClip, part: slice, anchors: Anchors, selected: np.ndarray) -> AnchorEstimates:
        """Estimates for the n frames of `part` from the K anchors selected for each, by index (n, K)."""
        compared = self._compare(clip.embeddings[part], anchors.embeddings, selected)
        deltas = torch.stack((compared.delta_valence, compared.delta_arousal), -1).float().cpu().numpy()
        similarity = compared.similarity.float().softmax(-1)[..., 1].cpu().numpy()
        duration_per_anchor = max(clip.times[-1] - clip.times[0], 1e-9) / len(anchors.times)
        time_distance = np.abs(clip.times[part, None] - anchors.times[selected]) / duration_per_anchor
        return AnchorEstimates(anchors.labels[selected] + deltas, similarity, time_distance)

    @torch.inference_mode()
    def _compare(self, frames: Tensor, anchors: Tensor, selected: np.ndarray) -> Comparison:
        """Compares each of the frames (n, 256) with the K anchors selected for it, by index (n, K) → outputs (n, K).

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


def label_by_baseline(times: np.ndarray, anchors: Anchors, baseline: str) -> Labels:
    """Labels a clip by one of `labelling.anchors.BASELINES`, which use the given labels and time alone.

    If any anchor has no time, every frame gets the mean label of the anchors.
    """
    if anchors.all_have_times:
        values = BASELINES[baseline](times, anchors.times, anchors.labels)
    else:
        values = np.broadcast_to(anchors.labels.mean(0), (len(times), len(AXES))).copy()
    return _keep_support_labels(Labels(values, np.full(len(times), -1)), anchors)


def _keep_support_labels(labels: Labels, anchors: Anchors) -> Labels:
    """Overwrites, in place, the estimates at labelled frames of the clip with the given labels; returns `labels`."""
    indices = anchors.in_clip.indices
    labels.values[indices] = anchors.in_clip.labels
    labels.anchor[indices] = np.flatnonzero(anchors.indices >= 0)
    return labels
