"""One tab: what it shows, and how it answers. The labels are the session's, so all tabs show the same."""

import time
from pathlib import Path

from nicegui import run, ui

from datasets.frames import DataError
from datasets.tracks import BOX
from utils.annotate.dialogs import help_dialog, open_finished, open_list
from utils.annotate.elements import Hub, Picture, Plane, Traces, act_button, act_handler, counted
from utils.annotate.label_file import NotSaved
from utils.annotate.payload import plane_state, readings, trace_state
from utils.annotate.position import CHANGES, Position
from utils.annotate.project import Project
from utils.annotate.session import Session
from utils.errors import UserError

STYLE = Path(__file__).with_name("page.css")
TICK = 1 / 25  # seconds between moves while playing
LATER = 0.3  # seconds between looks at whether the plan is still right


class Page:
    """A tab of the browser."""

    tabs: set["Page"] = set()

    def __init__(self, project: Project):
        self.project, self.at = project, Position(project)
        self.target = 0.08
        self.planned = None, 0.0  # view and target that the plan is of
        self.started = 0.0, 0  # clock and row at which playing began

    @property
    def session(self) -> Session:
        return self.at.session

    # Layout

    def build(self) -> None:
        ui.add_css(STYLE.read_text(encoding="utf-8"))
        self.dark = ui.dark_mode(None)
        with ui.element("main").classes("bench"):
            self._header()
            self.work = ui.element("div").classes("work")
            with ui.element("div").classes("controls"):
                self._controls()
            self.over_time = ui.element("div").classes("over-time")
        self.timer = ui.timer(TICK, self._tick, active=False)
        ui.timer(LATER, self._plan)
        self.help = help_dialog()
        self._open(self.at.number)
        Page.tabs.add(self)
        ui.context.client.on_delete(lambda: Page.tabs.discard(self))

    def _header(self) -> None:
        with ui.element("header").classes("top"):
            ui.label("MT-CLAR").classes("brand")
            self.title = ui.button(on_click=self._list, color=None).props("flat no-caps dense icon-right=expand_more")
            self.title.props('aria-label="Choose a video"').classes("title")
            self.tracks = ui.select([], on_change=self._choose_track).classes("tracks")
            self.tracks.props('dense outlined options-dense aria-label="Track"')
            self.hub = Hub().on("act", self._act)
            annotator = self.project.settings.annotator
            if annotator:
                ui.label(annotator).classes("annotator").tooltip("annotator")
            self.undo = act_button("undo", "Undo (Ctrl+Z)", "undo")
            self.redo = act_button("redo", "Redo (Ctrl+Y)", "redo")
            shade = ui.button(icon="contrast", on_click=self._darker, color=None)
            shade.props('flat round dense aria-label="Dark or light"').tooltip("Dark or light")
            act_button("help_outline", "Keys and meaning (?)", "help")
            ui.button("Finish", on_click=self._finish, color=None).props("unelevated no-caps dense").classes("finish")

    def _controls(self) -> None:
        self.play = act_button("play_arrow", "Play (Space)", "play")
        self.moment = ui.label().classes("moment")
        self.doubts = ui.button(color=None).on("click", js_handler=act_handler("doubt")).classes("doubts")
        self.doubts.props("flat no-caps dense icon=warning_amber")
        self.doubts.tooltip("Labels that the others contradict: go to the next one (C)")
        ui.element("div").classes("space")
        self.error = ui.label().classes("error")
        self.error.tooltip("Root mean square of the posterior's standard deviations over all frames and both axes")
        ui.label("target").classes("quiet")
        target = ui.number(value=self.target, min=0.01, max=1, step=0.01, format="%.2f", on_change=self._aim)
        target.props('dense outlined aria-label="Target of the expected error"').classes("target")
        self.plan = ui.label().classes("plan")
        self.next = ui.button(color=None).on("click", js_handler=act_handler("next")).classes("next")
        self.next.props("unelevated no-caps dense icon-right=skip_next")
        self.next.tooltip("Go to the frame whose label is expected to help most (N)")

    def _open(self, number: int) -> None:
        """Shows another video of the list."""
        self.timer.deactivate()
        self.at.open(number)
        session = self.session
        self.title.set_text(session.video.video.name)
        self.tracks.set_options({track: f"track {track}" for track in session.clips}, value=self.at.track)
        self.tracks.set_visibility(len(session.clips) > 1)
        self.work.clear()
        with self.work:
            width, height = session.video.video.size
            self.picture = Picture().props(f":width={width} :height={height}")
            with ui.element("aside").classes("side"):
                self.plane = Plane()
                self.reading = ui.html(sanitize=False).classes("reading")
                self.note = ui.input(placeholder="note on this label (T)").props('dense outlined aria-label="Note"')
                written = "() => annotate.act('note', { text: document.querySelector('.note input').value })"
                self.note.classes("note").on("change", js_handler=written)
                self.note.on("keydown.enter", js_handler="event => event.target.blur()")
        self.over_time.clear()
        with self.over_time:
            self.traces = Traces().props(f":last={len(session.timeline.frames) - 1}")
        self.refresh()

    # What is shown

    def refresh(self) -> None:
        """After a change of labels, video or track."""
        session, view = self.session, self.session.view(self.at.track)
        self.tracks.set_value(self.at.track)
        self.traces.run_method("load", trace_state(session, self.at.track))
        self.undo.set_enabled(session.can_undo)
        self.redo.set_enabled(session.can_redo)
        misread = f" · {' and '.join(view.labels.misread)} misread" if view.labels.misread else ""
        self.error.set_text(f"expected error {view.error:.3f} · {counted(len(view.places), 'label')}{misread}")
        self.next.set_enabled(view.next is not None)
        if view.next:
            frame = session.clips[self.at.track].frames[view.next.place]
            self.next.set_text(f"Next: frame {frame}, error → {view.next.after:.3f}")
        contradicted = len({doubt.anchor for doubt in view.doubts})
        self.doubts.set_text(f"{contradicted} contradicted")
        self.doubts.set_visibility(contradicted > 0)
        self.show()

    def show(self) -> None:
        """After a move."""
        session, number, track, frame = self.session, self.at.number, self.at.track, self.at.frame
        seconds = float(session.timeline.times[self.at.row])
        moment = f"{int(seconds // 60)}:{seconds % 60:06.3f} · frame {frame}"
        self.moment.set_text(moment)
        clip, mark = session.clips[track], session.marks.get((track, frame))
        place = clip.place(frame)
        box = None if place is None else [float(value) for value in clip.track.faces.loc[place, BOX]]
        self.picture.run_method("show", {
            "url": f"frame/{number}/{frame}", "frame": frame, "box": box, "labelled": mark is not None,
            "missing": f"No face of track {track} in this frame: nothing to label",
        })  # fmt: skip
        self.plane.run_method("show", plane_state(session, track, frame))
        self.traces.run_method("at", self.at.row, seconds, moment)
        self.reading.set_content(readings(session, track, frame))
        self.note.set_value(mark.note if mark else "")
        self.note.set_enabled(mark is not None)

    def _plan(self) -> None:
        """How many more labels the target takes: told a moment after a change, so that nobody waits for it."""
        view = self.session.view(self.at.track)
        if (view, self.target) == self.planned:
            return
        self.planned = view, self.target
        needed = view.needed(self.target)
        if needed == 0:
            self.plan.set_text("reached")
        else:
            self.plan.set_text(f"> {len(view.ahead)} more" if needed is None else f"about {needed} more")

    # What the person does

    def _act(self, event) -> None:
        """An act of hub.js. Those that change labels are answered when they are on disk, or have failed."""
        act = event.args
        try:
            if act["name"] in CHANGES:
                self.at.change(act)
                self._everywhere()
                self._answer(act, True, f"Saved to {self.session.file.path.name}, {time.strftime('%H:%M:%S')}")
            else:
                self._go(act)
        except (NotSaved, DataError) as error:
            self.refresh()
            self._answer(act, False, f"Not saved: {error}")

    def _go(self, act: dict) -> None:
        if act["name"] == "play":
            return self._play(not self.timer.active)
        self._play(False)
        if act["name"] == "help":
            return self.help.open()
        self.at.go(act)
        self.show()

    def _play(self, on: bool) -> None:
        self.started = time.monotonic(), self.at.row
        self.timer.active = on
        self.play.props(f"icon={'pause' if on else 'play_arrow'}")

    def _tick(self) -> None:
        begin, row = self.started
        times = self.session.timeline.times
        self.at.row = int(self.session.timeline.nearest(times[row] + time.monotonic() - begin))
        self.show()
        if self.at.row == len(times) - 1:
            self._play(False)

    def _choose_track(self, event) -> None:
        if event.value is not None and event.value != self.at.track:
            self.at.track = event.value
            self.refresh()

    def _aim(self, event) -> None:
        if event.value:
            self.target = float(event.value)

    def _darker(self) -> None:
        """Light, dark, as the system."""
        self.dark.value = {None: True, True: False, False: None}[self.dark.value]

    def _answer(self, act: dict, ok: bool, text: str) -> None:
        self.hub.run_method("answer", act.get("id"), ok, text)

    def _everywhere(self) -> None:
        for tab in tuple(Page.tabs):
            if tab.session is self.session:
                tab.refresh()

    def _list(self) -> None:
        open_list(self.project, self._open)

    async def _finish(self) -> None:
        """Writes all outputs of fsl_mtclar.py."""
        notice = ui.notification("Writing labels, plots and exports …", spinner=True, timeout=None)
        try:
            folder, problem = await run.io_bound(self.project.finish)
        except UserError as error:
            folder, problem = None, str(error)
        notice.dismiss()
        open_finished(folder, problem)
