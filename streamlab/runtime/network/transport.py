"""How messages travel between the tasks of a job: within a worker by reference, between workers over ZeroMQ.

Every channel is a FIFO with *credit*: the sender may have so many batches on their way, and the receiver gives credit
back for each one that it consumes. Control messages need none. A sender may go below zero within one step of a task
(a window that fires); the task then waits.

Between workers a message is two or three ZeroMQ frames::

    [keyed BLAKE2b of the header][header: msgpack][rows: Arrow IPC stream, uncompressed]

The header names the attempt and numbers the message within its channel. What is not authentic, of another attempt or
repeated is dropped and counted; a gap in the numbers is an error. Each worker has one socket that it reads
(``<attempt>-<worker>`` in the job's socket folder) and one to each other worker.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import zmq

from streamlab.core.errors import InternalError
from streamlab.core.event_time.row_watermarks import together
from streamlab.core.failpoints import reach
from streamlab.core.messages import MAIN, Barrier, Batch, End, Idle, Message, Watermark
from streamlab.runtime.network.wire_rows import packed, unpacked
from streamlab.runtime.task.exchange import Channel

_MAC_BYTES = 16
_BarrierKind = Literal["checkpoint", "savepoint", "step"]


class Header(msgspec.Struct, array_like=True, frozen=True):
    """What goes before the rows.

    Attributes
    ----------
    attempt : int
        Attempt of the job.
    edge, source_subtask, target_subtask : int
        The channel.
    sequence : int
        Number of the message in its channel and direction, from 0.
    kind : {"batch", "watermark", "barrier", "idle", "end", "credit"}
        ``credit`` goes against the stream, all others with it.
    number : int
        The watermark, the checkpoint id or the credit.
    text : str
        The batch's tag or the barrier's kind.
    ingested_us : int | None
        As in :class:`~streamlab.core.messages.Batch`.
    body_bytes : int
        Length of the rows.
    plain : bool
        Whether all values of the rows have a fixed width.
    """

    attempt: int
    edge: int
    source_subtask: int
    target_subtask: int
    sequence: int
    kind: Literal["batch", "watermark", "barrier", "idle", "end", "credit"]
    number: int = 0
    text: str = ""
    ingested_us: int | None = None
    body_bytes: int = 0
    plain: bool = False


class Outlet(Protocol):
    """The sending end of a channel."""

    credit: int
    """Batches that may still be sent; below zero after a step that gave more."""

    def send(self, message: Message) -> None:
        """Send one message. Never blocks."""


class Inbox:
    """The receiving end of a channel: what has arrived and was not consumed.

    Parameters
    ----------
    channel
        The channel.
    window
        Credit of the channel.
    """

    def __init__(self, channel: Channel, window: int) -> None:
        self.channel = channel
        self._messages: deque[Message] = deque()
        self._batches = 0
        self._consumed = 0
        self._window = window
        self._return: _Grant = _no_grant
        self.keeps_watermarks = False
        """Whether each watermark is taken by itself, so that nothing depends on how quickly they come: the order in
        which messages are taken is prescribed."""

    def returns_credit_to(self, grant: _Grant) -> None:
        """Say who gets the credit for what is consumed."""
        self._return = grant

    @property
    def batches(self) -> int:
        """How many batches wait."""
        return self._batches

    @property
    def is_full(self) -> bool:
        """Whether the sender has no credit left."""
        return self._batches >= self._window

    @property
    def head(self) -> Message:
        """The oldest message."""
        return self._messages[0]

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def holds_more_than_rows(self) -> bool:
        """Whether something waits that is neither rows nor a watermark."""
        return not all(isinstance(message, Batch | Watermark) for message in self._messages)

    def batches_in_a_row(self, most_rows: int | None = None) -> int:
        """Return how many batches wait at the head that can be taken as one.

        They have one tag and, together, not more rows than that, unless there is one only. Between them are watermarks
        at most, which say nothing that the last of them does not say.
        """
        count = rows = 0
        tag = None
        for message in self._messages:
            if isinstance(message, Batch):
                rows += message.collected().height
                tag = tag or message.tag
                if message.tag != tag or (count and most_rows is not None and rows > most_rows):
                    break
                count += 1
            elif not (count and isinstance(message, Watermark)):
                break
        return count

    def take_batches(self, count: int) -> Batch:
        """Remove so many batches and the watermarks between them, and return their rows as one batch."""
        batches: list[Batch] = []
        while len(batches) < count:
            message = self.take()
            if isinstance(message, Batch):
                batches.append(message)
        ingested_us = [batch.ingested_us for batch in batches if batch.ingested_us is not None]
        frame = together([batch.collected() for batch in batches])
        return Batch(frame, batches[0].tag, min(ingested_us, default=None))

    def put(self, message: Message) -> None:
        """Append a message; a watermark replaces one that waits right before it, since it says more."""
        if isinstance(message, Batch):
            self._batches += 1
        elif isinstance(message, Watermark) and self._ends_with_watermark and not self.keeps_watermarks:
            self._messages.pop()
        self._messages.append(message)

    @property
    def _ends_with_watermark(self) -> bool:
        return bool(self._messages) and isinstance(self._messages[-1], Watermark)

    def take(self) -> Message:
        """Remove and return the oldest message.

        Credit goes back when half the window is consumed, or nothing waits; at once where the order is prescribed: the
        sender may have had it then.
        """
        message = self._messages.popleft()
        if isinstance(message, Batch):
            self._batches -= 1
            self._consumed += 1
            if self._consumed * 2 >= self._window or not self._batches or self.keeps_watermarks:
                consumed, self._consumed = self._consumed, 0
                self._return(consumed)
        return message


class _Grant(Protocol):
    def __call__(self, batches: int) -> None: ...


def _no_grant(batches: int) -> None:
    del batches


class LocalOutlet:
    """The sending end of a channel within one worker: frames pass by reference.

    Parameters
    ----------
    inbox
        The receiving end.
    window
        Credit of the channel.
    """

    def __init__(self, inbox: Inbox, window: int) -> None:
        self.credit = window
        self._inbox = inbox
        inbox.returns_credit_to(self._grant)

    def send(self, message: Message) -> None:
        """Put the message into the other end."""
        if isinstance(message, Batch):
            self.credit -= 1
        self._inbox.put(message)

    def _grant(self, batches: int) -> None:
        self.credit += batches


class RemoteOutlet:
    """The sending end of a channel to another worker."""

    def __init__(self, transport: Transport, channel: Channel, peer: int, window: int) -> None:
        self.credit = window
        self._transport = transport
        self._channel = channel
        self._peer = peer
        self._sequence = 0

    def send(self, message: Message) -> None:
        """Encode the message and hand it to ZeroMQ."""
        if isinstance(message, Batch):
            self.credit -= 1
        header, body = encoded(message, self._transport.attempt, self._channel, self._sequence)
        self._sequence += 1
        self._transport.post(self._peer, header, body)


class Transport:
    """All channels of one worker.

    Parameters
    ----------
    sockets
        The job's socket folder.
    worker, attempt
        Whose sockets.
    key
        Authenticates headers.
    window
        Credit of every channel.
    """

    def __init__(self, sockets: Path, worker: int, attempt: int, key: bytes, window: int) -> None:
        self.attempt = attempt
        self.rejected = 0
        self._key = key
        self._window = window
        self._sockets = sockets
        self._context = zmq.Context(io_threads=1)
        self._receiver = self._new_socket(zmq.PULL)
        self._receiver.bind(self._address(worker))
        self._peers: dict[int, zmq.Socket[bytes]] = {}
        self._inboxes: dict[Channel, Inbox] = {}
        self._outlets: dict[Channel, RemoteOutlet] = {}
        self._expected: dict[tuple[Channel, bool], int] = {}
        self._credits_sent: dict[Channel, int] = {}

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket to wait on."""
        return self._receiver

    def open_inbox(self, channel: Channel) -> Inbox:
        """Return the receiving end of a channel that ends in this worker."""
        inbox = self._inboxes[channel] = Inbox(channel, self._window)
        return inbox

    def connect_inbox(self, channel: Channel, source_worker: int) -> None:
        """Let the credit of a channel go back to the worker that sends."""

        def grant(batches: int) -> None:
            sequence = self._credits_sent.get(channel, 0)
            self._credits_sent[channel] = sequence + 1
            self.post(source_worker, _header(self.attempt, channel, sequence, "credit", number=batches), None)

        self._inboxes[channel].returns_credit_to(grant)

    def open_outlet(self, channel: Channel, target_worker: int | None) -> Outlet:
        """Return the sending end of a channel; with no target worker, it ends in this worker, in an open inbox."""
        if target_worker is None:
            return LocalOutlet(self._inboxes[channel], self._window)
        outlet = self._outlets[channel] = RemoteOutlet(self, channel, target_worker, self._window)
        return outlet

    def post(self, peer: int, header: Header, body: memoryview | None) -> None:
        """Send a header and rows to another worker."""
        reach("route.send")
        if peer not in self._peers:
            self._peers[peer] = self._new_socket(zmq.PUSH)
            self._peers[peer].connect(self._address(peer))
        data = msgspec.msgpack.encode(header)
        parts: list[bytes | memoryview] = [mac(data, self._key), data]
        if body is not None:
            parts.append(body)
        self._peers[peer].send_multipart(parts, copy=body is None)

    def receive_waiting(self) -> bool:
        """Take in everything that has arrived, without blocking, and return whether there was something."""
        any_message = False
        while True:
            try:
                frames = self._receiver.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return any_message
            any_message = self._accept([frame.buffer for frame in frames]) or any_message

    def close(self) -> None:
        """Close all sockets; what was not sent is dropped."""
        self._context.destroy(linger=0)

    def _accept(self, parts: Sequence[memoryview]) -> bool:
        reach("route.receive")
        header = authentic_header(parts, self._key)
        if header is None or header.attempt != self.attempt:
            self.rejected += 1
            return False
        channel = Channel(header.edge, header.source_subtask, header.target_subtask)
        is_credit = header.kind == "credit"
        if channel not in (self._outlets if is_credit else self._inboxes):
            self.rejected += 1
            return False
        expected = self._expected.get((channel, is_credit), 0)
        if header.sequence < expected:
            self.rejected += 1
            return False
        if header.sequence > expected:
            text = f"{channel}: message {header.sequence} arrived where {expected} was due"
            raise InternalError(text)
        self._expected[channel, is_credit] = expected + 1
        if is_credit:
            self._outlets[channel].credit += header.number
        else:
            self._inboxes[channel].put(decoded(header, parts[2] if len(parts) > 2 else b""))  # noqa: PLR2004 - the body
        return True

    def _address(self, worker: int) -> str:
        return f"ipc://{self._sockets / f'{self.attempt}-{worker}'}"

    def _new_socket(self, kind: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        # Credit bounds what is on its way; a high-water mark on top of it could block or drop.
        socket.set_hwm(0)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 5)
        return socket


