"""Kernel modules: what is needed, and loading it before it is.

The kernel loads most of these itself on first use, but a container without the right
to it, or a node image without the module, is better named at start.
"""

import errno
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ipvsctl.kernel import tools
from ipvsctl.model.errors import KernelError, NotFound

REQUIRED_MODULES: Final = (
    "ip_vs",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "dummy",
)
"""Needed by every node; the configured scheduler adds its own, `ip_vs_<name>`, and the
firewall those that it needs.

Those that the other rules need depend on iptables' flavour, and it names one it lacks.
A scheduler that only a Service asks for is loaded by the kernel when it is asked for.
"""

PROC: Final = Path("/proc")
SYS: Final = Path("/sys")
MODULES: Final = Path("/lib/modules")


def scheduler_module(scheduler: str) -> str:
    """The module of an IPVS scheduler."""
    return f"ip_vs_{scheduler}"


def load_modules(names: Iterable[str], proc: Path = PROC, sys: Path = SYS) -> None:
    """Load those modules that the kernel lacks.

    Args:
        names: modules; built-in ones are fine.
        proc: where `/proc` is.
        sys: where `/sys` is; it lists built-in modules that have parameters, which
            spares a container without `/lib/modules` from asking modprobe.

    Raises:
        NotFound: some could not be loaded; `op` names them, `reason` is modprobe's.
    """
    loaded = loaded_modules(proc)
    missing = [
        name
        for name in names
        if name not in loaded and not (sys / "module" / name).exists()
    ]
    reasons = {name: _modprobe(name) for name in missing}
    failed = {name: reason for name, reason in reasons.items() if reason}
    if failed:
        raise NotFound(
            errno=errno.ENOENT,
            op=f"load kernel modules {', '.join(failed)}",
            reason=next(iter(failed.values())),
        )


def loaded_modules(proc: Path = PROC) -> frozenset[str]:
    """The modules that are loaded; those that are built in are not among them."""
    try:
        text = (proc / "modules").read_text(encoding="ascii")
    except FileNotFoundError:
        # A kernel that is one piece.
        return frozenset()
    return frozenset(line.split(" ", 1)[0] for line in text.splitlines())


def find_modules(
    names: Iterable[str],
    proc: Path = PROC,
    sys: Path = SYS,
    files: Path = MODULES,
) -> Mapping[str, bool | None]:
    """Whether each is there: loaded, built in, or in a file that may be loaded.

    None where nothing tells: in a container without `/lib/modules` those that are not
    loaded may be loaded all the same.

    Args:
        names: modules.
        proc: where `/proc` is.
        sys: where `/sys` is.
        files: where the kernels' modules are.
    """
    loaded = loaded_modules(proc)
    directory = files / os.uname().release
    listings = ("modules.builtin", "modules.dep")
    texts = [t for t in (_text(directory / name) for name in listings) if t is not None]

    def is_there(name: str) -> bool | None:
        if name in loaded or (sys / "module" / name).exists():
            return True
        if not texts:
            return None
        spelled = re.compile(rf"/{name.replace('_', '[-_]')}\.ko")
        return any(map(spelled.search, texts))

    return {name: is_there(name) for name in sorted(names)}


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _modprobe(name: str) -> str:
    """Why the module could not be loaded; "" if it was, or is built in."""
    try:
        done = tools.run([tools.find("modprobe"), "--", name])
    except KernelError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return done.stderr.strip() or f"modprobe exited with status {done.returncode}"
