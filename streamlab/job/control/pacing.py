"""How fast a running job reads its sources, by the event times of their rows."""

from __future__ import annotations

from streamlab.connectors.contracts.source import pace_name
from streamlab.connectors.contracts.timing import Pace, pace_factor
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.messages.protocol import PaceRequested


class PacedJob:
    """The methods of a job that have to do with its pace."""

    _handle: JobHandle

    @property
    def pace(self) -> str:
        """How fast it reads: ``"max"``, ``"realtime"``, ``"60x"``, …; empty when that cannot be changed."""
        return self._handle.status().pace

    def set_pace(self, pace: Pace) -> None:
        """Read on at another pace, from the next batch on.

        Event time goes on from where it stands: no rows are skipped, nothing comes in a burst, and the results and late
        rows are the same. The pace holds for all sources that can be read again and have an event time, after a restart
        too; live sources go on as they do.

        Parameters
        ----------
        pace
            ``"max"``, ``"realtime"``, or how many times faster than real time: ``"60x"`` or ``60``.

        Raises
        ------
        OptionError
            If that is no pace.
        JobError
            If the job has ended or is stopping, or none of its sources can be paced.

        Examples
        --------
        ::

            job = sl.scan_parquet("flights", event_time="dep_time").start("flights")
            job.set_pace("3600x")       # an hour a second
            job.set_pace("max")
        """
        self._handle.request(PaceRequested(pace_name(pace_factor(pace))))
