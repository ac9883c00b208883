"""A side table that is read while it is written: the same as when it is read from the beginning each time."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streamlab.runtime.job_folder.attempts import Attempt, record_attempt
from streamlab.runtime.messages.protocol import Layout
from streamlab.runtime.tables.note_reader import NoteReader
from streamlab.runtime.tables.record_log import LogWriter

LAYOUT = Layout(1, ())


def told(notes: list[tuple[str, pl.DataFrame]]) -> list[tuple[str, tuple[object, ...]]]:
    return [(step, row) for step, frame in notes for row in frame.rows()]


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.integers(0, 3), st.booleans(), st.booleans()),
        max_size=12,
    ),
    keep=st.sampled_from([None, 3]),
)
def test_what_was_read_so_far_and_what_is_new_are_the_whole(tmp_path_factory, steps, keep) -> None:
    """Two writers append frames of two shapes, for two steps; now and then somebody reads, or the job begins anew."""
    results: Path = tmp_path_factory.mktemp("notes")
    record_attempt(results, Attempt(1, 0, LAYOUT))
    attempt, count = 1, 0
    writers = {n: LogWriter(results / "late", f"w{n}", attempt, keep_rows=keep) for n in (0, 1)}
    reader = NoteReader(results, "late")
    for writer, step, height, is_read, is_restarted in steps:
        frame = pl.DataFrame({"n": range(count, count + height)}, schema={"n": pl.Int64})
        count += height
        writers[writer].append(frame.with_columns(more=pl.lit(1)) if height == 2 else frame, step=step)
        if is_read:
            assert told(reader.read()) == told(NoteReader(results, "late").read())
        if is_restarted and attempt == 1:
            attempt = 2
            for one in writers.values():
                one.close()
            record_attempt(results, Attempt(attempt, 0, LAYOUT))
            writers = {n: LogWriter(results / "late", f"w{n}", attempt, keep_rows=keep) for n in (0, 1)}
    for one in writers.values():
        one.close()
    assert told(reader.read()) == told(NoteReader(results, "late").read())


def test_many_small_records_come_as_one_frame(tmp_path: Path) -> None:
    record_attempt(tmp_path, Attempt(1, 0, LAYOUT))
    writer, reader = LogWriter(tmp_path / "late", "w0", 1), NoteReader(tmp_path, "late")
    for n in range(50):
        writer.append(pl.DataFrame({"n": [n]}), step="window")
        reader.read()
    writer.close()
    ((step, frame),) = reader.read()
    assert (step, frame["n"].to_list()) == ("window", list(range(50)))
