"""Which spares a session keeps: those of the last jobs, for a while, and not too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamlab.runtime.spare_pool import KEEP_S, MOST_WORKERS, Crew, SparePool

GUARDED, PLAIN = Crew(guarded=True, workers=2), Crew(guarded=False, workers=2)
crews = st.builds(Crew, st.booleans(), st.integers(1, 2 * MOST_WORKERS))
used = st.lists(st.tuples(crews, st.floats(0, 2 * KEEP_S)), max_size=8)


def pool_of(jobs: list[tuple[Crew, float]]) -> tuple[SparePool, float]:
    pool, now_s = SparePool(), 0.0
    for crew, after_s in jobs:
        now_s += after_s
        pool.expect(crew, now_s)
    return pool, now_s


def test_nothing_is_kept_before_there_was_a_job():
    assert SparePool().wanted(0.0) == set()
    assert SparePool().until_change_s(0.0) is None


def test_one_of_each_kind_as_large_as_the_last_job():
    pool, now_s = pool_of([(GUARDED, 0.0), (PLAIN, 1.0), (Crew(guarded=False, workers=3), 1.0)])
    assert pool.wanted(now_s) == {GUARDED, Crew(guarded=False, workers=3)}
    assert pool.missing([GUARDED], now_s) == {Crew(guarded=False, workers=3)}
    assert pool.surplus([GUARDED, PLAIN], now_s) == [PLAIN]


def test_each_is_given_up_after_its_own_time():
    pool, now_s = pool_of([(GUARDED, 0.0), (PLAIN, KEEP_S / 2)])
    assert pool.until_change_s(now_s) == KEEP_S / 2
    assert pool.surplus([GUARDED, PLAIN], KEEP_S) == [GUARDED]
    assert pool.surplus([GUARDED, PLAIN], now_s + KEEP_S) == [GUARDED, PLAIN]


def test_the_kind_that_was_needed_last_goes_first():
    most = Crew(guarded=True, workers=MOST_WORKERS)
    pool, now_s = pool_of([(most, 0.0), (PLAIN, 1.0)])
    assert pool.wanted(now_s) == {PLAIN}
    assert pool_of([(PLAIN, 0.0), (most, 1.0)])[0].wanted(now_s) == {most}


@given(used, st.lists(crews, max_size=4), st.floats(0, 3 * KEEP_S))
def test_starting_what_is_missing_and_ending_what_is_too_much_gives_what_is_wanted(jobs, held, later_s):
    pool, now_s = pool_of(jobs)
    now_s += later_s
    wanted = pool.wanted(now_s)
    left = list(held)
    for crew in pool.surplus(held, now_s):
        left.remove(crew)
    assert sorted([*left, *pool.missing(left, now_s)], key=repr) == sorted(wanted, key=repr)
    assert sum(crew.workers for crew in wanted) <= MOST_WORKERS
    assert len({crew.guarded for crew in wanted}) == len(wanted)
    assert (pool.until_change_s(now_s) is None) or wanted or any(c.workers > MOST_WORKERS for c, _ in jobs)
