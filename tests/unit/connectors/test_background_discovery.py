"""Looking for new splits in a thread: the reader never waits, nothing is lost, nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import Queue

import pytest

from streamlab.connectors.contracts.source import Split, SplitFinder
from streamlab.connectors.reading.discovery import LOOK_EVERY_US, BackgroundDiscovery, Discovery
from streamlab.core.errors import SourceError

PATIENCE_S = 30


class Told(SplitFinder):
    """Finds what it is told to; waits for that."""

    def __init__(self) -> None:
        self.answers: Queue[list[str] | Exception] = Queue()
        self.threads: set[int] = set()

    def find(self) -> Sequence[Split]:
        self.threads.add(threading.get_ident())
        answer = self.answers.get(timeout=PATIENCE_S)
        if isinstance(answer, Exception):
            raise answer
        return [Split(name) for name in answer]


def until_found(discovery: Discovery, now_us: int) -> tuple[list[str], int]:
    waiting = threading.Event()
    for _ in range(PATIENCE_S * 100):
        now_us += LOOK_EVERY_US
        found = discovery.found(now_us)
        if found:
            return [split.id for split in found], now_us
        waiting.wait(0.01)
    pytest.fail("nothing was found")


def test_it_is_asked_by_the_readers_clock() -> None:
    finder = Told()
    finder.answers.put(["a"])
    finder.answers.put(["b"])
    discovery = Discovery(finder)
    assert [split.id for split in discovery.found(5)] == ["a"]
    assert discovery.found(6) == []
    assert discovery.next_look_us == 5 + LOOK_EVERY_US
    assert [split.id for split in discovery.found(5 + LOOK_EVERY_US)] == ["b"]


def test_a_clock_that_was_set_back_is_no_reason_to_wait() -> None:
    finder = Told()
    for name in "ab":
        finder.answers.put([name])
    discovery = Discovery(finder)
    discovery.found(10**12)
    assert [split.id for split in discovery.found(5)] == ["b"]


def test_a_slow_look_holds_nobody_up() -> None:
    finder = Told()
    discovery = BackgroundDiscovery(finder)
    assert discovery.found(0) == []
    assert discovery.found(LOOK_EVERY_US) == []
    finder.answers.put(["a", "b"])
    found, now_us = until_found(discovery, LOOK_EVERY_US)
    assert found == ["a", "b"]
    finder.answers.put(["c"])
    assert until_found(discovery, now_us)[0] == ["c"]
    assert threading.get_ident() not in finder.threads
    finder.answers.put([])
    discovery.close()
    assert discovery._thread is not None
    assert not discovery._thread.is_alive()


def test_what_went_wrong_is_raised_in_the_readers_turn() -> None:
    finder = Told()
    discovery = BackgroundDiscovery(finder)
    finder.answers.put(SourceError("the folder is gone"))
    finder.answers.put(["a"])
    with pytest.raises(SourceError, match="the folder is gone"):
        until_found(discovery, 0)
    assert until_found(discovery, 10**9)[0] == ["a"]
    finder.answers.put([])
    discovery.close()


def test_looking_at_once_gives_what_was_found_before_too() -> None:
    finder = Told()
    discovery = BackgroundDiscovery(finder)
    discovery.found(0)
    for answer in (["a"], ["b"], [], []):
        finder.answers.put(answer)
    found = {split.id for split in discovery.found_now(1)}
    assert "a" in found
    if found == {"a"}:
        found |= set(until_found(discovery, 1)[0])
    assert found == {"a", "b"}
    finder.answers.put([])
    discovery.close()
