"""A real firewalld on the node, with a message bus of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.lab.netns import Netns, inside
from tests.reliability.drift import wait

_BUS: Final = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""

# Its own filter of reverse paths knows nothing of answers that come another way.
_CONFIG: Final = """\
DefaultZone=trusted
FirewallBackend=nftables
FlushAllOnReload=yes
IPv6_rpfilter=no
"""


class Firewalld:
    """A firewalld that runs; see `firewalld`."""

    def __init__(self, netns: Netns, env: dict[str, str]) -> None:
        self._netns = netns
        self._env = env

    def tell(self, *words: str) -> str:
        """What `firewall-cmd` answers, which must be well."""
        done = self._run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def is_running(self) -> bool:
        """Whether it answers."""
        return self._run("--state").returncode == 0

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        with inside(self._netns):
            return subprocess.run(
                ["firewall-cmd", *words],
                env=self._env,
                capture_output=True,
                text=True,
                check=False,
            )


@contextmanager
def firewalld(netns: Netns, directory: Path) -> Iterator[Firewalld]:
    """Debian's, with its backend of nftables; all links are in the zone trusted.

    Args:
        netns: of the node.
        directory: for its files.
    """
    bus, config = directory / "bus", directory / "firewalld"
    config.mkdir()
    (config / "firewalld.conf").write_text(_CONFIG)
    settings = directory / "bus.conf"
    settings.write_text(_BUS.format(path=bus))
    env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    log = directory / "firewalld.log"
    with inside(netns), (directory / "said").open("w") as said:
        bus_command = ["dbus-daemon", f"--config-file={settings}", "--nofork"]
        with subprocess.Popen([*bus_command, "--nopidfile"], stderr=said) as daemon:
            try:
                wait(bus.exists)
                command = ["/usr/sbin/firewalld", "--nofork", "--nopid"]
                options = ["--system-config", str(config), "--log-file", str(log)]
                # Its own Python, not that of a virtual environment.
                env["PATH"] = f"/usr/sbin:/usr/bin:/sbin:/bin:{env['PATH']}"
                with subprocess.Popen(
                    [*command, *options], env=env, stderr=said
                ) as process:
                    try:
                        made = Firewalld(netns, env)
                        wait(made.is_running)
                        yield made
                        assert process.poll() is None, log.read_text()
                    finally:
                        process.terminate()
            finally:
                daemon.terminate()
