"""Suggests which frames to label next over all videos of an archive."""

import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.annotations.labels import read_labels
from datasets.columns import BOX
from datasets.video.jobs import VideoJob
from utils.base.errors import DataError
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.labelling.people import person_offsets, person_posteriors
from utils.labelling.sources import EvidenceSources
from utils.labelling.suggestion.archive import CANDIDATES, ArchiveSuggester, ArchiveSuggestion
from utils.labelling.types import observations_of
from utils.runs.manifest import path_input
from utils.videos.face_video import FaceVideo
from utils.videos.people import People, PersonTrack, TrackKey
from utils.videos.records import VideoRecord
from utils.videos.suggest_video import SuggestionRunner, contact_sheet, label_template
from utils.videos.support import anchors_for_track, anchors_in_track

log = logging.getLogger(__name__)


class ArchiveSuggestionRunner(SuggestionRunner):
    """Suggests frames of an archive; writes <video>_labels.csv to fill in, and contact sheets of the frames."""

    def __init__(self, sources: EvidenceSources, settings: LabelSettings, runtime: Runtime):
        super().__init__(sources, settings, runtime)
        self.people: People | None = None
        self._suggester = ArchiveSuggester()
        self._known: dict[Path, pd.DataFrame | None] = {}
        self._person_tracks: dict[str, list[PersonTrack]] = defaultdict(list)
        self._person_errors: dict[str, float] = defaultdict(float)
        if settings.people:
            self.inputs.append(path_input("people", settings.people))

    def prepare(self, jobs: list[VideoJob]) -> None:
        """Read who is shown, and fit the sources of evidence that are not calibrated to all videos."""
        self.people = People(self.label_settings.people, jobs) if self.label_settings.people else None
        super().prepare(jobs)

    def process_video(self, face_video: FaceVideo, labels: Path | None) -> VideoRecord:
        """Add the tracks of a video to the archive. Those of named people wait for the other tracks of the person."""
        known = read_labels(labels, face_video.timeline, self.tier) if labels else None
        clips, resolved, error = self.resolve(face_video, known)
        named = self.people.of_tracks(face_video) if self.people else {}
        path = face_video.video.path
        for track in face_video.tracks:
            key: TrackKey = (path, track.number)
            if person := named.get(track.number):
                anchors = resolved and anchors_in_track(track, resolved.means)
                self._person_tracks[person].append(PersonTrack(key, clips[track.number], anchors))
                self._person_errors[person] = max(self._person_errors[person], error)
            else:
                anchors = resolved and anchors_for_track(track, face_video, resolved.means)
                posteriors = self.labeller.posteriors(clips[track.number], anchors)
                self._suggester.update(key, {key: posteriors}, (error, error))
        self._known[path] = known
        return VideoRecord()

    def complete(self) -> None:
        """Suggest frames, and write the files of the videos that they are of, or that have labels already."""
        if not self._known:
            return
        for person in self._person_tracks:
            self._add_person(person)
        suggestions = self._suggester.suggest(self.count)
        if not suggestions:
            raise DataError("every frame that shows a face has a label; there is nothing left to suggest")
        if len(suggestions) < self.count:
            log.warning(
                "only %d of %d frames suggested: a track offers up to %d evenly spaced frames without a label at once; "
                "label these, then ask for more",
                len(suggestions),
                self.count,
                CANDIDATES,
            )
        by_video: dict[Path, list[tuple[int, ArchiveSuggestion]]] = defaultdict(list)
        for order, suggestion in enumerate(suggestions, 1):
            by_video[suggestion.track[0]].append((order, suggestion))  # type: ignore[index]
        run = self.open_run_folder()
        for path, known in self._known.items():
            if path in by_video:
                face_video = self.reader.read(path)
                table = _table_of_video(face_video, by_video[path])
                self.tables.append(table)
                run.save_figure(f"{face_video.video.name}_to_label.png", contact_sheet(face_video, table))
                run.save_table(f"{path.stem}_labels.csv", label_template(table, known))
            elif known is not None:
                run.save_table(f"{path.stem}_labels.csv", known.drop(columns="where"))

    def summary(self) -> str:
        """The suggested frames of all videos, in the order of their use, and what to do with them."""
        text = self.suggestion_table(pd.concat(self.tables).sort_values("order"))
        return (
            f"frames whose labels are expected to help most, over all videos\n\n{text}\n\n"
            "Fill in the labels in *_labels.csv and pass their folder as --labels.\n"
        )

    def _add_person(self, person: str) -> None:
        """Add the tracks of a named person, whose labels inform each other."""
        tracks, calibration = self._person_tracks[person], self.labeller.calibration
        clips = self.labeller.encoder.relative_to_person([track.clip for track in tracks])
        models = [calibration.models(clip.times, clip.evidence) for clip in clips]
        observations = [observations_of(track.anchors) for track in tracks]
        posteriors = person_posteriors(calibration, models, observations)
        offsets = person_offsets(calibration, models, observations, posteriors)
        keys = [track.key for track in tracks]
        error = self._person_errors[person]
        self._suggester.update(person, dict(zip(keys, posteriors, strict=True)), (error, error), offsets)


def _table_of_video(face_video: FaceVideo, suggestions: list[tuple[int, ArchiveSuggestion]]) -> pd.DataFrame:
    """One row per suggestion, with the columns of `SuggestionRunner.tables`."""
    faces = {track.number: track.faces for track in face_video.tracks}
    rows = [faces[suggestion.track[1]].iloc[[suggestion.frame_index]] for _, suggestion in suggestions]  # type: ignore[index]
    orders, values = zip(*suggestions, strict=True)
    scores = {
        "video": face_video.video.name,
        "order": np.array(orders),
        "expected error": [suggestion.error_before for suggestion in values],
        "error with label": [suggestion.error_after for suggestion in values],
    }
    return pd.concat(rows, ignore_index=True)[["track", "frame", "time", *BOX]].assign(**scores)
