"""Labels clips by the evidence of any sources, and their calibration."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from datasets.columns import AXES
from utils.labelling import audit as auditing
from utils.labelling.anchors import ANCHOR_RULES, BASELINES, FUSED, RULES, RULES_THAT_NEED_TIME
from utils.labelling.calibration.adaptation import (
    discount_unrelated_sources,
    fit_sources,
    labelled_evidence,
    weaken_inaccurate_evidence,
)
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION, Calibration
from utils.labelling.calibration.unrelated import unrelated_probability
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clip_rating import ClipRating
from utils.labelling.people import person_posteriors
from utils.labelling.posterior.mixture import MixturePosterior
from utils.labelling.raters.rater import PRIOR_LAG, PRIOR_RATING_PARAMETERS, fit_raters
from utils.labelling.raters.rating_windows import RaterLag, shift_ratings
from utils.labelling.suggestion.suggest import Suggestion, suggest_set
from utils.labelling.types import Anchors, EncodedClip, Labels, observations_of

COMPARISONS_AT_ONCE = 2**14  # Pairs of frame and anchor that are compared at once, to limit memory.


class Labeller:
    """Labels clips by any rule, suggests frames to label, and audits given labels.

    Attributes:
        encoder: computes the evidence of the Siamese network, if there is one, and compares frames with anchors.
        calibration: parameters of the rule `fused` for the sources of evidence.
        uncalibrated: indices of the absolute sources without a calibration, which `adapt` fits to the given labels.
        rater_lags: lag of each rater. The ratings are the last sources of evidence, and are among `uncalibrated`.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        calibration: Calibration = DEFAULT_CALIBRATION,
        uncalibrated: tuple[int, ...] = (),
        rater_lags: tuple[RaterLag, ...] = (),
    ):
        self.encoder, self.calibration = encoder, calibration
        self.uncalibrated, self.rater_lags = uncalibrated, rater_lags

    def adapt(self, clips: Sequence[tuple[EncodedClip, Anchors | None]]) -> "Labeller":
        """A copy of this labeller whose uncalibrated sources are fitted to the given labels of clips.

        Ratings are also fitted to the other evidence. The copy has other lags of the raters, so the evidence of clips
        that this labeller has encoded is out of date: see `shifted`. Without uncalibrated sources, returns itself.

        Args:
            clips: encoded clips with their anchors; None: no labels. Anchors of other clips are not used.
        """
        if not self.uncalibrated:
            return self
        labelled = [
            labelled_evidence(clip, anchors.in_clip)
            for clip, anchors in clips
            if anchors is not None and len(anchors.in_clip.indices)
        ]
        estimators = self.uncalibrated_estimators
        calibration = fit_sources(self.calibration, estimators, labelled)
        calibrated = [index for index in range(self.source_count) if index not in self.uncalibrated]
        unrelated = {index: unrelated_probability(calibration, index, calibrated, clips) for index in estimators}
        calibration = discount_unrelated_sources(calibration, unrelated)
        rater_lags = self.rater_lags
        if rater_lags:
            calibration, rater_lags = fit_raters(calibration, clips, rater_lags)
        # A calibrated network was fitted together with the process that follows its evidence. Raters beside it only add
        # evidence, so the process stays as it was fitted. It is adjusted if the process belongs to no source, or if
        # the mean evidence contains an estimator that may be poor. An unrelated one has hardly any weight in this mean.
        if not calibrated:
            calibration = weaken_inaccurate_evidence(calibration)
        elif estimators:
            calibration = weaken_inaccurate_evidence(calibration, 1 - float(np.prod(list(unrelated.values()))))
        return Labeller(self.encoder, calibration, self.uncalibrated, rater_lags)

    def with_rater(self) -> "Labeller":
        """A copy of this labeller with a further rater, who is the last source of evidence."""
        axes = [
            axis.replace_sources((*axis.with_evidence.sources, PRIOR_RATING_PARAMETERS))
            for axis in self.calibration.axes
        ]
        calibration, uncalibrated = self.calibration.replace_axes(axes), (*self.uncalibrated, self.source_count)
        return Labeller(self.encoder, calibration, uncalibrated, (*self.rater_lags, PRIOR_LAG))

    @property
    def source_count(self) -> int:
        """Number of sources of evidence, raters included."""
        return len(self.calibration.valence.with_evidence.sources)

    @property
    def uncalibrated_estimators(self) -> list[int]:
        """Indices of the uncalibrated sources that are not raters."""
        return [index for index in self.uncalibrated if index < self.source_count - len(self.rater_lags)]

    def encode_clip(
        self,
        embeddings: Tensor,
        times: np.ndarray,
        estimates: np.ndarray | None = None,
        ratings: tuple[ClipRating | None, ...] = (),
    ) -> EncodedClip:
        """Compute the evidence of a clip, with that of the raters.

        Args:
            embeddings: as for `ClipEncoder.encode`, and so are `times` and `estimates`.
            ratings: by each rater; None: this person did not rate the clip.
        """
        clip = self.encoder.encode(embeddings, times, estimates)
        unrated = np.full((len(times), len(self.rater_lags), 2), np.nan)
        return self.shifted(clip._replace(evidence=np.concatenate((clip.evidence, unrated), 1), ratings=ratings))

    def shifted(self, clip: EncodedClip) -> EncodedClip:
        """A clip that was encoded with other lags of the raters, with the lags of this labeller."""
        return shift_ratings(clip, self.rater_lags) if clip.ratings else clip

    def posteriors(self, clip: EncodedClip, anchors: Anchors | None) -> list[MixturePosterior]:
        """The posteriors of valence and arousal at all frames of a clip.

        There are three cases:

        - Some anchors are frames of the clip itself: their labels are observed. Other anchors are not used.
        - All anchors are frames of other people or videos: no label is observed. The evidence of the Siamese network is
          absolute: the mean label of the anchors plus the mean predicted difference from them.
        - anchors is None, since nothing is labelled yet: no label is observed.
        """
        if self.encoder.model is not None and anchors is not None and anchors.none_in_clip:
            evidence = clip.evidence.copy()
            evidence[:, 0] = anchors.labels.mean(0) + self.encoder.mean_difference(clip.embeddings, anchors.embeddings)
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
            clips: the tracks, as `ClipEncoder.relative_to_person` returns them.
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
            in_clip = anchors.in_clip
            indices, labels, exact = in_clip.indices, in_clip.labels, in_clip.errors == 0
            half_widths[indices] = np.where(exact, 0, half_widths[indices])
            values[indices] = np.where(exact, labels, values[indices])
            anchor[indices] = np.flatnonzero(anchors.indices >= 0)
        misread = tuple(axis for axis, posterior in zip(AXES, posteriors, strict=True) if posterior.misread)
        return Labels(values, anchor, half_widths, misread)

    def label(self, clip: EncodedClip, anchors: Anchors, rule: str) -> Labels:
        """Label a clip by one of `labelling.anchors.RULES`."""
        if rule == FUSED:
            return self.fused_labels(self.posteriors(clip, anchors), anchors)
        select, combine = ANCHOR_RULES[rule]
        selected = select(clip.times, anchors.times)
        values = np.empty((len(clip.times), len(AXES)))
        step = max(1, COMPARISONS_AT_ONCE // selected.shape[1])
        for start in range(0, len(values), step):
            part = slice(start, start + step)
            estimates = self.encoder.estimates_from_anchors(clip, part, anchors, selected[part])
            values[part] = np.clip(combine(estimates), -1, 1)
        anchor = selected[:, 0].copy() if selected.shape[1] == 1 else np.full(len(values), -1)
        return _keep_support_labels(Labels(values, anchor), anchors)

    def label_by_all_methods(self, clip: EncodedClip, anchors: Anchors) -> dict[str, Labels]:
        """Label a clip by every rule, and by every baseline: method → labels.

        Rules that need times are left out for anchors without times, and all rules but `fused` are left out without the
        Siamese network.
        """
        rules = [rule for rule in RULES if anchors.all_have_times or rule not in RULES_THAT_NEED_TIME]
        rules = rules if self.encoder.model else [FUSED]
        by_rule = {rule: self.label(clip, anchors, rule) for rule in rules}
        return by_rule | {baseline: label_by_baseline(clip.times, anchors, baseline) for baseline in BASELINES}

    def suggest_set(
        self,
        clip: EncodedClip,
        anchors: Anchors | None,
        count: int,
        label_errors: tuple[float, float] = (0.0, 0.0),
    ) -> list[Suggestion]:
        """Choose `count` frames for a person who will label all of them; see `suggestion.suggest.suggest_set`."""
        return suggest_set(self.posteriors(clip, anchors), count, label_errors)

    def audit(self, clip: EncodedClip, anchors: Anchors) -> list[auditing.Contradiction]:
        """Find given labels of the clip that its other given labels contradict; see `utils.labelling.audit`."""
        return auditing.audit(clip, anchors, self.calibration)


def label_by_baseline(times: np.ndarray, anchors: Anchors, baseline: str) -> Labels:
    """Label a clip by one of `labelling.anchors.BASELINES`, which use the given labels and time alone.

    If any anchor has no time, every frame gets the mean label of the anchors.
    """
    if anchors.all_have_times:
        values = BASELINES[baseline](times, anchors.times, anchors.labels)
    else:
        values = np.broadcast_to(anchors.labels.mean(0), (len(times), len(AXES)))
    return _keep_support_labels(Labels(values, np.full(len(times), -1)), anchors)


def _keep_support_labels(labels: Labels, anchors: Anchors) -> Labels:
    """The labels with the given labels in place of the estimates at labelled frames of the clip."""
    values, anchor = labels.values.copy(), labels.anchor.copy()
    indices = anchors.in_clip.indices
    values[indices], anchor[indices] = anchors.in_clip.labels, np.flatnonzero(anchors.indices >= 0)
    return labels._replace(values=values, anchor=anchor)
