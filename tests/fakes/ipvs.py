"""The IPVS table in memory: what Linux does with an op, and what it refuses."""

import errno
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from ipvsctl.model.ipvs import (
    SCHEDULERS,
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServers,
    RealServerStats,
    ServiceFlags,
    Timeouts,
    TrafficStats,
    TunnelKind,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, family_of
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddVirtualServer,
    DeleteRealServer,
    DeleteVirtualServer,
    UpdateRealServer,
    UpdateVirtualServer,
)
from tests.fakes.refusal import Refusal

_TIMEOUT_MAX_S: Final = 0x7FFFFFFF // 250
"""INT_MAX jiffies at 250 a second."""

VirtualServerOp = AddVirtualServer | UpdateVirtualServer | DeleteVirtualServer
RealServerOp = AddRealServer | UpdateRealServer | DeleteRealServer


class FakeIpvs:
    """Virtual servers, their real servers, and counters, all by key; timeouts."""

    def __init__(self) -> None:
        self.timeouts = Timeouts(900, 120, 300)
        self.virtual_servers: dict[VirtualServerKey, VirtualServer] = {}
        self.real_servers: dict[VirtualServerKey, dict[RealServerKey, RealServer]] = {}
        self.traffic: dict[VirtualServerKey, TrafficStats] = {}
        self.connections: dict[
            tuple[VirtualServerKey, RealServerKey], RealServerStats
        ] = {}

    def observe(
        self,
        keys: Iterable[VirtualServerKey],
        likely: Mapping[VirtualServerKey, RealServers] = EMPTY,
    ) -> Observed:
        """Those of these virtual servers that are there."""
        there = [key for key in keys if key in self.virtual_servers]
        nothing = RealServerStats()
        return Observed(
            state=NodeState(
                virtual_servers={key: self.virtual_servers[key] for key in there},
                real_servers={key: self._held(key, likely) for key in there},
            ),
            connections={
                key: {
                    server: self.connections.get((key, server), nothing)
                    for server in self.real_servers[key]
                }
                for key in there
            },
            traffic={key: self.traffic.get(key, TrafficStats()) for key in there},
        )

    def _held(
        self, key: VirtualServerKey, likely: Mapping[VirtualServerKey, RealServers]
    ) -> RealServers:
        held, expected = self.real_servers[key], likely.get(key)
        return dict(held) if expected is None or expected != held else expected

    def run_virtual_server(self, op: VirtualServerOp) -> None:
        """Run one op, or raise Refusal."""
        if isinstance(op, DeleteVirtualServer):
            self._delete(op.key)
            return
        server = op.server
        is_there = server.key in self.virtual_servers
        if isinstance(op, AddVirtualServer) and is_there:
            raise Refusal(errno.EEXIST)
        if isinstance(op, UpdateVirtualServer) and not is_there:
            raise Refusal(errno.ESRCH)
        if server.scheduler not in SCHEDULERS:
            raise Refusal(errno.ENOENT)
        bits = server.netmask_bits
        if server.key.family is IPFamily.IPV6 and not 1 <= bits <= 128:
            raise Refusal(errno.EINVAL)
        self.virtual_servers[server.key] = _as_read(server)
        self.real_servers.setdefault(server.key, {})

    def run_real_server(self, op: RealServerOp) -> None:
        """Run one op, or raise Refusal."""
        if op.virtual_server not in self.virtual_servers:
            raise Refusal(errno.ESRCH)
        servers = self.real_servers[op.virtual_server]
        if isinstance(op, DeleteRealServer):
            if servers.pop(op.key, None) is None:
                raise Refusal(errno.ENOENT)
            self.connections.pop((op.virtual_server, op.key), None)
            return
        _check_real_server(op.virtual_server, op.server)
        is_there = op.server.key in servers
        if isinstance(op, AddRealServer) and is_there:
            raise Refusal(errno.EEXIST)
        if isinstance(op, UpdateRealServer) and not is_there:
            raise Refusal(errno.ENOENT)
        servers[op.server.key] = _real_as_read(op.server)

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """Change those that are not 0, or raise Refusal."""
        wanted = msgspec.structs.asdict(timeouts)
        if any(not 0 <= seconds <= _TIMEOUT_MAX_S for seconds in wanted.values()):
            raise Refusal(errno.EINVAL)
        changed = {name: seconds for name, seconds in wanted.items() if seconds}
        self.timeouts = msgspec.structs.replace(self.timeouts, **changed)

    def _delete(self, key: VirtualServerKey) -> None:
        if self.virtual_servers.pop(key, None) is None:
            raise Refusal(errno.ESRCH)
        for server in self.real_servers.pop(key):
            self.connections.pop((key, server), None)
        self.traffic.pop(key, None)


def _as_read(server: VirtualServer) -> VirtualServer:
    if ServiceFlags.PERSISTENT in server.flags:
        return server
    return msgspec.structs.replace(server, timeout_s=0)


def _real_as_read(server: RealServer) -> RealServer:
    if server.forwarding is ForwardingMethod.TUNNEL:
        return server
    return msgspec.structs.replace(server, tunnel=None)


def _check_real_server(virtual_server: VirtualServerKey, server: RealServer) -> None:
    is_other_family = family_of(server.key.address) is not virtual_server.family
    if is_other_family and server.forwarding is not ForwardingMethod.TUNNEL:
        raise Refusal(errno.EINVAL)
    if server.weight < 0 or server.lower_threshold > server.upper_threshold:
        raise Refusal(errno.ERANGE)
    tunnel = server.tunnel
    if tunnel is not None and tunnel.kind is TunnelKind.GUE and not tunnel.port:
        raise Refusal(errno.EINVAL)
