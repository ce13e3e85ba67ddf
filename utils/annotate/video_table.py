"""The table of videos: sorted by any column; a click or Enter opens a video."""

from collections.abc import Callable
from typing import Any

from nicegui import events, ui

from utils.annotate.elements import close_button, count_of
from utils.annotate.project import Project, ProjectVideo

# Formats of cells, in JavaScript.
CLOCK = (
    "seconds => seconds == null ? '' : [seconds / 3600, (seconds / 60) % 60, seconds % 60]"
    ".map((part, index) => String(Math.floor(part)).padStart(index ? 2 : 1, '0')).join(':')"
)
PERCENT = "share => share == null ? '' : Math.floor(100 * share) + ' %'"
ERROR = "error => error?.toFixed(3)"

NUMBER = {"sortable": True, "sortOrder": "da"}  # The first click on the header sorts from large to small.
COLUMNS: list[dict[str, Any]] = [
    {"name": "name", "label": "Video", "field": "name", "align": "left", "sortable": True},
    {"name": "seconds", "label": "Hours", "field": "seconds", ":format": CLOCK, **NUMBER},
    {"name": "labels", "label": "Labels", "field": "labels", **NUMBER},
    {"name": "error", "label": "Expected error", "field": "error", ":format": ERROR, **NUMBER},
    {"name": "done", "label": "Done", "field": "done", ":format": PERCENT, **NUMBER},
]
SORTED = {"rowsPerPage": 0, "sortBy": "error", "descending": True}

# A header is a button, so that the keyboard can sort, too.
HEADER = """
<q-th :props="props" :aria-sort="!props.col.__thClass.includes(' sorted') ? 'none'
      : props.col.__thClass.includes('sort-desc') ? 'descending' : 'ascending'">
  <button type="button" class="sort-button">{{ props.col.label }}</button>
</q-th>"""
NAME = """
<q-td :props="props">
  <button v-if="!props.row.problem" type="button" class="video-button">{{ props.value }}</button>
  <template v-else>{{ props.value }}<div class="list-problem">{{ props.row.problem }}</div></template>
</q-td>"""
CHOOSE = "(event, row) => row.problem || emit(row.index)"
ARROWS = """(event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const buttons = [...document.querySelectorAll(".video-button")];
  buttons[buttons.indexOf(event.target) + by]?.focus();
}"""


def open_video_table(project: Project, target: float, choose: Callable[[int], None]) -> None:
    """Open the table of videos, the largest expected error first.

    Args:
        project: the videos.
        target: the expected error that the annotator aims at.
        choose: is called with the index of the video that the annotator chooses.
    """

    def close_and_choose(event: events.GenericEventArguments) -> None:
        dialog.close()
        choose(int(event.args))

    rows = [video_row(video, index, target) for index, video in enumerate(project.videos)]
    # The focus stays off the button that opened the table, so that Space plays the chosen video.
    with ui.dialog().props('no-refocus aria-label="Videos"') as dialog, ui.card().classes("list"):
        build_table(rows, close_and_choose)
        ui.label(f"Done: share of the frames whose expected error is at most {target:g}, the target.").classes(
            "secondary"
        )
        close_button(dialog)
    dialog.open()


def build_table(rows: list[dict[str, Any]], choose: Callable[[events.GenericEventArguments], None]) -> None:
    """Build the table with a field that filters it by name.

    Args:
        rows: as `video_row` returns them.
        choose: is called with the index of a video, as the argument of an event.
    """
    seconds, labels = (sum(row.get(column) or 0 for row in rows) for column in ("seconds", "labels"))
    parts = count_of(len(rows), "video"), length_text(seconds), count_of(labels, "label")
    ui.label(" · ".join(parts)).classes("heading")
    find = ui.input(placeholder="Find a video").props('dense outlined autofocus clearable aria-label="Find a video"')
    table = ui.table(rows=rows, columns=COLUMNS, row_key="index", pagination=SORTED).classes("videos")
    table.props("flat dense virtual-scroll hide-bottom binary-state-sort :rows-per-page-options=[0]")
    table.bind_filter_from(find, "value", backward=lambda text: text or "")
    table.add_slot("header-cell", HEADER)
    table.add_slot("body-cell-name", NAME)
    table.on("rowClick", choose, js_handler=CHOOSE)
    for element in (find, table):
        element.on("keydown", js_handler=ARROWS)


def length_text(seconds: float) -> str:
    """A length in hours, minutes or seconds, whichever fits: 1.5 hours, 2.5 minutes, 8 seconds."""
    if seconds < 60:
        return count_of(round(seconds), "second")
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"


def video_row(video: ProjectVideo, index: int, target: float) -> dict[str, Any]:
    """The row of a video: index, name and problem; if it can be labelled, also seconds, labels, error and done."""
    session, row = video.session, {"index": index, "name": video.path.name, "problem": video.problem}
    if session is None:
        return row
    times = session.timeline.times
    return row | {
        "seconds": round(float(times[-1] - times[0] + session.timeline.step), 1),
        "labels": len(session.labels),
        "error": session.expected_error,
        "done": session.share_done(target),
    }
