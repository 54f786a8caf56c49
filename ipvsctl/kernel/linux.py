"""The kernel of this node, in the network namespace of whoever opens it."""

import os
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, Self

from ipvsctl.kernel.applier import Applier, Transport
from ipvsctl.kernel.capabilities import kernel_families, kernel_release
from ipvsctl.kernel.conntrack import Conntrack, read_fill
from ipvsctl.kernel.firewall import Firewall, RulesListing, SetListing
from ipvsctl.kernel.firewall_choice import choose_firewall
from ipvsctl.kernel.former import Former
from ipvsctl.kernel.host import RESOLV_CONF, host_network, read_resolvers
from ipvsctl.kernel.interface import Reading
from ipvsctl.kernel.ipvs_options import IpvsOptions
from ipvsctl.kernel.ipvs_table import IpvsListing, IpvsTable
from ipvsctl.kernel.links import AddressListing, Links
from ipvsctl.kernel.neighbours import read_neighbours
from ipvsctl.kernel.notices import AllNotices, LinkNotices, Notices
from ipvsctl.kernel.partial import PartialObservation, PartialReading
from ipvsctl.kernel.processes import read_processes
from ipvsctl.kernel.routes import RouteListing, Routes
from ipvsctl.kernel.sockets import read_sockets_in_steps
from ipvsctl.kernel.sysctls import PROC_SYS, Sysctls
from ipvsctl.kernel.tunnels import NO_TUNNELS, TunnelListing, Tunnels
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.former import FormerFirewall
from ipvsctl.model.glance import Glance
from ipvsctl.model.host import HostNetwork, HostSocket
from ipvsctl.model.ipvs import (
    SCHEDULERS,
    RealServerKey,
    RealServers,
    Timeouts,
    VirtualServerKey,
)
from ipvsctl.model.neighbours import Neighbours
from ipvsctl.model.net import IPAddress
from ipvsctl.model.parts import RULES, Part
from ipvsctl.model.processes import Processes
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.model.steps import Step, Steps, finish
from ipvsctl.model.tunnel import TUNNEL_LINKS
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import Plan, Report
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.union.node import CONNTRACK_LIMIT


class _Network(NamedTuple):
    """What is read of links, addresses and routes."""

    addresses: AddressListing
    host: HostNetwork
    routes: RouteListing
    tunnels: TunnelListing


_NO_NETWORK: Final = _Network(
    AddressListing(None, frozenset(), ()),
    HostNetwork(),
    RouteListing({}, frozenset()),
    NO_TUNNELS,
)
_NO_SETS: Final = SetListing({}, {}, frozenset())


