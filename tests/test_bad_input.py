"""How invalid input is handled: one row per kind of input. SECURITY.md has a summary of this table.

REFUSED: one error names the file, the row or key, and the remedy; the script ends with exit code 2 and no traceback.
LEFT_OUT: the row is left out, and the log names the first such row and their number; `--data.strict` refuses it. All
other rows are read unchanged.
"""

import json
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from clips import write_video
from test_annotations import TIMELINE, elan, trace
from test_ratings import CARMA, DARMA, PAGAN
from test_readers import HEADER, affectnet_row, landmarks, write_affectnet, write_affectnet8, write_clip
from test_video import shade, write_folder

import utils.runs.script
from datasets.afewva import read_afewva
from datasets.affectnet import read_affectnet
from datasets.annotations.labels import read_labels
from datasets.annotations.ratings import read_rating
from datasets.faces import crop_face, read_image
from datasets.images import CropCache
from datasets.video.reading import open_video
from models.mtclar import MTCLAR
from utils.annotate.label_file import LabelFile
from utils.base.arrays import load_arrays
from utils.base.errors import UserError
from utils.base.text import listed, printable, quoted, safe_name
from utils.config.mtclar import MtclarTrainingSettings
from utils.config.yaml_files import resolved_yaml
from utils.labelling.support_file import read_support_file
from utils.runs.checkpoint import load_emonet, load_mtclar, load_supervised, save_checkpoint
from utils.runs.resume import load_settings

REFUSED, LEFT_OUT = "refused", "left out"
NESTED = 10**6


class Case(NamedTuple):
    kind: str
    outcome: str
    message: str
    """Pattern of the message: file, row or key, what is wrong, remedy."""
    read: Callable[[Path, bool], object]
    """Writes the invalid file into a folder and reads it, strictly or not. Returns the table, if there is one."""


def afewva(old: str = "", new: str = "", **labels):
    """A valid clip 000, and a clip 001 whose JSON has the first `old` replaced, or other labels."""

    def read(folder: Path, strict: bool):
        write_clip(folder / "000")
        file = write_clip(folder / "001", **labels) / "001.json"
        file.write_text(file.read_text().replace(old, new, 1) if old else new or file.read_text())
        return read_afewva(folder, strict=strict)

    return read


def afewva_files(change: Callable[[Path], object]):
    """A valid clip 000, and a clip 001 whose folder `change` damages."""

    def read(folder: Path, strict: bool):
        write_clip(folder / "000")
        change(write_clip(folder / "001"))
        return read_afewva(folder, strict=strict)

    return read


def expressions(text: str):
    def read(folder: Path, strict: bool):
        write_clip(folder / "000")
        (folder / "expressions.csv").write_text("clip,frame,expression\n000,0,1\n" + text)
        return read_afewva(folder, strict=strict)

    return read


def affectnet(*rows: str, **layout):
    def read(folder: Path, strict: bool):
        return read_affectnet(write_affectnet(folder, [affectnet_row("1/good.jpg"), *rows], **layout), strict=strict)[0]

    return read


def affectnet8(**notes):
    def read(folder: Path, strict: bool):
        write_affectnet8(folder, "1")
        write_affectnet8(folder, "1", "val_set")
        write_affectnet8(folder, "2", **notes)
        return read_affectnet(folder, strict=strict)[0]

    return read


def npy_that_runs_code(folder: Path, strict: bool):
    write_affectnet8(folder, "1")
    write_affectnet8(folder, "1", "val_set")
    write_affectnet8(folder, "2")
    np.save(folder / "train_set/annotations/2_val.npy", np.array(Payload(), object), allow_pickle=True)
    return read_affectnet(folder, strict=strict)[0]


