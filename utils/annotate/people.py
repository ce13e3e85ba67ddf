"""Who is shown in the face tracks of all videos of the page: people.csv, rewritten after each change, with undo."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.people import (
    COLUMNS,
    HASH_COLUMN,
    PersonRow,
    named_tracks,
    parse_person,
    people_table,
    read_people,
    unnamed_person,
)
from utils.annotate.guarded_file import GuardedFile
from utils.annotate.history import History
from utils.base.errors import DataError
from utils.base.text import quoted, safe_text
from utils.runs.run_folder import csv_text
from utils.videos.face_video import FaceVideo
from utils.videos.image_similarity import Candidate, ImageSimilarity
from utils.videos.people import TrackKey

LONGEST_NAME = 60  # characters of a person's name


class PeopleState(NamedTuple):
    """Who is shown. A change makes a new state, so that another thread can go on with this one.

    Attributes:
        names: track → name of the person; a track that nobody has named shows a person of its own.
        tracks: name of each person → tracks, in the order of the videos.
        other_rows: name of a video → its rows of people.csv that are not of a chosen track.
    """

    names: dict[TrackKey, str]
    tracks: dict[str, list[TrackKey]]
    other_rows: dict[str, list[PersonRow]]

    def with_names(self, names: dict[TrackKey, str]) -> "PeopleState":
        """The state with other names of the tracks."""
        return PeopleState(names, _by_person(names), self.other_rows)

    def renamed(self, before: str, after: str) -> "PeopleState":
        """The state with another name of a person, in all tracks and rows."""
        other_rows = {
            video: [row._replace(person=after) if row.person == before else row for row in rows]
            for video, rows in self.other_rows.items()
        }
        names = {track: after if person == before else person for track, person in self.names.items()}
        return PeopleState(names, _by_person(names), other_rows)

    @property
    def other_people(self) -> set[str]:
        """The people in the rows that are not of a chosen track."""
        return {row.person for rows in self.other_rows.values() for row in rows}


class TrackPeople:
    """The person in each chosen track of all videos.

    Every change is on disk before a method returns. Otherwise NotSavedError is raised and nothing has changed.

    Attributes:
        path: people.csv.
        state: who is shown now.
    """

    def __init__(
        self, path: Path, face_videos: Sequence[FaceVideo], videos: Sequence[Path], image_similarity: ImageSimilarity
    ):
        """Read people.csv, if it exists.

        Args:
            path: the file.
            face_videos: the videos that can be labelled.
            videos: all videos of the page; rows of other videos, and of tracks that were not chosen, are kept.
            image_similarity: of all chosen tracks.

        Raises:
            DataError: the file is invalid, see `datasets.people`.
        """
        self.path, self.image_similarity = path, image_similarity
        self._file = GuardedFile(path)
        self._face_videos = face_videos
        self._video_names = {face_video.video.path: face_video.video.name for face_video in face_videos}
        rows = read_people(path, videos, keep_unknown=True) if path.exists() else {}
        taken = {row.person for rows_of_video in rows.values() for row in rows_of_video}
        other_rows, names = dict(rows), {}
        for face_video in face_videos:
            video = face_video.video
            chosen = [track.number for track in face_video.tracks]
            named = named_tracks(rows.get(video.path.stem, []), face_video.faces, chosen, video.path)
            for track in chosen:
                names[video.path, track] = named.get(track, unnamed_person(video.name, track, taken))
            other_rows[video.path.stem] = [
                row for row in rows.get(video.path.stem, []) if row.track is not None and row.track not in chosen
            ]
        self.state = PeopleState(names, _by_person(names), other_rows)
        self._history = History[TrackKey, PeopleState](self._save)  # The target is the track that is on screen.

    @property
    def names(self) -> dict[TrackKey, str]:
        """Track → name of the person."""
        return self.state.names

    def tracks_of(self, person: str) -> list[TrackKey]:
        """The tracks that show a person, in the order of the videos."""
        return self.state.tracks.get(person, [])

    def candidates(self, track: TrackKey, count: int) -> list[Candidate]:
        """Up to `count` other people who may be shown in a track, sorted by image similarity."""
        return self.image_similarity.candidates(track, self.names, count)

    def join(self, track: TrackKey, person: str) -> None:
        """Record that a track shows a person whom another track shows.

        Raises:
            DataError: there is no such person, or a frame shows this person in another track.
        """
        if person not in self.names.values():
            raise DataError(f"there is no person {quoted(person)} any more")
        for other in self.image_similarity.simultaneous(track):
            if self.names[other] == person:
                raise DataError(f"tracks {other[1]} and {track[1]} of {track[0].name} are shown in the same frame")
        self._change(track, self.state.with_names({**self.names, track: person}))

    def make_new(self, track: TrackKey) -> None:
        """Record that a track shows a new person, whom no other track shows."""
        others = self.state.other_people | {name for key, name in self.names.items() if key != track}
        if self.names[track] not in others:
            return
        name = unnamed_person(self._video_names[track[0]], track[1], others)
        self._change(track, self.state.with_names({**self.names, track: name}))

    def rename(self, track: TrackKey, name: str) -> None:
        """Rename the person in a track, in all tracks and rows of this person.

        Raises:
            DataError: the name is empty, too long, looks like several people, or is that of another person.
        """
        name, before = " ".join(name.split()), self.names[track]
        if name == before:
            return
        if len(name) > LONGEST_NAME or safe_text(name) != name:
            raise DataError(f"a name has at most {LONGEST_NAME} characters and does not begin with = + - @")
        parse_person(name, "the name")
        if name in self.names.values():
            raise DataError(f"another person is called {quoted(name)}; join the track to that person instead")
        if name in self.state.other_people:
            raise DataError(
                f"{self.path.name} calls a person in a track that is not shown here {quoted(name)}; choose another name"
            )
        self._change(track, self.state.renamed(before, name))

    def undo(self) -> TrackKey | None:
        """Undo the last change; return its track, or None if there is none left."""
        change = self._history.undo()
        return change.target if change else None

    def redo(self) -> TrackKey | None:
        """Repeat the change that was undone last; return its track, or None if there is none."""
        change = self._history.redo()
        return change.target if change else None

    @property
    def has_joined_tracks(self) -> bool:
        """Whether a person is shown in several tracks."""
        return len(set(self.names.values())) < len(self.names)

    def table(self, videos: Sequence[Path] | None = None) -> pd.DataFrame:
        """The rows of people.csv; `videos`: those of some videos only."""
        return self._table(self.state, videos)

    def _table(self, state: PeopleState, videos: Sequence[Path] | None = None) -> pd.DataFrame:
        tables = []
        for face_video in self._face_videos:
            path = face_video.video.path
            if videos is None or path in videos:
                people = {track: name for (video, track), name in state.names.items() if video == path}
                tables.append(people_table(face_video.video.name, people, face_video.faces))
        others = [
            (video, row.track, row.person, row.tracks)
            for video, rows in state.other_rows.items()
            if videos is None
            for row in rows
        ]
        tables.append(pd.DataFrame(others, columns=[*COLUMNS, HASH_COLUMN]))
        return pd.concat(tables).astype({"track": "Int64"})

    def _change(self, track: TrackKey, after: PeopleState) -> None:
        if after.names != self.names:
            self._history.change(track, self.state, after)

    def _save(self, _: TrackKey, state: PeopleState) -> None:
        """Replace the file, then the state in memory."""
        self._file.write(csv_text(self._table(state)))
        self.state = state


def _by_person(names: dict[TrackKey, str]) -> dict[str, list[TrackKey]]:
    """Name of each person → tracks."""
    tracks: dict[str, list[TrackKey]] = {}
    for track, person in names.items():
        tracks.setdefault(person, []).append(track)
    return tracks
