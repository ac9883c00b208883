"""The token that opens an endpoint of this machine: its address alone is open to every user of the machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from streamlab.core.errors import OptionError, explained

TOKEN_ARGUMENT = "token"  # noqa: S105 - a name, no secret
BEARER = "Bearer "
_LEAST_LENGTH = 20


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def kept_token(path: Path) -> str:
    """Return the token in a file, which is made, for its owner only, when it is not there.

    Raises
    ------
    OptionError
        If the file cannot be read or written, others can read it, or what is in it is too short for a secret.
    """
    try:
        with contextlib.suppress(FileExistsError), open(path, "x", opener=_for_owner) as file:
            file.write(f"{new_token()}\n")
        token, mode = path.read_text(encoding="utf-8").strip(), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(explained("token file", needed=f"{path} to be a file", got=str(error))) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        text = explained("token file", needed=f"{path} for its owner only", got="others have it", hint="chmod 600")
        raise OptionError(text)
    if len(token) < _LEAST_LENGTH:
        needed = f"a token of at least {_LEAST_LENGTH} characters in {path}"
        raise OptionError(explained("token file", needed=needed, got=f"{len(token)}", hint="delete it: one is made"))
    return token


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
