"""Real servers in the words of `ipvsadm-save -n`."""

from typing import Final

import pytest

from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    Tunnel,
    TunnelKind,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.state import NodeState
from ipvsctl.wire.ipvs.save_text import render_ipvsadm

KEY: Final = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.TCP,
    address=parse_address("1.2.3.4"),
    port=80,
)


@pytest.mark.parametrize(
    ("tunnel", "words"),
    [
        (None, "--tun-type ipip"),
        (Tunnel(port=6080), "--tun-type gue --tun-port 6080 --tun-nocsum"),
        (Tunnel(port=6080, flags=1), "--tun-type gue --tun-port 6080 --tun-csum"),
        (Tunnel(port=6080, flags=2), "--tun-type gue --tun-port 6080 --tun-remcsum"),
        (Tunnel(kind=TunnelKind.GRE, port=0, flags=1), "--tun-type gre --tun-csum"),
    ],
)
def test_tunnels(tunnel: Tunnel | None, words: str) -> None:
    """They are saved as ipvsadm 1.31 saves them, which was asked for each of these."""
    server = RealServer(
        key=RealServerKey(parse_address("10.0.0.2"), 80),
        weight=2,
        forwarding=ForwardingMethod.TUNNEL,
        tunnel=tunnel,
    )
    state = NodeState(real_servers={KEY: {server.key: server}})
    line = f"-a -t 1.2.3.4:80 -r 10.0.0.2:80 -i -w 2 {words}"
    assert render_ipvsadm(state) == [line]
