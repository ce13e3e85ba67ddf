"""Readers of data sets, the frame table and splits: what is read, what is left out, and what raises an error."""

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from datasets import affectnet
from datasets.afewva import read_afewva
from datasets.affectnet import is_consistent, read_affectnet, split_affectnet
from datasets.columns import EXPRESSIONS
from datasets.faces import box_from_detection, crop_face, read_image
from datasets.frames import COLUMNS, FrameBuilder, frame_table
from datasets.splits import split_by_subject
from utils.base.errors import DataError

FACES = Path(__file__).parents[2] / "shared" / "data" / "faces"
BOX = ["left", "top", "right", "bottom"]
IMAGE = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()


def landmarks(left=10.0, top=20.0, right=50.0, bottom=70.0):
    """68 landmarks whose bounding box is this one."""
    return np.linspace([left, top], [right, bottom], 68).tolist()


def write_clip(folder, frames=("00000", "00001"), actor="Ada", suffix=".png", **labels):
    """Write a clip in the AFEW-VA layout; ``labels`` replaces entries of every frame."""
    folder.mkdir(parents=True)
    entry = {"valence": -3, "arousal": 5, "landmarks": landmarks()} | labels
    document = {"video_id": folder.name, "actor": actor, "frames": dict.fromkeys(frames, entry)}
    (folder / f"{folder.name}.json").write_text(json.dumps(document))
    for frame in frames:
        (folder / f"{frame}{suffix}").write_bytes(IMAGE)
    return folder


# AFEW-VA


def test_afewva_columns_types_and_values(tmp_path):
    write_clip(tmp_path / "001")
    frames = read_afewva(tmp_path)
    assert tuple(frames) == COLUMNS
    types = ["int64", "float32", "float32", "int64"] + ["float32"] * 4
    assert [str(frames[name].dtype) for name in COLUMNS if name not in ("path", "clip", "subject")] == types
    row = frames.iloc[1].tolist()
    assert row[:4] == [str(tmp_path / "001" / "00001.png"), "001", 1, "Ada"]
    assert row[4:] == [np.float32(-0.3), np.float32(0.5), -1, 10, 20, 50, 70]


def test_afewva_flat_parts_and_jpg_mixed(tmp_path):
    write_clip(tmp_path / "003")
    write_clip(tmp_path / "part1" / "001", suffix=".jpg")
    write_clip(tmp_path / "part2" / "002")
    (tmp_path / "part2" / "notes").mkdir()
    (tmp_path / "README.txt").touch()
    frames = read_afewva(tmp_path)
    assert frames["clip"].tolist() == ["001", "001", "002", "002", "003", "003"]
    assert frames["path"][0].endswith("00000.jpg")


def test_afewva_whole_numbers_as_floats_and_numbers_as_actors(tmp_path):
    """Copies of AFEW-VA write labels as 0.0, and ids as numbers or as text."""
    write_clip(tmp_path / "001", valence=-3.0, arousal=0.0, actor=7)
    write_clip(tmp_path / "002", valence=-0.0, actor="7")
    write_clip(tmp_path / "003", actor=7.0)
    write_clip(tmp_path / "004", actor=" Ada  Lovelace ")
    file = tmp_path / "001" / "001.json"
    file.write_text(file.read_text().replace('"video_id": "001"', '"video_id": 1'))
    frames = read_afewva(tmp_path)
    assert frames["subject"].unique().tolist() == ["7", "Ada Lovelace"]
    first = frames.drop_duplicates("clip")
    np.testing.assert_array_equal(first["valence"], np.float32([-0.3, 0, -0.3, -0.3]))
    np.testing.assert_array_equal(first["arousal"], np.float32([0, 0.5, 0.5, 0.5]))


