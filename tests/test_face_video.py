"""From a video to embeddings: an interrupted run goes on from its last part, in bounded memory."""

import itertools
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from test_video import face, write_folder

from models.mtclar import MTCLAR
from utils.embed import EmbeddingCache
from utils.runtime import make_runtime
from utils.settings import DataSettings, LabelSettings, RuntimeSettings
from utils.threads import ahead
from utils.videos.face_video import read_face_video

FRAMES, PART, BATCH = 23, 5, 4


class Interrupted(Exception):
    pass


class CountingDetector:
    """Two people; counts its images over all its lives, and stops the run at the `stop`th."""

    asked, stop = 0, None

    def detect(self, image):
        cls = type(self)
        if cls.asked == cls.stop:
            cls.stop = None
            raise Interrupted
        cls.asked += 1
        return np.array([face(10, score=0.9), face(100, score=0.8)], np.float32)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads one video, as often as wanted, with tiny parts and batches."""
    CountingDetector.asked, CountingDetector.stop = 0, None
    monkeypatch.setattr("utils.videos.face_video.FaceDetector", CountingDetector)
    monkeypatch.setattr("utils.videos.face_video.PART", PART)
    monkeypatch.setattr("utils.backends.BATCH", BATCH)
    video = write_folder(tmp_path / "clip", range(FRAMES))
    checkpoint = tmp_path / "best.pt"
    checkpoint.write_bytes(b"weights")
    model = MTCLAR(16).eval()
    runtime = make_runtime(RuntimeSettings(device="cpu", precision="float32", backend="eager"))

    def read(folder, track="all"):
        settings = LabelSettings(video=video, track=track, detect_every=1, data=DataSettings(image_size=64))
        return read_face_video(video, model, EmbeddingCache(tmp_path / folder, checkpoint, runtime), settings)

    read.model = model
    return read


def assert_same(seen, wanted):
    pd.testing.assert_frame_equal(seen.faces, wanted.faces)
    assert [track.number for track in seen.tracks] == [track.number for track in wanted.tracks] == [0, 1]
    for track, other in zip(seen.tracks, wanted.tracks, strict=True):
        assert track.embeddings.shape == (FRAMES, 256) and torch.equal(track.embeddings, other.embeddings)


def test_interrupted_detection_goes_on_from_the_last_part(read, tmp_path):
    whole = read("whole")
    CountingDetector.asked, CountingDetector.stop = 0, 13
    with pytest.raises(Interrupted):
        read("again")
    assert_same(read("again"), whole)
    assert CountingDetector.asked == 13 + FRAMES - 13 // PART * PART
    assert not list((tmp_path / "again").glob("*.found.npz"))


def test_interrupted_encoding_goes_on_from_the_last_part(read, tmp_path, monkeypatch):
    whole, encode, images = read("whole"), read.model.encode, []

    def stopped(crops):
        images.append(crops)
        if len(images) == 7:
            raise Interrupted
        return encode(crops)

    monkeypatch.setattr(read.model, "encode", stopped)
    with pytest.raises(Interrupted):
        read("again")
    kept = 2 * (6 * BATCH // 2 // PART)  # whole parts of both tracks in the six batches
    assert len(list((tmp_path / "again").glob("*.npz"))) == 1 + kept
    assert_same(read("again"), whole)
    assert len(images) == 7 + -(-(2 * FRAMES - kept * PART) // BATCH)


def test_a_track_is_not_encoded_twice(read, monkeypatch):
    whole = read("here")
    monkeypatch.setattr(read.model, "encode", None)
    (longest,) = read("here", "longest").tracks
    assert torch.equal(longest.embeddings, whole.tracks[0].embeddings)


def test_few_images_wait_to_be_encoded(read, monkeypatch):
    import utils.videos.face_video as face_video

    cut, encoded, waiting = [], [], []
    crops = face_video.face_crops

    def counted(*arguments):
        for crop in crops(*arguments):
            cut.append(crop[0])
            yield crop

    def encode(images, whole=read.model.encode):
        waiting.append(len(cut) - BATCH * len(encoded))
        encoded.append(images)
        return whole(images)

    monkeypatch.setattr("utils.videos.face_video.face_crops", counted)
    monkeypatch.setattr(read.model, "encode", encode)
    read("here")
    assert max(waiting) <= BATCH * (face_video.BATCHES_AHEAD + 2)


def test_ahead_keeps_order_and_stays_within_its_depth():
    made, gate = [], threading.Event()

    def items():
        for item in range(20):
            made.append(item)
            if item == 3:
                gate.set()
            yield item

    found = ahead(items(), 3)
    assert next(found) == 0 and gate.wait(10)  # made without being asked for
    assert len(made) <= 5
    assert list(found) == list(range(1, 20))


def test_ahead_passes_an_error_on_where_its_item_would_have_come():
    def items():
        yield 1
        yield 2
        raise KeyError("third")

    found = ahead(items(), 5)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(found)


def test_ahead_stops_when_nobody_asks_any_more():
    made, others = [], set(threading.enumerate())
    found = ahead((made.append(item) or item for item in itertools.count()), 2)
    next(found)
    found.close()
    assert len(made) <= 4 and set(threading.enumerate()) <= others
