"""Labels in CSV, ELAN and NOVA files: what is read, what raises which error, and the export to ELAN and NOVA."""

import csv
import io
import random
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from datasets.annotations import csv_rows, elan_export, files, nova_samples
from datasets.annotations.cells import score_text
from datasets.annotations.elan_export import write_elan
from datasets.annotations.labels import read_labels
from datasets.annotations.nova_export import write_nova
from datasets.annotations.ratings import read_rating
from datasets.annotations.timeline import Timeline
from datasets.annotations.traces import split_traces
from utils.base.errors import DataError
from utils.base.text import safe_text

TIMELINE = Timeline.at_rate(count=100, fps=25.0)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def refused(message, path, timeline=TIMELINE, **arguments):
    """Assert that reading raises a DataError that names the folder and matches the message; return its text."""
    with pytest.raises(DataError, match=message) as error:
        read_labels(path, timeline, **arguments)
    assert str(path.parent) in str(error.value)
    return str(error.value)


@pytest.fixture
def csv_file(tmp_path):
    return lambda text, name="labels.csv", encoding="utf-8": write(tmp_path / name, text, encoding)


# Timeline


def test_nearest_frame_of_an_uneven_timeline():
    timeline = Timeline([3, 4, 8, 9], [0.0, 0.1, 0.5, 0.6])
    assert timeline.nearest([-1, 0.04, 0.05, 0.06, 0.31, 0.54, 9]).tolist() == [0, 0, 0, 1, 2, 2, 3]
    assert timeline.row_of_time(0.45, "", shown=True) == 1 and timeline.row_of_time(0.45, "") == 2
    assert Timeline([7], [0.0]).nearest(3.0) == 0


@pytest.mark.parametrize(
    "frames, times",
    [([], []), ([0, 1], [0.0]), ([1, 0], [0, 1]), ([0, 1], [1, 0]), ([0, 1], [0, np.nan]), ([0, 0], [0, 1])],
)
def test_invalid_timeline_is_refused(frames, times):
    with pytest.raises(DataError):
        Timeline(frames, times)


@pytest.mark.parametrize("fps", [0, -25, np.nan, np.inf])
def test_timeline_needs_a_positive_rate(fps):
    with pytest.raises(DataError, match="rate must be above 0"):
        Timeline.at_rate(10, fps)


# CSV: what is read


def test_csv_columns_types_and_order(csv_file):
    path = csv_file("frame,valence,arousal,annotator,track\n20,-0.5,1,Ada,2\n3,.25,-1e-1,,\n")
    labels = read_labels(path, TIMELINE)
    types = ["int64", "float32", "float32", "str", "Int64", "str", "str"]
    assert list(labels) == ["frame", "valence", "arousal", "annotator", "track", "where", "note"]
    assert [str(kind).replace("object", "str") for kind in labels.dtypes] == types
    assert labels["frame"].tolist() == [3, 20]
    assert labels["valence"].tolist() == [0.25, -0.5] and labels["arousal"].tolist() == [np.float32(-0.1), 1]
    assert labels["annotator"].tolist() == ["", "Ada"]
    assert labels["track"].isna().tolist() == [True, False] and labels["track"][1] == 2
    assert labels["where"].tolist() == [f"{path} row 3", f"{path} row 2"]


def test_csv_time_means_the_nearest_frame(csv_file):
    path = csv_file("time,valence,arousal\n0,0,0\n0.055,0,0\n0.11,0,0\n3.99,0,0\n")
    assert read_labels(path, TIMELINE)["frame"].tolist() == [0, 1, 3, 99]


def test_csv_frame_numbers_need_not_start_at_0(csv_file):
    timeline = Timeline([2, 10, 100], [0.0, 0.04, 0.08])
    path = csv_file("frame,valence,arousal\n100,0,0\n10,0,0\n2,0,0\n")
    assert read_labels(path, timeline)["frame"].tolist() == [2, 10, 100]


@pytest.mark.parametrize(
    "text",
    [
        "frame;valence;arousal\n5;0.5;-0.5\n",
        "frame\tvalence\tarousal\n5\t0.5\t-0.5\n",
        "\ufeffframe,valence,arousal\r\n5,0.5,-0.5\r\n",
        ' Frame , VALENCE ,Arousal, note\n5.0, 0.5 ,-0.5,"a, b"\n',
        '"frame","valence","arousal"\n"5","0.5","-0.5"\n\n,,\n',
        "arousal,valence,time,frame\n-0.5,0.5,0.2,5\n",
        "frame,time,valence,arousal\n5,0.219,0.5,-0.5\n",
        "frame,time,valence,arousal\n,0.2,0.5,-0.5\n",
        "frame,valence,arousal,,\n5,0.5,-0.5,,\n",
    ],
)
def test_csv_dialects(csv_file, text):
    labels = read_labels(csv_file(text, "labels.TSV"), TIMELINE)
    assert labels[["frame", "valence", "arousal"]].values.tolist() == [[5, 0.5, -0.5]]


def test_csv_template_may_be_half_filled(csv_file):
    path = csv_file("frame,valence,arousal\n0,,\n1,0.5,0.5\n2, , \n9999,,\n3\n")
    assert read_labels(path, TIMELINE)["frame"].tolist() == [1]


def test_two_annotators_or_tracks_may_label_one_frame(csv_file):
    path = csv_file("frame,valence,arousal,annotator,track\n1,0,0,a,\n1,0,0,b,\n1,0,0,a,1\n1,0,0,a,2\n")
    assert len(read_labels(path, TIMELINE)) == 4


