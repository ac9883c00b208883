"""The first notebook in JupyterLab in Chromium: the panel ticks, survives a reload, and ends as plain HTML."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from lab_in_browser import ROOT, VIEW, WAIT_MS, Lab, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

NOTEBOOK = "01-first-stream.ipynb"
WIDGET = "application/vnd.jupyter.widget-view+json"
SLOW_CELLS = (
    """import polars as pl
import streamlab as sl
from streamlab.demo import flights
%load_ext streamlab""",
    """%%stream hourly --pace 100000x
landings = sl.from_frame(flights.load().frame, event_time="dep_time", watermark="6h")
landings.group_by_dynamic("dep_time", every="1h", group_by="origin").agg(pl.len())""",
)


def output_of_live_cell(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.source.startswith("%%stream"))
    panel, copy = cell.outputs
    assert WIDGET in panel.data
    return copy


def test_the_live_view_ticks_while_the_kernel_is_busy_and_stays_at_the_end_with_a_copy_of_plain_html(
    lab: Lab, open_notebook: Callable[..., Page]
) -> None:
    """All cells run; the one after the live cell blocks the kernel in ``hourly.wait()``, and still the view moves."""
    shutil.copy(ROOT / "notebooks" / NOTEBOOK, lab.folder)
    page = open_notebook(NOTEBOOK)
    page.run_all()
    first = page.seq_above(0)
    page.page.wait_for_selector(f"{VIEW} .sl-table tbody tr", timeout=WAIT_MS)
    page.seq_above(first + 3)
    assert page.page.locator(VIEW).get_attribute("data-state") == "running"
    page.shoot(VIEW, "live-light")
    page.page.wait_for_selector(f"{VIEW}[data-state=finished]", timeout=WAIT_MS)
    page.page.wait_for_selector("text=equal: True", timeout=WAIT_MS)
    page.until_copied("✓ finished")
    page.page.fill(f"{VIEW} input[type=search]", "JFK")
    page.until("view.querySelector('.sl-count').textContent.includes('that match')")
    page.shoot(".jp-Notebook", "notebook-light")
    page.save()
    output = output_of_live_cell(lab.folder / NOTEBOOK)
    assert "finished" in output.data["text/html"]
    assert "<script" not in output.data["text/html"]
    assert page.errors == []


def test_a_reload_in_the_middle_loses_nothing(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    """A minute's job; the page is loaded again while it runs, ticks on, and shows how the job was stopped."""
    page = open_notebook(lab.write("slow.ipynb", *SLOW_CELLS), "dark")
    page.run_all()
    page.seq_above(2)
    page.save()
    page.reload()
    after = page.seq_above(0)
    page.seq_above(after + 3)
    page.page.wait_for_function(
        "view => document.querySelectorAll(`${view} .sl-table tbody tr`).length === 10", arg=VIEW, timeout=WAIT_MS
    )
    page.shoot(VIEW, "reloaded-dark")
    page.execute("hourly.stop()")
    page.page.wait_for_selector(f"{VIEW}[data-state=stopped]", timeout=WAIT_MS)
    assert page.errors == []
