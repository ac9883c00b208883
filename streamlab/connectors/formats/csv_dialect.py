"""The dialect of a CSV file: how its text stands for records, and where the first record begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamlab.connectors.formats.encodings import UTF8, Encoding
from streamlab.connectors.formats.text import BOM
from streamlab.core.errors import OptionError, explained

NullValues = tuple[str, ...] | tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Dialect:
    """How records are written; the names are those of ``pl.scan_csv``.

    Attributes
    ----------
    separator : str
        One character.
    quote_char : str | None
        One character, or None when quotes mean nothing.
    comment_prefix : str | None
        How a line begins that is no record.
    has_header : bool
        Whether the first record holds the column names.
    new_columns : tuple[str, ...]
        Names in place of those of the header.
    skip_lines : int
        Lines that are left out first, whatever is in them.
    skip_rows, skip_rows_after_header : int
        Records that are left out before the header, and after it.
    null_values : tuple
        Texts that mean null, besides the empty field; or pairs of a column and its text.
    empty_string_is_null : bool
        Whether an empty field of a text column is null.
    decimal_comma : bool
        Whether numbers have a comma where others have a point.
    truncate_ragged_lines : bool
        Whether fields beyond the last column are left out, instead of making a record no good.
    encoding : Encoding
        What the bytes stand for.
    """

    separator: str = ","
    quote_char: str | None = '"'
    comment_prefix: str | None = None
    has_header: bool = True
    new_columns: tuple[str, ...] = ()
    skip_rows: int = 0
    skip_rows_after_header: int = 0
    null_values: NullValues = ()
    empty_string_is_null: bool = True
    decimal_comma: bool = False
    truncate_ragged_lines: bool = False
    encoding: Encoding = field(default=UTF8)
    skip_lines: int = 0

    def __post_init__(self) -> None:
        for name, value in (("separator", self.separator), ("quote_char", self.quote_char)):
            if value is not None and (not isinstance(value, str) or len(value) != 1 or not value.isascii()):
                raise OptionError(explained(name, needed="one ASCII character", got=repr(value)))
        if self.comment_prefix is not None and not (isinstance(self.comment_prefix, str) and self.comment_prefix):
            raise OptionError(explained("comment_prefix", needed="a text such as '#'", got=repr(self.comment_prefix)))
        for name in ("skip_lines", "skip_rows", "skip_rows_after_header"):
            rows = getattr(self, name)
            if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
                what = "lines" if name == "skip_lines" else "records"
                raise OptionError(explained(name, needed=f"a number of {what}, 0 or more", got=repr(rows)))
        if self.skip_lines and self.skip_rows:
            needed = "one of skip_lines and skip_rows"
            raise OptionError(explained("scan_csv", needed=needed, got="both", hint="skip_lines counts any lines"))
        if self.decimal_comma and self.separator == ",":
            hint = "give the separator, such as separator=';'"
            raise OptionError(
                explained("decimal_comma", needed="another separator than the comma", got="','", hint=hint)
            )

    @property
    def reading(self) -> dict[str, Any]:
        """The options as Polars' reader takes them for text that begins with a record."""
        nulls: Any = list(self.null_values) or None
        if self.null_values and isinstance(self.null_values[0], tuple):
            nulls = dict(self.null_values)
        return {
            "separator": self.separator,
            "quote_char": self.quote_char,
            "comment_prefix": self.comment_prefix,
            "null_values": nulls,
            "empty_string_is_null": self.empty_string_is_null,
            "decimal_comma": self.decimal_comma,
            "truncate_ragged_lines": self.truncate_ragged_lines,
        }

    def prologue(self, head: bytes) -> tuple[int, int, int]:
        """Return where the header begins and ends and where the first record begins, in the first bytes of a file.

        Blank lines before a header are none, lines of comment are no records. Without a header all three are one place.
        """
        at = len(BOM) if head.startswith(BOM) else 0
        for _ in range(self.skip_lines):
            at = _line_end(head, at)
        if self.has_header:
            at = self._after_blank(head, at)
        for _ in range(self.skip_rows):
            at = self._record_end(head, self._after_comments(head, at))
        start = end = at
        if self.has_header:
            start = self._after_blank(head, at)
            end = at = self._record_end(head, start)
            for _ in range(self.skip_rows_after_header):
                at = self._record_end(head, self._after_comments(head, at))
        return start, end, at

    def without_quotes_in_comments(self, data: bytes) -> bytes:
        """Return text of the same length in which every quote belongs to a record."""
        if self.comment_prefix is None or self.quote_char is None:
            return data
        prefix, quote = self.comment_prefix.encode(), self.quote_char.encode()
        if prefix not in data:
            return data
        parts: list[bytes] = []
        done, at, inside = 0, 0, 0
        while (at := _line_with(prefix, data, at)) >= 0:
            inside ^= data.count(quote, done, at) % 2
            end = _line_end(data, at)
            parts.append(data[done:at])
            # Within quotes such a line is text.
            parts.append(data[at:end] if inside else data[at:end].replace(quote, b" "))
            inside ^= data.count(quote, at, end) % 2 if inside else 0
            done = at = end
        return b"".join([*parts, data[done:]])

    def _after_comments(self, head: bytes, at: int) -> int:
        prefix = self.comment_prefix.encode() if self.comment_prefix else None
        while prefix is not None and head.startswith(prefix, at):
            at = _line_end(head, at)
        return at

    def _after_blank(self, head: bytes, at: int) -> int:
        while at < len(head):
            end = self._after_comments(head, at)
            if head.startswith((b"\n", b"\r\n"), end):
                end = _line_end(head, end)
            if end == at:
                break
            at = end
        return at

    def _record_end(self, head: bytes, start: int) -> int:
        """Return where a record ends, quoted line ends included; one whose quote never closes ends with its line."""
        quote = self.quote_char.encode() if self.quote_char else None
        end = head.find(b"\n", start) + 1
        while end and quote is not None and head.count(quote, start, end) % 2:
            end = head.find(b"\n", end) + 1
        return end or _line_end(head, start)


def null_texts(given: Any) -> NullValues:
    """Return `null_values` as a tuple: a text, several, or one for each column. Raises OptionError."""
    if given is None:
        return ()
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Mapping):
        return tuple((str(name), str(text)) for name, text in given.items())
    try:
        texts = tuple(given)
    except TypeError:
        texts = (None,)
    if not all(isinstance(text, str) for text in texts):
        needed = "a text, a list of texts, or a mapping of columns to texts"
        raise OptionError(explained("null_values", needed=needed, got=repr(given)))
    return texts


def _line_end(data: bytes, at: int) -> int:
    return data.find(b"\n", at) + 1 or len(data)


def _line_with(prefix: bytes, data: bytes, at: int) -> int:
    """Return where the next line begins that begins so, or -1; `at` is where a line begins."""
    if data.startswith(prefix, at):
        return at
    found = data.find(b"\n" + prefix, at)
    return found + 1 if found >= 0 else -1
