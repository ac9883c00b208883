"""The live panel in a real browser: what it costs the kernel and the job, and how soon it shows what has come.

Needs Chromium, and the folder of the notebook tests on Python's path. Everything runs on this machine: JupyterLab, its
kernel, the job's processes and the browser.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
from panel_lab import Bench, Notebooks, notebooks, processor_s

import streamlab as sl

Figures = dict[str, str]

_STARTS = 3
_TICKING_S = 12.0
_TAB_S = 20.0
_HIDDEN_S = 6.0
_UPDATES_S = 20.0
_TURN_S, _TURNS = 2.0, 6
_SETTLE_S = 2.0

ROWS = """%%stream ticks --limit 50 --checkpoint-every never
def rows(start, n):
    us = pl.lit(time.time_ns() // 1000)
    return pl.DataFrame({"n": range(start, start + n)}).with_columns(us=us, at=us.cast(pl.Datetime("us")))
sl.generate(rows, rows_per_second=30, replayable=False)"""
"""Rows that know when they were made."""

WINDOWS = """%%stream windows --checkpoint-every 2s
def events(start, n):
    now = time.time_ns() // 1000
    made = pl.DataFrame({"n": range(start, start + n)})
    return made.with_columns(key=pl.col("n") % 20, at=(now - pl.col("n") * 7919 % 3_000_000).cast(pl.Datetime("us")))
events = sl.generate(events, rows_per_second=2000, event_time="at", watermark="2s", replayable=False)
events.group_by_dynamic("at", every="5s", group_by="key").agg(rows=pl.len(), mean=pl.col("n").mean())"""
"""Windows, late rows, checkpoints: something new for each tab."""

FAST = """%%stream fast --checkpoint-every never --parallelism 1
def many(start, n):
    return pl.select(n=pl.int_range(start, start + n)).with_columns(key=pl.col("n") % 1000, value=pl.col("n").sin())
sl.generate(many).group_by("key").agg(rows=pl.len(), sum=pl.col("value").sum())"""

UPDATES = """%%stream updates --limit 500 --checkpoint-every never
numbers = sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=2000)
numbers.with_columns(key=pl.col("n") % 500).group_by("key").agg(count=pl.len(), sum=pl.col("n").sum())"""
"""2,000 changes a second of 500 rows."""
IS_A_STATE = "({key, count, sum}) => Number(sum) === count * key + 250 * count * (count - 1)"
"""Whether a row is what some number of rows of its key gives."""


def first_render(lab: Notebooks) -> Figures:
    """Measure from running a cell to its first row on the screen: the first cell of a kernel, and the ones after it."""
    # Small enough for all of them to be in sight: a panel that nobody sees is not drawn.
    cells = [ROWS.replace("ticks --limit 50", f"{name} --limit 2 --compact") for name in ("first", "second", "third")]
    wholes: list[list[float]] = []
    for _ in range(_STARTS):
        with lab.open(*cells) as bench:
            wholes.append([_first_row_ms(bench, at) for at in range(1, len(cells) + 1)])
    later = [whole for _, *rest in wholes for whole in rest]
    return {
        "first row on the screen, from running a kernel's first cell with a stream": _in_s(
            [first for first, *_ in wholes]
        ),
        "the same of its second and third": f"{_in_s(later)} ({min(later) / 1000:.2f} to {max(later) / 1000:.2f} s)",
    }


def _first_row_ms(bench: Bench, at: int) -> float:
    """Run a cell, with a pause before it as people make, and return the time until its first row is on the screen."""
    bench.wait(_SETTLE_S)
    selector = ".jp-CodeCell ~ " * at + ".jp-CodeCell .sl-view .sl-table tbody tr td"
    bench.probe(f"probe.await('row{at}', '{selector}')")
    began_ms = bench.run_cell(at)
    bench.until(f"probe.visible.row{at}")
    return float(bench.probe(f"probe.visible.row{at}")) - began_ms


def _in_s(times_ms: list[float]) -> str:
    return f"{median(times_ms) / 1000:.2f} s"


def tick_to_screen(lab: Notebooks) -> Figures:
    """Measure from the moment that a row is made to its being on the screen; what is lost is sent again."""
    with lab.open(ROWS) as bench:
        bench.run_cell(1)
        bench.until("probe.messages.length && view.querySelectorAll('.sl-table tbody tr').length >= 20")
        bench.wait(_SETTLE_S)
        bench.probe("probe.watch('n')")
        bench.probe("probe.shown.clear()")
        first = set(bench.probe("probe.table().map(cells => cells[0])"))
        bench.wait(_TICKING_S)
        shown = {n: at for n, at in bench.probe("[...probe.shown]") if n not in first}
        ages = [drawn_ms - us / 1000 for drawn_ms, us in shown.values()]
        cuts = quantiles(ages, n=20)
        resent = _resent(bench)
        return {
            "from a row's being made to the screen": f"p50 {median(ages):.0f} ms, p95 {cuts[-1]:.0f} ms "
            f"({len(ages)} rows, all shown: {'yes' if _is_whole(shown) else 'NO'})",
            "a frame that got lost on the way": f"the newest is there again after {resent:.1f} s",
        }


def _is_whole(shown: dict[str, Any]) -> bool:
    numbers = sorted(int(n) for n in shown)
    return numbers == list(range(numbers[0], numbers[-1] + 1))


def _resent(bench: Bench) -> float:
    """Pause the job with its last frames lost, and return the seconds until the page has the newest one."""
    bench.probe("probe.drop = 1000")
    bench.execute("ticks.pause()")
    began_ms = bench.probe("probe.now()")
    bench.wait(_SETTLE_S)
    bench.probe("probe.drop = 0")
    if bench.probe("document.querySelector('.sl-view').dataset.state") == "paused":
        message = "no frame was lost"
        raise RuntimeError(message)
    bench.until("view.dataset.state === 'paused'")
    return float(bench.probe("probe.now()") - began_ms) / 1000


def tabs(lab: Notebooks) -> Figures:
    """Measure each tab while everything in it moves, and then a notebook that nobody sees."""
    figures = {}
    with lab.open(WINDOWS) as bench:
        bench.run_cell(1)
        bench.until("view.querySelectorAll('.sl-table tbody tr').length >= 10")
        bench.wait(3 * _SETTLE_S)
        workers = bench.kernel.children(recursive=True)
        for tab in ("results", "time", "flow", "checkpoints"):
            bench.open_tab(tab)
            bench.wait(_SETTLE_S)
            figures[f"tab {tab.capitalize()}"] = _ticking(bench, _TAB_S, workers)
        bench.hide()
        bench.wait(_SETTLE_S)
        figures["nobody looks"] = _ticking(bench, _HIDDEN_S, workers)
        bench.show()
        bench.until("probe.messages.length > 0")
    return figures


def _ticking(bench: Bench, seconds: float, workers: list[psutil.Process]) -> str:
    """Return what the kernel and the job's processes take for a while, and what is sent."""
    bench.probe("probe.messages = []")
    before = bench.probe("probe.now()"), processor_s([bench.kernel]), processor_s(workers)
    bench.wait(seconds)
    after = bench.probe("probe.now()"), processor_s([bench.kernel]), processor_s(workers)
    now_ms, kernel_s, job_s = (b - a for a, b in zip(before, after, strict=True))
    messages = [size for _, kind, size in bench.probe("probe.messages") if kind == "comm_msg"]
    share = f"kernel {kernel_s / now_ms * 1e5:.1f} % of a core, job's processes {job_s / now_ms * 1e5:.1f} %"
    if not messages:
        return f"{share}; no message"
    sizes = f"{median(messages) / 1000:.1f} KB, at most {max(messages) / 1000:.1f} KB"
    return f"{share}; {len(messages) / now_ms * 1000:.1f} messages/s of {sizes}"


