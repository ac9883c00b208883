"""What is wrong with a job, in words: pure rules over its status and its recent history.

Each rule looks at the facts and returns findings, none when there is nothing to say. A rule that lacks a number keeps
quiet rather than guess.
"""

from __future__ import annotations

from streamlab.observe.diagnosis.event_time import completeness, far_future, held_watermarks, late_share
from streamlab.observe.diagnosis.findings import Facts, Finding, Severity
from streamlab.observe.diagnosis.flow import bottlenecks, hot_subtasks, slow_calls
from streamlab.observe.diagnosis.upkeep import (
    checkpoints,
    dead_letters,
    failures,
    full_disk,
    growing_state,
    nulled_values,
)

RULES = (
    failures,
    full_disk,
    held_watermarks,
    bottlenecks,
    slow_calls,
    hot_subtasks,
    far_future,
    late_share,
    checkpoints,
    growing_state,
    dead_letters,
    nulled_values,
)


WITHOUT_ROWS = (failures, full_disk, checkpoints)
"""Those that have something to say before there are rows."""


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return what there is to say of a job, the worst first."""
    has_begun = facts.status.rows_in > 0 or facts.status.state.is_final
    found = [finding for rule in (RULES if has_begun else WITHOUT_ROWS) for finding in rule(facts)]
    order = list(Severity)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


__all__ = ["RULES", "Facts", "Finding", "Severity", "completeness", "diagnose"]
