"""One tab of the browser that shows the check: the drawing, the frames to label without their estimates, the bound."""

import time
from pathlib import Path
from typing import ClassVar

from nicegui import events, run, ui

from datasets.columns import BOX
from utils.annotate.actions import CHANGES, CHECK_SHORTCUTS, Action
from utils.annotate.check import Check, draw_check, find_check
from utils.annotate.dialogs import help_dialog
from utils.annotate.elements import (
    Hub,
    Picture,
    Plane,
    action_button,
    action_handler,
    annotator_and_history,
    brand,
    count_of,
    start_page,
)
from utils.annotate.page import Page
from utils.annotate.payload import signed
from utils.annotate.project import Project
from utils.base.errors import DataError, UserError
from utils.config.labelling import FEWEST_CHECKED, MOST_CHECKED
from utils.videos.check_files import ASSUMPTIONS

DEFAULT_COUNT = 60  # frames to draw
PURPOSE = (
    "The expected error is the network's own opinion. A check measures the error: it draws frames at random from all "
    "videos that have labels or a rating, and you label them without seeing their estimates."
)
BLIND = "The estimates stay hidden until the bound is shown. Every label is saved; you can stop and go on at any time."


class CheckPage:
    """A tab of the browser with the check. All tabs share it.

    Attributes:
        check: the check; None: none has been drawn or found yet.
        left: the files of the check that the annotator has left to draw another one.
        is_drawing: whether frames are being drawn.
        tabs: all open tabs.
        index: index of the drawn frame that this tab shows.
    """

    check: ClassVar[Check | None] = None
    left: ClassVar[Path | None] = None
    is_drawing: ClassVar[bool] = False
    tabs: ClassVar[set["CheckPage"]] = set()

    def __init__(self, project: Project):
        self.project, self.index = project, 0
        self._shown_video: int | None = None  # for which the workspace was built

    # Layout

    def build(self) -> None:
        """Build the tab; it goes on with the newest check among the runs."""
        start_page()
        with ui.element("div").classes("annotation-page check-page"):
            self._build_header()
            self.body = ui.element("div").classes("check-body")
        self.help = help_dialog(CHECK_SHORTCUTS, (BLIND, " ".join(ASSUMPTIONS.split())))
        CheckPage.tabs.add(self)
        problem = self._find_check()
        if CheckPage.check:
            self.index = CheckPage.check.first_unlabelled
        self.rebuild(problem)
        ui.context.client.on_delete(lambda: CheckPage.tabs.discard(self))

    def _find_check(self) -> str:
        """Go on with the newest check among the runs, in all tabs, unless there is a check already.

        Returns:
            Why this annotator cannot go on with a check, or an empty string.
        """
        if CheckPage.check or CheckPage.is_drawing:
            return ""
        try:
            found = find_check(self.project)
        except DataError as error:
            return str(error)
        if found and found.path != CheckPage.left:
            CheckPage.check = found
            for tab in CheckPage.tabs - {self}:
                tab.index = found.first_unlabelled
                tab.rebuild()
        return ""

    def _build_header(self) -> None:
        with ui.element("header").classes("top"):
            brand()
            ui.label("Check").classes("title")
            self.hub = Hub(CHECK_SHORTCUTS).on("action", self._receive)
            self.undo_button, self.redo_button = annotator_and_history(self.project.settings.annotator)
            action_button("help_outline", "Help (?)", "help")
            back = ui.button("Back to labelling", on_click=lambda: ui.navigate.to("/"), color=None)
            back.props("flat no-caps dense")

    def rebuild(self, problem: str = "") -> None:
        """Show the drawing, the frames or the bound anew, with a problem of the drawing, if there is one."""
        check = CheckPage.check
        self.body.clear()
        self._shown_video = None
        self.undo_button.set_enabled(False)
        self.redo_button.set_enabled(False)
        with self.body:
            if check is None:
                self._build_drawing(problem)
            elif check.is_finished:
                self._build_bound(check)
            else:
                self._build_labelling()
                self.refresh(check)

    def _build_drawing(self, problem: str) -> None:
        with ui.element("section").classes("check-text"):
            ui.label("Measure the error").classes("heading")
            ui.label(PURPOSE)
            ui.label(BLIND)
            with ui.element("div").classes("check-row"):
                ui.label("Number of frames")
                count = ui.number(value=DEFAULT_COUNT, min=FEWEST_CHECKED, max=MOST_CHECKED, step=1, format="%d")
                count.props('dense outlined autofocus aria-label="Number of frames"')
                self.draw_button = ui.button("Draw", on_click=lambda: self._draw(count.value), color=None)
                self.draw_button.props("unelevated no-caps dense").classes("next").set_enabled(not CheckPage.is_drawing)
            ui.label(problem).classes("list-problem")

    def _build_labelling(self) -> None:
        self.workspace = ui.element("div").classes("workspace")
        with ui.element("div").classes("controls"):
            self.moment = ui.label().classes("moment")
            ui.element("div").classes("space")
            self.progress = ui.label().classes("error")
            action_button("navigate_before", "Previous frame (←)", "step", frames=-1)
            action_button("navigate_next", "Next frame (→)", "step", frames=1)
            self.next_button = ui.button(color=None).on("click", js_handler=action_handler("next_unlabelled"))
            self.next_button.props("unelevated no-caps dense icon-right=skip_next").classes("next")

    def _build_workspace(self, size: tuple[int, int]) -> None:
        self.workspace.clear()
        with self.workspace:
            self.picture = Picture(*size)
            with ui.element("aside").classes("side"):
                self.plane = Plane()
                self.score = ui.label().classes("summary")
                ui.label(BLIND).classes("secondary")

    def _build_bound(self, check: Check) -> None:
        with ui.element("section").classes("check-text"):
            ui.label("Error of the estimated labels").classes("heading")
            ui.label(
                f"Over {check.draw.population:,} frames without a label, from "
                f"{count_of(len(check.frames), 'frame')} drawn at random:"
            )
            table = check.bounds().to_html(index=False, border=0, float_format="{:.3f}".format, classes="bounds")
            ui.html(table, sanitize=False)
            ui.label(ASSUMPTIONS)
            if not_covered := check.draw.not_covered:
                ui.label(not_covered)
            ui.label(f"The files are in {check.path.parent.absolute()}").classes("secondary finished")
            with ui.element("div").classes("check-row"):
                add = ui.button("Add these labels to the videos", on_click=self._add_labels, color=None)
                add.props("unelevated no-caps dense").classes("next")
                ui.button("Draw another check", on_click=self._forget, color=None).props("flat no-caps dense")

    # What is shown

    def refresh(self, check: Check) -> None:
        """Show the current frame and its label, and how many frames are left."""
        video_index, track, frame = check.frames[self.index]
        session = self.project.videos[video_index].session
        assert session is not None, "frames are drawn from videos with a session"
        if video_index != self._shown_video:
            self._build_workspace(session.face_video.video.size)
            self._shown_video = video_index
        seconds, label = check.draw.frames[self.index].time, check.labels.get(self.index)
        faces = session.tracks[track].track.faces
        box = faces.loc[session.tracks[track].index_of(frame), BOX]
        self.picture.run_method(
            "show",
            {
                "url": f"frame/{video_index}/{frame}",
                "frame": self.index + 1,  # Frames of two videos may have the same number.
                "box": [float(edge) for edge in box],
                "labelled": label is not None,
                "missing": "",
            },
        )
        self.plane.run_method("show", {"estimate": None, "radii": None, "label": label and label[:2], "expected": None})
        text = f"valence {signed(label.valence)}, arousal {signed(label.arousal)}" if label else "no label yet"
        self.score.set_text(text)
        self.moment.set_text(
            f"{session.face_video.video.name} · {int(seconds // 60)}:{seconds % 60:06.3f} · frame {frame}"
        )
        self.progress.set_text(f"frame {self.index + 1} of {len(check.frames)} · {len(check.labels)} labelled")
        self.next_button.set_text("Show the bound" if check.is_complete else "Next")
        self.undo_button.set_enabled(check.can_undo)
        self.redo_button.set_enabled(check.can_redo)

    # Actions

    def _receive(self, event: events.GenericEventArguments) -> None:
        """Perform an action from hub.js; a change is answered once it is on disk, or has failed."""
        action, check = event.args, CheckPage.check
        if action["name"] == "help":
            self.help.open()
        elif check is not None and not check.is_finished:
            try:
                if action["name"] in CHANGES:
                    self._change(check, action)
                    self._refresh_all_tabs(check)
                    self._answer(action, True, f"Saved to {check.path.name}, {time.strftime('%H:%M:%S')}")
                else:
                    self._move(check, action)
            except UserError as error:
                self.refresh(check)
                self._answer(action, False, f"Not saved: {error}")

    def _change(self, check: Check, action: Action) -> None:
        name = action["name"]
        if name in ("undo", "redo"):
            index = check.undo() if name == "undo" else check.redo()
            self.index = self.index if index is None else index
            return
        if action.get("shown") != self.index + 1:
            raise DataError("the frame is not on screen yet; wait for it")
        if name == "delete":
            check.delete(self.index)
        elif name == "label":
            check.label(self.index, action["valence"], action["arousal"])
        elif name == "nudge":
            scores = list(check.labels.get(self.index, (0.0, 0.0))[:2])
            scores[int(action["axis"])] += float(action["by"])
            check.label(self.index, *scores)

    def _move(self, check: Check, action: Action) -> None:
        if action["name"] == "step":
            self.index = min(max(self.index + int(action["frames"]), 0), len(check.frames) - 1)
        elif action["name"] == "next_unlabelled":
            index = check.next_unlabelled(self.index)
            if index is None:
                check.bounds()
                for tab in tuple(CheckPage.tabs):
                    tab.rebuild()
                return
            self.index = index
        self.refresh(check)

    async def _draw(self, count: float | None) -> None:
        if CheckPage.is_drawing or CheckPage.check:  # in another tab
            return
        CheckPage.is_drawing = True
        self.draw_button.disable()
        notice = ui.notification("Drawing frames …", spinner=True, timeout=None)
        problem = ""
        try:
            CheckPage.check = await run.io_bound(draw_check, self.project, int(count or DEFAULT_COUNT))
        except UserError as error:
            problem = str(error)
        finally:
            CheckPage.is_drawing = False
        notice.dismiss()
        for tab in tuple(CheckPage.tabs):
            tab.index = 0
            tab.rebuild(problem)

    def _add_labels(self) -> None:
        assert CheckPage.check is not None, "the button is shown with a check"
        try:
            added = CheckPage.check.add_labels(self.project)
            text = f"{count_of(added, 'label')} added. For a bound of the new estimates, draw another check."
        except UserError as error:
            text = f"Not saved: {error}"
        ui.notification(text, timeout=5)
        for tab in tuple(Page.tabs):
            tab.refresh()

    def _forget(self) -> None:
        """Go back to the drawing; the files of the check stay."""
        CheckPage.left = CheckPage.check.path if CheckPage.check else None
        CheckPage.check = None
        for tab in tuple(CheckPage.tabs):
            tab.rebuild()

    def _answer(self, action: Action, saved: bool, text: str) -> None:
        self.hub.run_method("answer", action.get("id"), saved, text)

    def _refresh_all_tabs(self, check: Check) -> None:
        for tab in tuple(CheckPage.tabs):
            tab.refresh(check)
