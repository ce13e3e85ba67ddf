"""Feeds damaged and malicious files to every reader. Only declared errors (UserError) may result.

    python benchmarks/fuzz.py                                    12,000 cases over all readers, 1 to 2 minutes
    python benchmarks/fuzz.py --cases 200 --readers afewva settings
    python benchmarks/fuzz.py --guided afewva --cases 20000      guided by code coverage; needs atheris

Hypothesis draws the cases: valid files changed at random, with words that have a meaning in the format. It prints the
undeclared exceptions, the longest case and the peak memory. tests/test_fuzz.py runs a few cases of each reader.
"""

import argparse
import contextlib
import json
import logging
import resource
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import hypothesis
import numpy as np
import pandas as pd
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

INSTRUMENTED = ["datasets", "utils", "yaml", "json"]  # packages whose coverage guides atheris


def instrumented_imports() -> contextlib.AbstractContextManager:
    """Measure the coverage of what is imported in the block, if --guided is on the command line."""
    if "--guided" not in sys.argv:
        return contextlib.nullcontext()
    import atheris

    return atheris.instrument_imports(include=INSTRUMENTED)


with instrumented_imports():
    from datasets.afewva import read_afewva
    from datasets.affectnet import CSV_COLUMNS, read_affectnet
    from datasets.annotations.estimates import read_estimates, without_frozen
    from datasets.annotations.labels import read_labels
    from datasets.annotations.ratings import read_rating
    from datasets.annotations.timeline import Timeline
    from datasets.faces import read_image
    from datasets.people import people_of_tracks, read_people
    from models.mtclar import MTCLAR
    from models.pretrained import read_weights, write_weights
    from utils.base.errors import UserError
    from utils.config.command_line import read_layers
    from utils.config.labelling import LabelSettings
    from utils.config.layers import merge_layers
    from utils.config.mtclar import MtclarTrainingSettings
    from utils.config.yaml_files import resolved_yaml
    from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION
    from utils.labelling.calibration.file import calibration_content, read_calibration
    from utils.runs.checkpoint import load_emonet, load_mtclar, load_supervised
    from utils.runs.resume import load_settings

TIMELINE = Timeline.at_rate(count=100, fps=25.0)
PICTURE = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
POINTS = np.linspace([10, 20], [50, 70], 68)
NUMBERS = [b"NaN", b"-1", b"1e999", b"0.5", b"9" * 30, b"9" * 5000, b"-0", b"true", b"null", b"", b'""', b"[]", b"{}"]


class Reader(NamedTuple):
    """A reader of files.

    Attributes:
        seeds: valid files.
        words: parts with a meaning in the format.
        read: function that writes a file to a folder and reads it.
    """

    seeds: list[bytes]
    words: list[bytes]
    read: Callable[[bytes, Path], object]


def afewva(content: bytes, folder: Path) -> None:
    """Read the content as a clip's JSON file of AFEW-VA."""
    (folder / "001").mkdir(exist_ok=True)
    (folder / "001" / "0.png").touch()
    (folder / "001" / "001.json").write_bytes(content)
    _check(read_afewva(folder))


def expressions(content: bytes, folder: Path) -> None:
    """Read the content as AFEW-VA's expressions.csv."""
    (folder / "expressions.csv").write_bytes(content)
    afewva(AFEWVA, folder)


def estimates(content: bytes, folder: Path) -> None:
    """Read the content as another tool's estimates of a clip and of a face track."""
    (folder / "estimates.csv").write_bytes(content)
    table = read_estimates(folder / "estimates.csv")
    values = table.of_track("clip.mp4", 1, TIMELINE.frames, TIMELINE.times)
    assert values.shape == (100, 2) and (np.isnan(values) | (np.abs(values) <= 1)).all()
    without_frozen(values, TIMELINE.times)
    table.of_clip("clip.mp4", TIMELINE.frames)


def people(content: bytes, folder: Path) -> None:
    """Read the content as people.csv of two videos, the second one with two tracks that are shown in turn."""
    (folder / "people.csv").write_bytes(content)
    rows = read_people(folder / "people.csv", [folder / "a.mp4", folder / "b.mp4"])
    faces = pd.DataFrame({"track": [0, 0, 1, 1], "frame": [0, 1, 1, 2]})
    people_of_tracks(rows["b"], faces, [0, 1], folder / "b.mp4")


