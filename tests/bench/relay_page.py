"""The table of what is relayed on localhost."""

from collections.abc import Iterator, Mapping
from typing import Final

from tests.bench.report import Line, in_ms
from tests.bench.sizes import Figures

_KIB: Final = 1 << 10
_MOST: Final = 3.0
"""How many times as much socat may pass on."""
_MOST_EACH: Final = 16 * _KIB
"""Memory of one idle connection."""


def relay_lines(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    """Lines in which the relay is measured and socat is the floor."""
    for found in by_size.values():
        passed = found["relay, bytes/s"]
        socat = found.get("socat, bytes/s")
        ratio = None if socat is None else socat / passed
        yield Line(
            "relay on localhost, one connection; socat",
            "",
            _rate(passed),
            "not run" if socat is None else _rate(socat),
            "" if ratio is None else f"{ratio:.2f}",
            f"socat <= {_MOST:g} x it",
            None if ratio is None else ratio <= _MOST,
        )
        yield Line("- without a relay", "", _rate(found["direct, bytes/s"]))
        asked = found.get("socat, questions/s")
        yield Line(
            "- questions and answers of a byte; socat",
            "",
            f"{found['relay, questions/s']:,.0f}/s",
            "not run" if asked is None else f"{asked:,.0f}/s",
        )
        each = found["relay, RSS of each"]
        yield Line(
            f"relay on localhost, {found['relay, connections']:,.0f} idle connections",
            "",
            f"{each / _KIB:.1f} KiB each",
            goal=f"<= {_MOST_EACH // _KIB} KiB",
            holds=each <= _MOST_EACH,
        )
        for part in ("p99", "worst"):
            busy = found[f"relay, loop busy, {part}"]
            yield Line(
                f"event loop not back beside a busy relay: {part}",
                "",
                in_ms(busy),
                in_ms(found[f"relay, loop idle, {part}"]),
            )


def _rate(passed: float) -> str:
    return f"{passed / 1e9:.2f} GB/s"