# CSV: what is refused

HEADER = "frame,valence,arousal\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty or lacks its header"),
        ("\n1,0,0\n", "column .valence. is missing: add it; its columns are .1., .0., .0."),
        (HEADER, "no rows; add a row"),
        (HEADER + "1,,\n", "contains no label; fill in"),
        (HEADER + "0,0,0\n1,1.5,0\n", r"row 3: valence 1.5 is outside \[-1, 1\]; correct it"),
        (HEADER + "1,0,-3\n", "row 2: arousal -3 .*AFEW-VA's scale.*divide all labels by 10"),
        (HEADER + "1,0,-30\n", "arousal -30 is outside .*correct it"),
        (HEADER + "1,nan,0\n", "row 2: valence 'nan' is not a finite number"),
        (HEADER + "1,0,inf\n", "row 2: arousal 'inf' is not a finite"),
        (HEADER + "1,0,1e999\n", "row 2: arousal '1e999' is not a finite"),
        (HEADER + "1,0,high\n", "row 2: arousal 'high' is not a finite"),
        (HEADER + "1,0,1_0\n", "row 2: arousal '1_0' is not a finite"),
        (HEADER + "1,0,\u0661\n", "is not a finite number"),
        (HEADER + '1,"0,5",0\n', r"row 2: valence '0,5' has a decimal comma; write '0\.5'"),
        ("frame;valence;arousal\n1;0,5;-0,5\n", r"row 2: valence '0,5' has a decimal comma"),
        (HEADER + "1,0,5,0,5\n", "row 2: 5 cells under 3 columns; a decimal comma"),
        (HEADER + "1,0.5,\n", "row 2: valence has no arousal beside it; give both, or neither"),
        (HEADER + "1\n2,,0.5\n", "row 3: arousal has no valence beside it"),
        (HEADER + "100,0,0\n", "row 2: frame 100 is beyond the end, the last frame is 99"),
        (HEADER + "1e300,0,0\n", "beyond the end, the last frame is 99"),
        (HEADER + "-1,0,0\n", "row 2: frame -1 is negative"),
        (HEADER + "1.5,0,0\n", "row 2: frame 1.5 is not a whole number"),
        (HEADER + ",0,0\n", "row 2: has labels but neither frame nor time"),
        (
            HEADER + "1,0,0\n1,0,0.5\n",
            r"row 3: frame 1 already has a label by one annotator, .*labels.csv row 2; delete",
        ),
        ("time,valence,arousal\n4.01,0,0\n", r"row 2: time 4.01 s is beyond the end, the last frame is 99 at 3.960 s"),
        ("time,valence,arousal\n-0.1,0,0\n", "row 2: time -0.1 s is negative"),
        ("time,valence,arousal\n0.19,0,0\n0.21,0,0\n", "frame 5 already has a label"),
        ("time,valence,arousal\n00:01,0,0\n", "time '00:01' is not a finite number"),
        ("frame,time,valence,arousal\n5,0.23,0,0\n", "row 2: frame 5 is at 0.200 s, not at 0.23 s; correct one"),
        ("frame,time,valence,arousal\n500,0.2,0,0\n", "frame 500 is beyond the end"),
        ("frame,valence,arousal,annotator\n1,0,0,Ada\n1,0,0,Ada\n", "by annotator 'Ada'"),
        ("frame,valence,arousal,track\n1,0,0,left\n", "row 2: track 'left' is not"),
        ("frame,valence,arousal,track\n1,0,0,-1\n", "row 2: track '-1' is no track number"),
        ("frame,valence,arousal,track\n1,0,0,1e300\n", "row 2: track '1e300' is no track number"),
        ("frame,valence,arousal,track\n1,0,0,0.5\n", "row 2: track 0.5 is not a whole number"),
        ("frame,valance,arousal\n1,0,0\n", "column 'valence' is missing: rename its column 'valance'"),
        ("frame,valence\n1,0\n", "column 'arousal' is missing: add it"),
        ("frames,valence,arousal\n1,0,0\n", "neither a column 'frame' nor 'time' .*rename its column 'frames'"),
        ("x,valence,arousal\n1,0,0\n", "neither a column 'frame' nor 'time' .*its columns are 'x', 'valence'"),
        ("frame,valence,arousal,Valence\n1,0,0,1\n", "column 'valence' occurs twice"),
        ('frame,valence,arousal\n1,0,"' + "0" * 200_000 + '"\n', "cannot be read as CSV"),
        ("frame" + "," * 500_000 + "valence,arousal\n", "more than 200 columns"),
        (HEADER + "1,0," + "1" * 100_000 + "x\n", "is not a finite number"),
    ],
)
def test_csv_is_refused(csv_file, text, message):
    assert len(refused(message, csv_file(text))) < 1000


def test_label_of_a_frame_that_the_video_does_not_have(csv_file):
    refused("no frame 5, the next one is 10", csv_file(HEADER + "5,0,0\n"), Timeline([2, 10], [0, 1]))


@pytest.mark.parametrize("encoding, text", [("utf-16", HEADER + "1,0,0\n"), ("latin-1", HEADER + "1,0,0\nä,,\n")])
def test_unreadable_encoding(csv_file, encoding, text):
    refused("not UTF-8 text .*save it as CSV in UTF-8", csv_file(text, encoding=encoding))


