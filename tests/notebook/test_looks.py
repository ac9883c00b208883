"""What can be said for certain of how a panel looks: contrast, sizes, boxes that stay where they are, plain words."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from shown_job import FAILURE, ShownJob, checkpoint, status, table, task
from stage import Stage

from streamlab.notebook.panel.choice import TABS
from streamlab.observe.diagnosis import Finding, Severity
from streamlab.observe.status import JobState, JobStatus

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LEAST_CONTRAST = 4.5
"""Of text and what is behind it: WCAG 2.2, 1.4.3."""
LEAST_SIDE = 24
"""Pixels of what can be clicked: WCAG 2.2, 2.5.8."""
TEXTS = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((one, i) => one * a + below[i] * (1 - a));
  const behind = (node) => {
    if (!node) return [255, 255, 255];
    return over(rgba(getComputedStyle(node).backgroundColor), behind(node.parentElement));
  };
  const linear = (one) => (one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const found = [];
  const walker = document.createTreeWalker(document.querySelector(".sl-view"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !node.checkVisibility() || node.closest(":disabled")) continue;
    const below = behind(node);
    const style = getComputedStyle(node);
    const ink = over(rgba(node instanceof SVGElement ? style.fill : style.color), below);
    const [low, high] = [light(below), light(ink)].sort((a, b) => a - b);
    found.push([`${node.className?.baseVal ?? node.className}: ${text}`, (high + 0.05) / (low + 0.05)]);
  }
  return found;
}"""
SMALL = """least => [...document.querySelectorAll(".sl-view :is(button, select, input, summary)")]
  .filter((node) => node.checkVisibility())
  .map((node) => [node.outerHTML.slice(0, 80), node.getBoundingClientRect()])
  .filter(([, box]) => Math.min(box.width, box.height) < least)
  .map(([words, box]) => `${Math.round(box.width)} x ${Math.round(box.height)}: ${words}`)"""
PLACES = """() => Object.fromEntries(
  [".sl-title", ".sl-controls", ".sl-figures", ".sl-tabs", ".sl-panel", ".sl-table", "th", "td", ".sl-foot"]
    .flatMap((selector) => [...document.querySelectorAll(selector)].filter((node) => node.checkVisibility())
      .map((node, i) => [`${selector} ${i}`, node.getBoundingClientRect()])
      .map(([name, { x, y, width, height }]) => [name, [x, y, width, height].map(Math.round).join()]))
)"""
WIDER = "() => document.documentElement.scrollWidth - window.innerWidth"
UNSEEN = """() => {
  const node = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(node);
  return !node.closest(".sl-view") || (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2) ? "" : node.outerHTML;
}"""


def finding(severity: Severity) -> Finding:
    """Return something to be told above the tabs' contents."""
    sentence, move = "the sink keeps all others waiting", "give it more subtasks"
    return Finding(kind="bottleneck", severity=severity, subject="sink", sentence=sentence, move=move)


def odd_jobs() -> dict[str, ShownJob]:
    """Return jobs in all states, and some whose figures are at their ends."""
    nothing = JobStatus(id="j-0", name="nothing", state=JobState.STARTING)
    at_rest = task("read", 0, busy_ms_per_s=0.0, idle_ms_per_s=0.0, backpressured_ms_per_s=0.0)
    at_once = checkpoint(0, duration_ms=0.0)
    zeros = status(0, rows_total=0, started_us=0, reported_us=0, tasks=(at_rest,), checkpoints=(at_once,))
    huge = status(10**9, rows_total=1, tasks=tuple(task(f"step {n} with a very long name", 9) for n in range(30)))
    jobs = {
        "running": ShownJob(status(), table()),
        "paused": ShownJob(status(state=JobState.PAUSED), table()),
        "failed": ShownJob(status(state=JobState.FAILED, failure=FAILURE, last_failure=FAILURE, restarts=2), table()),
        "restarting": ShownJob(
            status(state=JobState.RESTARTING, last_failure=FAILURE, restarts=2, dead_letters=3), table()
        ),
        "finished": ShownJob(status(state=JobState.FINISHED), table()),
        "nothing yet": ShownJob(nothing, pl.DataFrame()),
        "zeros": ShownJob(zeros, table().clear()),
        "huge": ShownJob(huge, table(10**9)),
    }
    jobs["running"].findings = list(map(finding, Severity))
    return jobs


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_that_is_written_can_be_read_and_all_that_is_clicked_be_hit(browser: Any, theme: str) -> None:
    for name, job in odd_jobs().items():
        stage = Stage(browser, job, theme)
        for tab in TABS:
            stage.choose(tab=tab)
            texts = stage.page.evaluate(TEXTS)
            assert texts
            assert [(words, ratio) for words, ratio in texts if ratio < LEAST_CONTRAST] == [], (name, tab)
            assert stage.page.evaluate(SMALL, LEAST_SIDE) == [], (name, tab)
            words = stage.page.inner_text(".sl-view")
            assert not {"NaN", "undefined", "Infinity", "None", "[object"} & set(words.split()), (name, tab)
        stage.close()


@pytest.mark.parametrize("tab", ["results", "time", "log"])
def test_nothing_moves_while_the_numbers_do(browser: Any, tab: str) -> None:
    """Columns may become wider while there is room, but nothing ever goes back, up or down."""
    job = ShownJob(status(), table())
    stage = Stage(browser, job)
    stage.choose(tab=tab)
    for number in (88, 1, 88):
        job.move(number)
        stage.draw()
    places = stage.page.evaluate(PLACES)
    for number in range(20):
        job.move(number * 37 % 89)
        stage.draw()
        assert stage.page.evaluate(PLACES) == places
    stage.close()


