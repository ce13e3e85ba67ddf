"""Writer of ELAN annotations: labelled frames as annotations, traces as linked files.

For ``clip.eaf``, a trace is ``clip_trace.csv``, or ``clip_track3_trace.csv`` for track 3, with columns time (seconds),
valence, arousal and track. ``clip_tsconf.xml`` tells ELAN's time series viewer to draw it as lines. A trace is not
written as annotations, because those of one frame take ten XML elements.

Format: ELAN Annotation Format 3.0, https://archive.mpi.nl/tla/elan
"""

import logging
import mimetypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
import pandas as pd

from datasets.annotations.cells import score_text
from datasets.annotations.elan import SEPARATORS
from datasets.annotations.files import xml_text
from datasets.annotations.timeline import Timeline
from datasets.annotations.traces import TrackTrace, VideoExport, split_traces
from datasets.columns import AXES
from utils.base.files import write_atomically, write_text
from utils.base.text import safe_text

if TYPE_CHECKING:
    from pympi import Eaf

log = logging.getLogger(__name__)

SCHEMA = {
    "FORMAT": "3.0",
    "VERSION": "3.0",
    "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
    "DATE": "1970-01-01T00:00:00Z",
}
"""ELAN requires a date of writing; a fixed one gives equal files for equal labels."""
MAX_ANNOTATED = 20_000
"""Labels that are written as annotations, about 640 bytes each."""

COLOURS = {"valence": "0,0,255", "arousal": "255,0,0"}
"""Red, green and blue of the lines of the axes."""


def export_elan(folder: Path, export: VideoExport) -> None:
    """Write `<name>.eaf`, its traces and their configuration; see ``write_elan``."""
    video = export.video if export.video.is_file() else None
    write_elan(folder / f"{export.name}.eaf", export.table, export.labels, video)


