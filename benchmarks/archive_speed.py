"""Time and memory of the work on an archive of simulated videos, without a network; run by `benchmarks/archive.py`."""

import contextlib
import io
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from datasets.columns import AXES, BOX
from datasets.video.jobs import VideoJob
from utils.compute.runtime import Runtime, make_runtime
from utils.config.labelling import LabelSettings
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.incremental import IncrementalClip
from utils.labelling.labeller import Labeller
from utils.labelling.people import person_offsets, person_posteriors
from utils.labelling.sources import EvidenceSources
from utils.labelling.suggestion.archive import ArchiveSuggester
from utils.labelling.types import NO_LABELS, EncodedClip, LabelObservations
from utils.videos import label_video
from utils.videos.face_video import FaceVideo, Track
from utils.videos.image_similarity import ImageSimilarity
from utils.videos.job_runner import VideoJobRunner
from utils.videos.label_video import LabellingRunner
from utils.videos.records import VideoRecord

COST_FRAMES = 1500  # frames of each video for `measure_cost`
COST_WINDOW = 100  # the time per video is the median of so many videos
NEXT_VIDEOS, NEXT_FRAMES = 200, 225  # for `measure_next`: 45,000 frames
NEXT_LABELS = 60  # labels that `measure_next` gives, one after the other
LABEL_STD = 0.1  # standard deviation of the labels that `measure_next` gives
FRAME_RATE = 25


class SimulatedVideo(NamedTuple):
    """The attributes of a `datasets.video.reading.Video` that labelling needs."""

    path: Path
    truncated: None = None

    @property
    def name(self) -> str:
        return self.path.stem


class SimulatedReader:
    """Reads videos that show one face in every frame, with evidence that is a random walk."""

    backends_used: frozenset[str] = frozenset()

    def read(self, path: Path) -> FaceVideo:
        frames = np.arange(COST_FRAMES)
        faces = pd.DataFrame({"track": 0, "frame": frames, "time": frames / FRAME_RATE, "score": 0.9})
        faces[list(BOX)] = np.random.default_rng(0).uniform(0, 100, (len(frames), len(BOX)))
        track = Track(0, faces, torch.empty(len(frames), 0), simulated_evidence(int(path.stem), len(frames)))
        return FaceVideo(SimulatedVideo(path), faces, [track])  # type: ignore[arg-type]


def simulated_evidence(number: int, frames: int) -> np.ndarray:
    """(N, 1, 2) evidence of a video, given its number: a random walk in [-0.5, 0.5], and noise."""
    rng = np.random.default_rng(number)
    walk = np.sin(np.cumsum(rng.normal(0, 0.06, (frames, 2)), 0) + rng.uniform(-3, 3, 2))
    return (0.5 * walk + rng.normal(0, 0.1, walk.shape))[:, None]


class MeasuredRunner(LabellingRunner):
    """Labels simulated videos, which have no faces to compare, and notes when each is begun.

    Attributes:
        starts: seconds at the beginning of each video, of the clock and of this process's CPU time.
        peaks: peak memory of the process in bytes at the same moments.
    """

    def __init__(self, settings: LabelSettings, runtime: Runtime):
        VideoJobRunner.__init__(self, SimulatedReader(), settings, [])  # type: ignore[arg-type]
        self.label_settings, self.support = settings, settings.support_set
        self.sources, self.labeller = EvidenceSources(), Labeller(ClipEncoder(None, runtime))
        self.people, self.shared = None, {}
        self.jobs, self.image_similarity, self.compared = [], ImageSimilarity(), set()
        self.starts: list[tuple[float, float]] = []
        self.peaks: list[int] = []

    def prepare(self, jobs: list[VideoJob]) -> None:
        """No fit is needed: the evidence has the default calibration."""

    def process_video(self, face_video: FaceVideo, labels: Path | None) -> VideoRecord:
        self.starts.append((time.perf_counter(), time.process_time()))
        self.peaks.append(peak_memory())
        return super().process_video(face_video, labels)


