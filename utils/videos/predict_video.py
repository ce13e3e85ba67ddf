"""The user's own videos: what a supervised head says of every frame, by itself."""

import numpy as np
import pandas as pd
import torch

from datasets.annotations import AXES
from datasets.elan import write_elan
from datasets.frames import EXPRESSIONS
from datasets.nova import write_nova
from datasets.tracks import BOX
from utils.checkpoint import load_supervised
from utils.errors import SettingsError
from utils.files import write_whole
from utils.plots import expression_trace_figure, plane_figure, trace_figure
from utils.runtime import Runtime
from utils.supervised.settings import PredictSettings
from utils.supervised.targets import TARGETS
from utils.videos.face_video import FaceVideo
from utils.videos.label_video import with_empty_frames
from utils.videos.overlay import write_overlay
from utils.videos.work import VideoWork

METHOD = "MT-CLAR + SL"


class PredictedVideos(VideoWork):
    """Predicts every frame of videos."""

    script = "mtclar_sl"

    def __init__(self, settings: PredictSettings, runtime: Runtime):
        model, trained, _ = load_supervised(settings.checkpoint)
        self.task = trained["task"]
        if settings.overlay and self.task == "expression":
            raise SettingsError(f"--overlay shows valence and arousal, but {settings.checkpoint} says expressions; "
                                "leave it out")  # fmt: skip
        settings.data.image_size = trained["data"]["image_size"]
        super().__init__(runtime.place(model), settings.checkpoint, settings, runtime)
        self.target = TARGETS[self.task]

    def work_on(self, seen: FaceVideo, labels: None) -> None:
        table = self._table(seen)
        self.tables.append(table)
        self.run_folder().save_table("labels.csv", pd.concat(self.tables).drop(columns="support"))
        self._write_outputs(seen, table)

    def closing_tables(self) -> str:
        return f"{prediction_table(pd.concat(self.tables))}\n"

    @torch.inference_mode()
    def _table(self, seen: FaceVideo) -> pd.DataFrame:
        """A row a frame and track, as `label_video` makes it, of which none is support; frames without a face have
        an empty row."""
        parts = []
        for track in seen.tracks:
            answer = self.target.answer(self.model.head(track.embeddings))
            said = pd.DataFrame(answer, columns=list(self.target.outputs))
            if self.task == "expression":
                said.insert(0, "expression", np.array(EXPRESSIONS)[answer.argmax(1)])
            faces = track.faces[["track", "frame", "time"]].assign(support=False)
            parts.append(faces.join(said).join(track.faces[[*BOX, "score"]]))
        return with_empty_frames(pd.concat(parts), seen)

    def _write_outputs(self, seen: FaceVideo, table: pd.DataFrame) -> None:
        """A plot a track; for valence and arousal also the plane, exports for ELAN and NOVA, and the overlay."""
        run, video = self.run, seen.video
        for track in seen.tracks:
            rows = table[table["track"] == track.number]
            plot = expression_trace_figure(video.name, rows, EXPRESSIONS) if self.task == "expression" else (
                trace_figure(video.name, METHOD, {METHOD: rows}))  # fmt: skip
            run.save_figure(f"{video.name}_track{track.number}.png", plot)
        if self.task == "expression":
            return
        run.save_figure(f"{video.name}_plane.png", plane_figure(table.dropna(subset="track")))
        write_elan(run.path / f"{video.name}.eaf", table, video.path if video.path.is_file() else None)
        write_nova(run.path, video.name, table, video.fps)
        if self.settings.overlay:
            write_whole(run.path / f"{video.name}_overlay.mp4", lambda path: write_overlay(path, video, table))


def prediction_table(labels: pd.DataFrame) -> str:
    """A row a video and track: frames with its face, and the means of both axes or the shares of the expressions."""
    rows = []
    for (video, track), part in labels.dropna(subset="track").groupby(["video", "track"]):
        total = labels.loc[labels["video"] == video, "frame"].nunique()
        row = {"video": video, "track": track, "frames": total, "with face": len(part)}
        if "expression" in part:
            row |= part["expression"].value_counts(normalize=True).map("{:.0%}".format).to_dict()
        else:
            of_axes = part[list(AXES)].agg(["mean", "min", "max"])
            row |= {f"{axis} {name}": of_axes.loc[name, axis] for axis in AXES for name in of_axes.index}
        rows.append(row)
    return pd.DataFrame(rows).fillna("").to_string(index=False, float_format="{:+.2f}".format)
