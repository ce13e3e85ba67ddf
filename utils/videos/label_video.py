"""Labels the user's own videos from the frames that a person has labelled."""

import logging
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.video.jobs import VideoJob
from utils.base.errors import DataError
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.labelling.agreement import annotator_agreement
from utils.labelling.anchors import BASELINES, FUSED
from utils.labelling.audit import contradiction_row
from utils.labelling.calibration import calibration_input
from utils.labelling.labeller import Labeller, label_by_baseline
from utils.labelling.labellers import labeller_for_videos
from utils.labelling.sources import EvidenceSources
from utils.labelling.types import EncodedClip, Labels
from utils.videos.face_video import FaceVideo, Track
from utils.videos.job_runner import VideoJobRunner
from utils.videos.outputs import (
    affect_ranges,
    rater_table,
    summary_table,
    track_table,
    video_table,
    write_affect_outputs,
)
from utils.videos.support import (
    NO_SUPPORT,
    ResolvedLabels,
    adapt_to_videos,
    anchors_for_track,
    encode_tracks,
    estimate_errors,
    read_support,
    reader_of_sources,
)

log = logging.getLogger(__name__)


class LabellingRunner(VideoJobRunner):
    """Labels videos; writes labels.csv, plots and exports, and audit.csv and agreement.csv where they apply."""

    def __init__(self, sources: EvidenceSources, settings: LabelSettings, runtime: Runtime):
        super().__init__(reader_of_sources(sources, settings, runtime), settings, sources.inputs)
        self.label_settings, self.support = settings, settings.support_set
        self.sources, self.labeller = sources, labeller_for_videos(sources, runtime)
        self.inputs.append(calibration_input(sources.all[0].checkpoint, self.labeller.calibration))
        self.contradictions: list[pd.DataFrame] = []
        self.agreements: list[pd.DataFrame] = []

    def prepare(self, jobs: list[VideoJob]) -> None:
        """Fits the sources of evidence that are not calibrated to all videos."""
        names = self.sources.names
        self.labeller = adapt_to_videos(self.labeller, self.reader, jobs, names, self.label_settings)

    def process_video(self, face_video: FaceVideo, labels: Path | None) -> None:
        """Labels one video from the labels in the file, or from ratings alone."""
        if labels is None:
            self._refuse_without_ratings(face_video)
        resolved, clips = self.labelled_clips(face_video, labels)
        result = label_video(self.labeller, face_video, clips, resolved, self.support.rule)
        self._save_tables(face_video, resolved, result)
        write_affect_outputs(
            self.open_run_folder(), face_video, result.tables, self.support.rule, resolved.labels, self.settings
        )

    def labelled_clips(
        self, face_video: FaceVideo, labels: Path | None
    ) -> tuple[ResolvedLabels, dict[int, EncodedClip]]:
        """The labels of a video in the file, with their estimated errors, and its encoded tracks by number."""
        resolved = read_support(labels, face_video, self.label_settings) if labels else NO_SUPPORT
        clips = encode_tracks(self.labeller, face_video)
        if labels and self.support.annotator_error == "auto":
            resolved, errors = estimate_errors(resolved, face_video, clips, self.labeller.calibration)
            for annotator, error in errors.items():
                whose = f" of {annotator}" if annotator else ""
                log.info("%s: labels%s: estimated standard deviation %.2f", face_video.video.name, whose, error)
        return resolved, clips

    def _refuse_without_ratings(self, face_video: FaceVideo) -> None:
        """Checks that a video without labels can be labelled from ratings."""
        if not any(any(track.ratings) for track in face_video.tracks):
            raise DataError("has neither labels nor a rating; name them by --labels or --ratings")
        if self.support.rule != FUSED:
            raise DataError(f"support_set.rule {self.support.rule} needs labels; add some, or use {FUSED}")

    def summary(self) -> str:
        """The raters, agreement of annotators, contradicted labels, and one line per video and track."""
        raters = [rater_table(self.labeller, self.sources.names)] if self.labeller.raters else []
        parts = [
            f"{heading}\n{pd.concat(tables).to_string(index=False, float_format='{:.2f}'.format)}\n"
            for heading, tables in (
                ("ratings, late by lag seconds:", raters),
                ("agreement of the annotators:", self.agreements),
                ("support labels that the other labels contradict:", self.contradictions),
            )
            if tables
        ]
        return "\n".join([*parts, f"{summary_table(pd.concat(self.tables), _describe)}\n"])

    def _save_tables(self, face_video: FaceVideo, resolved: ResolvedLabels, result: "VideoLabels") -> None:
        """Adds the tables of a video to those of the run folder."""
        run = self.open_run_folder()
        self.tables.append(result.tables[self.support.rule])
        run.save_table("labels.csv", pd.concat(self.tables))
        agreement = pd.DataFrame()
        if len(resolved.labels):
            agreement = annotator_agreement(resolved.labels).assign(video=face_video.video.name)
        for tables, name, table in (
            (self.contradictions, "audit.csv", result.contradictions),
            (self.agreements, "agreement.csv", agreement),
        ):
            if len(table):
                tables.append(table)
                run.save_table(name, pd.concat(tables))


class VideoLabels(NamedTuple):
    """The labels of one video.

    Attributes:
        tables: method → table of the video as `outputs.video_table` returns it, with the columns of `Labels.columns`.
        contradictions: a row for each support label and axis that the other labels contradict: video, track, and the
            columns of `audit.contradiction_row`.
    """

    tables: dict[str, pd.DataFrame]
    contradictions: pd.DataFrame


def label_video(
    labeller: Labeller, face_video: FaceVideo, clips: dict[int, EncodedClip], resolved: ResolvedLabels, rule: str
) -> VideoLabels:
    """Labels the chosen tracks of a video by one anchor rule and by the baselines, and audits their support labels.

    A video without labels is labelled by `fused` alone, from absolute evidence.

    Args:
        labeller: the network and its calibration.
        face_video: the video.
        clips: its tracks, as `encode_tracks` returns them.
        resolved: its support labels.
        rule: one of `anchors.RULES`.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    contradictions = []
    for track in face_video.tracks:
        clip = clips[track.number]
        anchors = anchors_for_track(track, face_video, resolved.means) if len(resolved.means) else None
        if anchors is None:
            labels = {rule: labeller.fused_labels(labeller.posteriors(clip, None), None)}
        else:
            labels = {rule: labeller.label(clip, anchors, rule)}
            labels |= {baseline: label_by_baseline(clip.times, anchors, baseline) for baseline in BASELINES}
        _warn_if_misread(labels[rule], face_video, track)
        for method, method_labels in labels.items():
            tables.setdefault(method, []).append(
                track_table(track, pd.DataFrame(method_labels.columns(anchors, method)))
            )
        if anchors is not None:
            row = {"video": face_video.video.name, "track": track.number}
            contradictions += [row | contradiction_row(label, anchors) for label in labeller.audit(clip, anchors)]
    video_tables = {method: video_table(parts, face_video) for method, parts in tables.items()}
    return VideoLabels(video_tables, pd.DataFrame(contradictions))


def _warn_if_misread(labels: Labels, face_video: FaceVideo, track: Track) -> None:
    if labels.misread:
        log.warning(
            "%s, track %d: the labels show that the evidence misreads %s in this face. Between labels, the estimate "
            "depends on time rather than on the face, so label more frames",
            face_video.video.name,
            track.number,
            " and ".join(labels.misread),
        )


def _describe(labels: pd.DataFrame) -> dict[str, object]:
    return {"labelled": len(labels), "support": labels["support"].sum(), **affect_ranges(labels)}
