"""StreamFrame: a Polars LazyFrame that never ends."""

from __future__ import annotations

from inspect import getattr_static
from types import FunctionType
from typing import NoReturn

from streamlab.connectors.contracts.source import Source
from streamlab.core.named_arguments import naming_arguments
from streamlab.frame.habits import NoSuchAttribute, missing_attribute, refuse_conversion, refuse_item, refuse_length
from streamlab.frame.habits.words import OF_ARGUMENTS
from streamlab.frame.join import JoinMethods
from streamlab.frame.outputs import OutputMethods
from streamlab.frame.refused import RefusedMethods
from streamlab.frame.runner import Runner
from streamlab.frame.table_sinks import TableSinkMethods
from streamlab.frame.totals import TotalMethods
from streamlab.frame.windows import WindowMethods
from streamlab.plan.nodes import Scan
from streamlab.plan.schema import OURS, check_names

_READ_RENAMED = f"{OURS}: read it with Polars, as in sl.from_frame(frame.rename({{…}}))"


class StreamFrame(TotalMethods, JoinMethods, WindowMethods, RefusedMethods, OutputMethods, TableSinkMethods):
    """A query over a stream: Polars' LazyFrame, except that rows keep coming.

    Methods have Polars' names, arguments and expressions. Each one checks itself at once against the columns there
    are and returns a new frame; nothing runs before one of the outputs (`collect`, `start`, `take`, `sink_…`) is
    called. What a bounded stream gives is what Polars gives for the same query; row order is not defined.

    Frames come from ``sl.from_frame``, ``sl.scan_parquet`` and the other sources.

    Examples
    --------
    >>> import polars as pl, streamlab as sl
    >>> flights = sl.from_frame(pl.DataFrame({"origin": ["JFK", "LGA", "JFK"], "delay": [4.0, 0.0, 8.0]}))
    >>> late = flights.filter(pl.col("delay") > 0).group_by("origin").agg(pl.col("delay").mean())
    >>> late.collect().rows()
    [('JFK', 6.0)]
    """

    __slots__ = ()

    @classmethod
    def reading(cls, source: Source, runner: Runner) -> StreamFrame:
        """Return the stream of a source's rows.

        Raises
        ------
        PlanError
            If a column has a name that streamlab keeps for itself.

        Examples
        --------
        As ``sl.stream(source)``, with a runner of one's own.
        """
        check_names(source.name, source.schema, _READ_RENAMED)
        scan = Scan(source=source, step=source.name, schema=source.schema, event_time=source.timing.event_time)
        return cls(scan, runner)

    def __contains__(self, name: object) -> bool:
        return name in self._plan.schema

    def __bool__(self) -> NoReturn:
        text = "the truth value of a StreamFrame is ambiguous: it has no rows before it runs"
        raise TypeError(text)

    def __getitem__(self, item: object) -> NoReturn:
        refuse_item(item, self._plan.schema)

    def __len__(self) -> NoReturn:  # noqa: PLE0303 - it never returns
        refuse_length()

    def __arrow_c_stream__(self, requested_schema: object = None) -> NoReturn:
        refuse_conversion()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            text = f"'StreamFrame' object has no attribute {name!r}"
        else:
            text = missing_attribute(name, self._plan.schema, [one for one in dir(type(self)) if one[0] != "_"])
        raise NoSuchAttribute(text, name=name, obj=self)


def _name_arguments(frame: type[StreamFrame]) -> None:
    """Have all methods of a frame say which argument was meant."""
    for name in dir(frame):
        method = getattr_static(frame, name)
        if name[0] != "_" and isinstance(method, FunctionType):
            said = f"select(pl.col('x').{name}()) aggregates one column" if name in vars(TotalMethods) else ""
            setattr(frame, name, naming_arguments(method, OF_ARGUMENTS, said))


_name_arguments(StreamFrame)
