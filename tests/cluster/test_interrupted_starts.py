"""Ctrl-C while a job is being started: afterwards it runs, or there is nothing of it, as the fixtures see to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streamlab as sl
from streamlab.runtime.client import client
from streamlab.runtime.job_folder.folder import JobFolder


def before(function: Callable[..., Any]) -> Callable[..., Any]:
    def interrupted(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    return interrupted


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    def interrupted(*args: Any, **options: Any) -> Any:
        function(*args, **options)
        raise KeyboardInterrupt

    return interrupted


@pytest.mark.parametrize(
    ("where", "name", "when"),
    [
        (JobFolder, "_replace", after),
        (client, "process_id", before),
        (client, "create_sockets_folder", after),
        (client, "layout_of", before),
        (JobFolder, "write_meta", after),
        (client, "_start_coordinator", before),
        (client, "_hand_over", before),
        (client, "_hand_over", after),
    ],
)
def test_nothing_is_left(home: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, when: Any) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(where, name, when(getattr(where, name)))
        with pytest.raises(KeyboardInterrupt):
            sl.from_frame(pl.DataFrame({"n": [1, 2]})).collect()
    assert list(home.glob("jobs/*")) == []