def affectnet(content: bytes, folder: Path) -> None:
    """Read the content as training.csv of AffectNet 2017."""
    (folder / "1").mkdir(exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        (folder / "1" / name).touch()
    (folder / "training.csv").write_bytes(content)
    (folder / "validation.csv").write_bytes(AFFECTNET)
    _check(read_affectnet(folder).training)


def npy(content: bytes, folder: Path) -> None:
    """Read the content as annotations of AffectNet-8."""
    for part in ("train_set", "val_set"):
        for inner in ("images", "annotations"):
            (folder / part / inner).mkdir(parents=True, exist_ok=True)
        for key in ("0", "1"):
            (folder / part / "images" / f"{key}.jpg").touch()
            for kind, value in (("exp", 1), ("val", 0.5), ("aro", 0.5)):
                np.save(folder / part / "annotations" / f"{key}_{kind}.npy", np.array(value))
    for kind in ("exp", "val", "lnd"):
        (folder / "train_set" / "annotations" / f"1_{kind}.npy").write_bytes(content)
    _check(read_affectnet(folder).training)


def labels(name: str) -> Callable[[bytes, Path], None]:
    """A function that reads the content as the label file of this name, beside valid NOVA files."""

    def read(content: bytes, folder: Path) -> None:
        for other, valid in NOVA.items():
            (folder / other).write_bytes(valid)
        (folder / name).write_bytes(content)
        _check(read_labels(folder / name.removesuffix("~"), TIMELINE))

    return read


def ratings(name: str, binary: bool = False) -> Callable[[bytes, Path], None]:
    """A function that reads the content as the rating of this name, beside valid NOVA files (of binary samples)."""

    def read(content: bytes, folder: Path) -> None:
        for other, valid in NOVA.items():
            samples = SAMPLES if other.endswith("~") else valid.replace(b"ASCII", b"BINARY")
            (folder / other).write_bytes(samples if binary else valid)
        (folder / name).write_bytes(content)
        rating = read_rating(folder / name)
        assert (np.diff(rating.times) > 0).all() and rating.values.shape == (len(rating.times), 2)
        assert (np.isnan(rating.values) | (np.abs(rating.values) <= 1)).all()

    return read


def yaml_settings(content: bytes, folder: Path) -> None:
    """Read the content as a YAML file of settings."""
    (folder / "my.yaml").write_bytes(content)
    load_settings(MtclarTrainingSettings, "mtclar", "config.yaml", "", ["--config", str(folder / "my.yaml")])


def weights(content: bytes, folder: Path) -> None:
    """Read the content as a checkpoint of each kind."""
    (folder / "best.pt").write_bytes(content)
    for load in (load_mtclar, load_supervised, load_emonet):
        try:
            load(folder / "best.pt")
        except UserError:
            pass


def exported(content: bytes, folder: Path) -> None:
    """Read the content as an exported network, with its calibration."""
    path = folder / "model.safetensors"
    path.write_bytes(content)
    (folder / "config.json").write_text('{"width": 16, "fusion": "concat", "dropout": 0}')
    for read in (read_weights, read_calibration, load_mtclar, lambda _: MTCLAR.from_pretrained(folder)):
        try:
            read(path)
        except UserError:
            pass


def manifest(content: bytes, folder: Path) -> None:
    """Read the content as a manifest, and the settings in it."""
    path = folder / "manifest.json"
    path.write_bytes(content)
    layers = read_layers(LabelSettings, "missing.yaml", "", ["--from_manifest", str(path)])
    merge_layers(LabelSettings, layers)


def image(content: bytes, folder: Path) -> None:
    """Read the content as an image."""
    (folder / "1.png").write_bytes(content)
    assert read_image(folder / "1.png").dtype == np.uint8


def _check(table: pd.DataFrame) -> None:
    """Check that all labels are in [-1, 1] or missing."""
    labels = table[["valence", "arousal"]].to_numpy()
    assert (np.isnan(labels) | (np.abs(labels) <= 1)).all()


def _npy(value: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, value)
    return file.getvalue()


def _checkpoint(content: object) -> bytes:
    file = BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _safetensors(content: dict[str, object]) -> bytes:
    metadata = {name: value for name, value in content.items() if name != "model"}
    with tempfile.TemporaryDirectory() as folder:
        write_weights(Path(folder, "a"), {"a": torch.zeros(3)}, metadata)
        return Path(folder, "a").read_bytes()


def _png_of(width: int, height: int) -> bytes:
    """A PNG whose header, with a correct checksum, declares this size."""
    data = cv2.imencode(".png", PICTURE)[1].tobytes()
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def _nova(axis: str) -> bytes:
    return (
        f'<annotation ssi-v="3"><info ftype="ASCII" size="3" /><meta annotator="Ada" role="" /><scheme '
        f'name="{axis}" type="CONTINUOUS" sr="25" min="-1" max="1" /></annotation>'
    ).encode()


def _elan() -> bytes:
    time_slots = "".join(f'<TIME_SLOT TIME_SLOT_ID="t{i}" TIME_VALUE="{40 * i}"/>' for i in range(5))
    annotation = (
        '<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{0}{1}" TIME_SLOT_REF1="t{1}" TIME_SLOT_REF2="t{2}">'
        "<ANNOTATION_VALUE>0.5</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
    )
    tiers = "".join(
        f'<TIER TIER_ID="{axis}">{"".join(annotation.format(axis, i, i + 1) for i in range(4))}</TIER>'
        for axis in ("valence", "arousal")
    )
    return (
        f'<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds"/><TIME_ORDER>{time_slots}</TIME_ORDER>{tiers}'
        "</ANNOTATION_DOCUMENT>"
    ).encode()


def _subdivided() -> bytes:
    """An ELAN file whose inner time slots have no time, and whose media start later."""
    text = _elan().decode()
    for milliseconds in (40, 80, 120):
        text = text.replace(f' TIME_VALUE="{milliseconds}"', "")
    return text.replace("/><TIME_ORDER>", '><MEDIA_DESCRIPTOR TIME_ORIGIN="40"/></HEADER><TIME_ORDER>').encode()


def _affectnet_row(name: str) -> str:
    return f"1/{name},1,2,30,40,{';'.join(f'{x:.1f}' for x in POINTS.ravel())},1,0.5,0.25"


AFEWVA = json.dumps(
    {"video_id": "001", "actor": "Ada", "frames": {"0": {"valence": -3, "arousal": 5, "landmarks": POINTS.tolist()}}}
).encode()
AFFECTNET = "\n".join([",".join(CSV_COLUMNS), _affectnet_row("a.jpg"), _affectnet_row("b.jpg"), ""]).encode()
CHECKPOINT = {
    "kind": "mtclar",
    "settings": MtclarTrainingSettings().model_dump(mode="json"),
    "model": {"a": torch.zeros(3)},
}
MANIFEST = json.dumps(
    {
        "format": 1,
        "script": "fsl_mtclar.py",
        "command": "python fsl_mtclar.py",
        "versions": {"numpy": "2.3.0", "commit": None},
        "inputs": [{"role": "network", "path": "best.pt", "sha256": None}],
        "settings": LabelSettings().model_dump(mode="json", exclude={"from_manifest"}),
        "outputs": {"labels.csv": "0" * 64},
    }
)
NOVA = {f"clip.{axis}.annotation": _nova(axis) for axis in ("valence", "arousal")} | {
    f"clip.{axis}.annotation~": b"0.5;1\nNAN;0\n-1;0.5\n" for axis in ("valence", "arousal")
}
SAMPLES = np.array([(0.5, 1), (np.nan, 0), (-1, 0.5)], "<f4,<f4").tobytes()
CARMA = b"""Time of Rating,2026
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
"""
DARMA = b"""Time of Rating,2026,,
Multimedia File,clip.mp4,60.2,
Magnitude,1000,,
Second,Valence,Arousal,Button
%%%%%%,%%%%%%,%%%%%%,%%%%%%
1,120.3,-44.1,0
2,NaN,NaN,NaN
"""
PAGAN = b"""OriginalName,DatabaseName,Participant,SessionID,Timestamp,VideoTime,Value
clip.mp4,a.mp4,Ada,1,2026,0,0
clip.mp4,a.mp4,Ada,1,2026,1500,-50
"""
XML = [
    b"<",
    b"</",
    b"/>",
    b"&l9;",
    b'<!DOCTYPE a [<!ENTITY b "c">]>',
    b'"',
    b"<TIER>",
    b"\0",
    b"\xff",
    b"<![CDATA[",
    b'<?xml version="1.0" encoding="utf-7"?>',
]
TABLE = [b",", b";", b"\t", b"\n", b"\r", b'"', b"\0", b"\xff", b"," * 300, b"../", b"/etc/passwd", b"=1+1", *NUMBERS]

# To test another format, add an entry.
READERS = {
    "afewva": Reader([AFEWVA], [b"[" * 3000, b'{"a":', b"\xff", b'"frames"', b'"0"', b"\\ud800", *NUMBERS], afewva),
    "expressions": Reader([b"clip,frame,expression\n001,0,1\n"], TABLE, expressions),
    "people": Reader([b"video,track,person\na,,Ada\nb.mp4,0,Bob\nb,1,Ada\n"], TABLE, people),
    "affectnet": Reader([AFFECTNET], TABLE, affectnet),
    "estimates": Reader(
        [
            b"frame,valence,arousal,track,video\n0,0.5,-0.5,1,clip.mp4\n1,0.25,1,1,clip.mp4\n0,nan,,2,b.mp4\n",
            b"Filename:\tclip.mp4\n\nVideo Time\tValence\tArousal\n00:00:00.04\t50\t0.5\n00:00:00.08\tFIT_FAILED\t1\n"
            b"00:00:00.12\t-40\t0.5\n",
            b"time_ms;valence;arousal\n0;5;1\n40;9;0\n120;1;0.5\n",
        ],
        [*TABLE, b"00:00:01", b":", b"valence", b"frame", b"time", b"track", b"video", b"100"],
        estimates,
    ),
    "npy": Reader(
        [_npy(np.array(1)), _npy(np.array("0.5")), _npy(POINTS.ravel()), _npy(np.zeros((2, 3), complex))],
        [b"(", b")", b"9" * 13, b"'O'", b"'<f8'", b"shape", b"PK\x03\x04", b"\x93NUMPY", b"\xff" * 4],
        npy,
    ),
    "labels": Reader(
        [
            b"frame,time,valence,arousal,annotator,track\n0,0,0.5,0.5,a,1\n5,0.2,-0.5,1,b,\n",
            b"time;valence;arousal\n0.1;0,5;1\n",
        ],
        TABLE,
        labels("labels.csv"),
    ),
    "elan": Reader(
        [_elan(), _subdivided()],
        [*XML, b"TIME_VALUE", b"TIME_ORIGIN", b"ANNOTATION_REF", *NUMBERS],
        labels("labels.eaf"),
    ),
    "nova": Reader([_nova("valence")], [*XML, b"sr=", b"size=", *NUMBERS], labels("clip.valence.annotation")),
    "samples": Reader([NOVA["clip.valence.annotation~"]], TABLE, labels("clip.valence.annotation~")),
    "binary": Reader(
        [SAMPLES],
        [b"\xff" * 4, b"\0\0\x80\x7f", b"\0" * 8],
        ratings("clip.valence.annotation~", binary=True),
    ),
    "rating": Reader(
        [b"time,valence,arousal,annotator\n0,0.5,0.5,a\n0.2,,1,a\n", b"time;arousal_rating\n0.1;0.5\n"],
        TABLE,
        ratings("rating.csv"),
    ),
    "nova rating": Reader([_nova("valence")], [*XML, b"sr=", b"size=", *NUMBERS], ratings("clip.valence.annotation")),
    "carma": Reader([CARMA], [*TABLE, b"Second", b"Minimum Value"], ratings("valence.csv")),
    "darma": Reader([DARMA], [*TABLE, b"Second", b"Magnitude"], ratings("rating.csv")),
    "pagan": Reader([PAGAN], [*TABLE, b"VideoTime"], ratings("valence_gtrace.csv")),
    "settings": Reader(
        [resolved_yaml(MtclarTrainingSettings()).encode(), (ROOT / "config.yaml").read_bytes()],
        [
            b"&a ",
            b"*a",
            b"<<: ",
            b"!!python/object:os.system ",
            b"!!binary ",
            b"[" * 500,
            b"? ",
            b"- ",
            b": ",
            b"\n  ",
            b"2001-99-99",
            b"1:99:99",
            b"\t",
            b"\0",
            b"\xff",
            b"0x",
            *NUMBERS,
        ],
        yaml_settings,
    ),
    "weights": Reader(
        [
            _checkpoint(CHECKPOINT),
            _checkpoint({"model": [1, 2.5, None]}),
            _checkpoint(CHECKPOINT | {"kind": "supervised", "about": {"width": 16, "encoder": {}}}),
        ],
        [
            b"PK\x03\x04",
            b"PK\x01\x02",
            b"cos\nsystem\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"\x80\x02",
            b"R",
            b"}",
            b"(",
            b"\xff" * 8,
            b"\0" * 8,
            b"mtclar",
            b"settings",
        ],
        weights,
    ),
    "exported": Reader(
        [_safetensors(CHECKPOINT | {"calibration": calibration_content(DEFAULT_CALIBRATION)})],
        [b'{"a":{"dtype":"F32"', b"data_offsets", b"__metadata__", b"[0,4]", b"mtclar", b'\\"', b"\xff" * 8, *NUMBERS],
        exported,
    ),
    "manifest": Reader(
        [MANIFEST.encode()],
        [b"settings", b"fsl_mtclar.py", b"inputs", b"sha256", b"runtime", b"[" * 500, b"{", b"}", b",", *NUMBERS],
        manifest,
    ),
    "image": Reader(
        [cv2.imencode(ending, PICTURE)[1].tobytes() for ending in (".png", ".jpg", ".bmp", ".webp")]
        + [_png_of(10**5, 10**5), _png_of(8000, 8000), _png_of(0, 1)],
        [b"IHDR", b"IDAT", b"IEND", b"\xff\xd8", b"\xff\xc0", b"\xff\xff\xff\x7f", b"RIFF", b"VP8 ", b"BM"],
        image,
    ),
}


def cases(reader: Reader) -> st.SearchStrategy[bytes]:
    """Draw valid files with one to eight changes."""
    piece = st.sampled_from(reader.words) | st.binary(min_size=1, max_size=8)
    change = st.tuples(
        st.sampled_from(["replace", "insert", "delete", "repeat", "cut"]), st.floats(0, 1), piece, st.integers(1, 80)
    )
    return st.builds(_changed, st.sampled_from(reader.seeds), st.lists(change, min_size=1, max_size=8))


def _changed(content: bytes, changes: list[tuple[str, float, bytes, int]]) -> bytes:
    """Apply changes: kind, relative position, bytes to put there, and number of bytes concerned."""
    for kind, position, piece, length in changes:
        start = int(position * len(content))
        before, part, after = content[:start], content[start : start + length], content[start + length :]
        if kind == "cut":
            content = before if position > 0.5 else content
        else:
            middle = {"replace": piece, "insert": piece + part, "delete": b"", "repeat": part * 3}[kind]
            content = before + middle + after
    return content


def attempt(reader: Reader, content: bytes) -> None:
    """Read one case. Raises an exception if the reader raises an undeclared one, or an endless message."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            reader.read(content, Path(folder))
        except UserError as error:
            assert len(str(error)) < 10_000, "the error message is too long"


@dataclass
class Outcome:
    """What fuzzing a reader gave.

    Attributes:
        cases: number of cases tried.
        undeclared: how often each undeclared exception was raised, by its type, message and line of code.
        longest: seconds of the longest case.
    """

    cases: int = 0
    undeclared: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


def fuzz(name: str, count: int, seed: int) -> Outcome:
    """Try `count` cases of a reader. Cases that raise undeclared exceptions are saved in the temporary folder."""
    reader, outcome = READERS[name], Outcome()

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(reader))
    def run(content: bytes) -> None:
        started = time.monotonic()
        try:
            attempt(reader, content)
        except Exception as error:
            outcome.undeclared[_describe(error)] += 1
            (Path(tempfile.gettempdir()) / f"fuzz_{name}_{zlib.crc32(content):08x}").write_bytes(content)
        outcome.cases += 1
        outcome.longest = max(outcome.longest, time.monotonic() - started)

    run()
    return outcome


def _describe(error: Exception) -> str:
    """Type, line of code and message of an exception."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = f"{Path(frame.filename).name} line {frame.lineno}"
    return f"{type(error).__name__} in {frame.name}, {line}: {str(error)[:80]}"


def fuzz_guided(name: str, count: int) -> None:
    """Fuzz with libFuzzer by way of atheris, which keeps cases that reach new code and changes them further.

    It ends the process when it has finished.
    """
    import atheris

    reader = READERS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(reader.seeds):
            (Path(corpus) / str(number)).write_bytes(content)
        atheris.Setup([sys.argv[0], f"-runs={count}", corpus], lambda content: attempt(reader, content))
        atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12_000, help="number of cases over all readers (default: 12000)")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS), help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the random cases (default: 0)")
    parser.add_argument("--guided", choices=READERS, help="fuzz one reader, guided by code coverage")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.guided:
        fuzz_guided(arguments.guided, arguments.cases)
        return
    started, total, undeclared = time.monotonic(), 0, Counter[str]()
    print(f"{'reader':12} {'cases':>7} {'undeclared':>11} {'seconds':>8} {'longest case':>13}")
    for name in arguments.readers:
        reader_started = time.monotonic()
        outcome = fuzz(name, -(-arguments.cases // len(arguments.readers)), arguments.seed)
        total, undeclared = total + outcome.cases, undeclared + outcome.undeclared
        duration = time.monotonic() - reader_started
        count = outcome.undeclared.total()
        print(f"{name:12} {outcome.cases:7} {count:11} {duration:8.1f} {outcome.longest:11.2f} s", flush=True)
    minutes = (time.monotonic() - started) / 60
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"\n{total} cases in {minutes:.1f} minutes, peak memory {memory:.2f} GB including PyTorch: "
        f"{undeclared.total()} undeclared exceptions"
    )
    for description, times in undeclared.most_common():
        print(f"{times:5} x {description}")
    sys.exit(bool(undeclared))


if __name__ == "__main__":
    main()
