"""What was recorded is read again as it was given out: from every position, after every crash, by every reader."""

from __future__ import annotations

import os
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_kit import BROKEN, Step, live, scripts

from streamlab.connectors.contracts.source import START, Position, Read, Source
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.recording import recording_writer
from streamlab.connectors.recording.recorded import recorded
from streamlab.connectors.recording.recording import scan_recording
from streamlab.core.errors import SourceError
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.core.messages import Batch, End, Message, Watermark

EXAMPLES = settings(max_examples=40, deadline=None)
PAUSE_US = 6_000
LIMITS = st.lists(st.integers(1, 9), min_size=1, max_size=3)
Seen = tuple[int, int, Position]
"""Rows and dead letters that were given out, and the position after them."""


class Ledger:
    """What was given out of the one split, in the order of the log."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.numbers: list[int] = []
        self.letters: list[str] = []
        self.seen: list[Seen] = [(0, 0, START)]

    def enter(self, at: Seen, read: Read) -> Seen:
        """Check a read that began there against what is known, and note what is new."""
        numbers = read.frame.lazy().collect().get_column("n").to_list()
        texts = [] if read.dead_letters is None else read.dead_letters.get_column("input").to_list()
        assert read.rows == len(numbers)
        for known, got, begin in ((self.numbers, numbers, at[0]), (self.letters, texts, at[1])):
            again = known[begin : begin + len(got)]
            assert got[: len(again)] == again
            known.extend(got[len(again) :])
        self.seen.append((at[0] + len(numbers), at[1] + len(texts), read.position))
        return self.seen[-1]

    def rest(self, at: Seen) -> tuple[list[int], list[str]]:
        """Read from there to the end of the log, while nothing new comes."""
        reader = self.source.open(self.source.splits()[0], at[2])
        numbers, texts = [], []
        now_us = idle = 0
        while not reader.done and idle < 5:
            now_us += PAUSE_US
            read = reader.read(7, now_us)
            idle = idle + 1 if read is None else 0
            if read is not None:
                numbers += read.frame.lazy().collect().get_column("n").to_list()
                texts += [] if read.dead_letters is None else read.dead_letters.get_column("input").to_list()
        reader.close()
        return numbers, texts


def sizes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*.records")}


@EXAMPLES
@given(
    script=scripts(),
    attempts=st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=5),
    limits=LIMITS,
    segment_bytes=st.sampled_from([1, 3_000, 2**26]),
    data=st.data(),
)
def test_every_crash_leaves_a_log_that_goes_on_where_any_position_says(
    script: list[Step],
    attempts: list[tuple[int, bool]],
    limits: list[int],
    segment_bytes: int,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    source = live(script)
    server = source.server
    ledger = Ledger(recorded(source, str(folder)))
    size, now_us, lost = cycle(limits), 0, (0, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording_writer, "SEGMENT_BYTES", segment_bytes)
        for polls, killed_while_writing in [*attempts, (200, False)]:
            at = data.draw(st.sampled_from(ledger.seen))
            reader = ledger.source.open(source.splits()[0], at[2])
            for left in reversed(range(polls)):
                now_us += PAUSE_US
                before, taken = sizes(folder), (server.rows, server.letters)
                try:
                    read = reader.read(next(size), now_us)
                except SourceError as error:
                    if str(error) != BROKEN:
                        raise
                    break
                new = {path: length for path, length in sizes(folder).items() if length != before.get(path, 0)}
                if left == 0 and killed_while_writing and new:
                    [(path, length)] = new.items()
                    cut = data.draw(st.integers(before.get(path, 0), length))
                    os.truncate(path, cut)
                    if cut < length:
                        lost = (lost[0] + server.rows - taken[0], lost[1] + server.letters - taken[1])
                elif read is not None:
                    at = ledger.enter(at, read)
            reader.close()
    assert len(set(ledger.numbers)) == len(ledger.numbers) == server.rows - lost[0]
    assert len(set(ledger.letters)) == len(ledger.letters) == server.letters - lost[1]
    server.script.clear()
    for at in set(ledger.seen):
        assert ledger.rest(at) == (ledger.numbers[at[0] :], ledger.letters[at[1] :])


def said(messages: list[Message]) -> list[Any]:
    """Return messages as values that can be compared; the name of the source, and when a row was read, do not count."""
    return [
        (m.tag, m.collected().drop("step", "value", strict=False).rows()) if isinstance(m, Batch) else m
        for m in messages
    ]


def polled(reader: SourceReader, pauses: list[int] | None = None, polls: int = 80) -> list[tuple[Any, ReaderSnapshot]]:
    """Poll a reader with pauses in between; return what each poll gave, with the snapshot after it."""
    out: list[tuple[Any, ReaderSnapshot]] = []
    now_us, pause = 0, cycle(pauses or [PAUSE_US])
    for _ in range(polls):
        now_us += next(pause)
        messages = said(reader.poll(now_us))
        out.append((messages, msgspec.convert(msgspec.to_builtins(reader.snapshot()), ReaderSnapshot)))
    reader.close()
    return out


def heard(polls: list[tuple[Any, ReaderSnapshot]]) -> list[Any]:
    """Return what all polls gave."""
    return [message for messages, _ in polls for message in messages]


def without_last_watermark(messages: list[Any]) -> list[Any]:
    """Return all up to the last batch: the end comes with it, or after another watermark."""
    last = max((at for at, message in enumerate(messages) if isinstance(message, tuple)), default=-1)
    return messages[: last + 1]


@EXAMPLES
@given(
    script=scripts(failures=False),
    batch_rows=st.integers(1, 12),
    pauses=st.lists(st.sampled_from([0, 900, 9_000, 40_000]), min_size=1, max_size=6),
    max_advance=st.sampled_from([None, "4s"]),
    data=st.data(),
)
def test_batches_watermarks_and_dead_letters_are_those_of_the_first_time(
    script: list[Step],
    batch_rows: int,
    pauses: list[int],
    max_advance: str | None,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    inner = live(script, event_time="at", watermark="2s", max_advance=max_advance)
    source = recorded(inner, str(folder))
    first = polled(SourceReader(source, source.splits(), batch_rows=batch_rows), [*pauses, 11_000], polls=150)
    assert not inner.server.script
    again = SourceReader(source, source.splits(), batch_rows=batch_rows)
    assert heard(polled(again)) == heard(first)
    at = data.draw(st.integers(0, len(first) - 1))
    if End() not in heard(first[: at + 1]):
        rest = SourceReader(source, source.splits(), snapshot=first[at][1], batch_rows=batch_rows)
        assert heard(polled(rest)) == heard(first[at + 1 :])
    scanned = scan_recording(folder)
    whole = heard(polled(SourceReader(scanned, scanned.splits(), batch_rows=batch_rows)))
    assert without_last_watermark(whole) == without_last_watermark(heard(first))
    assert whole[-2:] == [Watermark(MAX_TIME_US), End()]