def npy_of_terabytes(folder: Path, strict: bool):
    write_affectnet8(folder, "1")
    write_affectnet8(folder, "1", "val_set")
    write_affectnet8(folder, "2")
    with (folder / "train_set/annotations/2_val.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)})
    return read_affectnet(folder, strict=strict)[0]


def labels(text: str, name: str = "labels.csv"):
    def read(folder: Path, strict: bool):
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_labels(folder / name, TIMELINE)

    return read


def rating(text: str, name: str = "valence.csv"):
    def read(folder: Path, strict: bool):
        (folder / name).write_text(text)
        return read_rating(folder / name)

    return read


def nova(*lines: str, **scheme):
    def read(folder: Path, strict: bool):
        trace(folder, "arousal", ["0;1"])
        return read_labels(trace(folder, "valence", list(lines), **scheme), TIMELINE)

    return read


def image(content: bytes):
    def read(folder: Path, strict: bool):
        (folder / "00000.png").write_bytes(content)
        return read_image(folder / "00000.png")

    return read


def image_pipe(folder: Path, strict: bool):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(folder / "00000.png")
    return read_image(folder / "00000.png")


def video(make: Callable[[Path], Path]):
    return lambda folder, strict: list(open_video(make(folder)))


def weights(content: object, load=load_mtclar):
    """A file of these bytes, or of this object as torch.save writes it."""

    def read(folder: Path, strict: bool):
        if isinstance(content, bytes):
            (folder / "best.pt").write_bytes(content)
        else:
            torch.save(content() if callable(content) else content, folder / "best.pt")
        return load(folder / "best.pt")

    return read


def compressed_weights(folder: Path, strict: bool):
    with zipfile.ZipFile(folder / "best.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickle.dumps({"kind": "mtclar"}))
        file.writestr("archive/data/0", bytes(10**8))
    return load_mtclar(folder / "best.pt")


def checkpoint(**changes):
    content = {"kind": "mtclar", "settings": MtclarTrainingSettings().model_dump(mode="json"), "model": {}} | changes

    def read(folder: Path, strict: bool):
        save_checkpoint(folder / "best.pt", content)
        return load_mtclar(folder / "best.pt")

    return read


def settings(text: str):
    def read(folder: Path, strict: bool):
        (folder / "my.yaml").write_text(text)
        return load_settings(MtclarTrainingSettings, "mtclar", "config.yaml", "", ["--config", str(folder / "my.yaml")])

    return read


def command_line(*argv: str):
    return lambda folder, strict: load_settings(MtclarTrainingSettings, "mtclar", "config.yaml", "", list(argv))


def old_run(folder: Path, strict: bool):
    (folder / "settings.yaml").write_text("preset: demo\ntrain: {error_exponent: 8.0}\n")
    return load_settings(MtclarTrainingSettings, "mtclar", "config.yaml", "", ["--train.resume", str(folder)])


class Payload:
    """An object that writes a file when it is unpickled."""

    def __reduce__(self):
        return open, ("exploded.txt", "w")


def declared(width: int, height: int) -> bytes:
    """A PNG of one pixel whose header declares another size."""
    import struct
    import zlib

    data = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


PNG = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()
LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(10))
HEAD = "frame,valence,arousal\n"
LABELLED = {"valence": [(0, 40, 0.5)], "arousal": [(0, 40, 0.5)]}
ALIASES = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))

