"""How clients speak with a job's coordinator: one authenticated request and one answer per connection.

The coordinator listens on a Unix socket in the job's private socket folder. A request is a frame of the keyed BLAKE2b
of the body followed by the body; the key is in the job's folder, which only its owner can read. What is not authentic
is dropped without an answer.
"""

from __future__ import annotations

import hmac
import selectors
import socket
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import msgspec

from streamlab.core.errors import JobError, explained
from streamlab.runtime.messages.pipes import FrameBuffer, framed
from streamlab.runtime.messages.protocol import Request

SOCKET_NAME = "control"
_MAC_BYTES = 32
_MAX_REQUEST = 64 * 1024
_ACCEPTED = b"ok"
_REFUSED = b"no "
_MAX_ANSWER = 4096


def ask(path: Path, key: bytes, request: Request, timeout_s: float = 5.0) -> str:
    """Have a running job's coordinator take a request; returns when it has, with why it refuses: empty if it does not.

    Raises
    ------
    JobError
        If there is no coordinator at that socket, or it does not answer.
    """
    body = msgspec.msgpack.encode(request)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(framed(_mac(body, key) + body))
            answer = b"".join(iter(lambda: connection.recv(_MAX_ANSWER), b""))
    except OSError as error:
        text = explained(type(request).__name__, needed="a running coordinator", got=f"no answer ({error})")
        raise JobError(text) from error
    if answer.startswith(_REFUSED):
        return answer.removeprefix(_REFUSED).decode()
    if answer != _ACCEPTED:
        text = explained(type(request).__name__, needed="a coordinator that accepts this client", got="a refusal")
        raise JobError(text)
    return ""


class ControlServer:
    """The coordinator's side.

    Parameters
    ----------
    path, key
        The socket to listen on and what authenticates clients.
    selector
        Where the sockets are waited for; the data of each registration is what to call when it is ready.
    handle
        Called with each authentic request; returns why it is refused, or nothing.
    """

    def __init__(
        self, path: Path, key: bytes, selector: selectors.BaseSelector, handle: Callable[[Request], str]
    ) -> None:
        self._key = key
        self._selector = selector
        self._handle = handle
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Clients wait for the socket to appear: under its name it must be one that listens already.
        unready = path.with_name(f".{path.name}")
        unready.unlink(missing_ok=True)
        self._listener.bind(str(unready))
        self._listener.listen()
        unready.rename(path)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Stop listening."""
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        frames = FrameBuffer(_MAX_REQUEST)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(connection, frames))

    def _read(self, connection: socket.socket, frames: FrameBuffer) -> None:
        try:
            data = connection.recv(_MAX_REQUEST)
            whole = list(frames.feed(data))
        except (OSError, ValueError):
            data, whole = b"", []
        if data and not whole:
            return
        self._selector.unregister(connection)
        with connection:
            for frame in whole[:1]:
                self._answer(connection, frame)

    def _answer(self, connection: socket.socket, frame: bytes) -> None:
        body = frame[_MAC_BYTES:]
        if not hmac.compare_digest(frame[:_MAC_BYTES], _mac(body, self._key)):
            return
        try:
            request = msgspec.msgpack.decode(body, type=Request)
        except msgspec.MsgspecError:
            return
        refusal = self._handle(request)
        try:
            connection.send(_REFUSED + refusal.encode()[: _MAX_ANSWER - len(_REFUSED)] if refusal else _ACCEPTED)
        except OSError:
            # The client went away; its request stands.
            return


def _mac(body: bytes, key: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=_MAC_BYTES).digest()
