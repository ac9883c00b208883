"""CSV text cut into its records one by one, for chunks that Polars' reader refuses or may have read too kindly."""

from __future__ import annotations

import re

import polars as pl

from streamlab.connectors.formats.csv_dialect import Dialect
from streamlab.connectors.formats.text import lines_of

_MAX_REPAIRS = 1_000


def records_of(data: bytes, line: int, widths: tuple[int, int], dialect: Dialect) -> pl.DataFrame:
    """Cut text into records: columns `line` (of the first), `text`, and `reason`, null when the record looks whole.

    Parameters
    ----------
    data
        Whole records.
    line
        The number of the first line.
    widths
        How many fields a record has at least and at most. A blank line is a record of nulls, as Polars has it.
    dialect
        How records are written.
    """
    lines, broken = lines_of(dialect.without_quotes_in_comments(data))
    table = pl.DataFrame(
        {
            "line": pl.int_range(line, line + len(lines), eager=True, dtype=pl.Int64),
            "text": pl.Series(lines, dtype=pl.String),
            "broken": pl.Series([at in broken for at in range(len(lines))], dtype=pl.Boolean),
        }
    )
    parts: list[pl.DataFrame] = []
    for _ in range(_MAX_REPAIRS):
        records = _joined(table, widths, dialect)
        torn = records.filter((pl.col("lines") > 1) & pl.col("reason").is_not_null()).head(1)
        if not torn.height:
            parts.append(records)
            break
        at = torn.item(0, "line")
        parts.append(records.filter(pl.col("line") < at))
        # The quote that opens here closes nowhere sensible: this line alone is bad, the next ones are read anew.
        alone = table.filter(pl.col("line") == at).select(
            "line", "text", lines=pl.lit(1, pl.get_index_type()), reason=pl.lit("a quote that is not closed")
        )
        parts.append(alone)
        table = table.filter(pl.col("line") > at)
        if not table.height:
            break
    else:
        parts.append(_joined(table, widths, dialect))
    records = pl.concat(parts).select("line", "text", "reason")
    if dialect.comment_prefix is None:
        return records
    return records.filter(~pl.col("text").str.starts_with(dialect.comment_prefix))


def usual_width(data: bytes, width: int, dialect: Dialect) -> int:
    """Return how many fields the records of a file have at least: fewer than its header only when all have fewer."""
    line = data[: data.find(b"\n") + 1] or data
    if _is_plain(line, dialect) and line.count(dialect.separator.encode()) == width - 1:
        return width
    first = records_of(line, 1, (width, width), dialect)
    if first.height and first.get_column("reason").null_count():
        return width
    most = _widths(records_of(data, 1, (0, width), dialect).filter(pl.col("reason").is_null()), dialect).max()
    return most if isinstance(most, int) and 0 < most < width else width


def _is_plain(line: bytes, dialect: Dialect) -> bool:
    """Return whether all separators of a line part fields: there is no quote, and it is no comment."""
    has_quote = dialect.quote_char is not None and dialect.quote_char.encode() in line
    is_comment = dialect.comment_prefix is not None and line.startswith(dialect.comment_prefix.encode())
    return not has_quote and not is_comment and line.isascii()


def _joined(table: pl.DataFrame, widths: tuple[int, int], dialect: Dialect) -> pl.DataFrame:
    """Join the lines that quotes hold together, and count the fields of each record."""
    ends = pl.col("text").str.strip_suffix("\r")
    if dialect.quote_char is None:
        joined = table.with_columns(ends, lines=pl.lit(1, pl.get_index_type()))
    else:
        quote = dialect.quote_char
        inside = pl.col("text").str.count_matches(quote, literal=True).cum_sum().shift(1, fill_value=0) % 2
        joined = (
            table.group_by((inside == 0).cum_sum().alias("record"), maintain_order=True)
            .agg(pl.col("line").first(), pl.col("text").str.join("\n"), pl.col("broken").any(), pl.len().alias("lines"))
            .select("line", ends, "broken", "lines")
        )
    fields = _fields(dialect)
    least, most = widths
    wrong = fields < least if dialect.truncate_ragged_lines else ~fields.is_between(least, most)
    reason = (
        pl.when(pl.col("broken"))
        .then(pl.lit(f"not {dialect.encoding.shown}"))
        .when(_is_unclosed(dialect))
        .then(pl.lit("a quote that is not closed"))
        .when(wrong & (pl.col("text") != ""))
        .then(pl.format("{} fields, not {}", fields, pl.lit(most)))
    )
    return joined.select("line", "text", "lines", reason.alias("reason"))


def _widths(records: pl.DataFrame, dialect: Dialect) -> pl.Series:
    return records.filter(pl.col("text") != "").select(_fields(dialect)).to_series()


def _fields(dialect: Dialect) -> pl.Expr:
    return _unquoted(dialect).str.count_matches(dialect.separator, literal=True) + 1


def _is_unclosed(dialect: Dialect) -> pl.Expr:
    if dialect.quote_char is None:
        return pl.lit(value=False)
    return _unquoted(dialect).str.contains(dialect.quote_char, literal=True)


def _unquoted(dialect: Dialect) -> pl.Expr:
    if dialect.quote_char is None:
        return pl.col("text")
    mark = re.escape(dialect.quote_char)
    return pl.col("text").str.replace_all(f"{mark}[^{mark}]*{mark}", "")
