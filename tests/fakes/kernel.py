"""A kernel in memory, as strict as the real one: one contract suite holds both.

It answers with the errnos that Linux answers with (tests/kernel/contract.py).
"""

import errno
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ipvsctl.kernel.applier import unguarded
from ipvsctl.kernel.interface import Reading
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.conntrack import ConntrackFill
from ipvsctl.model.errors import KernelError, describe_errno
from ipvsctl.model.former import FormerFirewall
from ipvsctl.model.glance import Glance
from ipvsctl.model.host import HostNetwork, HostSocket
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    RealServers,
    RealServerStats,
    TrafficStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.neighbours import FilterTable, Neighbours
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.parts import RULES, Part
from ipvsctl.model.processes import Processes
from ipvsctl.model.rules import Chains, Table
from ipvsctl.model.sets import SetEntry
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.model.steps import Step, finish
from ipvsctl.model.tunnel import TUNNEL_LINKS
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddRoute,
    AddVirtualServer,
    DeleteRealServer,
    DeleteRoute,
    DeleteStaleFlows,
    DeleteVirtualServer,
    FailedOp,
    MakeTunnelEnd,
    Op,
    Plan,
    RemoveFormer,
    RemoveTunnelEnd,
    Report,
    SetSysctl,
    SetTimeouts,
    UpdateRealServer,
    UpdateRoute,
    UpdateVirtualServer,
)
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.wire.ipset.sets import SetSpec
from tests.fakes.conntrack import FakeConntrack
from tests.fakes.firewalls import FakeFirewall, FakeIptables, FirewallOp
from tests.fakes.ipvs import FakeIpvs
from tests.fakes.links import FakeLinks
from tests.fakes.refusal import Refusal

SYSCTLS: Final[Mapping[str, str]] = {
    "net/ipv4/vs/conntrack": "0",
    "net/ipv4/vs/conn_reuse_mode": "1",
    "net/ipv4/vs/expire_nodest_conn": "0",
    "net/ipv4/vs/expire_quiescent_template": "0",
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/arp_ignore": "0",
    "net/ipv4/conf/all/arp_announce": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/netfilter/nf_conntrack_max": "65536",
    "net/netfilter/nf_conntrack_buckets": "16384",
    "net/netfilter/nf_conntrack_tcp_timeout_established": "432000",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait": "60",
    "net/netfilter/nf_conntrack_tcp_be_liberal": "0",
    "net/netfilter/nf_conntrack_udp_timeout": "30",
    "net/netfilter/nf_conntrack_udp_timeout_stream": "120",
}
"""What a host has that was just booted."""


class KilledError(Exception):
    """The process died here; what was applied stays in the kernel."""


def _without(observed: Observed, unread: Mapping[Part, str]) -> Observed:
    """What was read of the other parts."""
    nothing = Observed(state=NodeState())
    state = observed.state
    for part in unread:
        names: tuple[str, ...] = ()
        fields: tuple[str, ...] = ()
        match part:
            case Part.RULES_IPV4 | Part.RULES_IPV6:
                chains = {f: c for f, c in state.chains.items() if RULES[f] is not part}
                state = msgspec.structs.replace(state, chains=chains)
            case Part.SETS:
                names = ("sets", "entries", "leftovers", "former")
            case Part.NETWORK:
                names = ("vip_link_up", "addresses", "routes", "stand_ins")
                names += ("tunnel_ends",)
                fields = ("host", "vip_link_down")
            case Part.SOCKETS:
                fields = ("sockets",)
            case Part.IPVS:
                names = ("timeouts", "virtual_servers", "real_servers")
                fields = ("connections", "traffic")
            case Part.CONNTRACK:
                fields = ("flows",)
        state = msgspec.structs.replace(
            state, **{name: getattr(nothing.state, name) for name in names}
        )
        observed = msgspec.structs.replace(
            observed, **{name: getattr(nothing, name) for name in fields}
        )
    return msgspec.structs.replace(observed, state=state, unread=dict(unread))