def test_missing_unknown_and_large_files_are_refused(tmp_path, monkeypatch):
    refused("no such file", tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    refused("no such file", tmp_path / "folder.csv")
    refused("labels are read from .csv", write(tmp_path / "labels.xlsx", ""))
    monkeypatch.setattr(csv_rows, "MAX_ROWS", 3)
    refused("more than 3 rows; split it", write(tmp_path / "long.csv", HEADER + ",,\n" * 4))
    monkeypatch.setattr(files, "MAX_TEXT_BYTES", 10)
    refused("larger than", write(tmp_path / "large.csv", HEADER))


# ELAN


def elan(tiers, header="", root="ANNOTATION_DOCUMENT", extra=""):
    """The XML of an .eaf; ``tiers`` maps names to annotations [(start ms, end ms, value), …]."""
    slots, body = [], []
    for name, marks in tiers.items():
        entries = []
        for start, end, value in marks:
            slots += [start, end]
            entries.append(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{name}{len(entries)}" TIME_SLOT_REF1='
                f'"s{len(slots) - 2}" TIME_SLOT_REF2="s{len(slots) - 1}"><ANNOTATION_VALUE>{value}'
                "</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        body.append(f'<TIER TIER_ID="{name}" LINGUISTIC_TYPE_REF="default-lt">{"".join(entries)}</TIER>')
    order = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="s{i}"' + (f' TIME_VALUE="{time}"' if time is not None else "") + "/>"
        for i, time in enumerate(slots)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><{root}><HEADER TIME_UNITS="milliseconds">{header}</HEADER>'
        f"<TIME_ORDER>{order}</TIME_ORDER>{''.join(body)}{extra}</{root}>"
    )


@pytest.fixture
def eaf(tmp_path):
    return lambda *arguments, **others: write(tmp_path / "labels.eaf", elan(*arguments, **others))


def test_elan_label_belongs_to_the_frame_at_the_middle_of_the_annotation(eaf):
    path = eaf(
        {
            "Valence": [(0, 40, " 0.5 "), (400, 500, -1)],
            "AROUSAL": [(400, 500, 0), (0, 40, 1)],
            "words": [(0, 1000, "hello")],
        }
    )
    labels = read_labels(path, TIMELINE)
    assert labels[["frame", "valence", "arousal"]].values.tolist() == [[0, 0.5, 1], [11, -1, 0]]
    assert labels["annotator"].tolist() == ["", ""] and labels["track"].isna().all()
    assert labels["where"][0] == f"{path} tier 'Valence', annotation 'Valence0'"


def test_elan_tiers_of_annotators_and_tracks(eaf):
    mark = [(0, 40, 0)]
    path = eaf({f"{name}_{axis}": mark for name in ("track3", "Anna") for axis in ("valence", "arousal")})
    labels = read_labels(path, TIMELINE)
    assert labels["annotator"].tolist() == ["", "Anna"]
    assert labels["track"].isna().tolist() == [False, True] and labels["track"][0] == 3
    assert read_labels(path, TIMELINE, tier="anna_")["annotator"].tolist() == ["Anna"]
    refused("no tier is named valence or arousal with 'Ben' before it.*'track3_valence'", path, tier="Ben")


def test_elan_tier_may_name_track_and_annotator(eaf):
    path = eaf({f"track3_Anna B_{axis}": [(0, 40, 0)] for axis in ("valence", "arousal")})
    labels = read_labels(path, TIMELINE)
    assert labels["track"].tolist() == [3] and labels["annotator"].tolist() == ["Anna B"]


def test_elan_template_may_be_half_filled(eaf):
    marks = [(0, 40, ""), (40, 80, 0.5)]
    assert read_labels(eaf({"valence": marks, "arousal": marks}), TIMELINE)["frame"].tolist() == [1]


def test_elan_dependent_annotations_have_the_time_of_their_parent(tmp_path):
    def child(axis, of):
        return (
            f'<TIER TIER_ID="{axis}"><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{axis}0" ANNOTATION_REF="{of}">'
            "<ANNOTATION_VALUE>0.5</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>"
        )

    extra = child("valence", "parent0") + child("arousal", "valence0")
    path = write(tmp_path / "labels.eaf", elan({"parent": [(80, 120, "")]}, extra=extra))
    assert read_labels(path, TIMELINE)["frame"].tolist() == [2]
    circle = child("valence", "arousal0") + child("arousal", "valence0")
    refused("refers to an annotation that is not there", write(path, elan({}, extra=circle)))


@pytest.mark.parametrize(
    "tiers, message",
    [
        ({}, "no tier is named valence or arousal; rename tiers, they are: none"),
        ({"mood": [(0, 40, 1)]}, "rename tiers, they are: 'mood'"),
        ({"valence": [], "arousal": []}, "contains no label"),
        ({"valence": [(0, 40, 1)]}, r"tier 'valence', annotation 'valence0' \(frame 0\): valence has no arousal"),
        ({"valence": [(0, 40, 1)], "arousal": [(40, 80, 1)]}, "has no"),
        ({"valence": [(0, 40, 5)], "arousal": [(0, 40, 1)]}, "valence 5 .*divide all labels by 10"),
        ({"valence": [(0, 40, "0,5")], "arousal": [(0, 40, 1)]}, "decimal comma"),
        ({"valence": [(0, 40, 1), (0, 60, 1)], "arousal": [(0, 40, 1)]}, "falls on frame 0, which has its valence"),
        ({"valence": [(4000, 4100, 1)], "arousal": [(4000, 4100, 1)]}, "time 4.05 s is beyond the end"),
        ({"valence": [(None, 40, 1)], "arousal": [(0, 40, 1)]}, "has no time; align it in ELAN"),
        ({"valence": [(40, 0, 1)], "arousal": [(0, 40, 1)]}, "ends at 0 s, before it starts at 0.04 s"),
        ({"valence": [("soon", 40, 1)], "arousal": [(0, 40, 1)]}, "time 'soon' is not a finite number"),
        ({"a_valence": [(0, 40, 1)], "A-valence": [(0, 40, 1)]}, "tier 'A-valence' occurs twice"),
    ],
)
def test_elan_is_refused(eaf, tiers, message):
    refused(message, eaf(tiers))


def test_elan_times_must_be_milliseconds(tmp_path):
    marks = {"valence": [(0, 40, 1)], "arousal": [(0, 40, 1)]}
    frames = elan(marks).replace("milliseconds", "PAL-frames")
    refused("times are in 'PAL-frames', not milliseconds", write(tmp_path / "pal.eaf", frames))


def test_elan_time_origin_is_the_time_of_the_video_at_time_0(eaf):
    marks = {"valence": [(0, 40, 1)], "arousal": [(0, 40, 1)]}
    path = eaf(marks, header='<MEDIA_DESCRIPTOR TIME_ORIGIN="400"/><MEDIA_DESCRIPTOR TIME_ORIGIN="999"/>')
    assert read_labels(path, TIMELINE)["frame"].tolist() == [10]
    refused("time -0.48 s is negative", eaf(marks, header='<MEDIA_DESCRIPTOR TIME_ORIGIN="-500"/>'))
    refused("TIME_ORIGIN 'soon' is not a finite", eaf(marks, header='<MEDIA_DESCRIPTOR TIME_ORIGIN="soon"/>'))


def test_elan_interval_is_one_label_of_its_middle_frame(eaf):
    path = eaf({axis: [(400, 1400, 0.5), (1400, 1440, 0)] for axis in ("valence", "arousal")})
    labels = read_labels(path, TIMELINE)
    assert labels["frame"].tolist() == [22, 35] and labels["note"].tolist() == ["frames 10 to 34", ""]


def test_elan_time_slots_without_time_divide_their_span_evenly(tmp_path):
    """Annotations that subdivide 0 to 400 ms into four, of which only the second border has a time."""
    for inner in [(None, 200, None), (None, None, None)]:
        slots = [0, *inner, 400]
        order = "".join(
            f'<TIME_SLOT TIME_SLOT_ID="s{i}"' + (f' TIME_VALUE="{time}"' if time is not None else "") + "/>"
            for i, time in enumerate(slots)
        )
        tiers = "".join(
            f'<TIER TIER_ID="{axis}">'
            + "".join(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{axis}{i}" TIME_SLOT_REF1="s{i}" '
                f'TIME_SLOT_REF2="s{i + 1}"><ANNOTATION_VALUE>{i / 10}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>'
                "</ANNOTATION>"
                for i in range(4)
            )
            + "</TIER>"
            for axis in ("valence", "arousal")
        )
        text = f"<ANNOTATION_DOCUMENT><HEADER/><TIME_ORDER>{order}</TIME_ORDER>{tiers}</ANNOTATION_DOCUMENT>"
        labels = read_labels(write(tmp_path / "labels.eaf", text), TIMELINE)
        assert labels["frame"].tolist() == [1, 3, 6, 8]
        assert labels["valence"].tolist() == np.float32([0, 0.1, 0.2, 0.3]).tolist()
    circle = text.replace('TIME_SLOT_REF2="s4"', 'TIME_SLOT_REF2="s1"')
    refused("has no time; align it in ELAN", write(tmp_path / "labels.eaf", circle))


# NOVA


def trace(folder, axis, lines, stem="clip", **scheme):
    """Write the NOVA annotation of one axis; ``lines`` are the lines of its samples, ``scheme`` replaces attributes."""
    scheme = {
        "name": axis,
        "type": "CONTINUOUS",
        "sr": 25,
        "min": -1,
        "max": 1,
        "size": len(lines),
        "ftype": "ASCII",
    } | scheme
    size, ftype = scheme.pop("size"), scheme.pop("ftype")
    attributes = " ".join(f'{key}="{value}"' for key, value in scheme.items() if value is not None)
    path = folder / f"{stem}.{axis}.annotation"
    write(
        path,
        f'<?xml version="1.0" ?><annotation ssi-v="3"><info ftype="{ftype}" size="{size}" />'
        f'<meta annotator="Anna" role="" /><scheme {attributes} /></annotation>',
    )
    write(path.with_name(path.name + "~"), "".join(f"{line}\n" for line in lines))
    return path


def test_nova_labels_can_be_read_from_any_of_the_four_files(tmp_path):
    valence = trace(tmp_path, "valence", ["0.5;1", "NAN;1", "-0.25;0.5", "0;0"], stem="valence.track2")
    arousal = trace(tmp_path, "arousal", ["1;1", "nan", "-1", "0;0"], stem="valence.track2")
    for path in valence, arousal, arousal.with_name(arousal.name + "~"):
        labels = read_labels(path, TIMELINE)
        assert labels[["frame", "valence", "arousal"]].values.tolist() == [[0, 0.5, 1], [2, -0.25, -1]]
        assert labels["annotator"].tolist() == ["Anna"] * 2 and labels["track"].tolist() == [2, 2]
        assert labels["where"][1].endswith("line 3")


@pytest.mark.parametrize("rate, frames, values", [(5, [0, 5, 10], [0, 0.1, 0.2]), (75, [0, 1], [0, 0.3])])
def test_nova_rate_may_differ_from_that_of_the_video(tmp_path, rate, frames, values):
    lines = [f"{i / 10};1" for i in range(3 if rate < 25 else 5)]
    path = trace(tmp_path, "valence", lines, sr=rate)
    trace(tmp_path, "arousal", lines, sr=rate)
    labels = read_labels(path, TIMELINE)
    assert labels["frame"].tolist() == frames
    assert labels["valence"].tolist() == np.float32(values).tolist()


@pytest.mark.parametrize(
    "lines, scheme, message",
    [
        (["0;1"], {"type": "DISCRETE"}, "no continuous scheme"),
        (["0;1"], {"name": "joy"}, "its scheme is 'joy', not valence"),
        (["0;1"], {"min": 1}, "scheme: its scale runs from 1 to 1; the minimum must be lower"),
        (["0;1"], {"max": "inf"}, "scheme: maximum 'inf' is not a finite number"),
        (["5;1"], {"min": 0, "max": 4}, "line 1: valence 5 is outside the scale of the file, 0 to 4; correct it"),
        (["0;1"], {"sr": None}, "scheme: sr '' is not a finite number"),
        (["0;1"], {"sr": 0}, "0 samples a second"),
        (["0;1"], {"sr": 50}, "valence has 50 samples a second, arousal 25"),
        (["0;1"], {"size": 7}, "has 1 samples where clip.valence.annotation says '7'"),
        (["0;1"], {"ftype": "BINARY"}, "its 4 bytes are no whole number of 8-byte samples"),
        (["0;1"], {"ftype": "JPEG"}, "samples are 'JPEG'; save it as ASCII or BINARY"),
        (["0,5;1"], {}, "line 1: valence '0,5' has a decimal comma"),
        (["x;1"], {}, "line 1: valence 'x' is not"),
        ([";1"], {}, "line 1: has no score"),
        (["0;sure"], {}, "line 1: confidence 'sure' is not"),
        (["3;1"], {}, "valence 3 .*divide all labels by 10"),
        (["0;1", "0;1"], {}, "line 2: valence has no arousal"),
        (["NAN;1"], {}, "line 1: arousal has no valence"),
    ],
)
def test_nova_is_refused(tmp_path, lines, scheme, message):
    trace(tmp_path, "arousal", ["0;1"])
    refused(message, trace(tmp_path, "valence", lines, **scheme))


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_nova_headers_as_nova_writes_them(tmp_path, encoding):
    """NOVA declares no encoding and escapes nothing: `Jürgen`, `A & B` and `<` occur as they are."""
    for axis in "valence", "arousal":
        path = trace(tmp_path, axis, ["0.5;1", "NaN;0"])
        header = path.read_text().replace('<?xml version="1.0" ?>', "").replace("Anna", "Jürgen & <b> &amp; C")
        path.write_bytes(header.encode(encoding))
    labels = read_labels(tmp_path / "clip.valence.annotation", TIMELINE)
    assert labels["annotator"].tolist() == ["Jürgen & <b> & C"] and labels["valence"].tolist() == [0.5]


def test_nova_samples_are_bounded(tmp_path, monkeypatch):
    trace(tmp_path, "arousal", ["0;1"] * 3)
    monkeypatch.setattr(nova_samples, "MAX_ROWS", 2)
    refused("more than 2 samples", trace(tmp_path, "valence", ["0;1"] * 3))


def test_nova_headers_of_other_encodings_are_refused(tmp_path):
    trace(tmp_path, "arousal", ["0;1"])
    path = trace(tmp_path, "valence", ["0;1"])
    header = path.read_bytes().replace(b"Anna", b"\x81\xe4")
    path.write_bytes(header)
    refused("neither UTF-8 nor Windows-1252", path)
    path.write_bytes(header.replace(b'version="1.0"', b'version="1.0" encoding="UTF-8"'))
    refused("no intact XML", path)


def test_nova_binary_samples(tmp_path):
    for axis, scores in ("valence", [0.1, np.nan, -1, 0.3]), ("arousal", [1, np.nan, 0.7, 0.4]):
        path = trace(tmp_path, axis, [""] * 4, ftype="BINARY")
        samples = np.array([*((score, 1) for score in scores[:3]), (scores[3], 0)], "<f4,<f4")
        path.with_name(path.name + "~").write_bytes(samples.tobytes())
    labels = read_labels(path, TIMELINE)
    assert labels["frame"].tolist() == [0, 2] and labels["where"][1].endswith("line 3")
    assert labels["valence"].tolist() == np.float32([0.1, -1]).tolist()
    assert labels["arousal"].tolist() == np.float32([1, 0.7]).tolist()
    path.with_name(path.name + "~").write_bytes(np.array([(np.inf, 1)] * 4, "<f4,<f4").tobytes())
    refused("sample 1: arousal is not finite", path)


@pytest.mark.parametrize("low, high, scores, expected", [(0, 1, [0, 0.75], [-1, 0.5]), (-50, 150, [50, 150], [0, 1])])
def test_nova_other_scales_are_rescaled(tmp_path, low, high, scores, expected):
    for axis in "valence", "arousal":
        path = trace(tmp_path, axis, [f"{score};1" for score in scores], min=low, max=high)
    assert read_labels(path, TIMELINE)["valence"].tolist() == expected


def test_nova_incomplete_annotations_are_refused(tmp_path):
    valence_only = trace(tmp_path, "valence", ["0;1"])
    refused("arousal.annotation: no such file", valence_only)
    refused("name contains neither", write(tmp_path / "mood.annotation", ""))
    for axis in "valence", "arousal":
        trace(tmp_path, axis, ["NAN;1"] * 3, stem="none")
        trace(tmp_path, axis, ["NAN;1"] * 101 + ["0;1"], stem="long")
    refused("contains no label", tmp_path / "none.valence.annotation")
    refused("line 102: time 4.04 s is beyond the end", tmp_path / "long.valence.annotation")
    (tmp_path / "long.valence.annotation~").unlink()
    refused("no such file", tmp_path / "long.valence.annotation")


# Untrusted XML

LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY c SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("document_type", [LAUGHS, EXTERNAL, '<!DOCTYPE x SYSTEM "http://localhost/x.dtd">'])
@pytest.mark.parametrize("ending, root", [("eaf", "ANNOTATION_DOCUMENT"), ("annotation", "annotation")])
def test_document_types_and_entities_are_refused(tmp_path, document_type, ending, root):
    for axis in "valence", "arousal":
        path = write(tmp_path / f"{axis}.{ending}", f'<?xml version="1.0"?>{document_type}<{root}>&c;</{root}>')
    assert "root:" not in refused("declares a document type or entities", path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no intact XML"),
        ("<ANNOTATION_DOCUMENT>", "no intact XML"),
        ("<ANNOTATION_DOCUMENT>&unknown;</ANNOTATION_DOCUMENT>", "no intact XML"),
        ('<?xml version="1.0" encoding="klingon"?><ANNOTATION_DOCUMENT/>', "no intact XML"),
        ('<?xml version="1.0" encoding="euc-jp"?><ANNOTATION_DOCUMENT/>', "no intact XML"),
        ("<annotation/>", "root is 'annotation', not 'ANNOTATION_DOCUMENT'"),
        ("<a>" * 100_000, "nested or long beyond any annotation"),
    ],
)
def test_broken_xml_is_refused(tmp_path, text, message):
    refused(message, write(tmp_path / "labels.eaf", text))


