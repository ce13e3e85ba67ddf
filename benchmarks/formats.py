"""Every annotation format with a video of three hours: written, read back, compared.

    python benchmarks/formats.py                        270,000 frames, 2 to 3 minutes
    python benchmarks/formats.py --formats ELAN NOVA --frames 2160000       24 hours
    python benchmarks/formats.py --tools /tmp/tools     also read by pympi-ling, discover-utils and datasets, which are
                                                        installed into this new virtual environment

One face, 25 frames per second, random labels in float32, no label in 1 of 50 frames, and a label by a person every
second. Formats that the project only reads are written here as their tools write them, with a bin or sample per frame.
Each row is measured in a process of its own; its peak memory includes about 110 MB of Python
and libraries.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np
import pandas as pd
from measure import measure_alone

from datasets.annotations.formats import EXPORTS
from datasets.annotations.labels import read_labels
from datasets.annotations.ratings import read_rating
from datasets.annotations.timeline import Timeline
from datasets.annotations.traces import VideoExport
from datasets.columns import AXES

FPS = 25
TOOLS = ("pympi-ling", "hcai-discover-utils", "datasets")


def make_table(frames: int) -> pd.DataFrame:
    """Estimated labels of a video, as labels.csv has them."""
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, (frames, len(AXES))).astype(np.float32)
    values[rng.random(frames) < 0.02] = np.nan
    frame = np.arange(frames)
    table = pd.DataFrame({"video": "clip", "track": 0, "frame": frame, "time": frame / FPS})
    for column, axis in enumerate(AXES):
        table[axis] = values[:, column]
        for end, shift in ("low", -0.1), ("high", 0.1):
            table[f"{axis}_{end}"] = np.clip(values[:, column] + np.float32(shift), -1, 1)
    return table


def given_labels(table: pd.DataFrame) -> pd.DataFrame:
    """A label by a person every second."""
    labels = table[::FPS].dropna(subset="valence")
    return labels[["track", "frame", *AXES]].assign(annotator="Ada")


def write_labels_csv(folder: Path, table: pd.DataFrame) -> None:
    from utils.runs.run_folder import RunFolder  # imports PyTorch, whose memory the other rows should not include

    RunFolder(folder).save_table("labels.csv", table)


def write_export(name: str) -> Callable[[Path, pd.DataFrame], None]:
    """Writer of an export of the project."""

    def write(folder: Path, table: pd.DataFrame) -> None:
        video = folder / "clip.mp4"
        video.write_bytes(b"not measured")
        EXPORTS[name](folder, VideoExport("clip", video, FPS, table, given_labels(table)))
        video.unlink()

    return write


def write_carma(folder: Path, table: pd.DataFrame) -> None:
    header = (
        "Time of Rating,2026-01-01\nMultimedia File,clip.mp4\nLower Label,low\nUpper Label,high\nMinimum Value,-100\n"
        "Maximum Value,100\nNumber of Steps,9\nSecond,Rating\n%%%%%%,%%%%%%\n"
    )
    for axis in AXES:
        rows = zip((table["frame"] + 0.5) / FPS, table[axis].astype(float) * 100, strict=True)
        text = "".join(f"{second + 0.5 / FPS:.6f},{value:.9g}\n" for second, value in rows)
        (folder / f"clip_{axis}.csv").write_text(header + text)


def write_darma(folder: Path, table: pd.DataFrame) -> None:
    header = (
        "Time of Rating,2026-01-01,,\nMultimedia File,clip.mp4,,\nMagnitude,1000,,\nSecond,Valence,Arousal,Button\n"
        "%%%%%%,%%%%%%,%%%%%%,%%%%%%\n"
    )
    values = (table[axis].astype(float) * 1000 for axis in AXES)
    rows = zip((table["frame"] + 1) / FPS, *values, strict=True)
    text = "".join(f"{second:.6f},{valence:.9g},{arousal:.9g},0\n" for second, valence, arousal in rows)
    (folder / "clip.csv").write_text(header + text)


def write_pagan(folder: Path, table: pd.DataFrame) -> None:
    header = "OriginalName,DatabaseName,Participant,SessionID,Timestamp,VideoTime,Value\n"
    for axis in AXES:
        rows = zip(table["time"] * 1000, table[axis].astype(float) * 100, strict=True)
        text = "".join(f"clip.mp4,x.mp4,Ada,1,2026,{milliseconds:.0f},{value:.9g}\n" for milliseconds, value in rows)
        (folder / f"clip_{axis}_gtrace.csv").write_text(header + text)


def write_nova_binary(folder: Path, table: pd.DataFrame) -> None:
    for axis in AXES:
        samples = np.zeros(len(table), "<f4,<f4")
        samples["f0"], samples["f1"] = table[axis], table[axis].notna()
        samples.tofile(folder / f"clip.{axis}.annotation~")
        (folder / f"clip.{axis}.annotation").write_text(
            f'<annotation ssi-v="3"><info ftype="BINARY" size="{len(table)}" /><meta annotator="Jürgen & Co" role="" />'
            f'<scheme name="{axis}" type="CONTINUOUS" sr="{FPS}" min="-1" max="1" /></annotation>',
            encoding="cp1252",
        )


def labels_of(path: Path, frames: int) -> np.ndarray:
    """(frames, 2) labels as `read_labels` reads them; NaN = none."""
    labels = read_labels(path, Timeline.at_rate(frames, FPS))
    values = np.full((frames, len(AXES)), np.nan, np.float32)
    values[labels["frame"]] = labels[list(AXES)]
    return values


def rating_of(paths: list[Path], frames: int) -> np.ndarray:
    """(frames, 2) values as `read_rating` reads them, at the frame on screen; NaN = none."""
    values = np.full((frames, len(AXES)), np.nan)
    for path in paths:
        rating = read_rating(path)
        rows = np.floor(rating.times * FPS + 0.01).astype(int)
        rated = ~np.isnan(rating.values)
        for column in range(len(AXES)):
            values[rows[rated[:, column]], column] = rating.values[rated[:, column], column]
    return values.astype(np.float32)


def read_parquet(folder: Path, frames: int) -> np.ndarray:
    """(frames, 2) labels of the exported data set."""
    (row,) = pd.read_parquet(folder / "huggingface" / "metadata.parquet").to_dict("records")
    values = np.full((frames, len(AXES)), np.nan, np.float32)
    values[row["frame"]] = np.stack([row[axis] for axis in AXES], axis=1)
    return values


def given_file(folder: Path) -> Path:
    """File of the given labels of an ELAN export: a CSV if they are too many for annotations."""
    table = folder / "clip_given_labels.csv"
    return table if table.exists() else folder / "clip.eaf"


class Trial(NamedTuple):
    """A format: its writer, whether it is one of the project's, and readers by name, with what they read."""

    write: Callable[[Path, pd.DataFrame], None]
    ours: bool
    readers: dict[str, Callable[[Path, int], np.ndarray]]


