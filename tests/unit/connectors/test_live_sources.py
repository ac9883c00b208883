"""Sources that cannot be read again: this machine, and sockets."""

from __future__ import annotations

import pickle
import socket as net
from collections.abc import Iterator

import polars as pl
import pytest
from reading import Run

from streamlab.connectors.sources.sockets import SocketSource, socket
from streamlab.connectors.sources.system_metrics import SCHEMA, system_metrics
from streamlab.core.errors import OptionError, PlanError, SourceError
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.core.messages import Watermark

SECOND_US = 1_000_000


def test_the_machine_is_sampled_every_interval() -> None:
    source = pickle.loads(pickle.dumps(system_metrics("2s")))
    run = Run(source)
    for second in range(8):
        run.poll(second * SECOND_US)
    assert run.rows.schema == SCHEMA
    assert run.rows.get_column("time").dt.epoch("s").to_list() == [2, 4, 6]
    assert run.reader.wakeup_us(7 * SECOND_US) == 8 * SECOND_US
    assert run.rows.select(pl.col("memory_percent").is_between(0, 100).all()).item()
    assert not source.replayable
    assert not source.bounded


def test_missed_samples_are_left_out() -> None:
    run = Run(system_metrics("1s"))
    for second in (0, 1, 7, 8):
        run.poll(second * SECOND_US)
    assert run.rows.height == 3
    with pytest.raises(OptionError, match="interval"):
        system_metrics("0s")


@pytest.fixture
def server() -> Iterator[net.socket]:
    with net.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        yield listening


def client(server: net.socket, **options: object) -> SocketSource:
    schema = {"at": pl.Datetime("us"), "n": pl.Int64}
    return socket("127.0.0.1", server.getsockname()[1], schema=schema, event_time="at", watermark="0s", **options)


def test_lines_come_as_they_are_sent_and_bad_ones_are_dead_letters(server: net.socket) -> None:
    run = Run(client(server), batch_ms=0)
    assert run.poll(0) == []
    peer, _ = server.accept()
    with peer:
        peer.sendall(b'{"at":"1970-01-01T00:00:01","n":1}\n{"at":"1970-01-01T00:0')
        run.until(lambda: run.rows.height == 1)
        peer.sendall(b'0:02","n":2}\noops\n\n{"at":"1970-01-01T00:00:03","n":"x"}\n{"at":null}\n')
        run.until(lambda: run.reader.rows_read == 5)
        peer.sendall(b'{"at":"1970-01-01T00:00:09","n":9}')
    run.until(lambda: bool(run.messages) and run.messages[-2:-1] == [Watermark(MAX_TIME_US)])
    assert run.rows.get_column("n").to_list() == [1, 2, 9]
    assert set(run.reasons) == {"not a JSON object", "column 'n' is no Int64", "the event time 'at' is null"}
    assert run.letters.row(0)[3].endswith("line 3")


def test_a_lost_server_is_tried_again(server: net.socket) -> None:
    run = Run(client(server, reconnect="1h"), batch_ms=0)
    for n in (1, 2):
        run.poll(run.now_us + 10 * SECOND_US)
        peer, _ = server.accept()
        with peer:
            peer.sendall(b'{"at":"1970-01-01T00:00:01","n":%d}\n' % n)
            run.until(lambda n=n: run.rows.height == n)
        run.until(lambda: run.reader.wakeup_us(run.now_us) is not None)
    run.reader.close()
    assert run.rows.get_column("n").to_list() == [1, 2]


def test_no_server_is_an_error() -> None:
    with net.create_server(("127.0.0.1", 0)) as listening:
        source = client(listening)
    run = Run(source)
    with pytest.raises(SourceError, match="start the server first"):
        run.until(lambda: False)


def test_a_line_without_end_is_a_dead_letter(server: net.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlab.connectors.sources.sockets.MAX_LINE_BYTES", 100)
    run = Run(client(server), batch_ms=0)
    run.poll(0)
    peer, _ = server.accept()
    with peer:
        peer.sendall(b"x" * 500)
        run.until(lambda: run.letters.height == 1)
        peer.sendall(b'yyy\n{"at":"1970-01-01T00:00:01","n":1}\n')
        run.until(lambda: run.rows.height == 1)
    run.reader.close()
    assert "a line longer than" in run.reasons[0]


def test_arguments_of_a_socket() -> None:
    for host, port in (("", 80), ("h", 0), ("h", 70_000), ("h", "80")):
        with pytest.raises(OptionError):
            socket(host, port, schema={"n": pl.Int64})
    with pytest.raises(PlanError, match="event_time"):
        socket("h", 80, schema={"n": pl.Int64}, event_time="at")
    with pytest.raises(PlanError, match="types that JSON can hold"):
        socket("h", 80, schema={"n": pl.Binary})
    source = socket("h", 80, schema={"n": pl.Int64})
    assert source.describe() == "socket: h:80"
    assert not source.replayable