def updates(lab: Notebooks) -> Figures:
    """Look at 2,000 changes a second: is each row a state of the job, is the page smooth, does anything grow."""
    with lab.open(UPDATES) as bench:
        bench.run_cell(1)
        bench.until("view.querySelectorAll('.sl-table tbody tr').length === 500")
        bench.probe(f"probe.watch('key', {IS_A_STATE})")
        bench.wait(_SETTLE_S)
        session = bench.page.context.new_cdp_session(bench.page)
        early = bench.kernel.memory_info().rss, _heap(session)
        bench.probe("Object.assign(probe, { draws: 0, rows: 0 })")
        bench.probe("probe.measureGaps()")
        work_s = processor_s([bench.kernel])
        bench.wait(_UPDATES_S)
        work_s = processor_s([bench.kernel]) - work_s
        rows, draws, gap = bench.probe("[probe.rows, probe.draws, probe.gap]")
        bench.probe("probe.measuring = false")
        late = bench.kernel.memory_info().rss, _heap(session)
        # After a click, the panel of a job that ends stays a panel for a while.
        bench.open_tab("results")
        bench.execute("updates.stop(60)")
        bench.until("view.dataset.state === 'stopped'")
        shown = bench.probe("probe.table()")
        state = eval(bench.told("updates.results().sort('key').rows()"))
        wrong = bench.probe("probe.wrong")
        is_right = not wrong and [tuple(map(int, row)) for row in shown] == state
    mb = [f"{a / 1e6:.0f} → {b / 1e6:.0f} MB" for a, b in zip(early, late, strict=True)]
    return {
        "2,000 updates a second, 500 rows on the page": f"{rows / _UPDATES_S:,.0f} rows drawn/s in "
        f"{draws / _UPDATES_S:.1f} draws/s, each a state of the job and the last one its end: "
        f"{'yes' if is_right else 'NO'}",
        "longest time between two animation frames meanwhile": f"{gap:.0f} ms",
        "kernel meanwhile": f"{work_s / _UPDATES_S:.1%} of a core, memory {mb[0]}; the page's heap {mb[1]}",
    }