TRIALS = {
    "labels.csv": Trial(write_labels_csv, True, {"labels": lambda folder, n: labels_of(folder / "labels.csv", n)}),
    "ELAN": Trial(
        write_export("elan"),
        True,
        {
            "labelled frames": lambda folder, n: labels_of(given_file(folder), n),
            "trace as labels": lambda folder, n: labels_of(folder / "clip_track0_trace.csv", n),
            "trace as rating": lambda folder, n: rating_of([folder / "clip_track0_trace.csv"], n),
        },
    ),
    "NOVA": Trial(
        write_export("nova"),
        True,
        {
            "labels": lambda folder, n: labels_of(folder / "clip.track0.valence.annotation", n),
            "rating": lambda folder, n: rating_of([folder / "clip.track0.valence.annotation"], n),
        },
    ),
    "Hugging Face": Trial(write_export("huggingface"), True, {"metadata.parquet": read_parquet}),
    "NOVA, BINARY": Trial(
        write_nova_binary, False, {"rating": lambda folder, n: rating_of([folder / "clip.valence.annotation"], n)}
    ),
    "CARMA": Trial(write_carma, False, {"rating": lambda folder, n: rating_of(sorted(folder.glob("*.csv")), n)}),
    "DARMA": Trial(write_darma, False, {"rating": lambda folder, n: rating_of([folder / "clip.csv"], n)}),
    "PAGAN": Trial(write_pagan, False, {"rating": lambda folder, n: rating_of(sorted(folder.glob("*.csv")), n)}),
}


def timed_write(name: str, folder: Path, frames: int) -> float:
    """Seconds to write a format."""
    table = make_table(frames)
    start = time.perf_counter()
    TRIALS[name].write(folder, table)
    return time.perf_counter() - start


def timed_read(name: str, reader: str, folder: Path, frames: int) -> tuple[float, str]:
    """Seconds to read a format, and how the values differ from those written."""
    table = make_table(frames)
    start = time.perf_counter()
    values = TRIALS[name].readers[reader](folder, frames)
    duration = time.perf_counter() - start
    expected = table[list(AXES)].to_numpy()
    if reader == "labelled frames":
        expected[~table["frame"].isin(given_labels(table)["frame"])] = np.nan
    return duration, difference(values, expected)


