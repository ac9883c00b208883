"""A panel as plain HTML and as text: complete, escaped, and without anything that a viewer would strip or run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

from streamlab.notebook.charts.svg import Line
from streamlab.notebook.panel.choice import TableChoice
from streamlab.notebook.panel.header import header
from streamlab.notebook.panel.results import page_of
from streamlab.notebook.panel.tables import table_values
from streamlab.notebook.view import static_view
from streamlab.observe.status import Failure, JobState, JobStatus
from streamlab.observe.wording import STATE_MARKS

EVIL = "<script>alert('x')</script>&\""


INERT = {"div", "span", "b", "br", "i", "table", "thead", "tbody", "tr", "th", "td", "pre", "details", "summary"}


class Reader(HTMLParser):
    """Collects tags and attributes, and fails on tags that are not closed in order."""

    VOID = frozenset({"br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def shown(results: pl.DataFrame | None = None, rows: int = 10, **changes: object) -> dict[str, Any]:
    status = JobStatus(**{"id": "j-1", "name": "hourly", "state": JobState.RUNNING, "rows_in": 12_345, **changes})
    _, page = page_of(pl.DataFrame() if results is None else results, TableChoice(rows=rows))
    return {**header(status), **table_values(page, "no result rows" if status.state.is_final else "no result rows yet")}


def test_the_page_has_the_figures_and_the_rows() -> None:
    page = read(static_view.to_html(shown(pl.DataFrame({"origin": ["JFK", None], "n": [7, 8]}), late_rows=3)))
    for text in ("hourly", "● running", "12,345", "late rows", "JFK", "null", "2 rows"):
        assert text in page.text


def test_only_inert_tags_and_inline_styles() -> None:
    failure = Failure(message="m", sample="s", traceback="t")
    page = read(static_view.to_html(shown(pl.DataFrame({"a": [1]}), state=JobState.FAILED, failure=failure)))
    assert page.tags <= INERT
    assert page.attributes <= {"style", "title"}


def test_the_other_tabs_are_folded_up_in_it_small_inert_and_escaped() -> None:
    line = Line(EVIL, [float(n) for n in range(5000)], [float(n % 7) for n in range(5000)])
    more = {
        "findings": [{"sign": "▲", "sentence": EVIL, "move": EVIL}],
        "charts": {"Rates": ([line, Line("late", line.x, line.y, is_points=True)], False), "Empty": ([], True)},
        "vertices": [[EVIL, EVIL, "busy 1 %", {"rows in": "1", "rows out": "2", "state": "0 B"}]],
        "checkpoints": [
            {
                "mark": "✓",
                "id": 7,
                "at": "10:00:00",
                "duration": "1 ms",
                "size": "1 kB",
                "words": "kept",
                "reason": EVIL,
            }
        ],
    }
    text = static_view.to_html({**shown(), **more})
    page = read(text)
    assert page.tags <= INERT | {"svg", "path", "text"}
    assert "<script" not in text
    assert len(text) < 40_000
    assert "✓ 7" in page.text
    assert EVIL in page.text


@pytest.mark.parametrize("place", ["name", "column", "cell", "message", "traceback", "sample"])
def test_every_value_is_escaped(place: str) -> None:
    failure = Failure(
        message=EVIL if place == "message" else "",
        traceback=EVIL if place == "traceback" else "",
        sample=EVIL if place == "sample" else "",
    )
    column = EVIL if place == "column" else "c"
    results = pl.DataFrame({column: [EVIL if place == "cell" else "v"]})
    name = EVIL if place == "name" else "n"
    text = static_view.to_html(shown(results, name=name, state=JobState.FAILED, failure=failure))
    assert "<script" not in text
    assert EVIL in read(text).text


def test_the_text_is_made_of_plain_lines() -> None:
    text = static_view.to_text(shown(pl.DataFrame({"origin": ["JFK"], "n": [7]})))
    assert re.search(r"JFK\s*┆\s*7", text)
    assert text.splitlines()[0] == "● running  hourly  (j-1)"
    assert text.splitlines()[-1] == "1 row"


def test_numbers_are_set_flush_right() -> None:
    text = static_view.to_text(shown(pl.DataFrame({"n": [7, None, 1234], "a" * 200: [5, 6, 70]})))
    for row in ("│    n ┆ aaa", "│    7 ┆  5 ", "│ null ┆  6 ", "│ 1234 ┆ 70 "):
        assert row in text


def test_nothing_needs_a_colour_that_it_brings_along_to_be_read() -> None:
    """Colours are those of signs, bars and lines; text has the page's own."""
    failure = Failure(message="m", step="map", sample="s", traceback="t")
    for state in JobState:
        text = static_view.to_html(shown(pl.DataFrame({"a": [None]}), state=state, failure=failure))
        assert re.findall(r"color:#\w+\">([^<]+)", text) in ([], [STATE_MARKS[state]])
        assert "var(" not in text.replace("var(--jp-ui-font-family", "")


def test_a_failed_job_says_why_in_the_text() -> None:
    assert "boom" in static_view.to_text(shown(state=JobState.FAILED, failure=Failure(message="boom")))


def test_no_rows_yet_and_no_rows_at_all() -> None:
    assert static_view.to_text(shown()).endswith("no result rows yet")
    assert static_view.to_text(shown(state=JobState.FINISHED)).endswith("no result rows")


def test_a_job_that_restarts_says_why_in_text_and_page() -> None:
    lost = Failure(message="map: got <SIGKILL>.\n  → look")
    restarting = shown(state=JobState.RESTARTING, restarts=2, last_failure=lost)
    text = static_view.to_text(restarting)
    assert text.startswith("↻ restarting")
    assert "restarts 2 · restarts after map: got <SIGKILL>." in text
    page = static_view.to_html(restarting)
    assert "map: got &lt;SIGKILL&gt;." in page
    assert "<SIGKILL>" not in page


def test_of_a_long_page_a_saved_notebook_keeps_what_fits() -> None:
    table = pl.DataFrame({"n": range(500), "text": ["<" * 70] * 500})
    page = shown(table, 500)
    html = static_view.to_html(page)
    assert len(html) < 100_000
    kept = html.partition("<tbody>")[2].partition("</tbody>")[0].count("<tr>")
    assert 50 < kept < 500
    assert f"500 rows, by n; the last {500 - kept} of them are left out here" in read(html).text
    text = static_view.to_text(page)
    assert "the last 450 of them are left out here" in text
    assert len(text) < 20_000


def test_a_long_cell_is_cut_and_can_be_read_by_pointing_at_it() -> None:
    path = f"/data/{'a-very-long-folder/' * 10}flights.parquet"
    page = shown(pl.DataFrame({"split": [path]}))
    html = static_view.to_html(page)
    assert f'title="{path}"' in html
    assert path not in read(html).text
    assert max(map(len, static_view.to_text(page).splitlines())) < 120


def test_figures_stand_in_lines_that_fit_a_narrow_page() -> None:
    ended = shown(state=JobState.FINISHED, started_us=1_000_000, ended_us=9_000_000, dead_letters=2)
    lines = static_view.to_html(ended).partition("<table")[2].partition("</table>")[0].split("<tr>")[1:]
    assert [line.count("<td") for line in lines] == [5, 4]
