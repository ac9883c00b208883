"""The small parts: framing over pipes, process identities, the black box, the control socket, pickling."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.errors import JobError, PlanError
from streamlab.graph.job_graph import JobGraph, Vertex
from streamlab.operators.base import OperatorSpec
from streamlab.runtime.messages import protocol
from streamlab.runtime.messages.control import ControlServer, ask
from streamlab.runtime.messages.pipes import FrameBuffer, PipeWriter, framed, read_available
from streamlab.runtime.process.crash_record import BlackBox, read_black_box
from streamlab.runtime.process.pickling import pickled_graph
from streamlab.runtime.process.processes import exit_reason, process_id

# -- pipes ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_frames_come_whole_however_they_are_cut(frames, size):
    stream = b"".join(framed(frame) for frame in frames)
    buffer = FrameBuffer()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [frame for piece in pieces for frame in buffer.feed(piece)] == frames


def test_a_frame_beyond_the_limit_is_refused():
    with pytest.raises(ValueError, match="5 bytes"):
        list(FrameBuffer(limit=4).feed(framed(b"12345")))


def test_a_full_pipe_does_not_block_the_writer():
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        writer = PipeWriter(write)
        frames = [bytes([n % 256]) * 5_000 for n in range(100)]
        for frame in frames:
            writer.send(frame)
        assert writer.pending
        buffer, received = FrameBuffer(), []
        while len(received) < len(frames):
            received += buffer.feed(read_available(read) or b"")
            writer.send()
        assert received == frames
        assert not writer.pending
        assert read_available(read) is None
    finally:
        os.close(write)
        assert read_available(read) == b""
        os.close(read)


# -- processes -----------------------------------------------------------------------------------------------------


def test_a_process_is_alive_until_it_ends_even_if_nobody_waits_for_it():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = process_id(process.pid)
        assert identity.is_alive
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not identity.is_alive


def test_another_process_with_the_same_number_is_another():
    own = process_id()
    assert own.is_alive
    assert not type(own)(own.pid, "earlier").is_alive


@pytest.mark.parametrize(("code", "text"), [(0, "code 0"), (-11, "SIGSEGV"), (-9, "memory"), (-64, "64")])
def test_exit_reasons(code, text):
    assert text in exit_reason(code) or "SIGRTMAX" in exit_reason(code)


# -- the black box -------------------------------------------------------------------------------------------------


def test_the_black_box_outlives_its_process(tmp_path):
    code = (
        "import os, sys, pathlib; from streamlab.runtime.process.crash_record import BlackBox;"
        "box = BlackBox(pathlib.Path(sys.argv[1])); box.note('first', 'x'); box.note('schritt ö', 'a\\nb'); os.abort()"
    )
    command = f'ulimit -c 0; exec {sys.executable} -c "$0" "$1"'
    subprocess.run(["sh", "-c", command, code, str(tmp_path / "box")], check=False, capture_output=True)
    assert read_black_box(tmp_path / "box") == ("schritt ö", "a\nb")


def test_a_huge_sample_is_cut(tmp_path):
    box = BlackBox(tmp_path / "box")
    box.note("s" * 5_000, "x" * 200_000)
    step, sample = read_black_box(tmp_path / "box")
    assert set(step) == {"s"}
    assert 50_000 < len(sample) < 65_536
    box.note("next")
    assert read_black_box(tmp_path / "box") == ("next", "")


def test_no_black_box_tells_nothing(tmp_path):
    assert read_black_box(tmp_path / "none") == ("", "")


# -- the control socket --------------------------------------------------------------------------------------------


@pytest.fixture
def control():
    with tempfile.TemporaryDirectory(prefix="sl", dir="/tmp") as folder, selectors.DefaultSelector() as selector:
        path, requests, ended = Path(folder) / "control", [], threading.Event()
        server = ControlServer(path, b"key", selector, requests.append)

        def serve():
            while not ended.is_set():
                for key, _ in selector.select(0.02):
                    key.data()

        thread = threading.Thread(target=serve)
        thread.start()
        yield path, requests
        ended.set()
        thread.join()
        server.close()


def test_a_request_is_taken_before_it_is_answered(control):
    path, requests = control
    for request in (protocol.PauseRequested(), protocol.StopRequested()):
        ask(path, b"key", request)
    assert requests == [protocol.PauseRequested(), protocol.StopRequested()]


def test_a_socket_appears_under_its_name_only_once_it_listens(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="sl", dir="/tmp") as folder, selectors.DefaultSelector() as selector:
        path, there = Path(folder) / "control", []
        listen = socket.socket.listen
        monkeypatch.setattr(socket.socket, "listen", lambda self: (there.append(path.exists()), listen(self)))
        server = ControlServer(path, b"key", selector, print)
        assert path.exists()
        assert there == [False]
        server.close()


def test_a_client_without_the_key_is_refused(control):
    path, requests = control
    with pytest.raises(JobError, match="refusal"):
        ask(path, b"other", protocol.CancelRequested())
    assert requests == []


@pytest.mark.parametrize("noise", [b"", b"\xff" * 100, framed(b""), framed(b"x" * 40), b"GET / HTTP/1.1\r\n\r\n"])
def test_noise_neither_answers_nor_harms(control, noise):
    path, requests = control
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(noise)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(10) == b""
    ask(path, b"key", protocol.ResumeRequested())
    assert requests == [protocol.ResumeRequested()]


def test_nobody_there_is_a_job_error(tmp_path):
    with pytest.raises(JobError, match="no answer"):
        ask(tmp_path / "control", b"key", protocol.StopRequested())


# -- pickling ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mapping(OperatorSpec):
    held: object

    def build(self, context, snapshot=None):
        raise NotImplementedError


def graph_with(held: object) -> JobGraph:
    return JobGraph((Vertex("v", None, (Mapping("map", held),), None, 1),), ())


LOCK = threading.Lock()


def test_closures_travel():
    scale = 3
    assert pickled_graph(graph_with(lambda f: f * scale))


def test_the_variable_that_cannot_travel_is_named():
    guard = threading.Lock()
    with pytest.raises(PlanError, match=r"map: .*variable 'guard' of .*_thread\.lock"):
        pickled_graph(graph_with(lambda f: (guard, f)))


def test_it_is_found_behind_other_functions():
    connection = {"open": [threading.Lock()]}

    def inner(frame):
        return connection, frame

    def outer(frame: pl.DataFrame):
        return inner(frame)

    with pytest.raises(PlanError, match=r"item 0 of item 'open' of variable 'connection' of variable 'inner'"):
        pickled_graph(graph_with(outer))
