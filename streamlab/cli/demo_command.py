"""``streamlab demo`` as people see it: what will happen, the live view, and the summary with the proof."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamlab.cli.terminal_view import watch
from streamlab.demo import flights
from streamlab.demo import job as demo_job
from streamlab.observe.status import JobState, JobStatus
from streamlab.observe.wording import mean_rows_per_s, short_number

_SHOWN_DESTINATIONS = 5


def run(console: Console, *, delay: str, pace: str, workers: int) -> bool:
    """Run the demo and return whether the stream's results equal Polars'."""
    year = flights.load()
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in year.left_out.rows())
    console.print(f"{year.scheduled:,} flights out of New York in 2013; left out: {reasons}.")
    # What is wrong with the arguments is said before they are repeated.
    job = demo_job.start(delay=delay, pace=pace, workers=workers)
    console.print(
        f"{year.frame.height:,} arrive in order of landing; event time is take-off; the watermark is {delay} behind.\n"
        f"Counting flights and averaging delays per airport and hour, on {workers} worker processes:\n",
        markup=False,
    )
    try:
        status = watch(job, console, limit=8)
    except KeyboardInterrupt:
        job.cancel()
        raise
    if status.state is not JobState.FINISHED:
        job.wait()
        console.print(f"\nThe job was {status.state} before its end: there is nothing to compare.")
        return False
    proof = demo_job.prove(job)
    _summary(console, status, proof)
    return proof.equal


def _summary(console: Console, status: JobStatus, proof: demo_job.Proof) -> None:
    rate = mean_rows_per_s(status)
    table = Table.grid(padding=(0, 3))
    table.add_row("rows", f"{status.rows_in:,}")
    table.add_row("windows", f"{proof.windows:,}")
    table.add_row("late rows", f"{proof.late.height:,}{_where(proof)}")
    if rate is not None:
        table.add_row("throughput", f"{short_number(rate)} rows/s")
    console.print()
    console.print(table)
    console.print()
    if proof.equal:
        text = (
            f"✓ equal to Polars' own result on the {proof.rows:,} rows that were not late "
            f"({proof.expected_windows:,} windows compared, every value)"
        )
        console.print(Text(text, "bold green"))
    else:
        console.print(
            Text(f"✗ not equal to Polars' own result on the {proof.rows:,} rows that were not late", "bold red")
        )
        console.print(proof.difference, markup=False)


def _where(proof: demo_job.Proof) -> str:
    places = demo_job.destinations(proof.late)
    if places.is_empty():
        return ""
    rows = places.rows()
    shown = [f"{name or dest} {count:,}" for dest, count, name in rows[:_SHOWN_DESTINATIONS]]
    rest = sum(count for _, count, _ in rows[_SHOWN_DESTINATIONS:])
    return "  to  " + ", ".join([*shown, *([f"elsewhere {rest:,}"] if rest else [])])
