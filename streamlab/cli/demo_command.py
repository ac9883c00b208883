"""``streamlab demo`` as people see it: a week that one can watch, the year at full speed, and the proof."""

from __future__ import annotations

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamlab.cli.terminal_view import watch
from streamlab.core.errors import OptionError, explained
from streamlab.demo import flights
from streamlab.demo import job as demo_job
from streamlab.observe.status import JobState, JobStatus
from streamlab.observe.wording import mean_rows_per_s, short_number

DEFAULT_PACE = "60000x"
"""A day in a second and a half."""
_DAYS = 7
_SHOWN_DESTINATIONS = 5
_Ended = tuple[JobStatus, demo_job.Proof]
"""The last status of a job that has come to its end, and how its results compare with Polars'."""


def run(console: Console, *, delay: str, pace: str | None, workers: int, full_speed: bool) -> bool:
    """Run the demo and return whether the streams' results and late rows equal Polars'.

    Parameters
    ----------
    console
        Where to.
    delay
        How far the watermark stays behind.
    pace
        Of the days that one watches; None: the usual one.
    workers
        Worker processes.
    full_speed
        Whether there is only the year.

    Raises
    ------
    OptionError
        If one of them cannot be.
    """
    if full_speed and pace is not None:
        text = explained(
            "demo", needed="--pace or --full-speed", got="both", hint="--full-speed leaves out what is paced"
        )
        raise OptionError(text)
    year = flights.load()
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in year.left_out.rows())
    console.print(f"{year.scheduled:,} flights out of New York in 2013; left out: {reasons}.")
    about = (
        f"They arrive in order of landing; event time is take-off; the watermark is {delay} behind.\n"
        f"Counting flights and averaging delays per airport and hour, on {workers} worker processes."
    )
    if not full_speed:
        pace = DEFAULT_PACE if pace is None else pace
        title = f"{about}\n\nThe first {_DAYS} days, pace {pace}:\n"
        week = _show(console, demo_job.first_days(_DAYS), title, delay=delay, pace=pace, workers=workers)
        if week is None:
            return False
        _, proof = week
        _tell_who_was_late(console, proof)
        if not proof.equal:
            _tell_proof(console, proof)
            return False
        about = ""
    title = f"{about}\n\nThe whole year, at full speed:\n".lstrip()
    ended = _show(console, year.frame, title, delay=delay, pace="max", workers=workers)
    if ended is None:
        return False
    status, proof = ended
    _tell_figures(console, status, proof)
    _tell_proof(console, proof)
    return proof.equal


def _show(console: Console, rows: pl.DataFrame, title: str, *, delay: str, pace: str, workers: int) -> _Ended | None:
    """Run the job on rows in sight of the user; None when it did not come to its end."""
    # What is wrong with the arguments is said before they are repeated.
    with demo_job.running(rows, delay=delay, pace=pace, workers=workers) as job:
        console.print(title, markup=False)
        status = watch(job, console, limit=8)
        if status.state is not JobState.FINISHED:
            console.print(f"\nThe job was {status.state} before its end: there is nothing to compare.")
            return None
        return status, demo_job.prove(job, rows, delay)


def _tell_who_was_late(console: Console, proof: demo_job.Proof) -> None:
    """Say where the late planes came from, and how long they were in the air."""
    late = proof.late
    if late.is_empty():
        console.print("\nNo flight came too late for its hour.\n")
        return
    hours = late.select(pl.col("air_time").median() / 60).item()
    console.print(f"\n{late.height:,} came too late for their hour{_where(proof)}: {hours:.1f} hours in the air.\n")


def _tell_figures(console: Console, status: JobStatus, proof: demo_job.Proof) -> None:
    rate = mean_rows_per_s(status)
    table = Table.grid(padding=(0, 3))
    table.add_row("rows", f"{status.rows_in:,}")
    table.add_row("windows", f"{proof.windows:,}")
    table.add_row("late rows", f"{proof.late.height:,}{_where(proof)}")
    if rate is not None and status.started_us is not None:
        took_s = status.rows_in / rate
        table.add_row(
            "throughput", f"{short_number(rate)} rows/s, from the first row to the last result ({took_s:.2f} s)"
        )
        start_s = (status.started_us - status.submitted_us) / 1e6
        table.add_row("start", f"{start_s:.2f} s before the first row")
    console.print()
    console.print(table)
    console.print()


def _tell_proof(console: Console, proof: demo_job.Proof) -> None:
    if proof.equal:
        text = (
            f"✓ equal to Polars: {proof.expected_windows:,} windows of {proof.rows:,} rows, every value, "
            f"and the same {proof.late.height:,} late rows"
        )
        console.print(Text(text, "bold green"))
    else:
        console.print(Text("✗ not equal to what Polars says of the same rows", "bold red"))
        console.print(proof.difference, markup=False)


def _where(proof: demo_job.Proof) -> str:
    places = demo_job.destinations(proof.late)
    if places.is_empty():
        return ""
    rows = places.rows()
    shown = [f"{name or dest} {count:,}" for dest, count, name in rows[:_SHOWN_DESTINATIONS]]
    rest = sum(count for _, count, _ in rows[_SHOWN_DESTINATIONS:])
    return ", to " + ", ".join([*shown, *([f"elsewhere {rest:,}"] if rest else [])])