def measure_cost(videos: int) -> pd.DataFrame:
    """Label simulated videos in one run, without figures and exports: seconds per video and memory, early and late.

    Args:
        videos: number of videos.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        jobs = [simulated_job(Path(folder), number) for number in range(videos)]
        settings = LabelSettings(video=Path(folder), runs=Path(folder) / "runs", exports="none")
        runner = MeasuredRunner(settings, make_runtime(settings.runtime))
        with patch.object(label_video, "write_affect_outputs", lambda *arguments: None):
            runner.run(jobs)
        index = next(Path(folder).glob("runs/*/*/index.csv"))
        assert len(pd.read_csv(index)) == videos
    seconds = np.diff(np.array(runner.starts), axis=0)
    rows = []
    for first in (9, (videos - COST_WINDOW) // 2, videos - COST_WINDOW - 1):
        window = slice(first, first + COST_WINDOW)
        rows.append(
            {
                "videos": f"{first + 1} to {first + COST_WINDOW}",
                "ms per video": 1000 * np.median(seconds[window, 0]),
                "CPU ms per video": 1000 * np.median(seconds[window, 1]),
                "peak MB": runner.peaks[first + COST_WINDOW] / 1e6,
            }
        )
    return pd.DataFrame(rows)


def simulated_job(folder: Path, number: int) -> VideoJob:
    """Write the labels of a simulated video, and an empty file that stands for the video."""
    video, labels = folder / f"{number:04d}.mp4", folder / f"{number:04d}_labels.csv"
    video.write_text(str(number))
    evidence = simulated_evidence(number, COST_FRAMES)[:, 0].clip(-1, 1)
    rows = ["{},{:.2f},{:.2f}".format(frame, *evidence[frame]) for frame in range(100, COST_FRAMES, 300)]
    labels.write_text("\n".join(["frame,valence,arousal", *rows]) + "\n")
    return VideoJob(video, labels)


def measure_next() -> pd.DataFrame:
    """The time from a label to the next suggestion, in an archive of as many people as videos, and of ten people."""
    return pd.DataFrame([label_suggested_frames(people) for people in (NEXT_VIDEOS, 10)])


def label_suggested_frames(people: int) -> dict[str, float]:
    """Give labels at suggested frames of a simulated archive, and measure the time from a label to the next frame.

    Args:
        people: number of people, who have equally many of the tracks each.
    """
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    archive = SimulatedArchive(people)
    archive.suggester.next()
    first, seconds, expected = time.perf_counter() - start, [], archive.suggester.expected_error
    for _ in range(NEXT_LABELS):
        suggestion = archive.suggester.next()
        assert suggestion is not None
        start = time.perf_counter()
        archive.label(suggestion.track, suggestion.frame_index, rng)  # type: ignore[arg-type]
        archive.suggester.next()
        seconds.append(time.perf_counter() - start)
    return {
        "people": people,
        "first, s": first,
        "next, median s": float(np.median(seconds)),
        "next, slowest s": max(seconds),
        "expected RMSE before": expected,
        f"after {NEXT_LABELS}": archive.suggester.expected_error,
        "peak MB": peak_memory() / 1e6,
    }


class SimulatedArchive:
    """An archive that is being labelled: after a label, the tracks of the labelled person are worked out again.

    Attributes:
        suggester: suggests the next frame.
    """

    def __init__(self, people: int):
        times, no_embeddings = np.arange(NEXT_FRAMES) / FRAME_RATE, torch.empty(NEXT_FRAMES, 0)
        self._people = people
        self._evidence = [simulated_evidence(video, NEXT_FRAMES) for video in range(NEXT_VIDEOS)]
        clips = [EncodedClip(no_embeddings, times, evidence) for evidence in self._evidence]
        self._clips = [IncrementalClip(clip, DEFAULT_CALIBRATION) for clip in clips]
        self._observations = [[NO_LABELS] * len(AXES) for _ in clips]
        self.suggester = ArchiveSuggester()
        for person in range(people):
            self._update(person)

    def label(self, track: int, frame: int, rng: np.random.Generator) -> None:
        """Label a frame of a track with the evidence there, plus an error of LABEL_STD."""
        observations, label = [], self._evidence[track][frame, 0] + rng.normal(0, LABEL_STD, len(AXES))
        for observed, value in zip(self._observations[track], label, strict=True):
            position = np.searchsorted(observed.indices, frame)
            pairs = zip(observed, (frame, value, LABEL_STD), strict=True)
            observations.append(LabelObservations(*(np.insert(values, position, new) for values, new in pairs)))
        self._observations[track] = observations
        self._update(track % self._people)

    def _update(self, person: int) -> None:
        tracks = range(person, len(self._clips), self._people)
        models = [self._clips[track].models for track in tracks]
        observations = [self._observations[track] for track in tracks]
        posteriors = person_posteriors(DEFAULT_CALIBRATION, models, observations)
        offsets = person_offsets(DEFAULT_CALIBRATION, models, observations, posteriors)
        self.suggester.update(person, dict(zip(tracks, posteriors, strict=True)), (LABEL_STD, LABEL_STD), offsets)


def peak_memory() -> int:
    """Peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
