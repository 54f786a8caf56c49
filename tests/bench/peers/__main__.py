"""`python -m tests.bench.peers`: every proxy there is, one after the other, as JSON."""

import json
import sys
from pathlib import Path

from ipvsctl.cli.logs import configure_logs
from ipvsctl.cli.options import LogFormat
from tests.bench import speed
from tests.bench.peers.contenders import find
from tests.bench.peers.measure import Course, measure
from tests.bench.sizes import Figures, Size


def main() -> int:
    """Services, endpoints of each, and a directory with kube-proxy if there is one."""
    configure_logs(LogFormat.CONSOLE, verbose=0)
    services, endpoints, *where = sys.argv[1:]
    directory = Path(where[0]) if where else None
    size = Size(int(services), int(endpoints))
    figures: Figures = {}
    # Whoever is first would pay for what the kernel loads, and for files read anew.
    speed.measure(Size(10, 1))
    for contender in find(directory).contenders:
        print(f"- {contender.name}", file=sys.stderr)
        found = measure(contender, size, Course())
        figures |= {f"{contender.name}: {name}": found[name] for name in found}
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
