"""The annotation page's table of 3,000 videos: it is drawn in parts, and sorted, searched and used by keyboard."""

import pytest

pytest.importorskip("nicegui")
pytest.importorskip("playwright")

from page_driver import BROWSER
from video_table_page import serving_table, simulated_rows

pytestmark = pytest.mark.skipif(not BROWSER.exists(), reason=f"no {BROWSER}")

ROWS = 3000
NAMES = ".q-virtual-scroll__content .video-button"


@pytest.fixture(scope="module")
def url():
    with serving_table(ROWS) as address:
        yield address


@pytest.fixture
def page(browser_context, url):
    opened = browser_context.new_page()
    opened.goto(url)
    opened.click(".open")
    opened.wait_for_selector(NAMES)
    # While the dialog opens, it takes the focus, and a key pressed before would be lost.
    opened.wait_for_function("document.querySelector('.q-dialog').contains(document.activeElement)")
    yield opened
    opened.close()


def names(sort_by: str, descending: bool) -> list[str]:
    """Names of the first ten videos in the order of a column."""
    rows = sorted(simulated_rows(ROWS), key=lambda row: row[sort_by], reverse=descending)
    return [row["name"] for row in rows[:10]]


def shown(page, column: int = 1) -> list[str]:
    cells = page.locator(f".q-virtual-scroll__content tr td:nth-child({column})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_rows_are_drawn_where_they_are_looked_at(page):
    assert "3000 videos" in page.inner_text(".heading")
    assert shown(page)[:10] == names("error", True)
    assert len(shown(page)) < 200
    page.locator(".videos .q-table__middle").evaluate("element => element.scrollTop = element.scrollHeight")
    page.wait_for_selector(f"text={names('error', False)[0]}")
    assert len(shown(page)) < 200


@pytest.mark.parametrize("column, label, first", [("seconds", "Hours", True), ("labels", "Labels", True),
                                                  ("done", "Done", True), ("name", "Video", False)])  # fmt: skip
def test_every_column_sorts_both_ways_by_keyboard(page, column, label, first):
    index = ["Video", "Hours", "Labels", "Expected error", "Done"].index(label) + 1
    rows = {row["name"]: row[column] for row in simulated_rows(ROWS)}
    for descending in (first, not first):
        page.get_by_role("button", name=label, exact=True).press("Enter")
        page.wait_for_selector(f"th:nth-child({index})[aria-sort={'descending' if descending else 'ascending'}]")
        assert [rows[name] for name in shown(page)[:10]] == [rows[name] for name in names(column, descending)]


def test_a_video_is_found_and_opened_by_keyboard(page):
    page.get_by_label("Find a video").fill("interview_299")
    page.wait_for_function(f"document.querySelectorAll('{NAMES}').length === 10")
    assert sorted(shown(page)) == [f"interview_{number}.mp4" for number in range(2990, 3000)]
    page.wait_for_timeout(500)  # The virtual scroll draws the rows again shortly after a search.
    for key, row in (("ArrowDown", 0), ("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1)):
        page.keyboard.press(key)
        page.wait_for_function(f"document.activeElement === document.querySelectorAll('{NAMES}')[{row}]")
    second = shown(page)[1]
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('.chosen').innerText === '{int(second[10:14])}'")
