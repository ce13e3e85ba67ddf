"""Reader and writer of NOVA's continuous annotations.

An axis (of a track) has two files. ``<name>.valence.annotation`` is the header::

    <annotation ssi-v="3">
        <info ftype="ASCII" size="7501" />
        <meta annotator="Anna" role="" />
        <scheme name="valence" type="CONTINUOUS" sr="25" min="-1" max="1" />
    </annotation>

``<name>.valence.annotation~`` has one line per sample, ``score;confidence``. Sample i is at i / sr seconds; ``NAN``
means no score. The files of the other axis are found by replacing the last ``valence`` or ``arousal`` in the name.

Format: NOVA's manual, https://github.com/hcmlab/nova
"""

import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd

from datasets.annotations.cells import parse_number, parse_scores, score_text
from datasets.annotations.files import read_text, read_xml, xml_text
from datasets.annotations.timeline import Label, Timeline
from datasets.annotations.traces import split_traces
from datasets.columns import AXES
from utils.base.errors import DataError
from utils.base.files import write_text
from utils.base.text import quoted

ENDING = ".annotation"
MAX_SAMPLES = 10_000_000

_AXIS = re.compile("|".join(AXES), re.IGNORECASE)
_TRACK = re.compile(r"(?:^|\.)track(\d{1,9})\.", re.IGNORECASE | re.ASCII)
_UNSAFE_IN_NAME = re.compile(r"[^\w-]+")


class _Samples(NamedTuple):
    """The samples of one axis: their rate per second, the annotator, and the text of each score ("" = none)."""

    rate: float
    annotator: str
    scores: list[str]


def read_nova(path: Path, timeline: Timeline, tier: str | None = None) -> list[Label]:
    """Read the labels of a pair of NOVA annotations of valence and arousal.

    A sample labels the frame nearest to its time; if several samples are nearest to the same frame, the nearest of
    them counts. Samples without score or with confidence 0 are skipped.

    Args:
        path: any of the four files.
        timeline: the frames of the video.
        tier: ignored, since NOVA annotations have no tiers.
    """
    path = path.with_name(path.name.removesuffix("~"))
    headers = {axis: _header_of(axis, path) for axis in AXES}
    samples = {axis: _read_samples(headers[axis], axis) for axis in AXES}
    valence, arousal = (samples[axis] for axis in AXES)
    if valence.rate != arousal.rate:
        raise DataError(
            f"{path}: valence has {valence.rate:g} samples a second, arousal {arousal.rate:g}; export both at one rate"
        )
    annotator = " / ".join(dict.fromkeys(filter(None, (valence.annotator, arousal.annotator))))
    track = _TRACK.search(path.name)
    nearest: dict[int, tuple[float, Label]] = {}  # by row of the timeline: distance in seconds, label
    for index in range(max(len(valence.scores), len(arousal.scores))):
        where = f"{headers['valence']}~ or {headers['arousal'].name}~ line {index + 1}"
        cells = {axis: "".join(samples[axis].scores[index : index + 1]) for axis in AXES}
        scores = parse_scores(cells, where)
        if scores is None:
            continue
        row = timeline.row_of_time(index / valence.rate, where)
        distance = abs(index / valence.rate - timeline.times[row])
        label = Label(int(timeline.frames[row]), *scores, annotator, int(track[1]) if track else None, where)
        if row not in nearest or distance < nearest[row][0]:
            nearest[row] = distance, label
    return [label for _, label in nearest.values()]


def _header_of(axis: str, path: Path) -> Path:
    """Path of the header of an axis, given the path of either axis's header."""
    matches = list(_AXIS.finditer(path.name))
    if not matches:
        raise DataError(
            f"{path}: its name contains neither valence nor arousal; rename it and its partner, such as "
            f"{path.stem}.valence{ENDING} and {path.stem}.arousal{ENDING}"
        )
    start, end = matches[-1].span()
    if matches[-1][0].lower() == axis:
        return path
    return path.with_name(path.name[:start] + _with_case_of(matches[-1][0], axis) + path.name[end:])


def _with_case_of(other: str, axis: str) -> str:
    """The axis in upper case, capitalised or in lower case, as the other word is."""
    return axis.upper() if other.isupper() else axis.capitalize() if other[0].isupper() else axis


def _read_samples(header: Path, axis: str) -> _Samples:
    """Read header and samples of one axis."""
    if not header.is_file():
        raise DataError(
            f"{header}: no such file; valence and arousal must be in the same folder, with corresponding names"
        )
    document = read_xml(header, "annotation")
    rate = _check_scheme(document.find("scheme"), axis, header)
    info, meta = document.find("info"), document.find("meta")
    info = Element("info") if info is None else info
    if info.get("ftype", "ASCII").upper() != "ASCII":
        raise DataError(f"{header}: its samples are {quoted(info.get('ftype'))}; save it as ASCII in NOVA")
    data = header.with_name(f"{header.name}~")
    lines = read_text(data, "save it as ASCII in NOVA").splitlines()
    size = info.get("size")
    if size is not None and size.strip() != str(len(lines)):
        raise DataError(f"{data}: has {len(lines)} samples where {header.name} says {quoted(size)}; restore both files")
    annotator = "" if meta is None else meta.get("annotator", "").strip()
    return _Samples(rate, annotator, [_score(line, f"{data} line {row}") for row, line in enumerate(lines, start=1)])