def test_afewva_other_folders_and_files_of_real_copies(tmp_path):
    """The archive's own folder above the parts, crops beside the frames, what macOS adds, and a table at the top."""
    folder = write_clip(tmp_path / "AFEW-VA" / "01" / "001", suffix=".JPG")
    write_clip(tmp_path / "AFEW-VA" / "02" / "051")
    (folder / "cropped").mkdir()
    (folder / "cropped" / "00000.png").write_bytes(IMAGE)
    (folder / "._00000.png").touch()
    for name in ("__MACOSX", ".Trash"):
        (tmp_path / name / "001").mkdir(parents=True)
        (tmp_path / name / "001" / "._001.json").touch()
    (tmp_path / "annotations.json").write_text("[]")
    (folder / "notes.json").write_text("{}")
    frames = read_afewva(tmp_path, strict=True)
    assert frames["clip"].tolist() == ["001", "001", "051", "051"]


def test_afewva_relative_root_gives_absolute_paths(tmp_path, monkeypatch):
    write_clip(tmp_path / "set" / "001")
    monkeypatch.chdir(tmp_path)
    assert read_afewva("set")["path"][0] == str(tmp_path / "set" / "001" / "00000.png")


def test_frames_are_sorted_numerically_and_matched_despite_zero_padding(tmp_path):
    folder = write_clip(tmp_path / "001", ["100", "2", "10"])
    (folder / "2.png").rename(folder / "00002.png")
    frames = read_afewva(tmp_path)
    assert frames["frame"].tolist() == [2, 10, 100]
    assert [Path(path).name for path in frames["path"]] == ["00002.png", "10.png", "100.png"]


def test_afewva_pixel_aspect(tmp_path):
    write_clip(tmp_path / "001")
    frames = read_afewva(tmp_path, pixel_aspect=64 / 45)
    assert tuple(frames) == (*COLUMNS, "pixel_aspect")
    assert (frames["pixel_aspect"] == np.float32(64 / 45)).all()
    with pytest.raises(DataError, match="pixel_aspect"):
        read_afewva(tmp_path, pixel_aspect=0)


def test_afewva_frame_without_image_is_counted(tmp_path, caplog):
    folder = write_clip(tmp_path / "001", ["00000", "00001", "00002"])
    (folder / "00001.png").unlink()
    (folder / "00002.png").unlink()
    assert read_afewva(tmp_path)["frame"].tolist() == [0]
    assert caplog.messages == ["left out 2 rows: frame without image, first: 001.json frame 00001"]
    with pytest.raises(DataError, match="frame without image"):
        read_afewva(tmp_path, strict=True)


def test_afewva_other_reasons_for_leaving_out(tmp_path, caplog):
    write_clip(tmp_path / "001")
    write_clip(tmp_path / "002", landmarks=landmarks(0, 0, 0, 0))
    write_clip(tmp_path / "part" / "003")
    (tmp_path / "part" / "003" / "003.json").unlink()
    assert read_afewva(tmp_path)["clip"].unique().tolist() == ["001"]
    assert sorted(caplog.messages) == [
        "left out 1 row: clip folder without its <clip>.json, first: part/003",
        "left out 2 rows: landmarks without extent, first: 002.json frame 00000",
    ]


def test_afewva_empty_or_missing_folder(tmp_path):
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=r"<root>/<clip>/<clip>.json or <root>/<part>/<clip>/<clip>.json"):
            read_afewva(root)


def test_afewva_error_lists_the_reasons_if_no_frame_is_usable(tmp_path):
    write_clip(tmp_path / "001", landmarks=landmarks(0, 0, 0, 0))
    with pytest.raises(DataError, match="no frame can be used: left out 2 rows: landmarks without extent"):
        read_afewva(tmp_path)


@pytest.mark.parametrize("axis", ["valence", "arousal"])
@pytest.mark.parametrize("value", [11, -11, 11.0, 0.5, True, None, "3", [3]])
def test_afewva_label_must_be_a_whole_number_in_range(tmp_path, axis, value):
    write_clip(tmp_path / "001", **{axis: value})
    with pytest.raises(DataError) as error:
        read_afewva(tmp_path)
    assert "001.json, frame 00000: " + axis in str(error.value) and json.dumps(value) in str(error.value)


