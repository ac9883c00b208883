"""Some of the matrix and of the storms; `make faults` and `make storm` run all of them."""

from __future__ import annotations

from collections import Counter

import pytest
from matrix import PLACES, Case, run_case
from storm import schedule

from streamlab.core.failpoints import POINTS

SAMPLE = (
    ("sink.publish", "kill", "files"),
    ("coordinator.finish", "kill", "files"),
    ("sink.prepare", "hang", "files"),
    ("sink.commit_ack", "kill", "windows-sqlite"),
    ("restore.read", "raise", "windows-sqlite"),
    ("recording.append", "kill", "recorded-files"),
    ("manifest.rename", "kill", "groups-results"),
    ("coordinator.takeover", "raise", "groups-results"),
    ("checkpoint.report", "raise", "groups-results"),
)


WHERE = {place.point: place for place in PLACES}
CASES = [Case(WHERE[point], (action,), topology) for point, action, topology in SAMPLE]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_job_recovers_by_itself_and_no_row_is_lost_or_doubled(case):
    result = run_case(case, "")
    assert result.is_right, result.outcome
    assert set(result.recoveries_s) == set(case.actions)


def test_every_failpoint_has_a_place():
    assert {place.point for place in PLACES} == set(POINTS)


def test_a_storm_is_told_by_its_number():
    assert schedule(7, "sinks") == schedule(7, "sinks")
    drawn = [schedule(seed, "sinks") for seed in range(200)]
    assert {len(strikes) for strikes in drawn} == set(range(3, 9))
    kinds = Counter(strike.kind for strikes in drawn for strike in strikes)
    assert set(kinds) == {"kill", "soon", "freeze", "zombie", "disk"}
    # A guardian that was killed has a successor: its coordinator may be killed as well.
    whom = [[strike.who for strike in strikes] for strikes in drawn]
    assert any("coordinator" in who[who.index("guardian") :] for who in whom if "guardian" in who)
