"""The laws that every operator keeps, run over every operator spec that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_examples import (
    EXAMPLES,
    TWO_INPUTS,
    Link,
    all_spec_classes,
    chain,
    feed,
    main_and_side,
    messages_of,
    one,
    recut,
    rows_of,
)

from streamlab.core.changelog import fold
from streamlab.core.event_time.time import MIN_TIME_US
from streamlab.core.messages import DEAD_LETTERS, LATE_ROWS, MAIN, Batch, Message, Watermark
from streamlab.state.snapshot import Snapshot, regroup, subtask_of
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.strategies import Stream, streams

CHAINS = {name: chain(query) for name, query in EXAMPLES.items()}
LINKS = [(name, at) for name, links in CHAINS.items() for at in range(len(links))]
# What a head passes, and so everything behind it, depends on where batches are cut only in how much is read.
law = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
cuts = st.lists(st.integers(0, 40), max_size=6)
Fed = Callable[[Link, Sequence[Message]], list[Message]]


def _plainly(link: Link, messages: Sequence[Message]) -> list[Message]:
    return feed(link.build(), messages)


def _run(links: Sequence[Link], messages: Sequence[Message], at: int = -1, how: Fed = _plainly) -> pl.DataFrame | None:
    """Run a chain, link number `at` in another way, and return the table that comes out, None without any row."""
    for number, link in enumerate(links):
        out = how(link, messages) if number == at else _plainly(link, messages)
        messages, _ = main_and_side(out)
    frames = rows_of(messages)
    return fold(pl.concat(frames)) if frames else None


def _assert_same(got: pl.DataFrame | None, expected: pl.DataFrame | None) -> None:
    some = got if got is not None else expected
    if some is not None:
        assert_same_rows(some.clear() if got is None else got, some.clear() if expected is None else expected)


def test_every_operator_has_an_example() -> None:
    tried = {type(link.spec) for links in CHAINS.values() for link in links}
    assert all_spec_classes() - tried == TWO_INPUTS


@pytest.mark.parametrize(("name", "at"), LINKS)
@law
@given(stream=streams(), cuts=cuts, pieces=st.integers(1, 4))
def test_batch_cuts_do_not_matter(name: str, at: int, stream: Stream, cuts: list[int], pieces: int) -> None:
    links, messages = CHAINS[name], messages_of(stream, cuts)
    expected = _run(links, messages)
    _assert_same(_run(links, messages, at, lambda link, fed: _plainly(link, recut(fed, pieces))), expected)


@pytest.mark.parametrize(("name", "at"), LINKS)
@law
@given(stream=streams(), cuts=cuts)
def test_watermarks_never_regress(name: str, at: int, stream: Stream, cuts: list[int]) -> None:
    messages: Sequence[Message] = messages_of(stream, cuts)
    for link in CHAINS[name][: at + 1]:
        messages, _ = main_and_side(_plainly(link, messages))
    marks = [m.us for m in messages if isinstance(m, Watermark)]
    assert marks == sorted(marks)


@pytest.mark.parametrize("name", EXAMPLES)
@law
@given(stream=streams(), cuts=cuts)
def test_nothing_on_time_comes_behind_a_watermark(name: str, stream: Stream, cuts: list[int]) -> None:
    messages: Sequence[Message] = messages_of(stream, cuts)
    for link in CHAINS[name]:
        messages, _ = main_and_side(_plainly(link, messages))
    reached = MIN_TIME_US
    for message in messages:
        if isinstance(message, Watermark):
            reached = message.us
        elif isinstance(message, Batch) and "at" in message.collected().columns:
            times = message.collected()["at"].dt.epoch("us")
            assert (times > reached).all(), f"{times.to_list()} behind the watermark {reached}"


@pytest.mark.parametrize(("name", "at"), LINKS)
@law
@given(stream=streams(), cuts=cuts, late=st.booleans(), stops=st.sets(st.integers(0, 12), max_size=4))
def test_stop_snapshot_rebuild_changes_nothing(
    name: str, at: int, stream: Stream, cuts: list[int], late: bool, stops: set[int]
) -> None:
    def interrupted(link: Link, messages: Sequence[Message]) -> list[Message]:
        operator = link.build()
        out: list[Message] = []
        for number, message in enumerate(messages):
            if number in stops:
                operator = link.build(operator.snapshot())
            out += one(operator, message)
            if operator.done:
                return [*out, messages[-1], *operator.on_end()]
        return out + operator.on_end()

    links, messages = CHAINS[name], messages_of(stream, cuts, late=late)
    _assert_same(_run(links, messages, at, interrupted), _run(links, messages))


@pytest.mark.parametrize(("name", "at"), [(name, at) for name, at in LINKS if CHAINS[name][at].keyed])
@law
@given(
    stream=streams(), cuts=cuts, late=st.booleans(), stop=st.integers(0, 8), sizes=st.tuples(*[st.integers(1, 3)] * 2)
)
def test_another_parallelism_changes_nothing(
    name: str, at: int, stream: Stream, cuts: list[int], late: bool, stop: int, sizes: tuple[int, int]
) -> None:
    """Some subtasks take the first messages, regrouped state and other subtasks the rest."""

    def rescaled(link: Link, messages: Sequence[Message]) -> list[Message]:
        before, after = sizes if link.keys else (1, 1)
        operators = [link.build(None, n, before) for n in range(before)]
        first, rest = messages[:stop], messages[stop:]
        out = [m for message in first for m in _each(link, operators, message)]
        snapshots = [operator.snapshot() for operator in operators]
        grouped = [regroup(snapshots, n, after) for n in range(after)]
        assert _counted(grouped) == _counted(snapshots)
        operators = [link.build(state, n, after) for n, state in enumerate(grouped)]
        out += [m for message in rest for m in _each(link, operators, message)]
        return out + [m for operator in operators for m in operator.on_end()]

    links, messages = CHAINS[name], messages_of(stream, cuts, late=late)
    _assert_same(_run(links, messages, at, rescaled), _run(links, messages))


def _each(link: Link, operators: Sequence, message: Message) -> list[Message]:
    """Give rows to the subtask of their key and a watermark to all, which together promise the least of theirs."""
    if not isinstance(message, Batch):
        out = [one(operator, message) for operator in operators]
        rows = [m for each in out for m in each if isinstance(m, Batch)]
        marks = [m.us for each in out for m in each if isinstance(m, Watermark)]
        return [*rows, *([Watermark(min(marks))] if len(marks) == len(operators) else [])]
    frame = message.collected()
    target = frame.select(subtask_of(link.keys, len(operators), frame.schema)).to_series()
    parts = [(operator, frame.filter(target == n)) for n, operator in enumerate(operators)]
    return [m for operator, part in parts if part.height for m in operator.process(Batch(part, message.tag))]


def _counted(snapshots: Sequence[Snapshot]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for snapshot in snapshots:
        for name, frames in snapshot.keyed.items():
            counts[name] = counts.get(name, 0) + sum(frame.height for frame in frames)
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize(("name", "at"), LINKS)
@law
@given(stream=streams(), cuts=cuts, stop=st.integers(0, 8))
def test_a_snapshot_never_changes(name: str, at: int, stream: Stream, cuts: list[int], stop: int) -> None:
    def watched(link: Link, messages: Sequence[Message]) -> list[Message]:
        operator = link.build()
        out = [m for message in messages[:stop] for m in one(operator, message)]
        taken = operator.snapshot()
        seen = (
            {key: [frame.clone() for frame in frames] for key, frames in taken.keyed.items()},
            {key: [frame.rows() for frame in frames] for key, frames in taken.keyed.items()},
            dict(taken.values),
        )
        out += [m for message in messages[stop:] for m in one(operator, message)]
        out += operator.on_end()
        clones, rows, values = seen
        assert dict(taken.values) == values
        assert taken.keyed.keys() == clones.keys()
        for key, frames in taken.keyed.items():
            assert str([frame.rows() for frame in frames]) == str(rows[key])
        return out

    _run(CHAINS[name], messages_of(stream, cuts), at, watched)


@pytest.mark.parametrize("name", ["tumbling", "tumbling global", "session", "lateness", "lateness of sessions"])
@law
@given(stream=streams(null_times=True), cuts=cuts)
def test_no_row_is_lost(name: str, stream: Stream, cuts: list[int]) -> None:
    """Rows in = rows counted in windows + late rows + dead letters, also when the watermark is too fast."""
    links = [*chain(lambda f: f.with_watermark("at", "0s")), *CHAINS[name]]
    messages: Sequence[Message] = messages_of(stream, cuts, late=True)
    left_out = 0
    for link in links:
        messages, side = main_and_side(_plainly(link, messages))
        left_out += sum(batch.collected().height for batch in side if batch.tag in {LATE_ROWS, DEAD_LETTERS})
    frames = rows_of(messages, MAIN)
    counted = fold(pl.concat(frames))["rows"].sum() if frames else 0
    assert counted + left_out == stream.frame.height
