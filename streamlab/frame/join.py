"""Streams put together: joins with a frame that does not change and with another stream, and the union of streams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NoReturn, Self, TypeVar

import polars as pl

from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.frame.base import FrameBase
from streamlab.plan import nodes
from streamlab.plan.builders.joins import expanded, stream_join
from streamlab.plan.event_time import by_name
from streamlab.plan.expressions import parse
from streamlab.plan.schema import calls_python, check_names, refusal, show_columns, show_dtype, typed

F = TypeVar("F", bound=FrameBase)

_HOWS: dict[str, Literal["inner", "left", "semi", "anti"]] = {
    "inner": "inner",
    "left": "left",
    "semi": "semi",
    "anti": "anti",
}
_NO_END = (
    "which rows of the frame found no match is known only when the stream has ended: how='left' does without them, and "
    "of a stream, sl.from_frame(frame), they are given and taken back"
)
_REFUSED_HOWS = {
    "right": _NO_END,
    "full": _NO_END,
    "outer": _NO_END,
    "cross": "add a column of one value to both sides and join on it",
}
_STATIC = "join: the static frame"
_REFUSED_CHECKS = {"1:1", "1:m"}


class JoinMethods(FrameBase):
    """``join``: with a frame that does not change, or another stream."""

    __slots__ = ()

    def join(
        self,
        other: Any,
        on: Any = None,
        how: str = "inner",
        *,
        left_on: Any = None,
        right_on: Any = None,
        suffix: str = "_right",
        validate: str = "m:m",
        nulls_equal: bool = False,
        coalesce: bool | None = None,
        maintain_order: str | None = None,
        build_side: str = "auto",
        allow_parallel: bool = True,
        force_parallel: bool = False,
    ) -> Self:
        """Join with a frame that does not change, or with another stream.

        A frame is held whole by every subtask. Of another stream a row is joined with every row of equal keys, be it
        there already or still to come: so both streams are kept, rows come out as soon as both of a pair are there, and
        they have no event time any more, since they can be of any age (Flink's regular join). A left, right, full or
        anti join of streams is an updating stream: a row without a match comes out at once, and is taken back when a
        match comes.

        Parameters
        ----------
        other
            A Polars DataFrame or LazyFrame (which is collected now), a pandas DataFrame, or another stream.
        on, left_on, right_on
            Columns or row-wise expressions that must be equal.
        how
            ``"inner"``, ``"left"``, ``"semi"`` or ``"anti"``; with another stream ``"right"`` and ``"full"`` as well.
        suffix, nulls_equal, coalesce
            As in Polars.
        validate
            ``"m:m"``, or ``"m:1"`` to check that the frame's keys are unique.
        maintain_order
            None, ``"none"`` or ``"left"``: rows of one batch come out in their order.
        build_side, allow_parallel, force_parallel
            Polars' advice to its optimiser; changes nothing here.

        Raises
        ------
        PlanError
            If the keys are missing or of unequal dtypes, or the join would need all of the stream.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> flights = sl.from_frame(pl.DataFrame({"carrier": ["AA", "UA"], "flights": [5, 8]}))
        >>> names = pl.DataFrame({"carrier": ["AA"], "airline": ["American"]})
        >>> flights.join(names, on="carrier", how="left").collect().sort("carrier").rows()
        [('AA', 5, 'American'), ('UA', 8, None)]
        """
        if isinstance(other, FrameBase):
            if validate != "m:m" or maintain_order not in {None, "none"}:
                got = f"validate={validate!r}" if validate != "m:m" else f"maintain_order={maintain_order!r}"
                hint = "a stream's keys are never all known, and each pair comes when its later row does"
                raise PlanError(explained("join", needed="neither, between two streams", got=got, hint=hint))
            options = {"suffix": suffix, "nulls_equal": nulls_equal, "coalesce": coalesce}
            return self._with(stream_join(self._plan, other.plan, _join_keys(on, left_on, right_on), how, options))
        right = _static_frame(other)
        kind = _checked_how(how)
        if validate in _REFUSED_CHECKS:
            hint = "'m:1' checks the frame's keys; the stream's own are known only when it has ended"
            raise PlanError(explained("join", needed="validate='m:m' or 'm:1'", got=repr(validate), hint=hint))
        if maintain_order not in {None, "none", "left"}:
            hint = "rows come out as the stream's rows come in"
            raise PlanError(
                explained("join", needed="maintain_order='left' or none", got=repr(maintain_order), hint=hint)
            )
        check_names("join", right.columns)
        left_keys, right_keys = _join_keys(on, left_on, right_on)
        left_keys = expanded("join", left_keys, self._plan.schema)
        right_keys = expanded(_STATIC, right_keys, right.schema)
        self._check_keys(left_keys, right_keys, right)
        self._check_rowwise("join", left_keys)
        kwargs: dict[str, Any] = {
            "suffix": suffix,
            "validate": validate,
            "nulls_equal": nulls_equal,
            "coalesce": coalesce,
        }
        schema = typed(
            "join",
            self._plan.schema,
            lambda frame: frame.join(right.lazy(), left_on=left_keys, right_on=right_keys, how=kind, **kwargs),
            left_keys,
        )
        node = nodes.StaticJoin(
            input=self._plan,
            right=right,
            how=kind,
            left_on=left_keys,
            right_on=right_keys,
            kwargs=kwargs,
            step="join",
            schema=schema,
            event_time=by_name(self._plan.event_time, self._plan.schema, schema),
        )
        return self._with(node)

    def _check_keys(self, left: tuple[pl.Expr, ...], right: tuple[pl.Expr, ...], frame: pl.DataFrame) -> None:
        """Say which side a missing key or a difference in dtype is on, which Polars does not."""
        if len(left) != len(right):
            got = f"{len(left)} of the stream and {len(right)} of the frame"
            raise PlanError(explained("join", needed="as many keys on both sides", got=got))
        mine = typed("join", self._plan.schema, lambda empty: empty.select(_numbered(left)), left)
        try:
            theirs = frame.clear().select(_numbered(right)).schema if not _any_python(right) else None
        except pl.exceptions.PolarsError as error:
            raise refusal(_STATIC, error, frame.schema) from None
        for expression, mine_type, their_type in zip(
            left, mine.dtypes(), theirs.dtypes() if theirs else (), strict=False
        ):
            if mine_type != their_type and not (mine_type.is_numeric() and their_type.is_numeric()):
                raise PlanError(
                    explained(
                        "join",
                        needed="keys of one dtype on both sides",
                        got=f"{expression}: {show_dtype(mine_type)} and, in the frame, {show_dtype(their_type)}",
                        hint="cast one of them",
                    )
                )


def concat(items: Iterable[F], *, how: str = "vertical", **_advice: Any) -> F:
    """Return one stream with all rows of all streams; its watermark is the lowest of theirs.

    Parameters
    ----------
    items
        Streams of one schema.
    how
        Only ``"vertical"``.
    **_advice
        ``rechunk``, ``parallel`` and ``strict``: Polars' advice to its optimiser; changes nothing here.

    Raises
    ------
    OptionError
        If there is no stream.
    PlanError
        If schemas differ, the message lists how; or some of the streams are updating ones and others are not.

    Examples
    --------
    >>> import polars as pl, streamlab as sl
    >>> one, other = (sl.from_frame(pl.DataFrame({"n": [n]})) for n in (1, 2))
    >>> sl.concat([one, other]).collect().sort("n").rows()
    [(1,), (2,)]
    """
    if isinstance(items, FrameBase):
        raise PlanError(explained("concat", needed="a list of streams", got="a single one", hint="sl.concat([a, b])"))
    frames = list(items)
    if how != "vertical":
        hint = "bring the streams to one schema with select(…) and cast(…) first"
        raise PlanError(explained("concat", needed="how='vertical'", got=f"how={how!r}", hint=hint))
    unknown = set(_advice) - {"rechunk", "parallel", "strict"}
    if unknown:
        text = explained("concat", needed="items, how, rechunk, parallel, strict", got=", ".join(sorted(unknown)))
        raise TypeError(text)
    for item in frames:
        if not isinstance(item, FrameBase):
            hint = "sl.from_frame(…) makes a stream of a frame"
            raise PlanError(explained("concat", needed="streams", got=f"a {type(item).__name__}", hint=hint))
    if not frames:
        raise OptionError(explained("concat", needed="at least one stream", got="none"))
    first, *others = frames
    if not others:
        return first
    for number, other in enumerate(others, start=2):
        _check_same(first.plan, other.plan, number)
    plans = tuple(frame.plan for frame in frames)
    if len({plan.updating for plan in plans}) > 1:
        at = next(number for number, plan in enumerate(plans, start=1) if plan.updating)
        raise PlanError(
            explained(
                "concat",
                needed="streams that are all append-only or all updating",
                got=f"a mixture: stream {at} is an updating one",
                hint="concat the streams before they are aggregated",
            )
        )
    times = {plan.event_time for plan in plans}
    node = nodes.Union(
        branches=plans,
        step="concat",
        schema=first.plan.schema,
        event_time=first.plan.event_time if len(times) == 1 else None,
    )
    return first._with(node)


def _check_same(first: nodes.Node, other: nodes.Node, number: int) -> None:
    mine, theirs = first.schema, other.schema
    if list(mine.items()) == list(theirs.items()):
        return
    parts = [f"no column {name!r}" for name in mine if name not in theirs]
    parts += [f"also {name!r}" for name in theirs if name not in mine]
    parts += [
        f"{name!r} as {show_dtype(theirs[name])} instead of {show_dtype(dtype)}"
        for name, dtype in mine.items()
        if name in theirs and theirs[name] != dtype
    ]
    if not parts:
        parts = [f"its columns in another order: {', '.join(theirs.names())}"]
    raise PlanError(
        explained(
            "concat",
            needed=f"streams of one schema ({show_columns(mine)})",
            got=f"stream {number} with {'; '.join(parts)}",
            hint="bring it to that schema with select(…) or cast(…)",
        )
    )


def _static_frame(other: Any) -> pl.DataFrame:
    if isinstance(other, pl.DataFrame):
        return other
    if isinstance(other, pl.LazyFrame):
        try:
            return other.collect()
        except pl.exceptions.PolarsError as error:
            raise refusal(_STATIC, error, pl.Schema()) from None
    if type(other).__module__.partition(".")[0] == "pandas":
        frame = pl.from_pandas(other)
        if isinstance(frame, pl.DataFrame):
            return frame
    return _refuse_frame(other)


def _refuse_frame(other: Any) -> NoReturn:
    raise PlanError(explained("join", needed="a Polars or pandas frame, or a stream", got=f"a {type(other).__name__}"))


def _checked_how(how: str) -> Literal["inner", "left", "semi", "anti"]:
    if how in _HOWS:
        return _HOWS[how]
    raise PlanError(
        explained(
            "join", needed="how='inner', 'left', 'semi' or 'anti'", got=repr(how), hint=_REFUSED_HOWS.get(how, "")
        )
    )


def _join_keys(on: Any, left_on: Any, right_on: Any) -> tuple[tuple[pl.Expr, ...], tuple[pl.Expr, ...]]:
    if (on is None) == (left_on is None and right_on is None) or (left_on is None) != (right_on is None):
        given = [
            name for name, value in (("on", on), ("left_on", left_on), ("right_on", right_on)) if value is not None
        ]
        raise PlanError(
            explained("join", needed="either on=, or both left_on= and right_on=", got=" and ".join(given) or "neither")
        )
    if on is not None:
        return parse(on), parse(on)
    return parse(left_on), parse(right_on)


def _numbered(keys: Sequence[pl.Expr]) -> list[pl.Expr]:
    """Return keys under names of their own: several may have one name."""
    return [key.alias(f"k{at}") for at, key in enumerate(keys)]


def _any_python(keys: Iterable[pl.Expr]) -> bool:
    return any(calls_python(key) for key in keys)
