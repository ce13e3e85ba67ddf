"""The table of annotation formats: how a file is recognised, what it holds, and who reads and writes it.

A new format needs a file with its reader or writer, and a line in ``FORMATS``. Labels are labels of single frames; a
rating is one person's continuous rating of a video. An export holds the labels that were estimated for a video.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from datasets.annotations import carma, darma, pagan
from datasets.annotations.csv_labels import read_csv
from datasets.annotations.csv_ratings import read_csv_rating
from datasets.annotations.elan import read_elan
from datasets.annotations.elan_export import export_elan
from datasets.annotations.huggingface import export_huggingface
from datasets.annotations.nova import read_nova, read_nova_rating
from datasets.annotations.nova_export import export_nova
from datasets.annotations.rating_files import Rating
from datasets.annotations.timeline import Label, Timeline
from datasets.annotations.traces import VideoExport
from utils.base.errors import DataError

NOVA_SUFFIXES = (".annotation", ".annotation~")
HEAD_BYTES = 4096
"""Bytes at the beginning of a file by which its format is recognised."""


class LabelReader(Protocol):
    """Reads the labels of one video from a file; `tier` is for formats whose files may hold several sets of labels."""

    def __call__(self, path: Path, timeline: Timeline, tier: str | None = None) -> Iterable[Label]: ...


class AnnotationFormat(NamedTuple):
    """A file format.

    Attributes:
        name: for messages and documentation.
        suffixes: of its files, in lower case.
        marks: beginnings of rows, in lower case, that tell it from other formats with the same suffix; none = any file.
        read_labels: reader of labels; None = the format holds none.
        read_rating: reader of a rating; None = the format holds none.
        export: writer of a video's labels into a folder; None = the format is only read.
        beside: endings of names under which labels of ``clip.mp4`` are found beside it, such as ``_labels.csv``.
    """

    name: str
    suffixes: tuple[str, ...]
    marks: tuple[str, ...] = ()
    read_labels: LabelReader | None = None
    read_rating: Callable[[Path], Rating] | None = None
    export: Callable[[Path, VideoExport], None] | None = None
    beside: tuple[str, ...] = ()


FORMATS = (
    AnnotationFormat("CARMA", (".csv",), carma.MARKS, read_rating=carma.read_carma),
    AnnotationFormat("DARMA", (".csv",), darma.MARKS, read_rating=darma.read_darma),
    AnnotationFormat("PAGAN", (".csv",), pagan.MARKS, read_rating=pagan.read_pagan),
    AnnotationFormat(
        "CSV", (".csv", ".tsv"), (), read_csv, read_csv_rating, beside=("_labels.csv", ".csv", "_labels.tsv")
    ),
    AnnotationFormat("ELAN", (".eaf",), (), read_elan, export=export_elan, beside=(".eaf",)),
    AnnotationFormat(
        "NOVA", NOVA_SUFFIXES, (), read_nova, read_nova_rating, export_nova, beside=(".valence.annotation",)
    ),
    AnnotationFormat("huggingface", (), export=export_huggingface),
)
"""A file has the first format with its suffix whose marks it bears."""

EXPORTS = {entry.name.lower(): entry.export for entry in FORMATS if entry.export is not None}
"""Name in settings -> exporter."""

LABEL_ENDINGS = tuple(ending for entry in FORMATS for ending in entry.beside)


def format_of(path: Path, content: str) -> AnnotationFormat:
    """Format of a file, recognised by its suffix and, where several formats share it, by its first rows.

    Args:
        path: the file.
        content: what the file should hold, "labels" or "rating", for the error message.

    Raises:
        DataError: no format has this suffix.
    """
    candidates = [entry for entry in FORMATS if path.suffix.lower() in entry.suffixes]
    if not candidates:
        reads = [entry for entry in FORMATS if getattr(entry, f"read_{content}")]
        known = ", ".join(f"{' '.join(entry.suffixes)} ({entry.name})" for entry in reads)
        raise DataError(f"{path}: {content.rstrip('s')}s are read from {known}; export one of these")
    rows = _first_rows(path) if len(candidates) > 1 else []
    return next(entry for entry in candidates if all(any(row.startswith(mark) for row in rows) for mark in entry.marks))


def _first_rows(path: Path) -> list[str]:
    """First rows of a text file in lower case, without leading quotes; none if it cannot be read."""
    try:
        if not path.is_file():
            return []
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return []
    return [row.lstrip('" ').lower() for row in head.decode("utf-8-sig", errors="replace").splitlines()]