class LinuxKernel:
    """See `interface.Kernel`. Sockets stay open; they belong to one network namespace.

    Args:
        vip_link: name of the dummy link that VIPs are bound to.
        sysctl_names: those to observe, relative to `proc_sys`.
        firewall: has sets and rules; closed with the kernel.
        former: had them before, perhaps; closed too. None if there is no other.
        firewall_kind, firewall_reason: what it is, and why it is that one.
        proc_sys: where sysctls are.
        resolv_conf: where this node's name servers are listed.

    Raises:
        KernelError: a socket cannot be opened; NotFound when there is no IPVS,
            NotPermitted without CAP_NET_ADMIN, Exists when `vip_link` is no dummy.
    """

    def __init__(
        self,
        *,
        vip_link: str,
        sysctl_names: Iterable[str],
        firewall: Firewall,
        former: Former | None = None,
        firewall_kind: FirewallKind = FirewallKind.IPTABLES,
        firewall_reason: str = "",
        proc_sys: Path = PROC_SYS,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        with ExitStack() as opened:
            self._firewall = firewall
            opened.callback(firewall.close)
            self._former = former = former or Former.nothing()
            opened.callback(former.close)
            self._ipvs_options = IpvsOptions()
            opened.callback(self._ipvs_options.close)
            self._ipvs = IpvsTable(self._ipvs_options)
            opened.callback(self._ipvs.close)
            self._conntrack = Conntrack.open()
            opened.callback(self._conntrack.close)
            self._links = Links(vip_link)
            opened.callback(self._links.close)
            self._links.find_vip_link()
            self._tunnels = Tunnels(self._links, proc_sys)
            opened.callback(self._tunnels.close)
            self._routes = Routes(self._links, kernel_families())
            opened.callback(self._routes.close)
            self._opened = opened.pop_all()
        self._sysctls = Sysctls(sysctl_names, proc_sys)
        self._proc_sys = proc_sys
        self._resolv_conf = resolv_conf
        self._applier = Applier(self._transport_for)
        self._capabilities = Capabilities(
            release=kernel_release(),
            families=kernel_families(),
            firewall=firewall_kind,
            firewall_reason=firewall_reason,
            random_fully=firewall.random_fully,
            sees_bridge_ports=firewall.sees_bridge_ports,
            schedulers=self._ipvs.known_schedulers(SCHEDULERS),
            cpus=os.cpu_count() or 1,
            has_conntrack_limit=self._sysctls.may_be_set(CONNTRACK_LIMIT),
        )

    @classmethod
    def open(
        cls,
        *,
        vip_link: str,
        sysctl_names: Iterable[str],
        proc_sys: Path = PROC_SYS,
        firewall: FirewallKind = FirewallKind.AUTO,
        may_load: bool = False,
    ) -> Self:
        """The kernel with the firewall of this node; see `choose_firewall`.

        Raises:
            KernelError: as above, and as `choose_firewall` does.
        """
        chosen = choose_firewall(firewall, kernel_families(), may_load=may_load)
        return cls(
            vip_link=vip_link,
            sysctl_names=sysctl_names,
            firewall=chosen.firewall,
            former=chosen.former,
            firewall_kind=chosen.kind,
            firewall_reason=chosen.reason,
            proc_sys=proc_sys,
        )

    def close(self) -> None:
        """See `interface.Kernel`."""
        self._opened.close()

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
        """See `interface.Kernel`."""
        rules = RulesListing({}, {})
        if has_rules:
            rules = yield from self._firewall.read_rules_in_steps()
        reading = PartialObservation()
        sockets = yield from reading.part(
            Part.SOCKETS,
            read_sockets_in_steps(self._capabilities.families),
            frozenset[HostSocket](),
        )
        yield Step.EXCLUSIVE
        sysctls = self._sysctls.read()
        network = yield from reading.part(
            Part.NETWORK, self._read_network_in_steps(), _NO_NETWORK
        )
        sets, former = yield from reading.part(
            Part.SETS, self._read_sets_in_steps(), (_NO_SETS, None)
        )
        ipvs, timeouts = yield from reading.part(
            Part.IPVS,
            self._read_ipvs_in_steps(likely),
            (IpvsListing({}, {}, {}, {}), Timeouts()),
        )
        yield Step.EXCLUSIVE
        flows = yield from reading.part(
            Part.CONNTRACK, self._read_flows(ipvs.virtual_servers), None
        )
        return Observed(
            state=NodeState(
                vip_link_up=bool(network.addresses.vip_link_up),
                sysctls=sysctls,
                timeouts=timeouts,
                sets=sets.sets,
                entries=sets.entries,
                leftovers=sets.leftovers,
                former=former,
                chains=rules.chains,
                virtual_servers=ipvs.virtual_servers,
                real_servers=ipvs.real_servers,
                addresses=network.addresses.vips,
                routes=network.routes.routes,
                stand_ins=network.routes.stand_ins,
                tunnel_ends=network.tunnels.ends,
            ),
            connections=ipvs.connections,
            traffic=ipvs.traffic,
            arrived=network.tunnels.arrived,
            flows=flows,
            conntrack=PartialReading().part(
                "fill of conntrack", lambda: read_fill(self._proc_sys)
            ),
            host=network.host,
            sockets=sockets,
            vip_link_down=network.addresses.vip_link_up is False,
            unread={**rules.unread, **reading.unread},
            skipped=frozenset() if has_rules else frozenset(RULES.values()),
        )

    def _read_network_in_steps(self) -> Steps["_Network"]:
        links = self._tunnels.find()
        addresses = yield from self._links.read_in_steps(links)
        host = yield from self._read_host_in_steps(addresses)
        routes = yield from self._routes.read_in_steps()
        yield Step.EXCLUSIVE
        tunnels = self._tunnels.read(links, addresses.apart)
        return _Network(addresses, host, routes, tunnels)

    def _read_sets_in_steps(self) -> Steps[tuple[SetListing, FormerFirewall | None]]:
        sets = yield from self._firewall.read_sets_in_steps()
        return sets, (yield from self._former.read_in_steps())

    def _read_ipvs_in_steps(
        self, likely: NodeState
    ) -> Steps[tuple[IpvsListing, Timeouts]]:
        listed = yield from self._ipvs.read_in_steps(likely)
        return listed, self._ipvs.read_timeouts()

    def _read_flows(
        self, keys: Iterable[VirtualServerKey]
    ) -> Steps[Mapping[VirtualServerKey, AbstractSet[RealServerKey]] | None]:
        yield from ()
        return self._conntrack.read(keys)

    def read_host(self) -> HostNetwork:
        """See `interface.Kernel`."""
        addresses = finish(self._links.read_in_steps(self._tunnels.find()))
        return finish(self._read_host_in_steps(addresses))

    def _read_host_in_steps(self, addresses: AddressListing) -> Steps[HostNetwork]:
        routes = yield from self._routes.read_main_in_steps()
        resolvers = read_resolvers(self._resolv_conf)
        return host_network(addresses.host, routes, resolvers)

    def read_vips(self) -> frozenset[IPAddress]:
        """See `interface.Kernel`."""
        bound = finish(self._links.read_in_steps()).vips
        listed = finish(self._routes.read_in_steps())
        return bound | listed.routes.keys() | listed.stand_ins

    def read_neighbours(self, addresses: AbstractSet[IPAddress]) -> Neighbours:
        """See `interface.Kernel`."""
        return read_neighbours(self._firewall, addresses, self._proc_sys)

    def read_processes(self, names: AbstractSet[str]) -> Processes:
        """See `interface.Kernel`."""
        return read_processes(names)

    def glance(self) -> Glance:
        """See `interface.Kernel`."""
        return Glance(
            virtual_servers=self._ipvs_options.count(),
            entries=self._firewall.count_entries(),
        )

    def is_link_up(self, name: str) -> bool:
        """See `interface.Kernel`."""
        if name in TUNNEL_LINKS.values():
            return self._tunnels.is_up(name)
        found = self._links.find_vip_link()
        return found is not None and found.is_up

    def open_notices(self) -> Notices:
        """See `interface.Kernel`."""
        links = LinkNotices()
        firewall = self._firewall.open_notices()
        return links if firewall is None else AllNotices(links, firewall)

    def observe_virtual_servers(
        self,
        keys: Iterable[VirtualServerKey],
        likely: Mapping[VirtualServerKey, RealServers] = EMPTY,
    ) -> Observed:
        """See `interface.Kernel`."""
        ipvs = self._ipvs.read_some(keys, likely)
        return Observed(
            state=NodeState(
                virtual_servers=ipvs.virtual_servers, real_servers=ipvs.real_servers
            ),
            connections=ipvs.connections,
            traffic=ipvs.traffic,
        )

    def apply(self, plan: Plan) -> Report:
        """See `interface.Kernel`."""
        return self._applier.apply(plan)

    def _transport_for(self, kind: ObjectKind) -> Transport:
        transports: dict[ObjectKind, Transport] = {
            ObjectKind.SYSCTL: self._sysctls,
            ObjectKind.LINK: self._links,
            ObjectKind.TUNNEL: self._tunnels,
            ObjectKind.ADDRESS: self._links,
            ObjectKind.ROUTE: self._routes,
            ObjectKind.SET: self._firewall,
            ObjectKind.ENTRY: self._firewall,
            ObjectKind.RULES: self._firewall,
            ObjectKind.FIREWALL: self._former,
            ObjectKind.TIMEOUTS: self._ipvs,
            ObjectKind.VIRTUAL_SERVER: self._ipvs,
            ObjectKind.REAL_SERVER: self._ipvs,
            ObjectKind.FLOWS: self._conntrack,
        }
        return transports[kind]
