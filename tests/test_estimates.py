"""Per-frame estimates of another tool, read from CSV."""

import numpy as np
import pytest

from datasets.annotations.estimates import read_estimates, without_frozen
from utils.base.errors import DataError

FRAMES = np.array([0, 1, 2, 3])
TIMES = FRAMES / 25


def write(folder, text):
    path = folder / "estimates.csv"
    path.write_text(text)
    return path


def test_estimates_by_frame_with_missing_rows_and_cells(tmp_path):
    estimates = read_estimates(write(tmp_path, "frame,valence,arousal\n0,0.1,-0.2\n2,,0.5\n3,nan,NA\n"))
    expected = [[0.1, -0.2], [np.nan, np.nan], [np.nan, 0.5], [np.nan, np.nan]]
    np.testing.assert_array_equal(estimates.of_track("clip", 0, FRAMES, TIMES), expected)
    np.testing.assert_array_equal(estimates.of_clip("anything", FRAMES), expected)


@pytest.mark.parametrize(
    "header, times",
    [
        ("time", ("0", "0.04", "0.08", "0.2")),
        ("Timestamp_ms", ("0", "40", "80", "200")),
        ("Video Time", ("00:00:00.000", "00:00:00.040", "00:00:00.080", "00:00:00.2")),
    ],
)
def test_times_are_read_in_several_units_and_gaps_are_not_bridged(tmp_path, header, times):
    rows = "".join(f"{time},{value},{-value}\n" for time, value in zip(times, (0.0, 0.2, 0.4, 0.6), strict=True))
    estimates = read_estimates(write(tmp_path, f"{header},Valence,Arousal\n{rows}"))
    values = estimates.of_track("clip", 0, FRAMES, TIMES)
    np.testing.assert_allclose(values[:, 0], [0.0, 0.2, 0.4, np.nan])


def test_sparse_rows_are_interpolated(tmp_path):
    estimates = read_estimates(write(tmp_path, "time,valence,arousal\n0,0,0\n0.12,0.3,0\n0.24,0.6,0\n"))
    np.testing.assert_allclose(estimates.of_track("clip", 0, FRAMES, TIMES)[:, 0], [0, 0.1, 0.2, 0.3])


def test_rows_belong_to_videos_and_tracks(tmp_path):
    text = "video,face_id,frame,valence,arousal\n" + "".join(
        f"{video},{track},0,{value},0\n"
        for video, track, value in (("a/x.mp4", 0, 0.1), ("a/x.mp4", 1, 0.2), ("y", 5, 0.3))
    )
    estimates = read_estimates(write(tmp_path, text))
    assert estimates.of_track("x", 1, FRAMES[:1], TIMES[:1])[0, 0] == 0.2
    assert np.isnan(estimates.of_track("x", 2, FRAMES[:1], TIMES[:1])).all()
    assert estimates.of_track("y", 0, FRAMES[:1], TIMES[:1])[0, 0] == 0.3  # the only face of its video
    with pytest.raises(DataError, match="no row for 'z'; its column video has"):
        estimates.of_track("z", 0, FRAMES, TIMES)


@pytest.mark.parametrize(
    "values, expected, rule",
    [
        (("-80", "40"), (-0.8, 0.4), "divided by 100"),
        (("1", "9"), (-1, 1), "scale from 1 to 9"),
        (("-1", "1"), (-1, 1), ""),
    ],
)
def test_known_scales_are_rescaled(tmp_path, caplog, values, expected, rule):
    caplog.set_level("INFO")
    text = "frame,valence,arousal\n" + "".join(f"{row},{value},0\n" for row, value in enumerate(values))
    estimates = read_estimates(write(tmp_path, text))
    np.testing.assert_allclose(estimates.of_clip("", FRAMES[:2])[:, 0], expected)
    assert rule in caplog.text and bool(rule) == bool(caplog.text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("frame,valence\n0,0\n", "no column arousal; rename one"),
        ("valence,arousal\n0,0\n", "no column frame or time"),
        ("frame,valence,arousal\n", "has no rows"),
        ("frame,valence,arousal\n0,x,0\n", "row 2: valence is 'x'; give a number"),
        ("frame,valence,arousal\n0,inf,0\n", "row 2: valence is 'inf'"),
        ("frame,valence,arousal\n,0,0\n", "row 2: has no frame"),
        ("time,valence,arousal\n-1,0,0\n", "row 2: has no time; give one, from 0 on"),
        ("frame,valence,arousal\n0,0,700\n", "arousal is from 700 to 700, on an unknown scale; rescale it"),
        ("frame,face,person,valence,arousal\n0,0,0,0,0\n", "columns 'face', 'person' may all be track"),
        ("frame,valence,arousal\n0,0,0,5\n", "cannot be read as CSV"),
    ],
)
def test_unusable_files_are_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_estimates(write(tmp_path, text))


def test_second_row_for_a_frame_is_refused(tmp_path):
    for name, values in (("frame", ("3", "3")), ("time", ("0.12", "0.12"))):
        text = f"{name},valence,arousal\n{values[0]},0,0\n{values[1]},0.1,0\n"
        with pytest.raises(DataError, match="row 3: a second row for .*; keep one of them, or add the columns"):
            read_estimates(write(tmp_path, text)).of_track("clip", 0, FRAMES, TIMES)
    with pytest.raises(DataError, match="gives times, but the clips of a data set have frame numbers"):
        read_estimates(write(tmp_path, "time,valence,arousal\n0,0,0\n")).of_clip("clip", FRAMES)


def test_frozen_estimates_are_removed():
    values = np.random.default_rng(0).normal(size=(40, 2))
    values[5:20] = values[5]  # 15 frames, 0.56 s
    values[30:34] = values[30]  # too short
    cleaned = without_frozen(values, np.arange(40) / 25)
    assert np.isnan(cleaned[6:20]).all()
    kept = np.r_[0:6, 20:40]
    np.testing.assert_array_equal(cleaned[kept], values[kept])
    np.testing.assert_array_equal(without_frozen(values[:1], np.zeros(1)), values[:1])
