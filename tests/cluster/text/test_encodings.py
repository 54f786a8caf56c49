"""Facts about the encodings that a file may be in."""

import codecs

import pytest

from ipvsctl.cluster.text.encodings import utf8

TEXT = "é: 1\nb: \U0001f600\n"
ASCII_FIRST = "a: é\nb: \U0001f600\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
)
def test_by_mark(encoding: str) -> None:
    """A byte order mark tells the encoding; it is not in the text."""
    mark = {
        "utf-16-le": codecs.BOM_UTF16_LE,
        "utf-16-be": codecs.BOM_UTF16_BE,
    }.get(encoding, b"")
    found = utf8(mark + TEXT.encode(encoding))
    assert (found.text.decode(), found.bad_line) == (TEXT, 0)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("text", [ASCII_FIRST, "{}", "#"])
def test_without_mark(encoding: str, text: str) -> None:
    """Without a mark the NULs of the first character, which is ASCII, tell it."""
    if encoding == "utf-8" or len(text) > 1:
        assert utf8(text.encode(encoding)).text.decode() == text


def test_several_marks() -> None:
    """Of several marks none is left."""
    assert utf8(codecs.BOM_UTF8 * 3 + b"a: 1").text == b"a: 1"


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"# \xe9\na: 1\n", 1),
        (b"a: 1\nb: \xff\nc: \xfe", 2),
        (b"\xff\xfea\0\n\0\n\0\0\xd8b\0", 3),
    ],
)
def test_what_is_no_character(raw: bytes, line: int) -> None:
    """Bytes that are no character are replaced, and the first line with some is had."""
    found = utf8(raw)
    assert found.bad_line == line
    assert "\ufffd" in found.text.decode()


@pytest.mark.parametrize("size", range(6))
def test_short(size: int) -> None:
    """A file of a few bytes is read, whichever they are."""
    for byte in (0x00, 0xFF, 0xFE, 0xEF, 0x61):
        assert utf8(bytes([byte] * size)).text.decode() is not None
