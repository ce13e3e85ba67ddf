"""Continuous ratings in CSV, CARMA, DARMA, PAGAN and NOVA files: what is read, and what raises which error."""

import numpy as np
import pytest
from test_annotations import TIMELINE, trace

from datasets.annotations.labels import read_labels
from datasets.annotations.ratings import read_rating
from utils.base.errors import DataError

CARMA = """Time of Rating,2026-01-01 10:00:00
Multimedia File,clip.mp4
Lower Label,very negative
Upper Label,very positive
Minimum Value,-100
Maximum Value,100
Number of Steps,9
Second,Rating
%%%%%%,%%%%%%
1,12.5
2,NaN
3,-100
"""

DARMA = """Time of Rating,2026-11-24 10:00:00,,
Multimedia File,clip.mp4,60.2,
Magnitude,1000,,
Second,Valence,Arousal,Button
%%%%%%,%%%%%%,%%%%%%,%%%%%%
0.5,120.5,-44.1,0
1,NaN,NaN,NaN
1.5,1000,-1000,1
"""

PAGAN = """OriginalName,DatabaseName,Participant,SessionID,Timestamp,VideoTime,Value
clip.mp4,x1.mp4,Ada,s1,2026-01-01 10:00:00,0,0
clip.mp4,x1.mp4,Ada,s1,2026-01-01 10:00:01,1000,50
clip.mp4,x1.mp4,Ada,s1,2026-01-01 10:00:01,1000,60
clip.mp4,x1.mp4,Ada,s1,2026-01-01 10:00:02,1001,70
clip.mp4,x1.mp4,Ada,s1,2026-01-01 10:00:03,3000,-100
"""

CSV = "time,valence,arousal\n0,0.5,-0.5\n0.5,,NaN\n1,-1,1\n"


