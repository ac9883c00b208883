"""The life of a panel: more than one view of it, a page that is loaded again, and kernels that end under it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from lab_in_browser import VIEW, WAIT_MS, Lab, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

START = """import polars as pl
import streamlab as sl
%load_ext streamlab"""
ENDLESS = """%%stream {name} --parallelism 1
sl.generate(lambda start, n: pl.DataFrame({{"n": range(start, start + n)}}), rows_per_second=200)"""
ATTACH = """import streamlab as sl
sl.attach("{name}")"""


def test_views_of_one_output_stay_in_step_and_one_may_be_closed(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    page = open_notebook(lab.write("views.ipynb", START, ENDLESS.format(name="views")))
    page.run_all()
    page.seq_above(1)
    page.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:create-output-view') }")
    page.until(f"document.querySelectorAll('{VIEW}').length === 2")
    page.ticks(0)
    page.ticks(1)
    page.page.locator(f"{VIEW} [data-command=pause]").nth(1).click()
    page.until(f"document.querySelectorAll('{VIEW}[data-state=paused]').length === 2")
    page.page.locator(f"{VIEW} [data-tab=log]").nth(0).click()
    page.until(f"document.querySelectorAll('{VIEW}[data-tab=log]').length === 2")
    in_step = f"[...document.querySelectorAll('{VIEW}')].every((one) => one.dataset.seq === view.dataset.seq)"
    assert page.page.evaluate(f"() => {{ const view = document.querySelector('{VIEW}'); return {in_step}; }}")
    page.save()
    other = open_notebook("views.ipynb")
    other.page.wait_for_selector(f"{VIEW}[data-state=paused][data-tab=log]", timeout=WAIT_MS)
    other.page.click(f"{VIEW} [data-command=resume]")
    page.until(f"document.querySelectorAll('{VIEW}[data-state=running]').length === 2")
    page.page.locator(".lm-TabBar-tab:has-text('Output View') .lm-TabBar-tabCloseIcon").click()
    page.until(f"document.querySelectorAll('{VIEW}').length === 1")
    page.ticks()
    other.ticks()
    page.page.close()
    other.ticks()
    assert page.errors == other.errors == []


def test_after_a_restart_a_detached_job_is_attached_again_and_the_old_panel_says_that_it_is_dead(
    lab: Lab, open_notebook: Callable[..., Page]
) -> None:
    page = open_notebook(
        lab.write("restart.ipynb", START, ENDLESS.format(name="kept --detach"), ATTACH.format(name="kept"))
    )
    page.run_cell(0)
    page.run_cell(1)
    page.seq_above(2)
    page.until_copied("running")
    page.is_as_new = False
    page.page.evaluate("async () => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    page.page.wait_for_selector(f'{VIEW}[data-state=gone] >> text=sl.attach("kept")', timeout=WAIT_MS)
    assert "Job kept goes on without it." in page.page.inner_text(f"{VIEW} .sl-said")
    assert page.page.locator(f"{VIEW} [data-command=pause]").is_disabled()
    page.run_cell(2)
    page.page.wait_for_selector(f"{VIEW}[data-state=running]", timeout=WAIT_MS)
    page.ticks(1)
    page.shoot(".jp-Notebook", "restarted-light")
    page.page.click(f"{VIEW}[data-state=running] [data-command=cancel]")
    page.page.wait_for_selector(f"{VIEW}[data-state=cancelled]", timeout=WAIT_MS)
    assert page.errors == []
    # The old panel is not to be had any more, and its copy takes its place; the new one's stays hidden.
    page.save()
    page.reload()
    page.page.wait_for_selector(f"{VIEW}[data-state=cancelled]", timeout=WAIT_MS)
    page.page.locator("[class^=sl-copy]:has-text('running') >> visible=true").wait_for(timeout=WAIT_MS)
    assert page.page.locator("[class^=sl-copy]").count() == 2
    assert page.page.locator("[class^=sl-copy]:visible").count() == 1
    assert all("widget model not found" in error for error in page.errors)


def test_a_kernel_that_is_killed_leaves_no_process_and_its_panel_says_so(
    lab: Lab, open_notebook: Callable[..., Page]
) -> None:
    page = open_notebook(lab.write("killed.ipynb", START, ENDLESS.format(name="killed")))
    page.run_all()
    page.seq_above(2)
    kernel = psutil.Process(page.ask("__import__('os').getpid()"))
    processes = {kernel, *kernel.children(recursive=True), *lab.processes_of_jobs()}
    assert len(processes) >= 3
    page.is_as_new = False
    os.kill(kernel.pid, signal.SIGKILL)
    page.page.wait_for_selector(f"{VIEW}[data-state=gone]", timeout=WAIT_MS)
    said = page.page.inner_text(f"{VIEW} .sl-said")
    assert "The kernel has ended, and job killed with it" in said
    assert f'sl.attach("{page.page.inner_text(f"{VIEW} .sl-id")}")' in said
    _, alive = psutil.wait_procs(processes, timeout=WAIT_MS / 1000)
    assert alive == []
    assert lab.processes_of_jobs() == []
    page.shoot(VIEW, "killed-light")
    assert page.errors == []


def test_an_interrupt_from_the_toolbar_ends_the_waiting_and_not_the_job(
    lab: Lab, open_notebook: Callable[..., Page]
) -> None:
    page = open_notebook(lab.write("wait.ipynb", START, ENDLESS.format(name="waiting --wait"), "print(waiting.status)"))
    page.run_all()
    page.seq_above(2)
    page.page.click("[data-command='notebook:interrupt-kernel']")
    page.page.wait_for_selector("text=Job waiting goes on", timeout=WAIT_MS)
    page.page.wait_for_selector(".jp-OutputArea-output >> text=running", timeout=WAIT_MS)
    page.ticks()
    assert page.page.get_attribute(VIEW, "data-state") == "running"
    assert page.errors == []


COUNTED = """sent = []
session = get_ipython().kernel.session
send = session.send
def counted(stream, message, *args, **options):
    sent.append(message if isinstance(message, str) else message["msg_type"])
    return send(stream, message, *args, **options)
