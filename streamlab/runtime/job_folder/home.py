"""The folder that holds everything that streamlab stores for this user, and whether it can be trusted.

What is read from it is acted on: queries are unpickled, jobs are taken over. So it must belong to this user and be
writable by nobody else, as must the folders in it; links in it are not followed.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamlab.core.errors import StateError, explained
from streamlab.core.home import VARIABLE, settle_home

JOBS, RUNNING = "jobs", "running"
_OTHERS_WRITE = 0o022
_LOCK = "lock"
_ELSEWHERE = f"set {VARIABLE} to another folder"


def home() -> Path:
    """Return where it is, or would be, without a look at it."""
    settle_home()
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    import platformdirs  # noqa: PLC0415 - workers and coordinators are told their folder and never need it

    return Path(platformdirs.user_state_dir("streamlab"))


def trusted_home() -> Path:
    """Return where it is; it need not be there yet.

    Raises
    ------
    StateError
        If it, or a folder in it, is not this user's or can be written by others; the text has the line that mends it.
    """
    path = home()
    try:
        link = path.lstat()
        if stat.S_ISLNK(link.st_mode) and link.st_uid not in {os.getuid(), 0}:
            raise _refused(path, "a link of another user's", f"rm {_quoted(path)}")
        _check(path, path.stat())
        for name in (JOBS, RUNNING):
            folder = path / name
            if os.path.lexists(folder):
                _check(folder, folder.lstat())
    except FileNotFoundError:
        return path
    except OSError as error:
        raise _unusable(path, error) from error
    return path


def prepared_home() -> Path:
    """Return where it is, made if need be. Raises StateError as `trusted_home` does, and if it cannot be made."""
    path = home()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        trusted_home()
        (path / JOBS).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error
    return path


@contextmanager
def registry_lock() -> Iterator[None]:
    """Hold the one lock under which a job's name is checked and its folder made. Raises StateError."""
    path = prepared_home()
    try:
        lock = open_private(path / _LOCK)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def open_private(path: Path) -> int:
    """Open a file of this user's alone for writing, made if need be, as it is. Raises StateError for a link."""
    if path.is_symlink():
        raise _refused(path, "a link", f"rm {_quoted(path)}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def is_private_folder(path: Path) -> bool:
    """Return whether a path is a folder, no link to one, that belongs to this user and that others cannot write."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & _OTHERS_WRITE


def _check(path: Path, facts: os.stat_result) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise _refused(path, "a link", f"rm {_quoted(path)}")
    if not stat.S_ISDIR(facts.st_mode):
        raise _refused(path, "something that is no folder", _ELSEWHERE)
    if facts.st_uid != os.getuid():
        raise _refused(path, f"one of user {facts.st_uid}", _ELSEWHERE)
    if facts.st_mode & _OTHERS_WRITE:
        raise _refused(path, f"one with the mode {stat.S_IMODE(facts.st_mode):o}", f"chmod go-w {_quoted(path)}")


def _refused(path: Path, got: str, hint: str) -> StateError:
    needed = f"{path} to be a folder of this user's that nobody else can write"
    return StateError(explained("streamlab's home", needed=needed, got=got, hint=hint))


def _unusable(path: Path, error: OSError) -> StateError:
    needed = f"a writable folder with free space at {path}"
    return StateError(explained("streamlab's home", needed=needed, got=f"{error.strerror or error}", hint=_ELSEWHERE))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