HEIGHT = "() => document.querySelector('.sl-body').getBoundingClientRect().height"
LOWEST = """() => {
  const panel = document.querySelector(".sl-panel:not([hidden])");
  panel.scrollTop = panel.scrollHeight;
  const { bottom } = [...panel.children].filter((node) => node.checkVisibility()).at(-1).getBoundingClientRect();
  return bottom - panel.getBoundingClientRect().bottom;
}"""


def test_what_is_below_a_panel_stays_where_it_is_whichever_tab_is_open(browser: Any) -> None:
    few, many = ShownJob(status(), table().clear()), ShownJob(status(), pl.concat([table()] * 40))
    for job, rows in ((few, 10), (many, 10), (many, 100)):
        stage = Stage(browser, job)
        stage.choose(of="results", rows=rows)
        heights = set()
        for tab in TABS:
            stage.choose(tab=tab)
            heights.add(stage.page.evaluate(HEIGHT))
            # All of it can be scrolled to.
            assert stage.page.evaluate(LOWEST) <= 0, tab
        job.rows = table(88)
        stage.choose(tab="results")
        assert heights == {stage.page.evaluate(HEIGHT)}
        stage.close()


def test_the_bar_says_how_much_of_the_files_has_been_read(browser: Any) -> None:
    files = {"rows_total": None, "bytes_total": 45_600_000}
    job = ShownJob(status(bytes_read=12_300_000, **files), table())
    stage = Stage(browser, job)
    bar = stage.page.locator("[role=progressbar]")
    share = """() => {
      const whole = document.querySelector(".sl-progress").clientWidth;
      return document.querySelector(".sl-bar").getBoundingClientRect().width / whole;
    }"""
    for read, state, percent in (
        (12_300_000, JobState.RUNNING, 26),
        (45_600_000, JobState.RUNNING, 100),
        (45_600_000, JobState.FINISHED, 100),
    ):
        job.now = status(bytes_read=read, state=state, **files)
        stage.draw()
        stage.page.wait_for_timeout(400)
        assert bar.get_attribute("aria-valuenow") == str(percent)
        assert abs(stage.page.evaluate(share) - read / 45_600_000) < 0.01
    stage.close()


@pytest.mark.parametrize("width", [700, 1000, 1400])
def test_the_page_never_scrolls_sideways(browser: Any, width: int) -> None:
    for job in (ShownJob(status(state=JobState.PAUSED), table()), odd_jobs()["huge"]):
        stage = Stage(browser, job, width=width)
        for tab in TABS:
            stage.choose(tab=tab)
            assert stage.page.evaluate(WIDER) <= 0, tab
        stage.close()


CUT = """selector => [...document.querySelectorAll(selector)].filter((node) => {
  if (!node.checkVisibility()) return false;
  const { left, right } = node.getBoundingClientRect();
  const seen = node.closest(".sl-scroll") ?? document.documentElement;
  const box = seen.getBoundingClientRect();
  return left < box.left || right > Math.min(box.right, window.innerWidth);
}).map((node) => node.outerHTML)"""


def test_on_a_narrow_page_nothing_that_is_clicked_is_cut_off(browser: Any) -> None:
    """Of a browser's 900 pixels JupyterLab leaves some 700 to an output."""
    for state in (JobState.RUNNING, JobState.PAUSED):
        stage = Stage(browser, ShownJob(status(state=state), table()), width=700)
        for tab in TABS:
            stage.choose(tab=tab)
            assert stage.page.evaluate(CUT, ".sl-view :is(.sl-button, select, input, .sl-tab)") == [], tab
        stage.close()


def test_the_compact_form_has_one_line_above_its_table(browser: Any) -> None:
    stage = Stage(browser, ShownJob(status(), table()), width=700, compact=True)
    line = stage.page.locator(".sl-line").inner_text()
    assert line.startswith("late rows 1 · rows in 1,000 of 80,000")
    assert stage.page.locator(".sl-title").bounding_box()["height"] <= 30
    assert not stage.page.locator(".sl-tabs").is_visible()
    last, body = (stage.page.locator(name).last.bounding_box() for name in ("tbody tr", ".sl-body"))
    assert last["y"] + last["height"] <= body["y"] + body["height"]
    assert stage.page.evaluate(SMALL, LEAST_SIDE) == []
    stage.close()


def test_by_keyboard_one_sees_where_one_is(browser: Any) -> None:
    stage = Stage(browser, ShownJob(status(state=JobState.PAUSED), table()))
    seen = set()
    for _ in range(40):
        stage.page.keyboard.press("Tab")
        assert stage.page.evaluate(UNSEEN) == ""
        seen.add(stage.page.evaluate("() => document.activeElement.className"))
    assert {"sl-button", "sl-tab", "sl-sort", "sl-scroll"} <= seen
    stage.close()


def test_names_of_columns_stay_in_sight(browser: Any) -> None:
    rows = pl.concat([table()] * 40)
    stage = Stage(browser, ShownJob(status(), rows))
    stage.choose(of="results", rows=100)
    scroll = stage.page.locator(".sl-panel:not([hidden]) .sl-scroll")
    scroll.evaluate("node => { node.scrollTop = 500; }")
    top = scroll.bounding_box()["y"]
    assert abs(stage.page.locator("th").first.bounding_box()["y"] - top) <= 1
    stage.close()
