"""Which faces of a track are encoded: the plan, reading videos by it, and labels from evidence with gaps."""

import weakref
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import label, labels_file
from simulated_clips import PARAMETERS, anchors_at, simulate_clips
from test_face_video import BATCH, FRAMES, CountingDetector, Interrupted, assert_equal
from test_video import write_folder

from models.mtclar import MTCLAR
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import DataSettings, RuntimeSettings
from utils.labelling.calibration.adaptation import labelled_evidence
from utils.labelling.calibration.calibration import AxisCalibration, Calibration
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.encoding_plan import SEGMENT_FACES, EncodingPlan, every_nth, plan_encoding
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.gp import GPPosterior
from utils.labelling.types import NO_LABELS, EncodedClip, is_encoded
from utils.videos.face_video import Track, VideoReader

FPS = 25.0
CALIBRATION = Calibration(AxisCalibration(PARAMETERS), AxisCalibration(PARAMETERS))


def clip_with(evidence: np.ndarray, step: int = 6) -> EncodedClip:
    """A clip with evidence (N, 2) at every `step`-th frame and the last one."""
    values = np.where(every_nth(len(evidence), step)[:, None, None], evidence[:, None], np.nan)
    return EncodedClip(torch.empty(len(evidence), 0), np.arange(len(evidence)) / FPS, values)


def steps_of(plan: np.ndarray) -> list[int]:
    """The steps between encoded frames, in order, each named once."""
    steps = np.diff(np.flatnonzero(plan))
    return steps[np.concatenate(([True], np.diff(steps) != 0))].tolist()


@pytest.mark.parametrize(
    "count, step, expected", [(7, 3, [0, 3, 6]), (9, 3, [0, 3, 6, 8]), (1, 12, [0]), (3, 1, [0, 1, 2])]
)
def test_every_nth_face_and_the_last_one(count, step, expected):
    assert np.flatnonzero(every_nth(count, step)).tolist() == expected


