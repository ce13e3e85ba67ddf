"""Per-frame estimates of another tool: columns, scales, videos, tracks, frames and times, and stopped estimators."""

import logging
import time

import numpy as np
import pandas as pd
import pytest

from datasets.annotations.estimates import read_estimates, without_frozen
from utils.base.errors import DataError
from utils.base.text import MAX_NAMES

FRAMES = np.arange(10)
TIMES = FRAMES / 25


@pytest.fixture
def estimates(tmp_path):
    """Function that writes a CSV and reads it."""

    def read(text, encoding="utf-8"):
        path = tmp_path / "estimates.csv"
        path.write_bytes(text.encode(encoding))
        return read_estimates(path)

    return read


@pytest.fixture
def refused(estimates, tmp_path):
    """Function that asserts that reading a CSV, and then a track, raises a DataError that names the file."""

    def read(message, text, video="clip.mp4", track=0, encoding="utf-8"):
        with pytest.raises(DataError, match=message) as error:
            estimates(text, encoding).of_track(video, track, FRAMES, TIMES)
        assert str(error.value).startswith(str(tmp_path / "estimates.csv"))

    return read


def track(of, video="clip.mp4", number=0, frames=FRAMES, times=TIMES):
    return of.of_track(video, number, frames, times)


# Columns


def test_estimates_by_frame(estimates):
    of = estimates("frame,valence,arousal\n3,0.5,-0.25\n1,1,-1\n99,0,0\n")
    expected = np.full((10, 2), np.nan)
    expected[[1, 3]] = [[1, -1], [0.5, -0.25]]
    np.testing.assert_array_equal(track(of), expected)
    np.testing.assert_array_equal(of.of_clip("clip.mp4", FRAMES), expected)


@pytest.mark.parametrize(
    "header", ["Frame, VALENCE ,Arousal", '"Frame";"valence";"arousal"', "frame\tValence:\t[arousal]"]
)
def test_case_punctuation_and_separator_do_not_matter(estimates, header):
    separator = max(",;\t", key=header.count)
    of = estimates(f"\ufeff{header}\r\n{separator.join(['2', '0.5', ' -0.5 '])}\r\n")
    assert track(of)[2].tolist() == [0.5, -0.5]


@pytest.mark.parametrize("column, cell", [("time", "0.08"), ("timestamp_ms", "80"), ("Time (s)", "8e-2")])
@pytest.mark.parametrize("clock", [False, True])
def test_names_of_the_time(estimates, column, cell, clock):
    if clock and column == "time":
        cell = "00:00:00.08"
    of = estimates(f"{column},valence,arousal\n{cell},0.5,-0.5\n")
    assert track(of)[2].tolist() == [0.5, -0.5]
    assert np.isnan(np.delete(track(of), 2, axis=0)).all()


def test_frames_take_precedence_over_times(estimates):
    assert track(estimates("time,frame,valence,arousal\n7,2,0.5,0\n"))[2].tolist() == [0.5, 0]


def test_missing_cells_are_frames_without_evidence(estimates):
    of = estimates("frame,valence,arousal\n0,,\n1,nan,NaN\n2,0.5,\n3,NA,0.5\n\n,,\n,\n")
    values = track(of)
    assert np.isnan(values[[0, 1, *range(4, 10)]]).all()
    np.testing.assert_array_equal(values[2:4], [[0.5, np.nan], [np.nan, 0.5]])


def test_py_feat(estimates):
    """Its rows have thousands of columns."""
    others = ",".join(f"x_{i}" for i in range(2000))
    zeros = "," * 1999
    header = f"FaceScore,{others},valence,arousal,input,frame,approx_time,Identity"
    rows = [f"1,{zeros},0.{i},-0.1,/videos/clip.mp4,{i},00:00,Person_0" for i in range(5)]
    of = estimates("\n".join([header, *rows]))
    np.testing.assert_allclose(track(of)[:5, 0], np.arange(5) / 10)


def test_face_reader(estimates):
    """Its log has lines before the header, times of the clock, and names of errors in place of values."""
    start = "Video analysis detailed log\n\nFilename:\tC:\\clip.mp4\nFrame rate:\t25\n\n"
    rows = (
        "00:00:00.000\t0.9\t0.5\t0.25\n00:00:00.040\tFIT_FAILED\tFIT_FAILED\tFIT_FAILED\n00:00:00.080\t0.9\t-0.5\t1\n"
    )
    values = track(estimates(f"{start}Video Time\tNeutral\tValence\tArousal\n{rows}"))
    np.testing.assert_array_equal(values[:3], [[0.5, 0.25], [np.nan, np.nan], [-0.5, 1]])


