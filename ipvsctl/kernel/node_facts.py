"""Reading what a node is like; without IPVS, a daemon or an API server.

Each part is read alone: one that cannot be read is named, and the others are there.
"""

import os
import re
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from ipvsctl.kernel.capabilities import kernel_families, kernel_release
from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.modules import SYS, loaded_modules
from ipvsctl.kernel.neighbours import read_neighbours
from ipvsctl.kernel.partial import PartialReading
from ipvsctl.kernel.processes import list_running
from ipvsctl.kernel.sockets import read_sockets_in_steps
from ipvsctl.model.neighbours import Neighbours
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.model.steps import finish

OTHER_PROXIES: Final = frozenset(
    {"kube-proxy", "cilium-agent", "kube-router", "calico-node"}
)

_MODULES_DIR: Final = Path("/lib/modules")


def read_node_facts(
    modules: Iterable[str], sysctls: Iterable[str], proc_sys: Path
) -> NodeFacts:
    """Read everything.

    Args:
        modules: names to look for.
        sysctls: names to read.
        proc_sys: where sysctls are.
    """
    reading = PartialReading()
    part = reading.part

    def of_firewall() -> tuple[Neighbours, frozenset[str]]:
        with closing(IptablesFirewall.open(kernel_families())) as firewall:
            beside = read_neighbours(firewall, frozenset(), proc_sys)
            return beside, firewall.read_chain_names()

    found = part("iptables", of_firewall)
    neighbours, chains = (Neighbours(), None) if found is None else found
    return NodeFacts(
        release=kernel_release(),
        modules=part("modules", lambda: {m: _has_module(m) for m in modules}),
        sysctls=dict(_sysctls(sysctls, proc_sys)),
        bridges=part("bridges", _bridges),
        processes=part("processes", _proxies),
        sockets=part(
            "sockets", lambda: finish(read_sockets_in_steps(kernel_families()))
        ),
        chains=chains,
        flavours=part("iptables flavours", IptablesFirewall.count_rules),
        neighbours=neighbours,
        # IPVS' connections are no part of it.
        unread=(
            *reading.unread,
            *(line for line in neighbours.unread if not line.startswith("IPVS")),
        ),
    )


def read_bridge_facts(sysctls: Iterable[str], proc_sys: Path) -> NodeFacts:
    """Of the same only bridges and sysctls, which takes no time."""
    reading = PartialReading()
    return NodeFacts(
        sysctls=dict(_sysctls(sysctls, proc_sys)),
        bridges=reading.part("bridges", _bridges),
    )


def _has_module(name: str) -> bool:
    """Loaded, built in, or in a file that the kernel may load."""
    if name in loaded_modules() or (SYS / "module" / name).exists():
        return True
    directory = _MODULES_DIR / os.uname().release
    spelled = re.compile(rf"/{name.replace('_', '[-_]')}\.ko")
    for listing in ("modules.builtin", "modules.dep"):
        try:
            text = (directory / listing).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        if spelled.search(text):
            return True
    return False


def _sysctls(names: Iterable[str], root: Path) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, (root / name).read_text(encoding="ascii").strip()
        except OSError:
            continue


def _bridges() -> tuple[str, ...]:
    found = (SYS / "class" / "net").glob("*/brif")
    return tuple(sorted(path.parent.name for path in found if any(path.iterdir())))


def _proxies() -> tuple[str, ...]:
    return tuple(sorted({process.name for process in list_running(OTHER_PROXIES)}))