@pytest.mark.parametrize("fps, step", [(5, 1), (10, 2), (23.976, 6), (25, 6), (30, 6), (50, 12), (100, 12)])
def test_first_pass_encodes_four_faces_per_second(fps, step):
    plan = EncodingPlan(labeller=SimpleNamespace())
    assert np.diff(np.flatnonzero(plan.first_pass(121, fps))).tolist() == [step] * (120 // step)


def test_more_faces_are_encoded_where_the_evidence_moves():
    times = np.arange(3 * SEGMENT_FACES) / FPS
    moving = np.where(times < 2 * SEGMENT_FACES / FPS, 0.0, 0.8 * np.sin(2 * np.pi * times))
    still_then_moving = plan_encoding(clip_with(np.stack([moving, moving], 1)), CALIBRATION, (True,), 6)
    still, fast = steps_of(still_then_moving[: SEGMENT_FACES + 1]), steps_of(still_then_moving[-SEGMENT_FACES:-1])
    assert len(still) == len(fast) == 1 and fast[0] < still[0]
    assert still_then_moving[every_nth(len(times), 6)].all()


def test_a_source_that_has_values_at_all_faces_leaves_fewer_to_encode(rng):
    (clip,) = simulate_clips(rng, 1, 240, 0.05)
    sparse = clip_with(clip.evidence[:, 0])
    with_table = sparse._replace(evidence=np.concatenate((sparse.evidence, clip.evidence), 1))
    axis = AxisCalibration(PARAMETERS._replace(sources=PARAMETERS.sources * 2))
    together = plan_encoding(with_table, Calibration(axis, axis), (True, False), 6)
    assert together.sum() < plan_encoding(sparse, CALIBRATION, (True,), 6).sum()


@pytest.mark.parametrize("count", [1, 2, 5, 130])
def test_clips_of_any_length_have_a_plan(count):
    plan = plan_encoding(clip_with(np.zeros((count, 2))), CALIBRATION, (True,), 6)
    assert plan.shape == (count,) and plan[0] and plan[-1]


def test_posterior_at_frames_without_evidence_is_that_of_the_process(rng):
    """Leaving frames out changes nothing at the others, except through the activity, which is 1 without exponent."""
    (clip,) = simulate_clips(rng, 1, 61, 0.05)
    parameters = PARAMETERS._replace(process=PARAMETERS.process._replace(activity_exponent=1e-12))
    known = every_nth(61, 3)
    evidence = np.where(known[:, None], clip.evidence[..., 0], np.nan)
    full = GPPosterior(parameters, clip.times, evidence, NO_LABELS)
    only = GPPosterior(parameters, clip.times[known], evidence[known], NO_LABELS)
    np.testing.assert_allclose(full.mean[known], only.mean, atol=1e-6)
    np.testing.assert_allclose(full.variance[known], only.variance, atol=1e-6)


def test_noise_of_frames_that_are_left_out_does_not_count_in_fast_videos(rng):
    """Every fourth frame at 100 frames per second has the noise of 25 frames per second."""
    (clip,) = simulate_clips(rng, 1, 81, 0.05)
    times, known = np.arange(81) / 100, every_nth(81, 4)
    evidence = np.where(known[:, None], clip.evidence[..., 0], np.nan)
    parameters = PARAMETERS._replace(process=PARAMETERS.process._replace(activity_exponent=1e-12))
    sparse = GPPosterior(parameters, times, evidence, NO_LABELS)
    alone = GPPosterior(parameters, times[known], evidence[known], NO_LABELS)
    np.testing.assert_allclose(sparse.variance[known], alone.variance, atol=1e-6)


def test_evidence_at_labels_is_interpolated_but_not_across_gaps():
    evidence = np.full((60, 1, 2), np.nan)
    evidence[[0, 6, 30], 0] = [[0.0, 0.6], [0.6, 0.0], [0.9, 0.9]]
    clip = EncodedClip(torch.empty(60, 0), np.arange(60) / FPS, evidence)
    (simulated,) = simulate_clips(np.random.default_rng(0), 1, 60, 0.05)
    found = labelled_evidence(clip, anchors_at(simulated, [0, 3, 18, 30, 50])).evidence[:, 0]
    np.testing.assert_allclose(found[[0, 1, 3]], [[0.0, 0.6], [0.3, 0.3], [0.9, 0.9]])
    assert np.isnan(found[[2, 4]]).all()


def test_embeddings_of_labels_are_those_of_the_nearest_encoded_faces():
    embeddings = torch.arange(7.0)[:, None].repeat(1, 256)
    embeddings[[1, 2, 4, 5]] = float("nan")
    track = Track(0, pd.DataFrame({"time": np.arange(7) / FPS}), embeddings, np.empty((7, 0, 2)))
    assert track.nearest_embeddings(np.arange(7))[:, 0].tolist() == [0, 0, 3, 3, 3, 6, 6]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a video with tiny parts and batches, every face or by a plan; the folder is that of the cache."""
    CountingDetector.calls, CountingDetector.stop = 0, None
    monkeypatch.setattr("datasets.video.cached_tracks.FaceDetector", lambda device: CountingDetector())
    monkeypatch.setattr("utils.videos.track_embeddings.FACES_PER_PART", 5)
    monkeypatch.setattr("utils.compute.backends.MAX_BATCH", BATCH)
    video = write_folder(tmp_path / "clip", range(FRAMES))
    runtime = make_runtime(RuntimeSettings(device="cpu", precision="float32", backend="eager"))
    labeller = Labeller(ClipEncoder(MTCLAR(16).eval(), runtime), CALIBRATION)

    def read(folder, plan=None):
        plan = plan or EncodingPlan(labeller=labeller, networks=(True,))
        settings = LabelSettings(video=video, track="all", detect_every=1, data=DataSettings(image_size=64))
        copy = tmp_path / folder / "best.pt"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(b"weights")
        return VideoReader(labeller.encoder.model, copy, settings, runtime, plan=plan).read(video)

    read.model = labeller.encoder.model
    return read


def in_batches(faces: int) -> int:
    """Number of images that are encoded: the last batch is filled up."""
    return -(-faces // BATCH) * BATCH


def test_faces_that_are_left_out_are_encoded_later_and_no_face_is_encoded_twice(read, monkeypatch):
    encode, images = read.model.encode, []
    monkeypatch.setattr(read.model, "encode", lambda crops: images.extend(crops) or encode(crops))
    every = read("every", EncodingPlan())
    assert len(images) == in_batches(2 * FRAMES)
    images.clear()
    sparse = read("cache", EncodingPlan(4))
    chosen = every_nth(FRAMES, 4)
    assert len(images) == in_batches(2 * chosen.sum())
    images.clear()
    for track, complete in zip(sparse.tracks, every.tracks, strict=True):
        assert np.array_equal(is_encoded(track.embeddings), chosen)
        torch.testing.assert_close(track.embeddings[chosen], complete.embeddings[chosen])
    later = read("cache", EncodingPlan())
    assert len(images) == in_batches(2 * (~chosen).sum())
    for track, complete in zip(later.tracks, every.tracks, strict=True):
        torch.testing.assert_close(track.embeddings, complete.embeddings)
    for track, before in zip(read("cache", EncodingPlan(4)).tracks, sparse.tracks, strict=True):
        torch.testing.assert_close(track.embeddings, before.embeddings, rtol=0, atol=0, equal_nan=True)


def test_embeddings_of_the_first_pass_are_freed_before_the_second(read, monkeypatch):
    encode, first_pass = VideoReader._encode, []

    def watched(reader, *arguments):
        assert all(embeddings() is None for embeddings in first_pass)
        tracks = encode(reader, *arguments)
        first_pass.extend(weakref.ref(track.embeddings) for track in tracks)
        return tracks

    monkeypatch.setattr(VideoReader, "_encode", watched)
    monkeypatch.setattr(EncodingPlan, "second_pass", lambda plan, embeddings, *_: np.ones(len(embeddings), bool))
    assert len(first_pass) == 0 and len(read("cache").tracks) == 2 and len(first_pass) == 4


@pytest.mark.parametrize("stop", [1, 4])
def test_an_interrupted_run_ends_with_the_same_faces_and_embeddings(read, monkeypatch, stop):
    """It is interrupted in the first and in the second pass."""
    monkeypatch.setattr("utils.labelling.encoding_plan.LARGEST_RISE", 0.0)  # so that there is a second pass
    uninterrupted, encode, batches = read("uninterrupted"), read.model.encode, []
    assert uninterrupted.tracks[0].embeddings.isnan().sum() == 0

    def interrupted(crops):
        batches.append(crops)
        if len(batches) == stop:
            raise Interrupted
        return encode(crops)

    monkeypatch.setattr(read.model, "encode", interrupted)
    with pytest.raises(Interrupted):
        read("again")
    assert_equal(read("again"), uninterrupted)


def test_all_frames_of_a_video_are_labelled_from_every_twelfth_face(quick, clip, tmp_path):
    labels = labels_file(tmp_path / "labels.csv")
    tables = []
    for step in (1, 12, "auto"):
        folder, _ = label(*quick, "--video", clip, "--labels", labels, "--encode_every", step)
        tables.append(pd.read_csv(folder / "labels.csv"))
    for table in tables[1:]:
        assert table["valence"].notna().equals(tables[0]["valence"].notna())
        assert (
            table.loc[table["support"], "valence"].tolist() == tables[0].loc[tables[0]["support"], "valence"].tolist()
        )
    assert not tables[1]["valence"].equals(tables[0]["valence"])