@pytest.mark.parametrize(
    "message, text",
    [
        ("column 'arousal' is missing.*'arousl'", "frame,valence,arousl\n0,0,0\n"),
        ("column 'valence' is missing", ""),
        ("neither a column 'frame' .*'Valence', 'Arousal'", "Valence,Arousal\n0,0\n"),
        ("'valence', 'Valence' both mean the valence", "frame,valence,Valence,arousal\n0,0,0,0\n"),
        ("header but no rows", "frame,valence,arousal\n"),
        ("column 'valence' has no number", "frame,valence,arousal\n0,,0\n"),
        ("row 2: 5 cells under 3 columns; a decimal comma", "frame,valence,arousal\n0,0,5,0,5\n"),
        ("row 3: 'valence' '0,5' has a decimal comma", "frame;valence;arousal\n0;0;0\n1;0,5;0\n"),
        ("row 3: 'Arousal' 'high' is not a finite number", "frame,valence,Arousal\n0,0,0\n1,0,high\n"),
        ("row 2: 'valence' 'inf' is not a finite number", "frame,valence,arousal\n0,inf,0\n"),
        ("row 4: 'frame' '1.5' is no number of a frame", "frame,valence,arousal\n\n0,0,0\n1.5,0,0\n"),
        ("row 2: 'frame' '-1' is no number of a frame", "frame,valence,arousal\n-1,0,0\n"),
        ("row 2: 'time' '-0.1' is no time in seconds", "time,valence,arousal\n-0.1,0,0\n"),
        ("row 2: 'time' '0:61:00' is not a finite number", "time,valence,arousal\n0:61:00,0,0\n"),
        ("row 3: has estimates but no frame", "frame,valence,arousal\n0,0,0\n,0.5,\n"),
        ("40 s apart; if the times are milliseconds", "time,valence,arousal\n0,0,0\n40,0,0\n80,0,0\n"),
        ("cannot be read as CSV", f"frame,valence,arousal\n0,0,{'0' * 200_000}\n"),
        ("longer than any header", "x" * 300_000),
    ],
)
def test_files_that_are_refused(refused, message, text):
    refused(message, text)


def test_other_encodings_are_refused(refused):
    refused("is not UTF-8 text", "frame,valence,arousal,video\n0,0,0,Jürgen\n", encoding="cp1252")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing.csv: no such file"):
        read_estimates(tmp_path / "nothing.csv")


# Scales


@pytest.mark.parametrize(
    "cells, expected, rule",
    [
        ([-1, 0, 1], [-1, 0, 1], None),
        ([0, 0.2, 0.4], [0, 0.2, 0.4], None),
        ([-1.0000001, 0, 1], [-1, 0, 1], None),
        ([-100, 5, 50], [-1, 0.05, 0.5], "divided by 100"),
        ([-2, 0, 50], [-0.02, 0, 0.5], "divided by 100"),
        ([1, 5, 9], [-1, 0, 1], r"\(x - 5\) / 4"),
        ([4, 4.5, 7], [-0.25, -0.125, 0.5], r"\(x - 5\) / 4"),
    ],
)
def test_scales(estimates, caplog, cells, expected, rule):
    caplog.set_level(logging.INFO)
    of = estimates("frame,valence,arousal\n" + "".join(f"{i},{cell},0.5\n" for i, cell in enumerate(cells)))
    np.testing.assert_allclose(track(of)[:3], np.column_stack([expected, [0.5] * 3]), atol=1e-12)
    messages = [record.message for record in caplog.records]
    assert len(messages) == (rule is not None)
    if rule:
        assert "column 'valence' runs from" in messages[0] and pd.Series(messages).str.contains(rule).all()


@pytest.mark.parametrize(
    "cells", [[-10, 10], [-1.2, 1], [0, 100], [0, 9], [-101, 0], [1, 9.1], [-1, 50], [-5, 5], [0.5, 1.5]]
)
def test_other_scales_are_refused_by_name(refused, cells):
    rows = "".join(f"{i},0,{cell}\n" for i, cell in enumerate(cells))
    refused(
        f"'Arousal' runs from {cells[0]:g} to {cells[1]:g}.*rescale it to -1 to 1", f"frame,valence,Arousal\n{rows}"
    )


# Videos


