"""When old jobs are cleared away: beside a start, once in a while, and never somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlab.runtime.client import sweeping
from streamlab.runtime.client.sweeping import _Sweeper
from streamlab.runtime.job_folder.home import home


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the homes that were swept; nobody sweeps by the clock."""
    found: list[Path] = []
    home().mkdir(exist_ok=True)
    monkeypatch.setattr(sweeping, "sweep", lambda: found.append(home()))
    monkeypatch.setattr(sweeping, "_AFTER_S", 3600.0)
    return found


def test_a_start_has_it_done_later_and_others_do_not_do_it_again(swept: list[Path]):
    first, second = _Sweeper(), _Sweeper()
    first.sweep_later()
    assert swept == []
    first.sweep_if_due()
    first.sweep_if_due()
    second.sweep_later()
    second.sweep_if_due()
    assert swept == [home()]


def test_after_a_while_it_is_done_again(swept: list[Path], monkeypatch: pytest.MonkeyPatch):
    sweeper = _Sweeper()
    for _ in range(2):
        sweeper.sweep_later()
        sweeper.sweep_if_due()
        monkeypatch.setattr(sweeping, "_EVERY_S", -1.0)
    assert swept == [home()] * 2


def test_another_home_or_another_process_is_left_alone(swept, monkeypatch, tmp_path):
    sweeper = _Sweeper()
    sweeper.sweep_later()
    monkeypatch.setenv("STREAMLAB_HOME", str(tmp_path))
    sweeper.sweep_if_due()
    sweeper.sweep_later()
    sweeper.forget()
    sweeper.sweep_if_due()
    assert swept == []
