"""A replay that begins while some splits of a source are idle leaves them out, as the job did."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import timing
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.reading.replays.batch_log import CutLog, CutTrail
from streamlab.core.messages import Batch, Idle, Message

SECOND_US = 1_000_000
SCHEMA = pl.Schema({"at": pl.Datetime("us")})
Script = tuple[tuple[int, int], ...]
"""Rows of a split: when one comes, and its event time, both in seconds."""


@dataclass(frozen=True)
class Trickle(Source):
    """Rows come one by one, each at its time; or all at once, when they are read again."""

    scripts: tuple[Script, ...] = ()
    again: bool = False

    bounded = False

    def splits(self) -> Sequence[Split]:
        return [Split(str(at)) for at in range(len(self.scripts))]

    def open(self, split: Split, position: Position) -> SplitReader:
        return _Trickling(self.scripts[int(split.id)], position or 0, again=self.again)


class _Trickling(SplitReader):
    done = False

    def __init__(self, script: Script, at: int, *, again: bool) -> None:
        self.script, self.at, self.again = script, at, again

    def read(self, limit: int, now_us: int) -> Read | None:
        if self.at == len(self.script) or (not self.again and self.script[self.at][0] * SECOND_US > now_us):
            return None
        frame = pl.DataFrame({"at": [self.script[self.at][1] * SECOND_US]}).cast(SCHEMA)
        self.at += 1
        return Read(frame, self.at, 1)


def reader_of(source: Trickle, snapshot: ReaderSnapshot | None = None, **given: object) -> SourceReader:
    return SourceReader(source, list(source.splits()), snapshot=snapshot, batch_rows=3, batch_ms=0, **given)


def told(messages: list[Message]) -> list[object]:
    return [message.collected().rows() if isinstance(message, Batch) else message for message in messages]


scripts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=8).map(lambda rows: tuple(sorted(rows)))


@settings(max_examples=80, deadline=None)
@given(scripts, scripts, st.integers(1, 45))
def test_the_same_messages_from_a_barrier_among_idle_splits(one, other, barrier_s):
    said = timing("at", watermark="1s", idle_timeout="3s")
    source = Trickle("trickle", SCHEMA, timing=said, scripts=(one, other))
    with tempfile.TemporaryDirectory() as folder:
        log = CutLog(Path(folder), 1, 0, parallelism=1, paced=False)
        reader, before, out, snapshot = reader_of(source, cuts=log), 0, [], None
        for second in range(50):
            out += told(reader.poll(second * SECOND_US))
            if second == barrier_s:
                snapshot, before = reader.snapshot(), len(out)
                reader.passed(1)
        log.close()
        again = Trickle("trickle", SCHEMA, timing=said, scripts=(one, other), again=True)
        follower = reader_of(again, snapshot, trail=CutTrail([Path(folder)], 1, parallelism=1))
        found = [message for _ in range(200) for message in told(follower.poll(0))]
    assert without_known_idleness(found) == without_known_idleness(out[before:])


def without_known_idleness(messages: list[object]) -> list[object]:
    """Leave out that all are idle at the beginning, which the job had said before."""
    return messages[1:] if messages[:1] == [Idle()] else messages