@pytest.fixture
def file(tmp_path):
    def write(text, name="anna_valence.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def check(rating, rater, times, valence, arousal):
    assert rating.rater == rater
    np.testing.assert_allclose(rating.times, times, atol=1e-12)
    np.testing.assert_allclose(rating.values, np.stack([valence, arousal], axis=1), atol=1e-12)


NONE = [np.nan] * 3


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_carma_values_belong_to_the_middles_of_their_bins(file, encoding):
    text = CARMA.replace("clip.mp4", '"Jürgen, 1.mp4"')
    rating = read_rating(file(text, "clip.anna-Valence.csv", encoding))
    check(rating, "clip_anna", [0.5, 1.5, 2.5], [0.125, np.nan, -1], NONE)


def test_carma_axis_may_be_named_by_the_labels_of_the_scale(file):
    text = CARMA.replace("very positive", "high arousal").replace("Minimum Value,-100", "Minimum Value,-300")
    check(read_rating(file(text, "anna.csv")), "anna", [0.5, 1.5, 2.5], NONE, [0.5625, np.nan, 0])


def test_darma_values_are_divided_by_the_magnitude(file):
    rating = read_rating(file(DARMA, "anna.csv"))
    check(rating, "anna", [0.25, 0.75, 1.25], [0.1205, np.nan, 1], [-0.0441, np.nan, -1])
    swapped = file(DARMA.replace("Second,Valence,Arousal", "Second,Arousal,Valence"), "ben.csv")
    assert read_rating(swapped).values[0].tolist() == pytest.approx([-0.0441, 0.1205])


def test_pagan_values_hold_until_the_next_row(file):
    rating = read_rating(file(PAGAN, "clip_arousal_gtrace.csv"))
    times = [0, 0.999, 1, 1.001, 2.999, 3]
    check(rating, "Ada", times, [np.nan] * 6, [0, 0, 0.6, 0.7, 0.7, -1])
    binary = "".join(PAGAN.splitlines(keepends=True)[:2]) + "clip.mp4,x1.mp4,Ada,s1,t,500,-1\n"
    rating = read_rating(file(binary, "valence_Binary.csv"))
    check(rating, "Ada", [0, 0.499, 0.5], [0, 0, -1], NONE)


def test_csv_with_both_axes_or_one(file):
    check(read_rating(file(CSV, "anna.csv")), "anna", [0, 0.5, 1], [0.5, np.nan, -1], [-0.5, np.nan, 1])
    text = "arousal_rating;time;annotator\n0.5;0;Ben\n;0.5;Ben\n-1;1;Ben\n"
    check(read_rating(file(text)), "Ben", [0, 0.5, 1], NONE, [0.5, np.nan, -1])


def test_nova_rating_may_have_one_axis(tmp_path):
    path = trace(tmp_path, "arousal", ["0;1", "NaN;0", "1;1"], sr=2, min=0)
    check(read_rating(path), "Anna", [0, 0.5, 1], NONE, [-1, np.nan, 1])
    trace(tmp_path, "valence", ["0.5;1"], sr=2)
    check(read_rating(path), "Anna", [0, 0.5, 1], [0.5, np.nan, np.nan], [-1, np.nan, 1])


@pytest.mark.parametrize(
    "text, name, message",
    [
        (CARMA, "anna.csv", "does not say whether it rates valence or arousal; put one of the words"),
        (CARMA, "valence_arousal.csv", "does not say whether"),
        (CARMA.replace("Minimum Value,-100\n", ""), "valence.csv", "has no row 'Minimum value'"),
        (CARMA.replace("Minimum Value,-100", "Minimum Value,100"), "valence.csv", "runs from 100 to 100"),
        (CARMA.replace("12.5", "101"), "valence.csv", "row 10: Rating 101 is outside the scale .*-100 to 100"),
        (CARMA.replace("12.5", "much"), "valence.csv", "row 10: Rating 'much' is not a finite number"),
        (CARMA.replace("3,-100", "2,-100"), "valence.csv", "1.5 s follows 1.5 s; times must ascend"),
        (CARMA.replace("1,12.5", "0,12.5"), "valence.csv", "its first bin ends at 0 s"),
        (CARMA[: CARMA.index("1,12.5")], "valence.csv", "contains no rating"),
        (CARMA.replace("clip", "\x81\xe4"), "valence.csv", "is not UTF-8 text"),
        (DARMA.replace("Valence", "Dominance"), "anna.csv", "column 'valence' is missing"),
        (DARMA.replace("1000,-1000", "1001,0"), "anna.csv", "row 8: valence 1001 is outside the scale"),
        (DARMA.replace("Magnitude,1000,,", "Magnitude,,,"), "anna.csv", "is not a finite number"),
        (PAGAN, "valence.csv", "does not state its scale; put gtrace .* or binary"),
        (PAGAN, "valence_ranktrace.csv", "RankTrace has no scale, only an order"),
        (PAGAN, "gtrace.csv", "does not say whether"),
        (PAGAN, "valence_binary.csv", "row 3: Value 50 is outside"),
        (PAGAN.replace("Ada,s1,2026-01-01 10:00:03", "Ben,s1,"), "valence_gtrace.csv", "several .*'Ada', 'Ben'"),
        (PAGAN.replace("3000", "900"), "valence_gtrace.csv", "row 6: VideoTime goes back from 1.001 s to 0.9 s"),
        (PAGAN.replace("0,0\n", "-5,0\n"), "valence_gtrace.csv", "VideoTime goes back"),
        (PAGAN.replace("VideoTime", "Time"), "valence_gtrace.csv", "column 'videotime' is missing"),
        (CSV.replace("0.5,-0.5", "5,-0.5"), "anna.csv", "row 2: valence 5 .*divide all labels by 10"),
        (CSV.replace("valence,arousal", "joy,anger"), "anna.csv", "no column is named valence or arousal"),
        (CSV.replace("time", "frame"), "anna.csv", "column 'time' is missing"),
        (CSV.replace("valence,arousal", "valence_a,valence_b"), "anna.csv", "'valence_b' contain valence"),
        ("time,valence,annotator\n0,1,Ada\n1,1,Ben\n", "anna.csv", "ratings by 'Ada', 'Ben'"),
        (CSV.replace("1,-1,1", "0.5,1,1"), "anna.csv", "0.5 s follows 0.5 s"),
        (CSV.replace("0,0.5,-0.5", "-1,0.5,-0.5"), "anna.csv", "its first time is -1 s"),
        ("time,valence\n0,\n", "anna.csv", "contains no rating"),
        ("", "anna.csv", "column 'time' is missing"),
        ("<x/>", "anna.eaf", "holds labels of frames .ELAN. rather"),
        ("", "anna.txt", "ratings are read from .csv .CARMA.*NOVA"),
    ],
)
def test_ratings_are_refused(file, text, name, message):
    encoding = "latin-1" if "\x81" in text else "utf-8"
    path = file(text, name, encoding)
    with pytest.raises(DataError, match=message) as error:
        read_rating(path)
    assert str(path) in str(error.value)


def test_missing_ratings_are_refused(tmp_path):
    for name in ("anna.csv", "valence.annotation"):
        with pytest.raises(DataError, match="no such file"):
            read_rating(tmp_path / name)


@pytest.mark.parametrize("text, tool", [(CARMA, "CARMA"), (DARMA, "DARMA"), (PAGAN, "PAGAN")])
def test_ratings_are_no_labels_of_frames(file, text, tool):
    with pytest.raises(DataError, match=f"is a {tool} file, a continuous rating .*pass it by --ratings"):
        read_labels(file(text), TIMELINE)
