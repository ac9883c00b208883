"""Channels: framing, authentication, credit, order."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec
import polars as pl
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamlab.core.errors import InternalError, StepFailed
from streamlab.core.messages import Barrier, Batch, End, Idle, Watermark
from streamlab.runtime.network.transport import (
    Inbox,
    LocalOutlet,
    Transport,
    authentic_header,
    decoded,
    encoded,
    mac,
)
from streamlab.runtime.task.exchange import Channel

KEY = b"k" * 32
CHANNEL = Channel(0, 0, 1)
FRAME = pl.DataFrame({"n": [1, None, 3], "s": ["a", "é", None], "f": [float("nan"), 1.0, None]})
CONTROL = [Watermark(-(2**63)), Watermark(5), Barrier(7), Barrier(8, "savepoint"), Barrier(9, "step"), Idle(), End()]


def wire(message, sequence=0, attempt=1, key=KEY):
    header, body = encoded(message, attempt, CHANNEL, sequence)
    data = msgspec.msgpack.encode(header)
    return [mac(data, key), data, *([bytes(body)] if body is not None else [])]


@pytest.mark.parametrize("message", CONTROL, ids=str)
def test_control_messages_survive_the_wire(message):
    parts = wire(message)
    assert decoded(authentic_header(parts, KEY), b"") == message


NUMBERS = (pl.Int8, pl.UInt16, pl.Int32, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.Boolean, pl.Decimal(38, 0))
TIMES = (pl.Date, pl.Time, pl.Datetime("ms"), pl.Datetime("ns", "Europe/Rome"), pl.Duration("us"))
PLAIN = pl.DataFrame([pl.Series(str(dtype), [1, None, 3, 4]).cast(dtype) for dtype in (*NUMBERS, *TIMES)])
"""Values of fixed width, which go another way when there are many."""
MANY = pl.concat([PLAIN] * 2_000)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME.clear(),
        pl.DataFrame({"c": ["x", "y"]}, schema={"c": pl.Categorical}),
        pl.DataFrame({"wide": [2**100, None]}, schema={"wide": pl.Int128}),
        PLAIN,
        PLAIN.clear(),
        PLAIN[1:3],
        pl.concat([PLAIN, PLAIN[2:]], rechunk=False),
        MANY,
        MANY[1:5_001],
        pl.concat([MANY, MANY[2:]], rechunk=False),
    ],
)
def test_batches_survive_the_wire(frame):
    parts = wire(Batch(frame, "late_rows", 12))
    batch = decoded(authentic_header(parts, KEY), parts[2])
    assert (batch.tag, batch.ingested_us) == ("late_rows", 12)
    assert_frame_equal(batch.frame, frame)
    assert batch.frame.schema == frame.schema


def test_python_objects_are_refused_rather_than_sent_as_addresses():
    with pytest.raises(StepFailed, match="Object in thing"):
        encoded(Batch(pl.DataFrame({"thing": [object()]})), 1, CHANNEL, 0)


@given(st.binary(max_size=200), st.binary(max_size=40), st.integers(0, 10**6))
def test_nothing_but_our_own_messages_is_authentic(noise, tag, at):
    assert authentic_header([tag, noise], KEY) is None
    parts = wire(Batch(FRAME))
    position = at % len(parts[1])
    changed = bytearray(parts[1])
    changed[position] ^= 1
    assert authentic_header([parts[0], bytes(changed), parts[2]], KEY) is None
    assert authentic_header(wire(Batch(FRAME), key=b"x" * 32), KEY) is None


def test_rows_of_another_length_are_not_accepted():
    parts = wire(Batch(FRAME))
    assert authentic_header([*parts[:2], parts[2] + b"!"], KEY) is None
    assert authentic_header(parts[:2], KEY) is None


@pytest.fixture
def pair():
    with tempfile.TemporaryDirectory(prefix="sl", dir="/tmp") as folder:
        sender = Transport(Path(folder), 0, 1, KEY, window=4)
        receiver = Transport(Path(folder), 1, 1, KEY, window=4)
        try:
            yield sender, receiver
        finally:
            sender.close()
            receiver.close()


def pump(transport, until):
    """Take in what arrives until the condition holds; the sockets themselves are waited for."""
    while not until():
        assert transport.socket.poll(10_000), "nothing arrived"
        transport.receive_waiting()


def connected(pair):
    sender, receiver = pair
    inbox = receiver.open_inbox(CHANNEL)
    receiver.connect_inbox(CHANNEL, source_worker=0)
    return sender.open_outlet(CHANNEL, target_worker=1), inbox


def test_messages_arrive_in_order_and_credit_comes_back(pair):
    outlet, inbox = connected(pair)
    messages = [Batch(FRAME), Watermark(1), Batch(FRAME), Idle(), Watermark(2), Batch(FRAME), Barrier(1), End()]
    for message in messages:
        outlet.send(message)
    assert outlet.credit == 1
    pump(pair[1], lambda: len(inbox) == len(messages))
    received = [inbox.take() for _ in messages]
    assert [type(m) for m in received] == [type(m) for m in messages]
    pump(pair[0], lambda: outlet.credit == 4)


def test_credit_may_be_overrun_and_is_paid_back_in_full(pair):
    outlet, inbox = connected(pair)
    for _ in range(10):
        outlet.send(Batch(FRAME))
    assert outlet.credit == -6
    pump(pair[1], lambda: inbox.batches == 10)
    while len(inbox):
        inbox.take()
    pump(pair[0], lambda: outlet.credit == 4)


def test_credit_is_held_back_while_nothing_is_consumed(pair):
    outlet, inbox = connected(pair)
    outlet.send(Batch(FRAME))
    pump(pair[1], lambda: len(inbox) == 1)
    pair[0].receive_waiting()
    assert outlet.credit == 3


def raw_send(pair, parts):
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(pair[1].socket.getsockopt_string(zmq.LAST_ENDPOINT))
        socket.send_multipart(parts)


@pytest.mark.parametrize(
    "parts",
    [
        wire(Watermark(9), key=b"other" * 6),
        wire(Watermark(9), attempt=2),
        [b"junk"],
        [b"", b""],
        wire(Watermark(9))[1:],
    ],
    ids=["other key", "other attempt", "junk", "empty", "no code"],
)
def test_foreign_messages_are_dropped_and_counted(pair, parts):
    _, inbox = connected(pair)
    raw_send(pair, parts)
    pump(pair[1], lambda: pair[1].rejected == 1)
    assert len(inbox) == 0


def test_a_message_for_an_unknown_channel_is_dropped(pair):
    raw_send(pair, wire(Watermark(9)))
    pump(pair[1], lambda: pair[1].rejected == 1)


def test_a_repeated_message_is_dropped(pair):
    outlet, inbox = connected(pair)
    outlet.send(Watermark(1))
    pump(pair[1], lambda: len(inbox) == 1)
    raw_send(pair, wire(Watermark(99), sequence=0))
    pump(pair[1], lambda: pair[1].rejected == 1)
    assert inbox.take() == Watermark(1)


def test_a_lost_message_is_an_error(pair):
    connected(pair)
    raw_send(pair, wire(Watermark(1), sequence=3))
    assert pair[1].socket.poll(10_000)
    with pytest.raises(InternalError, match="message 3 arrived where 0 was due"):
        pair[1].receive_waiting()


def test_local_channels_pass_frames_by_reference(pair):
    inbox = pair[0].open_inbox(CHANNEL)
    outlet = pair[0].open_outlet(CHANNEL, None)
    batch = Batch(FRAME)
    outlet.send(batch)
    assert outlet.credit == 3
    assert inbox.take() is batch
    assert outlet.credit == 4


def test_waiting_watermarks_are_merged_but_not_across_other_messages():
    inbox = Inbox(CHANNEL, window=4)
    for message in (Watermark(1), Watermark(2), Idle(), Watermark(3), Watermark(4), End()):
        inbox.put(message)
    assert [inbox.take() for _ in range(len(inbox))] == [Watermark(2), Idle(), Watermark(4), End()]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 9))
def test_credit_is_conserved(sends, window):
    inbox = Inbox(CHANNEL, window)
    outlet = LocalOutlet(inbox, window)
    for send in sends:
        if send:
            outlet.send(Batch(FRAME))
        elif len(inbox):
            inbox.take()
        assert outlet.credit <= window - inbox.batches
        if not inbox.batches:
            assert outlet.credit == window


def test_sockets_are_gone_with_their_folder(pair):
    assert sorted(os.listdir(pair[0]._sockets)) == ["1-0", "1-1"]


def test_an_inbox_that_is_told_so_keeps_every_watermark():
    inbox = Inbox(CHANNEL, window=4)
    inbox.put(Watermark(1))
    inbox.put(Watermark(2))
    inbox.keeps_watermarks = True
    inbox.put(Watermark(3))
    assert [inbox.take() for _ in range(len(inbox))] == [Watermark(2), Watermark(3)]
