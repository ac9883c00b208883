"""Whose message is taken next. A task that follows must never wait for ever, nor leave the order without a word."""

from __future__ import annotations

import polars as pl
import pytest

from streamlab.core.event_time.row_watermarks import ROW_WATERMARK
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.messages import LATE_ROWS, Barrier, Batch, End, Idle, Message, Watermark
from streamlab.graph.job_graph import Edge, Exchange, JobGraph, Vertex
from streamlab.runtime.network.transport import Inbox
from streamlab.runtime.task.task import Task
from streamlab.runtime.worker.input_order_log import Turn, TurnLog, TurnTrail
from streamlab.runtime.worker.inputs import Inputs

HALF_A_MINUTE_US = 30_000_000
FRAME = pl.DataFrame({"n": [1]})


def task() -> Task:
    one, other = (Vertex(name, None, (), None, 1) for name in ("one", "other"))
    last = Vertex("last", None, (), None, 1)
    edges = (Edge("one", "last", Exchange.FORWARD), Edge("other", "last", Exchange.FORWARD))
    return Task(JobGraph((one, other, last), edges), "last", 0)


def noted(folder, *turns: Turn) -> TurnTrail:
    log = TurnLog(folder, 1, 0, inputs=2, parallelism=1)
    for turn in turns:
        log.note(turn)
    log.close()
    return TurnTrail([folder], 0, inputs=2, parallelism=1)


class Case:
    def __init__(
        self,
        trail: TurnTrail | None = None,
        log: TurnLog | None = None,
        until_us: int | None = None,
        *,
        heard: bool = True,
        **options: int,
    ) -> None:
        self.task = task()
        for channel in self.task.inputs if heard else ():
            self.task.receive(channel, Watermark(MIN_TIME_US))
        self.inboxes = [Inbox(channel, 2) for channel in self.task.inputs]
        self.inputs = Inputs(self.task, self.inboxes, log, trail, until_us=until_us, **options)

    def put(self, at: int, *messages: Message) -> None:
        for message in messages:
            self.inboxes[at].put(message)

    def take(self, now_us: int = 0) -> tuple[int, Message] | None:
        taken = self.inputs.take(now_us)
        if taken is None:
            return None
        self.task.receive(*taken)
        return self.task.inputs.index(taken[0]), taken[1]


def test_in_turn_one_input_comes_after_the_other(tmp_path):
    log = TurnLog(tmp_path, 1, 0, inputs=2, parallelism=1)
    case = Case(log=log)
    case.put(0, Batch(FRAME), Batch(FRAME), Watermark(3), Watermark(4))
    case.put(1, Batch(FRAME))
    taken = [case.take() for _ in range(3)]
    log.close()
    assert [at for at, _ in taken] == [0, 1, 0]
    assert taken[0][1].collected().height == 2  # what waits is taken as one
    trail, found = TurnTrail([tmp_path], 0, inputs=2, parallelism=1), []
    while (turn := trail.next()) is not None:
        found.append(turn)
        trail.advance()
    assert found == [Turn(b"B", 0, 1), Turn(b"B", 1, 0), Turn(b"W", 0, 4)]


def rows_taken(case: Case, times: int) -> list[int | type]:
    """Return how many rows each batch that is taken has, and what kind everything else is."""
    taken = [message for _, message in (case.take() for _ in range(times))]
    return [m.collected().height if isinstance(m, Batch) else type(m) for m in taken]


def test_nothing_is_taken_before_every_input_has_been_heard():
    case = Case(heard=False)
    case.put(0, Watermark(MIN_TIME_US), Batch(FRAME))
    assert case.take() == (0, Watermark(MIN_TIME_US))
    assert case.take() is None
    case.put(1, End())
    assert case.take() == (1, End())
    assert rows_taken(case, 1) == [1]


def test_batches_are_taken_as_one_up_to_a_barrier_another_tag_or_too_many_rows():
    case = Case(batch_rows=3)
    case.put(1, End())
    case.take()
    case.put(0, Batch(FRAME), Watermark(1), Batch(FRAME), Watermark(2), Barrier(1))
    assert rows_taken(case, 3) == [2, Watermark, Barrier]
    case.put(0, Batch(FRAME), Batch(FRAME, LATE_ROWS), *[Batch(FRAME)] * 4, Idle(), Batch(FRAME))
    assert rows_taken(case, 6) == [1, 1, 3, 1, Idle, 1]


