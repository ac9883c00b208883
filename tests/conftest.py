"""What all tests share: folders of their own, and the proof that nothing is left behind.

A test that started a job is followed by a look at everything that a job uses: its coordinator and workers, its sockets,
shared memory, temporary files. What a test leaves running fails that very test, and is ended so that the others can go
on. Processes of any other kind are looked for once per file.

Examples made by Hypothesis are the same in each run and may take any time, so that a run says something about the code
and not about the machine. ``--hypothesis-profile=exploring`` looks at others each time. For the same reason Polars has
one thread, as in workers: with more, the order of groups and the last digits of floats are a matter of luck.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings
from postgres_server import postgres  # noqa: F401 - a fixture

GRACE_S = 10.0
"""How long what a test has ended may take to be gone."""
_SHARED_MEMORY = Path("/dev/shm")
_saved: dict[str, str | None] = {}

# Before anything imports Polars, which looks at it once.
os.environ["POLARS_MAX_THREADS"] = "1"

settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("repeatable", settings.get_profile("exploring"), derandomize=True)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Point jobs, sockets and temporary files to folders of this test run; the paths of sockets must be short."""
    root = Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp"))
    # pytest's own temporary folders stay where they are, to be looked at after a failure.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    places = {"STREAMLAB_HOME": root / "home", "XDG_RUNTIME_DIR": root / "run", "TMPDIR": root / "tmp"}
    for folder in places.values():
        folder.mkdir(mode=0o700)
    # Most tests start one job: spares for the next would only take processor time. Those about spares say "on".
    for variable, value in {**places, "STREAMLAB_SPARES": "off"}.items():
        _saved[variable] = os.environ.get(variable)
        os.environ[variable] = str(value)
    tempfile.tempdir = None
    config.stash[_ROOT] = root


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove those folders."""
    for variable, value in _saved.items():
        if value is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = value
    tempfile.tempdir = None
    shutil.rmtree(config.stash[_ROOT], ignore_errors=True)


_ROOT = pytest.StashKey[Path]()


@pytest.fixture(autouse=True)
def nothing_left_of_jobs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give a test a home of its own, so that it sees its own jobs only, and fail it if it leaves something of one."""
    root = request.config.stash[_ROOT]
    home = Path(tempfile.mkdtemp(prefix="home-", dir=root))
    monkeypatch.setenv("STREAMLAB_HOME", str(home))
    sockets_before, files_before = _sockets(root), set(_entries(root / "tmp"))
    yield
    # Jobs whose folders are gone are told by what they have left elsewhere.
    if _entries(home / "jobs") or _sockets(root) != sockets_before:
        left = _wait_until_gone(lambda: _left_of_jobs(root, files_before))
        _end(_of_jobs(root))
        assert not left, f"left behind: {', '.join(left)}"
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def kept_processes() -> set[int]:
    """Return the ids of processes, such as servers, that tests of several files share; their children are theirs."""
    return set()


@pytest.fixture(autouse=True, scope="module")
def no_process_left(kept_processes: set[int]) -> Iterator[None]:
    """Fail the last test of a file that leaves a process."""
    before = set(_children(kept_processes))

    def new() -> list[psutil.Process]:
        return [child for child in _children(kept_processes) if child not in before]

    yield
    left = _wait_until_gone(lambda: [_named(child) for child in new()])
    _end(new())
    assert not left, f"left running: {', '.join(left)}"


def _sockets(root: Path) -> list[Path]:
    return _entries(root / "run" / "streamlab")


def _left_of_jobs(root: Path, files_before: set[Path]) -> list[str]:
    processes = [_named(process) for process in _of_jobs(root)]
    sockets = [f"sockets {entry}" for entry in _sockets(root)]
    memory = [f"shared memory {entry}" for entry in _entries(_SHARED_MEMORY) if entry.name.startswith("streamlab")]
    files = [f"temporary file {entry}" for entry in _entries(root / "tmp") if entry not in files_before]
    return [*processes, *sockets, *memory, *files]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _children(kept: set[int]) -> list[psutil.Process]:
    alive = []
    own = psutil.Process()
    for child in own.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            is_kept = any(process.pid in kept for process in (child, *child.parents()))
            if not is_kept and child.status() != psutil.STATUS_ZOMBIE:
                alive.append(child)
    return alive


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return []


def _named(process: psutil.Process) -> str:
    return f"process {process.pid} ({' '.join(_command(process))[:120]})"


def _wait_until_gone(look: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + GRACE_S
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _of_jobs(root: Path) -> list[psutil.Process]:
    """Find the processes of jobs of this test run, whoever their parent is now."""
    commands = [(process, " ".join(_command(process))) for process in psutil.process_iter()]
    return [process for process, command in commands if "streamlab.runtime" in command and str(root) in command]


def _end(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
