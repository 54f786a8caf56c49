"""Output is copied whole, and what is kept of a console is its end."""

import os

from tests.lab.stream import Console, pump


def test_console_keeps_the_end() -> None:
    """Only the last bytes of a console are kept, as lines without blank ones."""
    console = Console(max_bytes=13)
    for number in range(10):
        console.feed(f"line {number}\r\n\n".encode())
    assert console.tail() == ("8", "line 9")


def test_pump_copies_until_the_end() -> None:
    """Everything written arrives in its own sink, and the end of both ends the copy."""
    one_read, one_write = os.pipe()
    other_read, other_write = os.pipe()
    one, other = bytearray(), bytearray()
    os.write(one_write, b"a" * 4000)
    os.write(other_write, b"b")
    os.close(one_write)
    os.close(other_write)
    assert pump({one_read: one.extend, other_read: other.extend}, limit_s=60)
    assert (bytes(one), bytes(other)) == (b"a" * 4000, b"b")
    os.close(one_read)
    os.close(other_read)


def test_pump_gives_up_at_the_limit() -> None:
    """A writer that stays silent does not hold the copy beyond the limit."""
    read, write = os.pipe()
    assert not pump({read: bytearray().extend}, limit_s=0.01)
    os.close(read)
    os.close(write)
