"""The functions that streams begin with: each makes a source, and the source becomes a StreamFrame."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec

from streamlab.connectors import files, frames, recording, sockets
from streamlab.connectors import generate as generating
from streamlab.connectors import system_metrics as metrics
from streamlab.connectors.source import Source
from streamlab.connectors.timing import timing
from streamlab.frame.stream_frame import StreamFrame
from streamlab.session.local_runner import LocalRunner

P = ParamSpec("P")
_SEE_TIMING = """event_time, watermark, idle_timeout, pace, max_advance
    See :func:`~streamlab.connectors.timing.timing`."""
_TIMING = inspect.cleandoc(timing.__doc__ or "").partition("----------\n")[2].partition("\n\nRaises")[0]
"""What is said of these arguments there."""


def stream(source: Source) -> StreamFrame:
    """Return a stream that reads a source; the way in for sources that are not streamlab's own.

    Parameters
    ----------
    source
        A :class:`streamlab.connectors.source.Source`.

    Raises
    ------
    PlanError
        If a column has a name that streamlab keeps for itself.

    Examples
    --------
    >>> import polars as pl
    >>> from streamlab.testing.sources import SplitFrames
    >>> rows = pl.DataFrame({"n": [1, 2]})
    >>> stream(SplitFrames("two at once", rows.schema, (rows, rows))).collect().height
    4
    """
    return StreamFrame.reading(source, LocalRunner())


def _streaming(make: Callable[P, Source]) -> Callable[P, StreamFrame]:
    """Return the function that gives a stream where `make` gives its source, with the same arguments.

    Its text is that of `make`, with the arguments about time in full.
    """

    @functools.wraps(make)
    def streaming(*args: P.args, **kwargs: P.kwargs) -> StreamFrame:
        return stream(make(*args, **kwargs))

    text = inspect.cleandoc(make.__doc__ or "").replace("Return a source that", "Return a stream that", 1)
    streaming.__doc__ = text.replace(_SEE_TIMING, _TIMING)
    signature = inspect.signature(make).replace(return_annotation="StreamFrame")
    streaming.__signature__ = signature  # type: ignore[attr-defined]
    streaming.__module__ = __name__
    return streaming


from_frame = _streaming(frames.from_frame)
scan_parquet = _streaming(files.scan_parquet)
scan_csv = _streaming(files.scan_csv)
scan_ndjson = _streaming(files.scan_ndjson)
scan_ipc = _streaming(files.scan_ipc)
generate = _streaming(generating.generate)
system_metrics = _streaming(metrics.system_metrics)
socket = _streaming(sockets.socket)
scan_recording = _streaming(recording.scan_recording)