def test_xml_is_bounded(eaf, monkeypatch):
    path = eaf({"valence": [(0, 40, 1)] * 20})
    monkeypatch.setattr(files, "MAX_XML_ELEMENTS", 50)
    refused("nested or long", path)
    monkeypatch.setattr(files, "MAX_XML_BYTES", 50)
    refused("larger than", path)


def test_damaged_files_raise_no_other_error(tmp_path, eaf):
    """After random changes to the bytes of valid files, reading gives a table or a DataError."""
    marks = [(40 * i, 40 * i + 40, i / 10) for i in range(4)]
    eaf({"valence": marks, "arousal": marks})
    write(tmp_path / "labels.csv", "frame,time,valence,arousal,annotator,track\n0,0,0.5,0.5,a,1\n5,0.2,-0.5,1,b,\n")
    for axis in "valence", "arousal":
        trace(tmp_path, axis, ["0.5;1", "NAN;0", "-1;0.5"])
    rng = random.Random(0)
    for name in ("labels.eaf", "labels.csv", "clip.valence.annotation", "clip.valence.annotation~"):
        good = (tmp_path / name).read_bytes()
        for _ in range(200):
            bad = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                bad[rng.randrange(len(bad))] = rng.choice(b'\0\xff<>&";,.\n-19eE' + good)
            (tmp_path / name).write_bytes(bad[: rng.choice([None, rng.randrange(len(bad))])])
            try:
                assert read_labels(tmp_path / name, TIMELINE)["valence"].between(-1, 1).all()
            except DataError:
                pass
        (tmp_path / name).write_bytes(good)


