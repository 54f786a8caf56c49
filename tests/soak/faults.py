"""What is done to the node during a soak."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.reliability.drift import DRIFTS
from tests.soak.node import Soaked


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is done.

    Attributes:
        do: does it, and returns when it is over; mending it is the daemon's.
        loses: packets are lost until it is mended, whoever mends it.
    """

    name: str
    do: Callable[[Soaked], None]
    loses: bool


def _commands(*commands: str) -> Callable[[Soaked], None]:
    def do(soaked: Soaked) -> None:
        for command in commands:
            soaked.run(command)

    return do


def _killed(number: signal.Signals) -> Callable[[Soaked], None]:
    def do(soaked: Soaked) -> None:
        soaked.kill(number)
        soaked.start()

    return do


def _stopped(soaked: Soaked) -> None:
    soaked.process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    soaked.process.send_signal(signal.SIGCONT)


def _while(flag: str, seconds: float) -> Callable[[Soaked], None]:
    def do(soaked: Soaked) -> None:
        place = soaked.flags / flag
        place.touch()
        soaked.run("iptables -t nat -A KUBE-SERVICES -j RETURN")
        time.sleep(seconds)
        place.unlink()

    return do


FAULTS: Final = (
    *(
        Fault(
            name=drift.name,
            do=_commands(*drift.commands, *drift.undo),
            loses=True,
        )
        for drift in DRIFTS
    ),
    Fault(
        name="addresses and routes flushed",
        do=_commands(
            "ip address flush dev kube-ipvs0",
            "ip route flush table local dev kube-ipvs0",
        ),
        loses=True,
    ),
    Fault(
        name="weights set to 0",
        do=_commands(
            "ipvsadm -Sn | sed -n 's/-w 1$/-w 0/; s/^-a/-e/p' | head -200 | ipvsadm -R"
        ),
        loses=True,
    ),
    Fault(
        name="our iptables rules flushed",
        do=_commands("iptables -t nat -F KUBE-POSTROUTING", "iptables -F KUBE-FORWARD"),
        loses=True,
    ),
    Fault(name="SIGKILL and a new daemon", do=_killed(signal.SIGKILL), loses=False),
    Fault(name="SIGTERM and a new daemon", do=_killed(signal.SIGTERM), loses=False),
    Fault(name="the daemon stopped for 5 s", do=_stopped, loses=False),
    Fault(name="`iptables-save` fails for 5 s", do=_while("fails", 5), loses=False),
    Fault(name="`iptables-save` hangs for 8 s", do=_while("hangs", 8), loses=False),
    Fault(
        name="the xtables lock held for 8 s",
        do=_commands("flock /run/xtables.lock sleep 8"),
        loses=False,
    ),
    Fault(
        name="sysctls of IPVS reset",
        do=_commands(
            "sysctl -qw net.ipv4.vs.conntrack=0",
            "sysctl -qw net.ipv4.vs.expire_nodest_conn=0",
        ),
        loses=True,
    ),
)
"""In the order in which they are done the first time; after that as chance has it."""
