"""Measures streamlab against Polars' streaming engine on the same files, and the job's own times: ``make bench``.

Every figure is a ratio within one run, or a time that the job itself reports, so it can be compared between machines
only with care. The results table goes into ``docs/performance.md``, and so does the one of the panel in a browser.

Usage: ``python tests/bench/run.py [--quick] [--data DIR] [--only NAME,NAME]``; of the panel alone ``--only panel``, or
``--only panel-tabs`` and the like, which write nothing.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import polars as pl
import psutil
from bench_data import readings
from bench_formulas import formula_ratio
from bench_queries import QUERIES, Query
from bench_small import slow_source_cost, small_batches
from bench_starts import answer_ratios
from bench_watching import watching_cost

import streamlab as sl

_HERE = Path(__file__).parent
_PAGE = _HERE.parent.parent / "docs" / "performance.md"
_OTHERS = ("formulas", "small", "checkpoints", "watching", "latency", "start", "memory", "panel")
_ROUNDS = 3
_WORKERS = 2
_CHECKPOINT_FACTOR = 5
"""So many times the rows, so that there is more than one checkpoint."""


@dataclass(frozen=True)
class Timing:
    """One query's rates, in rows per second."""

    query: Query
    rows: int
    streamlab: float
    polars: float
    whole_s: float
    """From the call to the end, processes' start included."""


def _nothing(batch: pl.DataFrame) -> None:
    """Take rows and do nothing: what is measured is the engine, not a result table.

    It is not shown rows as they were before an update, as a table with keys is not (nor is Flink's black hole).
    """


def run_streamlab(folder: Path, query: Query, checkpoint_every: str | None = "10s") -> tuple[float, float]:
    """Return the seconds from the first row that was read to the end, and from the call to the end."""
    called = time.perf_counter()
    frame = sl.scan_parquet(folder, event_time="at", watermark="5s")
    job = query.streamlab(frame).sink_batches(
        _nothing, update_before=False, parallelism=_WORKERS, checkpoint_every=checkpoint_every
    )
    job.wait(600)
    whole = time.perf_counter() - called
    report = job.report()
    if job.exception is not None:
        raise job.exception
    return (report.ended_us - report.started_us) / 1e6, whole


