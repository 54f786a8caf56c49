"""Which proxies there are to be measured, and how each is started."""

import os
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ipvsctl.cluster.config.flags import OWN_KEY
from tests.bench.cluster import NODE
from tests.lab.host import Kind

_PODS: Final = "10.128.0.0/9"
_BINARY: Final = "kube-proxy"
_GATED: Final = (1, 31)
"""kube-proxy before this version has nftables mode behind a feature gate."""


class Table(StrEnum):
    """Where a proxy puts Services."""

    IPVS = "ipvs"
    NFTABLES = "nftables"


class Contender(NamedTuple):
    """A proxy in one mode.

    Attributes:
        name: in tables and in the names of figures.
        table: what it programs.
        words: the command, without its configuration.
        gates: feature gates to open.
        is_ours: it is this project's, and has a socket besides.
    """

    name: str
    table: Table
    words: tuple[str, ...]
    gates: tuple[str, ...] = ()
    is_ours: bool = False

    def command(self, directory: Path, kubeconfig: Path) -> list[str]:
        """Write its configuration into a directory; the command that takes it.

        One file is good for all of them. What it leaves out has the default of
        kube-proxy; in IPVS mode that is to sync as soon as something changed, which
        ipvsctl has to be told. Tables of connections are not a network namespace's own
        to size.
        """
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": self.table.value,
            "hostnameOverride": NODE,
            "clusterCIDR": _PODS,
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "featureGates": dict.fromkeys(self.gates, True),
            **({OWN_KEY: {"minSyncPeriod": "0s"}} if self.is_ours else {}),
        }
        path = directory / "config.json"
        path.write_bytes(msgspec.json.encode(config))
        own = (f"--socket={directory / 'ipvsctl.sock'}",) if self.is_ours else ()
        return [*self.words, f"--config={path}", *own]


IPVSCTL: Final = "ipvsctl"
KUBE_PROXY_IPVS: Final = "kube-proxy, IPVS mode"
KUBE_PROXY_NFTABLES: Final = "kube-proxy, nftables mode"
NAMES: Final = (IPVSCTL, KUBE_PROXY_IPVS, KUBE_PROXY_NFTABLES)
"""In the order of the table."""
NATIVELY: Final = "natively"


class Found(NamedTuple):
    """What can be measured here.

    Attributes:
        contenders: those that can.
        told: of each name, its version, or why it is not run; and why nothing is run
            natively, if it is not.
    """

    contenders: tuple[Contender, ...]
    told: dict[str, str]


def find(directory: Path | None) -> Found:
    """Look what there is.

    Args:
        directory: where a kube-proxy binary is, if anywhere.
    """
    contenders = [ipvsctl()]
    told = {IPVSCTL: "this version"}
    if os.environ.get("IPVSCTL_LAB") == Kind.UML:
        told[NATIVELY] = "not run: in a guest, as the machine's own kernel has no IPVS"
    for name, table in (
        (KUBE_PROXY_IPVS, Table.IPVS),
        (KUBE_PROXY_NFTABLES, Table.NFTABLES),
    ):
        obstacle = _obstacle(directory, table)
        if obstacle is not None or directory is None:
            told[name] = f"not run: {obstacle}"
            continue
        version = read_version(directory / _BINARY)
        told[name] = version
        contenders.append(
            Contender(
                name,
                table,
                (str(directory / _BINARY),),
                ("NFTablesProxyMode",) if _is_gated(version, table) else (),
            )
        )
    return Found(tuple(contenders), told)


def ipvsctl() -> Contender:
    """This project's."""
    # The others have iptables and ipset too.
    manner = ("--log-format=json", "--firewall=iptables")
    words = (sys.executable, "-m", "ipvsctl", "run", *manner)
    return Contender(IPVSCTL, Table.IPVS, words, is_ours=True)


def read_version(binary: Path) -> str:
    """What it calls its version: `v1.36.2`.

    Raises:
        subprocess.CalledProcessError: it cannot be run.
    """
    done = subprocess.run(
        [binary, "--version"], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.split()[-1]


def _obstacle(directory: Path | None, table: Table) -> str | None:
    if directory is None:
        return "no directory with a kube-proxy binary was named"
    if not os.access(directory / _BINARY, os.X_OK):
        return f"no {_BINARY} that can be run in the directory that was named"
    if table is Table.NFTABLES and not _has_nftables():
        return "this kernel has no nftables"
    return None


def _has_nftables() -> bool:
    nft = shutil.which("nft")
    # A kernel may have nftables and not the family; nothing is made by a check.
    words = ("--check", "add", "table", "ip", "probe")
    return (
        nft is not None
        and not subprocess.run(
            [nft, *words], capture_output=True, check=False
        ).returncode
    )


def _is_gated(version: str, table: Table) -> bool:
    major, minor = map(int, version.removeprefix("v").split(".")[:2])
    return table is Table.NFTABLES and (major, minor) < _GATED
