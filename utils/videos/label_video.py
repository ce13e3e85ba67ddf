"""Labels the user's own videos from the frames that a person has labelled."""

import contextlib
import logging
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.annotations.labels import read_labels
from datasets.video.jobs import VideoJob
from utils.base.errors import DataError
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.labelling.adaptation import LabelledEvidence
from utils.labelling.agreement import annotator_agreement
from utils.labelling.anchors import BASELINES
from utils.labelling.audit import contradiction_row
from utils.labelling.calibration import calibration_input
from utils.labelling.labeller import Labeller, label_by_baseline
from utils.labelling.sources import EvidenceSources
from utils.labelling.types import EncodedClip, Labels
from utils.labelling.validation import labeller_for_videos
from utils.videos.face_video import FaceVideo, Track
from utils.videos.job_runner import VideoJobRunner
from utils.videos.outputs import affect_ranges, summary_table, track_table, video_table, write_affect_outputs
from utils.videos.support import (
    ResolvedLabels,
    anchors_for_track,
    encode_tracks,
    estimate_errors,
    labelled_evidence,
    reader_of_sources,
    resolve_labels,
)

log = logging.getLogger(__name__)


class LabellingRunner(VideoJobRunner):
    """Labels videos; writes labels.csv, plots and exports, and audit.csv and agreement.csv where they apply."""

    def __init__(self, sources: EvidenceSources, settings: LabelSettings, runtime: Runtime):
        super().__init__(reader_of_sources(sources, settings, runtime), settings, sources.inputs())
        self.support = settings.support_set
        self.tier = settings.tier
        self.sources, self.labeller = sources, labeller_for_videos(sources, runtime)
        self.inputs.append(calibration_input(sources.checkpoints[0], self.labeller.calibration))
        self.contradictions: list[pd.DataFrame] = []
        self.agreements: list[pd.DataFrame] = []

    def prepare(self, jobs: list[VideoJob]) -> None:
        """Fits the sources of evidence that are not calibrated to the labels of all videos."""
        if not self.labeller.unfitted:
            return
        labelled: list[LabelledEvidence] = []
        for job in jobs:
            # The error of a video that cannot be used is reported when the video is processed.
            with contextlib.suppress(DataError):
                face_video = self.reader.read(job.video)
                means = self._resolve(face_video, job.labels).means
                labelled += labelled_evidence(self.labeller, face_video, means)
        self.labeller = self.labeller.adapted_to(labelled)
        self.labeller.log_fitted(self.sources.names, len(labelled))

    def _resolve(self, face_video: FaceVideo, labels: Path | None) -> ResolvedLabels:
        assert labels is not None, "find_jobs refuses a video without labels"
        table = read_labels(labels, face_video.timeline, self.tier)
        return resolve_labels(table, face_video, self.support.known_error)

    def process_video(self, face_video: FaceVideo, labels: Path | None) -> None:
        """Labels one video from the labels in the file."""
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
        resolved = self._resolve(face_video, labels)
        clips = encode_tracks(self.labeller, face_video)
        if self.support.annotator_error == "auto":
            resolved, errors = estimate_errors(resolved, face_video, clips, self.labeller.calibration)
            for annotator, error in errors.items():
                whose = f" of {annotator}" if annotator else ""
                log.info("%s: labels%s: estimated standard deviation %.2f", face_video.video.name, whose, error)
        return resolved, clips

    def summary(self) -> str:
        """Agreement of annotators, contradicted labels, and one line per video and track."""
        parts = [
            f"{heading}\n{pd.concat(tables).to_string(index=False, float_format='{:.2f}'.format)}\n"
            for heading, tables in (
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
        anchors = anchors_for_track(track, face_video, resolved.means)
        labels = {rule: labeller.label(clip, anchors, rule)}
        labels |= {baseline: label_by_baseline(clip.times, anchors, baseline) for baseline in BASELINES}
        _warn_if_misread(labels[rule], face_video, track)
        for method, method_labels in labels.items():
            tables.setdefault(method, []).append(
                track_table(track, pd.DataFrame(method_labels.columns(anchors, method)))
            )
        for contradiction in labeller.audit(clip, anchors):
            row = {"video": face_video.video.name, "track": track.number}
            contradictions.append(row | contradiction_row(contradiction, anchors))
    video_tables = {method: video_table(parts, face_video) for method, parts in tables.items()}
    return VideoLabels(video_tables, pd.DataFrame(contradictions))


def _warn_if_misread(labels: Labels, face_video: FaceVideo, track: Track) -> None:
    if labels.misread:
        log.warning(
            "%s, track %d: the labels show that the network misreads %s in this face. Between labels, the estimate "
            "depends on time rather than on the face, so label more frames",
            face_video.video.name,
            track.number,
            " and ".join(labels.misread),
        )


def _describe(labels: pd.DataFrame) -> dict[str, object]:
    return {"labelled": len(labels), "support": labels["support"].sum(), **affect_ranges(labels)}
