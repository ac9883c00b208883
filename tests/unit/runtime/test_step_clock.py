"""How long calls may take: commits have a limit of their own."""

from __future__ import annotations

from streamlab.core.options import JobOptions
from streamlab.runtime.worker.call_deadlines import StepClock

OPTIONS = JobOptions("job", step_timeout_ms=1_000, commit_timeout_ms=30_000)


def test_a_call_has_its_limit():
    clock = StepClock()
    clock.awake_s = 5.0
    clock.begin("mine", "rows")
    assert clock.limited.sample == "rows"
    assert clock.limited.overdue(6.0, OPTIONS) == ""
    said = clock.limited.overdue(6.1, OPTIONS)
    assert said.startswith("mine: needs each call to return within 1 s")
    assert said.endswith("or raise step_timeout_ms")
    clock.end()
    assert clock.limited is None


def test_a_commit_has_one_of_its_own():
    clock = StepClock()
    clock.commits = True
    clock.begin("orders")
    assert clock.limited.overdue(29.0, OPTIONS) == ""
    said = clock.limited.overdue(31.0, OPTIONS)
    assert said.startswith("orders: needs each commit to return within 30 s")
    assert said.endswith("or raise commit_timeout_ms")
    clock.end()
    clock.begin("orders")
    assert clock.limited.overdue(2.0, OPTIONS)