# Exports


def table(frames=12, fps=25.0, tracks=(0, 3)):
    """Labels as the labelling script writes them: no face in frames 4 and 5, and track 3 begins at frame 6."""
    rng = np.random.default_rng(0)
    rows = []
    for frame in range(frames):
        present = [track for track in tracks if frame not in (4, 5) and (track != 3 or frame >= 6)]
        for track in present or [np.nan]:
            scores = rng.uniform(-1, 1, 2).astype(np.float32) if present else (np.nan, np.nan)
            rows.append((frame, frame / fps, track, *scores))
    return pd.DataFrame(rows, columns=["frame", "time", "track", "valence", "arousal"])


def assert_same_labels(read, written):
    """Assert that the labels read are exactly the rows of the table that have labels."""
    written = written.dropna(subset="valence").sort_values(["track", "frame"])
    read = read.sort_values(["track", "frame"])
    assert read["frame"].tolist() == written["frame"].tolist()
    assert read["track"].tolist() == written["track"].astype(int).tolist()
    for axis in "valence", "arousal":
        assert read[axis].tolist() == written[axis].astype(np.float32).tolist()


NO_LABELS = pd.DataFrame(columns=["track", "frame", "annotator", "valence", "arousal"])


def given_labels(written):
    """The even frames of the table as labels of two annotators."""
    rows = written[written["valence"].notna() & (written["frame"] % 2 == 0)]
    return rows.assign(track=rows["track"].astype(int), annotator=np.where(rows["frame"] % 4 == 0, "Ada", ""))


