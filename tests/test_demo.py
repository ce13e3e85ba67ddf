"""The demo set: its layout, its determinism, and whether the faces show what the labels state."""

import csv
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from datasets.columns import EXPRESSIONS
from datasets.demo import dataset as demo
from datasets.demo.dataset import render_demo
from datasets.demo.face import Person, Pose
from datasets.demo.paint import draw_face
from datasets.demo.people import random_person
from datasets.demo.traces import expression_of, label_trace, pose_trace
from utils.base.errors import DataError

SMALL = {"seed": 3, "people": 3, "frames": 4, "short_frames": 4, "size": 64, "workers": 1}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return render_demo(tmp_path_factory.mktemp("demo") / "set", **SMALL)


def contents(root):
    """Map the path of each file below root to its bytes."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def fits_cleaning_rule(code, v, a):
    """The rule that cleans AffectNet, class by class."""
    intensity = np.hypot(v, a)
    strong = intensity > 0.2
    return [
        intensity < 0.2,
        strong and v > 0,
        strong and v < 0,
        strong and a > 0,
        strong and a >= 0 and v <= 0,
        intensity > 0.3 and v < 0,
        strong and a > 0,
        strong and v < 0,
    ][code]


def test_layout_is_the_one_of_afew_va(small):
    names = [f"{i:05d}" for i in range(4)]
    assert sorted(p.name for p in small.iterdir()) == ["001", "002", "003", "demo.json", "expressions.csv"]
    for clip in ("001", "002", "003"):
        record = json.loads((small / clip / f"{clip}.json").read_text())
        assert record["video_id"] == clip and isinstance(record["actor"], str)
        assert list(record["frames"]) == names
        for name in names:
            assert cv2.imread(str(small / clip / f"{name}.png")).shape == (64, 64, 3)
            frame = record["frames"][name]
            assert set(frame) == {"landmarks", "valence", "arousal"}
            assert np.shape(frame["landmarks"]) == (68, 2)
            for axis in ("valence", "arousal"):
                assert type(frame[axis]) is int and -10 <= frame[axis] <= 10
    assert len({json.loads(p.read_text())["actor"] for p in small.glob("0*/*.json")}) == 3


def test_expressions_follow_from_the_labels(small):
    with open(small / "expressions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    for row in rows:
        frames = json.loads((small / row["clip"] / f"{row['clip']}.json").read_text())["frames"]
        label = frames[row["frame"]]
        assert int(row["expression"]) == expression_of(label["valence"] / 10, label["arousal"] / 10)


def test_expressions_agree_with_the_cleaning_rule():
    unclassed = []
    for v in range(-10, 11):
        for a in range(-10, 11):
            if not fits_cleaning_rule(expression_of(v / 10, a / 10), v / 10, a / 10):
                unclassed.append((v, a))
    on_the_circle = [(-2, 0), (0, -2), (0, 2), (2, 0)]
    assert sorted(unclassed) == sorted(on_the_circle + [(0, a) for a in range(-10, -2)])
    assert all(expression_of(v / 10, a / 10) == 0 for v, a in unclassed)


def test_every_expression_occurs():
    counts = np.zeros(len(EXPRESSIONS))
    for index in range(300):
        trace = np.round(label_trace(np.random.default_rng([0, index, demo.LABELS]), 48), 1)
        for v, a in trace:
            counts[expression_of(v, a)] += 1
    share = counts / counts.sum()
    assert share.min() > 0.03 and share.max() < 0.4


def test_files_depend_on_the_seed_and_not_on_the_number_of_workers(small, tmp_path):
    again = render_demo(tmp_path / "again", **SMALL | {"workers": 2})
    other = render_demo(tmp_path / "other", **SMALL | {"seed": 4})
    assert contents(again) == contents(small)
    assert (other / "001/00000.png").read_bytes() != (small / "001/00000.png").read_bytes()


def test_more_people_leave_the_first_ones_unchanged(small, tmp_path):
    fewer = contents(render_demo(tmp_path / "fewer", **SMALL | {"people": 2}))
    whole = contents(small)
    clips = [name for name in fewer if name.startswith("0")]
    assert len(clips) == 2 * 5 and all(fewer[name] == whole[name] for name in clips)


@pytest.mark.parametrize("hard", [False, True])
def test_landmarks_lie_about_the_centre_of_the_image(hard):
    boxes = []
    for index in range(20):
        rng = np.random.default_rng([1, index])
        person, pose = random_person(rng, hard), pose_trace(rng, 8)[5]
        _, points = draw_face(person, *rng.uniform(-1, 1, 2), pose, 64)
        assert points.shape == (68, 2) and points.min() > 0 and points.max() < 63
        boxes.append(np.concatenate((points.min(0), points.max(0))) / 64)
    left, top, right, bottom = np.mean(boxes, axis=0)
    assert abs(right - left - 0.45) < 0.05 and abs(bottom - top - 0.45) < 0.06
    assert abs((left + right) / 2 - 0.5) < 0.04 and abs((top + bottom) / 2 - 0.5) < 0.06


def test_landmarks_scale_with_the_picture():
    _, small = draw_face(Person(), 0.5, 0.5, Pose(5, 5), 64)
    _, large = draw_face(Person(), 0.5, 0.5, Pose(5, 5), 256)
    np.testing.assert_allclose((large + 0.5) / 4, small + 0.5, atol=1e-9)


def test_landmarks_match_the_image():
    """The dark pupils lie between the lids, and the jaw separates skin from background."""
    person = Person(hair="bald", backdrop=((255, 0, 0), (255, 0, 0)))
    picture, points = draw_face(person, 0, 0.5, Pose(), 256)
    for eye in (points[36:42], points[42:48]):
        (x0, y0), (x1, y1) = eye.min(0).astype(int), eye.max(0).astype(int) + 1
        patch = picture[y0:y1, x0:x1].sum(2)
        dark = np.argwhere(patch < 120).mean(0)[::-1] + (x0, y0)
        assert np.abs(dark - eye.mean(0)).max() < 5
    blue = picture[..., 0].astype(int) - picture[..., 2]
    for i in (4, 5):  # beside the neck, away from the ears
        (x, y), mirrored = points[i], points[16 - i]
        assert blue[round(y), round(x) - 6] > 60 > blue[round(y), round(x) + 6]
        assert blue[round(y), round(mirrored[0]) + 6] > 60


def test_valence_lifts_the_mouth_corners_and_arousal_opens_eyes_and_mouth():
    levels = np.linspace(-1, 1, 9)
    for index in range(5):
        person = random_person(np.random.default_rng(index))
        smiles = np.array([draw_face(person, v, 0.0, size=64)[1] for v in levels])
        corners = smiles[:, [48, 54], 1].mean(1) - smiles[:, [51, 57], 1].mean(1)
        assert np.all(np.diff(corners) <= 1e-9) and corners[0] - corners[-1] > 2
        awake = np.array([draw_face(person, 0.0, a, size=64)[1] for a in levels])
        lids = awake[:, [40, 41, 46, 47], 1].mean(1) - awake[:, [38, 37, 44, 43], 1].mean(1)
        mouth = awake[:, 66, 1] - awake[:, 62, 1]
        brows = awake[:, 17:27, 1].mean(1)
        assert np.all(np.diff(lids) >= -1e-9) and lids[-1] - lids[0] > 1.5
        assert np.all(np.diff(mouth) >= -1e-9) and mouth[-1] - mouth[0] > 2
        assert brows[-1] < brows[0] - 1


def test_yaw_moves_the_nose_across_the_jaw():
    turned, frontal = (draw_face(Person(), 0, 0, Pose(yaw=yaw), 64)[1] for yaw in (10, 0))
    assert turned[30, 0] - frontal[30, 0] > 1.5
    assert abs(turned[8, 0] - frontal[8, 0]) < 0.1


def test_gain_and_offset_change_the_face():
    plain = draw_face(Person(), 0.6, 0.6, size=64)[0]
    changes = [{key: pair} for key in ("gain", "offset") for pair in ((0.7, 1.0), (1.0, 0.7))]
    for change in changes:
        assert (draw_face(replace(Person(), **change), 0.6, 0.6, size=64)[0] != plain).any()
    same = draw_face(Person(gain=(0.5, 2.0), offset=(0.1, -0.2)), 1.0, 0.4, size=64)[0]
    np.testing.assert_array_equal(same, plain)


def test_gains_and_offsets_have_the_documented_distribution():
    for hard, low, high, sigma in ((False, 0.7, 1.2, 0.12), (True, 0.5, 1.5, 0.2)):
        people = [random_person(np.random.default_rng([0, i, demo.IDENTITY]), hard) for i in range(400)]
        gains = np.array([p.gain for p in people])
        assert low <= gains.min() < low + 0.05 and high - 0.05 < gains.max() <= high
        assert abs(np.std([p.offset for p in people]) / sigma - 1) < 0.1


def test_labels_move_between_support_frames():
    steps = []
    for index in range(100):
        trace = label_trace(np.random.default_rng([5, index]), 48)
        assert trace.shape == (48, 2) and np.abs(trace).max() <= 1
        steps.append(trace[20:] - trace[:-20])
    moved = np.sqrt(np.mean(np.square(steps), axis=(0, 1)))
    assert np.all(moved > 0.3)


def test_long_clips_have_as_many_events_per_minute_as_short_ones():
    half = [label_trace(np.random.default_rng([5, index]), 3000)[1500:].std(axis=0) for index in range(5)]
    assert np.min(half) > 0.1


def test_poses_stay_within_their_limits():
    poses = [pose for i in range(20) for pose in pose_trace(np.random.default_rng(i), 48)]
    assert max(abs(p.yaw) for p in poses) <= 10 and max(abs(p.roll) for p in poses) <= 10
    assert max(abs(p.scale - 1) for p in poses) <= 0.06


def test_the_same_set_is_reused_and_another_one_replaced(tmp_path):
    settings = SMALL | {"people": 1, "frames": 1}
    root = render_demo(tmp_path / "set", **settings)
    before = (root / "001/00000.png").stat().st_mtime_ns
    render_demo(root, **settings | {"workers": 2})
    assert (root / "001/00000.png").stat().st_mtime_ns == before
    render_demo(root, **settings | {"frames": 2})
    assert len(list(root.glob("001/*.png"))) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_an_empty_folder_is_filled_and_one_with_other_files_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert (render_demo(tmp_path / "empty", **SMALL | {"people": 1}) / "demo.json").exists()
    foreign = tmp_path / "afew-va"
    foreign.mkdir()
    (foreign / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="another folder"):
        render_demo(foreign, **SMALL)
    assert contents(foreign) == {"precious.txt": b"mine"}


def test_interrupted_rendering_leaves_no_files(tmp_path, monkeypatch):
    written = []

    def stop(path, picture):
        written.append(path)
        if len(written) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_write_png", stop)
    with pytest.raises(KeyboardInterrupt):
        render_demo(tmp_path / "set", **SMALL)
    assert len(written) == 6 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"people": 0}, {"frames": 0}, {"size": 16}])
def test_invalid_parameters_are_refused(tmp_path, wrong):
    with pytest.raises(DataError, match="demo set"):
        render_demo(tmp_path / "set", **SMALL | wrong)


def test_trace_at_four_times_the_frame_rate_is_the_same_trace_over_time():
    slow, fast = (label_trace(np.random.default_rng(3), 60 * factor, 25.0 * factor) for factor in (1, 4))
    np.testing.assert_allclose(fast[::4], slow, atol=1e-12)
    slow, fast = (pose_trace(np.random.default_rng(3), 60 * factor, 25.0 * factor) for factor in (1, 4))
    assert [pose.yaw for pose in fast[::4]] == pytest.approx([pose.yaw for pose in slow])