@pytest.mark.parametrize("points", [landmarks()[:67], landmarks() + [[1, 2]], None, "68", {}])
def test_afewva_wrong_number_of_landmarks(tmp_path, points):
    write_clip(tmp_path / "001", landmarks=points)
    with pytest.raises(DataError, match=r"001\.json, frame 00000: \d+ landmarks, expected 68"):
        read_afewva(tmp_path)


@pytest.mark.parametrize("point", [[1], [1, 2, 3], 5, [True, 1.0], ["1", "2"], [None, 1], [1, [2]]])
def test_afewva_landmark_must_be_a_pair_of_numbers(tmp_path, point):
    write_clip(tmp_path / "001", landmarks=landmarks()[:67] + [point])
    with pytest.raises(DataError, match=r"001\.json, frame 00000: a landmark is not a pair"):
        read_afewva(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"arousal"', '\n\n"arousal', r"001\.json, line 3: broken JSON"),
        ("-3", "NaN", r"001\.json: NaN is not a number"),
        ("10.0", "1e999", "a landmark is not a pair"),
        ('"00001"', '"00000"', r"001\.json: key '00000' is given more than once"),
        ('"arousal"', '"valence"', "key 'valence' is given more than once"),
        ('"00001"', '"0"', "clip '001', frame 0 is listed more than once"),
        ('"00001"', '"1.5"', r"001\.json: frame id '1.5' is not a whole number"),
        ('"00001"', '"../../secret"', "is not a whole number"),
        ('"00001"', '"-1"', "is not a whole number"),
        ('"frames"', '"Frames"', "'frames' must be an object"),
        ('"Ada"', '""', "'actor' must name a person"),
        ('"Ada"', "null", "'actor' must name a person, not None"),
        ('"Ada"', "true", "'actor' must name a person, not True"),
        ('"Ada"', "1.5", "'actor' must name a person, not 1.5"),
        ("-3", "1e999", "valence is Infinity; must be a whole number"),
        ("{", "[{", "broken JSON"),
    ],
)
def test_afewva_bad_json(tmp_path, old, new, message):
    file = write_clip(tmp_path / "001") / "001.json"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_afewva(tmp_path)


def test_afewva_duplicate_frames_and_clips(tmp_path):
    folder = write_clip(tmp_path / "001")
    (folder / "0.jpg").write_bytes(IMAGE)
    with pytest.raises(DataError, match="both frame 0"):
        read_afewva(tmp_path)
    (folder / "0.jpg").unlink()
    write_clip(tmp_path / "part" / "001")
    with pytest.raises(DataError, match="clip '001' exists twice"):
        read_afewva(tmp_path)


