"""Text in any encoding, read as UTF-8, with offsets that stay those of the file.

A reader's positions are byte offsets in the file. What is parsed is UTF-8, so a place where the text was cut has to be
found in the file again: by line ends where those are single bytes, and by writing the text anew where they are not.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from streamlab.core.errors import OptionError, explained

_UTF8 = "utf-8"
_LOSSY = "utf8-lossy"
_WIDE = {
    "utf-16": ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
    "utf-32": ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
}
"""Encodings whose byte order the file tells: the first one, when it does not."""


@dataclass(frozen=True)
class Encoding:
    """How the bytes of a file stand for text.

    Attributes
    ----------
    codec : str
        Python's name of it.
    lossy : bool
        Whether what cannot be read becomes a replacement character; otherwise its record is no good.
    """

    codec: str = _UTF8
    lossy: bool = False

    @classmethod
    def named(cls, name: str) -> Encoding:
        """Return an encoding by Polars' or Python's name of it. Raises OptionError when there is none.

        >>> Encoding.named("utf8").codec, Encoding.named("latin1").codec
        ('utf-8', 'iso8859-1')
        """
        if name == _LOSSY:
            return cls(_UTF8, lossy=True)
        try:
            codec = codecs.lookup(name)
            "\n".encode(codec.name)
        except (LookupError, TypeError, UnicodeError):
            needed = "'utf8', 'utf8-lossy' or an encoding that Python knows, such as 'latin-1' or 'utf-16'"
            raise OptionError(explained("encoding", needed=needed, got=repr(name))) from None
        return cls(codec.name.replace("utf-8-sig", _UTF8))

    @property
    def is_utf8(self) -> bool:
        """Whether bytes need no translation."""
        return self.codec == _UTF8 and not self.lossy

    @property
    def shown(self) -> str:
        """Its name, for a reason why something is no text of it."""
        return "UTF-8" if self.codec == _UTF8 else self.codec

    def of_file(self, head: bytes) -> Encoding:
        """Return the encoding of the file that begins so: with the byte order that it tells."""
        orders = _WIDE.get(self.codec)
        if orders is None:
            return self
        return Encoding(next((codec for mark, codec in orders if head.startswith(mark)), orders[0][1]))

    def text(self, raw: bytes) -> bytes:
        """Return bytes of the file as UTF-8; what is no text of this encoding is no UTF-8 either."""
        if self.is_utf8:
            return raw
        errors = "replace" if self.lossy or self._is_wide else "surrogateescape"
        try:
            return raw.decode(self.codec, errors).encode(_UTF8, "surrogateescape")
        except UnicodeError:  # a codec that can escape nothing
            return raw.decode(self.codec, "replace").encode(_UTF8)

    def raw_length(self, raw: bytes, text: bytes, cut: int) -> int:
        r"""Return how many bytes of the file make up the first bytes of its text, up to the end of a line or of all.

        >>> raw = "é\nx".encode("latin-1")
        >>> Encoding.named("latin-1").raw_length(raw, Encoding.named("latin-1").text(raw), 3)
        2
        """
        if self.is_utf8:
            return cut
        if cut >= len(text):
            return len(raw)
        if self._is_wide:
            return len(text[:cut].decode(_UTF8).encode(self.codec))
        if not text.endswith(b"\n", 0, cut):
            return len(text[:cut].decode(_UTF8, "surrogateescape").encode(self.codec, "surrogateescape"))
        end = len(raw)
        for _ in range(text.count(b"\n", cut) + 1):
            end = raw.rfind(b"\n", 0, end)
        return end + 1

    @property
    def _is_wide(self) -> bool:
        return self.codec.startswith(("utf-16", "utf-32"))


UTF8 = Encoding()
