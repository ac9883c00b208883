"""Rows that a step fails on: set aside for jobs with ``on_error="dead_letter"``, and one of them shown by all others.

A batch that fails is halved until every failing row stands alone, so n bad rows among m cost about n · log2(m) calls.
That is right only for steps that treat each row alike whatever else is in the batch (`Operator.is_row_wise`).
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from streamlab.connectors.contracts.dead_letters import row_letters
from streamlab.core.aggregation import overflow_in
from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import StreamlabError
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK
from streamlab.core.messages import DEAD_LETTERS, Batch, Message

MOST_BAD_ROWS = 10_000
"""When more rows of one batch fail than these, it is the step that is wrong, not the rows."""


def sift(step: str, process: Callable[[Batch], list[Message]], batch: Batch) -> list[Message]:
    """Return what a step makes of a batch, with a dead letter in the place of each row that it fails on.

    Parameters
    ----------
    step
        Name of the step, for the letters.
    process
        The step; called with the batch, and with parts of it when it fails. Its own errors (`StreamlabError`) are not
        about rows, and are raised.
    batch
        Rows, as a DataFrame.

    Raises
    ------
    Exception
        What the step raised first, when more than `MOST_BAD_ROWS` rows fail.
    """
    done: list[Message] = []
    waiting = [batch]
    first_error: Exception | None = None
    bad_rows = 0
    while waiting:
        part = waiting.pop()
        frame = part.collected()
        try:
            done += process(part)
        except StreamlabError:
            raise
        except Exception as error:
            first_error = first_error or error
            if frame.height > 1:
                half = frame.height // 2
                waiting += [Batch(rows, part.tag, part.ingested_us) for rows in (frame[half:], frame[:half])]
                continue
            bad_rows += 1
            if bad_rows > MOST_BAD_ROWS:
                first_error.add_note(f"More than {MOST_BAD_ROWS:,} rows of one batch fail: look at the step itself.")
                raise first_error from None
            reason = overflow_in(error) or f"{type(error).__name__}: {error}"
            rows = frame.drop(ROW_KIND, ROW_WATERMARK, strict=False)
            done.append(Batch(row_letters(step, rows, reason, ""), DEAD_LETTERS))
    return done


def culprit(process: Callable[[Batch], object], batch: Batch, error: Exception) -> tuple[pl.DataFrame, Exception]:
    """Return the first row that a step fails on and what it raises for that; the whole batch when no part fails alone.

    However the batch was cut out of the stream, row and error are the same: by them a failure is known again. All calls
    together are given as many rows as the batch has, twice at most.

    Parameters
    ----------
    process
        The step; called with parts of the batch.
    batch
        Rows, as a DataFrame.
    error
        What the step raised for them.
    """
    frame = batch.collected()
    while frame.height > 1:
        half = frame.height // 2
        for rows in (frame[:half], frame[half:]):
            found = _raised(process, Batch(rows, batch.tag, batch.ingested_us))
            if found is not None:
                frame, error = rows, found
                break
        else:
            break
    return frame, error


def fails_again(process: Callable[[Batch], object], batch: Batch, rows: pl.DataFrame, error: Exception) -> bool:
    """Return whether a step raises the same once more for rows that it has failed on: then a restart would, too."""
    again = _raised(process, Batch(rows, batch.tag, batch.ingested_us))
    return again is not None and (type(again), str(again)) == (type(error), str(error))


def _raised(process: Callable[[Batch], object], batch: Batch) -> Exception | None:
    try:
        process(batch)
    except Exception as error:
        below = error.__traceback__.tb_next if error.__traceback__ is not None else None
        return error.with_traceback(below)
    return None
