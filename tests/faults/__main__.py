"""`python -m tests.faults`, in the lab: plant each fault, write `docs/faults.md`."""

import signal
import subprocess
import tempfile
from pathlib import Path

from tests.faults.faults import HUNG, OBJECT_FAULTS, PAGES_FAULTS, WRONG_NAME
from tests.faults.node import Node, faulty_node, headline
from tests.faults.table import PAGE, Row, page


def main() -> None:
    """Run everything once, and write what was said."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        with faulty_node(_made(scratch, "one")) as (node, process):
            for fault in PAGES_FAULTS:
                node.plant(fault)
                rows.append(_row(node, fault.name, *fault.asked))
                node.mend()
            for fault in OBJECT_FAULTS:
                node.plant(fault)
                rows.append(_row(node, fault.name, *fault.asked))
            rows.append(_hung(node, process))
        with faulty_node(_made(scratch, "two"), "node-9") as (node, _):
            rows.append(_row(node, WRONG_NAME.name, *WRONG_NAME.asked))
    PAGE.write_text(page(rows))


def _made(scratch: str, name: str) -> Path:
    path = Path(scratch, name)
    path.mkdir()
    return path


def _row(node: Node, name: str, *asked: str) -> Row:
    said = [
        headline(node.explain(*asked, has_daemon=has_daemon)[1])
        for has_daemon in (True, False)
    ]
    return Row(name, " ".join(asked), *said)


def _hung(node: Node, process: subprocess.Popen[bytes]) -> Row:
    process.send_signal(signal.SIGSTOP)
    said = node.explain(*HUNG.asked, has_daemon=True)[1]
    process.send_signal(signal.SIGCONT)
    return Row(HUNG.name, " ".join(HUNG.asked), said.splitlines()[0], "")


if __name__ == "__main__":
    main()
