"""Reading a video as face tracks: an interrupted run resumes from its last part, in bounded memory."""

import itertools
import shutil
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from test_backends import skip_without_nncf
from test_video import face, write_folder

from models.mtclar import MTCLAR
from utils.base.errors import SettingsError
from utils.base.threads import prefetch
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import DataSettings, RuntimeSettings
from utils.videos.face_video import VideoReader
from utils.videos.track_embeddings import TrackPart, _face_sample

FRAMES, PART, BATCH = 23, 5, 4  # frames of the video; images or faces per file; faces per batch


class Interrupted(Exception):
    pass


class CountingDetector:
    """Finds two people in every image; counts the images of all detectors, and interrupts the run at the `stop`th."""

    calls, stop = 0, None

    def detect(self, images):
        return [self._faces(image) for image in images]

    def _faces(self, image):
        cls = type(self)
        if cls.calls == cls.stop:
            cls.stop = None
            raise Interrupted
        cls.calls += 1
        return np.array([face(10, score=0.9), face(100, score=0.8)], np.float32)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a video with tiny parts and batches; the folder is that of the cache."""
    CountingDetector.calls, CountingDetector.stop = 0, None
    monkeypatch.setattr("datasets.video.cached_tracks.FaceDetector", lambda device: CountingDetector())
    monkeypatch.setattr("datasets.video.cached_tracks.IMAGES_PER_FILE", PART)
    monkeypatch.setattr("datasets.video.tracks.IMAGES_PER_BATCH", 2)
    monkeypatch.setattr("utils.videos.track_embeddings.FACES_PER_PART", PART)
    monkeypatch.setattr("utils.compute.backends.MAX_BATCH", BATCH)
    video = write_folder(tmp_path / "clip", range(FRAMES))
    model = MTCLAR(16).eval()

    def read(folder, track="all", backend="eager"):
        runtime = make_runtime(RuntimeSettings(device="cpu", precision="float32", backend=backend))
        settings = LabelSettings(video=video, track=track, detect_every=1, data=DataSettings(image_size=64))
        copy = tmp_path / folder / "best.pt"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(b"weights")
        return VideoReader(model, copy, settings, runtime).read(video)

    read.model = model
    return read


def assert_equal(face_video, expected):
    pd.testing.assert_frame_equal(face_video.faces, expected.faces)
    assert [track.number for track in face_video.tracks] == [track.number for track in expected.tracks] == [0, 1]
    for track, other in zip(face_video.tracks, expected.tracks, strict=True):
        assert track.embeddings.shape == (FRAMES, 256) and torch.equal(track.embeddings, other.embeddings)


def test_interrupted_detection_resumes_from_the_last_part(read, tmp_path):
    uninterrupted = read("uninterrupted")
    CountingDetector.calls, CountingDetector.stop = 0, 13
    with pytest.raises(Interrupted):
        read("again")
    assert_equal(read("again"), uninterrupted)
    assert CountingDetector.calls == 13 + FRAMES - 13 // PART * PART
    assert not list((tmp_path / "again" / "embeddings").glob("*.found.npz"))


def test_interrupted_encoding_resumes_from_the_last_part(read, tmp_path, monkeypatch):
    uninterrupted, encode, images = read("uninterrupted"), read.model.encode, []

    def interrupted(crops):
        images.append(crops)
        if len(images) == 7:
            raise Interrupted
        return encode(crops)

    monkeypatch.setattr(read.model, "encode", interrupted)
    with pytest.raises(Interrupted):
        read("again")
    saved = 2 * (6 * BATCH // 2 // PART)  # complete parts of both tracks in the six batches
    assert len(list((tmp_path / "again" / "embeddings").glob("*.npz"))) == 1 + saved
    assert_equal(read("again"), uninterrupted)
    assert len(images) == 7 + -(-(2 * FRAMES - saved * PART) // BATCH)


def test_interrupted_encoding_in_integers_gives_the_same_embeddings(read, tmp_path, monkeypatch):
    skip_without_nncf()
    for module in ("utils.compute.backends", "utils.videos.track_embeddings"):
        monkeypatch.setattr(f"{module}.SAMPLE_FACES", 12)
    uninterrupted, saved = read("uninterrupted", backend="openvino-int8"), []
    shutil.copytree(tmp_path / "uninterrupted", tmp_path / "again", ignore=shutil.ignore_patterns("*.npz"))
    monkeypatch.setattr("utils.compute.backends.quantise", None)

    def interrupted(part, rows, embeddings, add=TrackPart.add):
        saved.append(part)
        if len(saved) == 3:
            raise Interrupted
        add(part, rows, embeddings)

    with monkeypatch.context() as patch:
        patch.setattr(TrackPart, "add", interrupted)
        with pytest.raises(Interrupted):
            read("again", backend="openvino-int8")
    assert_equal(read("again", backend="openvino-int8"), uninterrupted)
    with pytest.raises(SettingsError, match="openvino-int8"):  # Other tracks are other faces, to be quantised from.
        read("again", "longest", "openvino-int8")


def test_a_sample_of_faces_is_spread_evenly_over_the_tracks(read, monkeypatch):
    monkeypatch.setattr("utils.videos.track_embeddings.SAMPLE_FACES", 8)
    face_video = read("cache")
    faces_by_track = {track.number: track.faces for track in face_video.tracks}
    crops = _face_sample(face_video.video, faces_by_track, "key", 64).read()
    assert crops.shape == (8, 3, 64, 64)
    first, second = crops.float().mean((1, 2, 3)).split(4)  # The images of the video become brighter.
    assert (first.diff() > 0).all() and (second.diff() > 0).all()


def test_a_track_is_not_encoded_twice(read, monkeypatch):
    both = read("cache")
    monkeypatch.setattr(read.model, "encode", None)
    (longest,) = read("cache", "longest").tracks
    assert torch.equal(longest.embeddings, both.tracks[0].embeddings)


def test_few_crops_are_prefetched(read, monkeypatch):
    from utils.videos import track_embeddings

    cropped, encoded, waiting = [], [], []
    crops = track_embeddings.face_crops

    def counted(*arguments):
        for crop in crops(*arguments):
            cropped.append(crop[0])
            yield crop

    def encode(images, original=read.model.encode):
        waiting.append(len(cropped) - BATCH * len(encoded))
        encoded.append(images)
        return original(images)

    monkeypatch.setattr("utils.videos.track_embeddings.face_crops", counted)
    monkeypatch.setattr(read.model, "encode", encode)
    read("cache")
    assert max(waiting) <= BATCH * (track_embeddings.PREFETCHED_BATCHES + 2)


def test_prefetch_keeps_order_and_stays_within_its_depth():
    produced, gate = [], threading.Event()

    def items():
        for item in range(20):
            produced.append(item)
            if item == 3:
                gate.set()
            yield item

    items_ahead = prefetch(items(), 3)
    assert next(items_ahead) == 0 and gate.wait(10)  # produced before it is asked for
    assert len(produced) <= 5
    assert list(items_ahead) == list(range(1, 20))


def test_prefetch_raises_an_error_at_the_position_of_its_item():
    def items():
        yield 1
        yield 2
        raise KeyError("third")

    items_ahead = prefetch(items(), 5)
    assert [next(items_ahead), next(items_ahead)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(items_ahead)


def test_prefetch_stops_when_it_is_closed():
    produced, others = [], set(threading.enumerate())
    items_ahead = prefetch((produced.append(item) or item for item in itertools.count()), 2)
    next(items_ahead)
    items_ahead.close()
    assert len(produced) <= 4 and set(threading.enumerate()) <= others
