"""Who is shown in the face tracks of a set of videos: people.csv, with the columns video, track and person.

The column `tracks`, which may be missing or empty, holds a hash of the face tracks of the video (`tracks_hash`). If the
video is replaced, or its faces are tracked anew, track numbers may stand for other faces, and the file is refused.
"""

import hashlib
import itertools
import re
from collections.abc import Container, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.annotations.cells import parse_track
from datasets.csv_files import read_small_csv, require_columns
from utils.base.errors import DataError, did_you_mean
from utils.base.text import plain_text, quoted, safe_name

FILE_NAME = "people.csv"
COLUMNS = ("video", "track", "person")
HASH_COLUMN, HASH_DIGITS = "tracks", 12

_SEVERAL = re.compile(r"[,;/&|+\n]|\band\b")


class PersonRow(NamedTuple):
    """A row of people.csv.

    Attributes:
        track: number of a track of the video; None = every track of the video.
        person: name of the person.
        where: file and row, for messages.
        tracks: hash of the face tracks for which the row was written; "" = unknown.
    """

    track: int | None
    person: str
    where: str
    tracks: str = ""


def read_people(file: Path, videos: Sequence[Path], keep_unknown: bool = False) -> dict[str, list[PersonRow]]:
    """Read people.csv.

    Args:
        file: the CSV. The column ``video`` holds names of videos, with or without ending; an empty cell in the column
            ``track`` stands for every track of the video.
        videos: the videos of the set.
        keep_unknown: whether rows of other videos are returned, too; otherwise they are an error.

    Returns:
        The rows of each video, by its name without ending; those of another video by its name in the file.

    Raises:
        DataError: the file cannot be read, or a row names an unknown video, no person or several people, or a track
            that another row names.
    """
    table = read_small_csv(file, ",".join(COLUMNS)).fillna("")
    require_columns(table.columns, COLUMNS, file)
    names = {name: video.stem for video in videos for name in (video.name, video.stem, safe_name(video.stem))}
    rows: dict[str, list[PersonRow]] = {video.stem: [] for video in videos}
    columns = [*COLUMNS, HASH_COLUMN]
    for number, cells in enumerate(table.reindex(columns=columns, fill_value="").to_numpy().tolist(), start=2):
        name, track, person, tracks = (plain_text(cell.strip()) for cell in cells)
        where = f"{file} row {number}"
        if name not in names and not keep_unknown:
            near = did_you_mean(name, sorted({video.stem for video in videos}))
            raise DataError(
                f"{where}: {videos[0].parent} holds no video {quoted(name)}{near}; correct or delete the row"
            )
        row = PersonRow(parse_track(track, where), parse_person(person, where), where, tracks)
        rows_of_video = rows.setdefault(names.get(name, name), [])
        _refuse_second_row(row, rows_of_video)
        rows_of_video.append(row)
    return rows


