"""A way to run a source to its end, for the tests in this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.reading.reader import SourceReader
from streamlab.core.event_time.row_watermarks import unmarked
from streamlab.core.messages import DEAD_LETTER_SCHEMA, DEAD_LETTERS, MAIN, Batch, End, Message


class Run:
    """A reader, a clock that is set by hand, and all that came out."""

    def __init__(self, source: Source, **options: Any) -> None:
        self.source = source
        self.reader = SourceReader(source, source.splits(), **options)
        self.now_us = 0
        self.messages: list[Message] = []

    def poll(self, now_us: int | None = None) -> list[Message]:
        self.now_us = self.now_us if now_us is None else now_us
        got = self.reader.poll(self.now_us)
        self.messages += got
        return got

    def to_end(self) -> Run:
        for _ in range(10_000):
            if any(isinstance(message, End) for message in self.poll()):
                return self
            wish = self.reader.wakeup_us(self.now_us)
            self.now_us = max(self.now_us + 1, wish if wish is not None else self.now_us + 1_000)
        pytest.fail("it does not end")

    def until(self, come: Callable[[], bool]) -> None:
        """Poll in real time: something outside must happen first."""
        for _ in range(1_000_000):
            self.poll(self.now_us + 1_000)
            if come():
                return
        pytest.fail("it did not come")

    @property
    def rows(self) -> pl.DataFrame:
        frames = [unmarked(m.collected()) for m in self.messages if isinstance(m, Batch) and m.tag == MAIN]
        return pl.concat([pl.DataFrame(schema=self.source.schema), *frames])

    @property
    def letters(self) -> pl.DataFrame:
        frames = [m.collected() for m in self.messages if isinstance(m, Batch) and m.tag == DEAD_LETTERS]
        return pl.concat([pl.DataFrame(schema=DEAD_LETTER_SCHEMA), *frames])

    @property
    def reasons(self) -> list[str]:
        return self.letters.get_column("reason").to_list()
