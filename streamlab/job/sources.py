"""The functions that streams begin with: each makes a source, and the source becomes a StreamFrame."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.contracts.timing import timing
from streamlab.connectors.files import files
from streamlab.connectors.recording import recording
from streamlab.connectors.sources import frames, sockets
from streamlab.connectors.sources import generate as generating
from streamlab.connectors.sources import system_metrics as metrics
from streamlab.frame.stream_frame import StreamFrame
from streamlab.job.local_runner import LocalRunner

P = ParamSpec("P")
_SEE_TIMING = """event_time, watermark, idle_timeout, pace, max_advance
    See :func:`~streamlab.connectors.contracts.timing.timing`."""
_TIMING = inspect.cleandoc(timing.__doc__ or "").partition("----------\n")[2].partition("\n\nRaises")[0]
"""What is said of these arguments there."""

_N_ROWS = "    How many rows are read, the first that come; then the stream ends, as with ``head(n)``."
_LAST_PARAMETER = "event_time"
"""Before what is said of time, the arguments about files end."""


def stream(source: Source) -> StreamFrame:
    """Return a stream that reads a source; the way in for sources that are not streamlab's own.

    Parameters
    ----------
    source
        A :class:`streamlab.connectors.contracts.source.Source`.

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


def _limited(scan: Callable[P, Source]) -> Callable[..., StreamFrame]:
    """Return the function that gives a stream of files, which takes Polars' ``n_rows`` besides."""
    begin = _streaming(scan)

    @functools.wraps(begin)
    def limited(*args: P.args, n_rows: int | None = None, **kwargs: P.kwargs) -> StreamFrame:  # type: ignore[valid-type]
        frame = begin(*args, **kwargs)
        return frame if n_rows is None else frame.head(n_rows)

    limited.__doc__ = (begin.__doc__ or "").replace(_LAST_PARAMETER, f"n_rows\n{_N_ROWS}\n{_LAST_PARAMETER}", 1)
    signature = inspect.signature(begin)
    first, *others = signature.parameters.values()
    mine = inspect.Parameter("n_rows", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="int | None")
    limited.__signature__ = signature.replace(parameters=[first, mine, *others])  # type: ignore[attr-defined]
    return limited


from_frame = _streaming(frames.from_frame)
scan_parquet = _limited(files.scan_parquet)
scan_csv = _limited(files.scan_csv)
scan_ndjson = _limited(files.scan_ndjson)
scan_ipc = _limited(files.scan_ipc)
generate = _streaming(generating.generate)
system_metrics = _streaming(metrics.system_metrics)
socket = _streaming(sockets.socket)
scan_recording = _streaming(recording.scan_recording)
