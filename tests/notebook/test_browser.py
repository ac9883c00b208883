"""The first notebook in JupyterLab in Chromium: the live view ticks, survives a reload, and ends as plain HTML."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from lab_in_browser import ROOT, Lab, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

NOTEBOOK = "01-first-stream.ipynb"
VIEW = ".sl-view"
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
SLOW_MS = 120_000
"""Longest wait for anything: the machine may be busy."""


def seq_above(page: Page, least: int) -> int:
    """Wait until the view has drawn a panel with a number above `least`, and return its number."""
    page.page.wait_for_function(
        "([view, least]) => Number(document.querySelector(view)?.dataset.seq) > least",
        arg=[VIEW, least],
        timeout=SLOW_MS,
    )
    return int(page.page.locator(VIEW).get_attribute("data-seq"))


def output_of_live_cell(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.source.startswith("%%stream"))
    (output,) = cell.outputs
    return output


@pytest.fixture
def page(lab: Lab, open_notebook: Callable[[str], Page]) -> Page:
    shutil.copy(ROOT / "notebooks" / NOTEBOOK, lab.folder)
    return open_notebook(NOTEBOOK)


def test_the_live_view_ticks_while_the_kernel_is_busy_and_ends_as_plain_html(page: Page, lab: Lab, theme: str) -> None:
    """All cells run; the one after the live cell blocks the kernel in ``hourly.wait()``, and still the view moves."""
    page.run_all()
    first = seq_above(page, 0)
    page.page.wait_for_selector(f"{VIEW} .sl-table tbody tr", timeout=SLOW_MS)
    seq_above(page, first + 3)
    assert page.page.locator(VIEW).get_attribute("data-state") == "running"
    page.shoot(VIEW, f"live-{theme}")
    page.page.wait_for_selector(VIEW, state="detached", timeout=SLOW_MS)
    page.page.wait_for_selector("text=equal: True", timeout=SLOW_MS)
    page.shoot(".jp-OutputArea-output:has-text('✓ finished')", f"static-{theme}")
    page.shoot(".jp-Notebook", f"notebook-{theme}")
    page.save()
    output = output_of_live_cell(lab.folder / NOTEBOOK)
    assert WIDGET not in output.data
    assert "finished" in output.data["text/html"]
    assert "<script" not in output.data["text/html"]
    assert page.errors == []


def test_a_reload_in_the_middle_loses_nothing(lab: Lab, open_notebook: Callable[[str], Page], theme: str) -> None:
    """A minute's job; the page is loaded again while it runs, ticks on, and shows how the job was stopped."""
    cells = [nbformat.v4.new_code_cell(code) for code in SLOW_CELLS]
    # Without a kernel named in it, JupyterLab would ask which one to use, and wait.
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(notebook, lab.folder / "slow.ipynb")
    page = open_notebook("slow.ipynb")
    page.run_all()
    seq_above(page, 2)
    page.save()
    page.reload()
    after = seq_above(page, 0)
    seq_above(page, after + 3)
    assert page.page.locator(f"{VIEW} .sl-table tbody tr").count() == 10
    page.shoot(VIEW, f"reloaded-{theme}")
    page.execute("hourly.stop()")
    page.page.wait_for_selector(f"{VIEW}[data-state=stopped]", timeout=SLOW_MS)
    assert page.errors == []
