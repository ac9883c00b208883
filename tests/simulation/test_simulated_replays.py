"""A replay under another schedule gives what the job gave: each row, each change, each late row, whatever dies."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from streamlab.core.messages import LATE_ROWS, MAIN
from streamlab.observe.status import JobState
from streamlab.runtime.job_folder.folder import Replayed
from streamlab.runtime.messages.protocol import CheckpointRequested, PauseRequested, ResumeRequested
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.testing.scenarios import SCENARIOS
from streamlab.testing.simulated_cluster import Cluster

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
_DEATHS = 3


def run(cluster: Cluster, chance: random.Random, *, deaths: int = 0, asks: bool = False, pauses: bool = False) -> None:
    """Run a job to its end while workers and coordinators die, checkpoints are asked for, sources are paused."""
    cluster.start()
    while cluster.final is None and not cluster.ledger.complaints:
        happens = chance.random()
        if happens < 0.01 and deaths and cluster.workers:
            deaths -= 1
            if deaths % 2:
                cluster.kill(chance.choice(cluster.workers))
            else:
                cluster.replace_coordinator()
        elif happens < 0.02 and asks:
            cluster.take(CheckpointRequested(f"asked at {cluster.steps}"))
        elif happens < 0.04 and pauses:
            cluster.take(PauseRequested() if happens < 0.03 else ResumeRequested())
        if cluster.final is None:
            cluster.step()
    assert not cluster.ledger.complaints
    assert cluster.final.state is JobState.FINISHED


def rows_of(cluster: Cluster, tag: str, since: int = 0) -> Counter:
    """Return the rows that stand behind a checkpoint, with how often each was given."""
    frames = cluster.ledger.shown(tag, cluster.attempts, since=since)
    return Counter(row for frame in frames for row in _values(frame))


def _values(frame: pl.DataFrame) -> list[tuple]:
    return frame.select(sorted(frame.columns)).rows()


def original(name: str, seed: int, folder: Path, *, deaths: int = 0, parallelism: int = 2) -> Cluster:
    cluster = Cluster(
        BY_NAME[name],
        seed,
        folder=str(folder),
        parallelism=parallelism,
        checkpoint_every_ms=4,
        checkpoint_keep=100,
        checkpoint_timeout_ms=10_000,
    )
    run(cluster, random.Random(seed), deaths=deaths)
    return cluster


def replayed(job: Cluster, manifest: Manifest, seed: int, folders: tuple[Path, Path], **given: bool | int) -> Cluster:
    vertices = tuple(job.scenario.graph(2, job.ledger).vertex(v.id).id for v in job.attempts[0].layout.vertices)
    place = Replayed(str(folders[0]), manifest.id, vertices, in_order=True)
    cluster = Cluster(
        job.scenario,
        seed,
        origin=(job.blobs, manifest),
        folder=str(folders[1]),
        replayed=place,
        credit=job.credit,
        parallelism=job.attempts[-1].layout.parallelism,
        checkpoint_timeout_ms=10_000,
    )
    run(cluster, random.Random(seed), **given)
    return cluster


def checkpoints(job: Cluster) -> list[Manifest]:
    """Return the checkpoints after which something is left to be done, oldest first."""
    whole = [one for _, one in job.manifests.newest_first() if isinstance(one, Manifest)]
    return [one for one in reversed(whole) if not all(task.finished for task in one.tasks)]


def check(job: Cluster, manifest: Manifest, again: Cluster, told: str) -> None:
    assert rows_of(again, LATE_ROWS) == rows_of(job, LATE_ROWS, manifest.id)
    assert rows_of(again, MAIN) == rows_of(job, MAIN, manifest.id)
    assert "order of its own" not in told


@pytest.mark.parametrize("parallelism", [2, 3])
@pytest.mark.parametrize("name", ["late", "groups", "union", "windows"])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_rows_are_late_and_the_same_changes_come(name, seed, parallelism, tmp_path, capfd):
    folders = tmp_path / "job", tmp_path / "replay"
    job = original(name, seed, folders[0], parallelism=parallelism)
    manifest = random.Random(seed).choice(checkpoints(job))
    again = replayed(job, manifest, seed + 1000, folders)
    check(job, manifest, again, capfd.readouterr().err)


@pytest.mark.parametrize("name", ["late", "groups"])
@pytest.mark.parametrize("seed", range(10, 14))
def test_deaths_pauses_and_checkpoints_in_between_change_nothing(name, seed, tmp_path, capfd):
    folders = tmp_path / "job", tmp_path / "replay"
    job = original(name, seed, folders[0], deaths=_DEATHS)
    manifest = random.Random(seed).choice(checkpoints(job))
    again = replayed(job, manifest, seed + 1000, folders, deaths=_DEATHS, asks=seed % 2 == 0, pauses=seed % 2 == 1)
    check(job, manifest, again, capfd.readouterr().err)


def test_a_replay_takes_checkpoints_where_the_job_took_them(tmp_path):
    folders = tmp_path / "job", tmp_path / "replay"
    job = original("late", 4, folders[0])
    first = checkpoints(job)[0]
    again = replayed(job, first, 1004, folders, asks=True)
    assert len(checkpoints(again)) > 1
    positions = [positions_of(one) for one in checkpoints(job)]
    for taken in checkpoints(again):
        assert positions_of(taken) in positions or is_behind(positions_of(taken), positions[-1])


def positions_of(manifest: Manifest) -> dict[str, int]:
    """Return how many rows of each split had been given out."""
    sources = [task.source for task in manifest.tasks if task.source is not None]
    return {split: one.rows for source in sources for split, one in source.splits.items()}


def is_behind(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(one.get(split, 0) >= rows for split, rows in other.items())


def test_without_the_notes_another_schedule_gives_other_late_rows(tmp_path):
    found = []
    for seed in range(6):
        folders = tmp_path / str(seed), tmp_path / f"{seed} again"
        job = original("late", seed, folders[0])
        shutil.rmtree(folders[0] / "turns")
        first = checkpoints(job)[0]
        again = replayed(job, first, seed + 1000, folders)
        found.append(rows_of(again, LATE_ROWS) == rows_of(job, LATE_ROWS, first.id))
    assert not all(found)