def test_expressions_csv(tmp_path, caplog):
    write_clip(tmp_path / "001")
    lines = "clip,frame,expression\n001,00001,6\n001,7,2\n009,0,1\n"
    (tmp_path / "expressions.csv").write_text(lines)
    assert read_afewva(tmp_path)["expression"].tolist() == [-1, 6]
    assert caplog.messages == ["left out 2 rows: expression of an unknown clip or frame, first: expressions.csv row 3"]
    other = tmp_path / "other.csv"
    other.write_text("frame,expression,clip\n0,3,001\n")
    assert read_afewva(tmp_path, other)["expression"].tolist() == [3, -1]
    with pytest.raises(DataError, match="unknown clip or frame"):
        read_afewva(tmp_path, strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,frame,expresion\n001,0,1\n", "'expression' is missing: rename its column 'expresion'"),
        ("clip,expression\n001,1\n", "'frame' is missing"),
        ("clip,frame,expression\n001,0,8\n", "row 2: expression '8' is not a code from 0 to 7"),
        ("clip,frame,expression\n001,0,happy\n", "row 2: expression 'happy'"),
        ("clip,frame,expression\n001,0\n", "row 2: expression"),
        ("clip,frame,expression\n001,0.5,1\n", "row 2: frame '0.5' is not a whole number"),
        ("clip,frame,expression\n001,0,1\n001,00,1\n", "row 3: clip '001', frame 00 is listed more than"),
        ("", "cannot be read as CSV"),
    ],
)
def test_invalid_expressions_csv_is_refused(tmp_path, text, message):
    write_clip(tmp_path / "001")
    (tmp_path / "expressions.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_afewva(tmp_path)


def test_given_expressions_csv_must_exist(tmp_path):
    write_clip(tmp_path / "001")
    with pytest.raises(DataError, match=r"none\.csv"):
        read_afewva(tmp_path, tmp_path / "none.csv")


# AffectNet 2017

HEADER = ",".join(affectnet.CSV_COLUMNS)
POINTS = ";".join(f"{value:.1f}" for value in np.ravel(landmarks()))


def affectnet_row(path="1/a.jpg", points=POINTS, expression=1, valence=0.5, arousal=0.25, box=None):
    return f"{path},{box or '100,80,200,220'},{points},{expression},{valence},{arousal}"


def write_affectnet(root, rows, validation=None, images="Manually_Annotated_Images", header=HEADER):
    """Write the layout of AffectNet 2017, with an image for every row except those named missing.jpg."""
    validation = [affectnet_row("9/v.jpg")] if validation is None else validation
    root.mkdir(exist_ok=True)
    for name, lines in (("training", rows), ("validation", validation)):
        (root / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")
        for line in lines:
            path = root / images / line.split(",")[0].replace("\\", "/")
            if path.suffix == ".jpg" and path.name != "missing.jpg" and ".." not in path.parts:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    return root


@pytest.mark.parametrize("images", affectnet.IMAGE_FOLDERS)
def test_affectnet_2017(tmp_path, images):
    rows = [affectnet_row("2/b.jpg", expression=7, valence=-2, arousal=-2), affectnet_row("1\\a.jpg")]
    data = read_affectnet(write_affectnet(tmp_path, rows, images=images))
    assert tuple(data.training) == COLUMNS
    folder = tmp_path / images
    assert data.training["path"].tolist() == [str(folder / "1/a.jpg"), str(folder / "2/b.jpg")]
    assert data.training["clip"].tolist() == data.training["subject"].tolist() == ["1/a.jpg", "2/b.jpg"]
    assert data.training["expression"].tolist() == [1, 7]
    np.testing.assert_array_equal(data.training[["valence", "arousal"]], [[0.5, 0.25], [np.nan, np.nan]])
    np.testing.assert_array_equal(data.training[BOX], [[10, 20, 50, 70]] * 2)
    assert data.validation["clip"].tolist() == ["9/v.jpg"]


def test_affectnet_uses_the_face_rectangle_of_rows_without_landmarks(tmp_path):
    points = {"1/a.jpg": "", "1/b.jpg": POINTS, "1/c.jpg": " "}
    rows = [affectnet_row(path, text) for path, text in points.items()]
    boxes = read_affectnet(write_affectnet(tmp_path, rows)).training[BOX].to_numpy()
    expected = box_from_detection(100, 80, 300, 300)
    np.testing.assert_allclose(boxes, [expected, [10, 20, 50, 70], expected], rtol=1e-6)


LEFT_OUT = [
    (affectnet_row(expression=8), "no expression (expression code 8)"),
    (affectnet_row(expression=9), "uncertain (expression code 9)"),
    (affectnet_row(expression=10, valence="x"), "no face (expression code 10)"),
    (affectnet_row(expression=""), "expression is not a number"),
    (affectnet_row(expression="True"), "expression is not a number"),
    (affectnet_row(valence="nan"), "valence or arousal is not a number"),
    (affectnet_row(arousal="high"), "valence or arousal is not a number"),
    ("1/a.jpg,1,2,3", "expression is not a number"),
    ("", "expression is not a number"),
    (affectnet_row("1/missing.jpg"), "image missing"),
    (affectnet_row("none/missing.jpg"), "image missing"),
    (affectnet_row(points=POINTS[:-5]), "landmarks or face rectangle are not numbers"),
    (affectnet_row(points="x" + POINTS), "landmarks or face rectangle are not numbers"),
    (affectnet_row(points="nan;" + POINTS.split(";", 1)[1]), "landmarks or face rectangle are not numbers"),
    (affectnet_row(points="", box="a,0,10,10"), "landmarks or face rectangle are not numbers"),
    (affectnet_row(points="", box="0,0,0,10"), "landmarks or face rectangle without area"),
    (affectnet_row(points=";".join(["3"] * 136)), "landmarks or face rectangle without area"),
]


@pytest.mark.parametrize(("row", "reason"), LEFT_OUT)
def test_affectnet_rows_left_out(tmp_path, caplog, row, reason):
    root = write_affectnet(tmp_path, [affectnet_row("1/good.jpg"), row, affectnet_row("1/last.jpg")])
    assert read_affectnet(root).training["clip"].tolist() == ["1/good.jpg", "1/last.jpg"]
    assert caplog.messages == [f"left out 1 row: {reason}, first: training.csv row 3"]
    with pytest.raises(DataError) as error:
        read_affectnet(root, strict=True)
    assert reason in str(error.value)


def test_affectnet_counts_and_row_numbers_across_chunks(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(affectnet, "_CHUNK", 3)
    rows = [affectnet_row(f"1/{i}.jpg", expression=10 if i in (4, 5, 8) else 1) for i in range(10)]
    assert len(read_affectnet(write_affectnet(tmp_path, rows)).training) == 7
    assert caplog.messages == ["left out 3 rows: no face (expression code 10), first: training.csv row 6"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (affectnet_row(valence=1.01), r"training\.csv row 3: valence is 1\.01, outside \[-1, 1\]"),
        (affectnet_row(arousal=-1.5), r"training\.csv row 3: arousal is -1\.5"),
        (affectnet_row(valence="inf"), r"training\.csv row 3: valence is inf"),
        (affectnet_row(expression=11), r"training\.csv row 3: expression is 11, not a code"),
        (affectnet_row(expression=1.5), r"training\.csv row 3: expression is 1\.5"),
        (affectnet_row("../a.jpg"), r"training\.csv row 3: path '\.\./a\.jpg' leads out"),
        (affectnet_row("1/../../a.jpg"), "leads out"),
        (affectnet_row("1\\..\\..\\a.jpg"), "leads out"),
        (affectnet_row("/etc/a.jpg"), "leads out"),
        (affectnet_row("C:/a.jpg"), "leads out"),
        (affectnet_row("1/good.jpg"), r"clip '1/good\.jpg', frame 0 is listed more than once"),
        (affectnet_row() + ",7", r"training\.csv: cannot be read as CSV.*line 3"),
    ],
)
def test_affectnet_rows_refused(tmp_path, row, message):
    root = write_affectnet(tmp_path, [affectnet_row("1/good.jpg"), row])
    with pytest.raises(DataError, match=message):
        read_affectnet(root)


def test_affectnet_first_row_longer_than_the_header(tmp_path):
    root = write_affectnet(tmp_path, [affectnet_row() + ",7"] * 2)
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_affectnet(root)


def test_affectnet_missing_column(tmp_path):
    root = write_affectnet(tmp_path, [affectnet_row()], header=HEADER.replace("valence", "Valence"))
    with pytest.raises(DataError, match=r"training\.csv: column 'valence' is missing: rename .* 'Valence'"):
        read_affectnet(root)


def test_affectnet_missing_or_ambiguous_release(tmp_path):
    with pytest.raises(DataError, match=r"training\.csv.*train_set"):
        read_affectnet(tmp_path)
    write_affectnet(tmp_path, [affectnet_row()])
    (tmp_path / "validation.csv").unlink()
    with pytest.raises(DataError, match=r"validation\.csv"):
        read_affectnet(tmp_path)
    (tmp_path / "train_set").mkdir()
    with pytest.raises(DataError, match="both"):
        read_affectnet(tmp_path)


def test_affectnet_without_any_image(tmp_path):
    with pytest.raises(DataError, match="no frame can be used: left out 1 row: image missing"):
        read_affectnet(write_affectnet(tmp_path, [affectnet_row("1/missing.jpg")]))


# The rule of the cleaned AffectNet: expression, valence, arousal, and whether they agree
CLEAN = [
    ("neutral", 0.1, 0.1, True),
    ("neutral", 0.2, 0.0, False),
    ("neutral", 0.0, 0.0, True),
    ("happy", 0.3, -0.5, True),
    ("happy", -0.3, 0.5, False),
    ("happy", 0.1, 0.1, False),
    ("happy", 0.0, 0.9, False),
    ("happy", np.nan, np.nan, False),
    ("sad", -0.3, 0.3, True),
    ("sad", 0.3, -0.3, False),
    ("sad", -0.2, 0.0, False),
    ("surprise", -0.5, 0.1, True),
    ("surprise", 0.5, 0.0, False),
    ("fear", 0.0, 0.3, True),
    ("fear", -0.3, 0.0, True),
    ("fear", 0.1, 0.5, False),
    ("fear", -0.5, -0.1, False),
    ("disgust", -0.25, 0.0, False),
    ("disgust", -0.31, 0.0, True),
    ("disgust", 0.4, 0.4, False),
    ("anger", 0.5, 0.1, True),
    ("anger", -0.5, 0.0, False),
    ("contempt", -0.25, 0.0, True),
    ("contempt", 0.0, 0.9, False),
]


def test_clean_rule():
    names, valence, arousal, agrees = zip(*CLEAN, strict=True)
    codes = [EXPRESSIONS.index(name) for name in names]
    assert is_consistent(codes, valence, arousal).tolist() == list(agrees)


def test_affectnet_clean(tmp_path, caplog):
    rows = [
        affectnet_row("1/a.jpg"),
        affectnet_row("1/b.jpg", valence=-0.5),
        affectnet_row("1/c.jpg", valence=-2, arousal=-2),
    ]
    root = write_affectnet(tmp_path, rows)
    assert len(read_affectnet(root).training) == 3
    assert read_affectnet(root, clean=True, strict=True).training["clip"].tolist() == ["1/a.jpg"]
    assert caplog.messages == [
        "left out 1 row: clean: no valence and arousal to check against, first: training.csv row 4",
        "left out 1 row: clean: expression and valence/arousal disagree, first: training.csv row 3",
    ]


def test_split_affectnet(tmp_path):
    rows = [affectnet_row(f"1/{i:03}.jpg", expression=i % 4) for i in range(200)] + [
        affectnet_row("2/only.jpg", expression=7)
    ]
    data = read_affectnet(write_affectnet(tmp_path, rows))
    splits = split_affectnet(data, validation_share=0.2, seed=3)
    assert splits.validation["expression"].value_counts().to_dict() == dict.fromkeys(range(4), 10)
    assert splits.test is data.validation
    both = pd.concat([splits.train, splits.validation])["path"]
    assert sorted(both) == sorted(data.training["path"])
    again, other = (split_affectnet(data, 0.2, seed).validation["path"].tolist() for seed in (3, 4))
    assert splits.validation["path"].tolist() == again != other


def test_split_affectnet_refuses_invalid_input(tmp_path):
    data = read_affectnet(write_affectnet(tmp_path, [affectnet_row()], validation=[affectnet_row()]))
    with pytest.raises(DataError, match="both in training and validation"):
        split_affectnet(data)
    with pytest.raises(DataError, match="validation_share"):
        split_affectnet(data, validation_share=1)
    with pytest.raises(DataError, match="two training images"):
        split_affectnet(data._replace(validation=data.validation.iloc[:0]))


# AffectNet-8


def write_affectnet8(root, key="7", split="train_set", image=True, **annotations):
    """Write one image of AffectNet-8 with its annotations; None omits an annotation."""
    for name in ("images", "annotations"):
        for part in ("train_set", "val_set"):
            (root / part / name).mkdir(parents=True, exist_ok=True)
    if image:
        (root / split / "images" / f"{key}.jpg").touch()
    annotations = {"exp": "1", "val": "0.5", "aro": "0.25", "lnd": np.ravel(landmarks())} | annotations
    for kind, value in annotations.items():
        if value is not None:
            np.save(root / split / "annotations" / f"{key}_{kind}.npy", value)


def test_affectnet8(tmp_path):
    write_affectnet8(tmp_path, "7")
    write_affectnet8(tmp_path, "10", exp=np.array(3), val=np.array(-2.0), aro=np.array("-2"), lnd=None)
    write_affectnet8(tmp_path, "2", lnd=np.array(landmarks()), exp=np.array([5.0]))
    write_affectnet8(tmp_path, "7", "val_set")
    data = read_affectnet(tmp_path, strict=True)
    assert data.training["clip"].tolist() == ["train_set/10", "train_set/2", "train_set/7"]
    assert data.training["path"][0] == str(tmp_path / "train_set" / "images" / "10.jpg")
    assert data.training["expression"].tolist() == [3, 5, 1]
    np.testing.assert_array_equal(data.training["valence"], np.float32([np.nan, 0.5, 0.5]))
    whole = box_from_detection(0, 0, 224, 224)
    np.testing.assert_allclose(data.training[BOX], [whole, [10, 20, 50, 70], [10, 20, 50, 70]], rtol=1e-6)
    assert data.validation["subject"].tolist() == ["val_set/7"]
    assert len(split_affectnet(data._replace(training=pd.concat([data.training] * 2))).test) == 1


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({"exp": "8"}, "no expression (expression code 8)"),
        ({"exp": "?"}, "expression is not a number"),
        ({"exp": np.array([1, 2])}, "expression is not a number"),
        ({"exp": np.array(True)}, "expression is not a number"),
        ({"val": None}, "valence or arousal is not a number"),
        ({"aro": np.array({"a": 1}, dtype=object)}, "valence or arousal is not a number"),
        ({"lnd": np.zeros(134)}, "landmarks or face rectangle are not numbers"),
        ({"lnd": np.zeros(136)}, "landmarks or face rectangle without area"),
        ({"image": False}, "image missing"),
    ],
)
def test_affectnet8_left_out(tmp_path, caplog, annotations, reason):
    write_affectnet8(tmp_path, "1")
    write_affectnet8(tmp_path, "1", "val_set")
    write_affectnet8(tmp_path, "2", **annotations)
    assert read_affectnet(tmp_path).training["clip"].tolist() == ["train_set/1"]
    assert caplog.messages == [f"left out 1 row: {reason}, first: train_set/annotations/2"]


