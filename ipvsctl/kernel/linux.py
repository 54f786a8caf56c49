"""The kernel of this node, in the network namespace of whoever opens it."""

import os
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from ipvsctl.kernel.applier import Applier, Transport
from ipvsctl.kernel.capabilities import kernel_families, kernel_release
from ipvsctl.kernel.conntrack import Conntrack
from ipvsctl.kernel.firewall import Firewall
from ipvsctl.kernel.host import RESOLV_CONF, host_network, read_resolvers
from ipvsctl.kernel.interface import Reading
from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.ipvs_count import IpvsCount
from ipvsctl.kernel.ipvs_table import IpvsTable
from ipvsctl.kernel.links import AddressListing, Links
from ipvsctl.kernel.neighbours import read_neighbours
from ipvsctl.kernel.notices import LinkNotices, Notices
from ipvsctl.kernel.routes import Routes
from ipvsctl.kernel.sockets import read_sockets_in_steps
from ipvsctl.kernel.sysctls import PROC_SYS, Sysctls
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.glance import Glance
from ipvsctl.model.host import HostNetwork
from ipvsctl.model.ipvs import SCHEDULERS, VirtualServerKey
from ipvsctl.model.neighbours import Neighbours
from ipvsctl.model.net import IPAddress
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.steps import Step, Steps, finish
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import Plan, Report
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.union.node import CONNTRACK_LIMIT
from ipvsctl.wire.netlink.addresses import forget_addresses


class LinuxKernel:
    """See `interface.Kernel`. Sockets stay open; they belong to one network namespace.

    Args:
        vip_link: name of the dummy link that VIPs are bound to.
        sysctl_names: those to observe, relative to `proc_sys`.
        firewall: has sets and rules; closed with the kernel.
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
        proc_sys: Path = PROC_SYS,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        with ExitStack() as opened:
            self._firewall = firewall
            opened.callback(firewall.close)
            self._ipvs = IpvsTable()
            opened.callback(self._ipvs.close)
            self._ipvs_count = IpvsCount()
            opened.callback(self._ipvs_count.close)
            self._conntrack = Conntrack.open()
            opened.callback(self._conntrack.close)
            self._links = Links(vip_link)
            opened.callback(self._links.close)
            self._links.find_vip_link()
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
            random_fully=firewall.random_fully,
            schedulers=self._ipvs.known_schedulers(SCHEDULERS),
            cpus=os.cpu_count() or 1,
            has_conntrack_limit=self._sysctls.may_be_set(CONNTRACK_LIMIT),
        )

    @classmethod
    def open(
        cls, *, vip_link: str, sysctl_names: Iterable[str], proc_sys: Path = PROC_SYS
    ) -> Self:
        """The kernel with the firewall that this node's other agents use.

        Raises:
            KernelError: as above; NotFound also when iptables is not installed.
        """
        return cls(
            vip_link=vip_link,
            sysctl_names=sysctl_names,
            firewall=IptablesFirewall.open(kernel_families()),
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

    def read_in_steps(self, likely: NodeState) -> Reading:
        """See `interface.Kernel`."""
        rules = yield from self._firewall.read_rules_in_steps()
        sockets = yield from read_sockets_in_steps(self._capabilities.families)
        yield Step.EXCLUSIVE
        sysctls = self._sysctls.read()
        timeouts = self._ipvs.read_timeouts()
        addresses = yield from self._links.read_in_steps()
        host = yield from self._read_host_in_steps(addresses)
        routes = yield from self._routes.read_in_steps()
        sets = yield from self._firewall.read_sets_in_steps()
        ipvs = yield from self._ipvs.read_in_steps(likely)
        yield Step.EXCLUSIVE
        flows = self._conntrack.read(ipvs.virtual_servers)
        forget_addresses()
        return Observed(
            state=NodeState(
                vip_link_up=bool(addresses.vip_link_up),
                sysctls=sysctls,
                timeouts=timeouts,
                sets=sets.sets,
                entries=sets.entries,
                leftovers=sets.leftovers,
                chains=rules.chains,
                virtual_servers=ipvs.virtual_servers,
                real_servers=ipvs.real_servers,
                addresses=addresses.vips,
                routes=routes.routes,
                stand_ins=routes.stand_ins,
            ),
            connections=ipvs.connections,
            traffic=ipvs.traffic,
            flows=flows,
            host=host,
            sockets=sockets,
            vip_link_down=addresses.vip_link_up is False,
            unread_rules=rules.unread,
        )

    def read_host(self) -> HostNetwork:
        """See `interface.Kernel`."""
        addresses = finish(self._links.read_in_steps())
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

    def glance(self) -> Glance:
        """See `interface.Kernel`."""
        return Glance(
            virtual_servers=self._ipvs_count.read(),
            entries=self._firewall.count_entries(),
        )

    def is_vip_link_up(self) -> bool:
        """See `interface.Kernel`."""
        found = self._links.find_vip_link()
        return found is not None and found.is_up

    def open_notices(self) -> Notices:
        """See `interface.Kernel`."""
        return LinkNotices()

    def observe_virtual_servers(self, keys: Iterable[VirtualServerKey]) -> Observed:
        """See `interface.Kernel`."""
        ipvs = self._ipvs.read_some(keys)
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
        match kind:
            case ObjectKind.SYSCTL:
                return self._sysctls
            case ObjectKind.LINK | ObjectKind.ADDRESS:
                return self._links
            case ObjectKind.ROUTE:
                return self._routes
            case ObjectKind.SET | ObjectKind.ENTRY | ObjectKind.RULES:
                return self._firewall
            case (
                ObjectKind.TIMEOUTS | ObjectKind.VIRTUAL_SERVER | ObjectKind.REAL_SERVER
            ):
                return self._ipvs
            case ObjectKind.FLOWS:
                return self._conntrack
