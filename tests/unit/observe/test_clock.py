"""The clock on the wall says in which zone it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from streamlab.observe.clock import clock, clock_ms, zone

MOMENT = 1_357_016_399_999_999
"""2013-01-01 04:59:59.999999 UTC."""


@pytest.fixture
def be_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def move(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("here", "shown", "hours"),
    [
        ("UTC", "2013-01-01 04:59:59 UTC", 0.0),
        ("EST5", "2012-12-31 23:59:59 EST", -5.0),
        ("<+0545>-5:45", "2013-01-01 10:44:59 UTC+0545", 5.75),
    ],
)
def test_moments_are_shown_as_the_clock_here_does(be_in, here: str, shown: str, hours: float) -> None:
    be_in(here)
    assert clock(MOMENT) == shown
    assert clock(MOMENT, with_day=False) == shown.partition(" ")[2]
    assert clock_ms(MOMENT) == MOMENT / 1000 + hours * 3_600_000


def test_summer_has_a_name_of_its_own(be_in) -> None:
    be_in("CET-1CEST,M3.5.0,M10.5.0/3")
    assert [zone(MOMENT), zone(MOMENT + 180 * 86_400_000_000)] == ["CET", "CEST"]
