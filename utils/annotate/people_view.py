"""The view of people: who is shown in which tracks, and the likeliest people for the current track, as faces."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from nicegui import events, ui

from utils.annotate.actions import PEOPLE_SHORTCUTS, Action, keys_of
from utils.annotate.guarded_file import NotSavedError
from utils.annotate.project import Project
from utils.base.errors import DataError
from utils.videos.people import TrackKey

STYLE = Path(__file__).with_name("people.css")
CANDIDATES = 9  # as many as there are digits to choose them by


class PeoplePanel(ui.element, component="people.js"):
    """The lists of the view; it handles the keys while it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self._props.update(
            keys=keys_of(PEOPLE_SHORTCUTS),
            buttons=[
                {"text": shortcut.meaning, "key": shortcut.shown.split()[0], "action": action}
                for shortcut in PEOPLE_SHORTCUTS
                for action in list(shortcut.actions.values())[:1]
                if action["name"] != "join"
            ],
        )


class PeopleView:
    """A dialog that fills the window.

    Attributes:
        track: the current track.
    """

    def __init__(self, project: Project, on_close: Callable[[], Awaitable[None]]):
        """Build the dialog; `on_close` is called when it is closed after a change."""
        self.project, self.people, self._on_close = project, project.people, on_close
        self._tracks = list(self.people.names)
        self._indices = {video.path: index for index, video in enumerate(project.videos)}
        self.track = self._tracks[0]
        self._names_before = self.people.names
        ui.add_css(STYLE.read_text(encoding="utf-8"))
        self.dialog = ui.dialog().props('maximized no-refocus aria-label="People"').on("hide", self._close)

    def open(self, track: TrackKey) -> None:
        """Open the dialog at a track."""
        self.track, self._names_before = track, self.people.names
        self.dialog.clear()
        with self.dialog, ui.card().classes("people-dialog"):
            with ui.element("div").classes("row items-center full-width no-wrap"):
                with ui.element("h2").classes("heading q-ma-none"):
                    ui.label("People")
                ui.element("div").classes("space")
                ui.button("Close", on_click=self.dialog.close, color=None).props("flat no-caps dense")
            self.panel = PeoplePanel().on("action", self._receive)
        self.dialog.open()

    def _receive(self, event: events.GenericEventArguments) -> None:
        """Perform an action of people.js; a change is answered once it is on disk, or has failed."""
        before, failed = self.people.names, False
        try:
            self._perform(event.args)
            status = ""
            if self.people.names is not before:
                status = f"Saved to {self.people.path.name}, {time.strftime('%H:%M:%S')}"
        except (NotSavedError, DataError) as error:
            status, failed = f"Not saved: {error}", True
        self.panel.run_method("show", self._data() | {"status": status, "failed": failed})

    def _perform(self, action: Action) -> None:
        name = action["name"]
        if name == "opened":
            return
        if name in ("undo", "redo"):
            self.track = (self.people.undo() if name == "undo" else self.people.redo()) or self.track
            return
        self.track = self._tracks[int(action["id"])]
        if name == "join":
            self.people.join(self.track, str(action["person"]))
            self._move(1)
        elif name == "new":
            self.people.make_new(self.track)
            self._move(1)
        elif name == "rename":
            self.people.rename(self.track, str(action["text"]))
        elif name == "move":
            self._move(int(action["by"]))

    def _move(self, by: int) -> None:
        index = self._tracks.index(self.track) + by
        self.track = self._tracks[min(max(index, 0), len(self._tracks) - 1)]

    async def _close(self) -> None:
        if self.people.names != self._names_before:
            await self._on_close()

    def _data(self) -> dict[str, Any]:
        """What people.js shows."""
        names = self.people.names
        candidates = self.people.candidates(self.track, CANDIDATES)
        numbers = {track: number for number, track in enumerate(self._tracks)}
        people = dict.fromkeys(names.values())
        return {
            "people": [
                {
                    "name": person,
                    "tracks": [self._track_data(track, numbers[track]) for track in self.people.tracks_of(person)],
                }
                for person in people
            ],
            "current": self._track_data(self.track, numbers[self.track])
            | {"person": names[self.track], "span": self._span(self.track)},
            "candidates": [
                {
                    "person": candidate.person,
                    "image_similarity": f"{candidate.image_similarity:.2f}",
                    "url": self._url(candidate.track),
                }
                for candidate in candidates
            ],
        }

    def _track_data(self, track: TrackKey, number: int) -> dict[str, Any]:
        return {"id": number, "label": f"{track[0].name}, track {track[1]}", "url": self._url(track)}

    def _url(self, track: TrackKey) -> str:
        return f"face/{self._indices[track[0]]}/{track[1]}"

    def _span(self, track: TrackKey) -> str:
        """The time in which a track is shown."""
        session = self.project.videos[self._indices[track[0]]].session
        assert session is not None, "only tracks of sessions are listed"
        times = session.tracks[track[1]].track.times
        start, end = (f"{int(seconds // 60)}:{seconds % 60:04.1f}" for seconds in times[[0, -1]])
        return f"{start} to {end}, {len(times)} frames"
