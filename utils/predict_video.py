"""The user's own videos: what a supervised head says of every frame, by itself."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from datasets.annotations import AXES
from datasets.elan import write_elan
from datasets.frames import EXPRESSIONS, DataError
from datasets.nova import write_nova
from datasets.tracks import BOX
from utils.checkpoint import load_supervised
from utils.embed import EmbeddingCache
from utils.errors import SettingsError, about_file
from utils.face_video import FaceVideo, read_face_video
from utils.files import write_whole
from utils.label_video import with_empty_frames
from utils.overlay import write_overlay
from utils.plots import expression_trace_figure, plane_figure, trace_figure
from utils.run_folder import RunFolder
from utils.runtime import Runtime
from utils.supervised_settings import PredictSettings
from utils.targets import TARGETS

METHOD = "MT-CLAR + SL"


class PredictedVideos:
    """Predicts one video after the other into one run folder, which is made when the first one is done.

    A video of several that cannot be used is reported and passed over; `report` then ends with its error.
    """

    def __init__(self, settings: PredictSettings, runtime: Runtime):
        self.settings, self.runtime, path = settings, runtime, settings.checkpoint
        model, trained, _ = load_supervised(path)
        self.task = trained["task"]
        if settings.overlay and self.task == "expression":
            raise SettingsError(f"--overlay shows valence and arousal, but {path} says expressions; leave it out")
        settings.data.image_size = trained["data"]["image_size"]
        self.model, self.target = runtime.place(model), TARGETS[self.task]
        self.cache = EmbeddingCache(path.parent / "embeddings", path, runtime)
        self.run: RunFolder | None = None
        self.tables: list[pd.DataFrame] = []
        self.problems: list[str] = []

    def predict(self, video: Path) -> None:
        try:
            seen = read_face_video(video, self.model, self.cache, self.settings)
            table = self._table(seen)
            self.run = self.run or RunFolder.create(self.settings, "mtclar_sl")
            self.tables.append(table)
            self.run.save_table("labels.csv", pd.concat(self.tables).drop(columns="support"))
            self._write_outputs(seen, table)
        except DataError as error:
            self.problems.append(about_file(error, video))
            return
        if seen.video.truncated:
            print(f"{video}: {seen.video.truncated.decoded} of {seen.video.truncated.expected} frames could be decoded")

    def report(self) -> None:
        """The closing table. Raises DataError where a video was passed over."""
        if self.run:
            print(f"\n{prediction_table(pd.concat(self.tables))}\n\nrun folder  {self.run.path}")
        if self.problems:
            raise DataError("\n".join(self.problems))

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
