"""What this machine offers for a lab, and what it lacks."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from tests.lab.errors import NoLab
from tests.lab.fp_state import packages_to_build_it

PACKAGE_OF = {
    "conntrack": "conntrack",
    "dbus-daemon": "dbus-daemon",
    "firewalld": "firewalld",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "ipvsadm": "ipvsadm",
    "keepalived": "keepalived",
    "modprobe": "kmod",
    "nft": "nftables",
    "setpriv": "util-linux",
    "strace": "strace",
    "unshare": "util-linux",
}
"""Command -> Debian package, for the tools a job needs in either kind of lab."""

UML_PACKAGE_OF = {"linux.uml": "user-mode-linux", "taskset": "util-linux"}
"""The same for what only the user-mode Linux lab needs."""

PROMETHEUS_PACKAGE_OF = {"prometheus": "prometheus", "promtool": "prometheus"}
"""The same for what only the tests with a real Prometheus need; where promtool is a
package of its own, from Debian 13 on, the other one brings it along."""

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_STARTED = ("firewalld",)
"""Packages whose daemon is started by being installed, and changes the machine."""
_UNITS = Path("/etc/systemd/system")
_MODULES = ("ip_vs", "dummy", "veth", "bridge", "sch_netem")


class Kind(StrEnum):
    """Where the job runs; also the value of `IPVSCTL_LAB` inside."""

    NATIVE = "native"
    """Fresh namespaces on the running kernel."""
    UML = "uml"
    """A user-mode Linux guest."""


def is_root() -> bool:
    """Whether we may install packages."""
    return os.geteuid() == 0


def obstacles(kind: Kind) -> tuple[str, ...]:
    """Why a lab of this kind cannot start here; empty when it can."""
    if kind is Kind.NATIVE:
        return _native_obstacles() + package_obstacles(missing_packages(kind))
    found = package_obstacles(missing_packages(kind))
    if not Path("/lib/modules").is_dir() and not is_root():
        found += ("the directory /lib/modules is missing; create it as root",)
    return found


def choose(required: Kind | None = None) -> Kind:
    """The kind of lab to use, after installing missing packages if we are root.

    Raises:
        NoLab: neither kind (or not the required one) can start.
    """
    kind = required or (Kind.UML if _native_obstacles() else Kind.NATIVE)
    if missing_packages(kind) and is_root() and shutil.which("apt-get"):
        install(missing_packages(kind))
    if found := obstacles(kind):
        raise NoLab(found)
    return kind


def missing_packages(kind: Kind) -> tuple[str, ...]:
    """Debian packages that this kind of lab needs something of and cannot find it."""
    if kind is Kind.NATIVE:
        return missing(PACKAGE_OF)
    return missing({**PACKAGE_OF, **UML_PACKAGE_OF, **packages_to_build_it()})


def require(needed: Mapping[str, str]) -> None:
    """Have these commands or files, after installing what is missing if we are root.

    Args:
        needed: Debian package by command, or by absolute path.

    Raises:
        NoLab: one is missing still.
    """
    if missing(needed) and is_root() and shutil.which("apt-get"):
        install(missing(needed))
    if found := package_obstacles(missing(needed)):
        raise NoLab(found)


def missing(needed: Mapping[str, str]) -> tuple[str, ...]:
    """Packages, sorted, of those commands and files that cannot be found."""
    return tuple(
        sorted({package for name, package in needed.items() if not _is_there(name)})
    )


def install(packages: Sequence[str]) -> None:
    """Install Debian packages without asking; their output goes to our stderr.

    Raises:
        NoLab: apt-get failed, with its own words on stderr above.
    """
    for package in packages:
        if package in _NOT_STARTED:
            mask(package)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # The lists are empty in container images, and out of date on old machines.
    for refresh in (False, True):
        if refresh:
            subprocess.run(["apt-get", "update"], env=env, stdout=2, check=False)
        if subprocess.run(command, env=env, stdout=2, check=False).returncode == 0:
            return
    raise NoLab((f"{' '.join(command)} failed",))


def mask(name: str, units: Path = _UNITS) -> None:
    """See to it that systemd never starts a daemon, as `systemctl mask` does.

    Args:
        name: of the daemon.
        units: where units of the machine's own are.
    """
    units.mkdir(parents=True, exist_ok=True)
    unit = units / f"{name}.service"
    if not (unit.exists() or unit.is_symlink()):
        unit.symlink_to(os.devnull)


def namespace_obstacles() -> tuple[str, ...]:
    """Why we may not create namespaces; root in a container often may not."""
    if not is_root():
        return ("namespaces need root",)
    probe = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        return (f"namespaces are not permitted here: {probe.stderr.strip()}",)
    return ()


def _native_obstacles() -> tuple[str, ...]:
    return namespace_obstacles() + tuple(
        f"the running kernel has no module {name}"
        for name in _MODULES
        if not _has_module(name)
    )


def _has_module(name: str) -> bool:
    if Path("/sys/module", name).exists():
        return True
    modprobe = _which("modprobe")
    if modprobe is None:
        return False
    dry_run = [modprobe, "--dry-run", "--quiet", name]
    return subprocess.run(dry_run, capture_output=True, check=False).returncode == 0


def package_obstacles(packages: Sequence[str]) -> tuple[str, ...]:
    """What to do about missing packages, all of them by name."""
    if not packages:
        return ()
    return (f"run as root: apt-get install {' '.join(packages)}",)


def _is_there(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else bool(_which(name))


def _which(command: str) -> str | None:
    # An unprivileged user's PATH does not list the sbin directories.
    return shutil.which(command, path=SYSTEM_PATH)
