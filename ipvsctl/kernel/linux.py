"""The kernel of this node, in the network namespace of whoever opens it."""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from ipvsctl.kernel.applier import Applier, Transport
from ipvsctl.kernel.capabilities import kernel_families, kernel_release
from ipvsctl.kernel.conntrack import CONNTRACK_OPS, Conntrack
from ipvsctl.kernel.host import RESOLV_CONF, host_network, read_resolvers
from ipvsctl.kernel.interface import Reading
from ipvsctl.kernel.ipsets import IPSET_OPS, Ipsets
from ipvsctl.kernel.iptables import Iptables, choose_flavour
from ipvsctl.kernel.ipvs_table import IPVS_OPS, IpvsTable
from ipvsctl.kernel.links import LINK_OPS, AddressListing, Links
from ipvsctl.kernel.routes import ROUTE_OPS, Routes
from ipvsctl.kernel.rules import Rules, RulesTool
from ipvsctl.kernel.sockets import read_sockets_in_steps
from ipvsctl.kernel.sysctls import PROC_SYS, Sysctls
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.host import HostNetwork
from ipvsctl.model.ipvs import SCHEDULERS, VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.steps import Step, Steps, finish
from ipvsctl.plan.diff.ops import ChangeRules, Op, Plan, Report, SetSysctl
from ipvsctl.plan.rules.catalogue import KNOWN_SET_NAMES
from ipvsctl.plan.union.node import CONNTRACK_LIMIT
from ipvsctl.wire.netlink.addresses import forget_addresses


class LinuxKernel:
    """See `seam.Kernel`. Sockets stay open; they belong to one network namespace.

    Args:
        vip_link: name of the dummy link that VIPs are bound to.
        sysctl_names: those to observe, relative to `proc_sys`.
        rules: the iptables of each family that is to have rules.
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
        rules: Mapping[IPFamily, RulesTool],
        proc_sys: Path = PROC_SYS,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        with ExitStack() as opened:
            self._ipvs = IpvsTable()
            opened.callback(self._ipvs.close)
            self._conntrack = Conntrack.open()
            opened.callback(self._conntrack.close)
            self._ipsets = Ipsets(KNOWN_SET_NAMES)
            opened.callback(self._ipsets.close)
            self._links = Links(vip_link)
            opened.callback(self._links.close)
            self._links.find_vip_link()
            self._routes = Routes(self._links, kernel_families())
            opened.callback(self._routes.close)
            self._opened = opened.pop_all()
        self._sysctls = Sysctls(sysctl_names, proc_sys)
        self._resolv_conf = resolv_conf
        self._rules = Rules(rules)
        transports: dict[type[Op], Transport] = {
            SetSysctl: self._sysctls,
            ChangeRules: self._rules,
            **dict.fromkeys(LINK_OPS, self._links),
            **dict.fromkeys(ROUTE_OPS, self._routes),
            **dict.fromkeys(IPSET_OPS, self._ipsets),
            **dict.fromkeys(IPVS_OPS, self._ipvs),
            **dict.fromkeys(CONNTRACK_OPS, self._conntrack),
        }
        self._applier = Applier(transports)
        self._capabilities = Capabilities(
            release=kernel_release(),
            families=kernel_families(),
            random_fully=self._rules.random_fully,
            schedulers=self._ipvs.known_schedulers(SCHEDULERS),
            cpus=os.cpu_count() or 1,
            has_conntrack_limit=self._sysctls.may_be_set(CONNTRACK_LIMIT),
        )

    @classmethod
    def open(
        cls, *, vip_link: str, sysctl_names: Iterable[str], proc_sys: Path = PROC_SYS
    ) -> Self:
        """The kernel with the iptables that this node's other agents use.

        Raises:
            KernelError: as above; NotFound also when iptables is not installed.
        """
        flavour = choose_flavour()
        rules = {
            family: Iptables(family, flavour=flavour) for family in kernel_families()
        }
        return cls(
            vip_link=vip_link,
            sysctl_names=sysctl_names,
            rules=rules,
            proc_sys=proc_sys,
        )

    def close(self) -> None:
        """See `seam.Kernel`."""
        self._opened.close()

    def capabilities(self) -> Capabilities:
        """See `seam.Kernel`."""
        return self._capabilities

    def observe(self) -> Observed:
        """See `seam.Kernel`."""
        return finish(self.read_in_steps(NodeState()))

    def read_in_steps(self, likely: NodeState) -> Reading:
        """See `seam.Kernel`."""
        # Nobody else changes rules, and iptables takes its time to start.
        chains = {}
        for family in self._rules.families:
            yield Step.SHARED
            chains[family] = self._rules.read(family)
        sockets = yield from read_sockets_in_steps(self._capabilities.families)
        yield Step.EXCLUSIVE
        sysctls = self._sysctls.read()
        timeouts = self._ipvs.read_timeouts()
        addresses = yield from self._links.read_in_steps()
        host = yield from self._read_host_in_steps(addresses)
        routes = yield from self._routes.read_in_steps()
        sets = yield from self._ipsets.read_in_steps()
        ipvs = yield from self._ipvs.read_in_steps(likely)
        yield Step.EXCLUSIVE
        flows = self._conntrack.read(ipvs.virtual_servers)
        forget_addresses()
        return Observed(
            state=NodeState(
                vip_link_up=addresses.vip_link_up,
                sysctls=sysctls,
                timeouts=timeouts,
                sets=sets.sets,
                entries=sets.entries,
                chains=chains,
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
        )

    def read_host(self) -> HostNetwork:
        """See `seam.Kernel`."""
        addresses = finish(self._links.read_in_steps())
        return finish(self._read_host_in_steps(addresses))

    def _read_host_in_steps(self, addresses: AddressListing) -> Steps[HostNetwork]:
        routes = yield from self._routes.read_main_in_steps()
        resolvers = read_resolvers(self._resolv_conf)
        return host_network(addresses.host, routes, resolvers)

    def read_vips(self) -> frozenset[IPAddress]:
        """See `seam.Kernel`."""
        bound = finish(self._links.read_in_steps()).vips
        listed = finish(self._routes.read_in_steps())
        return bound | listed.routes.keys() | listed.stand_ins

    def observe_virtual_servers(self, keys: Iterable[VirtualServerKey]) -> Observed:
        """See `seam.Kernel`."""
        ipvs = self._ipvs.read_some(keys)
        return Observed(
            state=NodeState(
                virtual_servers=ipvs.virtual_servers, real_servers=ipvs.real_servers
            ),
            connections=ipvs.connections,
            traffic=ipvs.traffic,
        )

    def apply(self, plan: Plan) -> Report:
        """See `seam.Kernel`."""
        return self._applier.apply(plan)