def test_a_batch_keeps_the_time_at_which_its_oldest_row_was_read_and_rows_their_watermarks():
    case = Case()
    marked = FRAME.with_columns(pl.lit(7, pl.Int64).alias(ROW_WATERMARK))
    case.put(0, Batch(FRAME, ingested_us=5), Watermark(8), Batch(marked, ingested_us=6))
    batch = case.take()[1]
    assert batch.ingested_us == 5
    assert batch.collected()[ROW_WATERMARK].to_list() == [MIN_TIME_US, 7]


def test_by_hand_each_batch_is_taken_by_itself():
    case = Case()
    case.inputs.go_by_hand(by_hand=True)
    case.put(0, Batch(FRAME), Batch(FRAME))
    assert rows_taken(case, 2) == [1, 1]


def test_following_takes_together_what_was_taken_together(tmp_path):
    case = Case(noted(tmp_path, Turn(b"B", 0, 1), Turn(b"W", 0, 4), Turn(b"B", 0, 0), Turn(b"B", 0, 0)))
    case.put(0, Batch(FRAME), Watermark(2))
    assert case.take() is None
    case.put(0, Batch(FRAME), Watermark(4), Batch(FRAME), Batch(FRAME))
    assert rows_taken(case, 4) == [2, Watermark, 1, 1]
    assert case.inputs.followed == 4


def test_batches_that_come_apart_end_it_with_a_word(tmp_path, capsys):
    case = Case(noted(tmp_path, Turn(b"B", 0, 1)))
    case.put(0, Batch(FRAME), End())
    assert rows_taken(case, 1) == [1]
    assert "come apart" in capsys.readouterr().err


def test_following_waits_for_the_input_whose_turn_it_was(tmp_path):
    case = Case(noted(tmp_path, Turn(b"B", 1, 0), Turn(b"B", 0, 0), Turn(b"W", 0, 4), Turn(b"I", 1, 0)))
    case.put(0, Batch(FRAME), Watermark(2), Watermark(4))
    assert case.take() is None
    case.put(1, Batch(FRAME), Idle())
    assert [type(case.take()[1]) for _ in range(4)] == [Batch, Batch, Watermark, Idle]
    assert case.inputs.followed == 4


def test_what_says_nothing_new_has_no_turn(tmp_path):
    case = Case(noted(tmp_path, Turn(b"W", 0, 4), Turn(b"B", 1, 0)))
    case.put(0, Watermark(4), Watermark(4), Watermark(1))
    assert [case.take()[1] for _ in range(3)] == [Watermark(4), Watermark(4), Watermark(1)]
    assert case.inputs.followed == 1


def test_the_end_of_the_notes_is_left_without_a_word(tmp_path, capsys):
    case = Case(noted(tmp_path, Turn(b"B", 1, 0)))
    case.put(0, Batch(FRAME))
    case.put(1, Batch(FRAME))
    assert [case.take()[0] for _ in range(2)] == [1, 0]
    assert case.inputs.followed is None
    assert capsys.readouterr().err == ""


def test_a_watermark_that_was_put_together_with_batches_before_a_checkpoint_is_left_out(tmp_path, capsys):
    """A source that begins at the checkpoint says once more where it is, which the other job's task never took."""
    case = Case(noted(tmp_path, Turn(b"B", 1, 0), Turn(b"B", 0, 0)))
    case.put(1, Watermark(9))
    assert case.take() is None
    case.put(1, Batch(FRAME))
    case.put(0, Batch(FRAME))
    assert [case.take() for _ in range(2)] == [(1, Batch(FRAME)), (0, Batch(FRAME))]
    assert case.inputs.followed == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("other", [Watermark(MAX_TIME_US), Idle(), End()])
def test_another_message_than_was_noted_ends_it_with_a_word(tmp_path, capsys, other):
    case = Case(noted(tmp_path, Turn(b"B", 1, 0), Turn(b"B", 0, 0)))
    case.put(1, other)
    assert case.take() == (1, other)
    assert case.inputs.followed is None
    assert "takes its inputs in an order of its own" in capsys.readouterr().err


