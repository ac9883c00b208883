"""What goes wrong in the simulation of recovery, and when: drawn from the seed, apart from the schedule.

A fault has its own random numbers, so leaving one out changes nothing that happens before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from streamlab.state.checkpoints.contents import file_name
from streamlab.state.checkpoints.manifest import Manifest, StoredFrame, StoredState
from streamlab.testing.simulated_cluster import Cluster

_LATEST = 320
_MOST = 5
_CLIENTS_THAT_END = 0.15
"""Share of the runs in which the client ends before the job."""
_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes
    ----------
    step : int
        When: after that many things have happened.
    kind : str
        What; the name of a method.
    number : int
        Decides the details.
    """

    step: int
    kind: str
    number: int

    def strike(self, cluster: Cluster) -> None:
        """Let it happen."""
        cluster.note(f"fault: {self.kind.replace('_', ' ')}")
        getattr(self, f"_{self.kind}")(cluster, Random(self.number))  # noqa: S311 - reproducible, not secret

    def _kill_worker(self, cluster: Cluster, random: Random) -> None:
        alive = [worker for worker in cluster.workers if worker.alive]
        if alive:
            cluster.kill(random.choice(alive), early=random.random() < 0.3)  # noqa: PLR2004

    def _kill_coordinator(self, cluster: Cluster, random: Random) -> None:
        cluster.replace_coordinator()

    def _power_failure(self, cluster: Cluster, random: Random) -> None:
        cluster.replace_coordinator(power_fails=True)

    def _step_raises(self, cluster: Cluster, random: Random) -> None:
        alive = [worker for worker in cluster.workers if worker.alive]
        if alive:
            random.choice(alive).poison(self.number)

    def _clock_jump(self, cluster: Cluster, random: Random) -> None:
        cluster.now_us += random.choice((-_HOUR_US, -1_000_000, 1_000_000, _HOUR_US))

    def _disk_full(self, cluster: Cluster, random: Random) -> None:
        cluster.blobs.refuse_writes(random.randrange(1, 6))

    def _store_unreachable(self, cluster: Cluster, random: Random) -> None:
        cluster.blobs.refuse_reads(1)
        self._kill_worker(cluster, random)

    def _crash_at_write(self, cluster: Cluster, random: Random) -> None:
        cluster.blobs.crash_at_write(named=random.random() < 0.5)  # noqa: PLR2004

    def _damage(self, cluster: Cluster, random: Random) -> None:
        """Damage the newest checkpoint, and let it be needed."""
        for checkpoint_id, found in cluster.manifests.newest_first():
            if isinstance(found, Manifest):
                files = [f for task in found.tasks for state in task.operators.values() for f in _frames(state)]
                names = [f"checkpoints/{checkpoint_id:04d}/manifest.json", *(file_name(stored) for stored in files)]
                name = random.choice(names)
                what = cluster.blobs.damage(name, random)
                cluster.ledger.may_go_back = True
                cluster.note(f"{what} a {'manifest' if name == names[0] else 'file'} of checkpoint {checkpoint_id}")
                break
        if random.random() < 0.5:  # noqa: PLR2004
            self._kill_worker(cluster, random)
        else:
            cluster.replace_coordinator(power_fails=random.random() < 0.5)  # noqa: PLR2004

    def _client_ends(self, cluster: Cluster, random: Random) -> None:
        cluster.end_client()

    def _rescale(self, cluster: Cluster, random: Random) -> None:
        cluster.rescale(random.choice((1, 2, 3)), f"fault {self.number}")


def _frames(state: StoredState) -> list[StoredFrame]:
    return [frame for name in sorted(state.keyed) for frame in state.keyed[name]]


KINDS = (
    "kill_worker",
    "kill_worker",
    "kill_coordinator",
    "kill_coordinator",
    "power_failure",
    "step_raises",
    "clock_jump",
    "disk_full",
    "store_unreachable",
    "crash_at_write",
    "damage",
    "rescale",
)
"""Faults, as often as they are drawn."""
CLIENT_ENDS = "client_ends"
"""What happens in some runs besides: the job ends early, and another one goes on from its last checkpoint."""


def draw_faults(seed: int) -> tuple[Fault, ...]:
    """Return the faults of a seed, earliest first; one seed in twelve has none. A rescale is often disturbed."""
    random = Random(f"faults of {seed}")  # noqa: S311
    count = random.choices(range(_MOST + 1), weights=(1, 2, 3, 3, 2, 1))[0]
    drawn = [Fault(random.randrange(1, _LATEST), random.choice(KINDS), random.randrange(1 << 30)) for _ in range(count)]
    followers = (_follower(fault) for fault in drawn if fault.kind == "rescale")
    drawn += [fault for fault in followers if fault is not None]
    if random.random() < _CLIENTS_THAT_END:
        drawn.append(Fault(random.randrange(1, _LATEST), CLIENT_ENDS, random.randrange(1 << 30)))
    return tuple(sorted(drawn, key=lambda fault: fault.step))


def _follower(rescale: Fault) -> Fault | None:
    """Return what goes wrong while a job is rescaled, every second time."""
    random = Random(rescale.number)  # noqa: S311
    kind = random.choice(("kill_coordinator", "power_failure", "kill_worker", "rescale", None, None, None, None))
    return None if kind is None else Fault(rescale.step + random.randrange(40), kind, random.randrange(1 << 30))
