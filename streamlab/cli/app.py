"""Commands, their help and their exit codes.

Exit codes: 0 all went well · 1 a job failed (for ``demo`` also: its results are wrong) · 2 the command or the script
cannot be used as written · 3 there is no such job · 130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import streamlab
from streamlab.cli import demo_command
from streamlab.cli.scripts import find_stream, run_script
from streamlab.cli.terminal_view import Rows, watch
from streamlab.core.errors import JobError, StreamlabError
from streamlab.core.terminal_text import without_escapes
from streamlab.job import attach as find_job
from streamlab.job import jobs as all_jobs
from streamlab.job.job import Job
from streamlab.observe.clock import clock
from streamlab.observe.job_list import COLUMNS, job_lines
from streamlab.observe.preview import Preview, plain
from streamlab.observe.prometheus import exposition
from streamlab.observe.status import JobState
from streamlab.observe.wording import size, span
from streamlab.runtime.client.client import list_jobs
from streamlab.runtime.client.sweeping import sweep
from streamlab.runtime.job_folder.retention import KEEP_ENDED_JOBS, VARIABLE, parse_bytes

_EPILOG = (
    "Exit codes: 0 all went well · 1 a job failed · 2 wrong usage · 3 no such job · 130 interrupted.\n\n"
    "Example: streamlab demo        then, in another terminal:  streamlab jobs; streamlab attach demo"
)


class ExitCode(IntEnum):
    """What the command tells the shell."""

    FAILED = 1
    USAGE = 2
    NO_SUCH_JOB = 3
    INTERRUPTED = 130


app = typer.Typer(
    name="streamlab",
    help="Stateful stream processing on Polars: run streams, watch them, stop them.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PIPE_WIDTH = 10_000
"""Columns where there is no terminal to tell: wide enough that no cell is cut."""
_SHORTEST_NAME = 12
out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The job's name or id; see: streamlab jobs")]
Script = Annotated[
    Path, typer.Argument(metavar="SCRIPT", exists=True, dir_okay=False, readable=True, help="A Python script.")
]
Variable = Annotated[
    str | None,
    typer.Option("--stream", metavar="VARIABLE", help="Which StreamFrame of the script, if it has several."),
]
Parallelism = Annotated[
    int | None, typer.Option("--parallelism", "-p", min=1, help="Subtasks per step, and worker processes.")
]
TokenFile = Annotated[
    Path | None, typer.Option(help="File that keeps the token, made if it is not there; otherwise a new token.")
]


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - a callback
    if wanted:
        typer.echo(f"streamlab {streamlab.__version__}")
        raise typer.Exit


@app.callback()
def _before_commands(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command(epilog="Example: streamlab demo --delay 4h        more flights are late when the watermark is nearer")
def demo(
    delay: Annotated[str, typer.Option(help="How far the watermark stays behind the latest departure.")] = "6h",
    pace: Annotated[
        str | None,
        typer.Option(help=f"Of the first days: how much faster than they were, or 'max'; {demo_command.DEFAULT_PACE}."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    *,
    full_speed: Annotated[bool, typer.Option("--full-speed", help="Only the year, without the days to watch.")] = False,
) -> None:
    """Stream a year of flights out of New York and check the result against Polars.

    336,776 flights of 2013, in the order in which they landed; flights and mean delay per airport and hour of
    departure. Long flights land long after they left: some are late. First a week that one can watch, then the whole
    year as fast as it goes.
    """
    with _errors_shown():
        equal = demo_command.run(out, delay=delay, pace=pace, workers=workers, full_speed=full_speed)
    if not equal:
        raise typer.Exit(ExitCode.FAILED)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: streamlab run hourly.py --parallelism 2",
)
def run(
    context: typer.Context,
    script: Script,
    stream: Variable = None,
    parallelism: Parallelism = None,
) -> None:
    """Run a script, watch the jobs that it starts, and wait for their end.

    A script that starts no job has the StreamFrame started that it leaves behind: the variable 'stream', or its only
    one. Further arguments are the script's own. Ctrl-C ends the jobs.
    """
    with _errors_shown():
        before = {job.id for job in all_jobs()}
        names = run_script(script, context.args)
        jobs = _jobs_of_this_process(before)
        if not jobs:
            jobs = [find_stream(names, stream, script).start(script.stem, parallelism=parallelism)]
        try:
            states = [watch(job, out).state for job in jobs]
        except KeyboardInterrupt:
            for job in jobs:
                job.cancel()
            raise
    if JobState.FAILED in states:
        raise typer.Exit(ExitCode.FAILED)


@app.command(epilog="Examples: streamlab jobs running; streamlab jobs --json | jq .name")
def jobs(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="Show the jobs that have it in their name, state or id.")
    ] = "",
    *,
    each_run: Annotated[bool, typer.Option("--all", help="A line for each run, not for each name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line and run, for scripts.")] = False,
) -> None:
    """List jobs, the newest first: one line a name, with the figures of its newest run."""
    lines = job_lines((job.report() for job in reversed(all_jobs())), text, each_run=each_run or as_json)
    if as_json:
        for line in lines:
            typer.echo(msgspec.json.encode(line.newest).decode())
        return
    columns, numeric = zip(*COLUMNS, strict=True)
    shown = Preview(columns, (), numeric, tuple(line.cells for line in lines), len(lines), len(columns))
    # In a narrow terminal names leave room for what is known of the jobs.
    longest = max(_SHORTEST_NAME, out.width * 3 // 10)
    none = f"No jobs with {text!r} in their name, state or id." if text else "No jobs."
    out.print(Rows(shown, longest) if lines else Text(plain(none)))


@app.command(epilog="Example: streamlab attach demo")
def attach(
    name: Name,
    rows: Annotated[int, typer.Option(min=0, help="Result rows to show.")] = 10,
) -> None:
    """Watch a job until it ends. Ctrl-C ends the watching, not the job."""
    with _errors_shown():
        job = _find(name)
        try:
            state = watch(job, out, limit=rows).state
        except KeyboardInterrupt:
            err.print(f"Job {job.name} goes on.", markup=False)
            raise
    if state is JobState.FAILED:
        raise typer.Exit(ExitCode.FAILED)


@app.command(epilog="Example: streamlab stop demo --savepoint ~/savepoints/demo")
def stop(
    name: Name,
    savepoint: Annotated[
        str | None, typer.Option(help="Folder or URL: end with a savepoint, and leave open windows in it.")
    ] = None,
    *,
    drain: Annotated[bool, typer.Option("--drain", help="Fire what is open first; the query will not go on.")] = False,
) -> None:
    """Stop a job where it stands: read no more, finish what was read, end; what is open is in its last checkpoint."""
    _end(name, "stop", savepoint, drain=drain)


@app.command(epilog="Example: streamlab checkpoints demo --json | jq .size_bytes")
def checkpoints(
    name: Name,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, for scripts.")] = False,
) -> None:
    """List a job's checkpoints, the newest first."""
    with _errors_shown():
        found = tuple(reversed(_find(name).report().checkpoints))
    if as_json:
        for one in found:
            typer.echo(msgspec.json.encode(one).decode())
        return
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for column in ("id", "state", "taken", "duration", "size", "new", "why", "reason"):
        is_number = column in {"id", "duration", "size", "new"}
        table.add_column(column, justify="right" if is_number else "left", no_wrap=column != "reason")
    for one in found:
        cells = (
            str(one.id),
            one.state,
            clock(one.triggered_us),
            span(one.duration_ms),
            size(one.size_bytes),
            size(one.new_bytes),
        )
        table.add_row(*map(Text, (*cells, one.trigger, one.reason)))
    out.print(table if found else "No checkpoints.")


