"""Lines of JSON from a TCP server, as a live stream. Not replayable: a job that must be is given a recording of it."""

from __future__ import annotations

import os
import socket as net
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamlab.connectors.contracts.dead_letters import Letter, letters
from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import DurationLike, Pace, check_timing, timing
from streamlab.connectors.formats.base import complete_schema
from streamlab.connectors.formats.ndjson import NdjsonFormat, parse_objects
from streamlab.core.errors import OptionError, SourceError, explained
from streamlab.core.event_time.time import Duration

STEP = "socket"
MAX_LINE_BYTES = 16 * 2**20
_RECEIVE_BYTES = 2**20
_MAX_PORT = 65_535
_RETRY_US = (100_000, 5_000_000)
_CONNECT_US = 10_000_000


def socket(
    host: str,
    port: int,
    *,
    schema: Mapping[str, Any],
    reconnect: DurationLike | None = None,
    on_error: Any = None,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> SocketSource:
    """Return a source that connects to a TCP server and reads one JSON object a line.

    Parameters
    ----------
    host, port
        Where the server listens.
    schema
        Columns and dtypes; what a socket sends cannot be looked at beforehand.
    reconnect
        For how long a server that cannot be reached, or that hung up, is tried again. By default a server that hangs
        up ends the stream, and one that cannot be reached fails it.
    on_error
        ``"fail"`` or ``"dead_letter"``: what happens to a line that cannot be read.
    event_time, watermark, idle_timeout, pace, max_advance
        See :func:`~streamlab.connectors.contracts.timing.timing`.

    Raises
    ------
    OptionError
        If host or port cannot be meant so.
    PlanError
        If JSON cannot hold the schema, or the event time is no time column.

    Notes
    -----
    What a socket sends comes once. A job that takes checkpoints writes it into a recording before it uses it, and goes
    on from there after a failure; what is sent while nobody is connected is lost.

    Examples
    --------
    ``sl.socket("localhost", 9999, schema={"at": pl.Datetime, "n": pl.Int64}, event_time="at", watermark="5s")``
    """
    if not isinstance(host, str) or not host:
        raise OptionError(explained(STEP, needed="a host name or address", got=repr(host)))
    if not isinstance(port, int) or not 0 < port <= _MAX_PORT:
        raise OptionError(explained(STEP, needed="a port between 1 and 65535", got=repr(port)))
    if on_error not in {None, "fail", "dead_letter"}:
        raise OptionError(explained(STEP, needed="on_error to be 'fail' or 'dead_letter'", got=repr(on_error)))
    columns = complete_schema(STEP, schema)
    NdjsonFormat().check_schema(columns)
    said = timing(event_time, watermark, idle_timeout, pace, max_advance)
    check_timing(STEP, columns, said)
    again = Duration.parse(reconnect, name="reconnect") if reconnect is not None else None
    return SocketSource(STEP, columns, host, port, again, timing=said, on_error=on_error)


@dataclass(frozen=True)
class SocketSource(Source):
    """Reads lines from a server.

    Attributes
    ----------
    host : str
    port : int
        Where the server listens.
    reconnect : Duration | None
        For how long a lost server is tried again.
    """

    host: str
    port: int
    reconnect: Duration | None = field(default=None)

    @property
    def bounded(self) -> bool:
        """Ends only when the server hangs up, which nobody can count on."""
        return False

    @property
    def replayable(self) -> bool:
        """What was received is gone from the server."""
        return False

    @property
    def max_parallelism(self) -> int | None:
        """One connection."""
        return 1

    def splits(self) -> Sequence[Split]:
        """One: the connection."""
        return [Split(f"{self.host}:{self.port}")]

    def open(self, split: Split, position: Position) -> SplitReader:
        """Connect, whatever the position: it only counts lines."""
        return _SocketReader(self, int(str(position)))

    def describe(self) -> str:
        """Say which server."""
        return f"{self.name}: {self.host}:{self.port}"


class _SocketReader(SplitReader):
    """Never blocks, but for the name look-up."""

    def __init__(self, source: SocketSource, position: int) -> None:
        self._source = source
        self._lines_before = position
        self._socket: net.socket | None = None
        self._connected = False
        self._buffer = bytearray()
        self._ready: deque[bytes] = deque()
        self._dropping = False
        self._over = False
        self._lost_us: int | None = None
        self._retry_at_us = 0
        self._retry_us = _RETRY_US[0]
        self._connecting_us = 0

    @property
    def done(self) -> bool:
        return self._over and not self._ready

    def read(self, limit: int, now_us: int) -> Read | None:
        found: list[Letter] = []
        if not self._over and len(self._ready) < limit:
            self._receive(now_us, found)
        lines = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        if not lines and not found:
            return None
        parsed = parse_objects(b"\n".join(lines), self._source.schema, self._lines_before + 1)
        where = f"{self._source.host}:{self._source.port}"
        found += [(why, text, f"{where}, line {line}") for line, why, text in parsed.bad]
        self._lines_before += len(lines)
        dead = letters(self._source.name, found)
        return Read(parsed.frame, self._lines_before, parsed.frame.height, dead_letters=dead)

    def wakeup_us(self, now_us: int) -> int | None:
        if self._ready:
            return now_us
        return self._retry_at_us if self._socket is None and self._lost_us is not None else None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._connected = False

    # -- the connection ------------------------------------------------------------------------------------------

    def _receive(self, now_us: int, found: list[Letter]) -> None:
        try:
            if not self._connect(now_us) or self._socket is None:
                return
            data = self._socket.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(now_us, error.strerror or str(error))
            return
        if not data:
            self._lose(now_us, "the server hung up")
            return
        self._take(data, found)

    def _connect(self, now_us: int) -> bool:
        """Return whether there is a connection; start or continue to make one."""
        if self._connected:
            return True
        if self._socket is None:
            if 0 < self._retry_at_us - now_us <= _RETRY_US[1]:
                return False
            family, kind, protocol, _, address = net.getaddrinfo(
                self._source.host, self._source.port, type=net.SOCK_STREAM
            )[0]
            self._socket = net.socket(family, kind, protocol)
            self._socket.setblocking(False)
            self._connecting_us = now_us
            self._socket.connect_ex(address)
        error = self._socket.getsockopt(net.SOL_SOCKET, net.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        try:
            self._socket.getpeername()
        except OSError:
            if now_us - self._connecting_us > _CONNECT_US:
                raise TimeoutError(0, "no answer") from None
            return False
        self._connected, self._lost_us, self._retry_us = True, None, _RETRY_US[0]
        return True

    def _lose(self, now_us: int, why: str) -> None:
        """Give up, or note when to try again. A last line without an end still counts."""
        was_connected = self._connected
        self.close()
        if self._buffer and not self._dropping:
            self._ready.append(bytes(self._buffer))
        self._buffer.clear()
        self._dropping = False
        patience = self._source.reconnect.fixed_us("reconnect") if self._source.reconnect else 0
        if self._lost_us is None:
            self._lost_us = now_us
        if now_us - self._lost_us < patience:
            self._retry_at_us = now_us + self._retry_us
            self._retry_us = min(self._retry_us * 2, _RETRY_US[1])
            return
        self._over = True
        if not was_connected and not self._lines_before and not self._ready:
            where = f"{self._source.host}:{self._source.port}"
            hint = "start the server first, or give reconnect='1m'"
            raise SourceError(explained(self._source.name, needed=f"a server at {where}", got=why, hint=hint))

    def _take(self, data: bytes, found: list[Letter]) -> None:
        *whole, rest = data.split(b"\n")
        for line in whole:
            if not self._dropping:
                self._ready.append(bytes(self._buffer) + line)
            self._buffer.clear()
            self._dropping = False
        if not self._dropping:
            self._buffer += rest
        if len(self._buffer) > MAX_LINE_BYTES:
            text = self._buffer[:1_000].decode("utf-8", "replace")
            found.append((f"a line longer than {MAX_LINE_BYTES:,} bytes", text, self._source.describe()))
            self._buffer.clear()
            self._dropping = True
