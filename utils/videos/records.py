"""What a run keeps of each video that it has finished, so that an interrupted run continues after the last one."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from utils.base.files import append_line, write_text

FILE_NAME = "finished_videos.jsonl"
INDEX_NAME = "index.csv"


class VideoRecord(NamedTuple):
    """What a run keeps of a finished video, in plain values.

    Attributes:
        index_row: its row of index.csv; empty: the run writes no table of this video.
        tracks: rows of the printed summary.
        tables: file name → rows of the video in a table of all videos, such as audit.csv.
        note: a line for the end of the run.
    """

    index_row: dict[str, Any] = {}
    tracks: list[dict[str, Any]] = []
    tables: dict[str, list[dict[str, Any]]] = {}
    note: str = ""


class VideoRecords:
    """The records of the finished videos of a run, by the name of the video file. The file grows by a line per video.

    Attributes:
        path: the file; None: the records are not saved, and a run starts from the beginning.
        seconds: length of all videos.
    """

    def __init__(self, path: Path | None):
        """Read the records of an interrupted run, if the file exists."""
        self.path = path
        self._by_video: dict[str, VideoRecord] = {}
        if path and path.exists():
            lines = path.read_text(encoding="utf-8").split("\n")
            # If the machine stopped while a line was written, the last line is only a part, without a line end.
            write_text(path, "".join(line + "\n" for line in lines[:-1]))
            self._by_video = dict(map(_parse, lines[:-1]))
        self.seconds = sum(map(_seconds, self._by_video.values()))

    def __contains__(self, video: Path) -> bool:
        return video.name in self._by_video

    def __len__(self) -> int:
        return len(self._by_video)

    def add(self, video: Path, record: VideoRecord) -> None:
        """Add a record, of a video whose files are all written."""
        line = json.dumps({"video": video.name, **record._asdict()}, default=_plain)
        # What is kept in memory is what would be read again, so that an interrupted run ends with the same tables.
        name, record = _parse(line)
        self._by_video[name] = record
        self.seconds += _seconds(record)
        if self.path:
            append_line(self.path, line)

    @property
    def notes(self) -> list[str]:
        """The notes, in the order of the videos."""
        return [record.note for record in self._by_video.values() if record.note]

    @property
    def tracks(self) -> list[dict[str, Any]]:
        """The rows of the printed summary."""
        return [row for record in self._by_video.values() for row in record.tracks]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables of all videos that have a row, by file name."""
        rows: dict[str, list[dict[str, Any]]] = {}
        for record in self._by_video.values():
            index_rows = [record.index_row] if record.index_row else []
            for name, table_rows in {INDEX_NAME: index_rows, **record.tables}.items():
                rows.setdefault(name, []).extend(table_rows)
        return {name: pd.DataFrame(table_rows) for name, table_rows in rows.items() if table_rows}


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dicts, for `VideoRecord`."""
    return table.to_dict("records")  # type: ignore[return-value]


def _parse(line: str) -> tuple[str, VideoRecord]:
    content = json.loads(line)
    return content.pop("video"), VideoRecord(**content)


def _seconds(record: VideoRecord) -> float:
    return record.index_row.get("seconds", 0.0)


def _plain(value: Any) -> Any:
    """A NumPy or pandas scalar as JSON stores it."""
    if isinstance(value, np.generic):
        return value.item()
    if pd.isna(value):
        return None
    raise TypeError(f"{type(value)} is no plain value")