def test_a_barrier_between_what_was_taken_the_other_way_round_ends_it_with_a_word(tmp_path, capsys):
    case = Case(noted(tmp_path, Turn(b"B", 0, 0), Turn(b"B", 1, 0)))
    case.put(0, Barrier(1), Batch(FRAME))
    assert case.take() == (0, Barrier(1))
    assert case.take() is None  # the other barrier may still come
    case.put(1, Batch(FRAME), Barrier(1))
    assert case.take()[0] == 1
    assert "a checkpoint was taken" in capsys.readouterr().err


def test_barriers_at_the_same_place_change_nothing(tmp_path, capsys):
    case = Case(noted(tmp_path, Turn(b"B", 0, 0), Turn(b"B", 1, 0)))
    case.put(0, Barrier(1), Batch(FRAME))
    case.put(1, Barrier(1), Batch(FRAME))
    assert [(at, type(message)) for at, message in (case.take() for _ in range(4))] == [
        (0, Barrier),
        (1, Barrier),
        (0, Batch),
        (1, Batch),
    ]
    assert capsys.readouterr().err == ""


def test_nobody_waits_for_ever_while_another_input_is_full(tmp_path, capsys):
    case = Case(noted(tmp_path, Turn(b"B", 0, 0)))
    case.put(1, Batch(FRAME))
    assert case.take(HALF_A_MINUTE_US * 5) is None  # not full: what comes first may come late
    case.put(1, Batch(FRAME))
    assert case.take(HALF_A_MINUTE_US * 6) is None
    case.inputs.wait()  # sources were paused
    assert case.take(HALF_A_MINUTE_US * 8) is None
    assert case.take(HALF_A_MINUTE_US * 9)[0] == 1
    assert "nothing came for 30 s" in capsys.readouterr().err


def test_a_step_by_hand_leaves_the_order(tmp_path):
    case = Case(noted(tmp_path, Turn(b"B", 1, 0)))
    case.inputs.go_by_hand(by_hand=True)
    case.inputs.begin_step(1)
    case.put(0, Barrier(1, "step"))
    assert case.take() == (0, Barrier(1, "step"))
    assert case.inputs.followed == 0
    case.put(1, Batch(FRAME))
    assert case.take()[0] == 1
    assert case.inputs.followed is None


@pytest.mark.parametrize("by_hand", [True, False])
def test_the_barrier_of_a_step_waits_until_the_step_has_begun_here(by_hand):
    case = Case()
    case.inputs.go_by_hand(by_hand=by_hand)
    case.put(0, Barrier(3, "step"))
    case.inputs.begin_step(2)
    assert case.take() is None
    case.inputs.begin_step(3)
    assert case.take() == (0, Barrier(3, "step"))


def test_where_the_order_is_prescribed_credit_goes_back_at_once(tmp_path):
    given: list[int] = []
    case = Case(noted(tmp_path, Turn(b"B", 0, 0)))
    inbox = Inbox(case.task.inputs[0], 8)
    inbox.returns_credit_to(given.append)
    inbox.keeps_watermarks = True
    inbox.put(Batch(FRAME))
    inbox.put(Batch(FRAME))
    inbox.take()
    assert given == [1]


def test_turns_of_an_input_that_has_been_read_to_the_time_are_passed_over(tmp_path, capsys):
    turns = Turn(b"W", 0, 12), Turn(b"B", 0, 0), Turn(b"B", 1, 0), Turn(b"E", 0, 0), Turn(b"W", 1, 11)
    case = Case(noted(tmp_path, *turns), until_us=10)
    # The job's watermark of 12 had replaced one of 10 before anybody took it; here that is the last that comes.
    case.put(0, Watermark(10))
    assert case.take() == (0, Watermark(10))
    assert case.take() is None
    case.put(1, Batch(FRAME), Watermark(11))
    # The barrier with which the replay ends does not change the order of what is left.
    case.put(0, Barrier(1))
    assert [case.take()[0] for _ in range(3)] == [0, 1, 1]
    assert case.inputs.followed == 5
    assert capsys.readouterr().err == ""


def test_an_input_that_is_not_at_the_time_is_waited_for(tmp_path):
    case = Case(noted(tmp_path, Turn(b"W", 0, 9), Turn(b"B", 0, 0), Turn(b"B", 1, 0)), until_us=10)
    case.put(0, Watermark(8), Watermark(9))
    case.put(1, Batch(FRAME))
    assert case.take() == (0, Watermark(9))
    assert case.take() is None
