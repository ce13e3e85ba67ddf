"""Posteriors of all tracks of one person, whose given labels inform each other.

A person may be shown in several face tracks: in the shots of a film, or in several videos. The evidence of the Siamese
network for all of them is relative to the same reference frames (`ClipEncoder.relative_to_person`), so that its offset,
whatever it is, is nearly the same in all tracks:

    offset of a track = offset of the person + offset of the shot

Both are normally distributed, with the standard deviations `offset` and `shot_offset` of `SourceParameters`. Given
the person's offset, the tracks are independent. What a track says about its own offset is one Gaussian factor, its
message, so the posterior of each track, given those variances, takes three steps, each linear in time:

1. The posterior of each track alone gives its message. The shot's offset blurs it.
2. The person's offset has as its distribution its prior times all messages. For each track, its own message is left
   out of the product.
3. This distribution, blurred by the shot's offset, takes the place of the prior in the posterior of the track.

How far the shots of this person differ is estimated from all tracks, about the `shot_offset` of the calibration. The
estimate serves for the tracks without labels, which depend on it most. Tracks with labels take `shot_offset` itself:
with the estimate, evidence of misread faces seemed more credible than it is.

The messages come from the posteriors that follow all evidence. Each track has other explanations besides, for a face
that the network misreads (`utils.labelling.posterior.mixture`). Whether it does is taken to be the same in all tracks
of a person, so the weight of an explanation is its prior weight times the likelihood of the labels of all tracks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.labelling.calibration.calibration import AxisCalibration, Calibration
from utils.labelling.posterior.mixture import (
    LABELS_TO_WEIGH_EXPLANATIONS,
    AxisExplanation,
    AxisModel,
    LabelsElsewhere,
    MixturePosterior,
    Posterior,
    label_log_likelihoods,
)
from utils.labelling.posterior.offsets import OffsetGaussian, PersonOffset, estimated_noise
from utils.labelling.types import LabelObservations

ALL_EVIDENCE, TIME_ALONE = "all evidence", "time alone"
"""Names of the first and the last explanation of a track."""


def person_posteriors(
    calibration: Calibration, models: Sequence[Sequence[AxisModel]], observations: Sequence[Sequence[LabelObservations]]
) -> list[list[MixturePosterior]]:
    """The posteriors of valence and arousal of each track of a person.

    Args:
        calibration: with which the models were made.
        models: for each track, those of valence and arousal, from `Calibration.models` or `IncrementalClip.models`.
        observations: for each track, its given labels, one entry per axis.
    """
    if len(models) == 1:
        return [[MixturePosterior(model, observed) for model, observed in zip(models[0], observations[0], strict=True)]]
    by_axis = zip(calibration.axes, zip(*models, strict=True), zip(*observations, strict=True), strict=True)
    posteriors_by_axis = [_share_offset(*axis_values) for axis_values in by_axis]
    return [list(posteriors_of_track) for posteriors_of_track in zip(*posteriors_by_axis, strict=True)]


def _share_offset(
    calibration: AxisCalibration, models: Sequence[AxisModel], observations: Sequence[LabelObservations]
) -> list[MixturePosterior]:
    """The posteriors of one axis of each track."""
    alone, likelihoods = _offset_likelihoods(calibration, models, observations)
    offsets_by_track = _offsets_by_track(calibration, likelihoods, observations)
    informed: list[AxisModel] = []
    for track, (model, observed, offsets) in enumerate(zip(models, observations, offsets_by_track, strict=True)):
        offset = offsets.given_others(track).with_noise(offsets.shot_variances)
        all_evidence, *other_explanations = [explained.with_offset_prior(offset) for explained in model]
        known = alone[track].with_offset_prior(offset.of_sources(all_evidence.explanation.sources))
        informed.append([_remember(all_evidence, observed, known), *other_explanations])
    elsewhere = _labels_elsewhere(informed, observations)
    return [MixturePosterior(*track) for track in zip(informed, observations, elsewhere, strict=True)]


def _labels_elsewhere(
    models: Sequence[AxisModel], observations: Sequence[LabelObservations]
) -> list[LabelsElsewhere | None]:
    """For each track, what the labels of the other tracks say about its explanations.

    Args:
        models: of each track, informed of the offset by the other tracks.
        observations: the given labels of each track.
    """
    counts = [len(observed.indices) for observed in observations]
    if sum(counts) < LABELS_TO_WEIGH_EXPLANATIONS:
        return [None] * len(models)
    by_track = {
        track: _log_likelihoods(model, observed)
        for track, (model, observed) in enumerate(zip(models, observations, strict=True))
        if counts[track]
    }
    elsewhere: list[LabelsElsewhere | None] = []
    for track, model in enumerate(models):
        others = [likelihoods for other, likelihoods in by_track.items() if other != track]
        # In a track where a source has no value, the explanation by this source alone is that by time alone.
        totals = [sum(other.get(name, other[TIME_ALONE]) for other in others) for name in _names(model)]
        elsewhere.append(LabelsElsewhere(sum(counts) - counts[track], np.array(totals, float)))
    return elsewhere


def _log_likelihoods(model: AxisModel, observed: LabelObservations) -> dict[str, float]:
    """Log-likelihood of the labels of a track under each explanation, by its name."""
    nugget = model[0].explanation.parameters.process.nugget
    likelihoods = {
        name: float(label_log_likelihoods(explained, explained.posterior(observed), observed, nugget).sum())
        for name, explained in zip(_names(model), model, strict=True)
    }
    sources = model[0].explanation.sources
    if len(sources) == 1:  # Then the explanation by this source alone is that by all evidence.
        likelihoods[str(sources[0])] = likelihoods[ALL_EVIDENCE]
    return likelihoods


def _names(model: AxisModel) -> list[str]:
    """Names of the explanations, which are equal in tracks with the same sources of evidence."""
    one_source = [str(explained.explanation.sources[0]) for explained in model[1:-1]]
    return [ALL_EVIDENCE, *one_source, TIME_ALONE][-len(model) :]


def _offset_likelihoods(
    calibration: AxisCalibration, models: Sequence[AxisModel], observations: Sequence[LabelObservations]
) -> tuple[list[Posterior], list[OffsetGaussian]]:
    """The posterior of each track alone, by all evidence, and what it says about its own offset."""
    sources = len(calibration.with_evidence.sources)
    alone = [model[0].posterior(observed) for model, observed in zip(models, observations, strict=True)]
    likelihoods = [
        posterior.offset_likelihood.among(model[0].explanation.sources, sources)
        for model, posterior in zip(models, alone, strict=True)
    ]
    return alone, likelihoods


class _PersonOffsets(NamedTuple):
    """The offset of a person, if the offsets of shots have certain variances.

    Attributes:
        shot_variances: (E,) the variances, of each source.
        person: distribution of the offset of the person, given all tracks.
        messages: what each track says about the offset of the person.
    """

    shot_variances: np.ndarray
    person: OffsetGaussian
    messages: list[OffsetGaussian]

    def given_others(self, track: int) -> OffsetGaussian:
        """The distribution of the offset of the person, given all tracks but one."""
        message = self.messages[track]
        return OffsetGaussian(self.person.precision - message.precision, self.person.information - message.information)


def _offsets_by_track(
    calibration: AxisCalibration, likelihoods: Sequence[OffsetGaussian], observations: Sequence[LabelObservations]
) -> list[_PersonOffsets]:
    """The offset of the person as it serves for each track."""
    sources = calibration.with_evidence.sources
    prior = OffsetGaussian.independent(source.offset for source in sources)
    calibrated = np.array([source.shot_offset**2 for source in sources])

    def offsets(shot_variances: np.ndarray) -> _PersonOffsets:
        messages = [likelihood.with_noise(shot_variances) for likelihood in likelihoods]
        return _PersonOffsets(shot_variances, OffsetGaussian.product([prior, *messages]), messages)

    labelled, unlabelled = offsets(calibrated), offsets(estimated_noise(likelihoods, prior, calibrated))
    return [labelled if len(observed.indices) else unlabelled for observed in observations]


def person_offsets(
    calibration: Calibration,
    models: Sequence[Sequence[AxisModel]],
    observations: Sequence[Sequence[LabelObservations]],
    posteriors: Sequence[Sequence[MixturePosterior]],
) -> list[PersonOffset]:
    """The offsets of a person on both axes, by which a label in one track informs the others.

    Args:
        calibration: as for `person_posteriors`.
        models: as for `person_posteriors`.
        observations: as for `person_posteriors`.
        posteriors: what `person_posteriors` returned.
    """
    by_axis = (zip(*by_track, strict=True) for by_track in (models, observations, posteriors))
    return [_person_offset(*axis) for axis in zip(calibration.axes, *by_axis, strict=True)]


def _person_offset(
    calibration: AxisCalibration,
    models: Sequence[AxisModel],
    observations: Sequence[LabelObservations],
    posteriors: Sequence[MixturePosterior],
) -> PersonOffset:
    """The offset of a person on one axis.

    Only the posterior of a track that follows all evidence depends on it, so its covariance with f is scaled by the
    weight of this posterior. The variance scale of the track is a scale of f.
    """
    alone, likelihoods = _offset_likelihoods(calibration, models, observations)
    offsets_by_track = _offsets_by_track(calibration, likelihoods, observations)
    covariances = []
    tracks = zip(models, alone, likelihoods, offsets_by_track, posteriors, strict=True)
    for track, (model, posterior, likelihood, offsets, mixture) in enumerate(tracks):
        from_others = np.linalg.inv(offsets.given_others(track).precision)
        prior = from_others + np.diag(offsets.shot_variances)  # of the offset of the track
        # cov(offset of the person, offset of the track) = gain · var(offset of the track)
        with_track = from_others @ np.linalg.solve(prior, np.linalg.inv(np.linalg.inv(prior) + likelihood.precision))
        scale = mixture.weights[0] * np.sqrt(mixture.variance_scale)
        sources = model[0].explanation.sources
        covariances.append(-scale * posterior.offset_sensitivity @ with_track[:, sources].T)
    return PersonOffset(np.linalg.inv(offsets_by_track[0].person.precision), covariances)


def _remember(explained: AxisExplanation, observations: LabelObservations, known: Posterior) -> AxisExplanation:
    """The explanation, whose posterior given `observations` is known already and not computed again."""
    return explained._replace(posterior=lambda given: known if given is observations else explained.posterior(given))
