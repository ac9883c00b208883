"""A live source whose every step is written down beforehand: bursts, silence, bad input, failures, the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from source_kit import with_gaps

from streamlab.connectors.contracts.dead_letters import letters
from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import timing as make_timing
from streamlab.core.errors import SourceError

BROKEN = "the line broke"
Step = tuple[int, int] | str
"""Rows and bad lines that come with one read, ``"silence"``, ``"failure"`` or ``"end"``."""


def scripts(*, failures: bool = True) -> st.SearchStrategy[list[Step]]:
    """Return steps of a live source."""
    words = ["silence", "failure"] if failures else ["silence"]
    step = st.one_of(st.tuples(st.integers(0, 6), st.sampled_from([0, 0, 0, 1, 2])), st.sampled_from(words))
    return st.tuples(st.lists(step, max_size=25), st.sampled_from([[], ["end"]])).map(lambda both: both[0] + both[1])


@dataclass
class Server:
    """What is still to come; what was taken is gone."""

    script: list[Step]
    rows: int = 0
    letters: int = 0
    opened: list[Position] = field(default_factory=list)


@dataclass(frozen=True)
class LiveSource(Source):
    """Reads from a server, once."""

    server: Server = field(repr=False, compare=False)

    @property
    def bounded(self) -> bool:
        return False

    @property
    def replayable(self) -> bool:
        return False

    @property
    def max_parallelism(self) -> int | None:
        return 1

    def splits(self) -> Sequence[Split]:
        return [Split("127.0.0.1:80/a b")]

    def open(self, split: Split, position: Position) -> SplitReader:
        self.server.opened.append(position)
        return _LiveReader(self, position)


class _LiveReader(SplitReader):
    def __init__(self, source: LiveSource, position: Position) -> None:
        self._source, self._server = source, source.server
        self._at = int(str(position))
        self._over = False

    @property
    def done(self) -> bool:
        return self._over

    def read(self, limit: int, now_us: int) -> Read | None:
        if not self._server.script:
            return None
        step = self._server.script.pop(0)
        match step:
            case (int(count), int(bad)):
                if count > limit:
                    self._server.script.insert(0, (count - limit, bad))
                    count, bad = limit, 0
                frame = with_gaps(self._server.rows, count)
                found = [("bad", f"line {self._server.letters + n}", "here") for n in range(bad)]
                self._server.rows += count
                self._server.letters += bad
                self._at += count + bad
                return Read(frame, self._at, count, dead_letters=letters(self._source.name, found))
            case "failure":
                raise SourceError(BROKEN)
            case "end":
                self._over = True
        return None


def live(script: Sequence[Step], **timing: Any) -> LiveSource:
    """Return a live source with a server of its own."""
    return LiveSource("live", with_gaps(0, 0).schema, Server(list(script)), timing=make_timing(**timing))
