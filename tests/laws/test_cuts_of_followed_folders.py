"""A replay of a folder that was watched finds each file when the job had found it, and makes the same batches."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.connectors.files.files import FileSource, scan_csv
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.reading.replays.batch_log import CutLog, CutTrail
from streamlab.core.messages import Batch, Idle, Message

SCHEMA = {"at": pl.Datetime("us"), "n": pl.Int64}
STEP_US = 300_000
LATER_US = 10**9
files = st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(0, 59), max_size=6)), max_size=6)
"""Of each file the step at which it appears, and the seconds of its rows."""


def put(folder: Path, name: str, seconds: list[int]) -> None:
    path = folder / name
    rows = [f"1970-01-01 00:00:{second:02},{second}\n" for second in seconds]
    path.write_text("".join(["at,n\n", *rows]))
    os.utime(path, ns=(0, 0))


def watched(folder: Path) -> FileSource:
    return scan_csv(folder, schema=SCHEMA, follow=True, event_time="at", watermark="3s", idle_timeout="2s")


def reader_of(source: FileSource, snapshot: ReaderSnapshot | None = None, **given: object) -> SourceReader:
    return SourceReader(source, list(source.splits()), snapshot=snapshot, batch_rows=4, batch_ms=0, **given)


def told(messages: list[Message]) -> list[object]:
    return [message.collected().rows() if isinstance(message, Batch) else message for message in messages]


@settings(max_examples=60, deadline=None)
@given(files, st.integers(0, 40), st.integers(0, 20))
def test_the_same_messages_from_a_barrier(appearing, barrier, own):
    with tempfile.TemporaryDirectory() as place:
        folder, notes, again = Path(place, "folder"), Path(place, "notes"), Path(place, "again")
        folder.mkdir()
        for at, (step, seconds) in enumerate(appearing):
            if not step:
                put(folder, f"{at}.csv", seconds)
        log = CutLog(notes, 1, 0, parallelism=1, paced=False)
        reader, out, before, snapshot = reader_of(watched(folder), cuts=log), [], 0, None
        for now in range(1, 50):
            for at, (step, seconds) in enumerate(appearing):
                if step == now:
                    put(folder, f"{at}.csv", seconds)
            out += told(reader.poll(now * STEP_US))
            if now == barrier:
                snapshot, before = reader.snapshot(), len(out)
                reader.passed(1)
        reader.close()
        since = 0 if snapshot is None else 1
        if snapshot is None and not all(step == 0 for step, _ in appearing):
            return  # a replay begins at a checkpoint
        trail = CutTrail([notes], since, parallelism=1)
        follower = reader_of(
            watched(folder), snapshot, trail=trail, cuts=CutLog(again, 1, 1, parallelism=1, paced=False)
        )
        found: list[object] = []
        own_snapshot, own_before = None, 0
        for now in range(150):
            found += told(follower.poll(LATER_US + now * STEP_US))
            if now == own:
                own_snapshot, own_before = follower.snapshot(), len(found)
        follower.close()
        assert without_known_idleness(found)[: len(out) - before] == without_known_idleness(out[before:])
        restarted = reader_of(
            watched(folder), own_snapshot, trail=CutTrail([notes], since, parallelism=1, resumes=True)
        )
        rest = [message for now in range(150) for message in told(restarted.poll(LATER_US + now * STEP_US))]
        restarted.close()
        assert rows_of(rest) == rows_of(found[own_before:])


def rows_of(messages: list[object]) -> list[object]:
    return [message for message in messages if isinstance(message, list)]


def without_known_idleness(messages: list[object]) -> list[object]:
    """Leave out that all are idle at the beginning, which the job had said before."""
    return messages[1:] if messages[:1] == [Idle()] else messages
