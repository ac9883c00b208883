"""Stateful stream processing in a notebook, on Polars.

``import streamlab as sl`` is quick: what is named here is imported when it is first used. With the first stream the
processes of a first job start, too, so that they import what they need while this one does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamlab.core.home import settle_home
from streamlab.core.late_binding import offer

if TYPE_CHECKING:
    __version__: str
    from streamlab.core.dead_letter_warning import DeadLetterWarning, LateRowsWarning
    from streamlab.core.errors import (
        CheckpointError,
        InternalError,
        JobError,
        OptionError,
        PlanError,
        SinkError,
        SourceError,
        StateError,
        StepFailed,
        StreamlabError,
        WorkerLost,
    )
    from streamlab.frame.join import concat
    from streamlab.frame.stream_frame import StreamFrame
    from streamlab.frame.triggers import every, every_rows
    from streamlab.job import attach, jobs
    from streamlab.job.job import Job
    from streamlab.job.sources import (
        from_frame,
        generate,
        scan_csv,
        scan_ipc,
        scan_ndjson,
        scan_parquet,
        scan_recording,
        socket,
        stream,
        system_metrics,
    )
    from streamlab.notebook import load_ipython_extension, unload_ipython_extension

_SOURCES = "streamlab.job.sources"
_HOMES = {
    "streamlab.core.dead_letter_warning": ("DeadLetterWarning", "LateRowsWarning"),
    "streamlab.core.errors": (
        "CheckpointError",
        "InternalError",
        "JobError",
        "OptionError",
        "PlanError",
        "SinkError",
        "SourceError",
        "StateError",
        "StepFailed",
        "StreamlabError",
        "WorkerLost",
    ),
    "streamlab.frame.join": ("concat",),
    "streamlab.frame.stream_frame": ("StreamFrame",),
    "streamlab.frame.triggers": ("every", "every_rows"),
    "streamlab.notebook": ("load_ipython_extension", "unload_ipython_extension"),
    "streamlab.job": ("attach", "jobs"),
    "streamlab.job.job": ("Job",),
    _SOURCES: (
        "from_frame",
        "generate",
        "scan_csv",
        "scan_ipc",
        "scan_ndjson",
        "scan_parquet",
        "scan_recording",
        "socket",
        "stream",
        "system_metrics",
    ),
}
settle_home()
offer("calls that may fork", "streamlab.runtime.process.forked_children:no_second_client")
offer("job.plot", "streamlab.notebook.view.plotting:plot")
offer("job.display", "streamlab.notebook.view.job_display:display_job")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CheckpointError",
    "DeadLetterWarning",
    "InternalError",
    "Job",
    "JobError",
    "LateRowsWarning",
    "OptionError",
    "PlanError",
    "SinkError",
    "SourceError",
    "StateError",
    "StepFailed",
    "StreamFrame",
    "StreamlabError",
    "WorkerLost",
    "attach",
    "concat",
    "every",
    "every_rows",
    "from_frame",
    "generate",
    "jobs",
    "load_ipython_extension",
    "scan_csv",
    "scan_ipc",
    "scan_ndjson",
    "scan_parquet",
    "scan_recording",
    "socket",
    "stream",
    "system_metrics",
    "unload_ipython_extension",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("streamlab")
    elif name in _HOME_OF:
        if _HOME_OF[name] == _SOURCES:
            import_module("streamlab.runtime.client.spares").warm_up(at_work=True)
            import_module("streamlab.runtime.process.forked_children").end_children_of_calls()
        value = getattr(import_module(_HOME_OF[name]), name)
        if _HOME_OF[name] == _SOURCES:
            reasons = import_module("streamlab.connectors.contracts.polars_arguments").REASONS.get(name)
            value = import_module("streamlab.core.named_arguments").naming_arguments(value, reasons)
    else:
        text = f"module 'streamlab' has no attribute {name!r}"
        raise AttributeError(text)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
