"""Labels the user's own videos from the frames that a person has labelled."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from datasets.people import people_table, unnamed_person
from datasets.video.jobs import VideoJob
from utils.base.errors import DataError
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.labelling.adaptation_report import adapted_content
from utils.labelling.agreement import annotator_agreement
from utils.labelling.anchors import BASELINES, FUSED
from utils.labelling.audit import contradiction_row
from utils.labelling.build_labeller import labeller_for_videos
from utils.labelling.calibration.file import FILE_NAME, calibration_input
from utils.labelling.labeller import Labeller, label_by_baseline
from utils.labelling.sources import EvidenceSources
from utils.labelling.types import Anchors, EncodedClip, Labels
from utils.runs.manifest import path_input
from utils.videos.face_video import FaceVideo, Track
from utils.videos.image_similarity import CANDIDATES_NAME, ImageSimilarity, candidate_sheets, candidate_table
from utils.videos.job_runner import VideoJobRunner
from utils.videos.outputs import (
    affect_ranges,
    rater_table,
    summary_table,
    track_summaries,
    track_table,
    video_table,
    write_affect_outputs,
)
from utils.videos.people import People, TrackEstimates, TrackKey, shared_labels
from utils.videos.records import VideoRecord, rows_of
from utils.videos.support import (
    ResolvedLabels,
    adapt_to_videos,
    anchors_for_track,
    encode_tracks,
    labels_with_errors,
    reader_of_sources,
)

log = logging.getLogger(__name__)

AUDIT_NAME, AGREEMENT_NAME, PEOPLE_NAME = "audit.csv", "agreement.csv", "people.csv"


class LabellingRunner(VideoJobRunner):
    """Labels videos; writes tables of labels, plots and exports.

    Where they apply, also audit.csv, agreement.csv, and calibration.json (evidence fitted to the given labels).
    """

    resumable = True

    def __init__(self, sources: EvidenceSources, settings: LabelSettings, runtime: Runtime):
        labeller = labeller_for_videos(sources, runtime)
        super().__init__(reader_of_sources(sources, labeller, settings, runtime), settings, sources.inputs)
        self.label_settings, self.support = settings, settings.support_set
        self.sources, self.labeller = sources, labeller
        self.inputs.append(calibration_input(sources.only_checkpoint, self.labeller.calibration))
        self.people: People | None = None
        self.shared: dict[TrackKey, TrackEstimates] = {}
        self.jobs: list[VideoJob] = []
        self.image_similarity = ImageSimilarity()
        self.compared: set[Path] = set()  # videos that `_compare_faces` has seen
        self.people_of_tracks: dict[TrackKey, str] = {}
        if settings.people:
            self.inputs.append(path_input("people", settings.people))

    def prepare(self, jobs: list[VideoJob]) -> None:
        """Fit the sources of evidence that are not calibrated to all videos, and label people of several tracks."""
        settings = self.label_settings
        self.jobs = jobs
        self.people = People(settings.people, jobs) if settings.people else None
        self.labeller = adapt_to_videos(self.labeller, self.reader, jobs, self.sources.names, settings)
        if self.people:
            self.shared = shared_labels(self.labeller, self.people, self.reader, jobs, settings)

    def process_video(self, face_video: FaceVideo, labels: Path | None) -> VideoRecord:
        """Label one video from the labels in the file, or from ratings alone."""
        labellable, shared = self.labellable(face_video, labels)
        resolved, clips = self.labelled_clips(labellable, labels)
        result = label_video(self.labeller, labellable, clips, resolved, self.support.rule, shared)
        table = result.tables[self.support.rule]
        index = self.save_labels(labellable, table)
        index |= {"support": int(table["support"].sum()), "expected_error": result.expected_error}
        if adapted := adapted_content(self.labeller, self.sources.names):
            self.open_run_folder().save_json(FILE_NAME, adapted)
        write_affect_outputs(
            self.open_run_folder(), labellable, result.tables, self.support.rule, resolved.labels, self.settings
        )
        agreement = pd.DataFrame()
        if len(resolved.labels):
            agreement = annotator_agreement(resolved.labels).assign(video=face_video.video.name)
        tables = {AUDIT_NAME: result.contradictions, AGREEMENT_NAME: agreement}
        tables[PEOPLE_NAME] = self._people_table(face_video)
        self._compare_faces(face_video)
        return VideoRecord(
            index, track_summaries(table, _describe), {name: rows_of(table) for name, table in tables.items()}
        )

    def complete(self) -> None:
        """Write the tables of all videos, and the people who may be shown in each track, if there are several."""
        super().complete()
        if not self.run_folder:
            return
        labelled = [job.video for job in self.jobs if job.video in self.records]
        if not self.compared.issuperset(labelled):  # The run was interrupted; equal results need the same order.
            self.image_similarity = ImageSimilarity()
            for video in labelled:
                self._compare_faces(self.reader.read(video))
        if len(self.image_similarity.faces) > 1:
            self.run_folder.save_table(CANDIDATES_NAME, candidate_table(self.image_similarity, self.people_of_tracks))
            for number, sheet in enumerate(candidate_sheets(self.image_similarity, self.people_of_tracks), 1):
                self.run_folder.save_figure(f"people_{number}.png", sheet)

    def _compare_faces(self, face_video: FaceVideo) -> None:
        """Keep how the faces of a video look, if there may be others to compare them with."""
        self.compared.add(face_video.video.path)
        if len(self.jobs) > 1 or len(face_video.tracks) > 1:
            self.image_similarity.add(self.reader, face_video)
            path = face_video.video.path
            self.people_of_tracks |= {(path, track): person for track, person in self._people(face_video).items()}

    def labelled_clips(
        self, face_video: FaceVideo, labels: Path | None
    ) -> tuple[ResolvedLabels, dict[int, EncodedClip]]:
        """The labels of a video in the file, with their estimated errors, and its encoded tracks by number."""
        clips = encode_tracks(self.labeller, face_video)
        resolved, errors = labels_with_errors(labels, face_video, clips, self.labeller, self.label_settings)
        for annotator, error in errors.items():
            whose = f" of {annotator}" if annotator else ""
            log.info("%s: labels%s: estimated standard deviation %.2f", face_video.video.name, whose, error)
        return resolved, clips

    def labellable(self, face_video: FaceVideo, labels: Path | None) -> tuple[FaceVideo, dict[int, TrackEstimates]]:
        """The video with the tracks that can be labelled, and the estimates of those that share labels by number.

        In a video with labels, these are all tracks. Otherwise, a track needs a rating, or a label of its person in
        another video.

        Raises:
            DataError: no track can be labelled.
        """
        shared = {number: track for (path, number), track in self.shared.items() if path == face_video.video.path}
        if labels is not None:
            return face_video, shared
        known = [track for track in face_video.tracks if track.number in shared or any(track.ratings)]
        unknown = {track.number for track in face_video.tracks} - {track.number for track in known}
        if not known:
            raise DataError("has neither labels nor a rating; name them by --labels or --ratings")
        if self.support.rule != FUSED:
            raise DataError(f"support_set.rule {self.support.rule} needs labels; add some, or use {FUSED}")
        if unknown:
            log.warning(
                "%s: track %s left without labels: no track of the person has any; label a frame of it, or name in "
                "people.csv a person who is labelled elsewhere",
                face_video.video.name,
                ", ".join(map(str, sorted(unknown))),
            )
        return face_video._replace(tracks=known), shared

    def summary(self) -> str:
        """The raters, agreement of annotators, contradicted labels, and one line per video and track."""
        tables = self.records.tables
        parts = [
            f"{heading}\n{table.to_string(index=False, float_format='{:.2f}'.format)}\n"
            for heading, table in (
                (
                    "ratings, late by lag seconds:",
                    rater_table(self.labeller, self.sources.names) if self.labeller.rater_lags else None,
                ),
                ("agreement of the annotators:", tables.get(AGREEMENT_NAME)),
                ("support labels that the other labels contradict:", tables.get(AUDIT_NAME)),
            )
            if table is not None
        ]
        return "\n".join([*parts, f"{summary_table(self.records.tracks)}\n"])

    def _people_table(self, face_video: FaceVideo) -> pd.DataFrame:
        """The rows of people.csv for a video."""
        return people_table(face_video.video.name, self._people(face_video), face_video.faces)

    def _people(self, face_video: FaceVideo) -> dict[int, str]:
        """Name of the person by number of the track; a track that nobody has named shows a person of its own."""
        rows = self.people.rows.values() if self.people else ()
        taken = {row.person for rows_of_video in rows for row in rows_of_video}
        numbers = [track.number for track in face_video.tracks]
        people = {number: unnamed_person(face_video.video.name, number, taken) for number in numbers}
        return people | (self.people.of_tracks(face_video) if self.people else {})


class VideoLabels(NamedTuple):
    """The labels of one video.

    Attributes:
        tables: method → table of the video as `outputs.video_table` returns it, with the columns of `Labels.columns`.
        contradictions: a row for each support label and axis that the other labels contradict: video, track, and the
            columns of `audit.contradiction_row`.
        expected_error: expected RMSE over both axes and all frames without a given label; None: the rule gives none.
    """

    tables: dict[str, pd.DataFrame]
    contradictions: pd.DataFrame
    expected_error: float | None


def label_video(
    labeller: Labeller,
    face_video: FaceVideo,
    clips: dict[int, EncodedClip],
    resolved: ResolvedLabels,
    rule: str,
    shared: Mapping[int, TrackEstimates],
) -> VideoLabels:
    """Label the chosen tracks of a video by one anchor rule and by the baselines, and audit their support labels.

    A video without labels is labelled by `fused` alone, from absolute evidence.

    Args:
        labeller: the network and its calibration.
        face_video: the video.
        clips: its tracks, as `encode_tracks` returns them.
        resolved: its support labels.
        rule: one of `anchors.RULES`.
        shared: number of a track → its estimates by this rule, for tracks that share the labels of a person.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    contradictions, variances = [], []
    for track in face_video.tracks:
        clip = clips[track.number]
        anchors = anchors_for_track(track, face_video, resolved.means) if len(resolved.means) else None
        if rule == FUSED:
            estimates = shared.get(track.number) or estimate_track(labeller, clip, anchors)
            labels = {rule: estimates.labels}
            variances.append(estimates.variances)
        else:
            assert anchors is not None, "other rules need anchors"
            labels = {rule: labeller.label(clip, anchors, rule)}
        if anchors is not None:
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
    unlabelled = np.concatenate([np.empty(0), *(part.ravel() for part in variances)])
    expected = float(np.sqrt(unlabelled.mean())) if len(unlabelled) else None
    return VideoLabels(video_tables, pd.DataFrame(contradictions), expected)


def estimate_track(labeller: Labeller, clip: EncodedClip, anchors: Anchors | None) -> TrackEstimates:
    """The estimates of a track that shares no labels; anchors None: nothing is labelled, but the face is rated."""
    return TrackEstimates.of_posteriors(labeller, labeller.posteriors(clip, anchors), anchors)


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