def write_elan(path: Path, table: pd.DataFrame, labels: pd.DataFrame, video: Path | None) -> list[Path]:
    """Write the labels of one video as an ELAN file with linked traces.

    Args:
        path: the ``.eaf`` to write; the traces are written beside it.
        table: the traces, with columns frame, time (seconds), track, valence, arousal (NaN = no label); see
            ``split_traces``.
        labels: one row per given label: frame, valence, arousal, and optionally track and annotator. Each becomes an
            annotation that lasts as long as the frame is shown. More than MAX_ANNOTATED labels are written as CSV.
        video: the media file to link; None = no file, for a folder of frames.

    Returns:
        Paths of all files; the first is the ``.eaf``.

    Raises:
        DataError: a label is of a frame that the table lacks; see also ``split_traces``.
        StorageError: a file cannot be written.
    """
    # Imported here, so that reading labels does not need pympi.
    from pympi import Eaf
    from pympi.Elan import to_string

    timeline, traces = split_traces(table)
    configuration = path.with_name(f"{path.stem}_tsconf.xml")
    trace_files = {_trace_path(path, trace): trace for trace in traces}
    given = []
    if len(labels) > MAX_ANNOTATED:
        given.append(_write_given(path, labels))
        labels = labels[:0]
    document = Eaf(author="MT-CLAR")
    document.adocument.update(SCHEMA)
    document.remove_tier("default")
    document.header = {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    if video is not None:
        document.add_linked_file(**_link(video, path, mimetypes.guess_type(video.name)[0] or "unknown"))
    for file in [*given, *trace_files]:
        document.add_secondary_linked_file(**_link(file, path, "unknown"))
    document.add_secondary_linked_file(**_link(configuration, path, "text/xml"))
    count = _add_annotations(document, labels, timeline, [trace.prefix for trace in traces])
    document.properties = [("lastUsedAnnotationId", count)]
    for file, trace in trace_files.items():
        write_text(file, _trace_text(trace, timeline))
    write_text(configuration, _time_series(trace_files))
    write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{to_string(document)}\n')
    return [path, configuration, *trace_files, *given]


def _write_given(path: Path, labels: pd.DataFrame) -> Path:
    """Write the given labels as CSV beside the ELAN file, and return its path."""
    given = path.with_name(f"{path.stem}_given_labels.csv")
    log.warning("%s: %s labels are too many for annotations; they are in %s", path, f"{len(labels):,}", given.name)
    columns = [column for column in ("track", "frame", *AXES, "annotator") if column in labels]
    values = labels[columns].assign(**{axis: labels[axis].map(lambda x: score_text(np.float32(x))) for axis in AXES})
    if "annotator" in labels:
        values["annotator"] = labels["annotator"].map(safe_text)
    write_atomically(given, lambda temporary: values.to_csv(temporary, index=False))
    return given


def _add_annotations(document: "Eaf", labels: pd.DataFrame, timeline: Timeline, prefixes: list[str]) -> int:
    """Add a tier for each axis of each track and annotator; without any label, the empty tiers of the tracks."""
    ends = _milliseconds(timeline)
    count = 0
    used: set[str] = set()
    for prefix, annotator, rows in _groups(labels) or [(prefix, "", labels) for prefix in prefixes]:
        name = _unused("_".join(filter(None, (prefix, annotator))), used)
        for axis in AXES:
            tier = f"{name}_{axis}" if name else axis
            document.add_tier(tier, part=prefix or None, ann=annotator or None)
            for frame, score in zip(rows["frame"], rows[axis], strict=True):
                row = timeline.row_of_frame(int(frame), f"label of frame {frame}")
                document.add_annotation(tier, ends[row], ends[row + 1], score_text(np.float32(score)))
                count += 1
    return count


def _unused(name: str, used: set[str]) -> str:
    """The name, numbered if the reader would take it for one of those used before; it is added to them."""
    number, numbered = 1, name
    while (key := numbered.strip(SEPARATORS).casefold()) in used:
        number += 1
        numbered = f"{name}_{number}"
    used.add(key)
    return numbered


def _groups(labels: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """The labels of each track and annotator: the prefix of the track, the annotator and the rows."""
    keys = pd.DataFrame(
        {
            "prefix": [f"track{int(track)}" if pd.notna(track) else "" for track in labels.get("track", [])]
            or [""] * len(labels),
            "annotator": [xml_text(name) for name in labels.get("annotator", [])] or [""] * len(labels),
        },
        index=labels.index,
    )
    groups = labels.groupby([keys["prefix"], keys["annotator"]])
    return [(str(prefix), str(annotator), rows) for (prefix, annotator), rows in groups]


def _milliseconds(timeline: Timeline) -> list[int]:
    """Starts of the N frames and the end of the last in milliseconds, each at least 1 ms after the one before."""
    ends = np.round(np.append(timeline.times, timeline.times[-1] + timeline.step) * 1000).astype(np.int64)
    count = np.arange(len(ends))
    return (np.maximum.accumulate(np.maximum(ends, 0) - count) + count).tolist()


def _trace_path(path: Path, trace: TrackTrace) -> Path:
    """Path of the file of a trace."""
    return path.with_name("_".join(filter(None, (path.stem, trace.prefix, "trace"))) + ".csv")


def _trace_text(trace: TrackTrace, timeline: Timeline) -> str:
    """CSV of the frames of a trace that have a label."""
    rows = np.flatnonzero(~np.isnan(trace.scores["valence"]) & ~np.isnan(trace.scores["arousal"]))
    scores = zip(*(trace.scores[axis][rows] for axis in AXES), strict=True)
    header, end = ("track", f",{trace.track}") if trace.track is not None else ("", "")
    lines = [
        f"{seconds:.6f},{score_text(valence)},{score_text(arousal)}{end}\n"
        for seconds, (valence, arousal) in zip(timeline.times[rows].tolist(), scores, strict=True)
    ]
    return ",".join(filter(None, ("time", *AXES, header))) + "\n" + "".join(lines)


def _time_series(trace_files: Mapping[Path, TrackTrace]) -> str:
    """Configuration of ELAN's time series viewer. The rate is discontinuous, since frames may be missing."""
    root = Element("timeseries", {"version": "1.0"})
    for file, trace in trace_files.items():
        attributes = {"sample-type": "Discontinuous Rate", "source-url": file.absolute().as_uri(), "time-column": "0"}
        source = SubElement(root, "tracksource", attributes)
        provider = "mpi.eudico.client.annotator.timeseries.csv.CSVServiceProvider"
        SubElement(source, "property", {"key": "provider", "value": provider})
        for column, axis in enumerate(AXES, start=1):
            track = SubElement(source, "track", {"name": f"{trace.prefix} {axis}".strip(), "derivative": "0"})
            SubElement(track, "property", {"key": "detect-range", "value": "false"})
            SubElement(SubElement(track, "sample-position"), "pos", {"row": "0", "col": str(column)})
            SubElement(track, "description")
            SubElement(track, "units")
            SubElement(track, "range", {"min": "-1.0", "max": "1.0"})
            SubElement(track, "color").text = COLOURS[axis]
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _link(file: Path, path: Path, mime_type: str) -> Mapping[str, str | None]:
    """Arguments for pympi of a file that an ELAN file at `path` links."""
    file = file.absolute()
    try:
        relative = Path(os.path.relpath(file, path.absolute().parent)).as_posix()
    except ValueError:  # on another drive there is no relative path
        relative = None
    return {
        "file_path": file.as_uri(),
        "relpath": relative and xml_text(relative if relative.startswith("../") else f"./{relative}"),
        "mimetype": mime_type,
    }
