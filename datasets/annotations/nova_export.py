"""Writer of NOVA's continuous annotations; see ``nova_samples`` for the format."""

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd

from datasets.annotations.cells import score_text
from datasets.annotations.files import MAX_ROWS, xml_text
from datasets.annotations.nova_samples import ENDING
from datasets.annotations.traces import VideoExport, split_traces
from datasets.columns import AXES
from utils.base.errors import DataError
from utils.base.files import write_text

_UNSAFE_IN_NAME = re.compile(r"[^\w-]+")


def export_nova(folder: Path, export: VideoExport) -> None:
    """Write the NOVA annotations of a video; see ``write_nova``."""
    write_nova(folder, export.name, export.table, export.fps)


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
    is ``NaN`` with confidence 0, which also marks it for readers that take NaN for 0. NOVA knows this spelling only.

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
    if timeline.times[-1] * fps + 1 > MAX_ROWS:
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
        "NaN;0\n" if np.isnan(score) else f"{score_text(score)};{sample_confidence:.4g}\n"
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
