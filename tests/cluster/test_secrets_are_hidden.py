"""A canary in every address that a query can have, and a look for it in everything that is shown."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import streamlab as sl
from streamlab.cli.app import app
from streamlab.state.checkpoints.blobs import Blobs

SECRET = "CANARYtok123"
STORE = f"s3://AKIA:{SECRET}@127.0.0.1/b"
PRIVATE = {"meta.json", "query.pickle", "graph.pickle"}
"""Files of the job's folder that its processes need it from."""


def shown(job: sl.Job, home: Path) -> Iterator[tuple[str, str]]:
    """Yield everything that is shown of a job, with its name."""
    for name in ("explain", "diagnosis", "report", "log", "_repr_html_", "__repr__"):
        yield name, str(getattr(job, name)())
    yield "exception", "".join(traceback.format_exception(job.exception)) if job.exception else ""
    yield "checkpoints", str(job.checkpoints.to_frame().rows())
    for command in (["jobs", "--json"], ["logs", job.name], ["checkpoints", job.name, "--json"], ["metrics", "--once"]):
        yield " ".join(command), CliRunner().invoke(app, command).output
    for path in (home / "jobs" / job.id).rglob("*"):
        if path.is_file() and path.name not in PRIVATE and not path.name.startswith("graph-"):
            yield str(path), path.read_bytes().decode(errors="replace")


def failure_of(call: Callable[[], object]) -> str:
    """Return the whole traceback that a user sees."""
    try:
        call()
    except sl.StreamlabError:
        return traceback.format_exc()
    return ""


@pytest.mark.parametrize("kind", ["store", "duckdb"])
def test_nothing_that_is_shown_of_a_job_holds_it(kind, home, tmp_path, monkeypatch):
    source = sl.from_frame(pl.DataFrame({"a": [1, 2]}))
    if kind == "store":
        # The store is out of reach only when the job has been started.
        monkeypatch.setattr(Blobs, "check_usable", lambda self: None)
        job = source.start(kind, checkpoint_store=STORE, checkpoint_every="1s", max_restarts=0)
    else:
        job = source.sink_duckdb(f"{tmp_path}/x.db?motherduck_token={SECRET}", "t", name=kind)
    failure = failure_of(lambda: job.wait(60))
    assert bool(failure) == (kind == "store")
    assert SECRET not in failure
    assert [name for name, text in shown(job, home) if SECRET in text] == []


def test_no_error_of_a_call_holds_it():
    source = sl.from_frame(pl.DataFrame({"a": [1, 2]}))
    calls = [
        lambda: source.sink_duckdb(f"/no/x.db?motherduck_token={SECRET}", "t"),
        lambda: source.sink_postgres(f"postgresql://me:{SECRET}@127.0.0.1:1/x", "t"),
        lambda: source.sink_postgres(f"host=127.0.0.1 port=1 password={SECRET}", "t"),
        lambda: source.start("q", checkpoint_store=STORE),
        lambda: source.start("q", checkpoint_store=f"memory://me:{SECRET}@x"),
        lambda: source.start("q", checkpoint_store=f"ftp://me:{SECRET}@127.0.0.1:1/x"),
        lambda: source.start("q", from_savepoint=f"ftp://me:{SECRET}@127.0.0.1:1/x"),
        lambda: source.start("q", from_savepoint=f"https://127.0.0.1:1/b?sig={SECRET}"),
        lambda: source.start("q", from_savepoint=STORE),
    ]
    failures = [failure_of(call) for call in calls]
    assert all(failures)
    assert [failure for failure in failures if SECRET in failure] == []