@app.command(epilog="Example: streamlab savepoint demo ~/savepoints/demo")
def savepoint(
    name: Name,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Folder or URL for it; no other may be there yet.")],
) -> None:
    """Take a checkpoint that is yours: no job deletes it, and a changed query can start from it."""
    with _errors_shown():
        taken = _find(name).savepoint(path)
        out.print(f"Savepoint of checkpoint {taken.id} at {path}.", markup=False)


@app.command(epilog="Example: streamlab replay demo --checkpoint 5 --until 7, or --until '2013-01-01 12:00'")
def replay(
    name: Name,
    checkpoint: Annotated[int, typer.Option(help="Id of the checkpoint to go on from; see 'streamlab checkpoints'.")],
    until: Annotated[
        str | None,
        typer.Option(help="Id of a later checkpoint, or an event time, to end at; otherwise the end of the sources."),
    ] = None,
    pace: Annotated[str, typer.Option(help="max, realtime or a factor such as 10x, by event time.")] = "max",
) -> None:
    """Run a job once more from a checkpoint, with the same rows, and say whether its results are the same."""
    with _errors_shown():
        job = _find(name)
        goal = int(until) if until is not None and until.removeprefix("-").isdecimal() else until
        again = job.replay(checkpoint, until="end" if goal is None else goal, pace=pace)
        state = watch(again, out).state
        different = again.compare(job.at(goal) if isinstance(goal, int) else job)
        to_a_time = isinstance(goal, str) and goal != "end"
    if state is JobState.FAILED:
        raise typer.Exit(ExitCode.FAILED)
    of = f"job {job.name} at checkpoint {goal}" if isinstance(goal, int) else f"job {job.name}"
    if to_a_time:
        # The job went on: what it has beyond the time says nothing.
        here = int((different["in"] == "here").sum())
        text = f"Results up to {goal} are in job {again.name}; "
        text += f"{here:,} rows are not in {of}." if here else f"all of them are in {of}, too."
    else:
        text = f"{different.height:,} rows differ from {of}." if different.height else f"Results are those of {of}."
    out.print(text, markup=False)


