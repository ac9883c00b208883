"""A job's page, without a browser: what it sends while the job runs, has ended, and was deleted."""

from __future__ import annotations

import shutil
from typing import Any

import polars as pl
import pytest
from bokeh.document import Document

import streamlab as sl
from streamlab.dashboard import job_page
from streamlab.dashboard.job_page import JobPage


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect the frames that pages send."""
    frames: list[dict[str, Any]] = []

    class Transport:
        def __init__(self, *_: object) -> None:
            pass

        def send(self, frame: dict[str, Any]) -> None:
            frames.append(frame)

    monkeypatch.setattr(job_page, "Transport", Transport)
    monkeypatch.setattr(job_page, "_REST", 0)
    return frames


@pytest.fixture
def ended() -> sl.Job:
    job = sl.from_frame(pl.DataFrame({"n": [1, 2, 3]})).start("ended")
    job.wait(100)
    return job


def opened(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[JobPage, Document]:
    document = Document()
    monkeypatch.setattr(job_page.page, "argument", lambda *_: name)
    return JobPage(document), document


def test_a_job_that_was_deleted_says_so_once(
    ended: sl.Job, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, _ = opened(monkeypatch, ended.id)
    page._tick()
    (first,) = sent
    assert first["head"]["state"] == "finished"
    assert first["body"]["left"] == 3
    shutil.rmtree(ended._handle.folder.path)
    for _ in range(3):
        page._tick()
    last = sent[1]
    assert len(sent) == 2
    assert last["body"]["left"] == 3
    assert "nothing any more" in last["said"]["text"]
    assert last["said"]["error"]


def test_a_job_that_there_is_not(sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    _, document = opened(monkeypatch, "nowhere")
    assert "No such job" in document.template_variables["html"]
    assert sent == []
