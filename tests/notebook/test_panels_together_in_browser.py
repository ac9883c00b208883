"""Panels of several jobs in one notebook, of data that means harm, and for people who use no mouse."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbconvert
import pytest
from lab_in_browser import VIEW, WAIT_MS, Lab, Page, console_errors

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

START = """import polars as pl
import streamlab as sl
%load_ext streamlab
def numbers(start, n):
    return pl.DataFrame({"n": range(start, start + n)})
def fails(frame):
    raise ValueError("boom in this job only")"""
SOUND = """%%stream {name} --parallelism 1
sl.generate(numbers, rows_per_second=200)"""
FAILING = """%%stream failing --parallelism 1
sl.generate(numbers, rows_per_second=200).map_batches(fails)"""


def test_several_jobs_tick_beside_one_that_fails(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    page = open_notebook(lab.write("three.ipynb", START, SOUND.format(name="one"), FAILING, SOUND.format(name="two")))
    page.run_all()
    page.page.wait_for_function(f"() => document.querySelectorAll('{VIEW}').length === 3", timeout=WAIT_MS)
    one, failing, two = (page.page.locator(VIEW).nth(place) for place in range(3))
    for view in (one, failing, two):
        view.locator("[data-tab=log]").click()
    failing.locator("text=boom in this job only >> visible=true").first.wait_for(timeout=WAIT_MS)
    for place in (0, 2):
        page.ticks(place)
    for view in (one, two):
        assert view.get_attribute("data-state") == "running"
        assert "boom" not in view.inner_text()
    assert page.errors == []


IMAGE = "<img src=x onerror=window.__hit=1>"
SCRIPT = "<script>window.__hit=1</script>"
HOSTILE = f"""import polars as pl
import streamlab as sl
image, script = {IMAGE!r}, {SCRIPT!r}
cells = [image, script, "\\x1b[31mred\\x1b[0m", "\\u202eback to front", "x" * 10_000_000]
def fails(frame):
    print("y" * 1_000_000, "\\nprinted", image, script, "\\x1b[31mred\\u202e")
    raise ValueError(image + script + "\\u202e" + "z" * 1_000_000)
table = sl.from_frame(pl.DataFrame({{"n": range(5), image: cells}}))
job = table.named(script).start(image, parallelism=1)
job.wait()
failed = table.map_batches(fails).named(script).start("failed " + image, parallelism=1, max_restarts=0)
while not failed.status.is_final:
    pass