VIDEOS = "frame,valence,arousal,video\n0,0.1,0,my clip.mp4\n0,0.2,0,C:\\b\\other.mov\n0,0.3,0,001\n0,0.4,0,/a/s.1\n"


@pytest.mark.parametrize(
    "video, valence",
    [
        ("my clip.mp4", 0.1),
        ("my clip", 0.1),
        ("my_clip", 0.1),
        ("other", 0.2),
        ("001", 0.3),
        ("001.mp4", 0.3),
        ("s.1", 0.4),
    ],
)
def test_videos_are_found_with_and_without_extension(estimates, video, valence):
    of = estimates(VIDEOS)
    assert track(of, video)[0, 0] == of.of_clip(video, FRAMES)[0, 0] == valence


@pytest.mark.parametrize("video", ["new.mp4", "other.mp4", "s", "s.2", "1"])
def test_videos_without_rows_are_refused_with_those_present(refused, video):
    refused(f"no row for video '{video}', only for 'my clip.mp4', .*'001'", VIDEOS, video)


def test_the_list_of_videos_present_is_bounded(refused):
    rows = "".join(f"0,0,0,clip{i}\n" for i in range(5000))
    refused(f"'clip{MAX_NAMES - 1}' and 4990 more", f"frame,valence,arousal,clip\n{rows}", "new")


def test_a_name_may_not_mean_two_videos(estimates, refused):
    text = "frame,valence,arousal,video\n0,0.5,0,clip.mp4\n0,0.25,0,clip.avi\n"
    refused("'clip.mp4', 'clip.avi' may all mean video 'clip'", text, "clip")
    assert track(estimates(text), "clip.avi")[0, 0] == 0.25


def test_a_file_without_videos_belongs_to_one(estimates):
    of = estimates("frame,valence,arousal\n0,0.5,0\n")
    assert track(of, "a")[0, 0] == track(of, "a", number=1)[0, 0] == 0.5
    with pytest.raises(DataError, match="no column 'video'.*'a', 'b'"):
        track(of, "b")


def test_clips_of_a_data_set_need_frames(estimates):
    with pytest.raises(DataError, match="times, but the clips of a data set have none"):
        estimates("time,valence,arousal\n0,0,0\n").of_clip("001", FRAMES)


# Tracks


def test_tracks(estimates):
    of = estimates("frame,valence,arousal,track\n0,0.5,0,0\n0,-0.5,0,2.0\n1,0.25,0,0\n")
    assert track(of)[:2, 0].tolist() == [0.5, 0.25]
    assert track(of, number=2)[0, 0] == -0.5


def test_track_without_rows_has_no_evidence_and_is_logged(estimates, caplog):
    values = track(estimates("frame,valence,arousal,track\n0,0.5,0,0\n0,-0.5,0,2\n"), number=1)
    assert np.isnan(values).all()
    assert "no estimate for track 1 of video 'clip.mp4'" in caplog.text


def test_the_name_of_a_single_face_is_ignored(estimates):
    of = estimates("frame,valence,arousal,face_id\n0,0.5,0,17\n1,0.25,0,\n")
    assert track(of, number=3)[:2, 0].tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    "message, text",
    [
        ("rows 2 and 4: frame 1 of video 'clip.mp4' occurs twice; add a column 'track'", "\n1,0,0\n2,0,0\n1,0.5,0\n"),
        ("rows 2 and 3: frame 1 .* occurs twice; delete one", ",track\n1,0,0,0\n1,0,0,0\n2,0,0,1\n"),
        ("faces of video 'clip.mp4' are 'Ada', 'Bob', not numbers; .*one face", ",face\n1,0,0,Ada\n2,0,0,Bob\n"),
        ("row 4: does not say which face", ",track\n1,0,0,0\n2,0,0,1\n3,0,0,\n"),
    ],
)
def test_ambiguous_faces_are_refused(refused, message, text):
    refused(message, f"frame,valence,arousal{text}")


# Times


def by_time(times, valence):
    cells = ["" if np.isnan(value) else f"{value:.6f}" for value in valence]
    return "time,valence,arousal\n" + "".join(f"{t:.6f},{v},0\n" for t, v in zip(times, cells, strict=True))


def test_nearest_row_of_times_like_the_frames(estimates):
    values = track(estimates(by_time(TIMES + 0.015, FRAMES / 10)))
    np.testing.assert_allclose(values[:, 0], FRAMES / 10)


