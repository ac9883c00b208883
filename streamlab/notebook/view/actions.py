"""What a panel's buttons do, carried out by its command thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from streamlab.core.errors import JobError, OptionError, StreamlabError, explained
from streamlab.job.control.stepping import Step
from streamlab.job.history.job_at_checkpoint import HeldMoment
from streamlab.job.job import Job

_COUNT = re.compile(r"0*[1-9]\d{0,2}([,_ \u00a0\u202f']\d{3})+|0*[1-9]\d*")
"""A number above zero, with or without something between its thousands; a point may mean something else."""
STEP_S = 60.0
"""How long a step may take before the panel takes other commands again; it goes on after that."""


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Attributes
    ----------
    text : str
        What to tell the user; empty when the panel shows it anyway.
    show : Job | None
        A job to show from now on, in the same panel.
    common : HeldMoment | None
        The original job where the replay that is to be shown will end.
    """

    text: str = ""
    show: Job | None = None
    common: HeldMoment | None = None


def carry_out(job: Job, command: str, arguments: Mapping[str, Any]) -> Outcome:
    """Do what was asked for.

    Raises
    ------
    OptionError
        If there is no such command.
    StreamlabError
        If it cannot be done.
    """
    if command not in ACTIONS:
        raise OptionError(explained("panel", needed=f"one of {', '.join(ACTIONS)}", got=repr(command)))
    return ACTIONS[command](job, **arguments)


def compare(replay: Job, original: Job, common: HeldMoment | None) -> str:
    """Return in words how the result table of a replay differs from the original's.

    Parameters
    ----------
    replay, original
        The jobs.
    common
        The original where the replay ends, if it has gone on from there.

    Raises
    ------
    JobError
        If they have not come to the same position.
    """
    behind = [job for job in (replay, *([original] if common is None else [])) if not job.status.is_final]
    if behind:
        needed, got = "both jobs at the same position", f"{behind[0].name}, which is {behind[0].status}"
        raise JobError(explained("compare", needed=needed, got=got, hint="compare again when it has ended"))
    rows = replay.compare(original if common is None else common)
    there = original.name if common is None else f"{original.name} at checkpoint {common.checkpoint.id}"
    if rows.is_empty():
        return f"The same rows as in {there}."
    here = rows.filter(pl.col("in") == "here").height
    return f"{here:,} rows are only here, {rows.height - here:,} only in {there}."


def _pause(job: Job) -> Outcome:
    job.pause()
    return Outcome()


def _resume(job: Job) -> Outcome:
    job.resume()
    return Outcome()


def _pace(job: Job, *, pace: str) -> Outcome:
    job.set_pace(pace)
    return Outcome()


def _step(job: Job, *, rows: str = "") -> Outcome:
    return Outcome(_told(job.step(1, rows=rows_a_batch(rows), timeout=STEP_S)))


def _step_watermark(job: Job, *, rows: str = "") -> Outcome:
    return Outcome(_told(job.step("watermark", rows=rows_a_batch(rows), timeout=STEP_S)))


def rows_a_batch(text: str) -> int | None:
    """Return the size of a batch as users write it; None for as many as the job reads at full speed.

    Raises
    ------
    OptionError
        If that is no whole number.

    Examples
    --------
    >>> rows_a_batch("1,000"), rows_a_batch("7"), rows_a_batch(" all "), rows_a_batch("")
    (1000, 7, None, None)
    """
    written = text.strip().lower()
    if written in {"", "all"}:
        return None
    if _COUNT.fullmatch(written) is None:
        needed = "a whole number from 1 on, such as 1,000, or nothing for all that there is at once"
        raise OptionError(explained("rows a batch", needed=needed, got=repr(text)))
    return int(re.sub(r"\D", "", written))


def _advance_watermark(job: Job, *, to: str = "") -> Outcome:
    return Outcome(_told(job.advance_watermark(to.strip() or "1h", timeout=STEP_S)))


def _told(step: Step) -> str:
    """Return in one line what a step has done."""
    return " · ".join(f"{label}: {value}" for label, value in step.lines)


def _stop(job: Job) -> Outcome:
    job.stop(timeout=0)
    return Outcome("Stopping where it stands.")


def _cancel(job: Job) -> Outcome:
    job.cancel(timeout=0)
    return Outcome()


def _checkpoint(job: Job) -> Outcome:
    return Outcome(f"Checkpoint {job.checkpoint().id} is complete.")


def _stop_with_savepoint(job: Job, *, path: str = "") -> Outcome:
    target = Path(path).expanduser() if path.strip() else _free_path(f"{job.name}-savepoint")
    job.stop(savepoint=target)
    return Outcome(f"Stopped with a savepoint. To go on: start(from_savepoint={str(target)!r})")


def _replay(job: Job, *, checkpoint: int, pace: str = "max") -> Outcome:
    """Replay to where the job stands now; one that has ended to its end, an endless one to its last checkpoint."""
    said = f"Replaying {job.name} from checkpoint {checkpoint}"
    if job.status.is_final:
        try:
            replay = job.replay(checkpoint, pace=pace)
        except OptionError:
            until = job.checkpoints.ids[-1]
            if until <= checkpoint:
                raise
        else:
            return Outcome(f"{said}, as job {replay.name}.", show=replay)
    else:
        until = job.checkpoint().id
    # Held, since the two are compared there, however far the job has gone on meanwhile.
    common = job.hold(until)
    try:
        replay = job.replay(checkpoint, until=until, pace=pace)
    except StreamlabError:
        common.release()
        raise
    return Outcome(f"{said} to {until}, as job {replay.name}.", show=replay, common=common)


def _export(job: Job, *, format: str) -> Outcome:  # noqa: A002 - the word of the front end
    if format not in _WRITERS:
        raise OptionError(explained("export", needed=" or ".join(_WRITERS), got=repr(format)))
    table = job.results()
    path = _free_path(f"{job.name}-results", f".{format}")
    _WRITERS[format](table, path)
    return Outcome(f"{table.height:,} rows written to {path}")


def _write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write nested columns as JSON, since CSV has nothing of the kind."""
    nested = [name for name, dtype in table.schema.items() if dtype.is_nested()]
    wrapped = [pl.struct(pl.col(name).alias("_")).struct.json_encode().alias(name) for name in nested]
    table.with_columns(wrapped).write_csv(path)


def _free_path(stem: str, suffix: str = "") -> Path:
    """Return a path in the working folder at which there is nothing yet."""
    path, number = Path.cwd() / f"{stem}{suffix}", 2
    while path.exists():
        path, number = path.with_name(f"{stem}-{number}{suffix}"), number + 1
    return path


_WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {"parquet": pl.DataFrame.write_parquet, "csv": _write_csv}
ACTIONS: dict[str, Callable[..., Outcome]] = {
    "pause": _pause,
    "resume": _resume,
    "pace": _pace,
    "step": _step,
    "step_watermark": _step_watermark,
    "advance_watermark": _advance_watermark,
    "stop": _stop,
    "cancel": _cancel,
    "checkpoint": _checkpoint,
    "stop_with_savepoint": _stop_with_savepoint,
    "replay": _replay,
    "export": _export,
}