TABLE = [
    # JSON of AFEW-VA
    Case("JSON that is cut off", REFUSED, r"001\.json, line 1: broken JSON .*restore", afewva("]}}}", "]}")),
    Case("JSON nested 10^6 deep", REFUSED, r"001\.json: cannot be read .*recursion.*restore", afewva(new="[" * NESTED)),
    Case("JSON that is not an object", REFUSED, r"001\.json: must be an object .*restore", afewva(new="[]")),
    Case(
        "JSON not in UTF-8",
        REFUSED,
        r"001\.json: cannot be read .*utf-8.*restore",
        afewva_files(lambda clip: (clip / "001.json").write_bytes(b'{"actor": "\xff"}')),
    ),
    Case(
        "key given twice", REFUSED, r"001\.json: key '00000' is given more than once; delete", afewva("00001", "00000")
    ),
    Case("number of 5,000 digits", REFUSED, r"001\.json: cannot be read .*digits", afewva("-3", "9" * 5000)),
    Case("label NaN", REFUSED, r"001\.json: NaN is not a number; correct or delete", afewva("-3", "NaN")),
    Case(
        "label out of range",
        REFUSED,
        r"001\.json, frame 00000: valence is 11; must.*correct or delete",
        afewva(valence=11),
    ),
    Case("label that is text", REFUSED, r'001\.json, frame 00000: arousal is "5"; must', afewva(arousal="5")),
    Case("label missing", REFUSED, r"001\.json, frame 00000: valence is null; must", afewva(valence=None)),
    Case("actor missing", REFUSED, r"001\.json: 'actor' must name a person, not ''", afewva('"Ada"', '""')),
    Case(
        "frame id that leaves the folder",
        REFUSED,
        r"001\.json: frame id '\.\./\.\./x' is not a whole",
        afewva("00001", "../../x"),
    ),
    Case(
        "frame id of 30 digits", REFUSED, r"001\.json: frame id '9+\.\.\.9+' is not a whole", afewva("00001", "9" * 30)
    ),
    Case(
        "67 landmarks",
        REFUSED,
        r"001\.json, frame 00000: 67 landmarks, expected 68; restore or delete",
        afewva(landmarks=landmarks()[:67]),
    ),
    Case("landmark infinite", REFUSED, r"frame 00000: a landmark is not a pair of numbers", afewva("10.0", "1e999")),
    Case("landmark of 400 digits", REFUSED, r"frame 00000: a landmark is not a pair", afewva("10.0", "9" * 400)),
    Case(
        "landmarks all at one point",
        LEFT_OUT,
        r"left out 2 rows: landmarks without extent, first: 001\.json frame",
        afewva(landmarks=landmarks(3, 3, 3, 3)),
    ),
    Case(
        "image missing",
        LEFT_OUT,
        r"left out 1 row: frame without image, first: 001\.json frame 00001",
        afewva_files(lambda clip: (clip / "00001.png").unlink()),
    ),
    Case(
        "two images of one frame",
        REFUSED,
        r"00000\.png and 0\.jpg are both frame 0; remove one",
        afewva_files(lambda clip: (clip / "0.jpg").write_bytes(PNG)),
    ),
    Case(
        "clip without its JSON",
        LEFT_OUT,
        r"left out 1 row: clip folder without its <clip>.json, first: 001",
        afewva_files(lambda clip: (clip / "001.json").unlink()),
    ),
    # CSV
    Case(
        "expression of no frame",
        LEFT_OUT,
        r"left out 1 row: expression of an unknown.*expressions\.csv row 3",
        expressions("009,0,1\n"),
    ),
    Case(
        "expression that is not a code",
        REFUSED,
        r"expressions\.csv row 3: expression 'joy' is not a code",
        expressions("000,1,joy\n"),
    ),
    Case("row longer than the header", REFUSED, r"expressions\.csv: cannot be read as CSV", expressions("000,1,1,7\n")),
    Case(
        "face without expression",
        LEFT_OUT,
        r"left out 1 row: expression is not a number, first: training.csv row 3",
        affectnet(affectnet_row(expression="")),
    ),
    Case(
        "image without a face",
        LEFT_OUT,
        r"left out 1 row: no face \(expression code 10\)",
        affectnet(affectnet_row(expression=10)),
    ),
    Case("row cut short", LEFT_OUT, r"left out 1 row: .*training\.csv row 3", affectnet("1/a.jpg,1,2")),
    Case(
        "landmarks that are not numbers",
        LEFT_OUT,
        r"left out 1 row: landmarks or face rectangle are not numbers",
        affectnet(affectnet_row(points='"x";' + "1;" * 134 + "1")),
    ),
    Case(
        "image of the CSV missing",
        LEFT_OUT,
        r"left out 1 row: image missing",
        affectnet(affectnet_row("1/missing.jpg")),
    ),
    Case(
        "CSV label out of range",
        REFUSED,
        r"training\.csv row 3: valence is 1\.5, outside .*correct or delete",
        affectnet(affectnet_row(valence=1.5)),
    ),
    Case(
        "path that leaves the data set",
        REFUSED,
        r"training\.csv row 3: path '\.\./a\.jpg' leads out .*correct or delete",
        affectnet(affectnet_row("../a.jpg")),
    ),
    Case("absolute path", REFUSED, r"row 3: path '/etc/passwd' leads out", affectnet(affectnet_row("/etc/passwd"))),
    Case(
        "image listed twice",
        REFUSED,
        r"'1/good\.jpg', frame 0 is listed more than once",
        affectnet(affectnet_row("1/good.jpg")),
    ),
    Case(
        "column missing",
        REFUSED,
        r"training\.csv: column 'arousal' is missing: add it",
        affectnet(header=HEADER.replace("arousal", "excited")),
    ),
    Case(
        "CSV with 10^7 columns",
        REFUSED,
        r"training\.csv: its first line is no header of at most 200 columns",
        affectnet(header="a," * 10**7),
    ),
    # .npy of AffectNet-8
    Case(
        "npy that runs code",
        LEFT_OUT,
        r"left out 1 row: valence or arousal is not a number, first: train_set",
        npy_that_runs_code,
    ),
    Case(
        "npy that declares 80 terabytes",
        LEFT_OUT,
        r"left out 1 row: valence or arousal is not a number",
        npy_of_terabytes,
    ),
    Case(
        "npy with several numbers",
        LEFT_OUT,
        r"left out 1 row: expression is not a number",
        affectnet8(exp=np.array([1, 2])),
    ),
    Case("npy missing", LEFT_OUT, r"left out 1 row: valence or arousal is not a number", affectnet8(val=None)),
    Case(
        "npy with 67 landmarks",
        LEFT_OUT,
        r"left out 1 row: landmarks or face rectangle are not numbers",
        affectnet8(lnd=np.zeros(134)),
    ),
    # Images and boxes
    Case("image that is empty", REFUSED, r"00000\.png: not an image.*restore it or drop", image(b"")),
    Case("image that is text", REFUSED, r"00000\.png: not an image", image(b"no image")),
    Case("image with a truncated header", REFUSED, r"00000\.png: not an image", image(PNG[:20])),
    Case(
        "image that declares 10^5 x 10^5 pixels",
        REFUSED,
        r"00000\.png: declares more than .* pixels; make it smaller",
        image(declared(10**5, 10**5)),
    ),
    Case("image that is a pipe", REFUSED, r"00000\.png: is no file", image_pipe),
    Case(
        "box without area",
        REFUSED,
        r"face box .* has no area: give left < right",
        lambda folder, strict: crop_face(np.zeros((9, 9, 3), np.uint8), (5, 5, 5, 9), 64),
    ),
    # Labels of a video
    Case("labels: empty file", REFUSED, r"labels\.csv: is empty or lacks its header", labels("")),
    Case("labels: no header", REFUSED, r"labels\.csv: column 'valence' is missing", labels("1,0.5,0.5\n")),
    Case(
        "labels: outside [-1, 1]",
        REFUSED,
        r"labels\.csv row 2: valence 1\.5 is outside .*correct",
        labels(HEAD + "1,1.5,0\n"),
    ),
    Case(
        "labels: on the scale of AFEW-VA",
        REFUSED,
        r"row 2: valence 3 .*divide all labels by 10",
        labels(HEAD + "1,3,0\n"),
    ),
    Case("labels: NaN", REFUSED, r"row 2: arousal 'nan' is not a finite number", labels(HEAD + "1,0,nan\n")),
    Case("labels: decimal comma", REFUSED, r"row 2: .*decimal comma", labels("frame;valence;arousal\n1;0,5;0\n")),
    Case(
        "labels: one axis only",
        REFUSED,
        r"row 2: valence has no arousal beside it; give both",
        labels(HEAD + "1,0.5,\n"),
    ),
    Case(
        "labels: frame beyond the end",
        REFUSED,
        r"row 2: frame 100 is beyond the end, the last frame is 99",
        labels(HEAD + "100,0,0\n"),
    ),
    Case(
        "labels: frame labelled twice",
        REFUSED,
        r"row 3: frame 1 already has a label .*delete",
        labels(HEAD + "1,0,0\n1,0,1\n"),
    ),
    Case(
        "labels: not UTF-8",
        REFUSED,
        r"labels\.csv: is not UTF-8 text .*save it as CSV in UTF-8",
        labels(HEAD.encode("utf-16")),
    ),
    Case("labels: 10^6 columns", REFUSED, r"labels\.csv: more than 200 columns", labels("a," * 10**6)),
    Case("labels: 10^7 columns", REFUSED, r"labels\.csv: more than 200 columns", labels("a," * 10**7)),
    Case(
        "ELAN: entities that expand",
        REFUSED,
        r"labels\.eaf: declares a document type.*export it anew",
        labels(f"<!DOCTYPE a [{LAUGHS}]><ANNOTATION_DOCUMENT>&l9;</ANNOTATION_DOCUMENT>", "labels.eaf"),
    ),
    Case("ELAN: cut off", REFUSED, r"labels\.eaf: is no intact XML", labels(elan(LABELLED)[:-30], "labels.eaf")),
    Case(
        "ELAN: no tier for valence",
        REFUSED,
        r"labels\.eaf: no tier is named valence or arousal.*rename",
        labels(elan({"joy": [(0, 40, 1)]}), "labels.eaf"),
    ),
    Case("NOVA: lines missing", REFUSED, r"annotation~: has 1 samples where .* says '7'", nova("0;1", size=7)),
    Case(
        "NOVA: outside its scale",
        REFUSED,
        r"annotation~ line 1: valence 4 is outside the scale.*0 to 3",
        nova("4;1", min=0, max=3),
    ),
    Case(
        "NOVA: scale without extent",
        REFUSED,
        r"valence\.annotation scheme: its scale runs from 1 to 1",
        nova("0;1", min=1),
    ),
    Case("NOVA: binary cut off", REFUSED, r"no whole number of 8-byte samples; restore", nova("0;1", ftype="BINARY")),
    Case(
        "rating: outside the scale",
        REFUSED,
        r"row 10: Rating 900 is outside.*correct",
        rating(CARMA.replace("12.5", "900")),
    ),
    Case("rating: no scale", REFUSED, r"valence\.csv: a PAGAN log does not state its scale; put", rating(PAGAN)),
    Case("rating: order only", REFUSED, r"RankTrace has no scale.*rescale", rating(PAGAN, "valence_ranktrace.csv")),
    Case(
        "rating: no axis", REFUSED, r"does not say whether it rates valence or arousal; put", rating(CARMA, "anna.csv")
    ),
    Case("rating: other axes", REFUSED, r"column 'valence' is missing", rating(DARMA.replace("Valence", "Warmth"))),
    Case("rating: times go back", REFUSED, r"must ascend.*sort or correct", rating("time,valence\n1,0\n0,0\n")),
    Case(
        "rating: several raters",
        REFUSED,
        r"ratings by 'a', 'b'; save",
        rating("time,valence,annotator\n0,0,a\n1,0,b\n"),
    ),
    Case("rating passed as labels", REFUSED, r"is a CARMA file.*pass it by --ratings", labels(CARMA)),
    Case(
        "labels passed as a rating",
        REFUSED,
        r"holds labels of frames \(ELAN\).*pass it by --labels",
        rating("", "labels.eaf"),
    ),
    # Videos
    Case(
        "file that is not a video",
        REFUSED,
        r"clip\.mp4: not a video.*try to convert",
        video(lambda folder: (folder / "clip.mp4", (folder / "clip.mp4").write_text("no video " * 99))[0]),
    ),
    Case(
        "video whose index is cut off",
        REFUSED,
        r"cut\.mp4: not a video.*cut off",
        video(lambda folder: half(write_video(folder / "cut.mp4", [shade(9)] * 30))),
    ),
    Case(
        "frames of two sizes",
        REFUSED,
        r"3\.png: 80 x 60 pixels.*give each video a folder of its own",
        video(lambda folder: write_folder(write_folder(folder / "f", [1]), [3], image=shade(5, 80, 60))),
    ),
    Case(
        "frame number of 20 digits",
        REFUSED,
        r"too large a frame number; rename",
        video(lambda folder: write_folder(folder / "f", [1], name="9" * 20 + "{}.png")),
    ),
    # Weights and checkpoints
    Case("file that is not weights", REFUSED, r"best\.pt: .*broken", weights(b"no weights at all")),
    Case("weights that run code", REFUSED, r"best\.pt: refused: .*could run code", weights({"kind": Payload()})),
    Case(
        "bare pickle that runs code", REFUSED, r"best\.pt: refused: .*could run code", weights(pickle.dumps(Payload()))
    ),
    Case("weights that are compressed", REFUSED, r"best\.pt: refused: it is compressed", compressed_weights),
    Case(
        "checkpoint of another network",
        REFUSED,
        r"best\.pt: is a checkpoint of mtclar_sl\.py, not of mtclar\.py",
        checkpoint(kind="supervised"),
    ),
    Case("checkpoint without settings", REFUSED, r"best\.pt: lacks the settings", checkpoint(settings={})),
    Case(
        "checkpoint with a huge width",
        REFUSED,
        r"best\.pt: lacks the settings or weights .*width",
        checkpoint(settings=MtclarTrainingSettings().model_dump(mode="json") | {"model": {"width": 16 * 10**9}}),
    ),
    Case(
        "checkpoint of mtclar_sl.py without its settings",
        REFUSED,
        r"best\.pt: lacks the settings",
        weights({"kind": "supervised", "settings": [], "about": {"width": 16}}, load_supervised),
    ),
    Case("checkpoint without weights", REFUSED, r"best\.pt: weights of another network: .* is missing", checkpoint()),
    Case(
        "checkpoint of another width",
        REFUSED,
        r"best\.pt: weights of another network: .*has shape",
        checkpoint(model=MTCLAR(16).state_dict()),
    ),
    Case(
        "file that is not EmoNet weights",
        REFUSED,
        r"best\.pt: holds no published EmoNet weights; download",
        weights({"epoch": 3}, load_emonet),
    ),
    # Settings
    Case(
        "setting that does not exist",
        REFUSED,
        r"my\.yaml: there is no setting train\.epoch; did you mean train\.epochs",
        settings("train: {epoch: 3}\n"),
    ),
    Case(
        "setting out of range",
        REFUSED,
        r"my\.yaml: train\.epochs: .*greater than",
        settings("train: {epochs: 0}"),
    ),
    Case(
        "setting given twice",
        REFUSED,
        r"my\.yaml: is not valid YAML: seed is given twice",
        settings("seed: 1\nseed: 2\n"),
    ),
    Case(
        "YAML with aliases that expand",
        REFUSED,
        r"my\.yaml: is not valid YAML: aliases .* are refused",
        settings(ALIASES),
    ),
    Case(
        "YAML that creates objects",
        REFUSED,
        r"my\.yaml: is not valid YAML: could not determine a constructor",
        settings("name: !!python/object/apply:os.system [ls]\n"),
    ),
    Case(
        "YAML with an invalid date",
        REFUSED,
        r"my\.yaml: is not valid YAML: month must be",
        settings("name: 2001-99-99"),
    ),
    Case("YAML nested deep", REFUSED, r"my\.yaml: is not valid YAML: maximum recursion", settings("[" * 20_000)),
    Case(
        "preset in a file",
        REFUSED,
        r"my\.yaml: preset cannot be set in a file; delete this line",
        settings("preset: paper"),
    ),
    Case(
        "run of an older version",
        REFUSED,
        r"settings\.yaml: this run was made by an older version of MT-CLAR; start a new run, or resume",
        old_run,
    ),
    Case(
        "setting of another script",
        REFUSED,
        r"command line: there is no setting video here; video is a setting of fsl_mtclar\.py",
        command_line("--video", "clip.mp4"),
    ),
    Case(
        "unknown option on the command line",
        REFUSED,
        r"command line: .*no setting epochs; did you mean train\.epochs",
        command_line("--epochs", "3"),
    ),
]


