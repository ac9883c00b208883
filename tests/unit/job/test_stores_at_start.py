"""A store of checkpoints elsewhere is written to once when a job is started: an unusable one is refused then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import fsspec
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import streamlab as sl
from streamlab.job.history import places

_goes_on = threading.Event()


class Refusing(MemoryFileSystem):
    protocol = "refusing"

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        message = "AccessDenied: key AKIASECRET may not write"
        raise PermissionError(message)


class Hanging(MemoryFileSystem):
    protocol = "hanging"

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        _goes_on.wait(30)


class Good(MemoryFileSystem):
    protocol = "good"
    store: ClassVar[dict[str, Any]] = {}


@pytest.fixture(autouse=True)
def stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(places, "_PATIENCE_S", 0.5)
    _goes_on.clear()
    for kind in (Refusing, Hanging, Good):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
    yield
    _goes_on.set()


def start(place: str) -> None:
    sl.from_frame(pl.DataFrame({"n": [1]})).start(checkpoint_store=place)


def test_a_store_that_cannot_be_written_to_is_refused_by_start() -> None:
    with pytest.raises(sl.CheckpointError, match=r"writing probe-.* at refusing://bucket/jobs: needs room and"):
        start("refusing://bucket/jobs")
    assert [job for job in sl.jobs() if job.status == "running"] == []


def test_a_store_that_does_not_answer_is_refused_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(sl.CheckpointError, match=r"checkpoint_store hanging://bucket/jobs: needs an answer, got none"):
        start("hanging://bucket/jobs")
    assert time.monotonic() - began < 10


def test_an_address_without_a_library_is_refused_by_start() -> None:
    with pytest.raises(sl.OptionError, match="a folder or a URL that fsspec knows"):
        start("nosuch://bucket/jobs")


def test_a_store_that_can_be_used_is_left_as_it_was() -> None:
    assert places.checkpoint_store("good://bucket/jobs") == "good://bucket/jobs"
    assert [name for name in Good.store if "probe" in name] == []
