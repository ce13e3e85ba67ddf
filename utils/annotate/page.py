"""One tab: what it shows, and what its acts do. The labels are the session's, so all tabs show the same."""

import time
from functools import partial
from pathlib import Path

import numpy as np
from nicegui import run, ui

from datasets.frames import DataError
from datasets.tracks import BOX
from utils.annotate.help import KEYS, MEANING
from utils.annotate.label_file import NotSaved
from utils.annotate.payload import plane_state, readings, trace_state
from utils.annotate.project import Project
from utils.annotate.session import Session
from utils.errors import UserError

STYLE = Path(__file__).with_name("page.css")
TICK = 1 / 25  # seconds between moves while playing
LATER = 0.3  # seconds between looks at whether the plan is still right


class Hub(ui.element, component="hub.js"):
    """Keys, status, and the way to the program."""


class Picture(ui.element, component="picture.js"):
    """The frame with the face box."""


class Plane(ui.element, component="plane.js"):
    """Valence and arousal of the frame."""


class Traces(ui.element, component="traces.js"):
    """Both axes over time."""


class Page:
    """A tab of the browser."""

    tabs: set["Page"] = set()

    def __init__(self, project: Project):
        self.project = project
        self.number = project.worst_first()[0]
        self.track, self.row = 0, 0
        self.target = 0.08
        self.planned = None, 0.0  # view and target that the plan is of
        self.started = 0.0, 0  # clock and row at which playing began

    @property
    def session(self) -> Session:
        return self.project.items[self.number].session

    @property
    def frame(self) -> int:
        return int(self.session.timeline.frames[self.row])

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
        self._help()
        self._open(self.number)
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
            self.undo = _button("undo", "Undo (Ctrl+Z)", "undo")
            self.redo = _button("redo", "Redo (Ctrl+Y)", "redo")
            shade = ui.button(icon="contrast", on_click=self._darker, color=None)
            shade.props('flat round dense aria-label="Dark or light"').tooltip("Dark or light")
            _button("help_outline", "Keys and meaning (?)", "help")
            ui.button("Finish", on_click=self._finish, color=None).props("unelevated no-caps dense").classes("finish")

    def _controls(self) -> None:
        self.play = _button("play_arrow", "Play (Space)", "play")
        self.moment = ui.label().classes("moment")
        self.doubts = ui.button(color=None).on("click", js_handler=_js("doubt")).classes("doubts")
        self.doubts.props("flat no-caps dense icon=warning_amber")
        self.doubts.tooltip("Labels that the others contradict: go to the next one (C)")
        ui.element("div").classes("space")
        self.error = ui.label().classes("error")
        self.error.tooltip("Root mean square of the posterior's standard deviations over all frames and both axes")
        ui.label("target").classes("quiet")
        target = ui.number(value=self.target, min=0.01, max=1, step=0.01, format="%.2f", on_change=self._aim)
        target.props('dense outlined aria-label="Target of the expected error"').classes("target")
        self.plan = ui.label().classes("plan")
        self.next = ui.button(color=None).on("click", js_handler=_js("next")).classes("next")
        self.next.props("unelevated no-caps dense icon-right=skip_next")
        self.next.tooltip("Go to the frame whose label is expected to help most (N)")

    def _open(self, number: int) -> None:
        """Shows another video of the list."""
        self.number, self.row = number, 0
        self.timer.deactivate()
        session = self.session
        self.track = next(iter(session.clips))
        self.title.set_text(session.video.video.name)
        self.tracks.set_options({track: f"track {track}" for track in session.clips}, value=self.track)
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
        self.row = int(np.searchsorted(session.timeline.frames, session.clips[self.track].frames[0]))
        self.refresh()

    def _help(self) -> None:
        with ui.dialog() as self.help, ui.card().classes("help"):
            ui.label("Keys").classes("heading")
            with ui.element("div").classes("keys"):
                for keys, meaning in KEYS:
                    ui.label(keys).classes("key")
                    ui.label(meaning)
            for text in MEANING:
                ui.label(text).classes("quiet")
            ui.button("Close", on_click=self.help.close, color=None).props("flat no-caps")

    # What is shown

    def refresh(self) -> None:
        """After a change of labels, video or track."""
        session, view = self.session, self.session.view(self.track)
        self.tracks.set_value(self.track)
        self.traces.run_method("load", trace_state(session, self.track))
        self.undo.set_enabled(session.can_undo)
        self.redo.set_enabled(session.can_redo)
        self.error.set_text(f"expected error {view.error:.3f} · {_count(len(view.places), 'label')}")
        self.next.set_enabled(view.next is not None)
        if view.next:
            frame = session.clips[self.track].frames[view.next.place]
            self.next.set_text(f"Next: frame {frame}, error → {view.next.after:.3f}")
        contradicted = len({doubt.anchor for doubt in view.doubts})
        self.doubts.set_text(f"{contradicted} contradicted")
        self.doubts.set_visibility(contradicted > 0)
        self.show()

    def show(self) -> None:
        """After a move."""
        session = self.session
        seconds = float(session.timeline.times[self.row])
        moment = f"{int(seconds // 60)}:{seconds % 60:06.3f} · frame {self.frame}"
        self.moment.set_text(moment)
        clip = session.clips[self.track]
        place = clip.place(self.frame)
        mark = session.marks.get((self.track, self.frame))
        box = None if place is None else [float(value) for value in clip.track.faces.loc[place, BOX]]
        self.picture.run_method("show", {
            "url": f"frame/{self.number}/{self.frame}", "frame": self.frame, "box": box, "labelled": mark is not None,
            "missing": f"No face of track {self.track} in this frame: nothing to label",
        })  # fmt: skip
        self.plane.run_method("show", plane_state(session, self.track, self.frame))
        self.traces.run_method("at", self.row, seconds, moment)
        self.reading.set_content(readings(session, self.track, self.frame))
        self.note.set_value(mark.note if mark else "")
        self.note.set_enabled(mark is not None)

    def _plan(self) -> None:
        """How many more labels the target takes: told a moment after a change, so that nobody waits for it."""
        view = self.session.view(self.track)
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
        name = str(act.get("name"))
        try:
            if name in ("label", "move", "nudge", "accept", "delete", "undo", "redo", "note"):
                self._save(name, act)
                self._everywhere()
                self._answer(act, True, f"Saved to {self.session.file.path.name}, {time.strftime('%H:%M:%S')}")
            else:
                self._move(name, act)
        except (NotSaved, DataError) as error:
            self.refresh()
            self._answer(act, False, f"Not saved: {error}")

    def _save(self, name: str, act: dict) -> None:
        session, track = self.session, self.track
        if name in ("undo", "redo"):
            key = session.undo() if name == "undo" else session.redo()
            if key:
                self.track, self.row = key[0], session.timeline.row_of_frame(key[1], "undo")
            return
        frame = int(act["frame"]) if name in ("move", "note") else self._shown(act)
        if name == "label":
            session.label(track, frame, act["valence"], act["arousal"])
        elif name == "delete":
            session.delete(track, frame)
        elif name == "note":
            session.annotate(track, frame, str(act["text"]))
        else:
            scores = self._scores(frame)
            if name == "move":
                scores[int(act["axis"])] = float(act["value"])
            elif name == "nudge":
                scores[int(act["axis"])] += float(act["by"])
            session.label(track, frame, *scores)

    def _shown(self, act: dict) -> int:
        """The frame that the person sees: a label is never of another one."""
        if act.get("shown") is None:
            raise DataError("no frame is on screen yet; wait for it")
        return int(act["shown"])

    def _scores(self, frame: int) -> list[float]:
        """The frame's label, or where it has none, the estimate."""
        mark = self.session.marks.get((self.track, frame))
        if mark:
            return [mark.valence, mark.arousal]
        place = self.session.clips[self.track].place(frame)
        if place is None:
            raise DataError(f"frame {frame} shows no face of track {self.track}, so there is nothing to label")
        return self.session.view(self.track).labels.values[place].tolist()

    def _move(self, name: str, act: dict) -> None:
        if name == "play":
            return self._play(not self.timer.active)
        self._play(False)
        if name == "help":
            return self.help.open()
        timeline, row = self.session.timeline, self.row
        if name == "goto" and "mark" in act:
            row = timeline.row_of_frame(int(act["mark"]), "the page")
        elif name == "goto":
            row = int(act["row"]) if "row" in act else int(timeline.nearest(float(act["time"])))
        elif name == "step" and "seconds" in act:
            row = int(timeline.nearest(timeline.times[row] + float(act["seconds"])))
        elif name == "step":
            row += int(act["frames"])
        else:
            row = self._row_to_see(name, int(act.get("by", 1)))
        self.row = int(np.clip(row, 0, len(timeline.frames) - 1))
        self.show()

    def _row_to_see(self, name: str, by: int) -> int:
        """Of the next suggestion, or of the next (by 1) or previous (by -1) label, or contradicted label."""
        view, frames = self.session.view(self.track), self.session.clips[self.track].frames
        if name == "next":
            places = [view.next.place] if view.next else []
        elif name == "doubt":
            places = sorted({int(view.places[doubt.anchor]) for doubt in view.doubts})
        else:
            places = view.places.tolist()
        there = [int(frames[place]) for place in places]
        beyond = [frame for frame in there if (frame - self.frame) * by > 0] or there
        if not beyond:
            return self.row
        return self.session.timeline.row_of_frame(min(beyond) if by > 0 else max(beyond), "the page")

    def _play(self, on: bool) -> None:
        self.started = time.monotonic(), self.row
        self.timer.active = on
        self.play.props(f"icon={'pause' if on else 'play_arrow'}")

    def _tick(self) -> None:
        begin, row = self.started
        times = self.session.timeline.times
        self.row = int(self.session.timeline.nearest(times[row] + time.monotonic() - begin))
        self.show()
        if self.row == len(times) - 1:
            self._play(False)

    def _choose_track(self, event) -> None:
        if event.value is not None and event.value != self.track:
            self.track = event.value
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
        """The videos, worst first."""
        with ui.dialog() as dialog, ui.card().classes("list"):
            ui.label("Videos, the least certain first").classes("heading")
            for number in self.project.worst_first():
                item = self.project.items[number]
                with ui.element("div").classes("list-row"):
                    if item.session is None:
                        ui.label(item.path.name)
                        ui.label(item.problem).classes("list-problem")
                        continue
                    choose = ui.button(item.path.name, on_click=partial(self._choose, dialog, number), color=None)
                    choose.props("flat no-caps dense align=left")
                    ui.label(_count(len(item.session.marks), "label"))
                    ui.label(f"expected error {item.session.error:.3f}").classes("quiet")
            ui.button("Close", on_click=dialog.close, color=None).props("flat no-caps")
        dialog.open()

    def _choose(self, dialog, number: int) -> None:
        dialog.close()
        self._open(number)

    async def _finish(self) -> None:
        """Writes all outputs of fsl_mtclar.py."""
        notice = ui.notification("Writing labels, plots and exports …", spinner=True, timeout=None)
        try:
            folder, problem = await run.io_bound(self.project.finish)
        except UserError as error:
            folder, problem = None, str(error)
        notice.dismiss()
        with ui.dialog() as dialog, ui.card():
            ui.label("Finished" if folder else "Nothing was written").classes("heading")
            if folder:
                ui.label(f"All outputs are in {folder.absolute()}").classes("finished")
            if problem:
                ui.label(problem).classes("list-problem")
            ui.label("You can go on labelling, and finish again.").classes("quiet")
            ui.button("Close", on_click=dialog.close, color=None).props("flat no-caps")
        dialog.open()


def _button(icon: str, meaning: str, act: str):
    button = ui.button(icon=icon, color=None).on("click", js_handler=_js(act))
    return button.props(f'flat round dense aria-label="{meaning}"').tooltip(meaning)


def _js(act: str) -> str:
    """Acts go through hub.js, which knows whether there is a connection."""
    return f"() => annotate.act('{act}')"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
