"""The proxy on one node of the lab's cluster, in this process."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from ipvsctl.cluster.events import Deleted, Event, Upserted
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.config import FirewallKind, ProxyConfig, VipBinding
from ipvsctl.model.net import IPFamily, parse_network
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    Node,
    Service,
    SlicePort,
    TunnelOffer,
)
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.state import Observed
from ipvsctl.plan.diff.ops import Plan, Report
from ipvsctl.plan.union.node import sysctl_names
from tests.kernel.firewalls import firewall_of_run
from tests.lab.netns import Netns, inside
from tests.lab.topology import Host

CONFIG = ProxyConfig(
    cluster_cidrs=(parse_network("172.16.0.0/12"), parse_network("fd00:172::/32"))
)

BINDINGS: Final = (VipBinding.ADDRESS, VipBinding.ROUTE)
"""The ways in which VIPs are bound; `auto` is one of them."""


class ProxiedNode:
    """A node's kernel with a reconciler; every call happens in the node's namespace."""

    def __init__(
        self,
        netns: Netns,
        name: str,
        config: ProxyConfig = CONFIG,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.netns = netns
        self.config = config
        with inside(netns):
            self.kernel = LinuxKernel.open(
                vip_link=config.vip_link,
                sysctl_names=sysctl_names(),
                firewall=_firewall(config),
            )
        self.reconciler = Reconciler(
            kernel=self.kernel,
            config=config,
            store=Store(name),
            clock=clock,
            lasts=True,
        )

    def take(self, *events: Event) -> None:
        """Hear of the cluster."""
        for event in events:
            self.reconciler.take_event(event)

    def audit(self) -> SyncReport:
        """Impose everything; no op may fail."""
        with inside(self.netns):
            return _clean(self.reconciler.audit())

    def sync(self) -> SyncReport:
        """Impose what changed; no op may fail."""
        with inside(self.netns):
            return _clean(self.reconciler.sync(self.reconciler.prepare()))

    def check_drains(self) -> SyncReport:
        """Look at what drains; no op may fail."""
        with inside(self.netns):
            return _clean(self.reconciler.sync(self.reconciler.recheck_drains()))

    def observe(self) -> Observed:
        """Read the kernel."""
        with inside(self.netns):
            return self.kernel.observe()

    def apply(self, plan: Plan) -> Report:
        """Run a plan."""
        with inside(self.netns):
            return self.kernel.apply(plan)


def _firewall(config: ProxyConfig) -> FirewallKind:
    """The one that the configuration names, or that of this run."""
    wanted = config.wanted_firewall
    return firewall_of_run() if wanted is FirewallKind.AUTO else wanted


@contextmanager
def proxied(
    netns: Netns,
    name: str = "node-0",
    config: ProxyConfig = CONFIG,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ProxiedNode]:
    """The proxy on a node; what it programmed stays after the block."""
    node = ProxiedNode(netns, name, config, clock)
    try:
        yield node
    finally:
        node.kernel.close()


def offers(host: Host, *, port: int, is_sending: bool = True) -> Event:
    """A node takes packets in tunnels, and others know of it."""
    offer = TunnelOffer(
        node=host.name,
        addresses=(host.ipv4, host.ipv6),
        port=port,
        is_sending=is_sending,
    )
    return Upserted(kind=Kind.LEASE, ref=_lease(host), values=(offer,))


def offers_not(host: Host) -> Event:
    """A node takes none."""
    return Deleted(kind=Kind.LEASE, ref=_lease(host))


def _lease(host: Host) -> ObjectRef:
    return ObjectRef("ipvsctl-tunnels", host.name)


def has(value: Service | EndpointSlice) -> Event:
    """A Service or slice is there."""
    kind = Kind.SERVICE if isinstance(value, Service) else Kind.ENDPOINT_SLICE
    return Upserted(kind=kind, ref=value.ref, values=(value,))


def has_not(value: Service) -> Event:
    """A Service is gone."""
    return Deleted(kind=Kind.SERVICE, ref=value.ref)


def has_nodes(hosts: Sequence[Host]) -> list[Event]:
    """The Node objects of these hosts."""
    return [
        Upserted(
            kind=Kind.NODE,
            ref=ObjectRef("", host.name),
            values=(Node(name=host.name, addresses=(host.ipv4, host.ipv6)),),
        )
        for host in hosts
    ]


def slices(
    service: Service, pods: Sequence[Host], target_ports: dict[str, int]
) -> list[Event]:
    """One slice a family with these pods; target ports by the Service port's name."""
    return [
        has(
            EndpointSlice(
                ref=ObjectRef(service.ref.namespace, f"{service.ref.name}-{family}"),
                service=service.ref,
                family=family,
                ports=tuple(
                    SlicePort(
                        name=port.name,
                        protocol=port.protocol,
                        port=target_ports[port.name],
                    )
                    for port in service.ports
                ),
                endpoints=tuple(
                    Endpoint(
                        address=pod.address(family),
                        # pod-<node>-<number>
                        node_name=f"node-{pod.name.split('-')[1]}",
                    )
                    for pod in pods
                ),
            )
        )
        for family in IPFamily
    ]


def _clean(report: SyncReport) -> SyncReport:
    assert [str(failed) for failed in report.report.failed] == []
    return report
