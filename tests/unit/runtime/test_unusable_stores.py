"""A store that cannot be used is refused at the start, and hints fit the cause."""

from __future__ import annotations

import os
from errno import EACCES, EDQUOT, ENOSPC

import polars as pl
import pytest

import streamlab as sl
from streamlab.runtime.coordinator.job_failures import folder_failed, last_checkpoint_failed


@pytest.mark.parametrize("place", ["/proc/nope", "/dev/null", "/dev/null/below", "ftp://127.0.0.1:1/x", "s9://x"])
def test_a_store_that_cannot_be_used_is_refused_by_start(place):
    with pytest.raises(sl.StreamlabError, match=place):
        sl.from_frame(pl.DataFrame({"a": [1]})).start("q", checkpoint_store=place)
    assert sl.jobs() == []


def test_a_store_that_can_be_used_holds_nothing_but_what_the_job_writes(tmp_path):
    job = sl.from_frame(pl.DataFrame({"a": [1]})).start("q", checkpoint_store=tmp_path / "deep" / "store")
    job.wait(60)
    assert [path.name for path in (tmp_path / "deep" / "store").iterdir()] == [job.id]


@pytest.mark.parametrize("failed", [folder_failed, last_checkpoint_failed])
def test_only_a_full_disk_is_to_be_emptied(failed):
    for number, is_full in ((ENOSPC, True), (EDQUOT, True), (EACCES, False)):
        assert ("free some space" in failed("j", os.strerror(number)).message) == is_full