def test_affectnet8_image_without_annotation(tmp_path, caplog):
    write_affectnet8(tmp_path, "1")
    write_affectnet8(tmp_path, "1", "val_set")
    write_affectnet8(tmp_path, "2", exp=None)
    read_affectnet(tmp_path)
    assert caplog.messages == ["left out 1 row: image without annotation, first: train_set/images/2"]


def test_affectnet8_refused(tmp_path):
    write_affectnet8(tmp_path, "5", val="1.2")
    with pytest.raises(DataError, match=r"train_set/annotations/5: valence is 1\.2"):
        read_affectnet(tmp_path)
    (tmp_path / "train_set" / "annotations").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="images/ and annotations/"):
        read_affectnet(tmp_path)


# Frame table and splits


def table(subjects=20, clips=2, frames=3):
    """A frame table of ``subjects`` people with ``clips`` clips of ``frames`` frames each."""
    names = [(f"p{s}", f"p{s}-{c}", f) for s in range(subjects) for c in range(clips) for f in range(frames)]
    subject, clip, frame = zip(*names, strict=True)
    box = {"left": 0, "top": 0, "right": 9, "bottom": 9}
    labels = {"valence": 0.1, "arousal": np.nan, "expression": -1}
    paths = [f"/{name}/{number}.png" for _, name, number in names]
    return frame_table({"path": paths, "clip": clip, "frame": frame, "subject": subject} | labels | box)


