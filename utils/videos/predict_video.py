"""Predicts every frame of the user's own videos by a supervised head, without any labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from datasets.columns import AXES, EXPRESSIONS, PREDICTED
from utils.base.errors import SettingsError
from utils.compute.runtime import Runtime
from utils.config.supervised import HEAD, SLSettings
from utils.plots import expression_trace_figure
from utils.runs.checkpoint import load_supervised, read_checkpoint
from utils.runs.manifest import path_input
from utils.runs.trained import log_network
from utils.supervised.tasks import TASKS
from utils.videos.face_video import FaceVideo, Track, VideoReader
from utils.videos.job_runner import VideoJobRunner
from utils.videos.outputs import (
    affect_ranges,
    summary_table,
    track_summaries,
    track_table,
    video_table,
    write_affect_outputs,
)
from utils.videos.records import VideoRecord

NO_LABELS = pd.DataFrame(columns=["track", "frame", "annotator", *AXES])


class PredictionRunner(VideoJobRunner):
    """Predicts valence and arousal, or expressions, of videos; writes tables of labels, plots and exports."""

    script = "mtclar_sl"
    resumable = True

    def __init__(self, settings: SLSettings, runtime: Runtime):
        """Load the supervised head that `settings.checkpoint` names.

        Raises:
            SettingsError: an overlay is asked for, but the head predicts expressions.
        """
        assert settings.checkpoint is not None, "`with_checkpoint` completes the settings"
        content = read_checkpoint(settings.checkpoint, "supervised")
        log_network(settings.checkpoint, content)
        model, trained, _ = load_supervised(settings.checkpoint, content)
        self.task = TASKS[trained["task"]]
        if settings.overlay and self.task.name == "expression":
            raise SettingsError(
                f"--overlay draws valence and arousal, but {settings.checkpoint} predicts expressions; leave it out"
            )
        settings.data.image_size = trained["data"]["image_size"]
        reader = VideoReader(runtime.to_device(model), settings.checkpoint, settings, runtime)
        super().__init__(reader, settings, [path_input("network", settings.checkpoint)])
        self.head = model.head

    def process_video(self, face_video: FaceVideo, labels: Path | None) -> VideoRecord:
        """Predict one video; it has no labels."""
        table = video_table((self._predict(track) for track in face_video.tracks), face_video)
        index = self.save_labels(face_video, table.drop(columns="support"))
        run = self.open_run_folder()
        if self.task.name != "expression":
            write_affect_outputs(run, face_video, {HEAD: table}, HEAD, NO_LABELS, self.settings)
        else:
            name = face_video.video.name
            for track in face_video.tracks:
                rows = table[table["track"] == track.number]
                run.save_figure(f"{name}_track{track.number}.png", expression_trace_figure(name, rows, EXPRESSIONS))
        return VideoRecord(index, track_summaries(table, _describe))

    def summary(self) -> str:
        """One line per video and track."""
        return f"{summary_table(self.records.tracks)}\n"

    @torch.inference_mode()
    def _predict(self, track: Track) -> pd.DataFrame:
        """The table of a track; none of its frames is a support frame."""
        predictions = self.task.predictions(self.head(track.embeddings))
        labels = pd.DataFrame(predictions, columns=list(self.task.columns))
        if self.task.name == "expression":
            labels.insert(0, "expression", np.array(EXPRESSIONS)[predictions.argmax(1)])
        labels.insert(0, "support", False)
        labels = labels.assign(source=PREDICTED, annotator="")
        return track_table(track, labels)


def _describe(labels: pd.DataFrame) -> dict[str, object]:
    """Number of frames with the face, and the ranges of both axes or the shares of the expressions."""
    row: dict[str, object] = {"with face": len(labels)}
    if "expression" in labels:
        return row | labels["expression"].value_counts(normalize=True).map("{:.0%}".format).to_dict()
    return row | affect_ranges(labels)