def _heap(session: Any) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"])


def throughput(lab: Notebooks) -> Figures:
    """Let a job run as fast as it can, with the panel in sight and out of sight in turn, and compare."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    works: dict[bool, list[float]] = {True: [], False: []}
    with lab.open(FAST) as bench:
        bench.run_cell(1)
        bench.until("view.querySelectorAll('.sl-table tbody tr').length >= 10")
        workers, job = bench.kernel.children(recursive=True), sl.attach(bench.told("fast.id"))
        for turn in range(2 * _TURNS):
            looks = turn % 4 in {1, 2}
            (bench.show if looks else bench.hide)()
            bench.wait(_SETTLE_S / 4)
            before = _progress(job, workers)
            bench.wait(_TURN_S)
            at, rows, work = (b - a for a, b in zip(before, _progress(job, workers), strict=True))
            rates[looks].append(rows / at)
            works[looks].append(work / rows)
    speed = [after / before for before, after in zip(rates[False], rates[True], strict=True)]
    work = [after / before for before, after in zip(works[False], works[True], strict=True)]
    return {
        f"a job at {median(rates[False]):,.1f} million rows/s, panel in sight": f"{1 - median(speed):+.1%} slower, "
        f"{median(work) - 1:+.1%} processor time of its processes (medians of {_TURNS} pairs)"
    }


def _progress(job: Any, workers: list[psutil.Process]) -> tuple[float, float, float]:
    """Return the wall clock in s, million rows, and processor time in s of a job."""
    report = job.report()
    return report.reported_us / 1e6, report.rows_in / 1e6, processor_s(workers)


MEASURES = {
    "start": first_render,
    "latency": tick_to_screen,
    "tabs": tabs,
    "updates": updates,
    "throughput": throughput,
}


def panel_figures(names: Iterable[str] = MEASURES) -> Figures:
    """Measure what is named, and return the rows of a table."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder, notebooks(Path(folder)) as lab:
        for name in names:
            figures |= MEASURES[name](lab)
    return figures
