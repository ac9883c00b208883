"""The law of files that are read on as they grow: each row comes once, whatever is renamed, emptied or restarted.

Rows are written in pieces, files are renamed once or several times between two looks, and emptied when all of them was
read; checkpoints are taken and restored at any step.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_discovery import POLL_US, Job

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.files.files import scan_csv, scan_ndjson
from streamlab.core.messages import MAIN, Batch

SCHEMA = {"n": pl.Int64}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 5)),
        st.tuples(st.just("begin a line"), st.just(0)),
        st.tuples(st.just("rename"), st.integers(1, 3)),
        st.tuples(st.just("empty"), st.just(0)),
        st.tuples(st.just("poll"), st.integers(1, 30)),
        st.tuples(st.just("checkpoint"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=30,
)
AT_LAST = 40
"""Polls, 300 ms apart, in which a renamed file comes to its end."""


class Log:
    """A file that somebody writes, renames and empties."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.path = folder / f"app.{suffix}"
        self.names: list[Path] = []
        """What it was renamed to, the newest last."""
        self.rows: list[int] = []
        self._begun = ""
        self._is_csv = suffix == "csv"

    def source(self) -> Source:
        scan = scan_csv if self._is_csv else scan_ndjson
        return scan(self.path, schema=SCHEMA, follow="append", glob=False)

    def write(self, count: int) -> None:
        for _ in range(count):
            n = len(self.rows)
            self._add(self._line(n).removeprefix(self._begun) + "\n")
            self._begun = ""
            self.rows.append(n)

    def begin(self) -> None:
        if not self._begun:
            self._begun = self._line(len(self.rows))[:2]
            self._add(self._begun)

    def rename(self, times: int) -> None:
        """Let everything move up by one name, as often as that; a line that was begun ends before."""
        for _ in range(times):
            self.write(1)
            for number, path in sorted(enumerate(reversed(self.names), 1), reverse=True):
                path.rename(self.path.with_name(f"{self.path.name}.{number + 1}"))
            self.path.rename(self.path.with_name(f"{self.path.name}.1"))
            self.names = [self.path.with_name(f"{self.path.name}.{at}") for at in range(len(self.names) + 1, 0, -1)]

    def empty(self) -> None:
        self.path.write_text("")

    def _line(self, n: int) -> str:
        return f'"{n:03}"' if self._is_csv else f'{{"n": {n}}}'

    def _add(self, text: str) -> None:
        is_new = not self.path.exists() or not self.path.stat().st_size
        with self.path.open("a") as file:
            file.write(("n\n" if is_new and self._is_csv else "") + text)


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
@settings(max_examples=40)
@given(steps=STEPS)
def test_each_row_comes_once(suffix: str, steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder), suffix)
        log.write(1)
        with closing(Job(log.source())) as job:
            job.listed = job.source.splits()
            job.start(1)
            for what, number in steps:
                _happen(log, job, what, number)
            log.write(1)
            _poll(job, AT_LAST)
            assert sorted(job.given) == log.rows
            job.checkpoint()
            job.start(1)
            log.write(2)
            _poll(job, AT_LAST)
            assert sorted(job.given) == log.rows


def _happen(log: Log, job: Job, what: str, number: int) -> None:
    match what:
        case "write":
            log.write(number)
        case "begin a line":
            log.begin()
        case "rename":
            log.rename(number)
        case "poll":
            _poll(job, number)
        case "checkpoint":
            job.checkpoint()
        case "restart":
            job.source = log.source() if job.manifest else job.source
            job.start(1)
        case _:
            # What was not read, or is withdrawn, is lost with the text: nobody can help that.
            log.write(1)
            _poll(job, AT_LAST)
            job.checkpoint()
            log.empty()


def _poll(job: Job, times: int) -> None:
    for _ in range(times):
        job.now_us += POLL_US
        for message in job.readers[0].poll(job.now_us):
            if isinstance(message, Batch) and message.tag == MAIN:
                job.given += message.collected()["n"].to_list()
