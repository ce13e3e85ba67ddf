"""The support-set of each track of a video, from a table of labels."""

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from datasets.annotations.duplicates import refuse_duplicates
from datasets.annotations.labels import read_labels
from datasets.columns import AXES
from datasets.video.jobs import VideoJob
from utils.base.errors import DataError
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.labelling.adaptation_report import log_adaptation
from utils.labelling.agreement import label_error
from utils.labelling.calibration.calibration import Calibration
from utils.labelling.encoding_plan import EncodingPlan
from utils.labelling.label_noise import estimate_label_error
from utils.labelling.labeller import Labeller
from utils.labelling.sources import EvidenceSources, NetworkSource, SiameseSource
from utils.labelling.types import Anchors, EncodedClip
from utils.videos.face_video import FaceVideo, Track, VideoReader

ERROR_COLUMNS = [f"{axis}_error" for axis in AXES]


class ResolvedLabels(NamedTuple):
    """The labels of a video, each assigned to the track that it refers to.

    Attributes:
        labels: one row per label: track, frame, annotator, valence, arousal, and `where` (its file and row).
        means: one row per labelled track and frame: track, frame, valence and arousal averaged over annotators, the
            standard deviations of these means, valence_error and arousal_error, and annotator: the names of all who
            labelled the frame, separated by "; ".
    """

    labels: pd.DataFrame
    means: pd.DataFrame


NO_SUPPORT = ResolvedLabels(
    pd.DataFrame(columns=["track", "frame", "annotator", *AXES, "where"]),
    pd.DataFrame(columns=["track", "frame", *AXES, *ERROR_COLUMNS, "annotator"]),
)
"""The labels of a video that nobody has labelled."""


def resolve_labels(labels: pd.DataFrame, face_video: FaceVideo, annotator_error: float = 0.0) -> ResolvedLabels:
    """Assign each label to a track, and average the labels of several annotators.

    Where annotators labelled the same frames, the standard deviation about the mean of a frame is taken as the error
    of every single label.

    Args:
        labels: as `read_labels` returns them.
        face_video: the video.
        annotator_error: smallest standard deviation of one person's label.

    Raises:
        DataError: a label is on a frame without a face, it is unclear which face it refers to, or a face has two labels
            by one annotator in a frame.
    """
    chosen = {track.number for track in face_video.tracks}
    rows = [
        (track, label.frame, label.annotator, label.valence, label.arousal, label.where)
        for label in labels.itertuples()
        for track in _tracks_of(label, face_video, chosen)
    ]
    resolved = pd.DataFrame(rows, columns=["track", "frame", "annotator", *AXES, "where"])
    if resolved.empty:
        raise DataError("none of the labels is of a chosen track; choose another one by --track")
    refuse_duplicates(resolved)
    groups = resolved.groupby(["track", "frame"])
    means, counts = groups[list(AXES)].mean(), groups.size().to_numpy()
    error = np.maximum(label_error(resolved), annotator_error)
    means[ERROR_COLUMNS] = error / np.sqrt(counts)[:, None]
    means["annotator"] = groups["annotator"].agg(lambda names: "; ".join(sorted(filter(None, names))))
    return ResolvedLabels(resolved, means.reset_index())


def encode_tracks(labeller: Labeller, face_video: FaceVideo) -> dict[int, EncodedClip]:
    """Track number → the track as the network sees it."""
    return {
        track.number: labeller.encode_clip(track.embeddings, track.times, track.evidence, track.ratings)
        for track in face_video.tracks
    }


def reader_of_sources(
    sources: EvidenceSources, labeller: Labeller, settings: LabelSettings, runtime: Runtime
) -> VideoReader:
    """A reader of videos for all sources of evidence; `labeller` plans which faces it encodes."""
    checkpoint = sources.siamese.checkpoint if sources.siamese else None
    plan = EncodingPlan(settings.encoding_step or 1)
    networks = tuple(isinstance(source, SiameseSource | NetworkSource) for source in sources.all)
    if settings.encoding_step is None and any(networks):
        plan = EncodingPlan(labeller=labeller, networks=networks)
    return VideoReader(sources.model, checkpoint, settings, runtime, sources.estimators, sources.raters, plan)


def read_support(path: Path, face_video: FaceVideo, settings: LabelSettings) -> ResolvedLabels:
    """Read the labels of a video, and assign each to a track; DataError as of `read_labels` and `resolve_labels`."""
    table = read_labels(path, face_video.timeline, settings.tier)
    return resolve_labels(table, face_video, settings.support_set.known_error)


def adapt_to_videos(
    labeller: Labeller, reader: VideoReader, jobs: list[VideoJob], names: list[str], settings: LabelSettings
) -> Labeller:
    """Fit the sources of evidence that are not calibrated to all videos, and log the result.

    Args:
        labeller: the labeller, which is returned as it is if all sources are calibrated, or there is nothing to fit to.
        reader: reads the videos.
        jobs: the videos and their labels, if they have any.
        names: of all sources.
        settings: how labels are read.
    """
    if not labeller.uncalibrated or not (labeller.rater_lags or any(job.labels for job in jobs)):
        return labeller
    pairs: list[tuple[EncodedClip, Anchors | None]] = []
    for job in jobs:
        # The error of a video that cannot be used is reported when the video is processed.
        with contextlib.suppress(DataError):
            face_video = reader.read(job.video)
            resolved = read_support(job.labels, face_video, settings) if job.labels else None
            for track, clip in zip(face_video.tracks, encode_tracks(labeller, face_video).values(), strict=True):
                anchors = resolved and anchors_in_track(track, resolved.means)
                pairs.append((clip._replace(embeddings=clip.embeddings[:0]), anchors))
    labeller = labeller.adapt(pairs)
    log_adaptation(labeller, names, sum(anchors is not None for _, anchors in pairs))
    return labeller