def unnamed_person(video: str, track: int, taken: Container[str] = ()) -> str:
    """Name of the person in a track that nobody has named: that of no other track, and none of the names in `taken`."""
    name = _SEVERAL.sub("_", video)
    if name != video:  # Other names of videos may become the same.
        name = f"{name} {hashlib.sha256(video.encode()).hexdigest()[:HASH_DIGITS]}"
    base = f"{name} {track}"
    names = itertools.chain([base], (f"{base} ({number})" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def tracks_hash(faces: pd.DataFrame) -> str:
    """Hash of the face tracks of a video: of the frames that show each track."""
    rows = faces.loc[faces["track"] >= 0, ["track", "frame"]].sort_values(["track", "frame"])
    return hashlib.sha256(rows.to_numpy("<i8").tobytes()).hexdigest()[:HASH_DIGITS]


def people_table(video: str, people: dict[int, str], faces: pd.DataFrame) -> pd.DataFrame:
    """The rows of people.csv for a video.

    Args:
        video: name of the video.
        people: name of the person by number of the track.
        faces: face tracks of the video, as from `datasets.video.tracks.track_faces`.
    """
    table = pd.DataFrame({"track": list(people), "person": list(people.values())})
    table.insert(0, "video", video)
    return table.assign(**{HASH_COLUMN: tracks_hash(faces)})


def parse_person(person: str, where: str) -> str:
    """Check the name of one person; DataError, which begins with `where`, if it is empty or names several people."""
    if not person:
        raise DataError(f"{where}: names no person; fill in the cell, or delete the row")
    if _SEVERAL.search(person):
        raise DataError(
            f"{where}: person {quoted(person)} looks like several people, but a track shows one; give each track a row "
            "of its own, and write a name without , ; / & | + and the word 'and'"
        )
    return person


def _refuse_second_row(row: PersonRow, others: list[PersonRow]) -> None:
    """DataError if one of the other rows of the video names the same track, or every track."""
    other = next((other for other in others if row.track == other.track or None in (row.track, other.track)), None)
    if other:
        raise DataError(
            f"{row.where}: the same track already shows {quoted(other.person)}, {other.where}; a track shows one "
            "person: delete one of the rows, or correct its track"
        )


def people_of_tracks(
    rows: list[PersonRow], faces: pd.DataFrame, labelled: Sequence[int], video: Path
) -> dict[int, str]:
    """Find the person that each labelled track of a video shows.

    Args:
        rows: the rows of people.csv for this video.
        faces: face tracks of the video, as from `datasets.video.tracks.track_faces`.
        labelled: numbers of the labelled tracks.
        video: path of the video.

    Returns:
        Name of the person by number of the labelled track.

    Raises:
        DataError: a row names an unknown track or other face tracks, a labelled track has no row, or a person is in two
            tracks at once.
    """
    people = named_tracks(rows, faces, labelled, video)
    for track in labelled:
        if track not in people:
            raise DataError(
                f"{video.parent / FILE_NAME}: has no row for the labelled track {track} of {video.name}; add "
                f"{video.stem},{track},<person>"
            )
    return {track: people[track] for track in labelled}


def named_tracks(rows: list[PersonRow], faces: pd.DataFrame, chosen: Sequence[int], video: Path) -> dict[int, str]:
    """Name of the person by number of the track, for the tracks of a video that people.csv names.

    A row without a track names the chosen tracks. Otherwise, arguments and errors are as of `people_of_tracks`; tracks
    without a row are left out.
    """
    tracks = {int(track): set(frames) for track, frames in faces.groupby("track")["frame"] if track >= 0}
    for row in rows:
        if row.tracks and row.tracks != tracks_hash(faces):
            raise DataError(
                f"{row.where}: was written for other face tracks of {video}: the video or the way its faces are "
                f"tracked has changed; check the tracks of this video and empty its cells in the column "
                f"`{HASH_COLUMN}`, or start from the {FILE_NAME} of a new run"
            )
        if row.track is not None and row.track not in tracks:
            existing = ", ".join(map(str, tracks)) or "none"
            raise DataError(
                f"{row.where}: {video} has no track {row.track}, only {existing}; correct or delete the row"
            )
    named = {track: row for row in rows for track in (chosen if row.track is None else [row.track])}
    _refuse_overlap(named, tracks, video)
    return {track: row.person for track, row in named.items()}


def simultaneous_tracks(faces: pd.DataFrame, tracks: Sequence[int]) -> dict[int, set[int]]:
    """Number of each track → the other tracks that a frame shows together with it, who must be other people.

    Args:
        faces: face tracks of the video, as from `datasets.video.tracks.track_faces`.
        tracks: numbers of the tracks.
    """
    rows = faces.loc[faces["track"].isin(tracks), ["track", "frame"]]
    rows = rows[rows.duplicated("frame", keep=False)]
    together: dict[int, set[int]] = {track: set() for track in tracks}
    for _, shown in rows.groupby("frame")["track"]:
        for track in shown:
            together[track].update(set(shown) - {track})
    return together


def _refuse_overlap(named: dict[int, PersonRow], tracks: dict[int, set[int]], video: Path) -> None:
    """DataError if two tracks of the same person have a frame in common."""
    for track, row in named.items():
        for other, other_row in named.items():
            common = tracks[track] & tracks[other] if track < other and row.person == other_row.person else set()
            if common:
                raise DataError(
                    f"{other_row.where}: {quoted(row.person)} is in tracks {track} and {other} of {video.name}, but "
                    f"frame {min(common)} shows both tracks; correct one of the two rows"
                )