def run_polars(folder: Path, name: str) -> float:
    """Return the seconds that Polars' streaming engine takes with as many threads as streamlab has workers."""
    command = [sys.executable, str(_HERE / "bench_polars.py"), str(folder), name, str(_WORKERS)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(name: str, data: Path, rows: int) -> Timing:
    """Measure one query, streamlab and Polars in turn, and take the medians."""
    query = QUERIES[name]
    folder = readings(data, rows, query.keys)
    ours, wholes, theirs = [], [], []
    for _ in range(_ROUNDS):
        theirs.append(run_polars(folder, name))
        running, whole = run_streamlab(folder, query)
        ours.append(running)
        wholes.append(whole)
    result = Timing(query, rows, rows / median(ours), rows / median(theirs), median(wholes))
    _say(f"{query.title}: {result.streamlab / 1e6:.1f} against {result.polars / 1e6:.1f} million rows/s")
    return result


def checkpoint_cost(name: str, data: Path, rows: int) -> float:
    """Return how much longer a query takes with a checkpoint every second than without any, as a fraction."""
    query = QUERIES[name]
    folder = readings(data, rows, query.keys)
    without, with_checkpoints = [], []
    for _ in range(_ROUNDS):
        without.append(run_streamlab(folder, query, None)[0])
        with_checkpoints.append(run_streamlab(folder, query, "1s")[0])
    cost = median(with_checkpoints) / median(without) - 1
    _say(f"{query.title}: {median(without):.1f} s, {cost:+.1%} with a checkpoint every second")
    return cost


def latency(seconds: float) -> tuple[float, float]:
    """Return p50 and p99 in ms from a source of 10,000 rows/s to the result table."""

    def rows(start: int, n: int) -> pl.DataFrame:
        return pl.DataFrame({"n": range(start, start + n)})

    job = sl.generate(rows, rows_per_second=10_000).with_columns(double=pl.col("n") * 2).start("bench-latency")
    time.sleep(seconds)
    report = job.report()
    job.cancel()
    return report.latency_p50_ms or float("nan"), report.latency_p99_ms or float("nan")


def first_row() -> float:
    """Return the seconds from ``start()`` to the first row that a source reads."""
    called_us = time.time_ns() // 1000
    job = sl.from_frame(pl.DataFrame({"n": range(1000)})).start("bench-start")
    job.wait(60)
    return (job.report().started_us - called_us) / 1e6


def slow_sink(seconds: float) -> tuple[float, float]:
    """Return the workers' memory in MB early and late in a run whose sink cannot keep up."""

    def rows(start: int, n: int) -> pl.DataFrame:
        return pl.DataFrame({"n": range(start, start + n)}).with_columns(text=pl.lit("x" * 100))

    def slow(batch: pl.DataFrame) -> None:
        time.sleep(0.2)

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    job = sl.generate(rows).sink_batches(slow, parallelism=_WORKERS)
    time.sleep(seconds / 3)
    early = _memory_mb(before)
    time.sleep(2 * seconds / 3)
    late = _memory_mb(before)
    job.cancel()
    return early, late


def _memory_mb(known: set[int]) -> float:
    children = [child for child in psutil.Process().children(recursive=True) if child.pid not in known]
    return sum(child.memory_info().rss for child in children) / 1e6


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def table(timings: list[Timing], others: dict[str, str], command: str) -> str:
    """Return the results as Markdown."""
    lines = [
        f"`{command}` on {_machine()}, Polars {pl.__version__}. Rows per second from the first row read to the end of",
        "the job (median of three runs); Polars: its streaming engine on the same files with two threads.",
        "",
        "| query | rows | streamlab, million rows/s | Polars, million rows/s | ratio | job in all, s | ratio in all |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {t.query.title} | {t.rows:,} | {t.streamlab / 1e6:.1f} | {t.polars / 1e6:.1f} | "
        f"{t.streamlab / t.polars:.2f} | {t.whole_s:.1f} | {t.rows / t.whole_s / t.polars:.2f} |"
        for t in timings
    ]
    lines += ["", "| measure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in others.items())]
    return "\n".join(lines)


def write_page(text: str, part: str) -> None:
    """Put results between the markers of a part of the page."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    head, _, rest = _PAGE.read_text(encoding="utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    _PAGE.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


def measure_panel(chosen: Sequence[str], command: str) -> None:
    """Measure the panel in a browser, and write it into the page when all of it was measured."""
    # JupyterLab and the browser are driven as the tests do it.
    sys.path.append(str(_HERE.parent / "notebook"))
    from bench_panel import MEASURES, panel_figures  # noqa: PLC0415 - needs the path, and Playwright
    from lab_in_browser import CHROMIUM  # noqa: PLC0415

    if CHROMIUM is None:
        _say("The panel is left out: there is no Chromium.")
        return
    is_whole = "panel" in chosen
    figures = panel_figures(MEASURES if is_whole else [name for name in MEASURES if f"panel-{name}" in chosen])
    load = psutil.getloadavg()[0]
    lines = [
        f"`{command}` on {_machine()}, JupyterLab {version('jupyterlab')}, ipykernel {version('ipykernel')}, Chromium",
        f"without a graphics card, all on the same machine; load average at the end {load:.1f}.",
        "",
        "| the panel in a browser | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in figures.items()),
    ]
    text = "\n".join(lines)
    sys.stdout.write(text + "\n")
    if is_whole:
        write_page(text, "panel")


def _machine() -> str:
    return f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    """Measure everything, or what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "streamlab-bench")
    parser.add_argument(
        "--only", default="", help=f"names of queries, {', '.join(_OTHERS)}, panel-start and the like; with commas"
    )
    options = parser.parse_args()
    rows = 2_000_000 if options.quick else 20_000_000
    chosen = options.only.split(",") if options.only else [*QUERIES, *_OTHERS]
    command = " ".join(["python", "tests/bench/run.py", *sys.argv[1:]])
    if any(name.startswith("panel") for name in chosen):
        measure_panel(chosen, command)
    if all(name.startswith("panel") for name in chosen):
        return
    timings = {name: measure(name, options.data, rows) for name in QUERIES if name in chosen}
    others: dict[str, str] = {}
    if {"unbounded-1e4", "unbounded-1e7"} <= set(timings):
        ratio = timings["unbounded-1e4"].streamlab / timings["unbounded-1e7"].streamlab
        others["cost per row, 10 million keys to 10 thousand"] = f"{ratio:.1f} to 1"
    if "formulas" in chosen:
        rate, ratio = formula_ratio(rows // 2, _WORKERS)
        others[f"{rows // 2:,} events by formula, projected, job in all"] = f"{rate / 1e6:.1f} M/s, ratio {ratio:.2f}"
    for parallelism in (1, _WORKERS) if "small" in chosen else ():
        where = f"parallelism {parallelism}"
        at_once, singly = small_batches(parallelism)
        others[f"4,000 batches of 40 rows, in times of Polars' loop, {where}"] = (
            f"at once {at_once:.2f}, one by one {singly:.1f}"
        )
        cost = slow_source_cost(parallelism, 10 if options.quick else 30)
        others[f"2,000 rows/s, windows, a checkpoint every 2 s, {where}"] = f"{cost:.1%} of a core"
    for name in ("tumbling", "unbounded-1e6"):
        if "checkpoints" in chosen:
            cost = checkpoint_cost(name, options.data, _CHECKPOINT_FACTOR * rows)
            others[f"a checkpoint every second, {QUERIES[name].title}"] = f"{cost:+.1%} time"
    if "watching" in chosen:
        query = QUERIES["tumbling"]
        cost = watching_cost(readings(options.data, _CHECKPOINT_FACTOR * rows, query.keys), query, _WORKERS)
        others[f"looking at everything five times a second, {query.title}"] = f"{cost:+.1%} processor time"
    if "latency" in chosen:
        p50, p99 = latency(4 if options.quick else 15)
        others["latency at 10,000 rows/s, source to result table"] = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    if "start" in chosen:
        first, later = answer_ratios()
        others["collect() of ten rows, the first of a process, in times of `import polars`"] = f"{first:.1f}"
        others["the same from the second on"] = f"{later:.2f}"
        others["job start to first row"] = f"{median(first_row() for _ in range(_ROUNDS)):.2f} s"
    if "memory" in chosen:
        early, late = slow_sink(6 if options.quick else 20)
        others["memory of the job under a slow sink"] = f"{early:.0f} MB early, {late:.0f} MB late"
    text = table(list(timings.values()), others, command)
    sys.stdout.write(text + "\n")
    if not options.only:
        write_page(text, "bench")


if __name__ == "__main__":
    main()