def test_a_frame_further_than_half_an_interval_from_any_row_has_no_evidence(estimates):
    values = track(estimates(by_time(np.delete(TIMES, [4, 5]), np.delete(FRAMES / 10, [4, 5]))))
    assert np.isnan(values[4:6]).all() and not np.isnan(np.delete(values, [4, 5], axis=0)).any()


def test_denser_rows_give_the_nearest(estimates):
    dense = np.arange(40) / 100
    np.testing.assert_allclose(track(estimates(by_time(dense, dense)))[:, 0], TIMES, atol=1e-9)


def test_sparser_rows_are_interpolated_but_not_over_gaps(estimates):
    """Rows every 0.1 s with one missing at 0.5 s, and one without estimate at 1.0 s."""
    rows = np.delete(np.arange(15), 5) / 10
    valence = np.where(np.isclose(rows, 1.0), np.nan, rows / 2)
    times = np.arange(40) / 25
    values = track(estimates(by_time(rows, valence)), frames=np.arange(40), times=times)[:, 0]
    gap = ((times > 0.42) & (times < 0.58)) | ((times > 0.92) & (times < 1.08)) | (times > 1.42)
    assert np.isnan(values[gap]).all()
    near_row = np.isnan(values) | (np.abs(values - times / 2) < 0.011)
    assert near_row.all() and not np.isnan(values[~gap]).any()
    np.testing.assert_allclose(values[times <= 0.4], times[times <= 0.4] / 2, atol=1e-6)


def test_frames_and_times_of_the_same_estimates_agree(estimates):
    valence = np.sin(np.arange(250) / 20)
    numbers, times = np.arange(250), np.arange(250) / 29.97
    header, cells = "valence,arousal\n", [f"{value!r},0\n" for value in valence.tolist()]
    by_frame = f"frame,{header}" + "".join(f"{number},{cell}" for number, cell in enumerate(cells))
    in_ms = f"time_ms,{header}" + "".join(f"{number / 0.02997:.0f},{cell}" for number, cell in enumerate(cells))
    for text in (by_frame, in_ms):
        values = track(estimates(text), frames=numbers, times=times)[:, 0]
        np.testing.assert_allclose(values, valence, rtol=0, atol=1e-15)


# Stopped estimators


def moving(count):
    return np.column_stack([np.arange(count), -np.arange(count)]) / 100


def test_a_frozen_run_keeps_its_first_frame():
    values, times = moving(40), np.arange(40) / 25
    values[10:25] = values[10]
    result = without_frozen(values, times)
    assert np.flatnonzero(np.isnan(result).any(axis=1)).tolist() == list(range(11, 25))
    assert not np.isnan(values).any()  # the argument is unchanged


@pytest.mark.parametrize("fps, length, frozen", [(25, 11, True), (25, 10, False), (10, 5, False), (10, 6, True)])
def test_a_run_is_frozen_by_its_seconds_and_frames(fps, length, frozen):
    values = moving(30)
    values[5 : 5 + length] = values[5]
    assert np.isnan(without_frozen(values, np.arange(30) / fps)).any() == frozen


def test_one_constant_axis_is_not_frozen():
    values = moving(40)
    values[:, 1] = 0.5
    np.testing.assert_array_equal(without_frozen(values, np.arange(40) / 25), values)


def test_a_run_ends_at_a_missing_frame_and_one_missing_axis_counts_as_constant():
    values = moving(40)
    values[:8] = values[9:18] = 0.5
    values[8] = np.nan
    assert np.isnan(without_frozen(values, np.arange(40) / 25)).all(axis=1).sum() == 1
    values = np.column_stack([np.full(40, 0.5), np.full(40, np.nan)])
    assert np.isnan(without_frozen(values, np.arange(40) / 25)[:, 0]).sum() == 39
    assert without_frozen(np.empty((0, 2)), np.empty(0)).shape == (0, 2)


# Speed


def test_300_000_rows_are_read_in_seconds(tmp_path):
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"frame": np.arange(300_000) % 3000, "video": np.arange(300_000) // 3000})
    table[["valence", "arousal"]] = generator.uniform(-1, 1, (300_000, 2)).round(6)
    table.to_csv(tmp_path / "large.csv", index=False)
    started = time.perf_counter()
    of = read_estimates(tmp_path / "large.csv")
    values = np.concatenate([of.of_clip(str(clip), np.arange(3000)) for clip in range(100)])
    assert time.perf_counter() - started < 10  # about 1 s; the limit allows for a busy machine
    np.testing.assert_allclose(values, table[["valence", "arousal"]])
