"""Random frames with a column of every dtype that a stream can have, and the comparison of two results."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import polars as pl
from hypothesis import strategies as st

UTC = dt.UTC
_DAYS = st.dates(dt.date(1950, 1, 1), dt.date(2050, 1, 1))
_TIMES = st.datetimes(dt.datetime.fromisoformat("1950-01-01"), dt.datetime.fromisoformat("2050-01-01"))
_FLOATS = st.one_of(
    st.floats(-1e3, 1e3, width=16), st.sampled_from([math.nan, 0.0, -0.0, 1.0]), st.sampled_from([math.inf, -math.inf])
)
_SPANS = st.timedeltas(dt.timedelta(days=-400), dt.timedelta(days=400))

COLUMNS: dict[str, tuple[pl.DataType, st.SearchStrategy[object]]] = {
    "i8": (pl.Int8(), st.integers(-128, 127)),
    "i16": (pl.Int16(), st.integers(-(2**15), 2**15 - 1)),
    "i32": (pl.Int32(), st.integers(-(10**7), 10**7)),
    "i64": (pl.Int64(), st.one_of(st.integers(-3, 3), st.integers(-(2**52), 2**52))),
    "i128": (pl.Int128(), st.integers(-(2**52), 2**52)),
    "u8": (pl.UInt8(), st.integers(0, 255)),
    "u32": (pl.UInt32(), st.integers(0, 10**7)),
    "u64": (pl.UInt64(), st.integers(0, 2**52)),
    "f32": (pl.Float32(), _FLOATS),
    "f64": (pl.Float64(), _FLOATS),
    "flag": (pl.Boolean(), st.booleans()),
    "text": (pl.String(), st.sampled_from(["", "a", "b", "ß", "long enough to be out of line"])),
    "raw": (pl.Binary(), st.binary(max_size=3)),
    "day": (pl.Date(), _DAYS),
    "when": (pl.Datetime("us"), _TIMES),
    "when_ms": (pl.Datetime("ms", "UTC"), _TIMES.map(lambda t: t.replace(tzinfo=UTC))),
    "span": (pl.Duration("us"), _SPANS),
    "clock": (pl.Time(), st.times()),
    "money": (pl.Decimal(12, 2), st.integers(-(10**9), 10**9).map(lambda n: Decimal(n).scaleb(-2))),
    "kind": (pl.Categorical(), st.sampled_from(["x", "y", "z"])),
    "level": (pl.Enum(["low", "high"]), st.sampled_from(["low", "high"])),
    "items": (pl.List(pl.Int64()), st.lists(st.integers(0, 2), max_size=2)),
    "pair": (pl.Struct({"p": pl.Int64()}), st.fixed_dictionaries({"p": st.integers(0, 2)})),
    "nothing": (pl.Null(), st.none()),
}
SCHEMA = pl.Schema(
    {"key": pl.Int64(), "at": pl.Datetime("us"), "yes": pl.Boolean(), **{n: dtype for n, (dtype, _) in COLUMNS.items()}}
)


@st.composite
def frames(draw: st.DrawFn, columns: list[str], max_rows: int = 25) -> pl.DataFrame:
    """Draw rows with a key (null is one), an event time with ties, a condition, and the columns asked for."""
    rows = draw(st.integers(0, max_rows))

    def series(name: str, values: st.SearchStrategy[object], *, nulls: bool = True) -> pl.Series:
        items = st.one_of(values, values, values, st.none()) if nulls else values
        return pl.Series(name, draw(st.lists(items, min_size=rows, max_size=rows)), dtype=SCHEMA[name])

    base = dt.datetime.fromisoformat("1969-12-31T23:59:58")
    return pl.DataFrame(
        [
            series("key", st.integers(0, 2)),
            series("at", st.integers(0, 4).map(lambda n: base + dt.timedelta(seconds=n)), nulls=False),
            series("yes", st.booleans()),
            *(series(name, COLUMNS[name][1]) for name in dict.fromkeys(columns)),
        ]
    )


@st.composite
def cuts(draw: st.DrawFn, frame: pl.DataFrame) -> list[pl.DataFrame]:
    """Draw a way to cut a frame into one to six pieces, some of them empty."""
    ends = sorted(draw(st.lists(st.integers(0, frame.height), max_size=5)))
    return [frame[a:b] for a, b in zip([0, *ends], [*ends, frame.height], strict=True)]


def same(got: object, expected: object, tolerance: float) -> bool:
    """Return whether two values are equal; floats nearly so, lists item by item, NaN and NaN too."""
    if isinstance(got, float) and isinstance(expected, float):
        if math.isnan(got) or math.isnan(expected):
            return math.isnan(got) and math.isnan(expected)
        return math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(same(g, e, tolerance) for g, e in zip(got, expected, strict=True))
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same(got[key], expected[key], tolerance) for key in got)
    return got == expected


def assert_same(got: pl.DataFrame, expected: pl.DataFrame, tolerance: float = 1e-9) -> None:
    """Fail unless two frames hold the same rows in the same order, with the same names and dtypes."""
    assert got.schema == expected.schema
    assert got.height == expected.height
    for name in expected.columns:
        near = 1e-3 if expected.schema[name] in {pl.Float32, pl.Float16} else tolerance
        pairs = list(zip(got[name].to_list(), expected[name].to_list(), strict=True))
        assert all(same(g, e, near) for g, e in pairs), f"{name}: {pairs}"
