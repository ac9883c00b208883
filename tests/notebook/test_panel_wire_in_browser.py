"""What goes between a kernel and its panel: states that were, nothing while nobody looks, what was lost once more."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from lab_in_browser import VIEW, WAIT_MS, Lab, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PROBE = Path(__file__).with_name("panel_probe.js")
START = """import threading, time
from pathlib import Path
import polars as pl
import streamlab as sl
from streamlab.notebook.view.refresher import shared_pump
%load_ext streamlab
def tell():
    while True:
        views = shared_pump(get_ipython())._views
        if views:
            Path("looked-at.part").write_text(str(views[0]._widget.looked_at))
            Path("looked-at.part").rename("looked-at")
        time.sleep(0.05)
threading.Thread(target=tell, daemon=True).start()"""
WINDOWS = """%%stream windows --checkpoint-every never
def rows(start, n):
    now = time.time_ns() // 1000
    return pl.DataFrame({"n": range(start, start + n)}).with_columns(at=pl.lit(now).cast(pl.Datetime("us")))
events = sl.generate(rows, rows_per_second=500, event_time="at", watermark="1s", replayable=False)
events.group_by_dynamic("at", every="2s").agg(pl.len())"""
COUNTS = """%%stream counts --limit 500 --checkpoint-every never
numbers = sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=2000)
numbers.with_columns(key=pl.col("n") % 100).group_by("key").agg(count=pl.len(), sum=pl.col("n").sum())"""
"""2,000 changes a second: the n-th row of a key makes its count n and its sum what `IS_A_STATE` says."""
IS_A_STATE = "({key, count, sum}) => Number(sum) === count * key + 50 * count * (count - 1)"


def opened(lab: Lab, open_notebook: Callable[..., Page], name: str) -> Page:
    """Open a notebook with a panel on 100 rows that change all the time."""
    page = open_notebook(lab.write(name, START, COUNTS), script=PROBE)
    page.run_all()
    until(page, "view.querySelectorAll('.sl-table tbody tr').length === 100")
    return page


def until(page: Page, condition: str) -> None:
    """Wait for a condition in the page; `view` is the panel, `probe` has seen what came."""
    look = f"const view = document.querySelector('{VIEW}'); const probe = window.slProbe;"
    page.page.wait_for_function(
        f"() => {{ {look} try {{ return {condition}; }} catch {{ return false; }} }}", timeout=WAIT_MS
    )


def until_looked_at(lab: Lab, answer: str) -> None:
    """Wait until the kernel knows whether anyone looks."""
    deadline = time.monotonic() + WAIT_MS / 1000
    told = lab.folder / "looked-at"
    while not told.exists() or told.read_text() != answer:
        assert time.monotonic() < deadline, f"looked at: not {answer}"
        time.sleep(0.05)


def test_each_row_is_a_state_of_the_job_and_the_last_one_its_end(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    page = opened(lab, open_notebook, "states.ipynb")
    page.page.evaluate(f"() => window.slProbe.watch('key', {IS_A_STATE})")
    until(page, "probe.draws > 10")
    # After a click, the panel of a job that ends stays a panel for a while.
    page.page.click(f"{VIEW} [data-tab=results]")
    page.execute(
        "counts.stop(); counts.results().sort('key').write_parquet('end.part'); Path('end.part').rename('end.parquet')"
    )
    page.page.wait_for_selector(f"{VIEW}[data-state=stopped]", timeout=WAIT_MS)
    deadline = time.monotonic() + WAIT_MS / 1000
    while not (lab.folder / "end.parquet").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shown = page.page.evaluate("() => window.slProbe.table()")
    assert [tuple(map(int, row)) for row in shown] == pl.read_parquet(lab.folder / "end.parquet").rows()
    assert page.page.evaluate("() => window.slProbe.wrong") == []
    assert page.errors == []


def test_nothing_is_sent_while_nobody_looks_and_all_of_it_is_there_at_once(
    lab: Lab, open_notebook: Callable[..., Page]
) -> None:
    page = opened(lab, open_notebook, "hidden.ipynb")
    page.page.evaluate("() => { window.jupyterapp.commands.execute('launcher:create') }")
    until_looked_at(lab, "False")
    # A frame may still be on its way; after it there is none, although the rows go on changing.
    until(page, "probe.now() - probe.messages.findLast(([, type]) => type === 'comm_msg')[0] > 2000")
    seq = page.page.get_attribute(VIEW, "data-seq")
    page.page.evaluate("""() => {
      const { shell } = window.jupyterapp;
      shell.activateById([...shell.widgets('main')].find((one) => one.context?.path?.endsWith('.ipynb')).id);
    }""")
    until(page, f"Number(view.dataset.seq) > {seq}")
    page.page.evaluate(
        "() => { Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    until_looked_at(lab, "False")
    page.page.evaluate(
        "() => { delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    until_looked_at(lab, "True")
    page.page.close()
    until_looked_at(lab, "False")
    assert page.errors == []


def test_the_newest_frame_comes_again_when_it_was_lost(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    """Frames are dropped as the server drops them; the job is paused meanwhile, so no later one would help."""
    page = opened(lab, open_notebook, "lost.ipynb")
    page.page.evaluate("() => { window.slProbe.drop = 1e9 }")
    page.execute("counts.pause(); time.sleep(0.5); Path('paused').write_text(counts.status)")
    deadline = time.monotonic() + WAIT_MS / 1000
    while not (lab.folder / "paused").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    until(page, "probe.dropped > 0")
    assert page.page.get_attribute(VIEW, "data-state") == "running"
    page.page.evaluate("() => { window.slProbe.drop = 0 }")
    page.page.wait_for_selector(f"{VIEW}[data-state=paused]", timeout=WAIT_MS)
    assert page.errors == []


def test_of_charts_new_points_come_and_all_of_them_when_some_were_lost(
    lab: Lab, open_notebook: Callable[..., Page]
) -> None:
    page = open_notebook(lab.write("charts.ipynb", START, WINDOWS), script=PROBE)
    page.run_all()
    page.page.click(f"{VIEW} [data-tab=time]")
    points = "Number(view.querySelector('[data-chart=skew]').dataset.points)"
    until(page, f"{points} > 20")
    page.page.evaluate("() => { window.slProbe.drop = 15; window.slProbe.dropped = 0; }")
    until(page, "probe.dropped === 15")
    before = page.page.evaluate(f"() => {{ const view = document.querySelector('{VIEW}'); return {points}; }}")
    until(page, f"{points} > {before + 10}")
    assert page.errors == []