def difference(values: np.ndarray, expected: np.ndarray) -> str:
    """Whether values are equal in float32, or by how much they differ."""
    if np.array_equal(values, expected, equal_nan=True):
        return "equal"
    if not np.array_equal(np.isnan(values), np.isnan(expected)):
        return f"MISSING IN {(np.isnan(values) != np.isnan(expected)).sum()} VALUES"
    return f"within {np.nanmax(np.abs(values - expected)):.1g}"


def measure(names: list[str], frames: int, folder: Path) -> None:
    """Print one row per format and reader."""
    print("| format | read as | MB | seconds to write, read | peak MB to write, read | values |")
    print("|---|---|---|---|---|---|")
    for name in names:
        trial = TRIALS[name]
        trial_folder = folder / name.replace(", ", "_").replace(" ", "_")
        trial_folder.mkdir()
        written = measure_alone(timed_write, name, trial_folder, frames)
        size = sum(path.stat().st_size for path in trial_folder.rglob("*") if path.is_file()) / 1e6
        for reader in trial.readers:
            read = measure_alone(timed_read, name, reader, trial_folder, frames)
            times = f"{written.value:.1f}, {read.value[0]:.1f}" if trial.ours else f"-, {read.value[0]:.1f}"
            memory = f"{written.megabytes:.0f}, {read.megabytes:.0f}" if trial.ours else f"-, {read.megabytes:.0f}"
            print(f"| {name} | {reader} | {size:.1f} | {times} | {memory} | {read.value[1]} |", flush=True)


def read_by_tools(environment: Path, frames: int, folder: Path) -> None:
    """Install the tools' own readers into an environment, read the exports by them, and print how values differ."""
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *TOOLS], check=True)
    table = make_table(frames)
    np.save(folder / "trace.npy", table[list(AXES)].to_numpy())
    np.save(folder / "given.npy", given_labels(table)[["frame", *AXES]].to_numpy(np.float64))
    print("\n| reader | read | seconds | values |\n|---|---|---|---|")
    for reader, code in TOOL_READERS.items():
        done = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            print(f"| {reader} | FAILED: {done.stderr.strip().splitlines()[-1]} | | |")
            continue
        result = json.loads(done.stdout.splitlines()[-1])
        print(f"| {reader} | {result['read']} | {result['seconds']:.1f} | {result['values']} |", flush=True)


COMPARE = """
import json, time, numpy as np
def report(read, start, values, expected):
    same = values.shape == expected.shape and np.array_equal(values, expected, equal_nan=True)
    text = "equal" if same else f"DIFFERENT: {values.shape} {expected.shape}"
    print(json.dumps({"read": read, "seconds": time.perf_counter() - start, "values": text}))
trace, given = np.load("trace.npy"), np.load("given.npy")
start = time.perf_counter()
"""

TOOL_READERS = {
    "pympi-ling": COMPARE
    + """
import pympi
document = pympi.Eaf("ELAN/clip.eaf")
tiers = [sorted(document.get_annotation_data_for_tier(f"track0_Ada_{axis}")) for axis in ("valence", "arousal")]
values = np.array([[start / 40, float(value)] for start, _, value in tiers[0]])
values = np.column_stack([values, [float(value) for _, _, value in tiers[1]]])
report(f"{len(values)} annotations of each axis", start, values.astype(np.float32), given.astype(np.float32))
""",
    "discover-utils": COMPARE
    + """
from pathlib import Path
from discover_utils.data.handler.file_handler import FileHandler
names = [Path(f"NOVA/clip.track0.{axis}.annotation") for axis in ("valence", "arousal")]
read = [FileHandler().load(name) for name in names]
values = np.stack([annotation.data["score"] for annotation in read], axis=1)
scheme = read[0].annotation_scheme
report(f"{len(values)} samples at {scheme.sample_rate:g} Hz", start, values.astype(np.float32), trace)
""",
    "datasets": COMPARE
    + """
from datasets import Video, load_dataset
data = load_dataset("videofolder", data_dir="Hugging_Face/huggingface", cache_dir="cache")["train"]
row = data.cast_column("video", Video(decode=False))[0]
values = np.full_like(trace, np.nan)
values[row["frame"]] = np.stack([row["valence"], row["arousal"]], axis=1)
report(f"{len(data)} video, columns {', '.join(data.column_names[:6])}, ...", start, values, trace)
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=270_000, help="length of the video (default: 270000)")
    parser.add_argument("--formats", nargs="+", choices=TRIALS, default=list(TRIALS), help="default: all")
    parser.add_argument("--tools", type=Path, help="virtual environment for the readers of the tools; made if missing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(arguments.formats, arguments.frames, Path(name))
        if arguments.tools:
            read_by_tools(arguments.tools, arguments.frames, Path(name))


if __name__ == "__main__":
    main()
