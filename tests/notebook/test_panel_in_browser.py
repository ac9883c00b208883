"""A panel used as people use it: clicked, typed into, by keyboard, while a cell keeps the kernel busy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab_in_browser import VIEW, WAIT_MS, Lab, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

START = """import polars as pl
import streamlab as sl
%load_ext streamlab"""
ENDLESS = """%%stream ticks
sl.generate(
    lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=200
).with_columns(pl.lit("<img src=x onerror=alert(1)>").alias("<b>bold</b>"), pl.lit(None, pl.Int8).alias("nothing"))"""
BUSY = """import time
while ticks.status != "cancelled":
    time.sleep(0.05)
print("cancelled at last")"""


def cells(page: Page, column: int) -> list[str]:
    """Return what a column of the result table shows."""
    return page.page.locator(f"{VIEW} .sl-table tbody tr td:nth-child({column})").all_inner_texts()


def test_controls_sorting_and_paging_work_while_a_cell_keeps_the_kernel_busy(
    lab: Lab, open_notebook: Callable[..., Page]
) -> None:
    page = open_notebook(lab.write("ticks.ipynb", START, ENDLESS, BUSY))
    page.run_all()
    page.until("Number(view.querySelector('.sl-value').textContent.replace(/\\D/g, '')) > 50")
    page.until("view.querySelectorAll('tbody tr').length === 10")
    page.page.click(f"{VIEW} [data-command=pause]")
    page.page.wait_for_selector(f"{VIEW}[data-state=paused]", timeout=WAIT_MS)
    assert cells(page, 2)[0] == "<img src=x onerror=alert(1)>"
    assert cells(page, 3)[0] == "null"
    page.page.click(f"{VIEW} th:first-child .sl-sort")
    page.until("view.querySelector('th').ariaSort === 'descending'")
    page.page.fill(f"{VIEW} input[type=search]", "n < 25 and n >= 3")
    page.until("view.querySelector('.sl-count').textContent.includes('22 that match')")
    page.page.click(f"{VIEW} .sl-turn >> nth=3")
    page.until("view.querySelector('.sl-count').textContent.startsWith('rows 21 to 22')")
    assert cells(page, 1) == ["4", "3"]
    page.page.fill(f"{VIEW} input[type=search]", "n <")
    page.until("view.querySelector('.sl-where-error').textContent.startsWith('✗')")
    page.shoot(VIEW, "results-paused-light")
    page.page.fill(f"{VIEW} input[type=search]", "")
    page.page.select_option(f"{VIEW} .sl-body select >> nth=0", "changelog")
    page.until("view.querySelector('th').textContent.startsWith('op')")
    page.page.click(f"{VIEW} .sl-exports button >> nth=0")
    page.page.wait_for_selector(f"{VIEW} .sl-said:has-text('ticks-results.parquet')", timeout=WAIT_MS)
    assert (lab.folder / "ticks-results.parquet").exists()
    page.page.click(f"{VIEW} [data-command=resume]")
    page.page.wait_for_selector(f"{VIEW}[data-state=running]", timeout=WAIT_MS)
    page.page.click(f"{VIEW} [data-command=cancel]")
    page.page.wait_for_selector("text=cancelled at last", timeout=WAIT_MS)
    assert page.errors == []


PLANES = """%%stream {name} --pace 40000x --checkpoint-every 700ms --checkpoint-keep 1000
from streamlab.demo import flights
landings = sl.from_frame(flights.load().frame.head(80_000), event_time="dep_time", watermark="6h")
landings.group_by_dynamic("dep_time", every="1h", group_by=["origin", "carrier"]).agg(
    pl.len().alias("flights"), pl.col("arr_delay").mean().round(1).alias("delay"))"""


def test_event_time_and_the_graph_with_their_charts(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    page = open_notebook(lab.write("planes.ipynb", START, PLANES.format(name="planes")))
    page.run_all()
    page.seq_above(2)
    page.page.click(f"{VIEW} [data-tab=time]")
    page.page.wait_for_selector(f"{VIEW} [data-chart=skew][data-points] canvas", state="attached", timeout=WAIT_MS)
    page.page.wait_for_selector(f"{VIEW} [data-chart=ahead][data-points] canvas", state="attached", timeout=WAIT_MS)
    page.until("view.innerText.includes('○ open')")
    page.until("view.querySelector('[data-chart=skew] .sl-key').innerText.includes('watermark')")
    page.shoot(VIEW, "time-light")
    shows_one_stretch_of_time(page)
    page.theme("dark")
    page.shoot(VIEW, "time-dark")
    page.page.focus(f"{VIEW} [data-tab=time]")
    page.page.keyboard.press("ArrowRight")
    page.page.wait_for_selector(f"{VIEW} .sl-box-words:has-text('%')", timeout=WAIT_MS)
    page.page.wait_for_selector(f"{VIEW} [data-chart=rates][data-points] canvas", state="attached", timeout=WAIT_MS)
    assert page.page.locator(f"{VIEW} .sl-box").count() == 2
    page.shoot(VIEW, "flow-dark")
    page.theme("light")
    page.shoot(VIEW, "flow-light")
    page.page.click(f"{VIEW} [data-command=cancel]")
    page.page.wait_for_selector(f"{VIEW}[data-state=cancelled]", timeout=WAIT_MS)
    assert page.errors == []


def shows_one_stretch_of_time(page: Page) -> None:
    """Switch what the charts show, and zoom into one of them: all follow."""
    tools = f"{VIEW} .sl-panel:not([hidden])"
    drawn = "[...view.querySelectorAll('.sl-panel:not([hidden]) [data-points]')].filter((one) => !one.hidden)"
    page.until(f"{drawn}.some(({{ dataset }}) => dataset.to - dataset.from > 1000)")
    # So that nothing moves away from below the mouse.
    page.page.click(f"{VIEW} [data-command=pause]")
    page.page.wait_for_selector(f"{VIEW}[data-state=paused]", timeout=WAIT_MS)
    page.page.click(f"{tools} [data-range=all]")
    page.until("view.querySelector('[data-range=all]').ariaPressed === 'true'")
    chart = page.page.locator(f"{tools} [data-chart=skew]")
    before = float(chart.get_attribute("data-to")) - float(chart.get_attribute("data-from"))
    # The tool that zooms is chosen in the toolbar, which shows when the mouse is over the chart.
    chart.hover()
    chart.locator(".bk-tool-icon-wheel-zoom").first.click()
    chart.hover()
    page.page.mouse.wheel(0, -300)
    page.until("view.querySelector('[data-range=follow]').ariaPressed === 'false'")
    page.until(f"{drawn}.every(({{ dataset }}) => dataset.to - dataset.from < {before})")
    page.until(f"new Set({drawn}.map(({{ dataset }}) => dataset.from)).size === 1")
    page.page.click(f"{tools} [data-range=last]")
    page.until("view.querySelector('[data-range=follow]').ariaPressed === 'true'")
    page.until(f"{drawn}.every(({{ dataset }}) => dataset.to - dataset.from <= 31000)")
    page.page.click(f"{VIEW} [data-command=resume]")
    page.page.wait_for_selector(f"{VIEW}[data-state=running]", timeout=WAIT_MS)


def test_checkpoints_time_travel_a_replay_and_steps(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    page = open_notebook(lab.write("past.ipynb", START, PLANES.format(name="past")))
    page.run_all()
    page.seq_above(2)
    page.page.click(f"{VIEW} [data-tab=checkpoints]")
    page.until("view.querySelectorAll('[data-command=replay]').length >= 4")
    page.page.click(f"{VIEW} [data-command=pause]")
    page.page.wait_for_selector(f"{VIEW}[data-state=paused]", timeout=WAIT_MS)
    page.theme("dark")
    page.shoot(VIEW, "checkpoints-dark")
    page.theme("light")
    travels_by_mouse_and_by_keys(page)
    page.page.click(f"{VIEW} button:has-text('Open state') >> nth=-1")
    page.until("view.querySelector('.sl-past th').textContent.startsWith('origin')")
    parts = page.page.locator(f"{VIEW} .sl-past select >> nth=0").inner_text()
    assert parts.index("state of 1 h windows by origin") < parts.index("partial results on their way to")
    page.shoot(VIEW, "checkpoints-light")
    page.page.click(f"{VIEW} [data-command=replay] >> nth=-1")
    page.page.wait_for_selector(f"{VIEW}[data-state=stopped] .sl-trail button", timeout=WAIT_MS)
    page.shoot(VIEW, "replay-light")
    page.page.click(f"{VIEW} .sl-trail button >> nth=1")
    page.page.wait_for_selector(f"{VIEW} .sl-said:has-text('The same rows as in past at checkpoint')", timeout=WAIT_MS)
    page.page.click(f"{VIEW} .sl-trail button >> nth=0")
    page.page.wait_for_selector(f"{VIEW}[data-state=paused] [data-command=step]", timeout=WAIT_MS)
    assert page.page.input_value(f"{VIEW} [placeholder=all]") == "1"
    page.page.fill(f"{VIEW} [placeholder=all]", "many")
    page.page.click(f"{VIEW} [data-command=step]")
    page.page.wait_for_selector(f"{VIEW} .sl-said.sl-error:has-text('a whole number from 1 on')", timeout=WAIT_MS)
    page.page.fill(f"{VIEW} [placeholder=all]", "1,000")
    page.page.click(f"{VIEW} [data-command=step]")
    page.page.wait_for_selector(f"{VIEW} .sl-said:has-text('rows read: 1,000 from')", timeout=WAIT_MS)
    page.page.click(f"{VIEW} [data-tab=log]")
    page.until("view.querySelector('.sl-told').textContent.includes('Replaying past')")
    page.shoot(VIEW, "log-light")
    page.page.click(f"{VIEW} [data-tab=checkpoints]")
    page.page.fill(f"{VIEW} [placeholder^='a folder']", "kept")
    page.page.click(f"{VIEW} [data-command=stop_with_savepoint]")
    page.page.wait_for_selector(f"{VIEW} .sl-said:has-text('from_savepoint')", timeout=WAIT_MS)
    assert any((lab.folder / "kept").iterdir())
    assert page.errors == []


def travels_by_mouse_and_by_keys(page: Page) -> None:
    """Move the slider of the checkpoints to the middle, one back, to the oldest one and to the newest."""
    slider = page.page.locator(f"{VIEW} input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.until("!view.querySelector('.sl-at').textContent.includes('newest')")
    page.until("view.querySelector('.sl-chosen').innerText.includes('kept while it is looked at')")
    middle = page.page.inner_text(f"{VIEW} .sl-at")
    assert int(middle.split()[1].strip(",")) == int(page.page.inner_text(f"{VIEW} .sl-chosen td >> nth=0").split()[1])
    page.page.keyboard.press("ArrowLeft")
    page.page.wait_for_function(
        "old => document.querySelector('.sl-at').textContent !== old", arg=middle, timeout=WAIT_MS
    )
    slider.press("Home")
    page.until("view.querySelector('[type=range]').value === '0'")
    page.until("view.querySelector('.sl-at').textContent.startsWith('checkpoint 1,')")
    oldest = page.page.inner_text(f"{VIEW} .sl-at")
    page.until("view.querySelector('.sl-chosen').dataset.checkpoint === '1'")
    before = count_of(page, ".sl-past .sl-count")
    page.page.keyboard.press("End")
    page.page.wait_for_function(
        "old => document.querySelector('.sl-at').textContent !== old", arg=oldest, timeout=WAIT_MS
    )
    page.until("view.querySelector('.sl-at').textContent.includes('(the newest)')")
    page.until("!view.querySelector('.sl-chosen').innerText.includes('looked at')")
    assert count_of(page, ".sl-past .sl-count") > before


def count_of(page: Page, selector: str) -> int:
    """Return the number of rows that a table says it has."""
    words = page.page.inner_text(f"{VIEW} {selector}").replace(",", "").split()
    if words[0] == "no":
        return 0
    return int(words[0]) if words[0].isdigit() else int(words[words.index("of") + 1])


CHART = """chart = hourly.plot("dep_time", "flights", by="origin")
chart.title.text = "Departures an hour"
chart.title.text_color = "#cc79a7"
chart"""
SHOWN_AGAIN = "hourly"


def test_a_plot_keeps_ticking_and_a_job_shows_its_panel(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    landings = PLANES.format(name="hourly").replace('["origin", "carrier"]', '"origin"')
    page = open_notebook(lab.write("charts.ipynb", START, landings, CHART, SHOWN_AGAIN))
    page.run_all()
    page.page.wait_for_selector(
        ".sl-figure-view[data-lines='3'] .bk-Figure, .sl-figure-view[data-lines='3'] .bk-Plot", timeout=WAIT_MS
    )
    first = int(page.page.get_attribute(".sl-figure-view", "data-seq"))
    page.page.wait_for_function(
        "first => Number(document.querySelector('.sl-figure-view').dataset.seq) > first + 2", arg=first, timeout=WAIT_MS
    )
    page.shoot(".sl-figure-view", "plot-light")
    page.theme("dark")
    page.shoot(".sl-figure-view", "plot-dark")
    assert page.page.locator(".sl-figure-view .sl-key-item").all_inner_texts() == ["EWR", "JFK", "LGA"]
    page.page.wait_for_function(f"() => document.querySelectorAll('{VIEW}[data-state]').length === 2", timeout=WAIT_MS)
    page.save()
    page.reload()
    page.page.wait_for_selector(".sl-figure-view[data-lines='3']", timeout=WAIT_MS)
    assert page.errors == []
