"""Savepoints of every format can be gone on from: what each gave when it was made is what it gives now.

They were made by ``make_savepoints.py`` and stay as they are; ``docs/checkpoint-format.md`` says what is in them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest
from golden_savepoints import CASES, DATA, FOLDER, copied, gone_on, write_files
from polars.testing import assert_frame_equal

from streamlab.core.errors import CheckpointError
from streamlab.job.history.checkpoints import Checkpoint
from streamlab.plan.schema import is_reserved
from streamlab.state.checkpoints.blobs import LocalBlobs
from streamlab.state.checkpoints.manifest import FORMAT
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.savepoints import find_savepoint

SAVED = sorted(path.parent for path in FOLDER.glob("*/*/expected.arrow"))
MOST_BYTES = 1_000_000


def ids(path: Path) -> str:
    return f"{path.parent.name}-{path.name}"


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("saved", SAVED, ids=ids)
def test_a_savepoint_of_an_earlier_release_gives_what_it_gave(saved: Path, tmp_path: Path) -> None:
    before = contents(saved)
    data = tmp_path / "data"
    write_files(data)
    copied(saved, tmp_path / "saved", (DATA, str(data)))
    expected = pl.read_ipc(saved / "expected.arrow")

    found = gone_on(tmp_path / "saved", CASES[saved.name], data, tmp_path / "home")

    assert expected.height > 0
    assert_frame_equal(found, expected, check_row_order=False, abs_tol=1e-9)
    assert contents(saved) == before


@pytest.mark.parametrize("saved", SAVED, ids=ids)
def test_its_state_can_be_read(saved: Path) -> None:
    where, manifest = find_savepoint(saved)
    ManifestStore(LocalBlobs(where)).verify(manifest)
    opened = Checkpoint(LocalBlobs(where), manifest)
    states = [opened.state(step) for step in opened.operators["operator"]]
    assert opened.sources().height >= 1
    assert not [name for state in states for name in state.columns if is_reserved(name)]
    if manifest.format < FORMAT:
        assert not [name for state in states for name in state.columns if name.startswith("__")]


def test_there_is_one_of_each_kind() -> None:
    assert {path.name for path in FOLDER.glob("*/*")} == set(CASES)
    assert {path.name for path in FOLDER.iterdir()} == {"0.1.0", *(f"format-{n}" for n in range(2, FORMAT + 1))}


def test_what_they_hold_is_what_they_are_for() -> None:
    manifests = {path.name: find_savepoint(path)[1] for path in FOLDER.glob("0.1.0/*")}
    assert any(task.pending for task in manifests["pending"].tasks)
    assert manifests["live"].recordings["ticks"]
    kinds = {step.kind for manifest in manifests.values() for step in manifest.steps}
    assert {"windows", "groups", "rows of groups", "head", "watermark"} <= kinds
    sources = {step.kind for manifest in manifests.values() for step in manifest.steps if step.is_source}
    assert {f"positions in {kind} files" for kind in ("csv", "ndjson", "parquet", "ipc")} < sources


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MOST_BYTES


def test_one_of_a_later_format_is_refused_clearly(tmp_path: Path) -> None:
    copied(FOLDER / "0.1.0" / "tumbling", tmp_path / "saved", (DATA, DATA))
    (path,) = (tmp_path / "saved" / "checkpoints").glob("*/manifest.json")
    body = b'{"format":%d,"what":"nobody knows yet"}' % (FORMAT + 1)
    digest = hashlib.sha256(b"streamlab checkpoint %d\n" % (FORMAT + 1) + body).hexdigest()
    path.write_bytes(b'{"format":%d,"sha256":"%s","manifest":%s}' % (FORMAT + 1, digest.encode(), body))
    with pytest.raises(CheckpointError, match=f"format {FORMAT} or earlier, got format {FORMAT + 1}") as refused:
        find_savepoint(tmp_path / "saved")
    assert refused.value.matter == "newer"
    assert "upgrade" in str(refused.value)
