"""A PostgreSQL server for tests, from the system's packages: in a folder of its own, on a Unix socket only."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PLACES = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin")
_OWNER = "postgres"
"""PostgreSQL refuses to run as root; its packages make this user."""
_SETTINGS = "-c listen_addresses='' -c fsync=off -c shared_buffers=16MB -c max_connections=30"
_TIMEOUT_S = 60
_ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
"""Nothing of the test's own: the server outlives the test that starts it."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Yield the connection string of a server that lives as long as the tests."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server installed; `make test` installs one on Debian and Ubuntu when run as root")
    with _server(programs) as dsn:
        yield dsn


@contextmanager
def running_server() -> Iterator[str]:
    """Run a server for something else than pytest. Raises FileNotFoundError when none is installed."""
    programs = _programs()
    if programs is None:
        text = "no PostgreSQL server installed: .ci/install-postgresql does it"
        raise FileNotFoundError(text)
    with _server(programs) as dsn:
        yield dsn


def _programs() -> Path | None:
    found = [path for place in _PLACES for path in Path("/").glob(place.lstrip("/")) if (path / "initdb").exists()]
    on_path = shutil.which("initdb")
    return max(found, default=Path(on_path).parent if on_path else None, key=str)


@contextmanager
def _server(programs: Path) -> Iterator[str]:
    # Not in pytest's folders: the path of a socket must be short, and the server's user must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="sl-pg-", dir="/tmp"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, _OWNER)
        shutil.chown(data, _OWNER)
    try:
        _run(
            programs / "initdb", "-D", data, "-U", _OWNER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N", cwd=folder
        )
        options = f"{_SETTINGS} -c unix_socket_directories={folder}"
        start = ("-D", data, "-o", options, "-l", folder / "log", "-w", "-t", _TIMEOUT_S, "start")
        _run(programs / "pg_ctl", *start, cwd=folder)
        try:
            yield f"host={folder} user={_OWNER} dbname=postgres"
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop", cwd=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: object, cwd: Path) -> None:
    words = [str(word) for word in command]
    if os.getuid() == 0:
        words = ["setpriv", f"--reuid={_OWNER}", f"--regid={_OWNER}", "--clear-groups", *words]
    # The server keeps what it is given as its output: it must not be ours.
    with (cwd / "output").open("ab") as output:
        done = subprocess.run(
            words,
            check=False,
            cwd=cwd,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=_TIMEOUT_S,
        )
    assert done.returncode == 0, (cwd / "output").read_text()
