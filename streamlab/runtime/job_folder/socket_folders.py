"""The short-lived folder of a job's sockets: where it is made, and whether one that a file names can be trusted.

A job's ``meta.json`` says where its sockets are. That is a word of a file: it is taken only if it is a folder such as
this module makes for that very job, and what is removed there is sockets alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import warnings
from pathlib import Path

from streamlab.core.errors import StateError, explained

_MAX_LENGTH = 60
"""Socket paths end at 107 bytes on Linux and 103 on macOS; job and socket names need about 30 of them."""
_OTHERS = 0o077
_ROOT_NAME = re.compile(r"streamlab(-[0-9]+(-\w+)?)?")


def create_sockets_folder(job_id: str) -> Path:
    """Make the folder for a job's sockets: short, private, in a place that ends with the session or the boot.

    A root that somebody else has made first, or that is open to others, is left alone with a warning: then the job has
    one of its own. Raises StateError when none can be made.
    """
    root = sockets_folder(job_id).parent
    try:
        root.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        refused = error.strerror or str(error)
    else:
        refused = _refusal(root)
    if refused:
        root = _root_of_one_job(root, refused)
    path = root / job_id
    path.mkdir(mode=0o700)
    return path


def sockets_folder(job_id: str) -> Path:
    """Return where a job's sockets usually go, if it was started in this environment."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given and len(given) < _MAX_LENGTH and Path(given).is_dir():
        return Path(given) / "streamlab" / job_id
    # TMPDIR is too long on macOS.
    return Path("/tmp") / f"streamlab-{os.getuid()}" / job_id  # noqa: S108


def trusted_sockets(path: str | Path, job_id: str) -> Path:
    """Return a job's socket folder, which need not be there any more, if it is one that is made for such a job.

    Raises
    ------
    StateError
        If it is somewhere else, a link, somebody else's, or open to others.
    """
    folder = Path(path)
    is_named_so = folder.is_absolute() and folder.name == job_id and _ROOT_NAME.fullmatch(folder.parent.name)
    refused = "" if is_named_so else "a folder that no job has"
    for place in (folder.parent, folder) if not refused else ():
        if os.path.lexists(place):
            refused = refused or _refusal(place)
    if refused:
        needed, hint = f"sockets at {folder}, a private folder of its own", "its meta.json is not what was written"
        raise StateError(explained(f"job {job_id}", needed=needed, got=f"{refused}; it is left alone", hint=hint))
    return folder


def remove_sockets_folder(path: str | Path, job_id: str) -> None:
    """Delete a job's sockets, and their folder, if that is its own."""
    with contextlib.suppress(OSError, StateError):
        folder = trusted_sockets(path, job_id)
        for entry in list(os.scandir(folder)):
            if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                os.unlink(entry.path)
        folder.rmdir()
        if folder.parent.name.startswith(_prefix()):
            folder.parent.rmdir()


def _root_of_one_job(root: Path, refused: str) -> Path:
    try:
        instead = Path(tempfile.mkdtemp(prefix=_prefix(), dir="/tmp"))
    except OSError as error:
        needed = f"{root} to be a private folder of this user"
        raise StateError(explained("sockets", needed=needed, got=f"{refused}, and no other can be made")) from error
    hint = "chmod 700 it, or have its owner remove it, or set XDG_RUNTIME_DIR to a folder of your own"
    got = f"{refused}; this job has its sockets in {instead}"
    text = explained("sockets", needed=f"{root} to be a private folder of this user", got=got, hint=hint)
    warnings.warn(text, stacklevel=2)
    return instead


def _prefix() -> str:
    return f"streamlab-{os.getuid()}-"


def _refusal(path: Path) -> str:
    """Return why a folder is not private to this user; empty when it is."""
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        return "a link" if stat.S_ISLNK(facts.st_mode) else "no folder"
    if facts.st_uid != os.getuid():
        return f"a folder of user {facts.st_uid}"
    return "a folder open to others" if facts.st_mode & _OTHERS else ""
