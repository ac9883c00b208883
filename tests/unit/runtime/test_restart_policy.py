"""When a failed job is tried again, and when it is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure
from streamlab.runtime.coordinator.restart_policy import GiveUp, Restart, RestartPolicy

KILLED = Failure(message="gone", kind="WorkerLost")


def policy(**options: object) -> RestartPolicy:
    return RestartPolicy(JobOptions("job", **{"checkpoint_every_ms": 1_000, **options}))


def another(number: int) -> Failure:
    return Failure(message=f"failure {number}", step="map")


def delays_ms(given_policy: RestartPolicy, count: int) -> list[float]:
    decisions = [given_policy.on_failure(another(number)) for number in range(count)]
    assert all(isinstance(decision, Restart) for decision in decisions)
    return [decision.delay_us / 1000 for decision in decisions]


def test_the_first_restart_is_made_at_once_and_delays_double_up_to_the_most():
    limited = policy(restart_delay_ms=100, max_restart_delay_ms=500)
    assert delays_ms(limited, 7) == [0, 100, 200, 400, 500, 500, 500]


def test_a_first_delay_above_the_most_is_the_most():
    assert delays_ms(policy(restart_delay_ms=900, max_restart_delay_ms=500), 3) == [0, 500, 500]


@pytest.mark.parametrize("most", [0, 1, 5])
def test_after_so_many_restarts_the_job_fails_with_the_cause(most):
    limited = policy(max_restarts=most)
    delays_ms(limited, most)
    decision = limited.on_failure(another(99))
    assert isinstance(decision, GiveUp)
    assert decision.failure.message.startswith("failure 99\n")
    assert f"after {most} restarts (max_restarts)" in decision.failure.message
    assert decision.failure.step == "map"


def test_a_stable_time_makes_earlier_failures_forgotten():
    limited = policy(restart_delay_ms=100, max_restarts=3, stable_ms=1_000)
    assert delays_ms(limited, 3) == [0, 100, 200]
    for _ in range(4):
        limited.on_running(250_000)
    assert delays_ms(limited, 3) == [0, 100, 200]


def test_time_of_several_attempts_does_not_add_up_to_a_stable_one():
    limited = policy(max_restarts=2, stable_ms=1_000)
    for number in range(2):
        limited.on_running(900_000)
        assert isinstance(limited.on_failure(another(number)), Restart)
    limited.on_running(900_000)
    assert isinstance(limited.on_failure(another(2)), GiveUp)


def test_the_same_failure_for_the_third_time_is_not_tried_again():
    limited = policy()
    same = Failure(message="cannot bear 0", step="map", sample="0")
    assert isinstance(limited.on_failure(same), Restart)
    assert isinstance(limited.on_failure(same), Restart)
    assert limited.on_failure(same) == GiveUp(same)


def test_what_a_sink_says_of_its_place_is_tried_again_up_to_the_limit():
    limited = policy(max_restarts=5)
    away = Failure(message="the database is away", step="write", kind="SinkError")
    assert all(isinstance(limited.on_failure(away), Restart) for _ in range(5))
    assert isinstance(limited.on_failure(away), GiveUp)


@pytest.mark.parametrize(
    "changed", [{"message": "other"}, {"step": "other"}, {"sample": "1"}, {"kind": "SinkError"}], ids=str
)
def test_a_failure_at_other_rows_or_for_another_reason_is_not_the_same(changed):
    limited = policy()
    first = {"message": "cannot bear 0", "step": "map", "sample": "0"}
    for fields in (first, first, {**first, **changed}, first, first):
        assert isinstance(limited.on_failure(Failure(**fields)), Restart)


def test_what_polars_counts_in_its_errors_does_not_count():
    tried = policy()
    told = [Failure(message=f'bad number\n\tcol("_POLARS_TMP_PHYS_{n}").abs()', step="map") for n in (3, 17, 4)]
    assert [type(tried.on_failure(failure)) for failure in told] == [Restart, Restart, GiveUp]


def test_where_it_happened_in_the_code_does_not_count():
    limited = policy()
    for number in range(2):
        limited.on_failure(Failure(message="boom", traceback=f"line {number}"))
    assert isinstance(limited.on_failure(Failure(message="boom", traceback="line 3")), GiveUp)


@given(st.lists(st.just(KILLED), max_size=30))
def test_what_comes_from_outside_is_never_the_same_again(failures):
    limited = policy(max_restarts=30)
    assert all(isinstance(limited.on_failure(one, from_outside=True), Restart) for one in failures)


def test_a_kill_between_two_failures_makes_the_count_begin_anew():
    limited = policy()
    boom = Failure(message="boom")
    for failure, from_outside in ((boom, False), (boom, False), (KILLED, True), (boom, False), (boom, False)):
        assert isinstance(limited.on_failure(failure, from_outside=from_outside), Restart)
    assert isinstance(limited.on_failure(boom), GiveUp)


def test_a_job_without_checkpoints_is_not_tried_again():
    assert policy(checkpoint_every_ms=None).on_failure(KILLED, from_outside=True) == GiveUp(KILLED)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("fail"), st.integers(0, 2), st.booleans()),
            st.tuples(st.just("run"), st.integers(0, 2_000_000), st.none()),
        ),
        max_size=40,
    ),
    st.integers(0, 6),
)
def test_restarts_in_a_row_are_never_more_than_allowed_and_delays_stay_in_bounds(events, most):
    limited = policy(max_restarts=most, restart_delay_ms=10, max_restart_delay_ms=100, stable_ms=1_000)
    in_a_row, ran_us = 0, 0
    for name, amount, from_outside in events:
        if name == "run":
            limited.on_running(amount)
            ran_us += amount
            in_a_row = 0 if ran_us >= 1_000_000 else in_a_row
            continue
        ran_us = 0
        decision = limited.on_failure(another(amount), from_outside=from_outside)
        if isinstance(decision, GiveUp):
            assert in_a_row == most or not from_outside
            return
        in_a_row += 1
        assert in_a_row <= most
        assert decision.delay_us == (0 if in_a_row == 1 else min(10 * 2 ** (in_a_row - 2), 100) * 1000)


def test_what_will_be_the_same_whenever_it_is_tried_again_is_not_tried_again():
    failure = Failure(message="a table without 'n'", kind="SinkError", lasting=True)
    assert policy().on_failure(failure, from_outside=True) == GiveUp(failure)