def test_folds_are_disjoint_by_subject_and_cover_everything():
    frames = table()
    tested = []
    for fold in range(5):
        splits = split_by_subject(frames, fold, seed=1)
        people = [set(part["subject"]) for part in splits]
        assert all(people) and not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])
        assert len(people[2]) == 4 and len(people[1]) == 3
        pd.testing.assert_frame_equal(frame_table(pd.concat(splits)), frames)
        assert all(part.index.equals(pd.RangeIndex(len(part))) for part in splits)
        tested += splits.test["path"].tolist()
    assert sorted(tested) == sorted(frames["path"])


def test_split_depends_only_on_the_seed():
    frames = table()
    first, again = split_by_subject(frames, 2, seed=5), split_by_subject(frames, 2, seed=5)
    for one, other in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(one, other)
    shuffled = split_by_subject(frames.sample(frac=1, random_state=0), 2, seed=5)
    assert [set(part["path"]) for part in shuffled] == [set(part["path"]) for part in first]
    assert set(split_by_subject(frames, 2, seed=6).test["subject"]) != set(first.test["subject"])


@pytest.mark.parametrize(
    ("subjects", "settings", "message"),
    [
        (20, {"fold": 5}, "fold = 5 is out of range: choose 0 to 4"),
        (20, {"fold": -1}, "fold = -1 is out of range"),
        (20, {"fold": 0, "folds": 1}, "at least 2"),
        (20, {"fold": 0, "validation_share": 0}, "between 0 and 1"),
        (20, {"fold": 0, "validation_share": 0.99}, "leaves none of 16 subjects to train on"),
        (4, {"fold": 0}, "4 subjects are too few for 5 folds"),
        (2, {"fold": 0, "folds": 2}, "2 subjects are too few"),
    ],
)
def test_impossible_split_is_refused(subjects, settings, message):
    with pytest.raises(DataError, match=message):
        split_by_subject(table(subjects), **settings)


