"""Two processes that are started in the same surroundings get the same; whatever changes is noticed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamlab.runtime.process.surroundings import Surroundings


def test_they_stay_the_same():
    assert Surroundings.now() == Surroundings.now()


@contextmanager
def other_umask() -> Iterator[None]:
    before = os.umask(0o027)
    os.umask(before ^ 0o010)
    yield
    os.umask(before)


@contextmanager
def fewer_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("change", [other_umask, fewer_files])
def test_what_is_inherited_counts(change: Callable):
    before = Surroundings.now()
    with change():
        assert Surroundings.now() != before
    assert Surroundings.now() == before


def test_variables_the_folder_and_the_path_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    before = [Surroundings.now()]
    monkeypatch.setenv("MINE", "1")
    before.append(Surroundings.now())
    monkeypatch.chdir(tmp_path)
    before.append(Surroundings.now())
    monkeypatch.setattr(sys, "path", [*sys.path, "/mine"])
    before.append(Surroundings.now())
    assert len(set(before)) == 4
    assert before[-1].environment["PYTHONPATH"].endswith("/mine")
    assert before[-1].folder == str(tmp_path)


@pytest.mark.parametrize("own", ["", "dirty_decay_ms:1"])
def test_that_polars_was_imported_does_not_count(own: str):
    """It changes a variable, which its workers would then take for the user's."""
    code = """from streamlab.runtime.process.surroundings import Surroundings
before = Surroundings.now()
import os, polars
assert "500" in os.environ["_RJEM_MALLOC_CONF"]
print(Surroundings.now() == before, before.environment.get("_RJEM_MALLOC_CONF", ""))"""
    environment = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    environment |= {"_RJEM_MALLOC_CONF": own} if own else {}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=100
    )
    assert done.stdout == f"True {own}\n"