@pytest.mark.parametrize("fps", [25.0, 30000 / 1001, 12.5, 240.0])
def test_elan_export_is_read_back_unchanged(tmp_path, fps):
    written, timeline = table(fps=fps), Timeline.at_rate(12, fps)
    labels = given_labels(written)
    paths = write_elan(tmp_path / "out.eaf", written, labels, tmp_path / "clip.mp4")
    names = ["out.eaf", "out_tsconf.xml", "out_track0_trace.csv", "out_track3_trace.csv"]
    assert [path.name for path in paths] == names
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    read = read_labels(paths[0], timeline)
    assert_same_labels(read, labels)
    order = labels.sort_values(["frame", "track"])
    assert read.sort_values(["frame", "track"])["annotator"].tolist() == order["annotator"].tolist()
    assert (read["note"] == "").all()
    for track, path in zip((0, 3), paths[2:], strict=True):
        trace = written[written["track"] == track].dropna(subset="valence")
        for read in (
            read_labels(path, timeline),
            pd.DataFrame(read_rating(path).values, columns=["valence", "arousal"]),
        ):
            for axis in "valence", "arousal":
                assert read[axis].astype(np.float32).tolist() == trace[axis].astype(np.float32).tolist()
        assert read_labels(path, timeline)["frame"].tolist() == trace["frame"].tolist()
        assert set(read_labels(path, timeline)["track"]) == {track}


