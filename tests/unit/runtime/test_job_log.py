"""A log keeps its newest part, whoever holds it open."""

from __future__ import annotations

import pytest

from streamlab.runtime.process.job_log import limit_log, read_log

LINE = "x" * 9 + "\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "worker-0.log"


def test_a_short_log_stays_as_it_is(path):
    path.write_text(LINE * 10)
    limit_log(path, 100)
    assert path.read_text() == read_log(path) == LINE * 10


def test_a_log_that_is_not_there_is_empty(path):
    limit_log(path)
    assert read_log(path) == ""


def test_the_newest_whole_lines_are_kept_and_writers_write_on(path):
    with path.open("ab", buffering=0) as writer:
        for number in range(1000):
            writer.write(f"{number:>9}\n".encode())
            limit_log(path, 105)
            assert path.stat().st_size <= 105
            kept = [int(line) for line in read_log(path).splitlines()]
            assert kept == list(range(number + 1))[-len(kept) :]
            assert len(kept) >= min(number + 1, 10)
            assert len(kept) <= 21


@pytest.mark.parametrize("newest", [25, 50, 104, 140, 10_000])
def test_the_end_of_a_log_is_read_alone(path, newest):
    for number in range(25):
        with path.open("ab") as writer:
            writer.write(f"{number:>9}\n".encode())
        limit_log(path, 100)
    whole, end = read_log(path), read_log(path, newest)
    assert path.with_suffix(".earlier").exists()
    assert whole.endswith(end)
    assert len(end) <= newest
    # Whole lines, as many as fit, but for one that may begin just there.
    assert len(end) % 10 == 0
    assert len(end) >= min(len(whole), newest) - 20


@pytest.mark.parametrize("after", ["", "\n", "\nend\n"])
def test_of_a_line_that_is_too_long_the_end_is_read(path, after):
    path.write_text("first\n" + "y" * 1000 + "z" + after)
    assert read_log(path, 100) == "…" + "y" * (100 - len(after) - 4) + "z" + after
    path.with_suffix(".earlier").write_text("y" * 1000 + "\n")
    path.write_text("short\n")
    assert read_log(path, 100) == "…" + "y" * 90 + "\nshort\n"


def test_of_a_log_that_is_one_line_the_end_is_kept(path):
    path.write_text("x" * 200 + "\n")
    limit_log(path, 100)
    assert read_log(path) == "…" + "x" * 96 + "\n"


def test_output_without_line_breaks_is_kept_as_far_as_it_goes(path):
    path.write_bytes("é".encode() * 60)
    limit_log(path, 98)
    assert set(read_log(path)) == {"…", "\N{REPLACEMENT CHARACTER}", "é"}


def test_a_disk_without_room_for_the_newest_part_still_frees_the_rest(path):
    path.with_suffix(".earlier").mkdir()
    path.write_text(LINE * 11)
    limit_log(path, 100)
    assert path.stat().st_size == 0
    assert read_log(path) == ""
