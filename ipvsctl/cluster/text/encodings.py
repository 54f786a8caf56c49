"""The bytes of a file as UTF-8, whichever of Unicode's encodings they are in.

`kubectl` goes by the byte order mark (cli-runtime pkg/resource/visitor.go) and reads
UTF-8 without one. Here UTF-32, and UTF-16 without a mark, are read as well: their NULs
cannot be in a manifest of any other encoding.
"""

import codecs
from typing import Final

import msgspec

MARK: Final = codecs.BOM_UTF8
"""The byte order mark in UTF-8."""

# The mark of UTF-32 in little-endian order begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Which of the first four bytes are NUL, when the first character is one of ASCII's.
_NULS: Final = (
    ((False, True, True, True), "utf-32-le"),
    ((True, True, True, False), "utf-32-be"),
    ((False, True), "utf-16-le"),
    ((True, False), "utf-16-be"),
)


class Utf8(msgspec.Struct, frozen=True, kw_only=True):
    """Text of a file.

    Attributes:
        text: UTF-8 without a byte order mark at its start.
        bad_line: the first line with bytes that are no character in the file's
            encoding, from 1; 0 for none. As for `kubectl`, each is U+FFFD in the text.
    """

    text: bytes
    bad_line: int = 0


def utf8(raw: bytes) -> Utf8:
    """Decode a file."""
    encoding = _encoding(raw)
    if encoding == "utf-8" and raw.isascii():
        return Utf8(text=raw)
    bad_line = 0
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as exc:
        bad_line = 1 + raw[: exc.start].decode(encoding, "replace").count("\n")
        text = raw.decode(encoding, "replace")
    return Utf8(text=text.lstrip("\ufeff").encode(), bad_line=bad_line)


def _encoding(raw: bytes) -> str:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return encoding
    nuls = tuple(byte == 0 for byte in raw[:4])
    for pattern, encoding in _NULS:
        if nuls[: len(pattern)] == pattern:
            return encoding
    return "utf-8"