def test_elan_export_can_be_read_by_pympi(tmp_path):
    import pympi

    written = table()
    video = tmp_path / "films" / "clip & <1>.mp4"
    labels = given_labels(written).assign(annotator="Ö & <b>\0")
    write_elan(tmp_path / "out.eaf", written, labels, video)
    document = pympi.Eaf(str(tmp_path / "out.eaf"))
    names = [f"track{track}_Ö & <b>\ufffd_{axis}" for track in (0, 3) for axis in ("valence", "arousal")]
    assert list(document.get_tier_names()) == names and document.adocument["FORMAT"] == "3.0"
    assert document.get_parameters_for_tier(names[0])["ANNOTATOR"] == "Ö & <b>\ufffd"
    for name in names:
        track, axis = name[5], name.split("_")[-1]
        marks = sorted(document.get_annotation_data_for_tier(name))
        rows = labels[labels["track"] == int(track)]
        assert [start for start, _, _ in marks] == (rows["frame"] * 40).tolist()
        assert [np.float32(value) for _, _, value in marks] == rows[axis].astype(np.float32).tolist()
        assert all(end <= start for (_, end, _), (start, _, _) in zip(marks, marks[1:], strict=False))
    (media,) = document.get_linked_files()
    assert media["MEDIA_URL"] == video.as_uri() and media["MIME_TYPE"] == "video/mp4"
    assert media["RELATIVE_MEDIA_URL"] == "./films/clip & <1>.mp4"


def test_elan_export_of_annotators_with_similar_names(tmp_path):
    written = table(tracks=(0,))
    names = ["Ada", "ada", " ada.", "", "valence"]
    labels = pd.concat([written[:1].assign(annotator=name) for name in names])
    write_elan(tmp_path / "out.eaf", written, labels, None)
    read = read_labels(tmp_path / "out.eaf", TIMELINE)
    assert sorted(read["annotator"]) == sorted(name.strip() for name in names) and set(read["track"]) == {0}


def test_elan_links_its_traces_as_lines(tmp_path):
    import pympi

    path, configuration, *traces = write_elan(tmp_path / "out.eaf", table(), NO_LABELS, None)
    links = pympi.Eaf(str(path)).get_secondary_linked_files()
    assert [(link["RELATIVE_LINK_URL"], link["MIME_TYPE"]) for link in links] == [
        ("./out_track0_trace.csv", "unknown"),
        ("./out_track3_trace.csv", "unknown"),
        ("./out_tsconf.xml", "text/xml"),
    ]
    sources = ElementTree.parse(configuration).getroot().findall("tracksource")
    assert [source.get("source-url") for source in sources] == [trace.as_uri() for trace in traces]
    header = traces[0].read_text().splitlines()[0].split(",")
    for source in sources:
        assert source.get("sample-type") == "Discontinuous Rate" and header[int(source.get("time-column"))] == "time"
        for track in source.findall("track"):
            column = track.find("sample-position/pos").get("col")
            assert track.get("name").split()[-1] == header[int(column)]
    refused("contains no label, but links 'out_track0_trace.csv', 'out_track3_trace.csv'; pass one", path)


