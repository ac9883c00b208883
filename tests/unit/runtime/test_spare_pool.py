"""How many spare workers a session keeps: as many as the last job had, for a while, and not too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamlab.runtime.client.spare_pool import KEEP_S, MOST_WORKERS, SparePool

jobs = st.lists(st.tuples(st.integers(1, 3 * MOST_WORKERS), st.integers(0, 2 * int(KEEP_S))), min_size=1, max_size=8)


def test_nothing_is_kept_before_there_was_a_job():
    pool = SparePool()
    assert pool.wanted(0.0) == 0
    assert pool.until_change_s(0.0) is None


@given(jobs, st.integers(0, 2 * int(KEEP_S)))
def test_what_the_last_job_needed_is_kept_for_a_while(jobs, later_s):
    pool, now_s = SparePool(), 0.0
    for workers, after_s in jobs:
        now_s += after_s
        pool.expect(workers, now_s)
    wanted = pool.wanted(now_s + later_s)
    assert wanted == (min(jobs[-1][0], MOST_WORKERS) if now_s + later_s - now_s < KEEP_S else 0)
    until_s = pool.until_change_s(now_s + later_s)
    assert (until_s is None) == (wanted == 0)
    if until_s is not None:
        assert 0 < until_s <= KEEP_S
        assert pool.wanted(now_s + later_s + until_s + 1.0) == 0
