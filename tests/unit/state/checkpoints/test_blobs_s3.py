"""Checkpoints on S3, which a moto server plays."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import s3fs
from checkpoint_kit import check_blobs, check_whole_round
from moto.server import ThreadedMotoServer

from streamlab.core.errors import CheckpointError
from streamlab.state.checkpoints.blobs import FsspecBlobs


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, str]]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = {"endpoint_url": f"http://{host}:{port}", "key": "key", "secret": "secret"}
    s3fs.S3FileSystem(**found).mkdir("bucket")
    yield found
    server.stop()


def test_s3_keeps_the_laws(options):
    check_blobs(FsspecBlobs("s3://bucket/laws", options))


def test_checkpoints_live_on_s3(options):
    check_whole_round(FsspecBlobs("s3://bucket/round", options))


def test_what_another_process_wrote_is_seen_at_once(options):
    one, other = FsspecBlobs("s3://bucket/two", options), FsspecBlobs("s3://bucket/two", options)
    assert one.names("state") == []
    other.put("state/a", b"1")
    assert one.names("state") == ["state/a"]
    assert not one.create("state/a", b"2")


def test_a_bucket_that_is_not_there_is_no_missing_file(options):
    with pytest.raises(CheckpointError, match="nobucket") as failed:
        FsspecBlobs("s3://nobucket/x", options).put("state/a", b"1")
    assert failed.value.matter == "unreachable"