def test_elan_export_of_too_many_labels_for_annotations(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(elan_export, "MAX_ANNOTATED", 3)
    written = table()
    *_, given = write_elan(tmp_path / "out.eaf", written, given_labels(written), None)
    assert given.name == "out_given_labels.csv" and "8 labels are too many for annotations" in caplog.text
    read = read_labels(given, TIMELINE)
    assert_same_labels(read, given_labels(written))
    refused("contains no label, but links 'out_given_labels.csv', ", tmp_path / "out.eaf")
    assert set(read["annotator"]) == {"Ada", ""}


def test_elan_export_without_tracks_leaves_no_temporary_files(tmp_path):
    path = tmp_path / "out.eaf"
    one = table(tracks=(0,)).drop(columns="track")
    for _ in range(2):
        write_elan(path, one, one[:3], video=None)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.eaf", "out_trace.csv", "out_tsconf.xml"]
    root = ElementTree.parse(path).getroot()
    assert root.find("HEADER").get("TIME_UNITS") == "milliseconds" and root.find("HEADER/MEDIA_DESCRIPTOR") is None
    assert [tier.get("TIER_ID") for tier in root.iter("TIER")] == ["valence", "arousal"]
    assert read_labels(path, TIMELINE)["annotator"].unique().tolist() == [""]


def test_elan_frames_closer_than_a_millisecond_do_not_overlap(tmp_path):
    written = table(fps=5000.0, tracks=(0,))
    write_elan(tmp_path / "out.eaf", written, written.dropna(subset="valence"), None)
    order = ElementTree.parse(tmp_path / "out.eaf").getroot().iter("TIME_SLOT")
    times = [int(slot.get("TIME_VALUE")) for slot in order][:20]
    assert times == sorted(times) and all(start < end for start, end in zip(times[::2], times[1::2], strict=True))


@pytest.mark.parametrize("fps", [25.0, 30000 / 1001])
def test_nova_export_is_read_back_unchanged(tmp_path, fps):
    written = table(fps=fps)
    headers = write_nova(tmp_path, "clip", written, fps)
    assert [path.name for path in headers] == [
        f"clip.track{track}.{axis}.annotation" for track in (0, 3) for axis in ("valence", "arousal")
    ]
    read = [read_labels(path, Timeline.at_rate(12, fps)) for path in headers[::2]]
    assert_same_labels(pd.concat(read), written)
    assert len(list(tmp_path.iterdir())) == 8


def test_nova_files_follow_the_format(tmp_path):
    written = pd.DataFrame(
        {"frame": [0, 1, 2], "time": [0, 0.04, 0.08], "valence": [0.5, np.nan, -1], "arousal": [1e-5, np.nan, 0]}
    )
    header, arousal = write_nova(tmp_path, "a", written, 25, confidence=[1, np.nan, 0.25], annotator='"<&>"')
    root = ElementTree.parse(header).getroot()
    assert root.tag == "annotation" and root.attrib == {"ssi-v": "3"}
    assert root.find("info").attrib == {"ftype": "ASCII", "size": "3"}
    assert root.find("meta").attrib == {"annotator": '"<&>"', "role": ""}
    assert root.find("scheme").attrib == {"name": "valence", "type": "CONTINUOUS", "sr": "25", "min": "-1", "max": "1"}
    assert (tmp_path / "a.valence.annotation~").read_text() == "0.5;1\nNaN;0\n-1.0;0.25\n"
    assert (tmp_path / "a.arousal.annotation~").read_text() == "0.00001;1\nNaN;0\n0.0;0.25\n"


def test_nova_resamples_to_a_constant_rate(tmp_path):
    times = [0.0, 0.1, 0.5, 0.6]
    written = pd.DataFrame({"frame": range(4), "time": times, "valence": [0, 0.1, 0.5, 0.6], "arousal": 0.0})
    (header, _) = write_nova(tmp_path, "a", written, 10)
    scores = [line.split(";")[0] for line in header.with_name(header.name + "~").read_text().split()]
    assert scores == ["0.0", "0.1", "0.1", "0.1", "0.5", "0.5", "0.6"]
    late = written.assign(time=written["time"] + 0.2)
    (header, _) = write_nova(tmp_path, "late", late, 10)
    assert header.with_name(header.name + "~").read_text().startswith("NaN;0\nNaN;0\n0.0;1\n")


def test_nova_file_names_stay_in_the_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (header, _) = write_nova(tmp_path / "out", "../../etc/x\0 <y>.mp4", table(tracks=(0,)).drop(columns="track"), 25)
    assert header == tmp_path / "out" / "_etc_x_y_mp4.valence.annotation" and header.is_file()


def test_exports_refuse_invalid_tables(tmp_path):
    one = table(tracks=(0,))
    with pytest.raises(DataError, match="in the table twice; export one video"):
        write_elan(tmp_path / "x.eaf", pd.concat([one, one]), NO_LABELS, None)
    with pytest.raises(DataError, match="label of frame 99: frame 99 is beyond the end"):
        write_elan(tmp_path / "x.eaf", one, one[:1].assign(frame=99), None)
    for confidence in (1.5, np.nan):
        with pytest.raises(DataError, match="confidence of track 0"):
            write_nova(tmp_path, "x", one.assign(confidence=confidence), 25)
    for fps in (0, np.nan, np.inf):
        with pytest.raises(DataError, match="rate must be above 0"):
            write_nova(tmp_path, "x", one, fps)
    with pytest.raises(DataError, match="too many for one file"):
        write_nova(tmp_path, "x", one, 10 * files.MAX_ROWS)
    with pytest.raises(DataError, match="one time per frame"):
        split_traces(one[:0])
    assert not list(tmp_path.iterdir())


def test_tracks_may_be_missing_or_negative():
    rows = pd.DataFrame({"frame": [0, 1], "time": [0.0, 0.04], "valence": [np.nan, 0.5], "arousal": [np.nan, 0.5]})
    for tracks in ([-1, 2], [np.nan, 2], pd.array([pd.NA, 2], "Int64")):
        timeline, (one,) = split_traces(rows.assign(track=tracks))
        assert one.track == 2 and len(timeline.frames) == 2
        assert np.isnan(one.scores["valence"][0]) and one.confidence.tolist() == [0, 1]


# Text for other programs


@pytest.mark.parametrize("value", [0, -0.0, 0.1, -1, 1e-30, np.pi / 4, 1 / 3])
def test_score_text_is_exact(value):
    text = score_text(np.float32(value))
    assert np.float32(text) == np.float32(value) and re.fullmatch(r"-?\d+\.\d+", text)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " =", "\n=", "＝"])
def test_safe_text_is_not_a_formula(start):
    cell = safe_text(f"{start}cmd|' /C calc'!A0")
    assert cell.startswith("'") and safe_text(cell) == cell
    file = io.StringIO()
    csv.writer(file).writerow([cell])
    assert file.getvalue().lstrip('"').startswith("'")


@pytest.mark.parametrize("value", ["", "clip 1", "a=b", "Ä-1", "'x"])
def test_safe_text_leaves_other_text_unchanged(value):
    assert safe_text(value) == value