def _check_scheme(scheme: Element | None, axis: str, header: Path) -> float:
    """Samples per second of a scheme; DataError unless it is continuous, of this axis and over [-1, 1]."""
    if scheme is None or scheme.get("type", "").upper() != "CONTINUOUS":
        raise DataError(f"{header}: holds no continuous scheme; labels are read from NOVA's continuous annotations")
    if axis not in scheme.get("name", "").lower():
        raise DataError(f"{header}: its scheme is {quoted(scheme.get('name', ''))}, not {axis}; rename file or scheme")
    rate, low, high = (parse_number(scheme.get(key, ""), key, f"{header} scheme") for key in ("sr", "min", "max"))
    if rate <= 0:
        raise DataError(f"{header}: {rate:g} samples a second; correct sr")
    if (low, high) != (-1, 1):
        raise DataError(f"{header}: its scheme runs from {low:g} to {high:g}; labels must run from -1 to 1, rescale it")
    return rate


def _score(line: str, where: str) -> str:
    """Text of a sample's score; "" if it has none or its confidence is 0."""
    score, _, confidence = line.partition(";")
    score = score.strip()
    if score.upper() == "NAN":
        return ""
    if confidence.strip() and parse_number(confidence, "confidence", where) == 0:
        return ""
    if not score:
        raise DataError(f"{where}: has no score; write NAN for a sample without score")
    return score


def write_nova(
    folder: str | Path,
    name: str,
    table: pd.DataFrame,
    fps: float,
    confidence: np.ndarray | None = None,
    annotator: str = "MT-CLAR",
) -> list[Path]:
    """Write the labels of one video as NOVA annotations of valence and arousal, two files each, per track.

    NOVA needs a constant rate, so each sample takes the label of the frame nearest in time. A sample without label
    is ``NAN`` with confidence 0, which also marks it for readers that take NAN for 0.

    Args:
        folder: an existing folder.
        name: beginning of the file names; characters other than letters, digits, - and _ become _.
        table: columns frame, time (seconds), track, valence, arousal (NaN = no label); see ``split_traces``.
        fps: samples per second.
        confidence: (rows,) in [0, 1]; None = the table's column ``confidence``, or 1 if it has none.
        annotator: named in the headers.

    Returns:
        Paths of the headers; the samples of each are in the file whose name has ``~`` added.

    Raises:
        DataError: the rate is out of range; see also ``split_traces``.
        StorageError: a file cannot be written.
    """
    if not 0 < fps < np.inf:
        raise DataError(f"{fps} samples a second: the rate must be above 0")
    timeline, traces = split_traces(table, confidence)
    if timeline.times[-1] * fps > MAX_SAMPLES:
        raise DataError(f"{timeline.times[-1]:g} s at {fps:g} samples a second: too many for one file; lower the rate")
    seconds = np.arange(int(timeline.times[-1] * fps + 0.5) + 1) / fps
    rows = timeline.nearest(seconds)
    before_first_frame = seconds < timeline.times[0] - 0.5 / fps
    headers = []
    for trace in traces:
        for axis in AXES:
            parts = (_UNSAFE_IN_NAME.sub("_", name), trace.prefix, axis)
            header = Path(folder) / (".".join(filter(None, parts)) + ENDING)
            scores = np.where(before_first_frame, np.float32(np.nan), trace.scores[axis][rows])
            _write_samples(header, axis, scores, trace.confidence[rows], fps, annotator, role=trace.prefix)
            headers.append(header)
    return headers


def _write_samples(
    header: Path, axis: str, scores: np.ndarray, confidence: np.ndarray, rate: float, annotator: str, role: str
) -> None:
    """Write the samples of one axis, then their header, so that a header never exists without samples."""
    lines = [
        "NAN;0\n" if np.isnan(score) else f"{score_text(score)};{sample_confidence:.4g}\n"
        for score, sample_confidence in zip(scores, confidence, strict=True)
    ]
    document = Element("annotation", {"ssi-v": "3"})
    ElementTree.SubElement(document, "info", {"ftype": "ASCII", "size": str(len(lines))})
    ElementTree.SubElement(document, "meta", {"annotator": xml_text(annotator), "role": xml_text(role)})
    scheme = {"name": axis, "type": "CONTINUOUS", "sr": f"{rate:.10g}", "min": "-1", "max": "1"}
    ElementTree.SubElement(document, "scheme", scheme)
    ElementTree.indent(document)
    write_text(header.with_name(f"{header.name}~"), "".join(lines))
    text = ElementTree.tostring(document, encoding="unicode")
    write_text(header, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')
