"""What is left of a panel in a saved notebook: readable without a kernel and without scripts, and small."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbconvert
import pytest
from lab_in_browser import ARTEFACTS, VIEW, WAIT_MS, Lab, Page, console_errors
from lab_server import new_context

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

START = """import polars as pl
import streamlab as sl
from streamlab.demo import flights
%load_ext streamlab"""
PLANES = """%%stream planes --pace 15000x --checkpoint-every 500ms
landings = sl.from_frame(flights.load().frame.head(80_000), event_time="dep_time", watermark="6h")
landings.group_by_dynamic("dep_time", every="1h", group_by=["origin", "carrier"]).agg(
    pl.len().alias("flights"), pl.col("arr_delay").mean().round(1).alias("delay"))"""
CHART = 'planes.plot("dep_time", "flights", by="origin")'
MOST_BYTES = 200_000
MOST_ROWS = 500
CHARTS = ("Event time over processing time", "Rows read and written, per second", "planes")
SECTIONS = ("Time and flow", "Job graph", "Checkpoints")


@pytest.fixture
def saved(lab: Lab, open_notebook: Callable[..., Page]) -> tuple[Path, Path]:
    """Return a notebook saved in the middle of a job, all of whose charts were drawn, and one saved at its end."""
    name = lab.write("planes.ipynb", START, PLANES, CHART)
    path = lab.folder / name
    empty = path.stat().st_size
    page = open_notebook(name)
    page.run_all()
    page.seq_above(2)
    for tab, charts in (("time", ("skew", "ahead")), ("flow", ("rates", "batches", "state", "queues"))):
        page.page.click(f"{VIEW} [data-tab={tab}]")
        for chart in charts:
            drawn = f"{VIEW} [data-chart={chart}][data-points] canvas"
            page.page.wait_for_selector(drawn, state="attached", timeout=WAIT_MS)
    page.page.wait_for_selector(".sl-figure-view[data-lines='3']", timeout=WAIT_MS)
    page.page.click(f"{VIEW} [data-tab=results]")
    page.page.select_option(f"{VIEW} .sl-body select >> nth=1", str(MOST_ROWS))
    rows = "view.querySelectorAll('.sl-panel:not([hidden]) .sl-table tbody tr').length"
    page.until(f"{rows} === {MOST_ROWS}")
    page.page.click(f"{VIEW} [data-command=pause]")
    page.until_copied("paused")
    assert page.page.locator("[class^=sl-copy]:visible").count() == 0
    page.save()
    # Copies, since the notebook itself has a kernel as long as it is open.
    middle, end = lab.folder / "middle.ipynb", lab.folder / "end.ipynb"
    middle.write_bytes(path.read_bytes())
    page.execute("planes.cancel()")
    page.until_copied("cancelled")
    page.save()
    end.write_bytes(path.read_bytes())
    assert page.errors == []
    assert middle.stat().st_size - empty < MOST_BYTES
    assert end.stat().st_size - empty < MOST_BYTES
    return middle, end


def test_a_saved_notebook_shows_the_last_state_without_a_kernel_and_without_scripts(
    saved: tuple[Path, Path], lab: Lab, browser: Any, tmp_path: Path
) -> None:
    for path, state in zip(saved, ("‖ paused", "■ cancelled"), strict=True):
        with new_context(browser) as context:
            page = context.new_page()
            errors = console_errors(page)
            # A server that can start no kernel.
            page.route("**/api/kernelspecs*", lambda route: route.fulfill(json={"default": "", "kernelspecs": {}}))
            page.goto(lab.address(path.name))
            page.click(".jp-Dialog-button:has-text('No Kernel')", timeout=WAIT_MS)
            _shows_the_last_state(page, ".jp-OutputArea", state)
            assert page.locator("text=/^Loading widget|^Error displaying widget/ >> visible=true").count() == 0
            page.screenshot(path=ARTEFACTS / f"saved-{path.stem}.png")
            assert errors == []
        html = tmp_path / f"{path.stem}.html"
        html.write_text(nbconvert.HTMLExporter().from_filename(str(path))[0], encoding="utf-8")
        for scripts in (True, False):
            context = browser.new_context(java_script_enabled=scripts)
            # What nbconvert's own page would fetch.
            context.route(re.compile("^https:"), lambda route: route.fulfill(body=""))
            page = context.new_page()
            errors = console_errors(page)
            page.goto(html.as_uri())
            _shows_the_last_state(page, ".jp-OutputArea, .output", state)
            assert errors == []
            context.close()


def _shows_the_last_state(page: Any, area: str, state: str) -> None:
    shown = page.locator(area).filter(has_text=state).first
    shown.wait_for(timeout=WAIT_MS)
    assert shown.locator("text=2013-").count() > 50
    for title in SECTIONS:
        shown.locator("summary", has_text=title).click()
    for title in CHARTS:
        page.locator(f"svg[aria-label='{title}']").wait_for(timeout=WAIT_MS)
    assert page.locator(f"{VIEW}, {area} >> script").count() == 0
