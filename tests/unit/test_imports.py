"""What is not imported before it is needed: a start waits for every import of the processes that it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

NOTEBOOK = {"IPython", "ipywidgets", "anywidget", "bokeh"}
LIBRARIES = {"pandas", "pyarrow", "psutil", "cloudpickle", "fsspec", "rich", "typer"}
RARE = {"http.server", "statistics", "ssl", "duckdb", "psycopg", "deltalake", "sqlite3"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("streamlab", NOTEBOOK | LIBRARIES | RARE | {"polars", "numpy", "zmq", "msgspec"}),
        ("streamlab.runtime.supervisor.guardian", NOTEBOOK | LIBRARIES | RARE | {"polars", "numpy", "zmq", "msgspec"}),
        (
            "streamlab.runtime.supervisor.coordinator_process",
            NOTEBOOK | LIBRARIES | RARE | {"polars", "numpy", "zmq", "msgspec"},
        ),
        ("streamlab.runtime.supervisor.supervisor", NOTEBOOK | LIBRARIES | RARE | {"polars", "numpy", "zmq"}),
        ("streamlab.runtime.worker.worker", NOTEBOOK | LIBRARIES | RARE),
        ("streamlab.job.sources", NOTEBOOK | (LIBRARIES | RARE) - {"cloudpickle", "psutil"}),
    ],
)
def test_what_is_not_needed_is_not_imported(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=100)
    assert unwanted & set(done.stdout.split()) == set()
