"""NOVA continuous annotations: support labels from traces, and predicted labels as traces.

Two files per axis (and track). ``<name>.valence.annotation`` is the header::

    <annotation ssi-v="3">
        <info ftype="ASCII" size="7501" />
        <meta annotator="Anna" role="" />
        <scheme name="valence" type="CONTINUOUS" sr="25" min="-1" max="1" />
    </annotation>

``<name>.valence.annotation~`` holds a line a sample, ``score;confidence``: sample i is at i / sr seconds, ``NAN``
is no score. Valence and arousal are found from each other by the last ``valence`` or ``arousal`` in the name.

Format: NOVA's manual, https://github.com/hcmlab/nova
"""

import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd

from datasets.annotations import (
    AXES,
    Label,
    Timeline,
    parse_number,
    parse_scores,
    read_text,
    read_xml,
    score_text,
    shown,
    split_traces,
    xml_text,
)
from datasets.frames import DataError
from utils.files import write_text

ENDING = ".annotation"
MAX_SAMPLES = 10_000_000

_AXIS = re.compile("|".join(AXES), re.IGNORECASE)
_TRACK = re.compile(r"(?:^|\.)track(\d{1,9})\.", re.IGNORECASE | re.ASCII)
_UNSAFE_IN_NAME = re.compile(r"[^\w-]+")


class _Samples(NamedTuple):
    """One axis: samples a second, who made it, and the text of each score, "" where there is none."""

    rate: float
    annotator: str
    scores: list[str]


def read_nova(path: Path, timeline: Timeline) -> list[Label]:
    """Labels of a NOVA trace of valence or arousal and of its partner.

    A sample labels the frame nearest to its time; where the trace has more samples than the video has frames,
    the sample nearest to each frame counts. Samples without score or with confidence 0 are no labels.
    """
    path = path.with_name(path.name.removesuffix("~"))
    headers = {axis: _partner(path, axis) for axis in AXES}
    traces = {axis: _read_samples(headers[axis], axis) for axis in AXES}
    valence, arousal = (traces[axis] for axis in AXES)
    if valence.rate != arousal.rate:
        raise DataError(f"{path}: valence has {valence.rate:g} samples a second, arousal {arousal.rate:g}; "
                        "export both at one rate")  # fmt: skip
    annotator = " / ".join(dict.fromkeys(filter(None, (valence.annotator, arousal.annotator))))
    track = _TRACK.search(path.name)
    best: dict[int, tuple[float, Label]] = {}
    for index in range(max(len(valence.scores), len(arousal.scores))):
        where = f"{headers['valence']}~ or {headers['arousal'].name}~ line {index + 1}"
        cells = {axis: "".join(traces[axis].scores[index : index + 1]) for axis in AXES}
        scores = parse_scores(cells, where)
        if scores is None:
            continue
        row = timeline.row_of_time(index / valence.rate, where)
        distance = abs(index / valence.rate - timeline.times[row])
        label = Label(int(timeline.frames[row]), *scores, annotator, int(track[1]) if track else None, where)
        if row not in best or distance < best[row][0]:
            best[row] = distance, label
    return [label for _, label in best.values()]


def _partner(path: Path, axis: str) -> Path:
    """The header of an axis, from that of either."""
    matches = list(_AXIS.finditer(path.name))
    if not matches:
        raise DataError(f"{path}: its name says neither valence nor arousal; rename it and its partner, say "
                        f"{path.stem}.valence{ENDING} and {path.stem}.arousal{ENDING}")  # fmt: skip
    start, end = matches[-1].span()
    if matches[-1][0].lower() == axis:
        return path
    return path.with_name(path.name[:start] + _like(axis, matches[-1][0]) + path.name[end:])


def _like(axis: str, other: str) -> str:
    """The axis in upper case, capitalised or lower case, as the other is."""
    return axis.upper() if other.isupper() else axis.capitalize() if other[0].isupper() else axis


def _read_samples(header: Path, axis: str) -> _Samples:
    if not header.is_file():
        raise DataError(f"{header}: no such file; valence and arousal must lie side by side, named alike")
    document = read_xml(header, "annotation")
    rate = _check_scheme(document.find("scheme"), axis, header)
    info, meta = document.find("info"), document.find("meta")
    info = Element("info") if info is None else info
    if info.get("ftype", "ASCII").upper() != "ASCII":
        raise DataError(f"{header}: its samples are {shown(info.get('ftype'))}; save it as ASCII in NOVA")
    data = header.with_name(f"{header.name}~")
    lines = read_text(data, "save it as ASCII in NOVA").splitlines()
    if info.get("size") is not None and info.get("size").strip() != str(len(lines)):
        raise DataError(f"{data}: has {len(lines)} samples where {header.name} says {shown(info.get('size'))}; "
                        "restore both files")  # fmt: skip
    annotator = "" if meta is None else meta.get("annotator", "").strip()
    return _Samples(rate, annotator, [_score(line, f"{data} line {row}") for row, line in enumerate(lines, start=1)])


