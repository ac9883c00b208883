"""Another job goes on from a checkpoint whose rows the first one prepared, committed or not: they are there once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_kit import EVERY, SCHEMA, TABLES, Target, in_order, killed_at, target
from sink_kit import Crash as Killed

from streamlab.connectors.contracts.sink import Pending, SinkContext, SinkWriter

MODES = [(kind, "append") for kind in EVERY] + [(kind, "upsert") for kind in TABLES]
ROWS = pl.DataFrame({"k": [1, 2, 3, 4], "n": [5, 6, 7, 8]}, SCHEMA)
MORE = pl.DataFrame({"k": [11, 12], "n": [15, 16]}, SCHEMA)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path):
    """Return what makes a target; PostgreSQL starts when the first one needs it."""
    return lambda kind, mode="append": target(kind, tmp_path, lambda: request.getfixturevalue("postgres"), mode)


def writer(there: Target, job: Path, **context: object) -> SinkWriter:
    return there.sink.open(replace(SinkContext(str(job), 0, 1, 0, "out", checkpoints=True), **context))


def prepared(there: Target, job: Path) -> tuple[SinkWriter, Pending]:
    """Return the writer of a job that has prepared rows for its first checkpoint, and the transaction."""
    first = writer(there, job)
    first.write(ROWS)
    return first, first.prepare(1)


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_rows_are_there_once_whoever_commits_them_and_how_often(kind, mode, place, tmp_path_factory):
    @settings(max_examples=4 if kind in {"duckdb", "postgres"} else 12, deadline=None, database=None)
    @given(
        steps=st.lists(st.sampled_from(["old commits", "new takes over", "old restarts", "new restarts"]), max_size=5),
        killed=st.integers(-1, 3),
    )
    def law(steps, killed):
        there, jobs = place(kind, mode), tmp_path_factory.mktemp("jobs")
        old, pending = prepared(there, jobs / "old")
        new = writer(there, jobs / "new")
        for attempts, step in enumerate([*steps, "new takes over"], start=1):
            if step == "old restarts":
                old = writer(there, jobs / "old", attempt=attempts, restored=1)
                old.commit(pending)
            elif step == "old commits":
                old.commit(pending)
            elif step == "new restarts":
                new = writer(there, jobs / "new", attempt=attempts)
            try:
                with killed_at(killed):
                    new.take_over(pending)
            except Killed:
                new = writer(there, jobs / "new", attempt=attempts)
                new.take_over(pending)
        new.write(MORE)
        new.commit(new.prepare(1))
        new.close()
        assert in_order(there.rows()) == ROWS.rows() + MORE.rows()
        assert there.hidden() == []

    law()


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_what_was_meant_for_another_place_stays_where_it_is(kind, mode, place, tmp_path):
    there, elsewhere = place(kind, mode), place(kind, mode)
    old, pending = prepared(there, tmp_path / "jobs" / "old")
    new = writer(elsewhere, tmp_path / "jobs" / "new")
    new.take_over(pending)
    new.take_over(())
    assert elsewhere.rows() == []
    old.commit(pending)
    assert in_order(there.rows()) == ROWS.rows()


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_a_savepoint_outlives_the_folder_of_its_job(kind, mode, place, tmp_path):
    there = place(kind, mode)
    old, pending = prepared(there, tmp_path / "jobs" / "old")
    old.commit(pending)
    old.close()
    shutil.rmtree(tmp_path / "jobs" / "old")
    writer(there, tmp_path / "jobs" / "new").take_over(pending)
    assert in_order(there.rows()) == ROWS.rows()
    assert not (tmp_path / "jobs" / "old").exists()
