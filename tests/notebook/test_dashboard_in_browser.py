"""The dashboard in Chromium: from the list to a job's panel, which ticks and obeys."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from lab_in_browser import ARTEFACTS, WAIT_MS

import streamlab as sl

pytestmark = pytest.mark.timeout(300)


@contextmanager
def served(*options: str) -> Iterator[str]:
    """Run the command, as a user would, and give the address that it prints."""
    command = [sys.executable, "-P", "-m", "streamlab", "dashboard", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        try:
            yield re.search(r"http://\S+", line)[0]
        finally:
            process.terminate()


@pytest.fixture
def address() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture
def numbers() -> Iterator[sl.Job]:
    stream = sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=100)
    job = stream.group_by(pl.col("n") % 3).agg(rows=pl.len()).start("numbers", parallelism=1)
    yield job
    job.cancel()


CUT_OFF = """() => [...document.querySelectorAll(".sl-body, .sl-panel")]
  .filter((node) => node.scrollHeight > node.clientHeight + 1).map((node) => node.className)"""


def test_a_job_in_the_dashboard(address: str, numbers: sl.Job, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 800}, color_scheme="dark")
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.get_by_role("link", name="numbers").click(timeout=WAIT_MS)
    page.wait_for_function("() => Number(document.querySelector('.sl-view')?.dataset.seq) > 3", timeout=WAIT_MS)
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector(".sl-view[data-state=paused]", timeout=WAIT_MS)
    assert numbers.status == "paused"
    page.select_option("[data-command=pace]", "realtime")
    is_heard = "() => !document.querySelector('[data-command=pace]').textContent.includes('rows/s')"
    page.wait_for_function(is_heard, timeout=WAIT_MS)
    assert numbers.pace == "realtime"
    page.reload()
    page.wait_for_selector(".sl-view[data-state=paused]", timeout=WAIT_MS)
    page.get_by_role("tab", name="Flow").click()
    page.wait_for_selector(".sl-view[data-tab=flow]", timeout=WAIT_MS)
    page.wait_for_selector(".sl-chart[data-chart=rates][data-points] .bk-Figure", timeout=WAIT_MS)
    assert page.locator(".sl-view").count() == 1, "the panel is made once, whatever Bokeh says"
    page.wait_for_selector(".sl-chart[data-chart=state] .sl-key-item", timeout=WAIT_MS)
    assert page.evaluate(CUT_OFF) == [], "nothing is cut off where there is nothing below"
    page.screenshot(path=ARTEFACTS / "dashboard-dark.png")
    page.close()
    assert errors == []


def test_a_page_goes_on_when_the_server_is_back(numbers: sl.Job, browser: Any, tmp_path: Path) -> None:
    token = f"--token-file={tmp_path / 'token'}"
    page = browser.new_page()
    with served(token) as address:
        page.goto(address)
        page.get_by_role("link", name="numbers").click(timeout=WAIT_MS)
        page.wait_for_selector(".sl-view[data-state=running]", timeout=WAIT_MS)
    page.wait_for_selector(".sl-lost", timeout=WAIT_MS)
    with served(token, f"--port={urlsplit(address).port}") as again:
        assert again == address
        page.wait_for_selector(".sl-lost", state="detached", timeout=WAIT_MS)
        page.get_by_role("button", name="Pause").click(timeout=WAIT_MS)
        page.wait_for_selector(".sl-view[data-state=paused]", timeout=WAIT_MS)
    with served(f"--port={urlsplit(address).port}"):
        page.get_by_text("with another token").wait_for(timeout=WAIT_MS)
    page.close()


def test_the_list_is_filtered_by_what_is_typed(address: str, numbers: sl.Job, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.goto(address)
    page.get_by_role("link", name="numbers").wait_for(timeout=WAIT_MS)
    page.get_by_role("textbox").fill("nothing of that name")
    page.get_by_text("No jobs with “nothing of that name”").wait_for(timeout=WAIT_MS)
    page.get_by_role("textbox").fill("RUNNING")
    page.get_by_role("link", name="numbers").wait_for(timeout=WAIT_MS)
    assert numbers.status == "running"
