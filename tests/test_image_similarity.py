"""Candidates for the person in a track, sorted by image similarity."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from clips import face_images, write_video

from datasets.annotations.timeline import Timeline
from datasets.columns import BOX
from datasets.demo.people import random_person
from datasets.demo.traces import label_trace
from datasets.people import simultaneous_tracks
from datasets.video.image_features import FACE_SIZE, image_features, track_appearances
from datasets.video.random_access import VideoFrames
from datasets.video.reading import open_video
from utils.base.errors import DataError
from utils.videos.image_similarity import ImageSimilarity, candidate_sheets, candidate_table

VIDEO, OTHER = Path("a.mp4"), Path("b.mp4")


def similarity_of(features, simultaneous=()):
    image_similarity = ImageSimilarity()
    for track, values in features.items():
        image_similarity.faces[track] = np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8)
        image_similarity._features[track] = np.array(values, np.float32) / np.linalg.norm(values)
        image_similarity._simultaneous[track] = {other for pair in simultaneous if track in pair for other in pair} - {
            track
        }
    return image_similarity


def test_the_most_alike_track_of_each_other_person_counts():
    features = {(VIDEO, 0): (1, 0), (VIDEO, 1): (1, 0.1), (OTHER, 0): (1, 0.3), (OTHER, 1): (0, 1), (OTHER, 2): (1, 1)}
    people = {(VIDEO, 0): "Ada", (VIDEO, 1): "Ada", (OTHER, 0): "Ben", (OTHER, 1): "Ben", (OTHER, 2): "Cy"}
    image_similarity = similarity_of(features)
    found = image_similarity.candidates((VIDEO, 0), people, 5)
    assert [(one.person, one.track) for one in found] == [("Ben", (OTHER, 0)), ("Cy", (OTHER, 2))]
    assert found[0].image_similarity == pytest.approx(1 / np.hypot(1, 0.3))
    assert [one.person for one in image_similarity.candidates((VIDEO, 0), people, 1)] == ["Ben"]
    assert [one.person for one in image_similarity.candidates((OTHER, 1), people, 5)] == ["Cy", "Ada"]


def test_the_number_of_pictures_is_limited(monkeypatch, caplog):
    monkeypatch.setattr("utils.videos.image_similarity.ROWS_PER_SHEET", 2)
    monkeypatch.setattr("utils.videos.image_similarity.MOST_SHEETS", 3)
    tracks = [(VIDEO, number) for number in range(9)]
    images, people = similarity_of({track: (1, 0) for track in tracks}), {track: str(track[1]) for track in tracks}
    assert len(list(candidate_sheets(images, people))) == 3 and len(candidate_table(images, people)) == 9
    assert caplog.messages == ["3 of 9 tracks are left out of the pictures; people_candidates.csv lists all"]
    del images.faces[tracks[8]], images.faces[tracks[7]], images.faces[tracks[6]]
    assert len(list(candidate_sheets(images, people))) == 3 and len(caplog.messages) == 1


def test_whoever_is_in_the_same_frame_is_no_candidate():
    features = {(VIDEO, 0): (1, 0), (VIDEO, 1): (1, 0), (OTHER, 0): (1, 0.3), (OTHER, 1): (1, 1)}
    people = {(VIDEO, 0): "Ada", (VIDEO, 1): "Ben", (OTHER, 0): "Ben", (OTHER, 1): "Cy"}
    image_similarity = similarity_of(features, [((VIDEO, 0), (VIDEO, 1))])
    assert [one.person for one in image_similarity.candidates((VIDEO, 0), people, 5)] == ["Cy"]
    faces = pd.DataFrame({"track": [0, 1, 1, 2, -1, 0], "frame": [0, 0, 1, 2, 3, 4]})
    assert simultaneous_tracks(faces, [0, 1, 2]) == {0: {1}, 1: {0}, 2: set()}
    assert simultaneous_tracks(faces, [0, 2]) == {0: set(), 2: set()}


def test_two_shots_of_a_face_are_more_alike_than_two_faces(tmp_path):
    """A video of two rendered people, each in two shots."""
    rng = np.random.default_rng(4)
    people, shot = [random_person(rng) for _ in range(2)], 12
    images = [
        image
        for number in range(4)
        for image in face_images(label_trace(np.random.default_rng(number), shot), people[number % 2])
    ]
    video = open_video(write_video(tmp_path / "film.avi", images))
    frames = np.arange(4 * shot)
    faces = pd.DataFrame({"frame": frames, "time": frames / 25, "track": frames // shot, "score": 0.9})
    faces[BOX] = 100, 70, 220, 200
    random_access = VideoFrames(video, Timeline.at_rate(count=len(frames), fps=25.0))
    appearances = track_appearances(random_access, faces, [0, 1, 2, 3])
    similarities = np.array([[a.features @ b.features for a in appearances.values()] for b in appearances.values()])
    np.testing.assert_allclose(np.diag(similarities), 1, atol=1e-5)
    assert similarities[0, 2] > similarities[0, [1, 3]].max() and similarities[1, 3] > similarities[1, [0, 2]].max()
    assert appearances[0].face.shape == (FACE_SIZE, FACE_SIZE, 3) and appearances[0].face.std() > 20


def test_a_track_whose_frames_cannot_be_decoded_is_like_no_other(monkeypatch):
    def read(self, frame):
        raise DataError("damaged")

    monkeypatch.setattr(VideoFrames, "read", read)
    monkeypatch.setattr(VideoFrames, "__init__", lambda self: None)
    faces = pd.DataFrame({"frame": [0, 1], "time": [0, 0.04], "track": [0, 0]}).assign(**dict.fromkeys(BOX, 1.0))
    appearance = track_appearances(VideoFrames(), faces, [0])[0]
    assert not appearance.features.any() and not appearance.face.any()
    assert len(appearance.features) == len(image_features(appearance.face))