def _check_scheme(scheme: Element | None, axis: str, header: Path) -> float:
    """Samples a second of a continuous scheme of this axis over [-1, 1]."""
    if scheme is None or scheme.get("type", "").upper() != "CONTINUOUS":
        raise DataError(f"{header}: holds no continuous scheme; labels are read from NOVA's continuous annotations")
    if axis not in scheme.get("name", "").lower():
        raise DataError(f"{header}: its scheme is {shown(scheme.get('name', ''))}, not {axis}; rename file or scheme")
    rate, low, high = (parse_number(scheme.get(key, ""), key, f"{header} scheme") for key in ("sr", "min", "max"))
    if rate <= 0:
        raise DataError(f"{header}: {rate:g} samples a second; correct sr")
    if (low, high) != (-1, 1):
        raise DataError(f"{header}: its scheme runs from {low:g} to {high:g}; labels must run from -1 to 1, rescale it")
    return rate


def _score(line: str, where: str) -> str:
    """Text of a sample's score, "" for none."""
    score, _, confidence = line.partition(";")
    score = score.strip()
    if score.upper() == "NAN":
        return ""
    if confidence.strip() and parse_number(confidence, "confidence", where) == 0:
        return ""
    if not score:
        raise DataError(f"{where}: has no score; NAN is what says none")
    return score


def write_nova(
    folder: str | Path,
    name: str,
    table: pd.DataFrame,
    fps: float,
    confidence: np.ndarray | None = None,
    annotator: str = "MT-CLAR",
) -> list[Path]:
    """Write the labels of one video as NOVA traces of valence and arousal, two files each, per track.

    NOVA needs a constant rate: each sample takes the label of the frame nearest in time. A sample without label
    is ``NAN`` with confidence 0, which also marks it for readers that take NAN for 0.

    Args:
        folder: an existing folder.
        name: start of the file names; what is not a letter, digit, - or _ becomes _.
        table: columns frame, time (seconds), track, valence, arousal (NaN = none); see ``split_traces``.
        fps: samples a second.
        confidence: (rows,) in [0, 1]; None: the table's column ``confidence``, or else 1.

    Returns:
        The headers written; the samples of each lie beside it, its name with ``~`` added.
    """
    if not 0 < fps < np.inf:
        raise DataError(f"{fps} samples a second: the rate must be above 0")
    timeline, traces = split_traces(table, confidence)
    if timeline.times[-1] * fps > MAX_SAMPLES:
        raise DataError(f"{timeline.times[-1]:g} s at {fps:g} samples a second: too many for a file; lower the rate")
    seconds = np.arange(int(timeline.times[-1] * fps + 0.5) + 1) / fps
    rows = timeline.nearest(seconds)
    early = seconds < timeline.times[0] - 0.5 / fps
    headers = []
    for trace in traces:
        for axis in AXES:
            parts = (_UNSAFE_IN_NAME.sub("_", name), trace.prefix, axis)
            header = Path(folder) / (".".join(filter(None, parts)) + ENDING)
            scores = np.where(early, np.float32(np.nan), trace.scores[axis][rows])
            _write_samples(header, axis, scores, trace.confidence[rows], fps, annotator, role=trace.prefix)
            headers.append(header)
    return headers


def _write_samples(
    header: Path, axis: str, scores: np.ndarray, confidence: np.ndarray, rate: float, annotator: str, role: str
) -> None:
    """The samples first: a header never stands without them."""
    lines = [f"{score_text(score)};{sure:.4g}\n" if score == score else "NAN;0\n"
             for score, sure in zip(scores, confidence, strict=True)]  # fmt: skip
    document = Element("annotation", {"ssi-v": "3"})
    ElementTree.SubElement(document, "info", {"ftype": "ASCII", "size": str(len(lines))})
    ElementTree.SubElement(document, "meta", {"annotator": xml_text(annotator), "role": xml_text(role)})
    scheme = {"name": axis, "type": "CONTINUOUS", "sr": f"{rate:.10g}", "min": "-1", "max": "1"}
    ElementTree.SubElement(document, "scheme", scheme)
    ElementTree.indent(document)
    write_text(header.with_name(f"{header.name}~"), "".join(lines))
    text = ElementTree.tostring(document, encoding="unicode")
    write_text(header, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')
