"""Rows as they travel between workers: an Arrow IPC stream, uncompressed.

Polars writes and reads any column, and is by far the quickest with few rows. Many rows whose values all have a fixed
width PyArrow writes and reads in a fraction of the time, for it writes into memory of the right size and reads without
a copy. It is imported by the first of these: a worker may have none.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import polars as pl

from streamlab.core.errors import StepFailed, explained

_MANY_ROWS = 4_096
"""Rows from which on PyArrow is quicker, with four columns."""
_NEWEST = pl.CompatLevel.newest()


def packed(frame: pl.DataFrame) -> tuple[memoryview, bool]:
    """Return the bytes of some rows, and whether they are many, all of whose values have a fixed width.

    Raises
    ------
    StepFailed
        If a column has a dtype that cannot travel between processes.
    """
    objects = [name for name, dtype in frame.schema.items() if dtype == pl.Object]
    if objects:
        text = explained(
            "exchange",
            needed="columns that can travel between processes",
            got=f"Object in {', '.join(objects)}",
            hint="turn them into strings, numbers, lists or structs first",
        )
        raise StepFailed(text, step="exchange")
    if frame.height >= _MANY_ROWS and all(_is_plain(dtype) for dtype in frame.dtypes):
        import pyarrow as pa  # noqa: PLC0415 - see above

        table: Any = frame.to_arrow(compat_level=_NEWEST)
        size = pa.MockOutputStream()
        _write(table, size)
        body = pa.allocate_buffer(size.size())
        _write(table, pa.FixedSizeBufferWriter(body))
        return memoryview(body), True
    buffer = BytesIO()
    frame.write_ipc_stream(buffer, compat_level=_NEWEST)
    return memoryview(buffer.getvalue()), False


def unpacked(body: bytes | memoryview, *, plain: bool) -> pl.DataFrame:
    """Return the rows that :func:`packed` has made bytes of."""
    if not plain:
        return pl.read_ipc_stream(bytes(body))
    import pyarrow as pa  # noqa: PLC0415 - see above

    # Into memory of Arrow's own, which a thread of Polars can give back without waiting for Python.
    own = pa.allocate_buffer(len(body))
    memoryview(own).cast("B")[:] = memoryview(body).cast("B")
    frame: Any = pl.from_arrow(pa.ipc.open_stream(own).read_all())
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _write(table: Any, sink: Any) -> None:
    import pyarrow as pa  # noqa: PLC0415 - see above

    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)


def _is_plain(dtype: pl.DataType) -> bool:
    """Return whether values have a fixed width that Arrow knows too.

    Text is not: a column that was filtered still refers to the text of all rows, which PyArrow would send.
    """
    if dtype in {pl.Int128, pl.UInt128}:
        return False
    return dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean
