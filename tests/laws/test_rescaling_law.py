"""State that is stored, and taken up by any other number of subtasks, over and over: the same table comes out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from operator_examples import EXAMPLES, Link, chain, feed, main_and_side, messages_of, one, rows_of

from streamlab.core.changelog import fold
from streamlab.core.messages import Batch, Message, Watermark
from streamlab.graph.job_graph import Vertex
from streamlab.operators.base import Operator
from streamlab.runtime.task.task import Snapshotted
from streamlab.runtime.task.task_states import restored_task, stored_part
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.snapshots import SnapshotWriter
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.state.snapshot import subtask_of
from streamlab.testing.circuit import circuit
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.faulty_blobs import FaultyBlobs
from streamlab.testing.strategies import Stream, streams

SIZES = (1, 2, 3, 4, 8)
WAY = circuit(SIZES, 2)
CHAINS = {name: chain(query) for name, query in EXAMPLES.items()}
KEYED = [(name, at) for name, links in CHAINS.items() for at, link in enumerate(links) if link.keys]


def test_the_way_takes_every_step_once():
    assert sorted(pairwise(WAY)) == sorted((a, b) for a in SIZES for b in SIZES if a != b)


class Subtasks:
    """The subtasks of one operator, whose state goes through the store whenever there are others."""

    def __init__(self, link: Link, size: int) -> None:
        self._link = link
        self._files = StateFiles(FaultyBlobs())
        self._writer = SnapshotWriter(self._files)
        self._checkpoint = 0
        self.operators: list[Operator] = [link.build(None, subtask, size) for subtask in range(size)]

    def rescale(self, size: int) -> None:
        self._checkpoint += 1
        step = self._link.spec.step
        parts = []
        for subtask, operator in enumerate(self.operators):
            taken = Snapshotted(self._checkpoint, {step: operator.snapshot()}, None, (), False, {})
            parts.append(stored_part("vertex", subtask, taken, self._writer))
        manifest = Manifest(
            polars=pl.__version__,
            job="j",
            id=self._checkpoint,
            attempt=1,
            fingerprint="",
            parallelism={"vertex": len(parts)},
            splits={},
            tasks=tuple(parts),
            triggered_us=0,
            completed_us=0,
        )
        vertex = Vertex("vertex", None, (self._link.spec,), None, size)
        restored = [restored_task(manifest, vertex, subtask, self._files) for subtask in range(size)]
        self.operators = [
            self._link.build(one.operators.get(step), subtask, size) for subtask, one in enumerate(restored)
        ]

    def give(self, message: Message) -> list[Message]:
        """Give rows to the subtask of their key and a watermark to all, which together promise the least of theirs."""
        if not isinstance(message, Batch):
            out = [one(operator, message) for operator in self.operators]
            rows = [m for each in out for m in each if isinstance(m, Batch)]
            marks = [m.us for each in out for m in each if isinstance(m, Watermark)]
            return [*rows, *([Watermark(min(marks))] if len(marks) == len(out) else [])]
        frame = message.collected()
        target = frame.select(subtask_of(self._link.keys, len(self.operators), frame.schema)).to_series()
        parts = [(operator, frame.filter(target == n)) for n, operator in enumerate(self.operators)]
        return [m for operator, part in parts if part.height for m in operator.process(Batch(part, message.tag))]


def rescaled(link: Link, messages: Sequence[Message]) -> list[Message]:
    """Run an operator with another number of subtasks after each message, all along the way."""
    subtasks, way = Subtasks(link, WAY[0]), list(WAY[1:])
    out: list[Message] = []
    for message in messages:
        out += subtasks.give(message)
        for size in way[:2]:
            subtasks.rescale(size)
        del way[:2]
    for size in way:
        subtasks.rescale(size)
    return out + [m for operator in subtasks.operators for m in operator.on_end()]


def table_of(messages: Sequence[Message]) -> pl.DataFrame | None:
    frames = rows_of(main_and_side(messages)[0])
    return fold(pl.concat(frames)) if frames else None


@pytest.mark.parametrize(("name", "at"), KEYED)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(stream=streams())
def test_along_all_pairs_of_sizes_the_table_stays_the_same(name: str, at: int, stream: Stream) -> None:
    messages: Sequence[Message] = messages_of(stream, range(0, 40, 5), late=True)
    for link in CHAINS[name][:at]:
        messages, _ = main_and_side(feed(link.build(), messages))
    link = CHAINS[name][at]
    got, expected = table_of(rescaled(link, messages)), table_of(feed(link.build(), messages))
    assert (got is None) == (expected is None)
    if got is not None and expected is not None:
        assert_same_rows(got, expected)
