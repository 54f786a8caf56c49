"""A real keepalived on a node of the lab: a balancer that has virtual servers too."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from tests.kernel.tools import look
from tests.lab.netns import Netns, inside


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """What it balances: one IPv4 virtual server with one real server.

    Attributes:
        vip, port: where clients ask.
        server, server_port: who answers, as long as a connection to it is accepted.
    """

    vip: str
    port: int
    server: str
    server_port: int

    def config(self) -> str:
        """Its configuration file."""
        return f"""
virtual_server {self.vip} {self.port} {{
    delay_loop 1
    lvs_sched rr
    lvs_method NAT
    protocol TCP
    real_server {self.server} {self.server_port} {{
        TCP_CHECK {{
            connect_timeout 2
            retry 0
        }}
    }}
}}
"""

    def lines(self) -> list[str]:
        """What `ipvsadm-save -n` has of it."""
        where = f"{self.vip}:{self.port}"
        server = f"{self.server}:{self.server_port}"
        return [f"-A -t {where} -s rr", f"-a -t {where} -r {server} -m -w 1"]

    def seen(self, netns: Netns) -> list[str]:
        """The lines of `ipvsadm-save -n` that are at its place."""
        where = f" {self.vip}:{self.port} "
        return [line for line in look(netns).ipvsadm if where in line]


@contextmanager
def keepalived(netns: Netns, balanced: Balanced, directory: Path) -> Iterator[None]:
    """A keepalived that has put its real server into IPVS.

    Args:
        netns: of the node.
        balanced: what it is to balance.
        directory: for its files.
    """
    config = directory / "keepalived.conf"
    config.write_text(balanced.config())
    log = (directory / "log").open("w")
    command = ["keepalived", "--check", "--dont-fork", "--log-console"]
    command += ["--use-file", str(config), "--pid", str(directory / "pid")]
    command += ["--checkers_pid", str(directory / "checkers")]
    with log, inside(netns):
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(netns, balanced, balanced.lines())
        yield
        assert process.poll() is None, (directory / "log").read_text()
    finally:
        process.terminate()
        process.wait(10)


def wait_for(netns: Netns, balanced: Balanced, lines: list[str]) -> None:
    """Return when it has made of its place what these lines say."""
    waiting = Retrying(
        retry=retry_if_result(lambda seen: seen != lines),
        wait=wait_fixed(0.1),
        stop=stop_after_delay(60),
    )
    waiting(lambda: balanced.seen(netns))