class FakeKernel:
    """See `ipvsctl.kernel.interface.Kernel`.

    Attributes:
        log: every op that was tried, in order, refused ones too.
        reads: how often `observe` was called.
        partial_reads: the keys of each call of `observe_virtual_servers`.
        flows: the connection tracking table, to be added to.
        sockets: those of the host that wait for clients.
        neighbours: what `read_neighbours` finds; None is nothing of others.
        former: another firewall; assign to have one.
        conntrack: how full its table is; assign to change.
        processes: others' on the node, whatever their programs; assign to change.
        is_closed: `close` was called.
    """

    def __init__(
        self,
        *,
        vip_link: str = "kube-ipvs0",
        sysctls: Mapping[str, str] = SYSCTLS,
        host_addresses: Iterable[IPAddress] = (),
        capabilities: Capabilities | None = None,
        firewall: Callable[[], FakeFirewall] = FakeIptables,
    ) -> None:
        self._make_firewall = firewall
        self.log: list[Op] = []
        self.reads = 0
        self.partial_reads: list[frozenset[VirtualServerKey]] = []
        self._links = FakeLinks(vip_link)
        self.host = HostNetwork(addresses=frozenset(host_addresses))
        self.sockets: frozenset[HostSocket] = frozenset()
        self.neighbours: Neighbours | None = None
        self.conntrack = ConntrackFill(3, 1000)
        self.processes = Processes(are_nodes=True)
        self.former: FormerFirewall | None = None
        self.unread: dict[Part, str] = {}
        self.is_closed = False
        if capabilities is None:
            kind = firewall().kind
            capabilities = Capabilities(
                firewall=kind, sees_bridge_ports=kind is FirewallKind.IPTABLES
            )
        self._capabilities = capabilities
        self._boot_sysctls = dict(sysctls)
        self._failures: list[tuple[Callable[[Op], bool], int]] = []
        self._remaining: int | None = None
        self._reading_error: int | None = None
        self.reboot()

    def reboot(self) -> None:
        """Hold nothing, as after a reboot; the log and the hooks stay."""
        self._links = FakeLinks(self._links.vip_link, self.host_addresses)
        self._sysctls = dict(self._boot_sysctls)
        self._firewall = self._make_firewall()
        self._ipvs = FakeIpvs()
        self.flows = FakeConntrack()

    @property
    def host(self) -> HostNetwork:
        """What `observe` says about the rest of the network; assign to change."""
        return self._host

    @host.setter
    def host(self, host: HostNetwork) -> None:
        self._host = host
        self._links.host_addresses = host.addresses

    @property
    def host_addresses(self) -> frozenset[IPAddress]:
        """Those of `host`; assign to change."""
        return self._host.addresses

    @host_addresses.setter
    def host_addresses(self, addresses: Iterable[IPAddress]) -> None:
        self.host = msgspec.structs.replace(self._host, addresses=frozenset(addresses))

    def is_local(self, address: IPAddress) -> bool:
        """Whether packets to an address are for this host."""
        return self._links.is_local(address)

    @property
    def words(self) -> FirewallWords:
        """See `interface.Kernel`."""
        return self._firewall.words

    def capabilities(self) -> Capabilities:
        """See `interface.Kernel`."""
        return self._capabilities

    def observe(self) -> Observed:
        """See `interface.Kernel`."""
        return finish(self.read_in_steps(NodeState()))

    def read_in_steps(self, likely: NodeState, *, has_rules: bool = True) -> Reading:
        """See `interface.Kernel`; objects are never those of `likely`."""
        del likely
        self.reads += 1
        yield Step.SHARED
        chains = self._firewall.chains() if has_rules else {}
        yield Step.EXCLUSIVE
        sets = self._firewall.sets()
        yield Step.EXCLUSIVE
        servers = self._ipvs.observe(self._ipvs.virtual_servers)
        state = NodeState(
            vip_link_up=self._links.vip_link in self._links.names,
            sysctls=dict(self._sysctls),
            timeouts=self._ipvs.timeouts,
            sets=sets.sets,
            entries=sets.entries,
            leftovers=sets.leftovers,
            former=self.former,
            chains=chains,
            virtual_servers=servers.state.virtual_servers,
            real_servers=servers.state.real_servers,
            addresses=frozenset(self._links.addresses),
            routes=self._links.ours(),
            stand_ins=self._links.stand_ins(),
            tunnel_ends=dict(self._links.tunnel_ends),
        )
        unread = dict(self.unread)
        if self._reading_error is not None:
            reason = describe_errno(self._reading_error)
            unread |= dict.fromkeys(set(Part) - set(RULES.values()), reason)
        observed = msgspec.structs.replace(
            servers,
            state=state,
            flows=self.flows.observe(self._ipvs.virtual_servers),
            conntrack=self.conntrack,
            host=self.host,
            sockets=self.sockets,
            skipped=frozenset() if has_rules else frozenset(RULES.values()),
        )
        return _without(observed, unread)

    def read_host(self) -> HostNetwork:
        """See `interface.Kernel`."""
        if Part.NETWORK in self.unread:
            raise KernelError.of(errno.EIO, "list addresses", self.unread[Part.NETWORK])
        return self.host

    def glance(self) -> Glance:
        """See `interface.Kernel`."""
        self._check_reading()
        servers = self._ipvs.virtual_servers
        return Glance(
            virtual_servers=sum(key.family is IPFamily.IPV4 for key in servers),
            entries=self._firewall.count(),
        )

    def is_link_up(self, name: str) -> bool:
        """See `interface.Kernel`."""
        ends = (TUNNEL_LINKS[family] for family in self._links.tunnel_ends)
        return name in self._links.names or name in ends

    def open_notices(self) -> None:
        """See `interface.Kernel`: it tells nothing."""

    def read_vips(self) -> frozenset[IPAddress]:
        """See `interface.Kernel`."""
        self._check_reading()
        ours = self._links.ours().keys() | self._links.stand_ins()
        return frozenset(self._links.addresses) | ours

    def read_neighbours(self, addresses: AbstractSet[IPAddress]) -> Neighbours:
        """See `interface.Kernel`; nobody else has rules."""
        del addresses
        if self.neighbours is not None:
            return self.neighbours
        policies = dict.fromkeys(("INPUT", "FORWARD", "OUTPUT"), "ACCEPT")
        return Neighbours(
            filters={
                family: (
                    FilterTable(
                        policies=policies,
                        chains={
                            r: c for r, c in chains.items() if r.table is Table.FILTER
                        },
                    ),
                )
                for family, chains in self._firewall.chains().items()
            },
            nft_tables=(),
            conntrack=self.conntrack,
            connections=(),
        )

    def read_processes(self, names: AbstractSet[str]) -> Processes:
        """See `interface.Kernel`."""
        seen = self.processes
        running = tuple(one for one in seen.running if one.name in names)
        return msgspec.structs.replace(seen, running=running)

    def observe_virtual_servers(
        self,
        keys: Iterable[VirtualServerKey],
        likely: Mapping[VirtualServerKey, RealServers] = EMPTY,
    ) -> Observed:
        """See `interface.Kernel`."""
        wanted = frozenset(keys)
        self.partial_reads.append(wanted)
        self._check_reading()
        return self._ipvs.observe(wanted, likely)

    def apply(self, plan: Plan) -> Report:
        """See `interface.Kernel`.

        Raises:
            KilledError: see `stop_after`.
        """
        failed: list[FailedOp] = []
        lost: set[VirtualServerKey] = set()
        added: set[VirtualServerKey] = set()
        for op in plan:
            if isinstance(op, AddRealServer) and op.virtual_server in lost:
                reason = "its virtual server was refused"
                failed.append(FailedOp(op=op, errno=errno.ESRCH, reason=reason))
                continue
            if open_end := tuple(unguarded((op,), failed)):
                failed += open_end
                continue
            try:
                self._try(op)
                if isinstance(op, AddVirtualServer):
                    added.add(op.server.key)
            except Refusal as refusal:
                if isinstance(op, AddVirtualServer):
                    lost |= {op.server.key} - added
                failed.append(
                    FailedOp(op=op, errno=refusal.code, reason=refusal.reason)
                )
        return Report(applied=len(plan) - len(failed), failed=tuple(failed))

    def close(self) -> None:
        """See `interface.Kernel`."""
        self.is_closed = True

    def fail_on(self, predicate: Callable[[Op], bool], code: int) -> None:
        """Refuse, with this errno, every op from now on that the predicate picks."""
        self._failures.append((predicate, code))

    def stop_failing(self) -> None:
        """Forget every `fail_on`."""
        self._failures.clear()

    def break_reading(self, code: int | None) -> None:
        """Fail every reading from now on with this errno; None takes that back."""
        self._reading_error = code

    def stop_after(self, count: int | None) -> None:
        """Run `count` more ops, then raise KilledError; None takes that back."""
        self._remaining = count

    def preload(self, server: VirtualServer, *real_servers: RealServer) -> None:
        """Have a virtual server that somebody else made."""
        self._ipvs.virtual_servers[server.key] = server
        self._ipvs.real_servers[server.key] = {item.key: item for item in real_servers}

    def withdraw(self, key: VirtualServerKey) -> None:
        """Have somebody take his virtual server away again."""
        del self._ipvs.virtual_servers[key], self._ipvs.real_servers[key]

    def preload_set(self, spec: SetSpec, entries: Iterable[SetEntry] = ()) -> None:
        """Have a set as it is, whoever made it."""
        self._firewall.put_set(spec, entries)

    def preload_chains(self, family: IPFamily, chains: Chains) -> None:
        """Have these rules as they are, whoever made or edited them."""
        self._firewall.put_chains(family, chains)

    def set_connections(
        self,
        virtual_server: VirtualServerKey,
        real_server: RealServerKey,
        stats: RealServerStats,
    ) -> None:
        """Have connections, until set otherwise or the real server goes."""
        if real_server not in self._ipvs.real_servers[virtual_server]:
            raise KeyError(real_server)
        self._ipvs.connections[virtual_server, real_server] = stats

    def set_traffic(self, key: VirtualServerKey, stats: TrafficStats) -> None:
        """Have counted traffic."""
        if key not in self._ipvs.virtual_servers:
            raise KeyError(key)
        self._ipvs.traffic[key] = stats

    def _check_reading(self) -> None:
        if self._reading_error is not None:
            raise KernelError.of(self._reading_error, "read")

    def _try(self, op: Op) -> None:
        if self._remaining is not None:
            if self._remaining == 0:
                raise KilledError(op)
            self._remaining -= 1
        self.log.append(op)
        for predicate, code in self._failures:
            if predicate(op):
                raise Refusal(code)
        self._run(op)

    def _run(self, op: Op) -> None:
        match op:
            case AddVirtualServer() | UpdateVirtualServer() | DeleteVirtualServer():
                self._ipvs.run_virtual_server(op)
            case AddRealServer() | UpdateRealServer() | DeleteRealServer():
                self._ipvs.run_real_server(op)
            case _ if isinstance(op, FirewallOp):
                self._firewall.run(op)
            case RemoveFormer():
                self.former = None
            case DeleteStaleFlows():
                self.flows.run(op)
            case SetTimeouts(timeouts):
                self._ipvs.set_timeouts(timeouts)
            case SetSysctl(name, value):
                self._set_sysctl(name, value)
            case AddRoute() | UpdateRoute() | DeleteRoute():
                self._links.run_route(op)
            case MakeTunnelEnd() | RemoveTunnelEnd():
                self._links.run_tunnel(op)
            case _:
                self._links.run_link(op)

    def _set_sysctl(self, name: str, value: str) -> None:
        if name not in self._sysctls:
            raise Refusal(errno.ENOENT)
        if not value.lstrip("-").isdigit():
            raise Refusal(errno.EINVAL)
        self._sysctls[name] = value