sl.attach(failed.id)"""
JOB = "job"
LARGEST = """max(
    len(repr(one.frame)) for one in __import__("ipywidgets").widgets.widget._instances.values() if hasattr(one, "frame")
)"""
MOST_BYTES = 60_000


@pytest.fixture
def dashboard(lab: Lab) -> Iterator[str]:
    """Start the dashboard of the notebook's jobs, and return its address."""
    command = [sys.executable, "-P", "-m", "streamlab", "dashboard"]
    variables = {**os.environ, "STREAMLAB_HOME": str(lab.home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        yield re.search(r"http://\S+", process.stdout.readline())[0]
        process.terminate()


def test_hostile_data_is_text_everywhere(
    lab: Lab, open_notebook: Callable[..., Page], dashboard: str, browser: Any, tmp_path: Path
) -> None:
    page = open_notebook(lab.write("hostile.ipynb", HOSTILE, JOB))
    page.run_all()
    page.page.wait_for_selector(f"{VIEW}[data-state=failed]", timeout=WAIT_MS)
    failed, shown = (page.page.locator(f"{VIEW}[data-state={state}]") for state in ("failed", "finished"))
    shown.locator("tbody tr").nth(4).wait_for(timeout=WAIT_MS)
    _is_text(page.page, shown.inner_text())
    assert "␛[31mred" in shown.inner_text()
    assert "«U+202E»back to front" in shown.inner_text()
    _is_text(page.page, failed.inner_text())
    assert page.ask(LARGEST) < MOST_BYTES
    failed.locator("[data-tab=log]").click()
    output = failed.locator(".sl-output:has-text('printed')")
    output.wait_for(timeout=WAIT_MS)
    assert IMAGE in output.inner_text()
    assert page.ask(LARGEST) < 2 * MOST_BYTES
    for tab in ("flow", "time", "checkpoints"):
        failed.locator(f"[data-tab={tab}]").click()
        page.page.wait_for_selector(f"{VIEW}[data-state=failed][data-tab={tab}]", timeout=WAIT_MS)
        _is_text(page.page, failed.inner_text())
    page.save()
    assert page.errors == []
    path = lab.folder / "hostile.ipynb"
    assert path.stat().st_size < 200_000

    context = browser.new_context()
    context.route(re.compile("^https:"), lambda route: route.fulfill(body=""))
    other = context.new_page()
    other.set_default_timeout(WAIT_MS)
    errors = console_errors(other)
    html = tmp_path / "hostile.html"
    html.write_text(nbconvert.HTMLExporter().from_filename(str(path))[0], encoding="utf-8")
    other.goto(html.as_uri())
    _is_text(other, other.locator("body").inner_text())
    other.goto(dashboard)
    link = other.get_by_role("link", name=f"failed {IMAGE}")
    _is_text(other, link.inner_text())
    link.click()
    other.wait_for_selector(f"{VIEW}[data-state=failed]")
    _is_text(other, other.locator(VIEW).inner_text())
    context.close()
    assert errors == []


def _is_text(page: Any, text: str) -> None:
    assert IMAGE in text
    assert page.evaluate("() => window.__hit") is None
    assert page.locator("img[src=x]").count() == 0


MOVES = """() => [...document.querySelectorAll(".sl-view, .sl-view *")].filter((node) => {
  const style = getComputedStyle(node);
  return parseFloat(style.transitionDuration) > 0 || style.animationName !== "none";
}).length"""
NAMELESS = """() => [...document.querySelectorAll(".sl-view :is(button, input, select)")].filter((node) => {
  const name = node.ariaLabel ?? node.closest("label")?.textContent ?? node.textContent;
  return !/\\p{L}/u.test(name);
}).map((node) => node.outerHTML)"""
CELLS = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
BREAK = """from ipywidgets.widgets.widget import _instances
for one in _instances.values():
    if hasattr(one, "frame"):
        one.frame = {**one.frame, "head": None}"""


def test_motion_keyboard_names_and_errors_of_scripts(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    page = open_notebook(lab.write("people.ipynb", START, SOUND.format(name="people")))
    page.run_all()
    page.seq_above(2)
    assert page.page.evaluate(MOVES) > 0
    page.page.emulate_media(reduced_motion="reduce")
    assert page.page.evaluate(MOVES) == 0

    page.page.focus(f"{VIEW} [role=tab][aria-selected=true]")
    for key, tab in (
        ("ArrowRight", "time"),
        ("ArrowRight", "flow"),
        ("ArrowLeft", "time"),
        ("End", "log"),
        ("ArrowRight", "results"),
        ("ArrowLeft", "log"),
        ("Home", "results"),
    ):
        page.page.keyboard.press(key)
        page.page.wait_for_selector(f"{VIEW}[data-tab={tab}] [data-tab={tab}][aria-selected=true]:focus")
        assert page.page.locator(f"{VIEW} [aria-selected=true]").count() == 1
        assert page.page.locator(VIEW).get_by_role("tabpanel").count() == 1
    for place in (f"{VIEW} [data-tab=results]", f"{VIEW} .sl-scroll >> visible=true", f"{VIEW} input[type=search]"):
        page.page.focus(place)
        for key in ("d", "d", "a", "Shift+Enter", "Control+Enter"):
            page.page.keyboard.press(key)
    # What the notebook does with a key is done before it is asked anything more.
    assert page.page.evaluate(CELLS) == 2
    assert page.page.evaluate("() => document.activeElement.type") == "search"
    page.page.fill(f"{VIEW} input[type=search]", "")
    page.page.click(f"{VIEW} [data-command=pause]")
    page.page.wait_for_selector(f"{VIEW}[data-state=paused] [data-command=step]")
    assert page.page.evaluate(NAMELESS) == []
    page.page.focus(f"{VIEW} [data-command=resume]")
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector(f"{VIEW}[data-state=running]")
    assert page.errors == []

    page.execute(BREAK)
    page.page.wait_for_selector(f"{VIEW} >> text=This panel could not be drawn. TypeError")
    page.page.wait_for_selector(f"{VIEW} .sl-said:has-text('script failed: TypeError')")
    page.ticks()
    assert page.errors
    assert all("TypeError" in error for error in page.errors)