@app.command(epilog="Example: streamlab rescale demo 4")
def rescale(
    name: Name, parallelism: Annotated[int, typer.Argument(metavar="PARALLELISM", min=1, help="Subtasks per step.")]
) -> None:
    """Go on with another number of subtasks, from a checkpoint; nothing is lost."""
    with _errors_shown():
        job = _find(name)
        job.rescale(parallelism)
        out.print(f"Job {job.name} ({job.id}) runs with {parallelism}.", markup=False)


@app.command(epilog="Example: streamlab pause demo")
def pause(name: Name) -> None:
    """Read no more until 'streamlab resume'; what was read goes on its way."""
    with _errors_shown():
        job = _find(name)
        job.pause()
        out.print(f"Job {job.name} ({job.id}) pauses.", markup=False)


@app.command(epilog="Example: streamlab resume demo")
def resume(name: Name) -> None:
    """Let a paused job read on."""
    with _errors_shown():
        job = _find(name)
        job.resume()
        out.print(f"Job {job.name} ({job.id}) reads on.", markup=False)


@app.command(epilog="Example: streamlab pace demo 3600x        an hour of event time each second")
def pace(
    name: Name,
    to: Annotated[
        str | None, typer.Argument(metavar="PACE", help="max, realtime or a factor such as 10x; none shows it.")
    ] = None,
) -> None:
    """Show or change how fast a running job reads, by the event times of its rows; the results are the same."""
    with _errors_shown():
        job = _find(name)
        if to is not None:
            job.set_pace(to)
        out.print(job.pace or "Its sources have no pace that could be changed.", markup=False)


@app.command(epilog="Example: streamlab cancel demo")
def cancel(name: Name) -> None:
    """End a job now; what is on its way is dropped."""
    _end(name, "cancel")


@app.command(epilog="Example: streamlab logs demo | grep -i warning")
def logs(name: Name) -> None:
    """Print what a job's processes and the functions in them have printed."""
    with _errors_shown():
        printed = without_escapes(_find(name).log())
    if not printed:
        err.print("Nothing was printed.")
    typer.echo(printed, nl=False)


