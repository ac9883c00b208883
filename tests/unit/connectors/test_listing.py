"""Listing files again and again: the same as looking everywhere each time, at the cost of what is new."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlab.connectors.files import listing
from streamlab.connectors.files.listing import FileListing
from streamlab.connectors.files.paths import is_hidden
from streamlab.core.errors import SourceError

PARTS = st.sampled_from(["a", "b", ".h", "_u", "x1", "f1.csv", "f10.csv", "f2.csv", "g.txt", ".z.csv", "f.csv.tmp"])
PATTERNS = [
    "*.csv",
    "*/*.csv",
    "**/*.csv",
    "**",
    "a/**",
    "**/f?.csv",
    "x[12]/*.csv",
    "**/a/**/*.csv",
    ".h/*.csv",
    "*/f1.csv",
]
changes = st.lists(st.tuples(st.sampled_from(["put", "put", "put", "delete"]), st.lists(PARTS, min_size=1, max_size=3)))


def change(root: Path, what: str, parts: list[str]) -> None:
    path = root.joinpath(*parts)
    if what == "delete":
        shutil.rmtree(path, ignore_errors=True)
        if path.is_file():
            path.unlink()
    elif not any(parent.is_file() for parent in path.parents) and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def looked_up(root: Path, pattern: str | None) -> set[str]:
    if pattern is None:
        below = (os.path.join(at, name) for at, _, names in os.walk(root) for name in names if name.endswith(".csv"))
        return {path for path in below if not any(map(is_hidden, Path(path).relative_to(root).parts))}
    found = glob.iglob(os.path.join(root, pattern), recursive=True)
    return {path for path in found if os.path.isfile(path)}


@pytest.mark.parametrize("pattern", [None, *PATTERNS])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(changes, min_size=1, max_size=4))
def test_each_look_gives_what_is_new(
    pattern: str | None, steps: list, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("root")
    now = [0.0]
    files = FileListing("step", [str(root / pattern) if pattern else str(root)], [".csv"], clock=lambda: now[0])
    before: set[str] = set()
    for step in steps:
        for what, parts in step:
            change(root, what, parts)
        now[0] += 1
        there = looked_up(root, pattern)
        got = files.new_files()
        assert len(set(got)) == len(got)
        assert set(got) == there - before
        before = there


def test_a_folder_that_stands_still_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, now = [], [0.0]
    scandir = os.scandir
    monkeypatch.setattr(listing.os, "scandir", lambda path: read.append(path) or scandir(path))
    (tmp_path / "a.csv").write_text("")
    files = FileListing("step", [str(tmp_path)], [".csv"], clock=lambda: now[0])
    for tenth in range(200):
        now[0] = tenth / 10
        files.new_files()
    # As long as its time may be too coarse to tell, and once in ten seconds.
    assert 20 < len(read) < 35


def test_a_change_within_the_step_of_coarse_times_is_seen(tmp_path: Path) -> None:
    now = [0.0]
    files = FileListing("step", [str(tmp_path)], [".csv"], clock=lambda: now[0])
    assert files.new_files() == []
    for second in range(4):
        now[0] = float(second) / 2
        (tmp_path / f"{second}.csv").write_text("")
        os.utime(tmp_path, ns=(0, 0))
        assert files.new_files() == [str(tmp_path / f"{second}.csv")]


def test_a_change_that_no_time_tells_is_seen_in_the_end(tmp_path: Path) -> None:
    now = [0.0]
    os.utime(tmp_path, ns=(0, 0))
    files = FileListing("step", [str(tmp_path)], [".csv"], clock=lambda: now[0])
    for second in range(6):
        now[0] = float(second)
        files.new_files()
    (tmp_path / "a.csv").write_text("")
    os.utime(tmp_path, ns=(0, 0))
    assert files.new_files() == []
    now[0] = 20.0
    assert files.new_files() == [str(tmp_path / "a.csv")]


def test_order_is_natural_and_each_path_by_itself(tmp_path: Path) -> None:
    for name in ("f10.csv", "f2.csv", "x.csv", "y.txt"):
        (tmp_path / name).write_text("")
    files = FileListing("step", [str(tmp_path / "y.txt"), str(tmp_path), str(tmp_path / "*.csv")], [".csv"])
    assert [os.path.basename(path) for path in files.new_files()] == ["y.txt", "f2.csv", "f10.csv", "x.csv"]
    assert files.new_files() == []


def test_a_folder_that_is_away_for_a_while_has_nothing_new(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.csv").write_text("")
    files = FileListing("step", [str(folder)], [".csv"], may_be_gone=True)
    assert [os.path.basename(path) for path in files.new_files()] == ["1.csv"]
    folder.rename(tmp_path / "away")
    assert files.new_files() == files.new_files() == []
    (tmp_path / "away").rename(folder)
    (folder / "2.csv").write_text("")
    assert [os.path.basename(path) for path in files.new_files()] == ["1.csv", "2.csv"]


def test_a_glob_stands_for_hidden_files_unless_it_is_followed(tmp_path: Path) -> None:
    for name in ("_a.csv", ".b.csv", "c.csv", "d.csv.tmp"):
        (tmp_path / name).write_text("")

    def names(path: Path, *, leaves_hidden: bool = False) -> list[str]:
        files = FileListing("step", [str(path)], [".csv"], leaves_hidden=leaves_hidden)
        return [os.path.basename(path) for path in files.new_files()]

    assert names(tmp_path) == ["c.csv"]
    assert names(tmp_path / "*.csv*") == ["_a.csv", "c.csv", "d.csv.tmp"]
    assert names(tmp_path / ".*.csv") == [".b.csv"]
    assert names(tmp_path / "*.csv*", leaves_hidden=True) == ["c.csv"]


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a file, folder or glob"):
        FileListing("step", [str(tmp_path / "none.csv")], [".csv"]).new_files()