def mac(header: bytes | memoryview, key: bytes) -> bytes:
    """Return what proves that a header comes from this job."""
    return blake2b(header, key=key, digest_size=_MAC_BYTES).digest()


def authentic_header(parts: Sequence[bytes | memoryview], key: bytes) -> Header | None:
    """Return the header of a received message, or None if it was not sent by this job or is malformed."""
    if len(parts) not in {2, 3} or not hmac.compare_digest(parts[0], mac(parts[1], key)):
        return None
    try:
        header = msgspec.msgpack.decode(parts[1], type=Header)
    except msgspec.MsgspecError:
        return None
    body_bytes = sum(len(part) for part in parts[2:])
    return header if header.body_bytes == body_bytes else None


def encoded(message: Message, attempt: int, channel: Channel, sequence: int) -> tuple[Header, memoryview | None]:
    """Return a message as a header and rows.

    Raises
    ------
    StepFailed
        If a column has a dtype that cannot travel between processes.
    """
    match message:
        case Batch():
            body, plain = packed(message.collected())
            header = _header(
                attempt, channel, sequence, "batch", text=message.tag, ingested_us=message.ingested_us, body=len(body)
            )
            return msgspec.structs.replace(header, plain=plain), body
        case Watermark(us):
            return _header(attempt, channel, sequence, "watermark", number=us), None
        case Barrier(checkpoint_id, kind):
            return _header(attempt, channel, sequence, "barrier", number=checkpoint_id, text=kind), None
        case Idle():
            return _header(attempt, channel, sequence, "idle"), None
        case End():
            return _header(attempt, channel, sequence, "end"), None


def decoded(header: Header, body: bytes | memoryview) -> Message:
    """Return the message that a header and rows stand for."""
    match header.kind:
        case "batch":
            return Batch(unpacked(body, plain=header.plain), header.text or MAIN, header.ingested_us)
        case "watermark":
            return Watermark(header.number)
        case "barrier":
            return Barrier(header.number, msgspec.convert(header.text, _BarrierKind))
        case "idle":
            return Idle()
        case "end":
            return End()
        case "credit":
            text = "credit is no message of the stream"
            raise InternalError(text)


def _header(
    attempt: int,
    channel: Channel,
    sequence: int,
    kind: Literal["batch", "watermark", "barrier", "idle", "end", "credit"],
    *,
    number: int = 0,
    text: str = "",
    ingested_us: int | None = None,
    body: int = 0,
) -> Header:
    return Header(
        attempt,
        channel.edge,
        channel.source_subtask,
        channel.target_subtask,
        sequence,
        kind,
        number,
        text,
        ingested_us,
        body,
    )
