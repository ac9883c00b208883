"""Rotation by copies (``copytruncate``), and numbers of files used again: each record once, whoever restarts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_growing_files import RUNS, add, advance, begun, numbers, restarted, source


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while RUNS:
        RUNS.pop().reader.close()


def copy_and_empty(log: Path) -> None:
    behind = sorted(log.parent.glob(f"{log.name}.*"), reverse=True)
    for path in behind:
        path.rename(f"{log}.{int(path.suffix[1:]) + 1}")
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("is_down", [False, True])
def test_a_copy_of_what_was_read_is_left_alone(tmp_path: Path, *, restarts: bool, is_down: bool) -> None:
    log = tmp_path / "app.csv"
    run = begun(source(add_first(log)))
    advance(run, 1)
    for number in range(2, 6):
        add(log, number)
        advance(run, 1)
        copy_and_empty(log)
        if restarts and is_down:
            run = restarted(run)
        add(log, 10 * number)
        advance(run, 2)
        if restarts and not is_down:
            run = restarted(run)
    advance(run, 20)
    assert sorted(numbers(run)) == [1, 2, 3, 4, 5, 20, 30, 40, 50]
    assert {reason.partition(",")[0] for reason in run.reasons} == {"it was emptied after it was read"}


def add_first(log: Path) -> Path:
    add(log, 1)
    return log


def test_a_file_that_was_emptied_and_then_renamed_is_not_read_again_after_its_end(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    run = begun(source(add_first(log)))
    advance(run, 1)
    os.truncate(log, 0)
    log.write_text("n,word\n2,w2\n")
    advance(run, 1)
    log.rename(tmp_path / "app.csv.1")
    add(log, 3)
    advance(run, 20)
    assert sorted(numbers(run)) == [1, 2, 3]
    run = restarted(run)
    advance(run, 20)
    assert sorted(numbers(run)) == [1, 2, 3]


def test_a_file_with_the_number_of_one_that_is_gone_is_another_file(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    run = begun(source(add_first(log)))
    advance(run, 1)
    number = log.stat().st_ino
    # Who has renamed it, written other text into it, and moved another one in its place, has used its number again.
    log.rename(tmp_path / "app.csv.1")
    (tmp_path / "app.csv.1").write_text("n,word\n7,w7\n8,w8\n")
    add(log, 3)
    assert (tmp_path / "app.csv.1").stat().st_ino == number
    run = restarted(run)
    advance(run, 20)
    assert sorted(numbers(run)) == [1, 3, 7, 8]
    assert any("it is not there any more" in reason for reason in run.reasons)


def test_files_behind_a_name_that_is_not_there_at_the_moment_are_found(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    run = begun(source(add_first(log)))
    advance(run, 1)
    log.rename(tmp_path / "app.csv.1")
    add(log, 2)
    (tmp_path / "app.csv.1").rename(tmp_path / "app.csv.2")
    log.rename(tmp_path / "app.csv.1")
    run = restarted(run)
    advance(run, 2)
    assert sorted(numbers(run)) == [1, 2]


def test_a_file_that_is_emptied_while_a_chunk_of_it_is_given_out_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    add(log, *range(1, 6))
    run = begun(source(log), batch_rows=3)
    run.poll(run.now_us)
    assert numbers(run) == [1, 2, 3]
    os.truncate(log, 0)
    add(log, *range(10, 20))
    advance(run, 2)
    assert sorted(numbers(run)) == [1, 2, 3, 4, 5, *range(10, 20)]
    assert len(run.reasons) == 1
