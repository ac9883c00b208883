"""Sources of a replay come to one place before it takes a checkpoint, whatever they answer first."""

from __future__ import annotations

from streamlab.connectors.reading.replays.batch_log import END_OF_NOTES
from streamlab.runtime.coordinator.replay_checkpoints import Gathering
from streamlab.runtime.messages.protocol import HaltSources, SourceHalts

ONE, TWO = ("source", 0), ("source", 1)


def halts(key: tuple[str, int], number: int, at: int) -> SourceHalts:
    return SourceHalts(0, 1, *key, number, at)


def test_all_halt_where_the_farthest_will():
    gathering = Gathering(needed=True)
    assert gathering.go_on({ONE, TWO}) == [HaltSources(1, 0)]
    gathering.take(halts(ONE, 1, 3))
    assert gathering.go_on({ONE, TWO}) == []
    gathering.take(halts(TWO, 1, 5))
    assert gathering.go_on({ONE, TWO}) == [HaltSources(2, 5)]
    gathering.take(halts(TWO, 1, 5))  # an answer to what was asked before
    gathering.take(halts(ONE, 2, 5))
    assert gathering.go_on({ONE, TWO}) == []
    gathering.take(halts(TWO, 2, 5))
    assert gathering.go_on({ONE, TWO}) is None


def test_the_end_of_the_notes_is_the_farthest_place():
    gathering = Gathering(needed=True)
    gathering.go_on({ONE, TWO})
    gathering.take(halts(ONE, 1, END_OF_NOTES))
    gathering.take(halts(TWO, 1, 5))
    assert gathering.go_on({ONE, TWO}) == [HaltSources(2, END_OF_NOTES)]


def test_a_source_that_ends_is_not_waited_for():
    gathering = Gathering(needed=True)
    gathering.go_on({ONE, TWO})
    gathering.take(halts(ONE, 1, 3))
    assert gathering.go_on({ONE}) == [HaltSources(2, 3)]
    gathering.take(halts(ONE, 2, 3))
    assert gathering.go_on({ONE}) is None
    assert gathering.end()
    assert not gathering.end()


def test_a_job_that_replays_nothing_waits_for_nobody():
    assert Gathering(needed=False).go_on({ONE}) is None