def test_smallest_split():
    assert [part["subject"].nunique() for part in split_by_subject(table(5), 4)] == [3, 1, 1]


def test_builder_reports_each_reason_once(caplog):
    caplog.set_level(logging.INFO)
    builder = FrameBuilder(Path("set"))
    builder.add(table(1, 1, 2))
    builder.add(table(2, 1, 2).iloc[2:])
    builder.leave_out("too dark", "a row 3")
    builder.leave_out("too dark", "a row 9", count=11)
    builder.leave_out("requested", "a row 4", requested=True)
    assert len(builder.build()) == 4
    assert caplog.messages == [
        "left out 12 rows: too dark, first: a row 3",
        "left out 1 row: requested, first: a row 4",
    ]


def test_empty_builder():
    with pytest.raises(DataError, match="set: no frame can be used"):
        FrameBuilder(Path("set")).build()


def test_frame_table_refuses_duplicate_frames():
    with pytest.raises(DataError, match="clip 'p0-0', frame 0 is listed more than once"):
        frame_table(pd.concat([table(1), table(1)]))


# Real photographs, if they are available


@pytest.mark.skipif(not FACES.is_dir(), reason="the photographs are not available")
def test_real_photographs():
    data = read_affectnet(FACES, strict=True)
    assert (len(data.training), len(data.validation)) == (969, 241)
    assert data.training["valence"].isna().all() and set(data.training["expression"]) == set(range(8))
    for row in data.training.sample(20, random_state=0).itertuples():
        crop = crop_face(read_image(row.path), (row.left, row.top, row.right, row.bottom), 64)
        assert (crop[16:48, 16:48].max(axis=2) > 0).mean() > 0.9  # the face fills the middle
