"""One tab of the browser: its layout, what it shows, and its answers to actions. All tabs share the sessions."""

import logging
import time
from pathlib import Path
from typing import ClassVar

from nicegui import events, run, ui

from datasets.columns import BOX
from utils.annotate.actions import CHANGES, Action
from utils.annotate.dialogs import help_dialog, open_result, welcome_dialog
from utils.annotate.elements import (
    Hub,
    Picture,
    Plane,
    Player,
    RatingControl,
    Traces,
    action_button,
    action_handler,
    annotator_and_history,
    brand,
    count_of,
    start_page,
)
from utils.annotate.guarded_file import NotSavedError
from utils.annotate.payload import frame_summary, plane_data, rating_text, trace_data
from utils.annotate.people_view import PeopleView
from utils.annotate.position import Position
from utils.annotate.project import Project
from utils.annotate.session import Session
from utils.annotate.tracks import TrackEstimate
from utils.annotate.video_table import open_video_table
from utils.base.errors import DataError, UserError

log = logging.getLogger(__name__)

UPDATE_INTERVAL = 0.3  # seconds between two checks whether plan and player are up to date
DEFAULT_TARGET = 0.08  # expected error


class Page:
    """A tab of the browser.

    Attributes:
        tabs: all open tabs.
        position: the video, track and frame that this tab shows.
        target: the expected error that the annotator aims at.
    """

    tabs: ClassVar[set["Page"]] = set()

    def __init__(self, project: Project):
        self.project, self.position = project, Position(project)
        self.target = DEFAULT_TARGET
        self._estimated: TrackEstimate | None = None  # when the plan was checked last
        self._planned: tuple[TrackEstimate | None, float] = None, 0.0  # estimate and target of the plan on screen
        self._played: tuple[Path | None, str] | None = None  # what the player was told last

    @property
    def session(self) -> Session:
        """The session of the video that the tab shows."""
        return self.position.session

    # Layout

    def build(self) -> None:
        """Build the page and show the first video."""
        self.dark_mode = start_page()
        with ui.element("div").classes("annotation-page"):
            self._build_header()
            self.workspace = ui.element("div").classes("workspace")
            with ui.element("div").classes("controls"):
                self._build_controls()
            self.timeline = ui.element("div").classes("timeline")
        ui.timer(UPDATE_INTERVAL, self._update_plan)
        ui.timer(UPDATE_INTERVAL, self._update_player)
        self.dialogs = {"help": help_dialog(), "welcome": welcome_dialog()}
        self.people_view = PeopleView(self.project, self._show_shared_estimates)
        self._open(self.position.video_index)
        Page.tabs.add(self)
        ui.context.client.on_delete(lambda: Page.tabs.discard(self))

    def _build_header(self) -> None:
        with ui.element("header").classes("top"):
            brand()
            self.title = ui.button(on_click=self._open_list, color=None)
            self.title.props("flat no-caps dense icon-right=expand_more").classes("title")
            self.track_select = ui.select([], on_change=self._choose_track).classes("tracks")
            self.track_select.props('dense outlined options-dense aria-label="Track"')
            self.hub = Hub().on("action", self._receive)
            self.undo_button, self.redo_button = annotator_and_history(self.project.settings.annotator)
            shade = ui.button(icon="contrast", on_click=self._next_shade, color=None)
            shade.props('flat round dense aria-label="Dark or light"').tooltip("Dark or light")
            if len(self.project.people.names) > 1:
                action_button("people", "People (P)", "people")
            action_button("fact_check", "Check: measure the error (K)", "check")
            action_button("help_outline", "Help (?)", "help")
            ui.button("Finish", on_click=self._finish, color=None).props("unelevated no-caps dense").classes("finish")

    def _build_controls(self) -> None:
        self.player = Player()
        self.rating_control = RatingControl()
        self.moment = ui.label().classes("moment")
        self.contradictions = ui.button(color=None).on("click", js_handler=action_handler("next_contradiction"))
        self.contradictions.props("flat no-caps dense icon=warning_amber").classes("contradictions")
        self.contradictions.tooltip("Go to the next label that the other labels contradict (C)")
        ui.element("div").classes("space")
        self.error = ui.label().classes("error")
        self.error.tooltip("Expected root mean square error of the estimates, over all frames and both axes")
        ui.label("target").classes("secondary")
        target = ui.number(value=self.target, min=0.01, max=1, step=0.01, format="%.2f", on_change=self._set_target)
        target.props('dense outlined aria-label="Target for the expected error"').classes("target")
        self.plan = ui.label().classes("plan")
        self.next_button = ui.button(color=None).on("click", js_handler=action_handler("next_suggestion"))
        self.next_button.props("unelevated no-caps dense icon-right=skip_next").classes("next")
        self.next_button.tooltip("Go to the frame whose label is expected to help most (N)")
        if sum(video.session is not None for video in self.project.videos) > 1:
            action_button("video_library", "Next in any video (Shift+N)", "next_anywhere")

    def _open(self, video_index: int) -> None:
        """Show a video of the project."""
        self.position.open(video_index)
        self._played = None
        session = self.session
        video = session.face_video.video
        self.title.set_text(video.name)
        self.title.props["aria-label"] = f"{video.name}, choose a video"
        self.track_select.set_options({track: f"track {track}" for track in session.tracks}, value=self.position.track)
        self.track_select.set_visibility(len(session.tracks) > 1)
        self.workspace.clear()
        with self.workspace:
            self.picture = Picture(*video.size)
            with ui.element("aside").classes("side"):
                self.plane = Plane()
                self.summary = ui.html(sanitize=False).classes("summary")
                self.note = ui.input(placeholder="Note on this label (T)").props('dense outlined aria-label="Note"')
                send_note = "() => annotate.send('note', { text: document.querySelector('.note input').value })"
                self.note.classes("note").on("change", js_handler=send_note)
                self.note.on("keydown.enter", js_handler="event => event.target.blur()")
        self.timeline.clear()
        with self.timeline:
            self.traces = Traces(len(session.timeline.frames) - 1)
        self.refresh()
        self._update_player()

    # What is shown

    def refresh(self) -> None:
        """Show everything anew, after a change of labels, video or track."""
        session, track = self.session, self.position.track
        estimate = session.estimate(track)
        self.track_select.set_value(track)
        self.traces.run_method("load", trace_data(session, track))
        self.rating_control.run_method("show", rating_text(session))
        self.undo_button.set_enabled(session.can_undo)
        self.redo_button.set_enabled(session.can_redo)
        misread = f" · {' and '.join(estimate.misread)} misread" if estimate.misread else ""
        labels = count_of(len(estimate.labelled), "label")
        self.error.set_text(f"expected error {estimate.expected_error:.3f} · {labels}{misread}")
        self.next_button.set_enabled(estimate.suggestion is not None)
        if estimate.suggestion:
            frame = session.tracks[track].frames[estimate.suggestion.frame_index]
            self.next_button.set_text(f"Next: frame {frame}, error → {estimate.suggestion.error_after:.3f}")
        contradicted = len({contradiction.anchor_index for contradiction in estimate.contradictions})
        self.contradictions.set_text(f"{contradicted} contradicted")
        self.contradictions.set_visibility(contradicted > 0)
        self.show_frame()

    def show_frame(self) -> None:
        """Show the current frame, after a move."""
        session, position = self.session, self.position
        track, frame = position.track, position.frame
        seconds = float(session.timeline.times[position.row])
        moment = f"{int(seconds // 60)}:{seconds % 60:06.3f} · frame {frame}"
        self.moment.set_text(moment)
        labelled_track, label = session.tracks[track], session.labels.get((track, frame))
        index = labelled_track.index_of(frame)
        box = None if index is None else [float(edge) for edge in labelled_track.track.faces.loc[index, BOX]]
        picture = {
            "url": f"frame/{position.video_index}/{frame}",
            "frame": frame,
            "box": box,
            "labelled": label is not None,
            "missing": f"No face of track {track} in this frame, so there is nothing to label",
        }
        self.picture.run_method("show", picture)
        self.plane.run_method("show", plane_data(session, track, frame))
        self.traces.run_method("moveTo", position.row, seconds, moment)
        self.summary.set_content(frame_summary(session, track, frame))
        self.note.set_value(label.note if label else "")
        self.note.set_enabled(label is not None)

    async def _update_plan(self) -> None:
        """Show how many more labels the target needs; computed a moment after a change, which need not wait for it."""
        estimate = self.session.estimate(self.position.track)
        is_new, self._estimated = estimate is not self._estimated, estimate
        if is_new or (estimate, self.target) == self._planned:  # The result of a change is sent first.
            return
        target = self.target
        needed = await run.io_bound(estimate.labels_needed, target)
        if self.session.estimate(self.position.track) is not estimate:  # The track or its labels changed meanwhile.
            return
        self._planned = estimate, target
        if needed == 0:
            self.plan.set_text("reached")
        else:
            self.plan.set_text(f"> {len(estimate.plan)} more" if needed is None else f"about {needed} more")

    def _update_player(self) -> None:
        """Load the video into the player as soon as there is something to play, and show the progress until then."""
        playback = self.position.playback
        playback.start()
        notice = playback.problem or ("" if playback.file else f"preparing sound and motion: {playback.share:.0%}")
        state = playback.file, notice
        if state == self._played:
            return
        is_new = self._played is None or self._played[0] != playback.file
        self._played = state
        if not is_new:
            self.player.run_method("tell", notice)
            return
        source = f"media/{self.position.video_index}?{playback.version}" if playback.file else None
        self.player.run_method("load", source, float(self.session.timeline.times[0]), notice)

    # Actions

    async def _receive(self, event: events.GenericEventArguments) -> None:
        """Perform an action from hub.js; a change of labels is answered once it is on disk, or has failed."""
        action = event.args
        try:
            if action["name"] in CHANGES:
                self.position.change(action)
                if action.get("last", True):  # The estimates follow a rating when it ends.
                    self._refresh_all_tabs()
                saved = self.session.last_saved.name
                self._answer(action, True, f"Saved to {saved}, {time.strftime('%H:%M:%S')}")
            else:
                await self._move(action)
        except (NotSavedError, DataError) as error:
            self.refresh()
            self._answer(action, False, f"Not saved: {error}")

    async def _move(self, action: Action) -> None:
        if action["name"] in self.dialogs:
            self.dialogs[action["name"]].open()
        elif action["name"] == "next_anywhere":
            await self._go_anywhere()
        elif action["name"] == "people":
            if len(self.project.people.names) > 1:
                self.people_view.open((self.session.face_video.video.path, self.position.track))
        elif action["name"] == "check":
            ui.navigate.to("/check")
        elif action["name"] == "unplayable":
            self.position.playback.refuse()
        else:
            self.position.move(action)
            self.show_frame()

    async def _go_anywhere(self) -> None:
        """Show the frame of all videos whose label is expected to help most."""
        self.hub.run_method("setStatus", "idle", "Comparing all videos …")
        try:
            target = await run.io_bound(self.project.archive.next)
        except Exception as error:  # Otherwise, the status line would tell forever that it compares.
            log.exception("the videos could not be compared")
            self.hub.run_method("setStatus", "failed", f"The videos could not be compared: {error}")
            return
        if target is None:
            self.hub.run_method("setStatus", "idle", "Every frame of every video has a label.")
            return
        self.hub.run_method("setStatus", "idle", "")
        if target.video_index != self.position.video_index:
            self._open(target.video_index)
        self.position.track = target.track
        self.position.move({"name": "goto", "frame": target.frame})
        self.refresh()

    async def _show_shared_estimates(self) -> None:
        """Work the labels out again after tracks were joined or parted, and show them in all tabs."""
        notice = ui.notification("Working out the labels …", spinner=True, timeout=None)
        for session in {tab.session: None for tab in Page.tabs}:
            await run.io_bound(getattr, session, "expected_error")
        notice.dismiss()
        for tab in tuple(Page.tabs):
            tab.refresh()

    def _choose_track(self, event: events.ValueChangeEventArguments) -> None:
        if event.value is not None and event.value != self.position.track:
            self.position.track = event.value
            self.refresh()

    def _set_target(self, event: events.ValueChangeEventArguments) -> None:
        if event.value:
            self.target = float(event.value)

    def _next_shade(self) -> None:
        """Switch from the system's setting to dark, from dark to light, and back."""
        self.dark_mode.value = {None: True, True: False, False: None}[self.dark_mode.value]

    def _answer(self, action: Action, saved: bool, text: str) -> None:
        self.hub.run_method("answer", action.get("id"), saved, text)

    def _refresh_all_tabs(self) -> None:
        """Show a change of labels in the tabs of this video, and of videos that show the same people."""
        people, path = self.project.people, self.session.face_video.video.path
        tracks = [other for track in self.session.tracks for other in people.tracks_of(people.names[path, track])]
        changed = {path, *(video for video, _ in tracks)}
        for tab in tuple(Page.tabs):
            if tab.session.face_video.video.path in changed:
                tab.refresh()

    def _open_list(self) -> None:
        open_video_table(self.project, self.target, self._open)

    async def _finish(self) -> None:
        """Write all outputs of fsl_mtclar.py and tell where they are."""
        notice = ui.notification("Writing labels, plots and exports …", spinner=True, timeout=None)
        folder: Path | None = None
        try:
            # While the server stops, the result is None.
            folder, problem = await run.io_bound(self.project.finish) or (None, "")
        except UserError as error:
            problem = str(error)
        notice.dismiss()
        open_result(folder, problem)