session.send = counted"""
SENT = "sum(kind in {'comm_msg', 'update_display_data'} for kind in sent)"
ROWS_IN = "Number(view.querySelector('.sl-value').textContent.replace(/\\D/g, ''))"


def falls_silent(page: Page, job: str) -> int:
    """Wait until nothing is sent while a job reads another 200 rows, and return how many it had read before."""
    rows_in = f"{job}.report().rows_in"
    deadline = time.monotonic() + WAIT_MS / 1000
    while True:
        sent, rows = page.ask(SENT), page.ask(rows_in)
        while page.ask(rows_in) < rows + 200:
            assert time.monotonic() < deadline
        if page.ask(SENT) == sent:
            return int(rows)


def test_a_reload_keeps_what_was_chosen_and_nothing_is_sent_while_nobody_looks(
    lab: Lab, open_notebook: Callable[..., Page]
) -> None:
    page = open_notebook(lab.write("looks.ipynb", START, COUNTED, ENDLESS.format(name="looks")))
    page.run_all()
    page.seq_above(2)
    page.page.select_option(f"{VIEW} .sl-body select >> nth=1", "25")
    page.page.click(f"{VIEW} .sl-sort")
    page.until("view.querySelector('th').ariaSort === 'descending'")
    page.page.click(f"{VIEW} .sl-turn >> nth=2")
    page.until("view.querySelector('.sl-count').textContent.startsWith('rows 26 to 50 of')")
    page.page.click(f"{VIEW} [data-tab=flow]")
    page.page.wait_for_selector(f"{VIEW} [data-chart=rates][data-points] canvas", state="attached", timeout=WAIT_MS)
    page.save()
    page.reload()
    page.page.wait_for_selector(f"{VIEW}[data-tab=flow] .sl-box", timeout=WAIT_MS)
    page.ticks()
    page.page.click(f"{VIEW} [data-tab=results]")
    page.until("view.querySelector('.sl-count').textContent.startsWith('rows 26 to 50 of')")
    page.until("view.querySelector('th').ariaSort === 'descending'")
    page.ticks()
    for selector, count in ((VIEW, 1), (".sl-tab", 5), ("[data-command=pause]", 1), ("[data-chart=rates]", 1)):
        assert page.page.locator(selector).count() == count, selector
    assert page.page.locator(".sl-panel:not([hidden]) tbody tr").count() == 25

    page.show(hidden=True)
    rows = falls_silent(page, "looks")
    drawn = int(page.page.get_attribute(VIEW, "data-seq"))
    page.show(hidden=False)
    first = page.page.wait_for_function(
        f"([name, drawn]) => {{ const view = document.querySelector(name);"
        f" return Number(view.dataset.seq) > drawn && {ROWS_IN}; }}",
        arg=[VIEW, drawn],
        timeout=WAIT_MS,
    )
    assert first.json_value() > rows
    page.ticks()
    page.page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.page.wait_for_selector(VIEW, state="detached", timeout=WAIT_MS)
    falls_silent(page, "looks")
    assert page.errors == []