def half(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def as_a_script(read: Callable[[], object], capsys) -> tuple[int, str]:
    """Exit code and error message of a script that calls `read`."""
    code = 0
    try:
        utils.runs.script.run_script(lambda: read() and None)
    except SystemExit as end:
        code = end.code
    return code, capsys.readouterr().err


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.kind)
def test_invalid_input(case, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    strict, lenient = tmp_path / "strict", tmp_path / "lenient"
    strict.mkdir()
    lenient.mkdir()
    code, message = as_a_script(lambda: case.read(strict, True), capsys)
    assert code == 2 and "Traceback" not in message, message
    assert message.startswith("error: ") and len(message) < 1500
    assert re.search(case.message, message.replace("\n", " ")), message
    if case.outcome == LEFT_OUT:
        caplog.set_level(logging.WARNING)
        table = case.read(lenient, False)
        assert [line for line in caplog.messages if re.search(case.message, line)], caplog.messages
        assert len(table) >= 1 and table[["valence", "arousal"]].abs().max().max() <= 1
    else:
        with pytest.raises(UserError):
            case.read(lenient, False)
    assert not list(tmp_path.rglob("exploded.txt"))


def test_caches_run_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache, payload = CropCache(tmp_path, 1e9), np.array([Payload()], object)
    path = cache.path((0,))
    path.parent.mkdir()
    np.save(path, payload, allow_pickle=True)
    np.savez(tmp_path / "embeddings.npz", embeddings=payload)
    assert cache.read(path) is None and load_arrays(tmp_path / "embeddings.npz") is None
    assert not (tmp_path / "exploded.txt").exists()


def test_names_from_files_are_safe_as_file_names_and_on_the_terminal():
    for name in ("../../x", "a/b", "CON\n\0", "-rf", ".hidden", "名" * 200, ""):
        safe = safe_name(name)
        assert re.fullmatch(r"[\w-][\w.-]*", safe) and len(safe.encode()) <= 100
    assert printable("a\x1b[2Jb\u202ec\nd") == "a\\x1b[2Jb\\u202ec\nd"


LONG = "9x" * 20_000


def labels_of(text: str, read: Callable[[Path], object] = lambda path: read_labels(path, TIMELINE)):
    def read_file(folder: Path, strict: bool):
        (folder / "labels.csv").write_text(text)
        return read(folder / "labels.csv")

    return read_file


TWICE = f"frame,valence,arousal,annotator\n1,0,0,{LONG}\n"


@pytest.mark.parametrize(
    "read, message",
    [
        (expressions(f"000,{LONG},1\n"), "frame '9x9x.*…' is not a whole number"),
        (expressions(f"000,1,{LONG}\n"), "expression '9x9x.*…' is not a code"),
        (expressions(f"{LONG},0,1\n{LONG},0,2\n"), "row 4: clip '9x9x.*…', frame 0 is listed more than once"),
        (affectnet(affectnet_row(f"../{LONG}")), r"path '\.\./9x9x.*…' leads out"),
        (
            affectnet(header=",".join(LONG[:300] + str(column) for column in range(150))),
            "its columns are '9x.* 140 more",
        ),
        (labels_of(HEAD + f"{LONG},0,0\n"), "frame '9x9x.*…' is not a finite number"),
        (labels_of(f"{','.join(f'column number {column}' for column in range(199))}\n1\n"), "and 189 more"),
        (labels_of(TWICE + f"1,0,0,{LONG}\n"), "by annotator '9x9x.*…'"),
        (labels_of(TWICE, lambda path: LabelFile(path, TIMELINE, "Ada").read()), "holds labels by '9x9x.*…'; each"),
        (labels_of(f"clip,frame\n000,{LONG}\n", read_support_file), "row 2: frame is '9x9x.*…'; give a frame number"),
    ],
)
def test_messages_quote_an_excerpt_of_long_cells(read, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, True)
    assert len(str(error.value).replace(str(tmp_path), "")) < 700


def test_quoted_text_is_bounded():
    assert quoted("a\nb") == r"'a\nb'" and quoted(None) == "''" and len(quoted(LONG)) == 43
    assert listed(["a", "b"]) == "'a', 'b'" and listed(["a"] * 10 + ["b"] * 3).endswith("'a' and 3 more")


def test_table_has_at_least_forty_kinds():
    assert len({case.kind for case in TABLE}) == len(TABLE) >= 40
    assert json.dumps(resolved_yaml(MtclarTrainingSettings()))  # The settings in the checkpoints of the table.