def estimate_errors(
    resolved: ResolvedLabels, face_video: FaceVideo, clips: dict[int, EncodedClip], calibration: Calibration
) -> tuple[ResolvedLabels, dict[str, float]]:
    """Estimate how noisy each annotator's labels are (`utils.labelling.label_noise`).

    Args:
        resolved: the labels of the video.
        face_video: the video.
        clips: its tracks, as `encode_tracks` returns them.
        calibration: of the network.

    Returns:
        The labels, their means with at least the estimated errors; and annotator → standard deviation, for annotators
        with enough labels.
    """
    errors: dict[str, float] = {}
    for annotator, rows in resolved.labels.groupby("annotator"):
        exact = rows.assign(**dict.fromkeys(ERROR_COLUMNS, 0.0)).sort_values("frame")
        anchors = {track.number: anchors_in_track(track, exact) for track in face_video.tracks}
        pairs = [(clips[number], in_track) for number, in_track in anchors.items() if in_track is not None]
        error = estimate_label_error(pairs, calibration)
        if error is not None:
            errors[str(annotator)] = error
    variances = resolved.labels.assign(variance=resolved.labels["annotator"].map(errors).fillna(0.0) ** 2)
    groups = variances.groupby(["track", "frame"])["variance"]
    errors_of_means = (np.sqrt(groups.sum()) / groups.size()).to_numpy()
    means = resolved.means.copy()
    for column in ERROR_COLUMNS:
        means[column] = np.maximum(means[column], errors_of_means)
    return resolved._replace(means=means), errors


def labels_with_errors(
    labels: Path | None,
    face_video: FaceVideo,
    clips: dict[int, EncodedClip],
    labeller: Labeller,
    settings: LabelSettings,
) -> tuple[ResolvedLabels, dict[str, float]]:
    """The labels of a video in a file, and the estimated error of each annotator, if it is to be estimated.

    Args:
        labels: the file; None: there are no labels.
        face_video: the video.
        clips: its tracks, as `encode_tracks` returns them.
        labeller: the network and its calibration.
        settings: how labels are read.
    """
    if labels is None:
        return NO_SUPPORT, {}
    resolved = read_support(labels, face_video, settings)
    if settings.support_set.annotator_error != "auto":
        return resolved, {}
    return estimate_errors(resolved, face_video, clips, labeller.calibration)


def anchors_for_track(track: Track, face_video: FaceVideo, means: pd.DataFrame) -> Anchors:
    """The anchors of a track: its own labelled frames, or those of all other tracks if it has none.

    Args:
        track: the track to label.
        face_video: its video.
        means: as in `ResolvedLabels`.
    """
    return anchors_in_track(track, means) or _anchors_of_all_tracks(face_video, means)


def anchors_in_track(track: Track, means: pd.DataFrame) -> Anchors | None:
    """The labelled frames of a track, from `ResolvedLabels.means`; None: it has none."""
    means = means[means["track"] == track.number]
    if means.empty:
        return None
    indices = np.searchsorted(track.faces["frame"].to_numpy(), means["frame"].to_numpy())
    return Anchors(
        embeddings=track.nearest_embeddings(indices),
        labels=means[list(AXES)].to_numpy(np.float64),
        errors=means[ERROR_COLUMNS].to_numpy(np.float64),
        times=track.times[indices],
        frames=means["frame"].to_numpy(),
        indices=indices,
        annotators=means["annotator"].to_numpy(object),
    )


def _anchors_of_all_tracks(face_video: FaceVideo, means: pd.DataFrame) -> Anchors:
    """The labels of all tracks, ascending in time: the network compares faces of different people as well."""
    in_tracks = [anchors_in_track(track, means) for track in face_video.tracks]
    parts = [anchors for anchors in in_tracks if anchors is not None]
    times = np.concatenate([part.times for part in parts])
    order = np.argsort(times, kind="stable")
    return Anchors(
        embeddings=torch.cat([part.embeddings for part in parts])[torch.from_numpy(order)],
        labels=np.concatenate([part.labels for part in parts])[order],
        errors=np.concatenate([part.errors for part in parts])[order],
        times=times[order],
        frames=np.concatenate([part.frames for part in parts])[order],
        indices=np.full(len(order), -1),
        people=len(parts),
    )


def _tracks_of(label: Any, face_video: FaceVideo, chosen: set[int]) -> set[int]:
    """The chosen track that a label (a row of the table) refers to; empty if it names a track that is not chosen."""
    faces = face_video.faces
    shown = set(faces.loc[(faces["frame"] == label.frame) & (faces["track"] >= 0), "track"])
    tracks = (shown & chosen) if pd.isna(label.track) else ({int(label.track)} & shown)
    if not tracks:
        raise DataError(f"{label.where}: {_why_unresolved(label, shown, chosen)}")
    if len(tracks) > 1:
        raise DataError(
            f"{label.where}: frame {label.frame} shows tracks {', '.join(map(str, sorted(tracks)))}; add a column "
            "`track` that tells which of them the label refers to, or choose one by --track"
        )
    return tracks & chosen


def _why_unresolved(label: Any, shown: set[int], chosen: set[int]) -> str:
    """The message for a label that refers to no face."""
    if not shown:
        return f"frame {label.frame} shows no face; label another frame"
    frame = f"frame {label.frame} shows track {', '.join(map(str, sorted(shown)))}"
    if pd.isna(label.track):
        tracks = ", ".join(map(str, sorted(chosen)))
        return f"{frame}, but track {tracks} is to be labelled; label another frame, or choose another --track"
    return f"{frame}, not {label.track}; correct the column `track`, or label another frame"