@app.command(epilog="Example: streamlab gc --max-size 500MB --dry-run")
def gc(
    keep: Annotated[int, typer.Option(min=0, help="Ended jobs that stay at most.")] = KEEP_ENDED_JOBS,
    max_size: Annotated[
        str | None,
        typer.Option(help=f"What they may keep together, such as 500MB; otherwise {VARIABLE}, or 2GB."),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
) -> None:
    """Delete what old jobs have left: results, logs, checkpoints. The newest of the ended ones stay.

    Running jobs stay, and those whose checkpoints a running job has started from. Starting a job does the same.
    """
    with _errors_shown():
        gone, left = sweep(keep, None if max_size is None else parse_bytes(max_size, "--max-size"), dry=dry_run)
    for job in gone:
        out.print(f"{job.name} ({job.id}): {size(job.size_bytes)}", markup=False)
    freed, kept = (size(sum(job.size_bytes for job in jobs)) for jobs in (gone, left))
    verb = "Would free" if dry_run else "Freed"
    out.print(f"{verb} {freed} of {len(gone)} ended jobs; {len(left)} ended jobs keep {kept}.", markup=False)


@app.command(epilog="Example: streamlab dashboard demo        then open the address that it prints")
def dashboard(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A job; without it, the list of jobs.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0 takes a free one.")] = 0,
    token_file: TokenFile = None,
    *,
    metrics: Annotated[bool, typer.Option("--metrics", help="Let Prometheus scrape /metrics, with the token.")] = False,
) -> None:
    """Show jobs in a browser, as the notebook does; only this machine can open it, and only with the token."""
    # Imported here since no other command needs a web server.
    from streamlab.cli import dashboard_command  # noqa: PLC0415

    with _errors_shown():
        job = None if name is None else _find(name).id
        dashboard_command.run(out, job=job, port=port, metrics=metrics, token_file=token_file)


@app.command(epilog="Example: streamlab metrics demo --port 9464        then have Prometheus scrape that")
def metrics(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A job; without it, all that run.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0 takes a free one.")] = 9464,
    *,
    once: Annotated[bool, typer.Option("--once", help="Print the figures as they are now, and end.")] = False,
    token_file: TokenFile = None,
) -> None:
    """Serve the figures of jobs to Prometheus, on this machine only, until Ctrl-C."""
    # Imported here since no other command needs a web server.
    from streamlab.cli import metrics_command  # noqa: PLC0415

    with _errors_shown():
        statuses = metrics_command.statuses_of(None if name is None else _find(name))
        if once:
            typer.echo(exposition(statuses()), nl=False)
        else:
            metrics_command.serve(out, statuses, port, token_file)


@app.command(epilog="Example: streamlab explain hourly.py --parallelism 4")
def explain(script: Script, stream: Variable = None, parallelism: Parallelism = None) -> None:
    """Show the plan and the job graph of a script's stream, and start nothing.

    The script is executed, but for what stands under if __name__ == "__main__": start jobs there.
    """
    with _errors_shown():
        names = run_script(script, as_main=False)
        typer.echo(find_stream(names, stream, script).explain(parallelism=parallelism))


def main() -> None:
    """Run the command line."""
    app()


def _end(name: str, verb: str, savepoint: str | None = None, *, drain: bool = False) -> None:
    with _errors_shown():
        job = _find(name)
        if job.status.is_final:
            out.print(f"Job {job.name} ({job.id}) has ended already: {job.status}.", markup=False)
            return
        state = job.stop(savepoint=savepoint, drain=drain) if verb == "stop" else job.cancel()
        out.print(f"Job {job.name} ({job.id}): {state}.", markup=False)
    if state is JobState.FAILED:
        raise typer.Exit(ExitCode.FAILED)


def _jobs_of_this_process(but: set[str]) -> list[Job]:
    """Return the jobs that end with this process, except for those with the given ids."""
    clients = [(handle, handle.meta.client) for handle in list_jobs() if handle.meta.id not in but]
    return [Job(handle) for handle, client in clients if client is not None and client.pid == os.getpid()]


def _find(name: str) -> Job:
    try:
        return find_job(name)
    except JobError as error:
        err.print(without_escapes(str(error)).removeprefix("attach: "), style="red", markup=False)
        raise typer.Exit(ExitCode.NO_SUCH_JOB) from error


@contextlib.contextmanager
def _errors_shown() -> Iterator[None]:
    """Print an error of ours in its own words, without a traceback, and choose the exit code."""
    try:
        yield
    except StreamlabError as error:
        err.print(without_escapes(str(error)), style="red", markup=False)
        usage = isinstance(error, ValueError)
        raise typer.Exit(ExitCode.USAGE if usage else ExitCode.FAILED) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(ExitCode.INTERRUPTED) from error
